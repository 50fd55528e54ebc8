# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Compare what is wanted with what was observed: which stages of the role have something to do, and why.

A pure function of two dictionaries, so that every decision of a deploy can be tested without a host.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils import build_unit
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import (
    ID_PLACEHOLDER,
    LAYOUT,
    SLOT_PLACEHOLDER,
    SLOTS,
    USER_COMMENT,
)
from ansible_collections.pyweb.deploy.plugins.module_utils.source import short_digest
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import BUSY
from ansible_collections.pyweb.deploy.plugins.plugin_utils import bind, difference, firewall
from ansible_collections.pyweb.deploy.plugins.plugin_utils.settings import CERTIFICATES

SYSTEMS = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04")}
OLDEST_PYTHON = (3, 10)
UNIT_DIRECTORY = "/etc/systemd/system"
LOG_ROTATION = "/etc/logrotate.d/pyweb.deploy-{name}"

RETURN_WATCH = 1
"""Seconds for which a release that is gone back to is watched: it has served before, and there may be a hurry."""


def make_plan(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, Any]:
    """Decide what a run has to do.

    `desired` holds:
      ``name``, ``user``, ``create_user``, ``force``, ``code``, ``venv``, ``python``, ``packages``;
      ``firewall_packages``: those of the packages that only ufw needs;
      ``tools``: names among the venvs of what only builds them;
      ``existing``: empty, or the directory of the host that somebody else keeps the code in: it is used as it is;
      ``source_problems``: messages about the source;
      ``restore``: empty, or the release to go back to (``previous`` or an id); then only ``name`` and
      ``tools`` are looked at, and the rest is taken from that release's record and from the policy on the host;
      ``addresses``: dictionaries with ``host``, ``port``, ``path``, ``listen_stream``, ``needs_rule``, ``destination``;
      ``tls``: whether it speaks TLS;
      ``policy``: what doesn't change how a release behaves. ``health``: what a healthy answer is, for the module
      ``gunicorn_check``, and ``watch``, for how long to go on asking; ``firewall``: the clients allowed, or ``None``;
      ``keep``: how many releases stay;
      ``credentials``: settings of Gunicorn that name files of the host which systemd hands to the service;
      ``release_files``: name in the release's directory to text;
      ``settings``: those of Gunicorn, and ``environment``: names of the variables, both only to say what differs;
      ``secrets``: names of the secrets, sorted; ``secrets_digest``: what differs when one of them does;
      ``slot_unit``, ``check_unit``, ``private_socket``: texts of a slot's units with the placeholders in them;
      ``public_socket``: text of the public socket's unit;
      ``log_rotation``: text of the configuration of logrotate; empty where the logs go to the journal;
      ``check_config``: text of the program that checks a configuration;
      ``drain`` and ``enroll``: whether the user has tasks to take the host out of a load balancer, and to put it back;
      ``rules``: dictionaries with ``port``, ``source``, ``destination``, ``interface`` (empty for all of them) and
      ``action`` (``allow`` or ``limit``), or ``None`` to leave the firewall alone;
      ``firewall_enable``.

    `observed` is what the module ``gunicorn_info`` returns.

    Returns a dictionary: ``problems`` (messages; the run must stop), ``id`` of the release, ``slot`` that it gets
    and ``old_slot`` that serves until then, one boolean or list per stage, ``stages`` (those that have something to
    do) and ``summary`` for people.
    """
    restore, problems = str(desired["restore"]), list(_layout_problems(desired["name"], observed))
    if restore and not problems:
        restore = observed["previous"] if restore == "previous" else restore
        problems += _restore_problems(desired, observed, restore)
    if problems:
        return {"problems": problems, "name": desired["name"], "summary": [], "work": False, "stages": []}
    if restore:
        desired = _as_recorded(desired, observed, restore)
    identity = restore or release_id(desired)
    live = _live_slot(observed)
    serving = observed["slots"][live]["release"] if live and observed["slots"][live]["active"] else ""
    force = bool(desired["force"])

    new = identity not in observed["releases"]
    lost = _lost_secrets(desired["secrets"], observed, identity)
    configure = new or bool(lost or _differing_release_files(desired, observed, identity))
    checker = {f"/opt/{desired['name']}/check_config.py": desired["check_config"]} if not restore else {}
    socket = _socket_stage(desired, observed)
    units_differ = bool(live) and bool(_differing(_unit_texts(desired, identity, live), observed["files"]))
    # One that runs without the mark that it has served was not watched to the end: the run was killed before.
    watched = _has_served(observed, identity)
    switch = serving != identity or not watched or configure or units_differ or socket["change"]
    slot = _other(live) if switch else live
    other_runs = observed["slots"][_other(slot)]["state"] in BUSY
    recorded = observed["current"] == identity
    log_rotation = _log_rotation(desired)
    if not force:
        log_rotation = {path: log_rotation[path] for path in _differing(log_rotation, observed["files"])}
    activate = switch or other_runs or observed["live"] != slot or not recorded or bool(log_rotation)
    ufw = firewall.stage(desired, observed)
    unwanted = desired["firewall_packages"] if firewall.is_left_alone(observed) else []
    packages = [name for name in desired["packages"] if name not in unwanted]
    previous = next(
        # A run that broke off may not have recorded yet that the release serves.
        (item for item in (serving, observed["current"]) if item not in ("", identity)),
        observed["previous"],
    )
    prune = _prune_stage(desired, observed, identity, previous)
    policy, passed = desired["policy"], observed["releases"].get(identity, {}).get("passed", {})
    if restore and not switch:  # an interrupted run went back already, maybe with the check that it passed before
        policy = {**policy, "health": passed}

    plan = {
        "problems": [*desired["source_problems"], *host_problems(desired, observed)],
        "name": desired["name"],
        "restore": bool(restore),
        "id": identity,
        "record": _record(desired, identity),
        "policy": policy,
        "policy_change": policy != observed["policy"] or passed != policy["health"],
        "health": _question(policy["health"], desired),
        "passed_health": _question(passed, desired) if restore and passed not in ({}, policy["health"]) else {},
        "ask": not switch and passed != policy["health"],
        "watch": min(policy["health"]["watch"], RETURN_WATCH if restore else sys.maxsize),
        "public": [{key: address[key] for key in ("host", "port", "path")} for address in desired["addresses"]],
        "serving": serving,
        "names": {"id": identity, "code": desired["code"], "venv": desired["venv"]},
        "misnamed_slot": live if observed["live"] != live else "",
        "slot": slot,
        "old_slot": live if switch else "",
        "other_slot": _other(slot),
        "previous": previous,
        "packages": packages,
        "missing_packages": [name for name in packages if name not in observed["packages"]],
        "create_user": desired["create_user"] and not observed["user"],
        "bring_code": not desired["existing"] and (force or desired["code"] not in observed["code"]),
        "venv": force or desired["venv"] not in observed["venvs"],
        "configure": configure or force,
        "units": _units_to_write(desired, observed, identity, slot, switch, force),
        "log_rotation": log_rotation,
        "switch": switch,
        "socket": {
            "text": desired["public_socket"],
            "previous": observed["releases"].get(serving, {}).get("public_socket", ""),
            "restart": socket["restart"],
            "conflict": socket["conflict"],
        },
        "socket_change": socket["change"],
        "activate": activate or force,
        "firewall": bool(ufw["missing"] or ufw["enable"]) or (force and ufw["ours"]),
        "rules": ufw["wanted"] if force else ufw["missing"],
        "obsolete_rules": ufw["obsolete"],
        "enable_firewall": ufw["enable"],
        "ssh_rules": ufw["ssh"],
        "netfilter": ufw["enable"] or observed["firewall"]["enabled"],
        "netfilter6": (ufw["enable"] or observed["firewall"]["enabled"]) and observed["firewall"]["ipv6"],
        "obsolete_paths": prune,
        "remove": False,
    }
    lacking = plan["missing_packages"] or observed["missing_directories"] or _differing(checker, observed["files"])
    plan["prepare"] = bool(lacking) or plan["create_user"] or force
    plan["check"] = bool(switch or plan["units"] or log_rotation or plan["misnamed_slot"])
    plan["stages"] = _stages(desired, observed, plan)
    plan["compare"] = _unshown(desired, plan)
    plan["work"] = bool(plan["stages"])
    plan["ask_ufw"] = bool(plan["firewall"] or plan["obsolete_rules"])
    plan["summary"] = [*_summary(desired, observed, plan), *firewall.notes(desired, observed, plan)]
    plan["check_mode_limits"] = difference.check_mode_limits(desired, plan)
    return plan


