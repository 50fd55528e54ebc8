# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_release: let texts and secrets travel through a pipe."""

from __future__ import annotations

import base64
import json
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage, enable_pipelining

IN_PAYLOAD = ("files", "record")
"""Options that are not for the module, whose arguments the host logs."""


class ActionModule(Stage):
    """Write a generation of an application."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action; modules/gunicorn_release.py documents its options."""
        result = super().run(tmp, task_vars)
        if self._read(task_vars or {}, "gunicorn_no_log"):
            result.pop("written", None)
        return result

    def module_arguments(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Put the secrets and what is long into one argument."""
        given = super().module_arguments(task_vars)
        secrets = self._secrets(task_vars)
        if secrets:
            self._require_pipelining()
        payload = {
            "files": given.get("files", {}),
            "record": json.dumps(given.get("record", {}), indent=4, sort_keys=True) + "\n",
            "secrets": secrets,
        }
        return {
            **{name: value for name, value in given.items() if name not in IN_PAYLOAD},
            "payload": base64.b64encode(json.dumps(payload).encode()).decode(),
        }

    def _read(self, task_vars: dict[str, Any], name: str) -> Any:
        return self._templar.template(task_vars.get(name))

    def _secrets(self, task_vars: dict[str, Any]) -> dict[str, str]:
        try:
            values = self._read(task_vars, "gunicorn_secrets") or {}
        except AnsibleError as problem:
            raise AnsibleActionFail(f"gunicorn_secrets: {problem}") from None
        return {str(name): str(value) for name, value in values.items()}

    def _require_pipelining(self) -> None:
        """Refuse a way to the host on which Ansible writes what it sends to the disks of both machines."""
        enable_pipelining(self._connection)
        if self._is_pipelining_enabled("new"):
            return
        become = f" with become_method: {self._connection.become.name}" if self._connection.become else ""
        raise AnsibleActionFail(
            f"gunicorn_secrets: got values, but with connection: {self._connection.transport}{become} Ansible would "
            "write them to a disk of the controller and of the host on their way: it can't pipeline there, or has to "
            "keep remote files. They are accepted where it pipelines. "
            "Example: ansible_connection: ssh, ansible_become_method: sudo"
        )
