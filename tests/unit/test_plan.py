"""Every decision of a deploy, from what is wanted and what was observed."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import LAYOUT
from ansible_collections.pyweb.deploy.plugins.module_utils.source import short_digest
from ansible_collections.pyweb.deploy.plugins.plugin_utils.plan import make_plan, release_id
from ansible_collections.pyweb.deploy.tests.unit.observed import NEW_SERVER

UNITS = "/etc/systemd/system"
ROOT = "/opt/shop"
OLD, OLDER, OLDEST = "0" * 12, "1" * 12, "2" * 12
"""Ids of earlier releases."""

Data = dict[str, Any]


def rule(
    port: int = 8000, source: str = "any", destination: str = "any", interface: str = "", action: str = "allow"
) -> Data:
    return {"port": port, "source": source, "destination": destination, "interface": interface, "action": action}


@pytest.fixture
def desired() -> Data:
    return {
        "name": "shop",
        "restore": "",
        "user": "shop",
        "create_user": True,
        "force": False,
        "code": "cccccccccccc",
        "existing": "",
        "source_problems": [],
        "venv": "vvvvvvvvvvvv",
        "tools": ["uv-1.2.3"],
        "python": "python3",
        "packages": ["python3-venv", "ufw"],
        "firewall_packages": ["ufw"],
        "addresses": [address_of("0.0.0.0:8000")],
        "tls": False,
        "policy": {
            "health": {"path": "/healthz", "status": [200], "timeout": 30, "watch": 3},
            "firewall": {"sources": [], "interface": "", "action": "allow"},
            "keep": 3,
        },
        "credentials": {},
        "release_files": {
            "gunicorn.conf.py": "timeout = 30\n",
            "environment": 'A="1"\n',
            "before_activate": "true\n",
        },
        "slot_unit": "# @release@ in @slot@\n",
        "check_unit": "# @release@ in private\n",
        "private_socket": "# private socket of @slot@\n",
        "public_socket": "ListenStream=0.0.0.0:8000\n",
        "log_rotation": "",
        "secrets": [],
        "secrets_digest": "",
        "settings": {"timeout": 30},
        "environment": ["A"],
        "check_config": "print()\n",
        "rules": [rule()],
        "firewall_enable": False,
        "drain": False,
        "enroll": False,
    }


@pytest.fixture
def bare() -> Data:
    """What is observed of a new server."""
    return {**copy.deepcopy(NEW_SERVER), "listening": [listener("0.0.0.0", 22, "sshd", "ssh.service")]}


def listener(
    address: str, port: int = 8000, process: str = "nginx", unit: str = "nginx.service", systemd: bool = False
) -> Data:
    return {"address": address, "port": port, "process": process, "unit": unit, "systemd": systemd}


def held(address: str = "0.0.0.0", port: int = 8000, slot: str = "blue") -> Data:
    """A public address that systemd opened and handed to a slot."""
    return listener(address, port, "gunicorn", f"shop-{slot}.service", systemd=True)


def managed(text: str, group: str = "root", mode: str = "0644") -> Data:
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "owner": "root", "group": group, "mode": mode}


LOG_ROTATION = "/etc/logrotate.d/pyweb.deploy-shop"

KEPT = {
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
}


def recorded(desired: Data, identity: str = "", created: str = "2026-06-01T00:00:00Z") -> Data:
    """What is observed of a release that was made as wanted and has served."""
    record = {key: copy.deepcopy(desired[key]) for key in KEPT}
    record.update(id=identity or release_id(desired), created=created, gunicorn="27.0.1", python="3.11.2")
    return {**record, "served": True, "passed": copy.deepcopy(desired["policy"]["health"]), "failed": False}


def deployed(desired: Data, bare: Data, slot: str = "blue") -> Data:
    """What is observed where exactly that was deployed: it serves from the slot."""
    found = copy.deepcopy(bare)
    identity = release_id(desired)
    found.update(
        packages=list(desired["packages"]),
        user={"uid": 998, "gid": 998, "group": "shop", "gecos": "Gunicorn application shop (pyweb.deploy)"},
        layout=LAYOUT,
        missing_directories=[],
        live=slot,
        releases={identity: recorded(desired)},
        policy=copy.deepcopy(desired["policy"]),
        code=[desired["code"]],
        venvs=[desired["venv"]],
        current=identity,
        secrets={identity: list(desired["secrets"])},
        firewall={**bare["firewall"], "installed": True, "rules": copy.deepcopy(desired["rules"] or [])},
    )
    found["slots"][slot] = {"active": True, "state": "active", "release": identity}
    streams = [address["listen_stream"] for address in desired["addresses"]]
    found["units"]["shop.socket"] = {"LoadState": "loaded", "ActiveState": "active", "Listen": streams}
    found["listening"] = [item for item in found["listening"] if not item["systemd"]]
    found["listening"] += [
        held(address["host"], address["port"], slot) for address in desired["addresses"] if address["port"]
    ]
    found["listening_paths"] = [address["path"] for address in desired["addresses"] if address["path"]]
    for name, text in desired["release_files"].items():
        found["files"][f"{ROOT}/releases/{identity}/{name}"] = managed(text, "shop", "0640")
    for each in ("blue", "green", "check"):
        found["files"][f"{UNITS}/shop-{each}.socket"] = managed(desired["private_socket"].replace("@slot@", each))
    unit = desired["slot_unit"].replace("@slot@", slot).replace("@release@", identity)
    found["files"].update(
        {
            f"{UNITS}/shop-{slot}.service": managed(unit),
            f"{UNITS}/shop.socket": managed(desired["public_socket"]),
            f"{ROOT}/check_config.py": managed(desired["check_config"]),
        }
    )
    if desired["log_rotation"]:
        found["files"][LOG_ROTATION] = managed(desired["log_rotation"])
    return found


@pytest.fixture
def observed(desired: Data, bare: Data) -> Data:
    return deployed(desired, bare)


def socket_of(plan: Data) -> tuple[bool, bool, bool]:
    """Whether the public socket changes, is opened anew for that, and has to wait for the old slot."""
    return plan["socket_change"], plan["socket"]["restart"], plan["socket"]["conflict"]


def texts(plan: Data) -> tuple[str, str]:
    """Text of the public socket's unit, and the one to put back."""
    return plan["socket"]["text"], plan["socket"]["previous"]


def test_a_load_balancer_is_told_of_a_switch_only(desired: Data, observed: Data) -> None:
    desired.update(drain=True, enroll=True)
    assert make_plan(desired, observed)["stages"] == []
    desired["code"] = "dddddddddddd"
    assert make_plan(desired, observed)["stages"] == ["code", "release", "check", "drain", "switch", "enroll"]


def test_packages_that_a_run_was_cut_off_with(desired: Data, observed: Data) -> None:
    observed["unrecorded_packages"] = True
    assert make_plan(desired, observed)["stages"] == ["packages"]


def test_first_deploy(desired: Data, bare: Data) -> None:
    plan = make_plan(desired, bare)
    assert plan["problems"] == []
    assert plan["stages"] == ["code", "packages", "venv", "release", "firewall", "check", "switch"]
    assert plan["missing_packages"] == ["python3-venv", "ufw"]
    assert all(plan[part] for part in ("prepare", "create_user", "bring_code", "venv"))
    assert (plan["switch"], plan["slot"], plan["old_slot"]) == (True, "blue", "")
    assert plan["other_slot"] == "green"
    units = ["blue.service", "blue.socket", "check.service", "check.socket", "green.socket"]
    assert sorted(plan["units"]) == [f"shop-{unit}" for unit in units]
    assert (plan["serving"], plan["previous"]) == ("", "")
    assert socket_of(plan) == (True, True, False)
    assert (texts(plan), plan["misnamed_slot"]) == ((desired["public_socket"], ""), "")
    assert plan["rules"] == desired["rules"]
    assert plan["work"] is True
    assert plan["summary"] == [
        f"shop: release {plan['id']} starts in slot blue; nothing serves yet",
        "Debian packages to install: python3-venv, ufw",
        "firewall: allow port 8000/tcp from any to any",
    ]


@pytest.mark.parametrize("slot", ["blue", "green"])
def test_nothing_to_do(desired: Data, bare: Data, slot: str) -> None:
    plan = make_plan(desired, deployed(desired, bare, slot))
    assert plan["problems"] == []
    assert plan["stages"] == []
    assert (plan["switch"], plan["slot"], plan["old_slot"]) == (False, slot, "")
    assert (plan["prepare"], plan["units"], plan["misnamed_slot"], plan["work"]) == (False, {}, "", False)
    assert socket_of(plan) == (False, False, False)
    assert plan["summary"] == []


@pytest.mark.parametrize(("live", "next_slot"), [("blue", "green"), ("green", "blue")])
def test_new_code(desired: Data, bare: Data, live: str, next_slot: str) -> None:
    observed = deployed(desired, bare, live)
    old = release_id(desired)
    desired["code"] = "dddddddddddd"
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["code", "release", "check", "switch"]
    assert (plan["bring_code"], plan["venv"], plan["create_user"], plan["missing_packages"]) == (True, False, False, [])
    assert (plan["switch"], plan["slot"], plan["old_slot"]) == (True, next_slot, live)
    assert plan["other_slot"] == live
    assert sorted(plan["units"]) == sorted(["shop-check.service", f"shop-{next_slot}.service"])
    assert (plan["serving"], plan["previous"]) == (old, old)
    assert plan["id"] != old
    assert socket_of(plan) == (False, False, False)
    assert (plan["misnamed_slot"], plan["work"]) == ("", True)
    assert plan["summary"] == [
        f"shop: release {plan['id']} starts in slot {next_slot}; replaces {old}",
        "what differs: code",
    ]


def test_new_packages(desired: Data, observed: Data) -> None:
    desired["venv"] = "wwwwwwwwwwww"
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["venv", "release", "check", "switch"]
    assert (plan["bring_code"], plan["venv"], plan["switch"]) == (False, True, True)
    assert plan["summary"][1] == "what differs: Python packages"


def test_new_code_and_packages(desired: Data, observed: Data) -> None:
    desired.update(code="dddddddddddd", venv="wwwwwwwwwwww")
    assert make_plan(desired, observed)["summary"][1] == "what differs: code and Python packages"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gunicorn.conf.py", "gunicorn.conf.py"),
        ("environment", "values of environment variables"),
        ("before_activate", "gunicorn_before_activate"),
    ],
)
def test_new_settings(desired: Data, observed: Data, name: str, said: str) -> None:
    desired["release_files"][name] += "# changed\n"
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["release", "check", "switch"]
    assert (plan["switch"], plan["slot"], socket_of(plan)) == (True, "green", (False, False, False))
    assert plan["summary"][1] == f"what differs: {said}"


