"""Runs that are cut off: which tasks a run has, and what a run that ended too early leaves behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from .measure import Site

PLUGINS = Path(__file__).parent / "callback_plugins"
LONG = 1.0  # seconds; a task that takes longer is cut off in the middle too


@dataclass(frozen=True)
class Cut:
    """A moment of a run."""

    number: int
    name: str
    after: float = 0.0

    def __str__(self) -> str:
        return f"{self.number} {self.name.split(' : ')[-1]}" + (f", after {self.after:.1f} s" if self.after else "")


def callback(log: Path, cut: Cut | None = None, command: str = "") -> dict[str, str]:
    """Environment of a run that is written down, and cut off."""
    log.unlink(missing_ok=True)
    environment = {"ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS), "ANSIBLE_CALLBACKS_ENABLED": "cut", "CUT_LOG": str(log)}
    if cut:
        environment |= {"CUT_AT": str(cut.number), "CUT_AFTER": str(cut.after)}
    if command:
        environment |= {"CUT_WITH": command}
    return environment


def read_cuts(log: Path) -> list[Cut]:
    """Give the moments at which such a run can be cut off: each task that did something, long ones twice."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    active = {line["number"] for line in lines if line.get("outcome") == "ok"}
    starts = [line for line in lines if "name" in line]
    cuts = []
    for start, following in pairwise([*starts, {**lines[-1], "name": ""}]):
        seconds = following["time"] - start["time"]
        if start["number"] in active:
            cuts.append(Cut(start["number"], start["name"]))
            cuts += [Cut(start["number"], start["name"], round(seconds / 2, 1))] if seconds > LONG else []
    return cuts


def find_cut(log: Path, name: str, after: float) -> Cut:
    """Give a moment in the task of that name, whether it did something or not."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return next(Cut(line["number"], name, after) for line in lines if line.get("name", "").endswith(name))


def leftovers(site: Site) -> list[str]:
    """Say what is there and should not be, on a server where a run has ended well."""
    found = []
    slots = site.shell(f"systemctl is-active {site.name}-blue.service {site.name}-green.service").split()
    if sorted(slots) not in (["active", "inactive"], ["active", "failed"]):
        found.append(f"slots: {slots}")
    check = site.shell(f"systemctl is-active {site.name}-check.service")
    if check not in ("inactive", "failed"):
        found.append(f"check: {check}")
    for parts, mark in (("releases", ".complete"), ("venvs", ".complete"), ("generations", "generation.json")):
        unfinished = site.shell(f"for part in {parts}/*; do test -e $part/{mark} || echo $part; done")
        found += [f"unfinished: {part}" for part in unfinished.split()]
    current = site.shell("basename $(readlink current)")
    if site.answer() != f"{site.mark} {current}":
        found.append(f"{site.answer()!r} serves, current is {current}")
    return found
