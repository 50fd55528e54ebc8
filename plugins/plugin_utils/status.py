# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a look at a fleet amounts to: a row for each application of each host, and whether all is well.

Pure functions of what the role's tasks/status.yml found, so that every word of it can be tested without a host.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Row = dict[str, Any]

HEALTHY, DRIFTED, STOPPED, FAILED = "healthy", "drifted", "stopped", "failed"
NOT_DEPLOYED, UNREACHABLE = "not deployed", "unreachable"

WORST_FIRST = (FAILED, UNREACHABLE, STOPPED, NOT_DEPLOYED, DRIFTED, HEALTHY)

SERVING = (HEALTHY, DRIFTED)
"""States in which an application answers as it should."""

NOTHING = "-"
"""What a cell of the table says where there is nothing to say."""

COLUMNS = (
    *("host", "application", "state", "release", "up", "gunicorn", "python", "workers", "memory", "health"),
    "drift",
)

_KNOWN_LATER: Row = {
    "because": "",
    "described": False,
    **dict.fromkeys(("release", "since", "up", "gunicorn", "python", "workers", "memory", "health", "drift")),
    "drift_unknown": "",
}


def report(hosts: Mapping[str, Mapping[str, Any]], strict: bool, made: str) -> dict[str, Any]:
    """Put together what was found on each host: the rows, what is not well by host, and whether all is well.

    What was found is what tasks/status.yml of the role registers; empty or failed where that broke off:
      ``name``: `gunicorn_name`; ``described``: whether the inventory describes that application;
      ``problem``: why the host was not looked at, if it wasn't, and ``reached``: whether it answered;
      ``applications``: as the module ``gunicorn_info`` returns them;
      ``plan``: what a deploy would do, as `plan.make_plan` says it, or empty; ``unknown``: why there is none.
    """
    rows = [row for host, found in hosts.items() for row in _rows_of(host, found)]
    rows.sort(key=lambda row: WORST_FIRST.index(row["state"]))
    unhealthy: dict[str, list[str]] = {}
    for row in rows:
        complaint = _complaint(row, strict)
        if complaint:
            unhealthy.setdefault(row["host"], []).append(complaint)
    return {
        "made": made,
        "strict": strict,
        "well": bool(rows) and not unhealthy,
        "applications": rows,
        "unhealthy": unhealthy,
    }


def _rows_of(host: str, found: Mapping[str, Any]) -> list[Row]:
    broken = not found or found.get("failed")
    described = found["name"] if not broken and found["described"] else None
    base = {"host": host, "application": described, "state": FAILED, **_KNOWN_LATER}
    if broken:
        return [{**base, "because": "the look at the host broke off; the output above says why"}]
    if found["problem"]:
        state = FAILED if found["reached"] else UNREACHABLE
        return [{**base, "state": state, "because": one_line(found["problem"])}]
    rows = []
    for name, application in sorted(found["applications"].items()):
        rows.append({**base, "application": name, **_seen(application)})
    if described and described not in found["applications"]:
        rows.append({**base, "state": NOT_DEPLOYED})
    if not rows:
        return [{**base, "state": NOT_DEPLOYED, "because": "the role put nothing on the host"}]
    for row in rows:
        if row["application"] == described:
            row.update(described=True, **_drift(found))
        else:
            row["drift_unknown"] = "the inventory doesn't describe it"
        if row["state"] == HEALTHY and row["drift"]:
            row["state"] = DRIFTED
    return rows


def _seen(application: Mapping[str, Any]) -> Row:
    """What can be said of an application that the role put on a host."""
    keys = ("release", "since", "up", "gunicorn", "python", "workers", "memory", "health")
    state, because = _state(application)
    return {**{key: application[key] for key in keys}, "state": state, "because": one_line(because)}


