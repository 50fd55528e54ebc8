"""What a command costs: seconds, CPU seconds and memory, of it and of all that it starts."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.pyweb.deploy.tests.rig import ROOT

RELEASE = "debian13"
"""What the servers run."""

RESULTS = ROOT / ".cache" / "bench" / "results.json"
"""What was measured so far: each part can be measured by itself."""

INTERVAL = 0.25
"""Seconds between two looks at the memory."""


class CommandFailedError(Exception):
    """A contender failed: there is nothing to compare."""


@dataclass(frozen=True)
class Cost:
    """What one run cost on the controller."""

    seconds: float
    cpu: float
    """Seconds of CPU of the command and of what it waited for; not of what goes on in the background."""
    memory: int
    """Proportional set size at the highest, in bytes, of the command and everything below it."""


@dataclass
class Costs:
    """What several runs of the same cost."""

    runs: list[Cost] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def cpu(self) -> float:
        """Seconds of CPU, the median."""
        return statistics.median(run.cpu for run in self.runs)

    @property
    def memory(self) -> int:
        """Bytes, the highest."""
        return max(run.memory for run in self.runs)

    @property
    def range(self) -> tuple[float, float]:
        """Seconds, the least and the most."""
        seconds = [run.seconds for run in self.runs]
        return min(seconds), max(seconds)


def stored() -> dict[str, Any]:
    """Read `RESULTS`: ``results`` of deploys, ``with`` what they were made, and ``served`` applications."""
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {"results": {}, "with": {}, "served": [], **found}


def store(data: dict[str, Any]) -> None:
    """Write `RESULTS`."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(data, indent=1))


def below(pid: int) -> set[int]:
    """Process and all that descend from it, as far as they are still there."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except OSError:
            continue
        if fields:
            parents[int(entry.name)] = int(fields[1])
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found


def memory_of(pids: set[int]) -> int:
    """Proportional set size of processes together, in bytes."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def run(command: list[str], environment: Mapping[str, str], directory: Path, log: Path) -> Cost:
    """Run a command; its output goes to a file. Raises `CommandFailedError` where it fails."""
    peak = 0
    stop = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not stop.wait(INTERVAL):
            peak = max(peak, memory_of(below(process.pid)))

    with log.open("w") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        watcher = threading.Thread(target=watch)
        watcher.start()
        _pid, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        stop.set()
        watcher.join()
    if process.returncode != 0:
        raise CommandFailedError(f"{' '.join(command)}: exit status {process.returncode}, see {log}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, peak)
