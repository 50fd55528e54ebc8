# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_release: render the templates; texts and secrets travel through a pipe."""

from __future__ import annotations

import base64
import datetime
import json
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.pyweb.deploy.plugins.plugin_utils import application, rendering
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import Application, Release
from ansible_collections.pyweb.deploy.plugins.plugin_utils.plan import release_id
from ansible_collections.pyweb.deploy.plugins.plugin_utils.quoting import is_true
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage, enable_pipelining
from ansible_collections.pyweb.deploy.plugins.plugin_utils.variables import VariableError, read


class ActionModule(Stage):
    """Write a release of an application."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action; modules/gunicorn_release.py documents its options."""
        result = super().run(tmp, task_vars)
        if is_true(read("gunicorn_no_log", self._templar, task_vars or {})):
            result.pop("written", None)
        return result

    def module_arguments(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Render what was planned, and put it into one argument with the secrets."""
        plan = task_vars["__gunicorn_plan"]
        try:
            app = application.from_task_vars(self, task_vars)
        except VariableError as problem:
            raise AnsibleActionFail(str(problem)) from None
        if not isinstance(app, Application):
            raise TypeError("nothing is written to go back, or to remove")
        release = Release(app, plan["source"], plan["observed"])
        texts = rendering.render(release)
        found = release_id(release.desired(vars(texts)))
        if found != plan["id"]:
            raise AnsibleActionFail(
                f"{app.name}: the configuration isn't the one that was planned (planned {plan['id']}, now {found}), so "
                "it was not written. A variable may have another value each time it is read, as a lookup of "
                "`password` or `pipe` may give. Set it once, for example with set_fact"
            )
        if app.secrets:
            self._require_pipelining()
        payload = {
            "files": texts.release_files,
            "record": json.dumps({**plan["record"], **made(release)}, indent=4, sort_keys=True) + "\n",
            "secrets": app.secrets,
        }
        packed = base64.b64encode(json.dumps(payload).encode()).decode()
        return {**super().module_arguments(task_vars), "payload": packed}

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


def made(release: Release) -> dict[str, Any]:
    """What the record says of how a release was made, beside what it is gone back to by."""
    return {
        "created": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "gunicorn": release.app.version,
        "source": release.app.source.record(),
        "python": release.observed["python"].get("version", ""),
    }
