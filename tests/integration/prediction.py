"""What a run says that it changes, and what is different on the server afterwards, in words that can be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.pyweb.deploy.tests.rig import Play, Server

CALLBACK = {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl"}
"""Environment of a run that `read` understands."""

PARTLY_KNOWN = ("gunicorn_packages", "gunicorn_firewall")
"""Modules whose real run shows more: what apt says, which Debian packages came along."""

MODULES = {"gunicorn_firewall": "ufw"}
"""What a module changes, where its result names no path."""


@dataclass(frozen=True)
class Change:
    """One task or item that a run reports as changed."""

    task: str
    label: str
    result: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.task} [{self.label}]" if self.label else self.task

    @property
    def thing(self) -> str:
        """What it changes on the server, as `different` names it."""
        action = str(self.result["action"]).rpartition(".")[2]
        if "thing" in self.result:
            return str(self.result["thing"])
        if "unit" in self.result:
            return unit_of(self.result["unit"])
        if action in MODULES:
            return MODULES[action]
        place = str(self.result["dest"])
        return "user" if place.startswith("user ") else path_of(place)


@dataclass(frozen=True)
class Told:
    """What a run says: what it changes, its plan in words, and the number in its recap."""

    changes: list[Change]
    plan: list[str]
    count: int
    diff: list[dict[str, str]]
    """What ``--diff`` shows, but for `PARTLY_KNOWN`."""


def read(play: Play) -> Told:
    """Read the output of a run with `CALLBACK`."""
    changes, plan, count, diff = [], [], 0, []
    for line in play.output.splitlines():
        event = json.loads(line) if line.startswith("{") else {}
        if event.get("_event") == "v2_playbook_on_stats":
            count = sum(host["changed"] for host in event["stats"].values())
        if event.get("_event") != "v2_runner_on_ok":
            continue
        task = event["task"]["name"].rpartition(" : ")[2]
        for result in event["hosts"].values():
            if result["action"].endswith("debug") and isinstance(result["msg"], list):
                plan = result["msg"]  # no other message is a list
            for item in result.get("results", [result]):
                if item["changed"]:
                    changes += changes_of(task, {"action": result["action"], **item})
                    if not result["action"].endswith(PARTLY_KNOWN):
                        diff += item["diff"]
    return Told(changes, plan, count, diff)


def changes_of(task: str, result: dict[str, Any]) -> list[Change]:
    """Give the change that a result tells of; one that tells of several files, a change for each of them."""
    action = str(result["action"]).rpartition(".")[2]
    if action == "gunicorn_firewall":
        return [Change(task, step["step"], result) for step in result["steps"] if step["changed"]]
    changes = [Change(task, thing, {**result, "dest": thing}) for thing in result["changes"]]
    changes += [
        Change(task, step["step"], {**result, "unit": step["unit"]})
        for step in result["steps"]
        if "unit" in step  # what is about something else is a change already
    ]
    if action == "gunicorn_packages":
        changes.append(Change(task, "packages", {**result, "thing": "packages"}))
    return changes


def state_of(server: Server) -> str:
    """What a play may change, and which start of each unit it is: one that was restarted looks the same otherwise."""
    shown = server.run("systemctl show --property Id,InvocationID 'hello*'").split("\n\n")
    starts = [dict(line.split("=", 1) for line in unit.splitlines()) for unit in shown]
    lines = [f"started {unit['Id']} {unit['InvocationID']}" for unit in starts if unit.get("InvocationID")]
    return "\n".join([server.state(), *lines])


def unit_of(unit: str) -> str:
    """Name what a unit is part of: a slot's private socket comes and goes with the slot."""
    return "unit " + re.sub(r"(-\w+)\.(service|socket)$", r"\1", unit)


def path_of(path: str) -> str:
    """Name what a path is part of: code is brought as a whole, an installed package brings files to /etc."""
    for pattern, name in (
        (r"(/opt/\w+/(?:code|venvs)/[^/]+).*", "{0}"),
        (r"/opt/\w+/releases/\w+/secrets.*", "secrets"),
        (r"/etc/ufw(?:/.*)?", "ufw"),
        (r"/etc/systemd/system/(?:[\w.]+\.wants/)?(\w+)\.(service|socket)", "unit {0}.{1}"),
        (r"(/etc/systemd/system/\w+-\w+\.(?:service|socket)|/etc/logrotate\.d/pyweb.*)", "{0}"),
        (r"/etc(?:/.*)?", "the rest of /etc"),
        (r"/run/gunicorn/(\w+-\w+).*", "unit {0}"),
        (r"/(?:run|var/lib|var/log)/gunicorn(?:/.*)?", "directories of the service's own"),
    ):
        match = re.fullmatch(pattern, path)
        if match:
            return name.format(*match.groups())
    return path


def lines_of(state: str) -> Iterator[tuple[str, str]]:
    """Give each line of `state_of` with the name of the thing that it is about; of a directory without its size."""
    for line in state.splitlines():
        kind, key, *rest = line.split(" ", 2)
        if kind == "path":
            yield path_of(key), re.sub(r"^(path \S+ d \S+ \S+ \S+) \d+", r"\1", line)
        elif kind == "started":
            yield unit_of(key), line
        elif kind == "unit":
            _load, active, _detail, description = rest[0].split(maxsplit=3)
            yield unit_of(key), f"{key} {active} {description}"
        elif kind in ("package", "user"):
            yield {"package": "packages"}.get(kind, kind), line
        else:
            yield path_of(key or rest[0]), line


def different(before: str, after: str) -> dict[str, list[str]]:
    """Give each thing that is not as it was, with the lines that tell so."""
    found: dict[str, list[str]] = {}
    # A removed release, code or venv goes with all that is in it.
    directories = [set(re.findall(r"^path (\S+) d ", state, re.MULTILINE)) for state in (before, after)]
    gone = tuple(f"{path}/" for path in directories[0] - directories[1])
    for thing, line in sorted(set(lines_of(before)) ^ set(lines_of(after))):
        place = re.search(r" (/\S+)", line)
        if not (place and place[1].startswith(gone)):
            found.setdefault(thing, []).append(line)
    return found