@pytest.mark.parametrize(
    ("code", "there", "compare"),
    [("dddddddddddd", [], []), ("dddddddddddd", ["dddddddddddd"], ["code"]), ("", [], [])],
    ids=["brought", "there already", "nothing to do"],
)
def test_what_no_stage_writes_is_compared(
    desired: Data, observed: Data, code: str, there: list[str], compare: list[str]
) -> None:
    """Else --diff would not show it."""
    desired["code"] = code or desired["code"]
    observed["code"] += there
    plan = make_plan(desired, observed)
    assert plan["compare"] == compare
    assert plan["names"] == {"id": plan["id"], "code": desired["code"], "venv": desired["venv"]}


def test_a_setting_with_its_old_and_its_new_value(desired: Data, observed: Data) -> None:
    desired["release_files"]["gunicorn.conf.py"] = "timeout = 45\n"
    desired.update(code="dddddddddddd", settings={"timeout": 45}, environment=["A", "B"])
    plan = make_plan(desired, observed)
    assert plan["summary"][1] == "what differs: code, settings (timeout 30 -> 45) and environment variables (+B)"
    assert plan["check_mode_limits"] == [
        "check mode can't tell whether the release works: the run starts it in private and asks for /healthz first"
    ]
    assert make_plan(desired, deployed(desired, observed))["check_mode_limits"] == []


def test_new_service_options(desired: Data, observed: Data) -> None:
    desired["slot_unit"] += "MemoryMax=1G\n"
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["release", "check", "switch"]
    assert plan["switch"] is True
    assert plan["id"] != observed["current"]


def test_another_venv_that_is_there_is_not_built(desired: Data, observed: Data) -> None:
    desired["venv"] = "wwwwwwwwwwww"
    observed["venvs"].append("wwwwwwwwwwww")
    assert make_plan(desired, observed)["stages"] == ["release", "check", "switch"]


def test_back_to_a_release_that_is_there(desired: Data, observed: Data) -> None:
    new = copy.deepcopy(desired)
    new["code"] = "dddddddddddd"
    both = deployed(new, observed, "green")
    both["slots"]["blue"] = {"active": False, "state": "inactive", "release": ""}
    both["releases"] |= observed["releases"]
    both["code"] += observed["code"]
    both["files"] |= observed["files"]
    plan = make_plan(desired, both)
    assert plan["stages"] == ["check", "switch"]
    assert (plan["id"], plan["previous"]) == (release_id(desired), release_id(new))
    assert (plan["switch"], plan["slot"]) == (True, "blue")
    assert list(plan["units"]) == ["shop-check.service"]


@pytest.mark.parametrize(("live", "slot"), [("blue", "green"), ("green", "blue")])
def test_the_units_name_the_release_and_its_slot(desired: Data, bare: Data, live: str, slot: str) -> None:
    observed = deployed(desired, bare, live)
    del observed["files"][f"{UNITS}/shop-check.socket"]
    desired["code"] = "dddddddddddd"
    plan = make_plan(desired, observed)
    assert plan["units"] == {
        f"shop-{slot}.service": f"# {plan['id']} in {slot}\n",
        "shop-check.service": f"# {plan['id']} in private\n",
        "shop-check.socket": "# private socket of check\n",
    }


def test_what_the_record_of_a_release_keeps(desired: Data, bare: Data) -> None:
    plan = make_plan(desired, bare)
    assert plan["record"] == {"id": plan["id"], **{key: desired[key] for key in KEPT}}


def test_what_the_gate_gets(desired: Data, bare: Data) -> None:
    desired["policy"]["health"]["watch"] = 7
    desired["tls"] = True
    plan = make_plan(desired, bare)
    assert plan["health"] == {"path": "/healthz", "status": [200], "timeout": 30, "tls": True}
    assert (plan["passed_health"], plan["ask"]) == ({}, False)
    assert plan["watch"] == 7
    assert plan["public"] == [{"host": "0.0.0.0", "port": 8000, "path": ""}]


# The public socket


def address_of(text: str) -> Data:
    host, _colon, port = text.rpartition(":") if not text.startswith("/") else ("", "", "0")
    path = text if text.startswith("/") else ""
    needs_rule = bool(host) and not host.startswith("127.")
    found = {"host": host.strip("[]"), "port": int(port), "path": path, "listen_stream": text}
    return {**found, "needs_rule": needs_rule, "destination": "any" if needs_rule else ""}


def bind_to(desired: Data, *texts: str) -> None:
    desired["addresses"] = [address_of(text) for text in texts]
    desired["public_socket"] = "".join(f"ListenStream={text}\n" for text in texts)
    desired["release_files"]["gunicorn.conf.py"] = f"bind = {list(texts)!r}\n"
    ports = {address["port"] for address in desired["addresses"]} - {0}
    desired["rules"] = [rule(port) for port in sorted(ports)]


def test_another_port_opens_beside_the_old_one(desired: Data, observed: Data) -> None:
    bind_to(desired, "0.0.0.0:9000")
    plan = make_plan(desired, observed)
    assert plan["problems"] == []
    assert plan["stages"] == ["release", "firewall", "check", "switch", "withdraw"]
    assert (plan["switch"], socket_of(plan)) == (True, (True, True, False))
    assert texts(plan) == ("ListenStream=0.0.0.0:9000\n", "ListenStream=0.0.0.0:8000\n")
    assert plan["rules"] == desired["rules"]
    assert plan["obsolete_rules"] == [rule()]
    assert plan["summary"][2:] == [
        "the public socket changes",
        "firewall: allow port 9000/tcp from any to any",
        "firewall: withdraw port 8000/tcp from any to any",
    ]


UNIX = "/run/shop.sock"


@pytest.mark.parametrize(
    ("before", "after", "restart", "conflict"),
    [
        # Another port, another family, a Unix socket: beside the old one.
        (["0.0.0.0:8000"], ["0.0.0.0:9000"], True, False),
        (["0.0.0.0:8000"], ["[::]:8000"], True, False),
        (["[::1]:8000"], ["0.0.0.0:8000"], True, False),
        (["0.0.0.0:8000"], [UNIX], True, False),
        ([UNIX], ["0.0.0.0:8000"], True, False),
        (["127.0.0.1:8000"], ["192.0.2.5:8000"], True, False),
        # The same port: the old slot is in the way, also of an address that stays, since all are opened anew.
        (["0.0.0.0:8000"], ["127.0.0.1:8000"], True, True),
        (["127.0.0.1:8000"], ["0.0.0.0:8000"], True, True),
        (["[::]:8000"], ["[::1]:8000"], True, True),
        (["0.0.0.0:8000"], ["0.0.0.0:8000", "[::]:8000"], True, True),
        (["0.0.0.0:8000"], ["0.0.0.0:8000", "0.0.0.0:9000"], True, True),
        (["0.0.0.0:8000"], ["0.0.0.0:8000", UNIX], True, True),
        (["0.0.0.0:8000", UNIX], ["0.0.0.0:8000", "/run/other.sock"], True, True),
        # An address less.
        (["0.0.0.0:8000", "0.0.0.0:9000"], ["0.0.0.0:8000"], False, False),
        (["0.0.0.0:8000", "[::]:8000"], ["[::]:8000"], False, False),
        (["0.0.0.0:8000", UNIX], ["0.0.0.0:8000"], False, False),
    ],
)
def test_another_address(
    desired: Data, bare: Data, before: list[str], after: list[str], restart: bool, conflict: bool
) -> None:
    bind_to(desired, *before)
    observed = deployed(desired, bare)
    bind_to(desired, *after)
    plan = make_plan(desired, observed)
    assert plan["problems"] == []
    assert socket_of(plan) == (True, restart, conflict)
    assert plan["old_slot"] == "blue"
    closed = ": its port is closed until the new release is started" if conflict else ""
    assert f"the public socket changes{closed}" in plan["summary"]
    assert texts(plan)[1] == "".join(f"ListenStream={text}\n" for text in before)


@pytest.mark.parametrize(("addresses", "restart"), [(["0.0.0.0:8000"], False), ([UNIX], True)])
def test_another_backlog(desired: Data, bare: Data, addresses: list[str], restart: bool) -> None:
    """Of a Unix socket the owner could have changed too, which is set when it is opened."""
    bind_to(desired, *addresses)
    observed = deployed(desired, bare)
    desired["public_socket"] += "Backlog=77\n"
    plan = make_plan(desired, observed)
    assert (plan["switch"], socket_of(plan)) == (True, (True, restart, False))


def test_a_unix_socket_that_is_right_stays_open(desired: Data, bare: Data) -> None:
    bind_to(desired, UNIX)
    assert socket_of(make_plan(desired, deployed(desired, bare))) == (False, False, False)


def test_an_address_that_only_the_slot_holds_is_opened_again(desired: Data, observed: Data) -> None:
    """A run was interrupted after it had closed the socket: systemd would hand nothing to the next slot."""
    observed["listening"][-1]["systemd"] = False
    assert socket_of(make_plan(desired, observed)) == (True, True, True)


def test_a_unix_socket_that_nobody_listens_on_is_opened_again(desired: Data, bare: Data) -> None:
    bind_to(desired, UNIX)
    observed = deployed(desired, bare)
    observed["listening_paths"] = ["/run/other.sock"]
    assert socket_of(make_plan(desired, observed)) == (True, True, False)


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_public_socket_that_is_down_opens_again(desired: Data, observed: Data, state: str) -> None:
    observed["units"]["shop.socket"]["ActiveState"] = state
    plan = make_plan(desired, observed)
    assert plan["problems"] == []
    assert (plan["switch"], socket_of(plan)) == (True, (True, True, True))


def test_a_socket_unit_that_was_written_but_never_opened(desired: Data, observed: Data) -> None:
    bind_to(desired, "0.0.0.0:9000")
    observed["files"][f"{UNITS}/shop.socket"] = managed(desired["public_socket"])
    assert socket_of(make_plan(desired, observed)) == (True, True, False)


# Which slot serves


@pytest.mark.parametrize("state", ["failed", "inactive", "activating"])
def test_a_live_slot_that_is_dead_is_replaced(desired: Data, observed: Data, state: str) -> None:
    observed["slots"]["blue"] = {"active": False, "state": state, "release": release_id(desired)}
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["check", "switch"]
    assert (plan["serving"], plan["switch"], plan["slot"], plan["old_slot"]) == ("", True, "green", "blue")


def test_a_slot_that_runs_an_old_release_is_replaced(desired: Data, observed: Data) -> None:
    observed["slots"]["blue"]["release"] = OLD
    plan = make_plan(desired, observed)
    assert (plan["serving"], plan["previous"], plan["switch"], plan["slot"]) == (OLD, OLD, True, "green")


@pytest.mark.parametrize("state", ["active", "activating", "reloading", "deactivating"])
def test_the_other_slot_left_running_is_stopped(desired: Data, observed: Data, state: str) -> None:
    observed["slots"]["green"] = {"active": state == "active", "state": state, "release": OLD}
    observed["files"][f"{UNITS}/shop-green.service"] = managed("old")
    plan = make_plan(desired, observed)
    assert plan["stages"] in (["switch"], ["check", "switch"])
    assert (plan["switch"], plan["slot"]) == (False, "blue")
    assert plan["other_slot"] == "green"


