# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_lock: know which run this is, and whether the one with the lock is alive."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import has_ended, this_run

PAUSE = 1.0
PATIENCE = 600
"""Seconds for which this waits until a module of an interrupted run has ended."""


class ActionModule(ActionBase):
    """Acquire the deploy lock of an application or release it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action; modules/gunicorn_lock.py documents its options."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = {**self._task.args, "holder": this_run(os.getppid())}
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        if result.get("busy") and has_ended(result["holder"], arguments["holder"]["machine"]):
            arguments["dead"] = result["holder"]["run"]
            result = self._execute_module(module_args=arguments, task_vars=task_vars)
        until, waited = time.monotonic() + PATIENCE, False
        while result.get("working") and time.monotonic() < until:
            if not waited:
                self._display.display(f"{result['msg']}. Waiting for it, at most {PATIENCE // 60} minutes")
            waited = True
            time.sleep(PAUSE)
            result = self._execute_module(module_args=arguments, task_vars=task_vars)
        return {**result, "waited": waited}
