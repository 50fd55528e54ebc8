# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The deploy lock of an application: which run may change it, and whether a module is at it right now.

Two things in one file, ``/run/pyweb.deploy/NAME.lock``. Its content says which run of Ansible has the lock and until
when (the lease). An flock on it says that a module is working: the kernel drops it when the module ends, however it
ends. So a run whose controller was killed is followed at once, but never while one of its modules still works.

The file is written in place, never renamed or removed: an flock belongs to the file, not to its name.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import IO, Any

DIRECTORY = "/run/pyweb.deploy"
PAUSE = 0.1


class LockError(Exception):
    """The lock isn't this run's, or somebody works under it; the text is for people."""


def open_file(name: str) -> IO[str]:
    """Open the lock file of an application, which is created where there is none. Children don't inherit it."""
    os.makedirs(DIRECTORY, mode=0o755, exist_ok=True)
    descriptor = os.open(os.path.join(DIRECTORY, name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    return open(descriptor, "r+", encoding="utf-8")


def try_flock(file: IO[str], seconds: float = 0) -> bool:
    """Take the flock, within so many seconds; ``False`` where another process has it for longer."""
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(PAUSE)
        else:
            return True


def read(file: IO[str]) -> dict[str, Any]:
    """Content of the file; empty where no run had the lock yet, or a write broke off."""
    file.seek(0)
    try:
        found = json.loads(file.read())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def write(file: IO[str], entry: dict[str, Any]) -> None:
    """Replace the content of the file."""
    file.seek(0)
    file.truncate()
    file.write(json.dumps(entry))
    file.flush()


def hold(name: str, run: str) -> IO[str]:
    """Keep the application for a module of the run that has its lock, until the file is closed.

    Raises `LockError` where the run doesn't have the lock (any more), or another module is at work.
    """
    file = open_file(name)
    if not try_flock(file, seconds=1):
        raise LockError(f"{name}: another module is changing it right now. Wait until it has ended, then run again")
    if read(file).get("run") != run:
        raise LockError(f"{name}: the deploy lock isn't this run's any more: another run took it. Run again")
    return file