@pytest.mark.parametrize("state", ["active", "activating", "reloading", "deactivating"])
def test_a_slot_left_running_is_stopped_before_it_is_used(desired: Data, observed: Data, state: str) -> None:
    observed["slots"]["green"] = {"active": state == "active", "state": state, "release": OLD}
    desired["code"] = "dddddddddddd"
    plan = make_plan(desired, observed)
    assert (plan["switch"], plan["slot"]) == (True, "green")


def test_the_slot_that_serves_without_the_name_gets_it(desired: Data, observed: Data) -> None:
    """A run was interrupted after it had given the name to a slot that it then didn't start."""
    observed["live"] = "green"
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["check", "switch"]
    assert (plan["serving"], plan["switch"], plan["slot"]) == (release_id(desired), False, "blue")
    assert plan["misnamed_slot"] == "blue"


@pytest.mark.parametrize(
    ("named", "other", "live"),
    [
        # Each: whether the slot is active, and whether its release has served; None for one that is not on the host.
        ((True, True), (False, True), "blue"),
        ((True, True), (True, True), "blue"),
        ((True, True), (True, False), "blue"),
        ((True, False), (False, True), "blue"),
        ((True, False), (True, False), "blue"),
        ((True, None), (True, False), "blue"),
        ((False, True), (False, True), "blue"),
        ((True, False), (True, True), "green"),
        ((True, None), (True, True), "green"),
        ((False, True), (True, True), "green"),
        ((False, True), (True, False), "green"),
    ],
)
def test_the_slot_that_serves(
    desired: Data, observed: Data, named: tuple[bool, bool | None], other: tuple[bool, bool | None], live: str
) -> None:
    for slot, identity, (active, served) in (("blue", OLD, named), ("green", OLDER, other)):
        state = "active" if active else "failed"
        observed["slots"][slot] = {"active": active, "state": state, "release": identity}
        if served is not None:
            observed["releases"][identity] = {**recorded(desired, identity), "served": served}
    desired["code"] = "dddddddddddd"
    plan = make_plan(desired, observed)
    assert (plan["old_slot"], plan["slot"]) == (live, "green" if live == "blue" else "blue")
    assert plan["misnamed_slot"] == ("" if live == "blue" else "green")
    active = named[0] if live == "blue" else other[0]
    assert plan["serving"] == ("" if not active else OLD if live == "blue" else OLDER)


def test_a_first_deploy_that_broke_off_is_started_again(desired: Data, observed: Data) -> None:
    observed["live"] = ""
    plan = make_plan(desired, observed)
    assert (plan["serving"], plan["misnamed_slot"], plan["old_slot"]) == ("", "", "")
    assert (plan["switch"], plan["slot"]) == (True, "blue")


def test_the_slot_that_serves_without_the_name_is_not_used_for_the_next_one(desired: Data, observed: Data) -> None:
    observed["live"] = "green"
    desired["code"] = "dddddddddddd"
    plan = make_plan(desired, observed)
    assert (plan["switch"], plan["slot"], plan["old_slot"]) == (True, "green", "blue")


@pytest.mark.parametrize("current", ["", OLD])
def test_a_wrong_record_of_what_serves_is_mended(desired: Data, observed: Data, current: str) -> None:
    observed["current"] = current
    plan = make_plan(desired, observed)
    assert plan["stages"] in (["switch"], ["check", "switch"])
    assert plan["switch"] is False


def test_what_runs_without_the_mark_of_having_served_was_not_watched(desired: Data, observed: Data) -> None:
    """A run was killed before: the switch begins again."""
    observed["releases"][observed["current"]]["served"] = False
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["check", "switch"]
    assert (plan["switch"], plan["slot"], plan["check"]) == (True, "green", True)


UNIT_FILES = [
    f"{UNITS}/shop{each}" for each in (".socket", "-blue.socket", "-green.socket", "-check.socket", "-blue.service")
]
DRIFT = [{"sha256": "0" * 64}, {"owner": "shop"}, {"group": "adm"}, {"mode": "0666"}, None]


def spoil(files: Data, path: str, drift: Data | None) -> None:
    """Change what was observed of a file; without a change it is gone."""
    if drift:
        files[path] |= drift
    else:
        del files[path]


@pytest.mark.parametrize("drift", DRIFT)
@pytest.mark.parametrize("path", UNIT_FILES)
def test_a_unit_that_was_changed(desired: Data, observed: Data, path: str, drift: Data | None) -> None:
    spoil(observed["files"], path, drift)
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["check", "switch"]
    assert (plan["id"], plan["switch"], plan["slot"]) == (observed["current"], True, "green")
    assert socket_of(plan) == (path == f"{UNITS}/shop.socket", False, False)
    assert "shop-green.service" in plan["units"]
    assert path.endswith((".service", "/shop.socket")) or path.removeprefix(f"{UNITS}/") in plan["units"]
    assert f"its files were changed: {path}" in plan["summary"][0]


@pytest.mark.parametrize("drift", DRIFT)
@pytest.mark.parametrize("name", ["gunicorn.conf.py", "environment", "before_activate"])
def test_a_configuration_that_was_changed(desired: Data, observed: Data, name: str, drift: Data | None) -> None:
    spoil(observed["files"], f"{ROOT}/releases/{observed['current']}/{name}", drift)
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["release", "check", "switch"]
    assert (plan["id"], plan["switch"]) == (observed["current"], True)


@pytest.mark.parametrize("drift", DRIFT)
def test_a_checking_program_that_was_changed(desired: Data, observed: Data, drift: Data | None) -> None:
    spoil(observed["files"], f"{ROOT}/check_config.py", drift)
    plan = make_plan(desired, observed)
    assert (plan["stages"], plan["prepare"]) == (["code"], True)
    assert (plan["bring_code"], plan["venv"], plan["switch"]) == (False, False, False)


@pytest.mark.parametrize("name", ["code", "venvs", "releases"])
def test_a_directory_that_somebody_removed(desired: Data, observed: Data, name: str) -> None:
    observed[name] = {} if name == "releases" else []
    observed["missing_directories"] = [name]
    plan = make_plan(desired, observed)
    assert (plan["stages"][0], plan["prepare"]) == ("code", True)


def test_files_of_other_releases_do_not_matter(desired: Data, observed: Data) -> None:
    observed["files"][f"{ROOT}/releases/{OLD}/gunicorn.conf.py"] = managed("old", "adm", "0777")
    assert make_plan(desired, observed)["stages"] == []


def test_the_group_is_the_one_that_the_user_has(desired: Data, observed: Data) -> None:
    desired.update(user="web", create_user=False)
    observed["user"] = {"uid": 33, "gid": 33, "group": "www-data", "gecos": "www-data"}
    for path, item in observed["files"].items():
        if "/releases/" in path:
            item["group"] = "www-data"
    assert make_plan(desired, observed)["stages"] == []


def test_force_runs_every_stage_but_switches_nothing(desired: Data, observed: Data) -> None:
    desired["force"] = True
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["code", "packages", "venv", "release", "firewall", "check", "switch"]
    assert all(plan[part] for part in ("prepare", "bring_code", "venv"))
    assert (plan["switch"], plan["slot"], plan["old_slot"]) == (False, "blue", "")
    assert socket_of(plan) == (False, False, False)
    units = ["blue.service", "blue.socket", "check.socket", "green.socket"]
    assert sorted(plan["units"]) == [f"shop-{unit}" for unit in units]
    assert plan["rules"] == desired["rules"]


def test_force_leaves_the_firewall_alone_where_it_is_off(desired: Data, observed: Data) -> None:
    desired.update(force=True, rules=None)
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["code", "packages", "venv", "release", "check", "switch"]
    assert plan["rules"] == []


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        ({"packages": ["python3-venv"]}, ["ufw"]),
        ({"packages": []}, ["python3-venv", "ufw"]),
    ],
)
def test_missing_debian_packages(desired: Data, observed: Data, change: Data, stage: list[str]) -> None:
    observed.update(change)
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["code", "packages"]
    assert plan["missing_packages"] == stage


def test_a_missing_user_is_created(desired: Data, observed: Data) -> None:
    observed["user"] = {}
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["code"]
    assert (plan["create_user"], plan["prepare"]) == (True, True)


@pytest.mark.parametrize("part", ["code", "venv"])
def test_code_or_a_venv_that_is_gone_is_built(desired: Data, observed: Data, part: str) -> None:
    observed["code" if part == "code" else "venvs"] = []
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["code" if part == "code" else "venv"]
    assert [plan["prepare"], plan["bring_code"], plan["venv"]] == [False, part == "code", part == "venv"]


# The firewall


def test_a_missing_rule(desired: Data, observed: Data) -> None:
    desired["rules"] = [rule(), rule(9000)]
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["firewall"]
    assert (plan["rules"], plan["obsolete_rules"]) == ([rule(9000)], [])


def test_an_obsolete_rule(desired: Data, observed: Data) -> None:
    observed["firewall"]["rules"].append(rule(9000))
    plan = make_plan(desired, observed)
    assert plan["stages"] == ["withdraw"], "withdrawn only after nothing listens there any more"
    assert (plan["rules"], plan["obsolete_rules"]) == ([], [rule(9000)])


def test_narrower_sources_replace_the_wide_rule(desired: Data, observed: Data) -> None:
    desired["rules"] = [rule(source="192.0.2.0/24")]
    plan = make_plan(desired, observed)
    assert (plan["rules"], plan["obsolete_rules"]) == ([rule(source="192.0.2.0/24")], [rule()])


