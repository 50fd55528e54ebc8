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
from typing import IO, Any, Callable

DIRECTORY = "/run/pyweb.deploy"
PAUSE = 0.1


class LockError(Exception):
    """The lock isn't this run's, or somebody works under it; the text is for people, `details` for the action."""

    def __init__(self, text: str, **details: Any) -> None:
        super().__init__(text)
        self.details = details


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


def is_held(name: str) -> bool:
    """Tell whether a module is changing the application right now, without keeping it from that."""
    try:
        with open(os.path.join(DIRECTORY, name + ".lock"), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


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


def refusal(found: dict[str, Any], lease: dict[str, Any], now: float) -> str:
    """Why the lock can't be had; empty where it can.

    `found` is what the file holds: the run that had the lock last with ``until``, the second (of the host's clock since
    its start) at which its lease ends; 0 once it released the lock. `lease` is what the action asks for: ``holder``,
    the run; ``last_run``, the one that had the lock when it looked at the host; ``dead``, one that has ended without
    releasing it.
    """
    name = found.get("name", "")
    if found.get("run") in (None, lease["holder"]["run"]):
        return ""
    if found["until"] > now and found["run"] != lease["dead"]:
        return (
            f"{name}: another run is changing it: that of {found['user']} on {found['controller']} (process "
            f"{found['pid']}), since {found['since']}. Wait until it has ended, then run again. If it was cut off: "
            f"`truncate --size 0 {DIRECTORY}/{name}.lock` on the host"
        )
    if found["run"] != lease["last_run"]:
        return (
            f"{name}: another run has changed it since this one looked: that of {found['user']} on "
            f"{found['controller']}. Run again"
        )
    return ""


def take(file: IO[str], name: str, lease: dict[str, Any], stop_build: Callable[[], None]) -> None:
    """Take the lock for a run, or renew its lease, and keep the flock until `file` is closed.

    Where a run has ended without releasing the lock, its build is stopped first: it may go on without the module that
    started it. Raises `LockError` where another run has the lock, or a module still works on the host.
    """
    free, found = try_flock(file, seconds=1), read(file)
    reason = refusal(found, lease, time.monotonic())
    if reason:
        raise LockError(reason, holder=found, busy=found["until"] > time.monotonic())
    if not free or found.get("run") != lease["holder"]["run"]:
        stop_build()
    if not free:
        raise LockError(f"{name}: a module of an interrupted run still works on the host", working=True)
    write(file, {**lease["holder"], "name": name, "until": time.monotonic() + lease["seconds"]})


def leave(file: IO[str], seconds: float) -> None:
    """Keep the lock for so many seconds more; none gives it back."""
    write(file, {**read(file), "until": time.monotonic() + seconds if seconds else 0})
