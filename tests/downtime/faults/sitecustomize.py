"""Counts what modules of the role do on a server, and kills one of them just before one of its steps.

Python on the server imports this where PYTHONPATH leads to it. A step is a call that changes the file system, or a
command. Each is a line of /run/pyweb-steps; /run/pyweb-fault has the number of the one not to come to, and whether the
commands that the module has started die too (`all`) or go on (`module`).
"""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
from typing import Any

STEPS, FAULT = "/run/pyweb-steps", "/run/pyweb-fault"
OURS, READING = "pyweb/deploy/plugins/", "gunicorn_info.py"


def is_step() -> bool:
    """Tell whether a module of the role calls, other than the one that only looks."""
    frame: Any = sys._getframe(2)
    files = []
    while frame:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    return any(OURS in file for file in files) and not any(file.endswith(READING) for file in files)


def children(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(path) as file:
                text = file.read()
        except OSError:
            continue
        if int(text.rpartition(")")[2].split()[1]) == pid:
            found.append(int(text.split()[0]))
    return found + [each for child in found for each in children(child)]


def step(what: str) -> None:
    """Count a step; don't come back from the one with the fault."""
    with open(STEPS, "a+") as file:
        file.seek(0)
        number = len(file.readlines())
        file.write(what.replace("\n", " ") + "\n")
    try:
        with open(FAULT) as file:
            fault, how = file.read().split()
    except OSError:
        return
    if int(fault) == number:
        for pid in children(os.getpid()) if how == "all" else []:
            os.kill(pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def counted(name: str, call: Any) -> Any:
    """Count the calls of a function."""

    def wrapper(*arguments: Any, **options: Any) -> Any:
        if is_step():
            step(f"{name} {arguments[1] if name == 'run' else arguments[0]}")
        return call(*arguments, **options)

    return wrapper


for each in ("chown", "mkdir", "rename", "rmdir", "symlink", "unlink"):
    setattr(os, each, counted(each, getattr(os, each)))
subprocess.Popen.__init__ = counted("run", subprocess.Popen.__init__)  # type: ignore[method-assign]