@pytest.mark.parametrize(
    ("wanted", "written"),
    [
        ("192.0.2.7/32", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("2001:DB8:0::1/128", "2001:db8::1"),
        ("2001:0DB8::/32", "2001:db8::/32"),
    ],
)
def test_sources_are_compared_as_ufw_writes_them(desired: Data, observed: Data, wanted: str, written: str) -> None:
    desired["rules"] = [rule(source=wanted)]
    assert make_plan(desired, observed)["rules"] == [rule(source=written)]
    observed["firewall"]["rules"] = [rule(source=written)]
    assert make_plan(desired, observed)["stages"] == []


def test_no_rule_mixes_ipv4_and_ipv6(desired: Data, observed: Data) -> None:
    addresses, sources = ("192.0.2.5", "2001:db8::5"), ("198.51.100.0/24", "2001:db8:1::/48", "198.51.100.0/24")
    desired["rules"] = [rule(8000, source, address) for address in addresses for source in sources]
    assert make_plan(desired, observed)["rules"] == [
        rule(8000, "198.51.100.0/24", "192.0.2.5"),
        rule(8000, "2001:db8:1::/48", "2001:db8::5"),
    ]


def test_the_firewall_is_left_alone_where_it_is_off(desired: Data, observed: Data) -> None:
    desired.update(rules=None, firewall_enable=True)
    plan = make_plan(desired, observed)
    assert plan["stages"] == []
    assert (plan["rules"], plan["obsolete_rules"], plan["enable_firewall"]) == ([], [], False)


@pytest.mark.parametrize(
    ("enabled", "wanted", "turns_on"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_turning_ufw_on(desired: Data, observed: Data, enabled: bool, wanted: bool, turns_on: bool) -> None:
    desired["firewall_enable"] = wanted
    observed["firewall"]["enabled"] = enabled
    plan = make_plan(desired, observed)
    assert plan["problems"] == []
    assert plan["enable_firewall"] is turns_on
    assert plan["stages"] == (["firewall"] if turns_on else [])
    assert plan["summary"] == (["firewall: allow port 22/tcp for SSH", "firewall: enable ufw"] if turns_on else [])


@pytest.mark.parametrize("force", [False, True])
def test_a_trial_that_broke_off_is_no_proof(desired: Data, observed: Data, force: bool) -> None:
    desired.update(firewall_enable=True, force=force)
    observed["firewall"].update(enabled=True, on_trial=True)
    assert make_plan(desired, observed)["enable_firewall"] is True
    observed["firewall"].update(on_trial=False)
    assert make_plan(desired, observed)["enable_firewall"] is False
    desired["firewall_enable"] = False
    observed["firewall"].update(on_trial=True)
    assert make_plan(desired, observed)["enable_firewall"] is False, "nobody asked for it"


def unmanaged(port: str, action: str = "allow", protocol: str = "tcp", **more: str) -> Data:
    """A rule of somebody else."""
    return {**rule(action=action), "port": port, "protocol": protocol, "comment": "", **more}


@pytest.mark.parametrize(
    ("ports", "port", "rules", "wanted"),
    [
        ([22], 22, [], [22]),
        ([22, 2222], 2222, [], [22, 2222]),
        ([22], 2022, [], [22, 2022]),
        ([], 2022, [], [2022]),
        ([22], 22, [unmanaged("22")], []),
        ([22], 22, [unmanaged("22", comment="ssh")], []),
        ([22], 22, [unmanaged("22", "limit")], []),
        ([22], 22, [unmanaged("22", protocol="any")], []),
        ([22], 22, [unmanaged("22", protocol="udp")], [22]),
        ([22], 22, [unmanaged("22", "deny", source="192.0.2.5")], [22]),
        ([22], 22, [unmanaged("222")], [22]),
        ([22], 22, [unmanaged("any", protocol="any", source="192.0.2.0/24")], []),
        ([22], 22, [unmanaged("22", source="192.0.2.0/24")], []),
        ([22], 22, [unmanaged("22", source="192.0.2.5")], []),
        ([22], 22, [unmanaged("22", source="198.51.100.0/24")], [22]),
        ([22], 22, [unmanaged("22", source="2001:db8::/32")], [22]),
        ([22, 2222], 22, [unmanaged("22,80,2000:2300")], []),
        ([22, 2222], 22, [unmanaged("22,80,2000:2200")], [2222]),
        ([22, 2222], 22, [unmanaged("22", interface="eth0")], [2222]),
    ],
)
def test_ssh_stays_open_and_rules_of_others_as_they_are(
    desired: Data, observed: Data, ports: list[int], port: int, rules: list[Data], wanted: list[int]
) -> None:
    desired["firewall_enable"] = True
    observed.update(ssh_ports=ports, ssh_connection={"client": "192.0.2.5", "port": port})
    observed["firewall"]["unmanaged"] = rules
    plan = make_plan(desired, observed)
    assert (plan["problems"], plan["ssh_rules"]) == ([], wanted)
    observed["firewall"]["enabled"] = True
    assert make_plan(desired, observed)["ssh_rules"] == []


def test_ssh_from_nowhere(desired: Data, observed: Data) -> None:
    """Ansible may come in another way: what the SSH server listens on is opened all the same."""
    desired["firewall_enable"] = True
    observed["ssh_connection"] = {}
    observed["firewall"]["unmanaged"] = [unmanaged("22", source="192.0.2.5")]
    assert make_plan(desired, observed)["ssh_rules"] == [22]


def test_limit_and_interface_replace_a_rule_where_it_stands(desired: Data, observed: Data) -> None:
    desired["rules"] = [rule(action="limit")]
    plan = make_plan(desired, observed)
    assert (plan["rules"], plan["obsolete_rules"]) == ([rule(action="limit")], []), "ufw keeps one of the two"
    assert plan["summary"] == ["firewall: limit port 8000/tcp from any to any"]
    desired["rules"] = [rule(interface="eth0")]
    plan = make_plan(desired, observed)
    assert (plan["rules"], plan["obsolete_rules"]) == ([rule(interface="eth0")], [rule()])
    assert "firewall: allow port 8000/tcp from any to any on eth0" in plan["summary"]


def test_a_rule_that_an_administrator_made_is_left_to_him(desired: Data, observed: Data) -> None:
    observed["firewall"].update(rules=[], unmanaged=[unmanaged("8000")])
    plan = make_plan(desired, observed)
    assert (plan["stages"], plan["summary"]) == ([], [])
    desired["force"] = True
    assert make_plan(desired, observed)["rules"] == []
    desired.update(force=False, rules=[rule(), rule(9000)])
    observed["firewall"]["unmanaged"] = [unmanaged("8000", "deny")]
    plan = make_plan(desired, observed)
    assert plan["rules"] == [rule(9000)]
    assert plan["summary"][-1] == (
        "firewall: a rule that is not the role's says deny for port 8000/tcp from any to any; it stays as it is"
    )


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (unmanaged("8000"), True),
        (unmanaged("7999:8001", protocol="any"), True),
        (unmanaged("8001"), False),
        (unmanaged("8000", "deny"), False),
        (unmanaged("8000", source="198.51.100.0/24"), False),
    ],
)
def test_a_wide_rule_of_others_makes_a_narrow_one_useless(
    desired: Data, observed: Data, theirs: Data, told: bool
) -> None:
    desired["rules"] = [rule(source="192.0.2.0/24")]
    observed["firewall"].update(unmanaged=[theirs])
    plan = make_plan(desired, observed)
    assert plan["rules"] == desired["rules"]
    assert any("lets everybody in at port" in line for line in plan["summary"]) is told


def test_ufw_without_ipv6(desired: Data, observed: Data) -> None:
    bind_to(desired, "0.0.0.0:8000", "[::]:8000")
    observed = deployed(desired, observed)
    desired["rules"] = [rule(source="2001:db8::/32"), rule(source="192.0.2.0/24"), rule(destination="2001:db8::5")]
    observed["firewall"]["ipv6"] = False
    plan = make_plan(desired, observed)
    assert plan["rules"] == [rule(source="192.0.2.0/24")]
    assert plan["summary"][-1] == (
        "firewall: nothing for [::]:8000, 2001:db8::/32, because ufw doesn't handle IPv6 on the host (IPV6=no in "
        "/etc/default/ufw); while ufw is on, no IPv6 comes in"
    )
    observed["firewall"]["rules"] = [rule(source="192.0.2.0/24")]
    assert make_plan(desired, observed)["stages"] == [], "and not again with every run"
    assert make_plan(desired, observed)["summary"] == []


def test_a_kernel_without_ipv6(desired: Data, bare: Data) -> None:
    bind_to(desired, "0.0.0.0:8000", "[2001:db8::5]:8000")
    bare["ipv6"] = False
    assert only(make_plan(desired, bare)).startswith("gunicorn_bind: got '[2001:db8::5]:8000', but the kernel")


@pytest.mark.parametrize("enable", [False, True])
def test_another_firewall_is_left_alone(desired: Data, observed: Data, bare: Data, enable: bool) -> None:
    desired["firewall_enable"] = enable
    bare["firewall"]["others"] = ["firewalld"]
    plan = make_plan(desired, bare)
    assert plan["problems"] == []
    assert plan["stages"] == ["code", "packages", "venv", "release", "check", "switch"]
    assert plan["missing_packages"] == plan["packages"] == ["python3-venv"], "installing ufw may remove it"
    said = (
        "firewall: left alone, because firewalld runs it on the host and ufw is off; allow 8000/tcp there, and set "
        "gunicorn_firewall: false"
    )
    assert plan["summary"][-1] == said
    observed["firewall"].update(others=["firewalld"], rules=[rule(9000)])
    plan = make_plan(desired, observed)
    assert (plan["stages"], plan["summary"]) == ([], [said]), "each run says so"
    desired["force"] = True
    assert make_plan(desired, observed)["firewall"] is False
    desired.update(force=False, rules=[], firewall_enable=False)
    assert make_plan(desired, observed)["summary"] == [], "it needs nothing"
    desired["rules"] = None
    assert make_plan(desired, observed)["summary"] == []


def test_another_firewall_beside_ufw(desired: Data, bare: Data) -> None:
    bare["firewall"].update(others=["nftables"], enabled=True, installed=True)
    plan = make_plan(desired, bare)
    assert plan["rules"] == [rule()]
    assert plan["summary"][-1] == "firewall: nftables runs beside ufw; what one of them shuts out stays out"


def test_docker_beside_ufw(desired: Data, observed: Data) -> None:
    desired["rules"] = [rule(9000)]
    observed["firewall"]["docker"] = True
    assert not any("Docker" in line for line in make_plan(desired, observed)["summary"]), "ufw is off"
    observed["firewall"]["enabled"] = True
    observed["listening"] += [listener("0.0.0.0", port, "docker-proxy", "docker.service") for port in (5432, 80)]
    assert (
        "firewall: Docker runs on the host, and ports that it publishes (80, 5432) go around ufw, whatever its rules "
        "say; those of this application don't"
    ) in make_plan(desired, observed)["summary"]
    desired["rules"] = [rule()]
    assert make_plan(desired, observed)["summary"] == [], "a run with nothing to do keeps quiet"


def test_an_interface_that_is_not_there(desired: Data, observed: Data) -> None:
    desired["rules"] = [rule(interface="wg0"), rule(interface="eth0")]
    summary = make_plan(desired, observed)["summary"]
    assert summary[-1] == "firewall: the host has no interface wg0 now; it has eth0, lo"


@pytest.mark.parametrize(
    ("found", "rules", "asked", "netfilter", "netfilter6"),
    [
        ({}, [rule()], False, False, False),
        ({}, [rule(9000)], True, False, False),
        ({"rules": [rule(), rule(9000)]}, [rule()], True, False, False),
        ({"enabled": True}, [rule(9000)], True, True, True),
        ({"enabled": True, "ipv6": False}, [rule(9000)], True, True, False),
        ({}, None, False, False, False),
    ],
)
def test_ufw_is_asked_only_where_it_is_needed(
    desired: Data,
    observed: Data,
    found: Data,
    rules: list[Data] | None,
    asked: bool,
    netfilter: bool,
    netfilter6: bool,
) -> None:
    desired["rules"] = rules
    observed["firewall"].update(found)
    plan = make_plan(desired, observed)
    assert (plan["ask_ufw"], plan["netfilter"], plan["netfilter6"]) == (asked, netfilter, netfilter6)


# The policy

HEALTH = {"path": "/alive", "status": [200], "timeout": 30, "watch": 3}


@pytest.mark.parametrize(
    ("change", "asks", "said"),
    [
        ({"keep": 9}, False, "releases to keep: 3 -> 9"),
        ({"health": HEALTH}, True, "the health check changes (path /healthz -> /alive); release ID is asked first"),
        ({"firewall": None}, False, "who may connect changes in policy.json; no firewall rule changes"),
    ],
)
def test_a_changed_policy_makes_no_release(desired: Data, observed: Data, change: Data, asks: bool, said: str) -> None:
    desired["policy"].update(change)
    plan = make_plan(desired, observed)
    assert (plan["id"], plan["switch"], plan["stages"]) == (plan["serving"], False, ["switch"])
    assert (plan["ask"], plan["policy"]) == (asks, desired["policy"])
    assert plan["summary"] == [said.replace("ID", plan["id"])]


@pytest.mark.parametrize("lost", ["policy", "passed"])
def test_a_policy_that_is_lost_is_written_again(desired: Data, observed: Data, lost: str) -> None:
    if lost == "policy":
        observed["policy"] = {}
    else:
        observed["releases"][observed["current"]]["passed"] = HEALTH
    plan = make_plan(desired, observed)
    assert (plan["switch"], plan["stages"], plan["ask"]) == (False, ["switch"], lost == "passed")


def test_a_new_release_is_asked_by_its_check(desired: Data, observed: Data) -> None:
    desired["code"], desired["policy"]["health"] = "dddddddddddd", HEALTH
    plan = make_plan(desired, observed)
    assert (plan["ask"], plan["switch"], plan["health"]["path"]) == (False, True, "/alive")
    assert plan["summary"][-1] == "the health check changes (path /healthz -> /alive)"


# What is pruned


@pytest.fixture
def history(desired: Data, observed: Data) -> Data:
    """The wanted release serves; three more are there, each with code of its own."""
    for day, (identity, venv) in enumerate([(OLDEST, "old-venv"), (OLDER, "old-venv"), (OLD, desired["venv"])]):
        code = f"code-{identity}"
        made = {**desired, "code": code, "venv": venv}
        observed["releases"][identity] = recorded(made, identity, f"2026-05-0{day + 1}T00:00:00Z")
        observed["code"].append(code)
    observed["venvs"].append("old-venv")
    observed["previous"] = OLD
    return observed


def gone(*identities: str) -> set[str]:
    return {f"{ROOT}/releases/{each}" for each in identities} | {f"{ROOT}/code/code-{each}" for each in identities}


@pytest.mark.parametrize("keep", [3, 9])
@pytest.mark.parametrize("failed", [False, True])
def test_a_release_that_never_served_is_no_history(desired: Data, history: Data, failed: bool, keep: int) -> None:
    desired["policy"]["keep"] = history["policy"]["keep"] = keep
    history["releases"][OLDER].update(served=False, failed=failed)
    assert set(make_plan(desired, history)["obsolete_paths"]) == gone(OLDER)


def test_a_failure_before_it_served_does_not_count(desired: Data, history: Data) -> None:
    history["releases"][OLDER]["failed"] = True
    assert set(make_plan(desired, history)["obsolete_paths"]) == gone(OLDEST)


def test_the_oldest_releases_go(desired: Data, history: Data) -> None:
    plan = make_plan(desired, history)
    assert (plan["stages"], plan["switch"], plan["ask"]) == (["switch"], False, False)
    assert set(plan["obsolete_paths"]) == gone(OLDEST)
    assert plan["summary"] == [f"remove {path}" for path in plan["obsolete_paths"]]


@pytest.mark.parametrize(
    ("keep", "removed"), [(4, []), (9, []), (3, [OLDEST]), (2, [OLDEST, OLDER]), (1, [OLDEST, OLDER])]
)
def test_the_running_and_the_previous_one_stay(desired: Data, history: Data, keep: int, removed: list[str]) -> None:
    desired["policy"]["keep"] = history["policy"]["keep"] = keep
    expected = gone(*removed) | ({f"{ROOT}/venvs/old-venv"} if len(removed) == 2 else set())
    assert set(make_plan(desired, history)["obsolete_paths"]) == expected


def test_the_previous_one_stays_however_old_it_is(desired: Data, history: Data) -> None:
    desired["policy"]["keep"] = 2
    history["previous"] = OLDEST
    assert set(make_plan(desired, history)["obsolete_paths"]) == gone(OLD, OLDER)


def test_the_one_that_serves_stays_as_the_previous_one(desired: Data, history: Data) -> None:
    serving = history["current"]
    desired["code"], desired["policy"]["keep"] = "dddddddddddd", 2
    plan = make_plan(desired, history)
    assert plan["previous"] == serving
    assert not any(serving in path or "cccccccccccc" in path for path in plan["obsolete_paths"])
    assert gone(OLD, OLDER, OLDEST) <= set(plan["obsolete_paths"])


def test_what_a_kept_release_needs_stays(desired: Data, history: Data) -> None:
    history["releases"][OLDEST]["code"] = f"code-{OLD}"
    assert f"{ROOT}/code/code-{OLD}" not in make_plan(desired, history)["obsolete_paths"]


def test_what_an_interrupted_run_left_goes(desired: Data, observed: Data) -> None:
    observed["unfinished"] = [f"{ROOT}/code/half", f"{ROOT}/venvs/half", f"{ROOT}/releases/half"]
    assert make_plan(desired, observed)["obsolete_paths"] == observed["unfinished"]


def test_what_this_run_builds_does_not_go(desired: Data, bare: Data) -> None:
    bare["unfinished"] = [
        f"{ROOT}/code/{desired['code']}",
        f"{ROOT}/venvs/{desired['venv']}",
        f"{ROOT}/venvs/uv-1.2.3",
        f"{ROOT}/releases/{release_id(desired)}",
    ]
    assert make_plan(desired, bare)["obsolete_paths"] == []


def test_what_is_built_anew_is_not_removed_before(desired: Data, observed: Data) -> None:
    """The modules that build it do that."""
    observed.update(unfinished=[], venvs=[], dead_venvs={desired["venv"]: "/opt/python/bin/python3", "other": "/gone"})
    plan = make_plan(desired, observed)
    assert plan["venv"]
    assert plan["obsolete_paths"] == [f"{ROOT}/venvs/other"], "nothing needs that one"


def test_what_is_left_of_a_build_goes(desired: Data, observed: Data) -> None:
    """The module that builds the next venv removes it first; where there is none to build, this run does."""
    observed["unfinished"] = [f"{ROOT}/build", "/run/systemd/system/shop-build.service"]
    assert make_plan(desired, observed)["obsolete_paths"] == observed["unfinished"]
    observed["venvs"] = []
    assert make_plan(desired, observed)["obsolete_paths"] == []


def test_a_build_user_of_somebody_else(desired: Data, observed: Data) -> None:
    observed["build_user"] = {"gecos": "Builds packages of shop (pyweb.deploy)"}
    assert make_plan(desired, observed)["problems"] == []
    observed["build_user"] = {"gecos": "Jenkins"}
    message = only(make_plan(desired, observed))
    assert "the host has a user shop-build that the role did not create" in message
    assert message.endswith("Example: gunicorn_name: shop-web")


def test_code_and_venvs_that_nothing_names_go(desired: Data, observed: Data) -> None:
    observed["code"].append("stray")
    observed["venvs"].append("stray")
    assert make_plan(desired, observed)["obsolete_paths"] == [f"{ROOT}/code/stray", f"{ROOT}/venvs/stray"]


def test_what_builds_venvs_stays_while_it_is_wanted(desired: Data, observed: Data) -> None:
    observed["venvs"] += ["uv-1.2.2", "uv-1.2.3"]
    assert make_plan(desired, observed)["obsolete_paths"] == [f"{ROOT}/venvs/uv-1.2.2"]
    desired["tools"] = []
    assert make_plan(desired, observed)["obsolete_paths"] == [f"{ROOT}/venvs/uv-1.2.2", f"{ROOT}/venvs/uv-1.2.3"]


# Back to an earlier release


@pytest.fixture
def before(desired: Data) -> Data:
    """What was wanted before: other code, other packages, other units."""
    return {
        **copy.deepcopy(desired),
        "code": "aaaaaaaaaaaa",
        "venv": "bbbbbbbbbbbb",
        "user": "web",
        "policy": {**desired["policy"], "health": {"path": "/alive", "status": [200], "timeout": 30, "watch": 9}},
        "slot_unit": "# @release@ was in @slot@\n",
        "check_unit": "# @release@ was in private\n",
        "private_socket": "# private socket of @slot@, as it was\n",
    }


def with_before(desired: Data, bare: Data, before: Data) -> Data:
    """What is observed where the wanted release serves and that one served before it, as `OLD`."""
    observed = deployed(desired, bare, "green")
    observed["releases"][OLD] = recorded(before, OLD, "2026-05-01T00:00:00Z")
    observed["code"].append(before["code"])
    observed["venvs"].append(before["venv"])
    observed["previous"] = OLD
    observed["files"][f"{UNITS}/shop-blue.service"] = managed("# of the release before\n")
    return observed


def back(release: str = "previous") -> Data:
    """What the role says of what is wanted, where it is to go back."""
    return {"name": "shop", "restore": release, "tools": ["uv-1.2.3"], "drain": False, "enroll": False}


@pytest.mark.parametrize("release", ["previous", OLD])
def test_going_back(desired: Data, bare: Data, before: Data, release: str) -> None:
    observed = with_before(desired, bare, before)
    observed.update(packages=[], python={})
    plan = make_plan(back(release), observed)
    serving = release_id(desired)
    assert plan["problems"] == []
    assert (plan["stages"], plan["compare"]) == (["check", "switch"], ["code", "configuration"])
    assert not any(plan[part] for part in ("prepare", "bring_code", "venv", "create_user", "missing_packages"))
    assert (plan["id"], plan["serving"], plan["previous"]) == (OLD, serving, serving)
    assert (plan["switch"], plan["slot"], plan["old_slot"], plan["work"]) == (True, "blue", "green", True)
    assert plan["units"] == {
        "shop-blue.service": f"# {OLD} was in blue\n",
        "shop-check.service": f"# {OLD} was in private\n",
        **{f"shop-{each}.socket": f"# private socket of {each}, as it was\n" for each in ("blue", "green", "check")},
    }
    assert plan["record"] == {"id": OLD, **{key: before[key] for key in KEPT}}
    assert (plan["health"]["path"], plan["passed_health"]["path"]) == ("/healthz", "/alive")
    assert (plan["policy"], plan["watch"]) == (desired["policy"], 1), "watched more briefly: it has served before"
    assert not {"watch"} & {*plan["health"], *plan["passed_health"]}
    assert socket_of(plan) == (False, False, False)
    assert plan["summary"] == [
        f"shop: release {OLD} starts in slot blue; replaces {serving}; it was made 2026-05-01T00:00:00Z",
        "what differs: code and Python packages",
    ]


def test_going_back_without_a_policy(desired: Data, bare: Data, before: Data) -> None:
    """Somebody removed it: what the release passed counts, and nothing is pruned."""
    observed = with_before(desired, bare, before)
    observed["policy"] = {}
    plan = make_plan(back(), observed)
    assert (plan["problems"], plan["obsolete_paths"], plan["rules"]) == ([], [], [])
    assert (plan["health"]["path"], plan["passed_health"]) == ("/alive", {})


def test_going_back_looks_for_no_user_and_no_interpreter(desired: Data, bare: Data, before: Data) -> None:
    """Who goes back gives a name only, and the release may run as another user than that."""
    observed = with_before(desired, bare, before)
    observed.update(user={}, python={})
    assert make_plan(back(), observed)["problems"] == []


def test_going_back_to_secrets_that_are_lost(desired: Data, bare: Data, before: Data) -> None:
    before["secrets"] = ["KEY", "TOKEN"]
    observed = with_before(desired, bare, before)
    observed["secrets"][OLD] = ["KEY", "TOKEN"]
    plan = make_plan(back(), observed)
    assert (plan["problems"], plan["stages"]) == ([], ["check", "switch"])
    assert plan["record"]["secrets"] == ["KEY", "TOKEN"]
    observed["secrets"][OLD] = ["KEY"]
    (problem,) = make_plan(back(), observed)["problems"]
    assert f"of its secrets TOKEN is gone from {ROOT}/releases/{OLD}/secrets" in problem


def test_log_files_are_rotated(desired: Data, bare: Data) -> None:
    desired["log_rotation"] = "/var/log/gunicorn/shop/access.log {}\n"
    plan = make_plan(desired, bare)
    assert (plan["log_rotation"], plan["obsolete_paths"]) == ({LOG_ROTATION: desired["log_rotation"]}, [])
    assert f"write {LOG_ROTATION}, to rotate the log files" in plan["summary"]
    there = deployed(desired, bare)
    plan = make_plan(desired, there)
    assert (plan["work"], plan["log_rotation"], plan["summary"]) == (False, {}, [])
    assert make_plan({**desired, "force": True}, there)["log_rotation"] == {LOG_ROTATION: desired["log_rotation"]}
    there["files"][LOG_ROTATION]["mode"] = "0664"  # logrotate would refuse it
    plan = make_plan(desired, there)
    assert (plan["stages"], plan["switch"], list(plan["log_rotation"])) == (["check", "switch"], False, [LOG_ROTATION])


def test_what_rotated_log_files_goes_with_them(desired: Data, bare: Data) -> None:
    there = deployed({**desired, "log_rotation": "x\n"}, bare)
    plan = make_plan(desired, there)
    assert (plan["stages"], plan["obsolete_paths"]) == (["switch"], [LOG_ROTATION])
    assert plan["summary"] == [f"remove {LOG_ROTATION}"]


def test_going_back_brings_the_rotation_of_then(desired: Data, bare: Data, before: Data) -> None:
    before["log_rotation"] = "of then\n"
    observed = with_before(desired, bare, before)
    assert make_plan(back(), observed)["log_rotation"] == {LOG_ROTATION: "of then\n"}
    observed["releases"][OLD]["log_rotation"] = ""
    observed["files"][LOG_ROTATION] = managed("of now\n")
    plan = make_plan(back(), observed)
    assert (plan["log_rotation"], LOG_ROTATION in plan["obsolete_paths"]) == ({}, True)


def test_going_back_twice_comes_back(desired: Data, bare: Data, before: Data) -> None:
    observed = with_before(desired, bare, before)
    newer = release_id(desired)
    observed["slots"]["blue"] = {"active": True, "state": "active", "release": OLD}
    observed["slots"]["green"] = {"active": False, "state": "inactive", "release": newer}
    observed.update(live="blue", current=OLD, previous=newer)
    plan = make_plan(back(), observed)
    assert (plan["id"], plan["slot"], plan["previous"]) == (newer, "green", OLD)


def test_going_back_to_the_one_that_serves(desired: Data, bare: Data, before: Data) -> None:
    observed = with_before(desired, bare, before)
    plan = make_plan(back(observed["current"]), observed)
    assert (plan["problems"], plan["stages"], plan["summary"], plan["work"]) == ([], [], [], False)
    assert plan["previous"] == OLD


def test_going_back_to_another_address(desired: Data, bare: Data, before: Data) -> None:
    bind_to(before, "0.0.0.0:9000")
    plan = make_plan(back(), with_before(desired, bare, before))
    assert plan["problems"] == []
    assert socket_of(plan) == (True, True, False)
    assert texts(plan) == (before["public_socket"], desired["public_socket"])
    assert plan["public"] == [{"host": "0.0.0.0", "port": 9000, "path": ""}]


NARROW = rule(source="198.51.100.7")


@pytest.mark.parametrize(
    ("ports", "sources", "there", "allowed", "withdrawn"),
    [
        ([8000], [], [rule(8000)], [], []),
        ([8000], [], [NARROW], [], []),
        ([8000], [], [rule(7000)], [rule(8000)], [rule(7000)]),
        ([8000], [], [rule(interface="eth0", action="limit")], [], []),
        ([8000], ["198.51.100.7"], [rule(8000)], [], []),
        ([8000], ["198.51.100.7"], [rule(7000)], [NARROW], [rule(7000)]),
        ([8000], ["198.51.100.7/32"], [], [NARROW], []),
        ([8000, 8001], [], [NARROW, rule(7000)], [rule(8001)], [rule(7000)]),
        ([8000], None, [rule(7000)], [], []),
    ],
)
def test_going_back_changes_rules_only_with_the_port(
    desired: Data,
    bare: Data,
    before: Data,
    ports: list[int],
    sources: list[str] | None,
    there: list[Data],
    allowed: list[Data],
    withdrawn: list[Data],
) -> None:
    bind_to(before, *(f"0.0.0.0:{port}" for port in ports))
    observed = with_before(desired, bare, before)
    of_now = None if sources is None else {"sources": sources, "interface": "", "action": "allow"}
    observed["policy"]["firewall"] = of_now
    observed["firewall"]["rules"] = there
    plan = make_plan(back(), observed)
    assert (plan["rules"], plan["obsolete_rules"]) == (allowed, withdrawn)
    assert (plan["firewall"], plan["enable_firewall"]) == (bool(allowed), False)


def test_going_back_prunes_as_ever(history: Data) -> None:
    serving = history["current"]
    history["policy"]["keep"] = 2
    plan = make_plan(back(OLDEST), history)
    assert plan["id"] == OLDEST
    assert set(plan["obsolete_paths"]) == gone(OLD, OLDER)
    assert plan["previous"] == serving


def test_going_back_starts_a_changed_unit_again(desired: Data, bare: Data, before: Data) -> None:
    observed = with_before(desired, bare, before)
    observed["files"][f"{UNITS}/shop-green.service"]["sha256"] = "0" * 64
    plan = make_plan(back(observed["current"]), observed)
    assert (plan["switch"], plan["slot"], plan["stages"]) == (True, "blue", ["check", "switch"])


@pytest.mark.parametrize("change", [{"systemd": False}, {"unmanaged": ["/opt/shop"]}])
def test_going_back_refuses_a_host_that_cannot_take_it(desired: Data, bare: Data, before: Data, change: Data) -> None:
    assert len(make_plan(back(), {**with_before(desired, bare, before), **change})["problems"]) == 1


def test_going_back_to_a_port_that_somebody_took(desired: Data, bare: Data, before: Data) -> None:
    bind_to(before, "0.0.0.0:9000")
    observed = with_before(desired, bare, before)
    observed["listening"].append(listener("0.0.0.0", 9000))
    assert "nginx of nginx.service already listens" in only(make_plan(back(), observed))


THERE = f"on the host: {'6' * 12}, made 2026-06-01T00:00:00Z; {OLD}, made 2026-05-01T00:00:00Z."


@pytest.mark.parametrize(
    ("release", "change", "said"),
    [
        ("previous", {"previous": ""}, "'previous', but nothing served before on the host."),
        ("previous", {"previous": OLDEST}, "'previous', which is not on the host."),
        (OLDEST, {}, f"'{OLDEST}', which is not on the host."),
        (OLDER, {}, f"'{OLDER}', which never took traffic."),
        (OLD, {"code": ["cccccccccccc"]}, f"'{OLD}', but its code is gone from /opt/shop/code."),
        ("previous", {"venvs": ["vvvvvvvvvvvv"]}, "'previous', but its venv is gone from /opt/shop/venvs."),
        (
            "previous",
            {"venvs": ["vvvvvvvvvvvv"], "dead_venvs": {"bbbbbbbbbbbb": "/opt/python/bin/python3.12"}},
            "'previous', but the interpreter of its venv, /opt/python/bin/python3.12, is gone: install it again.",
        ),
    ],
)
def test_no_way_back(desired: Data, bare: Data, before: Data, release: str, change: Data, said: str) -> None:
    observed = with_before(desired, bare, before)
    observed["releases"]["6" * 12] = observed["releases"].pop(observed["current"])
    observed["releases"][OLDER] = {**recorded(before, OLDER), "served": False}
    plan = make_plan(back(release), {**observed, **change})
    message = only(plan)
    assert message.startswith(f"gunicorn_release: got {said} ")
    assert f"It accepts `previous` or a release that has served; {THERE} " in message
    assert message.endswith(f'Example: gunicorn_release: "{OLD}"')
    assert (plan["work"], plan["summary"]) == (False, [])


def test_no_way_back_on_a_new_host(bare: Data) -> None:
    message = only(make_plan(back(), bare))
    assert "on the host: none that has served." in message
    assert message.endswith('Example: gunicorn_release: "previous"')


def test_code_and_venv_are_both_missed(desired: Data, bare: Data, before: Data) -> None:
    observed = {**with_before(desired, bare, before), "code": [], "venvs": []}
    assert len(make_plan(back(), observed)["problems"]) == 2


# The identity of a release


def test_the_identity_does_not_depend_on_the_slot(desired: Data, bare: Data) -> None:
    blue, green = (make_plan(desired, deployed(desired, bare, slot)) for slot in ("blue", "green"))
    assert blue["id"] == green["id"] == make_plan(desired, bare)["id"]


@pytest.mark.parametrize("key", ["code", "venv", "slot_unit"])
def test_the_identity_depends_on(desired: Data, key: str) -> None:
    before = release_id(desired)
    desired[key] += "x"
    assert release_id(desired) != before


def test_the_identity_depends_on_the_names_of_the_files(desired: Data) -> None:
    before = release_id(desired)
    desired["release_files"]["environments"] = desired["release_files"].pop("environment")
    assert release_id(desired) != before


def test_the_order_of_the_files_does_not_matter(desired: Data) -> None:
    before = release_id(desired)
    desired["release_files"] = dict(reversed(desired["release_files"].items()))
    assert release_id(desired) == before


@pytest.mark.parametrize(
    "change",
    [
        {"check_unit": "x"},
        {"policy": {}},
        {"public_socket": "x"},
        {"private_socket": "x"},
        {"check_config": "x"},
        {"rules": None},
        {"force": True},
    ],
)
def test_the_identity_ignores_what_the_application_does_not_notice(desired: Data, change: Data) -> None:
    before = release_id(desired)
    assert release_id({**desired, **change}) == before


# Hosts that can't take it


def only(plan: Data) -> str:
    """The one problem."""
    (message,) = plan["problems"]
    assert isinstance(message, str)
    assert "Example: " in message
    return message


@pytest.mark.parametrize(
    ("system", "version"), [("debian", "12"), ("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04")]
)
def test_supported_systems(desired: Data, bare: Data, system: str, version: str) -> None:
    bare["os"] = {"ID": system, "VERSION_ID": version, "PRETTY_NAME": "x"}
    assert make_plan(desired, bare)["problems"] == []


@pytest.mark.parametrize(
    ("system", "version", "name", "shown"),
    [
        ("debian", "11", "Debian GNU/Linux 11 (bullseye)", "Debian GNU/Linux 11 (bullseye)"),
        ("debian", "", "Debian GNU/Linux sid", "Debian GNU/Linux sid"),
        ("ubuntu", "12", "Ubuntu 12", "Ubuntu 12"),
        ("fedora", "42", "Fedora Linux 42", "Fedora Linux 42"),
        ("", "", "", "an unknown system"),
    ],
)
def test_other_systems(desired: Data, bare: Data, system: str, version: str, name: str, shown: str) -> None:
    bare["os"] = {"ID": system, "VERSION_ID": version, "PRETTY_NAME": name}
    message = only(make_plan(desired, bare))
    assert f"The host runs {shown}. " in message
    assert "debian 12, 13; ubuntu 22.04, 24.04" in message


def test_no_systemd(desired: Data, bare: Data) -> None:
    bare["systemd"] = False
    assert "isn't run by systemd" in only(make_plan(desired, bare))


def interpreter(file: str, version: str = "3.13.5", **more: Any) -> Data:
    return {"path": file, "file": file, "version": version, "venv": True, "system": False, **more}


@pytest.mark.parametrize(
    ("name", "found", "said"),
    [
        (
            "python3.13",
            {},
            "which is not on the host; `apt install python3.13-venv` brings it where the distribution has it. ",
        ),
        ("/opt/python/bin/python3", {}, "which is not on the host. "),
        (
            "python3",
            interpreter("/usr/bin/python3.9", "3.9.2"),
            "which is Python 3.9.2, and Gunicorn needs 3.10 or later. ",
        ),
        (
            "python2",
            {"path": "/usr/bin/python2", "file": "/usr/bin/python2.7", "problem": "Unknown option: -I"},
            "which doesn't run as Python 3: Unknown option: -I. ",
        ),
        (
            "/opt/python/bin/python3",
            interpreter("/opt/python/bin/python3", venv=False),
            "which lacks the modules venv and ensurepip; install it with both. ",
        ),
        (
            "/usr/local/bin/python3",
            interpreter("/usr/bin/python3.11", path="/usr/local/bin/python3", venv=False),
            "which lacks the modules venv and ensurepip; set gunicorn_system_packages: [python3.11-venv]. ",
        ),
    ],
)
def test_no_good_python(desired: Data, bare: Data, name: str, found: Data, said: str) -> None:
    desired.update(python=name, packages=["tar"])
    bare.update(python=found, interpreters=["/usr/bin/python3.9", "/usr/local/bin/python3.12", "/usr/bin/python3.13"])
    message = only(make_plan(desired, bare))
    assert message == (
        f"gunicorn_python: got {name!r}, {said}It accepts an interpreter from 3.10 on, by name or absolute path. "
        "The host has /usr/local/bin/python3.12, /usr/bin/python3.13. Example: gunicorn_python: /usr/bin/python3.13"
    )


def test_no_other_python(desired: Data, bare: Data) -> None:
    bare.update(python=interpreter("/usr/bin/python3.9", "3.9.2"), interpreters=["/usr/bin/python3.9"])
    message = only(make_plan(desired, bare))
    assert message.endswith(" The host has no other. Example: gunicorn_python: python3")


def test_the_interpreter_of_the_distribution_needs_no_ensurepip(desired: Data, bare: Data) -> None:
    desired["packages"] = ["python3-pip-whl"]
    bare["python"] = interpreter("/usr/bin/python3.13", venv=False, system=True)
    assert make_plan(desired, bare)["problems"] == []


@pytest.mark.parametrize(
    ("file", "packages", "refused"),
    [
        ("/usr/bin/python3.12", ["tar"], True),
        ("/usr/bin/python3.12", ["tar", "python3.12-venv"], False),
        ("/usr/local/bin/python3", ["tar", "python3-venv"], True),
    ],
)
def test_an_interpreter_without_venv(desired: Data, bare: Data, file: str, packages: list[str], refused: bool) -> None:
    """What Debian packages bring is for Debian's own interpreters."""
    desired["packages"] = packages
    bare["python"] = interpreter(file, venv=False)
    problems = make_plan(desired, bare)["problems"]
    assert ["lacks the modules venv and ensurepip" in each for each in problems] == ([True] if refused else [])


@pytest.mark.parametrize("version", ["3.10.0", "3.13.5", "3.15.0rc1"])
def test_good_pythons(desired: Data, bare: Data, version: str) -> None:
    bare["python"]["version"] = version
    assert make_plan(desired, bare)["problems"] == []


def test_a_user_that_somebody_else_made(desired: Data, bare: Data) -> None:
    bare["user"] = {"uid": 1000, "gid": 1000, "group": "shop", "gecos": "Shop Keeper,,,"}
    message = only(make_plan(desired, bare))
    assert message.startswith("gunicorn_name: got 'shop', but the host has a user of that name")
    assert message.endswith("Example: gunicorn_name: shop-web, or gunicorn_user: shop to run as it")


def test_an_existing_user_on_purpose(desired: Data, bare: Data) -> None:
    desired.update(create_user=False, user="www-data")
    bare["user"] = {"uid": 33, "gid": 33, "group": "www-data", "gecos": "www-data"}
    plan = make_plan(desired, bare)
    assert (plan["problems"], plan["create_user"]) == ([], False)


def test_a_certificate_that_is_missing(desired: Data, bare: Data) -> None:
    desired["credentials"] = {"certfile": "/root/shop.pem", "keyfile": "/root/shop.key"}
    assert make_plan(desired, bare)["problems"] == []
    bare["missing"] = ["/root/shop.key"]
    message = only(make_plan(desired, bare))
    assert message.startswith("gunicorn_settings: keyfile: got '/root/shop.key', which is not a file on the host. It ")
    assert message.endswith("keyfile: /etc/letsencrypt/live/shop.example/privkey.pem}")


def test_directives_that_systemd_would_ignore(desired: Data, bare: Data) -> None:
    problem = "Unknown key 'MemoryMx' in section [Service]"
    bare["refused_options"] = [
        {"directive": "MemoryMx", "value": "1G", "problem": problem, "near": "MemoryMax"},
        {"directive": "CPUQuota", "value": "150", "problem": "Invalid CPU quota '150'", "near": ""},
    ]
    misspelt, wrong = make_plan(desired, bare)["problems"]
    start = "gunicorn_service_options: got MemoryMx: '1G', which systemd on the host would ignore: "
    assert misspelt.startswith(f"{start}{problem}; did you mean 'MemoryMax'? It accepts")
    assert "got CPUQuota: '150', which systemd on the host would ignore: Invalid CPU quota '150'. It accepts" in wrong
    assert all("Example: gunicorn_service_options: {" in message for message in (misspelt, wrong))


def test_an_existing_user_that_is_missing(desired: Data, bare: Data) -> None:
    desired.update(create_user=False, user="www-data")
    message = only(make_plan(desired, bare))
    assert message.startswith("gunicorn_user: got 'www-data', which is not a user of the host.")


@pytest.mark.parametrize("layout", [LAYOUT - 1, LAYOUT + 1])
def test_what_another_version_of_the_role_made_is_refused(desired: Data, bare: Data, before: Data, layout: int) -> None:
    observed = {**with_before(desired, bare, before), "layout": layout, "releases": {}, "current": "", "previous": ""}
    desired["source_problems"] = ["gunicorn_source: not said beside"]
    for wanted in (desired, back(), back(OLD)):
        plan = make_plan(wanted, observed)
        message = only(plan)
        assert message.startswith(f"gunicorn_name: got 'shop', but /opt/shop on the host has layout {layout}, which ")
        assert f" It accepts layout {LAYOUT}: remove the application with the version that deployed it, " in message
        assert message.endswith("Example: gunicorn_state: absent")
        assert (plan["work"], plan["stages"], plan["summary"]) == (False, [], [])


def test_things_that_somebody_else_made(desired: Data, bare: Data) -> None:
    bare["unmanaged"] = ["/lib/systemd/system/shop.service", "/opt/shop"]
    problems = make_plan(desired, bare)["problems"]
    assert [path in message for path, message in zip(bare["unmanaged"], problems, strict=True)] == [True, True]
    assert all(message.startswith("gunicorn_name: got 'shop', but /") for message in problems)
    assert all(message.endswith("Example: gunicorn_name: shop-web") for message in problems)


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        ("0.0.0.0", "0.0.0.0"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "::"),
        ("::", "::"),
        ("::", "::1"),
    ],
)
def test_a_port_that_somebody_else_holds(desired: Data, bare: Data, wanted: str, taken: str) -> None:
    bind_to(desired, f"[{wanted}]:8000" if ":" in wanted else f"{wanted}:8000")
    bare["listening"].append(listener(taken))
    message = only(make_plan(desired, bare))
    got = desired["addresses"][0]["listen_stream"]
    assert message.startswith(
        f"gunicorn_bind: got '{got}', which nginx of nginx.service already listens on ({taken}). "
    )
    assert message.endswith('Example: gunicorn_bind: ["0.0.0.0:8001"], or stop that process first')


