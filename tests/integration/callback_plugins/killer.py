"""Callback killer: ends the run, as a power cut would, when the task named by KILL_AT begins."""

from __future__ import annotations

import os
import signal

from ansible.playbook.task import Task
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: killer
type: aggregate
short_description: Kill the run at a task
description: Kills the run and all its workers when the task whose name ends with E(KILL_AT) begins.
"""


class CallbackModule(CallbackBase):
    """Kill the process group of the run."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "killer"

    def v2_playbook_on_task_start(self, task: Task, **_options: object) -> None:
        """Look at the name of each task that begins."""
        if task.get_name().endswith(os.environ["KILL_AT"]):
            os.killpg(0, signal.SIGKILL)
