# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_lock: know which run this is, and whether the one with the lock is alive."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage

PAUSE = 1.0
PATIENCE = 600
"""Seconds for which this waits until a module of an interrupted run has ended."""


class ActionModule(Stage):
    """Acquire the deploy lock of an application or release it."""

    def run_module(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Wait until the module of an interrupted run has ended, and say so."""
        result = super().run_module(arguments, task_vars)
        until, waited = time.monotonic() + PATIENCE, False
        while result.get("working") and time.monotonic() < until:
            if not waited:
                self._display.display(f"{result['msg']}. Waiting for it, at most {PATIENCE // 60} minutes")
            waited = True
            time.sleep(PAUSE)
            result = super().run_module(arguments, task_vars)
        return {**result, "waited": waited}