@pytest.mark.parametrize(
    ("wanted", "taken", "port"),
    [("0.0.0.0", "0.0.0.0", 8001), ("127.0.0.1", "192.0.2.5", 8000), ("::", "0.0.0.0", 8000), ("0.0.0.0", "::1", 8000)],
)
def test_a_port_that_is_free(desired: Data, bare: Data, wanted: str, taken: str, port: int) -> None:
    bind_to(desired, f"[{wanted}]:8000" if ":" in wanted else f"{wanted}:8000")
    bare["listening"].append(listener(taken, port))
    assert make_plan(desired, bare)["problems"] == []


def test_a_port_that_nobody_is_seen_to_hold(desired: Data, bare: Data) -> None:
    bare["listening"].append(listener("0.0.0.0", process="", unit=""))
    assert "another process already listens" in only(make_plan(desired, bare))


@pytest.mark.parametrize("address", ["0.0.0.0:8000", "/run/shop.sock"])
def test_a_public_socket_that_somebody_stopped(desired: Data, bare: Data, address: str) -> None:
    """The slot holds its address on. In a container, even root may not see who does."""
    bind_to(desired, address)
    observed = deployed(desired, bare)
    observed["units"]["shop.socket"].update(ActiveState="inactive", Listen=[])
    for item in observed["listening"]:
        item.update({"process": "", "unit": "", "systemd": False} if item["port"] == 8000 else {})
    plan = make_plan(desired, observed)
    assert plan["problems"] == []
    assert plan["switch"]
    assert socket_of(plan) == (True, True, address == "0.0.0.0:8000")
    assert plan["summary"][0].endswith(
        f"release {plan['id']} starts again in slot green: its public socket is not as it was"
    )
    observed["slots"]["blue"].update(active=False, state="inactive")
    assert "another process already listens" in only(make_plan(desired, observed)), "nobody of ours runs"