def _stages(desired: Mapping[str, Any], observed: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Names of the stages that have something to do, in their order."""
    force = desired["force"]
    stages = {
        "code": plan["prepare"] or plan["bring_code"],
        "packages": plan["missing_packages"] or observed["unrecorded_packages"] or (force and plan["packages"]),
        "venv": plan["venv"],
        "release": plan["configure"],
        "firewall": plan["firewall"],
        "check": plan["check"],
        "drain": desired["drain"] and plan["switch"],
        "switch": plan["activate"] or plan["policy_change"] or plan["obsolete_paths"],
        "enroll": desired["enroll"] and plan["activate"],
        "withdraw": plan["obsolete_rules"],
    }
    return [name for name, needed in stages.items() if needed]


def _unshown(desired: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """What differs from the release that serves and is there already, so that no stage writes it and shows how."""
    there = {
        "code": not plan["bring_code"] and not desired["existing"],
        "configuration": "release" not in plan["stages"],
    }
    return [name for name, needed in there.items() if needed and plan["switch"]]


def release_id(desired: Mapping[str, Any]) -> str:
    """Digest of everything that decides how the application behaves: `DIGEST_LENGTH` hexadecimal digits."""
    parts = [desired["code"], desired["venv"]]
    for name, text in sorted(desired["release_files"].items()):
        parts += [name, text]
    parts.append(desired["slot_unit"])
    if desired["secrets"]:
        parts.append(desired["secrets_digest"])
    return short_digest(*(part.encode() for part in parts))


RECORDED = (
    "code",
    "existing",
    "venv",
    "user",
    "addresses",
    "tls",
    "slot_unit",
    "check_unit",
    "private_socket",
    "public_socket",
    "log_rotation",
    "secrets",
    "settings",
    "environment",
)
"""Keys of what is wanted that a release's record keeps, so that it can be gone back to."""


def _record(desired: Mapping[str, Any], identity: str) -> dict[str, Any]:
    return {"id": identity, **{key: desired[key] for key in RECORDED}}


def _as_recorded(desired: Mapping[str, Any], observed: Mapping[str, Any], identity: str) -> dict[str, Any]:
    """What was wanted when a release was made: nothing is built, no package is asked for.

    The policy has not gone back in time: who may use a port that is open stays, one that was closed is opened to those
    who may use the others, and it is asked today's health check first.
    """
    record = observed["releases"][identity]
    policy = observed["policy"] or {"health": record["passed"], "firewall": None, "keep": sys.maxsize}
    rules = firewall.rules(record["addresses"], policy["firewall"])
    if rules is not None:
        found = observed["firewall"]["rules"]
        ports = {rule["port"] for rule in found}
        kept = [rule for rule in found if any(rule["port"] == address["port"] for address in record["addresses"])]
        rules = kept + [rule for rule in rules if rule["port"] not in ports]
    return {
        **desired,
        **{key: record[key] for key in RECORDED},
        "policy": policy,
        "rules": rules,
        "force": False,
        "create_user": False,
        "packages": [],
        "firewall_packages": [],
        "source_problems": [],
        "release_files": {},
        "firewall_enable": False,
    }


def _layout_problems(name: str, observed: Mapping[str, Any]) -> Iterable[str]:
    """Say that another version of the role made what is there: the rest of what was observed means nothing then."""
    if observed["layout"] not in (0, LAYOUT):
        yield (
            f"gunicorn_name: got {name!r}, but /opt/{name} on the host has layout {observed['layout']}, which another "
            f"version of the role made. It accepts layout {LAYOUT}: remove the application with the version that "
            f"deployed it, then deploy it anew; /var/lib/gunicorn/{name} stays. Example: gunicorn_state: absent"
        )


def _restore_problems(desired: Mapping[str, Any], observed: Mapping[str, Any], identity: str) -> Iterable[str]:
    """Why the host can't go back to a release."""
    releases = observed["releases"]
    served = {item: record for item, record in releases.items() if record["served"]}
    newest = sorted(served, key=lambda item: served[item]["created"], reverse=True)
    there = "; ".join(f"{item}, made {served[item]['created']}" for item in newest) or "none that has served"
    accepts = f"It accepts `previous` or a release that has served; on the host: {there}. "
    accepts += f'Example: gunicorn_release: "{newest[-1] if newest else "previous"}"'
    got = f"gunicorn_release: got {str(desired['restore'])!r}"
    if not identity:
        yield f"{got}, but nothing served before on the host. {accepts}"
    elif identity not in releases:
        yield f"{got}, which is not on the host. {accepts}"
    elif identity not in served:
        yield f"{got}, which never took traffic. {accepts}"
    else:
        for kind, part in (("code", "code"), ("venvs", "venv")):
            outside = part == "code" and releases[identity]["existing"]
            interpreter = observed["dead_venvs"].get(releases[identity][part]) if part == "venv" else None
            if interpreter:
                yield f"{got}, but the interpreter of its venv, {interpreter}, is gone: install it again. {accepts}"
            elif not outside and releases[identity][part] not in observed[kind]:
                yield f"{got}, but its {part} is gone from /opt/{desired['name']}/{kind}. {accepts}"
        lost = _lost_secrets(releases[identity]["secrets"], observed, identity)
        if lost:
            place = f"/opt/{desired['name']}/releases/{identity}/secrets"
            yield f"{got}, but of its secrets {', '.join(lost)} is gone from {place}, or not root's alone. {accepts}"


def _live_slot(observed: Mapping[str, Any]) -> str:
    """Slot that serves: the one with the name of the service.

    An interrupted run may have given the name to one that rests, or that was not watched to the end, while the other
    serves.
    """
    named: str = observed["live"]
    if named and observed["slots"][_other(named)]["active"]:
        slot, other = observed["slots"][named], observed["slots"][_other(named)]
        served = [_has_served(observed, each["release"]) for each in (slot, other)]
        if not slot["active"] or served == [False, True]:
            return _other(named)
    return named


def _has_served(observed: Mapping[str, Any], identity: str) -> bool:
    return bool(observed["releases"].get(identity, {}).get("served"))


def _question(health: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """What the modules ask: how to reach it is the release's own."""
    return {**{key: value for key, value in health.items() if key != "watch"}, "tls": desired["tls"]}


def _other(slot: str) -> str:
    return SLOTS[1] if slot == SLOTS[0] else SLOTS[0]


def _unit_texts(desired: Mapping[str, Any], identity: str, slot: str) -> dict[str, str]:
    """Unit files that must be on the host while the release serves from the slot, by absolute path."""
    prefix = f"{UNIT_DIRECTORY}/{desired['name']}"
    private = desired["private_socket"]
    slot_unit = desired["slot_unit"].replace(ID_PLACEHOLDER, identity).replace(SLOT_PLACEHOLDER, slot)
    return {
        **{f"{prefix}-{each}.socket": private.replace(SLOT_PLACEHOLDER, each) for each in (*SLOTS, "check")},
        f"{prefix}-{slot}.service": slot_unit,
    }


def _log_rotation(desired: Mapping[str, Any]) -> dict[str, str]:
    """Give the configuration of logrotate that must be on the host, by absolute path; none for logs in the journal."""
    text = desired["log_rotation"]
    return {LOG_ROTATION.format(name=desired["name"]): text} if text else {}


def _differing(
    texts: Mapping[str, str], files: Mapping[str, Mapping[str, str]], group: str = "root", mode: str = "0644"
) -> list[str]:
    """Paths whose file is missing or differs in content, owner, group or mode."""
    differing = []
    for path, text in texts.items():
        found = files.get(path)
        wanted = hashlib.sha256(text.encode()).hexdigest()
        if (
            not found
            or found["sha256"] != wanted
            or (found["owner"], found["group"], found["mode"]) != ("root", group, mode)
        ):
            differing.append(path)
    return differing


def _units_to_write(
    desired: Mapping[str, Any], observed: Mapping[str, Any], identity: str, slot: str, switch: bool, force: bool
) -> dict[str, str]:
    """Unit files to write, name to text, but for the public socket's, which is written after the check.

    The unit of the check names the release too, and is looked at only when there is one to check.
    """
    texts = _unit_texts(desired, identity, slot)
    differing = {path: texts[path] for path in (texts if force else _differing(texts, observed["files"]))}
    if switch:
        check = f"{UNIT_DIRECTORY}/{desired['name']}-check.service"
        differing[check] = desired["check_unit"].replace(ID_PLACEHOLDER, identity)
    return {path.rsplit("/", 1)[-1]: text for path, text in differing.items()}


def _differing_release_files(desired: Mapping[str, Any], observed: Mapping[str, Any], identity: str) -> list[str]:
    directory = f"/opt/{desired['name']}/releases/{identity}"
    texts = {f"{directory}/{name}": text for name, text in desired["release_files"].items()}
    return _differing(texts, observed["files"], observed["user"].get("group", desired["user"]), "0640")


def _lost_secrets(names: Iterable[str], observed: Mapping[str, Any], identity: str) -> list[str]:
    """Secrets of a release that are not there, or not for root alone. What is in them the id tells."""
    return [name for name in names if name not in observed["secrets"].get(identity, [])]


def _socket_stage(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, bool]:
    """Whether the public socket changes, must be opened anew for that, and has the old slot in its way.

    systemd closes an address that is no longer wanted when it reads the unit again, and Gunicorn sets the backlog; only
    a new address has to be opened. That opens all of them, and the running slot holds those that it was started with:
    where one of them overlaps, the new socket can't be bound before that slot has stopped.
    """
    unit = f"{desired['name']}.socket"
    texts = {f"{UNIT_DIRECTORY}/{unit}": desired["public_socket"]}
    differs = bool(_differing(texts, observed["files"]))
    active = observed["units"][unit].get("ActiveState") == "active"
    tcp = [address for address in desired["addresses"] if address["port"]]
    paths = [address["path"] for address in desired["addresses"] if address["path"]]
    open_there = {(item["address"], item["port"]) for item in observed["listening"] if item["systemd"]}
    missing = any((address["host"], address["port"]) not in open_there for address in tcp)
    # The owner of a Unix socket is set when it is opened.
    missing = missing or any(path not in observed["listening_paths"] for path in paths) or bool(paths and differs)
    restart = not active or missing
    conflict = any(
        address["port"] == item["port"] and bind.overlap(item["address"], address["host"])
        for address in tcp
        for item in observed["listening"]
    )
    return {"change": restart or differs, "restart": restart, "conflict": restart and conflict}


def build_remains(name: str) -> list[str]:
    """Paths of what is there only while packages are built."""
    return [f"/opt/{name}/build", f"/run/systemd/system/{name}-build.service"]


def _prune_stage(desired: Mapping[str, Any], observed: Mapping[str, Any], identity: str, previous: str) -> list[str]:
    """What nothing needs: old releases, what only they used, what an interrupted run left, rotation of no files."""
    root = f"/opt/{desired['name']}"
    releases = observed["releases"]
    # A release that never served is nothing to go back to.
    served = [item for item, record in releases.items() if record["served"]]
    newest = sorted(served, key=lambda item: releases[item].get("created", ""), reverse=True)
    wanted = [identity, previous, *(item for item in newest if item not in (identity, previous))]
    keep = [item for item in wanted if item][: max(desired["policy"]["keep"], 2)]
    code = {desired["code"], *(releases[item]["code"] for item in keep if item in releases)}
    built = {desired["venv"], *desired["tools"]}
    venvs = {*built, *(releases[item]["venv"] for item in keep if item in releases)}
    wanted_parts = {"releases": {identity}, "code": {desired["code"]}, "venvs": built}
    ours = {f"{root}/{kind}/{item}" for kind, items in wanted_parts.items() for item in items}
    ours.update(build_remains(desired["name"]) if desired["venv"] not in observed["venvs"] else [])
    rotated = _log_rotation(desired)
    return [
        *(f"{root}/releases/{item}" for item in releases if item not in keep),
        *(f"{root}/code/{item}" for item in observed["code"] if item not in code),
        *(f"{root}/venvs/{item}" for item in (*observed["venvs"], *observed["dead_venvs"]) if item not in venvs),
        *(path for path in observed["unfinished"] if path not in ours),
        *(path for path in [LOG_ROTATION.format(name=desired["name"])] if path in observed["files"] and not rotated),
    ]


def host_problems(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Iterable[str]:
    """What only the host can tell, checked before anything on it changes."""
    system = observed["os"]
    if system["VERSION_ID"] not in SYSTEMS.get(system["ID"], ()):
        supported = "; ".join(f"{name} {', '.join(versions)}" for name, versions in SYSTEMS.items())
        shown = system["PRETTY_NAME"] or "an unknown system"
        yield f"The host runs {shown}. The role supports {supported}. Example: a server with Debian 13."
    if not observed["systemd"]:
        yield "The host isn't run by systemd. It needs that as PID 1. Example: a virtual server, not a bare container."
    if not desired["restore"]:
        yield from _python_problems(desired, observed)
        yield from _user_problems(desired, observed)
        yield from _credential_problems(desired, observed)
        yield from _option_problems(observed)
    yield from _name_problems(desired, observed)
    yield from _port_problems(desired, observed)
    yield from _ipv6_problems(desired, observed)
    yield from firewall.problems(desired, observed)


def _python_problems(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Iterable[str]:
    """Say what is wrong with the interpreter, and what to do: which others there are, which package is missing."""
    name, found = desired["python"], observed["python"]
    oldest = ".".join(map(str, OLDEST_PYTHON))
    package = f"{(found['file'] if found else name).rsplit('/', 1)[-1]}-venv"
    if not found:
        reason = "which is not on the host"
        if re.fullmatch(r"python3(\.\d+)?", name):
            reason += f"; `apt install {package}` brings it where the distribution has it"
    elif "problem" in found:
        reason = f"which doesn't run as Python 3: {found['problem']}"
    elif tuple(map(int, found["version"].split(".")[:2])) < OLDEST_PYTHON:
        reason = f"which is Python {found['version']}, and Gunicorn needs {oldest} or later"
    elif not found["venv"] and not found["system"] and not _brings_venv(found["file"], desired["packages"]):
        reason = "which lacks the modules venv and ensurepip; install it with both"
        if found["file"].startswith("/usr/bin/"):
            reason = f"which lacks the modules venv and ensurepip; set gunicorn_system_packages: [{package}]"
    else:
        return
    others = [path for path in observed["interpreters"] if path not in found.values() and _may_do(path)]
    there = f"The host has {', '.join(others)}" if others else "The host has no other"
    example = max(others, key=lambda path: (_version_of(path), path.startswith("/usr/bin/")), default="python3")
    yield (
        f"gunicorn_python: got {name!r}, {reason}. It accepts an interpreter from {oldest} on, by name or absolute "
        f"path. {there}. Example: gunicorn_python: {example}"
    )


def _brings_venv(file: str, packages: Iterable[str]) -> bool:
    """Tell whether the packages to install complete an interpreter: those of Debian do for its own ones."""
    return file.startswith("/usr/bin/") and any(package.endswith("-venv") for package in packages)


def _version_of(path: str) -> tuple[int, ...]:
    """Version in the name of an interpreter; empty where it has none."""
    match = re.search(r"/python(3)\.(\d+)$", path)
    return tuple(map(int, match.groups())) if match else ()


def _may_do(path: str) -> bool:
    return not _version_of(path) or _version_of(path) >= OLDEST_PYTHON


def _user_problems(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Iterable[str]:
    name, user, entry, builder = desired["name"], desired["user"], observed["user"], observed["build_user"]
    if builder and builder["gecos"] != build_unit.COMMENT.format(name=name):
        yield (
            f"gunicorn_name: got {name!r}, but the host has a user {name}-build that the role did not create, and it "
            f"builds packages as one. It accepts a name for which there is none. Example: gunicorn_name: {name}-web"
        )
    if desired["create_user"] and entry and entry["gecos"] != USER_COMMENT.format(name=name):
        yield (
            f"gunicorn_name: got {name!r}, but the host has a user of that name that the role did not create. It "
            f"accepts a name that is free. Example: gunicorn_name: {name}-web, or gunicorn_user: {user} to run as it"
        )
    if not desired["create_user"] and not entry:
        yield (
            f"gunicorn_user: got {user!r}, which is not a user of the host. It accepts one that exists, or an empty "
            "string for one of the application's own. Example: gunicorn_user: ''"
        )


def _credential_problems(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Iterable[str]:
    for name, path in desired["credentials"].items():
        if path in observed["missing"]:
            yield (
                f"gunicorn_settings: {name}: got {path!r}, which is not a file on the host. It accepts one that is "
                f"there; only root needs to be able to read it. Example: gunicorn_settings: {{{CERTIFICATES}}}"
            )


def _option_problems(observed: Mapping[str, Any]) -> Iterable[str]:
    """Say which directives systemd would ignore: a limit or a protection that doesn't count is worse than none."""
    for item in observed["refused_options"]:
        reason = f"which systemd on the host would ignore: {item['problem']}"
        reason += f"; did you mean {item['near']!r}?" if item["near"] else "."
        yield (
            f"gunicorn_service_options: got {item['directive']}: {item['value']!r}, {reason} It accepts directives of "
            "the section [Service] that the host's systemd understands; `man systemd.directives` lists them. Example: "
            'gunicorn_service_options: {MemoryMax: 512M, ReadWritePaths: ["/srv/uploads"]}'
        )


def _name_problems(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Iterable[str]:
    name = desired["name"]
    for path in observed["unmanaged"]:
        yield (
            f"gunicorn_name: got {name!r}, but {path} exists and the role did not make it. It accepts a name that is "
            f"free. Example: gunicorn_name: {name}-web"
        )


def _port_problems(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Iterable[str]:
    """Say who has an address: another application of the role, also one that is stopped, or somebody else."""
    for address in map(_as_parsed, (address["listen_stream"] for address in desired["addresses"])):
        holder, way_out = _other_app_at(address, observed), ""
        if holder:
            way_out = f"`systemctl disable --now {holder}.socket {holder}` on the host first"
            holder = f"the application {holder!r} of this host has"
        else:
            holder = _listener_at(address, desired, observed)
            way_out = "stop that process first"
        if holder:
            example = f"{address.text}-2" if address.path else f"0.0.0.0:{address.port % 65535 + 1}"
            yield (
                f"gunicorn_bind: got {address.text!r}, which {holder}. It accepts an address that is free. "
                f'Example: gunicorn_bind: ["{example}"], or {way_out}'
            )


def _ipv6_problems(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Iterable[str]:
    addresses = [_as_parsed(address["listen_stream"]) for address in desired["addresses"] if ":" in address["host"]]
    for address in [] if observed["ipv6"] else addresses:
        yield (
            f"gunicorn_bind: got {address.text!r}, but the kernel of the host has IPv6 turned off. It accepts IPv4 "
            f'addresses there, and Unix sockets. Example: gunicorn_bind: ["0.0.0.0:{address.port}"]'
        )


def _as_parsed(listen_stream: str) -> bind.Address:
    return bind.parse(f"unix:{listen_stream}" if listen_stream.startswith("/") else listen_stream)


def _other_app_at(address: bind.Address, observed: Mapping[str, Any]) -> str:
    """Name of the role's other application that an address belongs to."""
    for name, addresses in observed["other_apps"].items():
        if any(bind.clash(address, _as_parsed(each)) for each in addresses):
            return str(name)
    return ""


def _listener_at(address: bind.Address, desired: Mapping[str, Any], observed: Mapping[str, Any]) -> str:
    """Who else listens on an address, in words."""
    units = [f"{desired['name']}-{slot}.service" for slot in SLOTS]
    socket = observed["units"][f"{desired['name']}.socket"]
    public = socket["Listen"] if socket["ActiveState"] == "active" else []
    # Its slots hold their addresses on where somebody has stopped the socket.
    running = [slot["release"] for slot in observed["slots"].values() if slot["active"]]
    records = [observed["releases"].get(identity, {}) for identity in running]
    held = [each["listen_stream"] for record in records for each in record.get("addresses", [])]
    if address.path:
        taken = address.path in observed["listening_paths"] and address.path not in (*public, *held)
        return "another process already listens on" if taken else ""
    for item in observed["listening"]:
        host = f"[{item['address']}]" if ":" in item["address"] else item["address"]
        ours = item["unit"] in units or f"{host}:{item['port']}" in public
        # In a container, not even root may see which process has a socket.
        ours = ours or (not item["process"] and f"{host}:{item['port']}" in held)
        if ours or address.port != item["port"] or not _in_the_way(item["address"], address.host):
            continue
        process = item["process"] or "another process"
        if item["process"] == "systemd":
            process = "a socket unit (`systemctl list-sockets`)"
        elif item["unit"].endswith(".service"):
            process += f" of {item['unit']}"
        return f"{process} already listens on ({item['address']})"
    return ""


def _in_the_way(held: str, wanted: str) -> bool:
    """Tell whether a listener on one address keeps another from listening on the same port of the wanted address.

    Others that listen on ``::`` nearly always take IPv4 as well; the role's own IPv6 sockets never do.
    """
    return held == "::" or bind.overlap(held, wanted)


def _changed_files(desired: Mapping[str, Any], observed: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Files of the release that serves, and of its units, that are not as they were made."""
    live = plan["old_slot"]
    texts = {
        **_unit_texts(desired, plan["id"], live),
        f"{UNIT_DIRECTORY}/{desired['name']}.socket": desired["public_socket"],
    }
    lost = _lost_secrets(desired["secrets"], observed, plan["id"])
    return [
        *_differing_release_files(desired, observed, plan["id"]),
        *(f"/opt/{desired['name']}/releases/{plan['id']}/secrets/{name}" for name in lost),
        *_differing(texts, observed["files"]),
    ]


def _summary(desired: Mapping[str, Any], observed: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Say in a few lines what will change and why."""
    lines = []
    releases = observed["releases"]
    last = plan["serving"] or observed["current"]
    old = releases.get(last, {})
    if plan["serving"] != plan["id"]:
        before = "nothing serves yet"
        if plan["serving"]:
            before = f"replaces {plan['serving']}"
        elif old:
            before = "nothing serves now" + (f", {last} was the last" if last != plan["id"] else "")
        if desired["restore"]:
            before += f"; it was made {releases[plan['id']]['created']}"
        lines.append(f"{desired['name']}: release {plan['id']} starts in slot {plan['slot']}; {before}")
        if old and last != plan["id"]:
            words = difference.differences(old, desired, observed["files"], plan["id"])
            lines.append("what differs: " + " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words))
        if desired["restore"] and desired["existing"]:
            lines.append(f"the code stays as it is in {desired['existing']}: the role doesn't keep it")
    elif plan["switch"]:
        changed = _changed_files(desired, observed, plan)
        why = f"its files were changed: {', '.join(changed)}" if changed else "its public socket is not as it was"
        lines.append(f"{desired['name']}: release {plan['id']} starts again in slot {plan['slot']}: {why}")
    lines += difference.policy_changes(observed, plan)
    if plan["missing_packages"]:
        lines.append("Debian packages to install: " + ", ".join(plan["missing_packages"]))
    if plan["socket_change"] and plan["serving"]:
        closed = ": its port is closed until the new release is started" if plan["socket"]["conflict"] else ""
        lines.append("the public socket changes" + closed)
    lines += [f"write {path}, to rotate the log files" for path in plan["log_rotation"] if not desired["force"]]
    lines += [f"firewall: {rule['action']} {firewall.rule_text(rule)}" for rule in plan["rules"] if plan["firewall"]]
    lines += [f"firewall: withdraw {firewall.rule_text(rule)}" for rule in plan["obsolete_rules"]]
    lines += [f"firewall: allow port {port}/tcp for SSH" for port in plan["ssh_rules"]]
    if plan["enable_firewall"]:
        lines.append("firewall: enable ufw")
    lines += [f"remove {path}" for path in plan["obsolete_paths"]]
    return lines
