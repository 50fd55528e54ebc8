"""Callback cut: ends a run, as a power cut would, at a moment given by its effect or by its place in the run."""

from __future__ import annotations

import json
import multiprocessing
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
short_description: Cut a run off
description:
  - E(CUT_WHEN) is a shell command. It runs between any two tasks, and the first time that it succeeds, the run and all
    its workers are killed.
  - E(CUT_DURING) is one that waits for something on the server. The run is killed when it succeeds, at any time.
  - E(CUT_AT) is the number of a task, from 0. E(CUT_AFTER) seconds after it has begun, the shell command E(CUT_WITH) is
    called.
  - E(CUT_LOG) is a file that gets a line of JSON for each task that begins, and for each result.
"""


def kill_run() -> None:
    """Kill all of this run. Its workers are in sessions of their own: there, an action would go on to its end."""
    for worker in multiprocessing.active_children():
        worker.kill()
    os.killpg(0, signal.SIGKILL)


class CallbackModule(CallbackBase):
    """Count tasks, and cut the run off."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "cut"

    def __init__(self) -> None:
        super().__init__()
        self.number = -1
        if os.environ.get("CUT_DURING"):
            threading.Thread(target=self._cut_when, args=(os.environ["CUT_DURING"],), daemon=True).start()

    def _write(self, **values: Any) -> None:
        path = os.environ.get("CUT_LOG")
        if path:
            with open(path, "a") as log:
                log.write(json.dumps({"number": self.number, "time": time.monotonic(), **values}) + "\n")

    def v2_playbook_on_task_start(self, task: Task, **_options: object) -> None:
        """Note the task, and cut the run off if this is the moment."""
        self.number += 1
        self._write(name=task.get_name())
        if os.environ.get("CUT_WHEN"):
            self._cut_when(os.environ["CUT_WHEN"])
        if self.number == int(os.environ.get("CUT_AT", "-1")):
            command = ["sh", "-c", os.environ["CUT_WITH"]]
            threading.Timer(float(os.environ["CUT_AFTER"]), subprocess.run, [command]).start()

    def _cut_when(self, condition: str) -> None:
        if subprocess.run(["sh", "-c", condition], check=False, capture_output=True).returncode == 0:
            kill_run()

    def v2_runner_on_ok(self, _result: CallbackTaskResult) -> None:
        """Note that the task did something, or looked at something."""
        self._write(outcome="ok")

    def v2_runner_on_skipped(self, _result: CallbackTaskResult) -> None:
        """Note that the task had nothing to do."""
        self._write(outcome="skipped")
