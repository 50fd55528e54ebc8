"""Callback cut: writes down which tasks a run has, and cuts the run off at one of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from typing import Any

from ansible.executor.task_result import CallbackTaskResult
from ansible.playbook.task import Task
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: cut
type: aggregate
short_description: Write down the tasks of a run, and cut it off at one of them
description:
  - Appends to the file E(CUT_LOG) a line of JSON for each task that begins and for each result.
  - E(CUT_AFTER) seconds after the task with the number E(CUT_AT) has begun, kills the run and all its workers. Where
    E(CUT_WITH) is set, calls that in a shell instead.
"""


class CallbackModule(CallbackBase):
    """Count tasks, and cut the run off."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cut"

    def __init__(self) -> None:
        super().__init__()
        self.number = -1

    def _write(self, **values: Any) -> None:
        with open(os.environ["CUT_LOG"], "a") as log:
            log.write(json.dumps({"number": self.number, "time": time.monotonic(), **values}) + "\n")

    def v2_playbook_on_task_start(self, task: Task, **_options: object) -> None:
        """Note the task, and cut the run off if this is the one."""
        self.number += 1
        self._write(name=task.get_name())
        if self.number == int(os.environ.get("CUT_AT", "-1")):
            delay = float(os.environ.get("CUT_AFTER", "0"))
            if delay:
                threading.Timer(delay, self._cut).start()
            else:
                self._cut()

    def _cut(self) -> None:
        command = os.environ.get("CUT_WITH")
        if command:
            subprocess.run(["sh", "-c", command], check=False)
        else:
            os.killpg(0, signal.SIGKILL)

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        """Note that the task did something, or looked at something."""
        self._write(outcome="ok", result_of=result.task_name)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        """Note that the task had nothing to do."""
        self._write(outcome="skipped", result_of=result.task_name)
