# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What an application that runs shows of itself: its processes, the memory that they take, its health."""

from __future__ import annotations

import glob
import time
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils.probe import ask
from ansible_collections.pyweb.deploy.plugins.module_utils.reading import read

PATIENCE = 10
"""Seconds to wait for the answer to a health check at the most: somebody waits for the whole fleet."""

WORKER_TITLE = "gunicorn: worker"
"""How a worker's command line begins where setproctitle is installed."""


def started_by() -> dict[str, list[str]]:
    """Processes by the one that started them."""
    found: dict[str, list[str]] = {}
    for path in glob.iglob("/proc/[0-9]*/stat"):
        # The name of the program, which comes before, may hold anything.
        fields = read(path).rpartition(")")[2].split()
        if fields:
            found.setdefault(fields[1], []).append(path.split("/")[2])
    return found


def processes(main: str) -> dict[str, Any]:
    """Count the workers of a master, and the memory that it takes with all that it started.

    A page that several processes share counts once (Pss in proc_pid_smaps_rollup(5)).
    """
    tree = started_by()
    own = read(f"/proc/{main}/cmdline")
    titles = (read(f"/proc/{child}/cmdline") for child in tree.get(main, []))
    # The master may start other programs; a worker is a copy of itself.
    workers = sum(1 for title in titles if title and (title == own or title.startswith(WORKER_TITLE)))
    family, kilobytes = [main], 0
    for process in family:
        family += tree.get(process, [])
        for line in read(f"/proc/{process}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return {"workers": workers, "memory": kilobytes * 1024}


def running_since(monotonic: str) -> dict[str, Any]:
    """When a unit became active, from systemd's ActiveEnterTimestampMonotonic=, and for how many seconds it is."""
    # Not systemd's other time stamp: how that is written depends on the host.
    seconds = int(time.clock_gettime(time.CLOCK_MONOTONIC) - int(monotonic) / 1000000)
    return {"since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds)), "up": seconds}


def health(path: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Ask once at a private socket: status, what is wrong, and how long it took."""
    patience = min(wanted["timeout"], PATIENCE)
    started = time.monotonic()
    status, problem = ask({"host": "", "port": 0, "path": path}, wanted, patience)
    return {"status": status, "problem": problem, "milliseconds": round((time.monotonic() - started) * 1000, 1)}
