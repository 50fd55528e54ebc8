# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_packages: run ansible.builtin.apt, then write down what came."""

from __future__ import annotations

from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage

LOCK_TIMEOUT = 600
"""Seconds that apt waits for another one, as that of a killed run, which goes on."""


class ActionModule(Stage):
    """Install the Debian packages of an application."""

    def run_module(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Install them; in check mode tell what is missing, since apt's library may be missing too."""
        missing = arguments.get("missing", [])
        if self._task.check_mode:
            told = super().run_module(arguments, task_vars)
            return {**told, "changed": bool(missing)}
        apt = {
            "name": arguments["packages"],
            "update_cache": bool(missing),
            "cache_valid_time": 3600,
            "install_recommends": False,
            "lock_timeout": LOCK_TIMEOUT,
        }
        result: dict[str, Any] = self._execute_module("ansible.builtin.apt", module_args=apt, task_vars=task_vars)
        if result.get("failed") or not (missing or arguments.get("unrecorded")):
            return result
        told = super().run_module(arguments, task_vars)
        parts = [each for part in (result.get("diff"), told.get("diff")) for each in _as_list(part)]
        return {**told, "changed": bool(result.get("changed") or told.get("changed")), "diff": parts}


def _as_list(part: Any) -> list[Any]:
    return part if isinstance(part, list) else [part] if part else []