def test_a_service_that_somebody_stopped(desired: Data, observed: Data) -> None:
    observed["slots"]["blue"].update(active=False, state="inactive")
    observed["units"]["shop.socket"].update(ActiveState="inactive", Listen=[])
    observed["listening"] = []
    last = observed["current"]
    assert make_plan(desired, observed)["summary"] == [f"shop: release {last} starts in slot green; nothing serves now"]
    desired["code"] = "dddddddddddd"
    plan = make_plan(desired, observed)
    assert plan["summary"] == [
        f"shop: release {plan['id']} starts in slot green; nothing serves now, {last} was the last",
        "what differs: code",
    ]


def test_one_message_for_a_port_however_many_hold_it(desired: Data, bare: Data) -> None:
    bare["listening"] += [listener("0.0.0.0"), listener("::"), listener("127.0.0.1")]
    only(make_plan(desired, bare))


def shown(listen_stream: str) -> str:
    return f"unix:{listen_stream}" if listen_stream.startswith("/") else listen_stream


def test_a_port_that_a_socket_unit_holds(desired: Data, bare: Data) -> None:
    bare["listening"].append(listener("0.0.0.0", 8000, "systemd", "init.scope", systemd=True))
    assert "which a socket unit (`systemctl list-sockets`) already listens on (0.0.0.0)" in only(
        make_plan(desired, bare)
    )


