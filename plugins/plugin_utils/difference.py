# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Say in words what differs between two releases, and what check mode can't tell of a run.

Part of the plan: pure functions of what is wanted and what was observed, which `plan.make_plan` describes. Values of
environment variables and of secrets are never said, nor can they be: the host's records don't hold them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 40
"""Characters of a value that is still shown."""

FOLLOWS = ("Exec", "Environment", "Load", "WorkingDirectory")
"""Beginnings of those directives of a unit that follow from something else which is said."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any], files: Mapping[str, Any], identity: str) -> list[str]:
    """What a release has that another one has not, in words.

    `old` is its record, `new` what is wanted or, to go back, the record of that; `files` are those of the host and
    `identity` is the new one's.
    """
    parts = {"code": "code", "Python packages": "venv"}
    found = [word for word, key in parts.items() if old[key] != new[key]]
    streams = [[each["listen_stream"] for each in side["addresses"]] for side in (old, new)]
    found += _named("addresses", _more_and_less(*streams))
    found += _named("settings", _values(old["settings"], new["settings"]))
    found += _named("environment variables", _more_and_less(old["environment"], new["environment"]))
    found += _named("secrets", _more_and_less(old["secrets"], new["secrets"]))
    found += _named("directives of the unit", _directives(old, new))
    said = " ".join(found)
    if "environment" not in said and _file_differs("environment", old, new, files, identity):
        found.append("values of environment variables")
    if _file_differs("before_activate", old, new, files, identity) and "secrets" not in said:
        found.append("gunicorn_before_activate")
    if not found and _file_differs("gunicorn.conf.py", old, new, files, identity):
        found.append("gunicorn.conf.py")
    if not found and new["secrets"]:
        found.append("the value of a secret")
    return found or ["the configuration"]


def policy_changes(observed: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """What is asked and kept from now on, where that changes; the rules of the firewall have lines of their own."""
    old, new = observed["policy"], plan["policy"]
    if not old:
        return []
    lines = []
    health = ", ".join(_values(old["health"], new["health"]))
    if health:
        asked = f"; release {plan['id']} is asked first" if plan["ask"] else ""
        lines.append(f"the health check changes ({health}){asked}")
    if old["firewall"] != new["firewall"] and not (plan["firewall"] or plan["obsolete_rules"]):
        lines.append("who may connect changes in policy.json; no firewall rule changes")
    if old["keep"] != new["keep"]:
        lines.append(f"releases to keep: {old['keep']} -> {new['keep']}")
    return lines


def _named(what: str, items: list[str]) -> list[str]:
    return [f"{what} ({', '.join(items)})"] if items else []


def _more_and_less(old: Iterable[str], new: Iterable[str]) -> list[str]:
    return [*(f"+{item}" for item in new if item not in old), *(f"-{item}" for item in old if item not in new)]


def _values(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Settings with their old and their new value, where these are short enough to read."""
    said = []
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            before, after = (str(side[name]) if name in side else "unset" for side in (old, new))
            short = max(len(before), len(after)) <= LONGEST and "\n" not in before + after
            said.append(f"{name} {before} -> {after}" if short else name)
    return said


def _directives(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the directives of the unit that differ; what they are set to may be nobody's business."""
    before = old["slot_unit"]
    for part in ("code", "venv"):
        before = before.replace(old[part], new[part])
    lines = set(before.splitlines()) ^ set(new["slot_unit"].splitlines())
    names = {line.split("=")[0] for line in lines if "=" in line and not line.startswith(("#", *FOLLOWS))}
    return sorted(names)


def _file_differs(
    name: str, old: Mapping[str, Any], new: Mapping[str, Any], files: Mapping[str, Any], identity: str
) -> bool:
    """Tell whether both releases have that file with different contents."""
    directory = f"/opt/{new['name']}/releases"
    there = files.get(f"{directory}/{old['id']}/{name}", {}).get("sha256")
    wanted = files.get(f"{directory}/{identity}/{name}", {}).get("sha256")
    if name in new["release_files"]:
        wanted = hashlib.sha256(new["release_files"][name].encode()).hexdigest()
    return bool(there and wanted and there != wanted)


def check_mode_limits(desired: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """What only the run itself finds out, for a user who reads what check mode says."""
    lines = []
    if plan["switch"]:
        commands = "runs gunicorn_before_activate, " if "/before_activate" in desired["check_unit"] else ""
        path = desired["policy"]["health"]["path"]
        lines.append(
            f"whether the release works: the run {'' if plan['restore'] else commands}starts it in private and asks "
            f"for {path} first"
        )
    if plan["passed_health"]:
        lines.append("whether it passes the health check of now, or only the one that it passed when it served last")
    if plan["ask"]:
        lines.append(f"whether release {plan['id']} passes the health check: the run asks it")
    if plan["venv"]:
        lines.append("whether the Python packages can be installed, and which versions of those that aren't pinned")
    if plan["missing_packages"]:
        lines.append("which other Debian packages come along")
    if plan["enable_firewall"]:
        lines.append("whether SSH comes in with ufw on: the run tries it, and turns ufw off again where it doesn't")
    return [f"check mode can't tell {line}" for line in lines]
