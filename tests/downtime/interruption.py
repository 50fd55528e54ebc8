"""Runs that are cut off: the moments at which to do it, and what a run that ended too early leaves behind."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ansible_collections.pyweb.deploy.tests.rig import CALLBACKS, Play

from .measure import Site

LONGEST = 5  # tasks that are cut off in the middle too

FAULTS = Path(__file__).with_name("faults")
PYTHON = "/usr/local/bin/python-with-faults"
STEPS, FAULT = "/run/pyweb-steps", "/run/pyweb-fault"


@dataclass(frozen=True)
class Cut:
    """A moment of a run: some seconds after a task has begun."""

    number: int
    name: str
    after: float = 0.0

    def __str__(self) -> str:
        return f"{self.number} {self.name.split(' : ')[-1]}" + (f", after {self.after:.1f} s" if self.after else "")


def on_server(site: Site, command: str) -> str:
    """Give a command for the controller's shell that runs another one on the server."""
    return shlex.join(["docker", "exec", f"pyweb-{site.server.name}", "sh", "-c", command])


def logged(log: Path) -> dict[str, str]:
    """Environment of a run whose tasks are written down."""
    log.unlink(missing_ok=True)
    return {**CALLBACKS, "CUT_LOG": str(log)}


def call_at(cut: Cut, command: str) -> dict[str, str]:
    """Environment of a run during which a command is called at a moment."""
    return {**CALLBACKS, "CUT_AT": str(cut.number), "CUT_AFTER": str(cut.after), "CUT_WITH": command}


def cut_during(site: Site, condition: str, command: str = ":") -> dict[str, str]:
    """Environment of a run that is killed as soon as a condition is true on the server, in the middle of a task."""
    wait = f"until ({condition}); do sleep 0.01; done; {command}"
    wait = f"cd /opt; timeout 300 sh -c {shlex.quote(wait)}".replace("{name}", site.name)
    return {**CALLBACKS, "CUT_DURING": on_server(site, wait)}


def read_cuts(log: Path) -> list[Cut]:
    """Give the middles of the longest tasks of a run that was written down."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    starts = [line for line in lines if "name" in line]
    lengths = {start["number"]: after["time"] - start["time"] for start, after in pairwise([*starts, lines[-1]])}
    longest = sorted(lengths, key=lengths.__getitem__)[-LONGEST:]
    return [
        Cut(start["number"], start["name"], round(lengths[start["number"]] / 2, 1))
        for start in starts
        if start["number"] in longest
    ]


class Steps:
    """The steps of modules on a server, see faults/sitecustomize.py."""

    def __init__(self, site: Site) -> None:
        self.site = site
        name = f"pyweb-{site.server.name}"
        site.server.run("mkdir -p /usr/local/lib/pyweb-faults")
        copy = ["docker", "cp", f"{FAULTS}/sitecustomize.py", f"{name}:/usr/local/lib/pyweb-faults/"]
        subprocess.run(copy, check=True, capture_output=True)
        wrapper = 'PYTHONPATH=/usr/local/lib/pyweb-faults exec /usr/bin/python3 "$@"'
        site.server.run(f"printf '#!/bin/sh\\n%s\\n' {shlex.quote(wrapper)} >{PYTHON} && chmod 755 {PYTHON}")
        site.variables["ansible_python_interpreter"] = PYTHON

    def of(self, deploy: Callable[[], Play]) -> list[str]:
        """Give those of a run that goes well."""
        self.site.server.run(f"rm -f {STEPS} {FAULT}")
        play = deploy()
        assert play, play.output
        return self.site.server.run(f"cat {STEPS}").splitlines()

    def kill_at(self, number: int, how: str) -> None:
        """Kill a module of the next run before a step: alone (``module``), or with what it has started (``all``)."""
        self.site.server.run(f"rm -f {STEPS}; echo {number} {how} >{FAULT}")

    def go_on(self) -> None:
        """Kill no more."""
        self.site.server.run(f"rm -f {FAULT}")


def leftovers(site: Site) -> list[str]:
    """Say what is there and should not be, on a server where a run has ended well."""
    found = []
    slots = site.shell(f"systemctl is-active {site.name}-blue.service {site.name}-green.service").split()
    if sorted(slots) not in (["active", "inactive"], ["active", "failed"]):
        found.append(f"slots: {slots}")
    check = site.shell(f"systemctl is-active {site.name}-check.service")
    if check not in ("inactive", "failed"):
        found.append(f"check: {check}")
    for parts, mark in (("code", ".complete"), ("venvs", ".complete"), ("releases", "release.json")):
        unfinished = site.shell(f"for part in {parts}/*; do test -e $part/{mark} || echo $part; done")
        found += [f"unfinished: {part}" for part in unfinished.split()]
    found += site.shell(f"ls -d build /run/systemd/system/{site.name}-build.service 2>/dev/null; true").split()
    current = site.shell("basename $(readlink current)")
    if site.answer() != f"{site.mark} {current}":
        found.append(f"{site.answer()!r} serves, current is {current}")
    return found
