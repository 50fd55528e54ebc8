# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Callback gunicorn_summary: a table at the end of a run, what it did with each host."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_summary
author: The pyweb.deploy authors (@pyweb)
type: notification
version_added: "0.1.0"
short_description: Tell at the end of a run what the role gunicorn did with each host
description:
  - Prints a table after the recap, with the release that served before, the one that was wanted, the seconds that
    the role took and the result. It does so too where the run stopped early.
  - Prints nothing where no task of the role P(pyweb.deploy.gunicorn#role) ran.
  - The playbooks of the collection bring it along. For a play of your own, name it in C(callbacks_enabled).
"""

EXAMPLES = r"""
ansible_cfg: |
  [defaults]
  callbacks_enabled = pyweb.deploy.gunicorn_summary
"""

import time
from typing import Any, ClassVar

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import reason_of
from ansible_collections.pyweb.deploy.plugins.plugin_utils.summary import Summary

ROLE = "pyweb.deploy.gunicorn"
PLAN = "pyweb.deploy.gunicorn_plan"
COLORS: dict[str, str | None] = {
    "result": None,
    "unchanged": constants.COLOR_OK,
    "unreachable": constants.COLOR_UNREACHABLE,
    "not reached": constants.COLOR_SKIP,
}


def color_of(result: str) -> str | None:
    """Color of a line of the table."""
    color: str | None = constants.COLOR_ERROR if result.startswith("failed") else constants.COLOR_CHANGED
    return COLORS.get(result, color)


def is_ours(task: Any) -> bool:
    """Tell whether a task is one of the role, or one that it includes. A look at the status is no deploy."""
    role = getattr(task, "_role", None)
    return role is not None and role.get_name() == ROLE and "status" not in role._from_files.get("tasks", [])


class CallbackModule(CallbackBase):
    """Watch the tasks of the role."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "pyweb.deploy.gunicorn_summary"
    CALLBACK_NEEDS_ENABLED = False

    _first: ClassVar[CallbackModule | None] = None
    """Somebody may have enabled it who runs a playbook that brings it along: one table is enough."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        type(self)._first = type(self)._first or self
        self.disabled = type(self)._first is not self
        self._summary = Summary()
        self._play: Any = None
        self._known = False

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play, self._known = play, False
        self._summary.begin_play()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if not is_ours(task):
            return
        if not self._known:
            self._known = True
            everything = self._play.get_variable_manager().get_vars(play=self._play, include_hostvars=False)
            self._summary.expect(everything["ansible_play_hosts_all"])
        self._summary.seen(host.get_name(), time.monotonic())

    def v2_runner_on_ok(self, result: Any) -> None:
        task, host, now = result.task, result.host.get_name(), time.monotonic()
        if not is_ours(task):
            return
        self._summary.seen(host, now)
        action = task.resolved_action or task.action
        if "problem" in result.result:
            self._summary.problem(host, now, reason_of(result.result))
        if action == PLAN and not result.result["fetch"]:
            self._summary.planned(host, now, result.result, bool(task.check_mode))
        elif action == "pyweb.deploy.gunicorn_switch" and not task.check_mode and "problem" not in result.result:
            self._summary.switched(host, now)
        elif action == "pyweb.deploy.gunicorn_result" and "problem" not in task.args:
            self._summary.released(host, now)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        task, host, now = result.task, result.host.get_name(), time.monotonic()
        if not is_ours(task) or ignore_errors:
            return
        if (task.resolved_action or task.action) == PLAN and "name" in result.result:
            self._summary.planned(
                host, now, {**result.result, "work": False, "problems": [result.result["msg"]]}, False
            )
        self._summary.failed(host, now, str(result.result.get("msg", "")).split("\n", 1)[0])

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if is_ours(result.task) and not result.task.ignore_unreachable:
            self._summary.unreachable(result.host.get_name(), time.monotonic())

    def v2_playbook_on_stats(self, *_stats: Any) -> None:
        lines = self._summary.lines()
        self._summary = Summary()
        if lines:
            self._display.banner("DEPLOYS")
            for line, result in lines:
                self._display.display(line, color=color_of(result))
            self._display.display("")
