# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action ship_secrets: let secrets travel through a pipe, or not at all."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import enable_pipelining


class ActionModule(ActionBase):
    """Refuse a way to the host on which Ansible writes what it sends to the disks of both machines."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action; modules/ship_secrets.py documents its options."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        enable_pipelining(self._connection)
        if not self._is_pipelining_enabled("new"):
            become = f" with become_method: {self._connection.become.name}" if self._connection.become else ""
            raise AnsibleActionFail(
                f"got values, but with connection: {self._connection.transport}{become} Ansible would write them to a "
                "disk of the controller and of the host on their way: it can't pipeline there, or has to keep remote "
                "files. They are accepted where it pipelines. "
                "Example: ansible_connection: ssh, ansible_become_method: sudo"
            )
        result.update(self._execute_module(module_args=self._task.args, task_vars=task_vars))
        return result