def test_a_port_of_a_process_that_somebody_started_by_hand(desired: Data, bare: Data) -> None:
    bare["listening"].append(listener("0.0.0.0", 8000, "python3", "session-3.scope"))
    assert "which python3 already listens on (0.0.0.0)" in only(make_plan(desired, bare))


@pytest.mark.parametrize(
    ("mine", "theirs", "clash"),
    [
        ("0.0.0.0:8000", "127.0.0.1:8000", True),
        ("0.0.0.0:8000", "0.0.0.0:8001", False),
        ("[::]:8000", "0.0.0.0:8000", False),
        ("[::]:8000", "[::1]:8000", True),
        ("/run/shop.sock", "/run/shop.sock", True),
        ("/run/shop.sock", "/run/blog.sock", False),
    ],
)
@pytest.mark.parametrize("runs", [True, False])
def test_an_address_of_another_application(
    desired: Data, bare: Data, mine: str, theirs: str, clash: bool, runs: bool
) -> None:
    """It keeps its address while it is stopped: the next start of the host would start it again."""
    bind_to(desired, mine)
    bare["other_apps"] = {"wiki": ["127.0.0.1:9999"], "blog": [theirs]}
    if runs and clash and ":" in mine:
        bare["listening"].append(listener("::" if ":" in mine.rsplit(":", 1)[0] else "0.0.0.0", process="gunicorn"))
    plan = make_plan(desired, bare)
    if clash:
        message = only(plan)
        assert message.startswith(
            f"gunicorn_bind: got {shown(mine)!r}, which the application 'blog' of this host has. "
        )
        assert message.endswith(", or `systemctl disable --now blog.socket blog` on the host first")
    else:
        assert plan["problems"] == []


