# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What the actions of a deploy's stages have in common: they tell their module which run of Ansible it works for."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import os
import platform
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


def read_start(pid: int) -> str:
    """When a process of the controller was started, in ticks since the controller's own start; empty where unknown.

    Source: field 22 of /proc/PID/stat, proc_pid_stat(5). Where there is no /proc (macOS), any process with that number
    counts as the same one.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def describe_controller() -> str:
    """Machine and process namespace in which a process number means something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def this_run(pid: int) -> dict[str, Any]:
    """Describe the run whose main process has that number."""
    machine, start = describe_controller(), read_start(pid)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"user {os.getuid()}"
    now = datetime.datetime.now(tz=datetime.UTC)
    return {
        "run": f"{machine} {pid} {start}",
        "machine": machine,
        "controller": platform.node(),
        "pid": pid,
        "start": start,
        "user": user,
        "since": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def has_ended(holder: dict[str, Any], machine: str) -> bool:
    """Tell whether a run of this machine has ended; of another one's run nobody knows."""
    if holder.get("machine") != machine:
        return False
    pid = int(holder["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return read_start(pid) != str(holder["start"])


def enable_pipelining(connection: Any) -> None:
    """Let a task pipeline, whatever Ansible is configured with, so that its arguments touch no disk."""
    # Connections without an option of their own (community.docker) look at what they know of the play.
    connection._play_context.pipelining = True
    with contextlib.suppress(KeyError):
        connection.get_option("pipelining")
        connection.set_option("pipelining", True)


class Stage(ActionBase):
    """Run the module of the same name, for the run that the process which started all tasks is."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action; the module documents its options."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.module_arguments(task_vars or {})
        result.update(self._execute_module(module_args=arguments, task_vars=task_vars))
        return result

    def module_arguments(self, _task_vars: dict[str, Any]) -> dict[str, Any]:
        """Give the module's arguments: those of the task, and which run this is."""
        return {**self._task.args, "run": this_run(os.getppid())["run"]}
