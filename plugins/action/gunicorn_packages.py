# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_packages: run ansible.builtin.apt, then keep the list of what came."""

from __future__ import annotations

from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage

LOCK_TIMEOUT = 600
"""Seconds that apt waits for another one, as that of a killed run, which goes on."""


INSTALL = {"cache_valid_time": 3600, "install_recommends": False}
REMOVE = {"state": "absent", "purge": True}


class ActionModule(Stage):
    """Install the Debian packages of an application, or remove them."""

    def run_module(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run apt, then the module; in check mode only that, since apt's library may be missing."""
        removes = arguments.get("state") == "absent"
        missing, others = arguments.get("missing", []), arguments.get("needed_by", [])
        if removes and others:
            message = (
                f"The Debian packages {', '.join(arguments['packages'])} stay, because apt would remove "
                f"{', '.join(others)} too. `apt remove` takes those that you choose."
            )
            return {"changed": False, "msg": message, "_ansible_verbose_always": True}
        if self._task.check_mode:
            return {**super().run_module(arguments, task_vars), "changed": removes or bool(missing)}
        apt = REMOVE if removes else {**INSTALL, "update_cache": bool(missing)}
        asked = {"name": arguments["packages"], "lock_timeout": LOCK_TIMEOUT, **apt}
        result: dict[str, Any] = self._execute_module(
            module_name="ansible.builtin.apt", module_args=asked, task_vars=task_vars
        )
        if result.get("failed") or not (removes or missing or arguments.get("unrecorded")):
            return result
        listed = super().run_module(arguments, task_vars)
        parts = [each for part in (result.get("diff"), listed.get("diff")) for each in _as_list(part)]
        return {**listed, "changed": bool(result.get("changed") or listed.get("changed")), "diff": parts}


def _as_list(part: Any) -> list[Any]:
    return part if isinstance(part, list) else [part] if part else []