def _state(application: Mapping[str, Any]) -> tuple[str, str]:
    """Give the word for the state of an application, and what explains it."""
    state, socket, health = application["state"], application["socket"], application["health"]
    if not application["release"]:
        return NOT_DEPLOYED, "no release has served"
    if state in ("inactive", "deactivating"):
        return STOPPED, "the next request starts it" if socket == "active" else ""
    if state not in ("active", "reloading"):
        return FAILED, f"systemd says: {state} ({application['sub_state']}), result {application['result']}"
    if socket != "active":
        return FAILED, f"its public socket is {socket}"
    if not health:
        return FAILED, "its health check is unknown: policy.json is gone"
    return (FAILED, health["problem"]) if health["problem"] else (HEALTHY, "")


def _drift(found: Mapping[str, Any]) -> Row:
    """What a deploy would change, in the plan's own words; None where that isn't known."""
    plan = found["plan"]
    if not plan:
        return {"drift": None, "drift_unknown": one_line(found["unknown"])}
    if plan["problems"]:
        return {"drift": None, "drift_unknown": "a deploy would stop: " + one_line(plan["problems"][0])}
    if not plan["work"]:
        return {"drift": [], "drift_unknown": ""}
    stages = f"stages of a deploy with something to do: {', '.join(plan['stages'])}"
    return {"drift": plan["summary"] or [stages], "drift_unknown": ""}


def _complaint(row: Row, strict: bool) -> str:
    """What is not well of a row; empty for nothing."""
    name = row["application"] or "the host"
    if row["state"] not in SERVING:
        return f"{name} is {row['state']}" if row["state"] != FAILED else f"{name} failed"
    if strict and row["described"] and row["drift"] != []:
        return f"{name} is drifted" if row["drift"] else f"of {name} the drift is unknown"
    return ""


def one_line(text: str) -> str:
    """First line of a text that says something, without Ansible's own word and what a terminal would act on."""
    line = next((line.strip() for line in str(text).splitlines() if line.strip()), "").removeprefix("Task failed: ")
    return "".join(each if each.isprintable() else "�" for each in line)


def remarks(row: Row) -> list[str]:
    """What is to be said of a row besides its cells."""
    lines = [row["because"]] if row["because"] else []
    lines += [f"a deploy would change: {one_line(line)}" for line in row["drift"] or []]
    if row["drift_unknown"] and (row["described"] or row["state"] in (HEALTHY, DRIFTED)):
        lines.append(f"drift unknown: {row['drift_unknown']}")
    return lines


def cells(row: Row) -> dict[str, str]:
    """Texts of a row, for people."""
    health = row["health"]
    shown = {key: NOTHING if row[key] is None else one_line(row[key]) or NOTHING for key in COLUMNS}
    shown["up"] = NOTHING if row["up"] is None else duration(row["up"])
    shown["memory"] = NOTHING if row["memory"] is None else f"{row['memory'] / 2**20:.0f} MiB"
    if health:
        shown["health"] = f"{health['status'] or 'no answer'}, {health['milliseconds']:.0f} ms"
    shown["drift"] = "unknown" if row["drift"] is None else "yes" if row["drift"] else "none"
    if row["state"] == UNREACHABLE:
        shown["drift"] = NOTHING
    return shown


def duration(seconds: int) -> str:
    """Seconds in the largest unit that they fill."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def table(found: Mapping[str, Any]) -> list[str]:
    """Write the rows as lines for a terminal, and below them what is to be said of them."""
    lines = [dict(zip(COLUMNS, map(str.upper, COLUMNS), strict=True)), *map(cells, found["applications"])]
    widths = {key: max(len(line[key]) for line in lines) for key in COLUMNS}
    written = ["  ".join(line[key].ljust(widths[key]) for key in COLUMNS).rstrip() for line in lines]
    for row in found["applications"]:
        name = " ".join(each for each in (row["host"], row["application"]) if each)
        written += [f"{name}: {remark}" for remark in remarks(row)]
    return written


def as_json(found: Mapping[str, Any]) -> str:
    """Write it for other programs."""
    return json.dumps({key: value for key, value in found.items() if key != "unhealthy"}, indent=2) + "\n"


def states(rows: Iterable[Row]) -> dict[str, int]:
    """Count the rows of each state."""
    counted: dict[str, int] = {}
    for row in rows:
        counted[row["state"]] = counted.get(row["state"], 0) + 1
    return counted
