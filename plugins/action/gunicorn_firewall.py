# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_firewall: run the module of ufw, and turn ufw on for a trial."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible_collections.pyweb.deploy.plugins.module_utils.ufw import OPTIONS
from ansible_collections.pyweb.deploy.plugins.plugin_utils import ufw
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage

Data = dict[str, Any]

PAUSE = 1.0


class ModuleFailedError(AnsibleError):
    """A module failed; the text is its own."""


class ActionModule(Stage):
    """Change rules of ufw, and turn it on."""

    def run_module(self, _arguments: Data, task_vars: Data) -> Data:
        """Run the modules; modules/gunicorn_firewall.py documents the options."""
        _result, self.given = self.validate_argument_spec(argument_spec=OPTIONS)
        self.task_vars = task_vars
        steps = self._change()
        return {"changed": any(step["changed"] for step in steps), "steps": steps}

    def _change(self) -> list[Data]:
        if self.given["ask"]:
            self._ask("ask")
        steps = []
        for step in ufw.steps(self.given):
            try:
                steps.append({"step": step.text, "changed": self._ufw(step.arguments)})
            except ModuleFailedError as problem:
                raise AnsibleActionFail(ufw.step_failed(step.text, problem.message)) from None
        if self.given["enable"]:
            if not self._task.check_mode:
                self._enable(f"{secrets.randbelow(10**9)}")
            steps.append({"step": ufw.ENABLE, "changed": True})
        return steps

    def _enable(self, trial: str) -> None:
        """Turn ufw on for a trial, and off again where no new connection proves that SSH gets in."""
        self._ask("begin", trial)
        why = ufw.NOT_ENABLED
        try:
            self._ufw({"state": "enabled"})
            why = ufw.NO_CONNECTION  # that ufw lets the connection go on which is there proves nothing
            status = self._come_in(self.given["seconds"] / 3, lambda: self._own("end", trial))["status"]
            if not status.startswith(ufw.ON):
                why = ufw.TOO_LATE
                raise ModuleFailedError(status)
        except AnsibleError as problem:
            raise AnsibleActionFail(ufw.trial_failed(why, problem.message, self._undo(trial))) from None

    def _undo(self, trial: str) -> str:
        """Turn ufw off where the host has not done so yet. Gives why that failed, or nothing."""
        self._display.display("ufw is on, but SSH isn't proved to get in. Waiting until the host can be reached again")
        try:
            self._come_in(self.given["seconds"] * 2, lambda: self._ufw({"state": "disabled"}))
            self._own("end", trial)
        except AnsibleError as problem:
            return str(problem.message)
        return ""

    def _come_in(self, seconds: float, act: Callable[[], Any]) -> Any:
        """Do something over a new connection, as soon as there is one, with so many seconds to try."""
        until = time.monotonic() + seconds
        while True:
            try:
                self._connection.reset()  # SSH gives up the connection that Ansible keeps
                return act()
            except AnsibleError:
                if time.monotonic() >= until:
                    raise
                time.sleep(PAUSE)

    def _ask(self, step: str, trial: str = "") -> None:
        """Ask ufw whether it works, and begin the trial where that is the step; nothing has changed where it fails."""
        try:
            self._own(step, trial)
        except ModuleFailedError as problem:
            raise AnsibleActionFail(ufw.broken(problem.message)) from None

    def _own(self, step: str, trial: str) -> Data:
        """Run the module of this action."""
        return self._run("pyweb.deploy.gunicorn_firewall", {**self.given, "step": step, "trial": trial})

    def _ufw(self, arguments: Mapping[str, Any]) -> bool:
        """Run the module of ufw, and tell whether it changes something; check mode may have to say so without it."""
        if self._task.check_mode and not self.given["installed"]:
            return True
        return bool(self._run("community.general.ufw", dict(arguments))["changed"])

    def _run(self, module: str, arguments: Data) -> Data:
        result: Data = self._execute_module(module_name=module, module_args=arguments, task_vars=self.task_vars)
        if result.get("failed"):
            raise ModuleFailedError(str(result.get("msg") or result.get("module_stderr")).strip())
        return result