def test_a_unix_socket_of_somebody_else(desired: Data, bare: Data, observed: Data) -> None:
    """When it opens one, systemd removes what is there."""
    bind_to(desired, "/run/shop.sock")
    for each in (bare, observed):
        each["listening_paths"] = ["/run/shop.sock"]
        message = only(make_plan(desired, each))
        assert message.startswith(
            "gunicorn_bind: got 'unix:/run/shop.sock', which another process already listens on. "
        )
    observed["units"]["shop.socket"]["Listen"] = ["/run/shop.sock"]
    assert make_plan(desired, observed)["problems"] == [], "it is the application's own"


@pytest.mark.parametrize("wanted", ["0.0.0.0", "127.0.0.1"])
def test_our_own_socket_is_not_somebody_else(desired: Data, observed: Data, wanted: str) -> None:
    """Where no slot runs, systemd itself holds the port."""
    bind_to(desired, f"[{wanted}]:8000" if ":" in wanted else f"{wanted}:8000")
    observed["slots"]["blue"] = {"active": False, "state": "failed", "release": ""}
    observed["listening"][-1] = listener("0.0.0.0", 8000, "systemd", "init.scope", systemd=True)
    assert make_plan(desired, observed)["problems"] == []


def test_our_own_ipv6_socket_is_not_somebody_else(desired: Data, observed: Data) -> None:
    bind_to(desired, "[::]:8000")
    observed["units"]["shop.socket"]["Listen"] = ["[::1]:8000"]
    observed["listening"][-1] = listener("::1", 8000, "systemd", "init.scope", systemd=True)
    assert make_plan(desired, observed)["problems"] == []


def test_a_socket_unit_that_is_down_holds_nothing(desired: Data, observed: Data) -> None:
    observed["units"]["shop.socket"]["ActiveState"] = "failed"
    observed["listening"][-1] = listener("0.0.0.0")
    assert "nginx of nginx.service already listens" in only(make_plan(desired, observed))


@pytest.mark.parametrize(("rules", "enable", "locked_out"), [([], True, True), ([], False, False), (None, True, False)])
def test_ufw_never_locks_ssh_out(desired: Data, bare: Data, rules: Any, enable: bool, locked_out: bool) -> None:
    desired.update(rules=rules, firewall_enable=enable)
    bare.update(ssh_ports=[], ssh_connection={})
    plan = make_plan(desired, bare)
    if locked_out:
        assert only(plan).startswith("gunicorn_firewall_enable: got true, but no SSH server was found")
    else:
        assert plan["problems"] == []


@pytest.mark.parametrize(("action", "refused"), [("deny", True), ("reject", True), ("limit", False)])
def test_a_rule_that_shuts_ssh_out(desired: Data, observed: Data, action: str, refused: bool) -> None:
    desired["firewall_enable"] = True
    observed["firewall"]["unmanaged"] = [unmanaged("22", action)]
    plan = make_plan(desired, observed)
    if not refused:
        assert plan["problems"] == []
        return
    message = only(plan)
    assert message.startswith("gunicorn_firewall_enable: got true, but a rule of ufw shuts out SSH on port 22")
    assert message.endswith(f"Example: `ufw delete {action} 22/tcp` on the host first")


def test_all_problems_at_once(desired: Data, bare: Data) -> None:
    bare.update(os={"ID": "", "VERSION_ID": "", "PRETTY_NAME": ""}, systemd=False, python={}, unmanaged=["/opt/shop"])
    bare["listening"].append(listener("::"))
    assert len(make_plan(desired, bare)["problems"]) == 5


# Applications that somebody else keeps on the host


# Secrets


def with_secrets(desired: Data, digest: str = "d1") -> Data:
    return {**desired, "secrets": ["KEY", "TOKEN"], "secrets_digest": digest}


def test_a_rotated_secret_is_a_new_release(desired: Data, bare: Data) -> None:
    desired = with_secrets(desired)
    found = deployed(desired, bare)
    assert make_plan(desired, found)["work"] is False
    plan = make_plan(with_secrets(desired, "d2"), found)
    assert (plan["switch"], plan["stages"]) == (True, ["release", "check", "switch"])
    assert plan["id"] != release_id(desired)
    assert "what differs: the value of a secret" in plan["summary"]


def test_without_secrets_a_release_is_called_as_before(desired: Data) -> None:
    assert release_id({**desired, "secrets_digest": "d1"}) == release_id(desired)
    parts = [desired["code"], desired["venv"]]
    parts += [part for pair in sorted(desired["release_files"].items()) for part in pair]
    parts.append(desired["slot_unit"])
    assert release_id(desired) == short_digest(*map(str.encode, parts))


@pytest.mark.parametrize("there", [[], ["KEY"], ["KEY", "OTHER"]])
def test_secrets_that_are_lost_are_written_again(desired: Data, bare: Data, there: list[str]) -> None:
    desired = with_secrets(desired)
    found = deployed(desired, bare)
    found["secrets"][release_id(desired)] = there
    plan = make_plan(desired, found)
    assert (plan["id"], plan["stages"]) == (release_id(desired), ["release", "check", "switch"])


def test_no_digest_of_secrets_is_kept(desired: Data, bare: Data) -> None:
    plan = make_plan(with_secrets(desired, "digest-of-secrets"), bare)
    assert plan["record"]["secrets"] == ["KEY", "TOKEN"]
    assert "digest-of-secrets" not in repr(plan)


def test_an_existing_application_is_never_brought(desired: Data, bare: Data) -> None:
    desired["existing"] = "/srv/shop"
    for force in (False, True):
        plan = make_plan({**desired, "force": force}, bare)
        assert (plan["bring_code"], plan["venv"], bool(plan["stages"])) == (False, True, True)
    assert plan["record"]["existing"] == "/srv/shop"


def test_an_existing_application_that_changed_is_a_new_release(desired: Data, bare: Data) -> None:
    desired["existing"] = "/srv/shop"
    found = deployed(desired, bare)
    assert make_plan(desired, found)["work"] is False
    plan = make_plan({**desired, "code": "dddddddddddd"}, found)
    assert (plan["switch"], plan["bring_code"], plan["venv"]) == (True, False, False)
    assert "what differs: code" in plan["summary"]


def test_going_back_leaves_an_existing_application_as_it_is(desired: Data, bare: Data) -> None:
    desired["existing"] = "/srv/shop"
    found = deployed(desired, bare)
    found["code"] = []
    back = recorded({**desired, "venv": "wwwwwwwwwwww"}, OLD)
    found["releases"][OLD], found["previous"] = back, OLD
    found["venvs"].append("wwwwwwwwwwww")
    wanted = {"name": "shop", "restore": "previous", "tools": [], "drain": False, "enroll": False}
    plan = make_plan(wanted, found)
    assert plan["problems"] == []
    assert "the code stays as it is in /srv/shop: the role doesn't keep it" in plan["summary"]


def test_problems_of_the_source_come_with_those_of_the_host(desired: Data, bare: Data) -> None:
    desired["source_problems"] = ["gunicorn_source: no"]
    bare["systemd"] = False
    first, *others = make_plan(desired, bare)["problems"]
    assert first == "gunicorn_source: no"
    assert len(others) == 1
