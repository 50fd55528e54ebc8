"""Runs that are cut off: the moments at which to do it, and what a run that ended too early leaves behind."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ansible_collections.pyweb.deploy.tests.rig import CALLBACKS

from .measure import Site

LONGEST = 5  # tasks that are cut off in the middle too

# What a run may leave behind, as shell conditions in the application's directory.
UNFINISHED = "for part in {parts}/*; do [ ! -d $part ] || [ -e $part/{mark} ] || exit 0; done; exit 1"
SERVED = "tr '\\0' '\\n' </proc/$(systemctl show --property MainPID --value {name}.service)/environ"
MOMENTS = {
    "a generation without its mark": UNFINISHED.format(parts="generations", mark="generation.json"),
    "the new generation runs in private": "systemctl --quiet is-active {name}-check.service",
    "the new generation serves, and is not recorded": (
        f"{SERVED} | grep -q ^GUNICORN_GENERATION= && "
        f"! {SERVED} | grep -qx GUNICORN_GENERATION=$(basename $(readlink current || echo none))"
    ),
}
BESIDE = {
    "both slots are active": "systemctl --quiet is-active {name}-blue.service && "
    "systemctl --quiet is-active {name}-green.service"
}
# All that a run may change, without what a service writes.
STATE = """
find /opt/{name} /etc/passwd /etc/systemd/system /etc/ufw /run/pyweb.deploy /var/lib/pyweb.deploy \
    ! -path '/opt/*/venvs/*/lib/*' -printf '%p %i %C@\\n' 2>/dev/null | sort | sha256sum
systemctl list-units --all --plain --no-legend '{name}*' | sed -E 's/  +/ /g' | sha256sum
"""


@dataclass(frozen=True)
class Cut:
    """A moment of a run: before a task, or some seconds after it has begun; and what is true on the server then."""

    number: int
    name: str
    after: float = 0.0
    moments: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.number} {self.name.split(' : ')[-1]}" + (f", after {self.after:.1f} s" if self.after else "")


def on_server(site: Site, command: str) -> str:
    """Give a command for the controller's shell that runs another one on the server."""
    return shlex.join(["docker", "exec", f"pyweb-{site.server.name}", "sh", "-c", command])


def logged(log: Path, site: Site, moments: dict[str, str]) -> dict[str, str]:
    """Environment of a run that is written down, with what is true on the server at each task."""
    log.unlink(missing_ok=True)
    tell = "".join(f"({condition}) >/dev/null 2>&1 && echo {moment!r}\n" for moment, condition in moments.items())
    command = f"cd /opt/{site.name} 2>/dev/null && {{\n{tell}}}\n{STATE}".replace("{name}", site.name)
    return {**CALLBACKS, "CUT_LOG": str(log), "CUT_STATE": on_server(site, command)}


def cut_at(cut: Cut, command: str = "") -> dict[str, str]:
    """Environment of a run that is killed at a moment; or one during which a command is called then."""
    return {**CALLBACKS, "CUT_AT": str(cut.number), "CUT_AFTER": str(cut.after), "CUT_WITH": command}


def cut_during(site: Site, condition: str, command: str = ":") -> dict[str, str]:
    """Environment of a run that is killed as soon as a condition is true on the server, in the middle of a task."""
    wait = f"until ({condition}); do sleep 0.01; done; {command}"
    wait = f"cd /opt; timeout 300 sh -c {shlex.quote(wait)}".replace("{name}", site.name)
    return {**CALLBACKS, "CUT_DURING": on_server(site, wait)}


def read_cuts(log: Path) -> list[Cut]:
    """Give the moments at which such a run can be cut off: each state of the server, and the middle of long tasks."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    starts = [line for line in lines if "name" in line]
    lengths = {start["number"]: after["time"] - start["time"] for start, after in pairwise([*starts, lines[-1]])}
    longest = sorted(lengths, key=lengths.__getitem__)[-LONGEST:]
    cuts = []
    for before, start in pairwise(starts):
        number, name = start["number"], start["name"]
        moments = frozenset(moment for moment in start["state"].splitlines() if moment in {**MOMENTS, **BESIDE})
        if start["state"] != before["state"]:
            cuts.append(Cut(number, name, moments=moments))
        if number in longest:
            cuts.append(Cut(number, name, round(lengths[number] / 2, 1), moments))
    return cuts


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
    found += site.shell(f"ls -d build /run/systemd/system/{site.name}-build.service 2>/dev/null; true").split()
    current = site.shell("basename $(readlink current)")
    if site.answer() != f"{site.mark} {current}":
        found.append(f"{site.answer()!r} serves, current is {current}")
    return found
