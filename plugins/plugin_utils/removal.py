# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What has to go where an application is to be absent, and what stays.

A pure function, as `plan.make_plan` is for an application that is to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils import build_unit
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import USER_COMMENT
from ansible_collections.pyweb.deploy.plugins.plugin_utils import firewall
from ansible_collections.pyweb.deploy.plugins.plugin_utils.plan import LOG_ROTATION, UNIT_DIRECTORY

WRITTEN = ("/var/lib/gunicorn", "/var/log/gunicorn")
"""Where applications have directories of their own to write."""

RUNTIME = "/run/gunicorn"
SSH_COMMENT = "ssh"


def make_removal(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, Any]:
    """Decide what a run has to do that removes an application.

    `desired` holds ``name``, ``drain`` (whether the user has tasks for that), ``remove_data`` and ``remove_packages``;
    `observed` is what the module ``gunicorn_info`` returns. Only what the role put on the host counts: units and
    directories that bear its mark, a user with its comment, firewall rules with its comment.

    Returns the plan: ``units``, ``chown_to_root``, ``users`` and ``paths``, as the module ``gunicorn_remove`` documents
    them, ``obsolete_rules``, ``remove_packages``, ``stages`` (those with something to do) and ``summary`` for people.
    """
    name, unmanaged = desired["name"], observed["unmanaged"]
    build = build_unit.unit_path(name)
    units = [path for path in observed["files"] if path.startswith(f"{UNIT_DIRECTORY}/") and path not in unmanaged]
    units += [build] if build in observed["unfinished"] and build not in unmanaged else []
    # systemd takes the name of the service back from the slot that has it, where there is one.
    lost = observed["live"] and f"{UNIT_DIRECTORY}/{name}-{observed['live']}.service" not in units
    alias = [f"{UNIT_DIRECTORY}/{name}.service"] if lost else []
    written = [f"{place}/{name}" for place in WRITTEN if name in observed["shared"].get(place, [])]
    user = [name] if observed["user"].get("gecos") == USER_COMMENT.format(name=name) else []
    builder = [f"{name}-build"] if observed["build_user"].get("gecos") == build_unit.COMMENT.format(name=name) else []
    staying = _why_packages_stay(desired, observed)
    packages = observed["installed_by_role"] if desired["remove_packages"] and not staying else []
    paths = list(_paths(desired, observed, written))
    rules = observed["firewall"]["rules"] if observed["firewall"]["installed"] else []
    enabled = observed["firewall"]["enabled"]
    plan = {
        "problems": [],
        "name": name,
        "check_mode_limits": [],
        "id": "",
        "serving": next((slot["release"] for slot in observed["slots"].values() if slot["active"]), ""),
        "units": [*units, *alias],
        "chown_to_root": written if user and not desired["remove_data"] else [],
        "users": [*user, *builder],
        "paths": paths,
        "obsolete_rules": rules,
        "remove_packages": packages,
        "ask_ufw": bool(rules),
        "netfilter": enabled,
        "netfilter6": enabled and observed["firewall"]["ipv6"],
    }
    stages = {
        "drain": desired["drain"] and plan["units"],
        "remove": any(plan[part] for part in ("units", "users", "paths", "remove_packages")),
        "withdraw": rules,
        "packages": packages,
    }
    plan["stages"] = [stage for stage, needed in stages.items() if needed]
    plan["work"] = plan["remove"] = bool(plan["stages"])
    plan["summary"] = list(_summary(desired, observed, plan, written, staying)) if plan["work"] else []
    return plan


def _paths(desired: Mapping[str, Any], observed: Mapping[str, Any], written: list[str]) -> Iterable[str]:
    """Files and directories to remove besides the units. A shared directory goes with the last that is in it."""
    name, shared = desired["name"], observed["shared"]
    rotation = LOG_ROTATION.format(name=name)
    if rotation in observed["files"]:
        yield rotation
    for place in WRITTEN:
        if desired["remove_data"] and shared.get(place) == [name]:
            yield place
        elif desired["remove_data"] and f"{place}/{name}" in written:
            yield f"{place}/{name}"
        elif shared.get(place) == [] and not observed["applications"]:
            yield place
    if RUNTIME in shared and not observed["applications"] and all(_is_ours(name, item) for item in shared[RUNTIME]):
        yield RUNTIME
    root = f"/opt/{name}"
    if observed["root"] and root not in observed["unmanaged"]:
        yield root  # it bears the mark of the role, so it goes last


def _is_ours(name: str, item: str) -> bool:
    """Tell whether something in /run/gunicorn is the application's: its sockets, the directories of its slots."""
    return item.startswith((f"{name}-", f"{name}."))


def _why_packages_stay(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> str:
    """Why the Debian packages that the role installed are not removed; empty where they may be."""
    if observed["applications"]:
        return f"{', '.join(observed['applications'])} may need them"
    if "ufw" in observed["installed_by_role"] and observed["firewall"]["enabled"]:
        return "ufw is among them and on; after `ufw disable`, gunicorn_remove_packages: true removes them"
    if "ufw" in observed["installed_by_role"] and any(
        rule["comment"] != SSH_COMMENT for rule in observed["firewall"]["unmanaged"]
    ):
        return "ufw is among them and has rules that are not the role's (`ufw show added`)"
    return "" if desired["remove_packages"] else "gunicorn_remove_packages: true removes them"


def _summary(
    desired: Mapping[str, Any],
    observed: Mapping[str, Any],
    plan: Mapping[str, Any],
    written: list[str],
    staying: str,
) -> Iterable[str]:
    """Say in a few lines what goes and what stays."""
    name = desired["name"]
    if plan["units"]:
        serving = plan["serving"]
        yield f"{name}: " + (f"release {serving} stops serving" if serving else "its units go; nothing serves")
    yield from (f"firewall: withdraw {firewall.rule_text(rule)}" for rule in plan["obsolete_rules"])
    yield from (f"remove {path}" for path in plan["paths"])
    yield from (f"remove the user {user}" for user in plan["users"])
    if plan["remove_packages"]:
        yield f"remove the Debian packages {', '.join(plan['remove_packages'])}"
    elif observed["installed_by_role"]:
        yield f"stays: the Debian packages {', '.join(observed['installed_by_role'])}: {staying}"
    if written and not desired["remove_data"]:
        owner = ", root's from now on" if plan["chown_to_root"] else ""
        yield f"stays: {' and '.join(written)}{owner}; gunicorn_remove_data: true removes what the application wrote"
    if observed["firewall"]["enabled"] and any(
        rule["comment"] == SSH_COMMENT for rule in observed["firewall"]["unmanaged"]
    ):
        yield "stays: ufw, which is on, and its rules for SSH"
    yield from (f"stays: {path}, which the role did not make" for path in observed["unmanaged"])
