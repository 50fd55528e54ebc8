"""Every decision of a deploy, from what is wanted and what was observed."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils import plan as module
from ansible_collections.pyweb.deploy.plugins.plugin_utils.plan import generation_id, make_plan

UNITS = "/etc/systemd/system"
ROOT = "/opt/shop"
OLD, OLDER, OLDEST = "0" * 12, "1" * 12, "2" * 12
"""Ids of earlier generations."""

Data = dict[str, Any]


@pytest.fixture
def desired() -> Data:
    return {
        "name": "shop",
        "user": "shop",
        "create_user": True,
        "force": False,
        "release": "rrrrrrrrrrrr",
        "venv": "vvvvvvvvvvvv",
        "python": "python3",
        "packages": ["python3-venv", "ufw"],
        "keep": 3,
        "addresses": [{"host": "0.0.0.0", "port": 8000, "path": "", "listen_stream": "0.0.0.0:8000"}],
        "generation_files": {"gunicorn.conf.py": "timeout = 30\n", "environment": 'A="1"\n'},
        "slot_unit": "# @generation@ in @slot@\n",
        "private_socket": "# private socket of @slot@\n",
        "public_socket": "ListenStream=0.0.0.0:8000\n",
        "check_config": "print()\n",
        "rules": [{"port": 8000, "source": "any", "destination": "any"}],
        "firewall_enable": False,
        "ssh_ports": [22],
    }


@pytest.fixture
def bare() -> Data:
    """What is observed of a new server."""
    unknown = {"LoadState": "not-found", "ActiveState": "inactive", "Listen": []}
    units = [
        "shop.socket",
        *(f"shop-{unit}.{kind}" for unit in ("blue", "green", "check") for kind in ("service", "socket")),
    ]
    return {
        "os": {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"},
        "systemd": True,
        "python": {"path": "/usr/bin/python3.11", "version": "3.11.2", "venv": False},
        "packages": [],
        "user": {},
        "units": {unit: copy.deepcopy(unknown) for unit in units},
        "live": "",
        "slots": {slot: {"active": False, "state": "inactive", "generation": ""} for slot in ("blue", "green")},
        "generations": {},
        "unfinished": [],
        "releases": [],
        "venvs": [],
        "current": "",
        "previous": "",
        "files": {},
        "foreign": [],
        "listening": [{"address": "0.0.0.0", "port": 22, "process": "sshd", "unit": "ssh.service"}],
        "ssh_ports": [22],
        "firewall": {"installed": False, "enabled": False, "rules": []},
    }


def managed(text: str, group: str = "root", mode: str = "0644") -> Data:
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "owner": "root", "group": group, "mode": mode}


def deployed(desired: Data, bare: Data, slot: str = "blue") -> Data:
    """What is observed where exactly that was deployed: it serves from the slot."""
    found = copy.deepcopy(bare)
    identity = generation_id(desired)
    found.update(
        packages=list(desired["packages"]),
        user={"uid": 998, "gid": 998, "group": "shop", "gecos": "Gunicorn application shop (pyweb.deploy)"},
        live=slot,
        generations={
            identity: {"release": desired["release"], "venv": desired["venv"], "created": "2026-06-01T00:00:00Z"}
        },
        releases=[desired["release"]],
        venvs=[desired["venv"]],
        current=identity,
        firewall={"installed": True, "enabled": False, "rules": copy.deepcopy(desired["rules"] or [])},
    )
    found["slots"][slot] = {"active": True, "state": "active", "generation": identity}
    found["units"]["shop.socket"] = {"LoadState": "loaded", "ActiveState": "active", "Listen": ["0.0.0.0:8000"]}
    found["listening"].append(
        {"address": "0.0.0.0", "port": 8000, "process": "gunicorn", "unit": f"shop-{slot}.service"}
    )
    for name, text in desired["generation_files"].items():
        found["files"][f"{ROOT}/generations/{identity}/{name}"] = managed(text, "shop", "0640")
    for each in ("blue", "green", "check"):
        found["files"][f"{UNITS}/shop-{each}.socket"] = managed(desired["private_socket"].replace("@slot@", each))
    unit = desired["slot_unit"].replace("@slot@", slot).replace("@generation@", identity)
    found["files"].update(
        {
            f"{UNITS}/shop-{slot}.service": managed(unit),
            f"{UNITS}/shop.socket": managed(desired["public_socket"]),
            f"{ROOT}/check_config.py": managed(desired["check_config"]),
        }
    )
    return found


@pytest.fixture
def observed(desired: Data, bare: Data) -> Data:
    return deployed(desired, bare)


STAGES = ("build", "configure", "firewall", "activate", "prune")


def stages(plan: Data) -> list[str]:
    """Names of the stages that run."""
    return [stage for stage in STAGES if plan[stage]]


def test_first_deploy(desired: Data, bare: Data) -> None:
    plan = make_plan(desired, bare)
    assert plan["problems"] == []
    assert stages(plan) == ["build", "configure", "firewall", "activate"]
    assert plan["missing_packages"] == ["python3-venv", "ufw"]
    assert all(plan[part] for part in ("prepare", "create_user", "release", "venv"))
    assert (plan["switch"], plan["slot"], plan["old_slot"]) == (True, "blue", "")
    assert (plan["slot_exists"], plan["slot_busy"]) == (False, False)
    assert (plan["other_slot"], plan["other_slot_exists"]) == ("green", False)
    units = ["blue.service", "blue.socket", "check.service", "check.socket", "green.socket"]
    assert sorted(plan["units"]) == [f"shop-{unit}" for unit in units]
    assert (plan["serving"], plan["previous"]) == ("", "")
    assert (plan["socket_restart"], plan["socket_conflict"]) == (True, False)
    assert plan["rules"] == desired["rules"]
    assert plan["summary"] == [
        f"shop: generation {plan['id']} starts in slot blue; nothing serves yet",
        "Debian packages to install: python3-venv, ufw",
        "firewall: allow port 8000/tcp from any to any",
    ]


@pytest.mark.parametrize("slot", ["blue", "green"])
def test_nothing_to_do(desired: Data, bare: Data, slot: str) -> None:
    plan = make_plan(desired, deployed(desired, bare, slot))
    assert plan["problems"] == []
    assert stages(plan) == []
    assert (plan["switch"], plan["slot"], plan["old_slot"], plan["socket_restart"]) == (False, slot, "", False)
    assert (plan["prepare"], plan["units"]) == (False, [])
    assert plan["summary"] == []


@pytest.mark.parametrize(("live", "next_slot"), [("blue", "green"), ("green", "blue")])
def test_new_code(desired: Data, bare: Data, live: str, next_slot: str) -> None:
    observed = deployed(desired, bare, live)
    old = generation_id(desired)
    desired["release"] = "ssssssssssss"
    plan = make_plan(desired, observed)
    assert stages(plan) == ["build", "configure", "activate"]
    assert (plan["release"], plan["venv"], plan["create_user"], plan["missing_packages"]) == (True, False, False, [])
    assert (plan["switch"], plan["slot"], plan["old_slot"]) == (True, next_slot, live)
    assert (plan["other_slot"], plan["other_slot_exists"]) == (live, True)
    assert sorted(plan["units"]) == sorted(["shop-check.service", f"shop-{next_slot}.service"])
    assert (plan["serving"], plan["previous"]) == (old, old)
    assert plan["id"] != old
    assert plan["socket_restart"] is False
    assert plan["summary"] == [
        f"shop: generation {plan['id']} starts in slot {next_slot}; replaces {old}",
        "what differs: code",
    ]


def test_new_packages(desired: Data, observed: Data) -> None:
    desired["venv"] = "wwwwwwwwwwww"
    plan = make_plan(desired, observed)
    assert stages(plan) == ["build", "configure", "activate"]
    assert (plan["release"], plan["venv"], plan["switch"]) == (False, True, True)
    assert plan["summary"][1] == "what differs: Python packages"


def test_new_code_and_packages(desired: Data, observed: Data) -> None:
    desired.update(release="ssssssssssss", venv="wwwwwwwwwwww")
    assert make_plan(desired, observed)["summary"][1] == "what differs: code and Python packages"


@pytest.mark.parametrize("name", ["gunicorn.conf.py", "environment"])
def test_new_settings(desired: Data, observed: Data, name: str) -> None:
    desired["generation_files"][name] += "# changed\n"
    plan = make_plan(desired, observed)
    assert stages(plan) == ["configure", "activate"]
    assert (plan["switch"], plan["slot"], plan["socket_restart"]) == (True, "green", False)
    assert plan["summary"][1] == "what differs: the configuration"


def test_new_service_options(desired: Data, observed: Data) -> None:
    desired["slot_unit"] += "MemoryMax=1G\n"
    plan = make_plan(desired, observed)
    assert stages(plan) == ["configure", "activate"]
    assert plan["switch"] is True
    assert plan["id"] != observed["current"]


def test_another_venv_that_is_there_is_not_built(desired: Data, observed: Data) -> None:
    desired["venv"] = "wwwwwwwwwwww"
    observed["venvs"].append("wwwwwwwwwwww")
    assert stages(make_plan(desired, observed)) == ["configure", "activate"]


def test_back_to_a_generation_that_is_there(desired: Data, observed: Data) -> None:
    new = copy.deepcopy(desired)
    new["release"] = "ssssssssssss"
    both = deployed(new, observed, "green")
    both["slots"]["blue"] = {"active": False, "state": "inactive", "generation": ""}
    both["generations"] |= observed["generations"]
    both["releases"] += observed["releases"]
    both["files"] |= observed["files"]
    plan = make_plan(desired, both)
    assert stages(plan) == ["activate"]
    assert (plan["id"], plan["previous"]) == (generation_id(desired), generation_id(new))
    assert (plan["switch"], plan["slot"], plan["slot_busy"]) == (True, "blue", False)
    assert plan["units"] == ["shop-check.service"]


def bind_to(desired: Data, host: str, port: int, path: str = "") -> None:
    stream = path or f"{host}:{port}"
    desired["addresses"] = [{"host": host, "port": port, "path": path, "listen_stream": stream}]
    desired["public_socket"] = f"ListenStream={stream}\n"
    desired["generation_files"]["gunicorn.conf.py"] = f"bind = [{stream!r}]\n"
    desired["rules"] = [{"port": port, "source": "any", "destination": "any"}] if port else []


def test_another_port_opens_beside_the_old_one(desired: Data, observed: Data) -> None:
    bind_to(desired, "0.0.0.0", 9000)
    plan = make_plan(desired, observed)
    assert plan["problems"] == []
    assert stages(plan) == ["configure", "firewall", "activate", "prune"]
    assert (plan["switch"], plan["socket_restart"], plan["socket_conflict"]) == (True, True, False)
    assert plan["rules"] == desired["rules"]
    assert plan["obsolete_rules"] == [{"port": 8000, "source": "any", "destination": "any"}]
    assert plan["summary"][2:] == [
        "the public socket changes",
        "firewall: allow port 9000/tcp from any to any",
        "firewall: withdraw port 8000/tcp from any to any",
    ]


def test_another_address_on_the_same_port_waits_for_the_old_slot(desired: Data, observed: Data) -> None:
    bind_to(desired, "127.0.0.1", 8000)
    plan = make_plan(desired, observed)
    assert plan["problems"] == []
    assert (plan["socket_restart"], plan["socket_conflict"]) == (True, True)


def test_a_unix_socket_opens_beside_the_old_port(desired: Data, observed: Data) -> None:
    bind_to(desired, "", 0, "/run/shop.sock")
    plan = make_plan(desired, observed)
    assert plan["problems"] == []
    assert (plan["socket_restart"], plan["socket_conflict"]) == (True, False)
    assert plan["obsolete_rules"] == [{"port": 8000, "source": "any", "destination": "any"}]


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_public_socket_that_is_down_opens_again(desired: Data, observed: Data, state: str) -> None:
    observed["units"]["shop.socket"]["ActiveState"] = state
    plan = make_plan(desired, observed)
    assert plan["problems"] == []
    assert (plan["switch"], plan["socket_restart"], plan["socket_conflict"]) == (True, True, True)


def test_a_socket_unit_that_was_written_but_never_opened(desired: Data, observed: Data) -> None:
    bind_to(desired, "0.0.0.0", 9000)
    observed["files"][f"{UNITS}/shop.socket"] = managed(desired["public_socket"])
    plan = make_plan(desired, observed)
    assert (plan["socket_restart"], plan["socket_conflict"]) == (True, False)


@pytest.mark.parametrize("state", ["failed", "inactive", "activating"])
def test_a_live_slot_that_is_dead_is_replaced(desired: Data, observed: Data, state: str) -> None:
    observed["slots"]["blue"] = {"active": False, "state": state, "generation": generation_id(desired)}
    plan = make_plan(desired, observed)
    assert stages(plan) == ["activate"]
    assert (plan["serving"], plan["switch"], plan["slot"], plan["old_slot"]) == ("", True, "green", "blue")


def test_a_slot_that_runs_an_old_generation_is_replaced(desired: Data, observed: Data) -> None:
    observed["slots"]["blue"]["generation"] = OLD
    plan = make_plan(desired, observed)
    assert (plan["serving"], plan["previous"], plan["switch"], plan["slot"]) == (OLD, OLD, True, "green")


@pytest.mark.parametrize("state", ["active", "activating", "reloading", "deactivating"])
def test_the_other_slot_left_running_is_stopped(desired: Data, observed: Data, state: str) -> None:
    observed["slots"]["green"] = {"active": state == "active", "state": state, "generation": OLD}
    observed["files"][f"{UNITS}/shop-green.service"] = managed("old")
    plan = make_plan(desired, observed)
    assert stages(plan) == ["activate"]
    assert (plan["switch"], plan["slot"], plan["slot_busy"]) == (False, "blue", False)
    assert (plan["other_slot"], plan["other_slot_exists"]) == ("green", True)


@pytest.mark.parametrize("state", ["active", "activating", "reloading", "deactivating"])
def test_a_slot_left_running_is_stopped_before_it_is_used(desired: Data, observed: Data, state: str) -> None:
    observed["slots"]["green"] = {"active": state == "active", "state": state, "generation": OLD}
    desired["release"] = "ssssssssssss"
    plan = make_plan(desired, observed)
    assert (plan["switch"], plan["slot"], plan["slot_busy"]) == (True, "green", True)


def test_the_slot_that_serves_without_the_name_gets_it(desired: Data, observed: Data) -> None:
    """A run was interrupted after it had given the name to a slot that it then didn't start."""
    observed["live"] = "green"
    plan = make_plan(desired, observed)
    assert stages(plan) == ["activate"]
    assert (plan["serving"], plan["switch"], plan["slot"]) == (generation_id(desired), False, "blue")


def test_the_slot_that_serves_without_the_name_is_not_used_for_the_next_one(desired: Data, observed: Data) -> None:
    observed["live"] = "green"
    desired["release"] = "ssssssssssss"
    plan = make_plan(desired, observed)
    assert (plan["switch"], plan["slot"], plan["old_slot"]) == (True, "green", "blue")


@pytest.mark.parametrize("current", ["", OLD])
def test_a_wrong_record_of_what_serves_is_mended(desired: Data, observed: Data, current: str) -> None:
    observed["current"] = current
    plan = make_plan(desired, observed)
    assert stages(plan) == ["activate"]
    assert plan["switch"] is False


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
    assert stages(plan) == ["activate"]
    assert (plan["id"], plan["switch"], plan["slot"]) == (observed["current"], True, "green")
    assert plan["socket_restart"] is (path == f"{UNITS}/shop.socket")
    assert "shop-green.service" in plan["units"]
    assert path.endswith((".service", "/shop.socket")) or path.removeprefix(f"{UNITS}/") in plan["units"]
    assert "its files were changed" in plan["summary"][0]


@pytest.mark.parametrize("drift", DRIFT)
@pytest.mark.parametrize("name", ["gunicorn.conf.py", "environment"])
def test_a_configuration_that_was_changed(desired: Data, observed: Data, name: str, drift: Data | None) -> None:
    spoil(observed["files"], f"{ROOT}/generations/{observed['current']}/{name}", drift)
    plan = make_plan(desired, observed)
    assert stages(plan) == ["configure", "activate"]
    assert (plan["id"], plan["switch"]) == (observed["current"], True)


@pytest.mark.parametrize("drift", DRIFT)
def test_a_checking_program_that_was_changed(desired: Data, observed: Data, drift: Data | None) -> None:
    spoil(observed["files"], f"{ROOT}/check_config.py", drift)
    plan = make_plan(desired, observed)
    assert (stages(plan), plan["prepare"]) == (["build"], True)
    assert (plan["release"], plan["venv"], plan["switch"]) == (False, False, False)


def test_files_of_other_generations_do_not_matter(desired: Data, observed: Data) -> None:
    observed["files"][f"{ROOT}/generations/{OLD}/gunicorn.conf.py"] = managed("old", "adm", "0777")
    assert stages(make_plan(desired, observed)) == []


def test_the_group_is_the_one_that_the_user_has(desired: Data, observed: Data) -> None:
    desired.update(user="web", create_user=False)
    observed["user"] = {"uid": 33, "gid": 33, "group": "www-data", "gecos": "www-data"}
    for path, item in observed["files"].items():
        if "/generations/" in path:
            item["group"] = "www-data"
    assert stages(make_plan(desired, observed)) == []


def test_force_runs_every_stage_but_switches_nothing(desired: Data, observed: Data) -> None:
    desired["force"] = True
    plan = make_plan(desired, observed)
    assert stages(plan) == ["build", "configure", "firewall", "activate"]
    assert all(plan[part] for part in ("prepare", "release", "venv"))
    assert (plan["switch"], plan["slot"], plan["old_slot"], plan["socket_restart"]) == (False, "blue", "", False)
    units = ["blue.service", "blue.socket", "check.socket", "green.socket"]
    assert sorted(plan["units"]) == [f"shop-{unit}" for unit in units]
    assert plan["rules"] == desired["rules"]


def test_force_leaves_the_firewall_alone_where_it_is_off(desired: Data, observed: Data) -> None:
    desired.update(force=True, rules=None)
    plan = make_plan(desired, observed)
    assert stages(plan) == ["build", "configure", "activate"]
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
    assert stages(plan) == ["build"]
    assert plan["missing_packages"] == stage


def test_a_missing_user_is_created(desired: Data, observed: Data) -> None:
    observed["user"] = {}
    plan = make_plan(desired, observed)
    assert stages(plan) == ["build"]
    assert (plan["create_user"], plan["prepare"]) == (True, True)


@pytest.mark.parametrize("part", ["release", "venv"])
def test_a_release_or_venv_that_is_gone_is_built(desired: Data, observed: Data, part: str) -> None:
    observed[f"{part}s"] = []
    plan = make_plan(desired, observed)
    assert stages(plan) == ["build"]
    assert [plan["prepare"], plan["release"], plan["venv"]] == [False, part == "release", part == "venv"]


# The firewall


def rule(port: int = 8000, source: str = "any", destination: str = "any") -> Data:
    return {"port": port, "source": source, "destination": destination}


def test_a_missing_rule(desired: Data, observed: Data) -> None:
    desired["rules"] = [rule(), rule(9000)]
    plan = make_plan(desired, observed)
    assert stages(plan) == ["firewall"]
    assert (plan["rules"], plan["obsolete_rules"]) == ([rule(9000)], [])


def test_an_obsolete_rule(desired: Data, observed: Data) -> None:
    observed["firewall"]["rules"].append(rule(9000))
    plan = make_plan(desired, observed)
    assert stages(plan) == ["prune"], "withdrawn only after nothing listens there any more"
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
    assert stages(make_plan(desired, observed)) == []


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
    assert stages(plan) == []
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
    assert stages(plan) == (["firewall"] if turns_on else [])
    assert plan["summary"] == (["firewall: enable ufw"] if turns_on else [])


# What is pruned


@pytest.fixture
def history(desired: Data, observed: Data) -> Data:
    """The wanted generation serves; three more are there, each with a release of its own."""
    for day, (identity, venv) in enumerate([(OLDEST, "old-venv"), (OLDER, "old-venv"), (OLD, desired["venv"])]):
        release = f"release-{identity}"
        observed["generations"][identity] = {
            "release": release,
            "venv": venv,
            "created": f"2026-05-0{day + 1}T00:00:00Z",
        }
        observed["releases"].append(release)
    observed["venvs"].append("old-venv")
    observed["previous"] = OLD
    return observed


def gone(*identities: str) -> set[str]:
    return {f"{ROOT}/generations/{each}" for each in identities} | {
        f"{ROOT}/releases/release-{each}" for each in identities
    }


@pytest.mark.parametrize(("packages", "refused"), [(["tar"], True), (["tar", "python3.12-venv"], False)])
def test_an_interpreter_without_venv(desired: Data, bare: Data, packages: list[str], refused: bool) -> None:
    desired["python"] = "/usr/bin/python3.12"
    desired["packages"] = packages
    bare["python"] = {"path": "/usr/bin/python3.12", "version": "3.12.1", "venv": False}
    problems = make_plan(desired, bare)["problems"]
    assert ["lacks the modules venv and ensurepip" in each for each in problems] == ([True] if refused else [])


def test_a_failed_generation_goes_before_an_older_one_that_served(desired: Data, history: Data) -> None:
    desired["keep"] = 3
    history["generations"][OLDER]["failed"] = True
    assert set(make_plan(desired, history)["obsolete_paths"]) == gone(OLDER)


def test_the_oldest_generations_go(desired: Data, history: Data) -> None:
    plan = make_plan(desired, history)
    assert stages(plan) == ["prune"]
    assert set(plan["obsolete_paths"]) == gone(OLDEST)
    assert plan["summary"] == [f"remove {path}" for path in plan["obsolete_paths"]]


@pytest.mark.parametrize(
    ("keep", "removed"), [(4, []), (9, []), (3, [OLDEST]), ("3", [OLDEST]), (2, [OLDEST, OLDER]), (1, [OLDEST, OLDER])]
)
def test_the_running_and_the_previous_one_stay(desired: Data, history: Data, keep: Any, removed: list[str]) -> None:
    desired["keep"] = keep
    expected = gone(*removed) | ({f"{ROOT}/venvs/old-venv"} if len(removed) == 2 else set())
    assert set(make_plan(desired, history)["obsolete_paths"]) == expected


def test_the_previous_one_stays_however_old_it_is(desired: Data, history: Data) -> None:
    desired["keep"] = 2
    history["previous"] = OLDEST
    assert set(make_plan(desired, history)["obsolete_paths"]) == gone(OLD, OLDER)


def test_the_one_that_serves_stays_as_the_previous_one(desired: Data, history: Data) -> None:
    serving = history["current"]
    desired.update(release="ssssssssssss", keep=2)
    plan = make_plan(desired, history)
    assert plan["previous"] == serving
    assert not any(serving in path or "rrrrrrrrrrrr" in path for path in plan["obsolete_paths"])
    assert gone(OLD, OLDER, OLDEST) <= set(plan["obsolete_paths"])


def test_what_a_kept_generation_needs_stays(desired: Data, history: Data) -> None:
    history["generations"][OLDEST]["release"] = f"release-{OLD}"
    assert f"{ROOT}/releases/release-{OLD}" not in make_plan(desired, history)["obsolete_paths"]


def test_what_an_interrupted_run_left_goes(desired: Data, observed: Data) -> None:
    observed["unfinished"] = [f"{ROOT}/releases/half", f"{ROOT}/venvs/half", f"{ROOT}/generations/half"]
    assert make_plan(desired, observed)["obsolete_paths"] == observed["unfinished"]


def test_what_this_run_builds_does_not_go(desired: Data, bare: Data) -> None:
    bare["unfinished"] = [
        f"{ROOT}/releases/{desired['release']}",
        f"{ROOT}/venvs/{desired['venv']}",
        f"{ROOT}/generations/{generation_id(desired)}",
    ]
    assert make_plan(desired, bare)["obsolete_paths"] == []


def test_releases_and_venvs_that_nothing_names_go(desired: Data, observed: Data) -> None:
    observed["releases"].append("stray")
    observed["venvs"].append("stray")
    assert make_plan(desired, observed)["obsolete_paths"] == [f"{ROOT}/releases/stray", f"{ROOT}/venvs/stray"]


# The identity of a generation


def test_the_identity_does_not_depend_on_the_slot(desired: Data, bare: Data) -> None:
    blue, green = (make_plan(desired, deployed(desired, bare, slot)) for slot in ("blue", "green"))
    assert blue["id"] == green["id"] == make_plan(desired, bare)["id"]


@pytest.mark.parametrize("key", ["release", "venv", "slot_unit"])
def test_the_identity_depends_on(desired: Data, key: str) -> None:
    before = generation_id(desired)
    desired[key] += "x"
    assert generation_id(desired) != before


def test_the_identity_depends_on_the_names_of_the_files(desired: Data) -> None:
    before = generation_id(desired)
    desired["generation_files"]["environments"] = desired["generation_files"].pop("environment")
    assert generation_id(desired) != before


def test_the_order_of_the_files_does_not_matter(desired: Data) -> None:
    before = generation_id(desired)
    desired["generation_files"] = dict(reversed(desired["generation_files"].items()))
    assert generation_id(desired) == before


@pytest.mark.parametrize(
    "change",
    [
        {"public_socket": "x"},
        {"private_socket": "x"},
        {"check_config": "x"},
        {"rules": None},
        {"keep": 9},
        {"force": True},
    ],
)
def test_the_identity_ignores_what_the_application_does_not_notice(desired: Data, change: Data) -> None:
    before = generation_id(desired)
    assert generation_id({**desired, **change}) == before


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


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "'python3', which is not on the host"),
        ({"path": "/usr/bin/python3.9", "version": "3.9.2"}, "'python3', which is Python 3.9.2"),
        ({"path": "/usr/bin/python2", "version": "2.7.18"}, "'python3', which is Python 2.7.18"),
    ],
)
def test_no_good_python(desired: Data, bare: Data, found: Data, said: str) -> None:
    bare["python"] = found
    message = only(make_plan(desired, bare))
    assert message.startswith(f"gunicorn_python: got {said}. It accepts an interpreter from 3.10 on. ")


@pytest.mark.parametrize("version", ["3.10.0", "3.13.5", "3.15.0rc1"])
def test_good_pythons(desired: Data, bare: Data, version: str) -> None:
    bare["python"]["version"] = version
    assert make_plan(desired, bare)["problems"] == []


def test_a_user_that_somebody_else_made(desired: Data, bare: Data) -> None:
    bare["user"] = {"uid": 1000, "gid": 1000, "group": "shop", "gecos": "Shop Keeper,,,"}
    message = only(make_plan(desired, bare))
    assert message.startswith("gunicorn_name: got 'shop', but the host has a user of that name")
    assert "gunicorn_user: shop to run as it" in message


def test_an_existing_user_on_purpose(desired: Data, bare: Data) -> None:
    desired.update(create_user=False, user="www-data")
    bare["user"] = {"uid": 33, "gid": 33, "group": "www-data", "gecos": "www-data"}
    plan = make_plan(desired, bare)
    assert (plan["problems"], plan["create_user"]) == ([], False)


def test_an_existing_user_that_is_missing(desired: Data, bare: Data) -> None:
    desired.update(create_user=False, user="www-data")
    message = only(make_plan(desired, bare))
    assert message.startswith("gunicorn_user: got 'www-data', which is not a user of the host.")


def test_things_that_somebody_else_made(desired: Data, bare: Data) -> None:
    bare["foreign"] = ["/lib/systemd/system/shop.service", "/opt/shop"]
    problems = make_plan(desired, bare)["problems"]
    assert [path in message for path, message in zip(bare["foreign"], problems, strict=True)] == [True, True]
    assert all(message.startswith("gunicorn_name: got 'shop', but /") for message in problems)


def listener(address: str, port: int = 8000, process: str = "nginx", unit: str = "nginx.service") -> Data:
    return {"address": address, "port": port, "process": process, "unit": unit}


@pytest.mark.parametrize(
    ("wanted", "held"),
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
def test_a_port_that_somebody_else_holds(desired: Data, bare: Data, wanted: str, held: str) -> None:
    bind_to(desired, wanted, 8000)
    bare["listening"].append(listener(held))
    message = only(make_plan(desired, bare))
    assert message.startswith(f"gunicorn_bind: got port 8000, which nginx already listens on ({held}). ")
    assert 'gunicorn_bind: ["0.0.0.0:8001"]' in message


@pytest.mark.parametrize(
    ("wanted", "held", "port"),
    [("0.0.0.0", "0.0.0.0", 8001), ("127.0.0.1", "192.0.2.5", 8000), ("::", "0.0.0.0", 8000), ("0.0.0.0", "::1", 8000)],
)
def test_a_port_that_is_free(desired: Data, bare: Data, wanted: str, held: str, port: int) -> None:
    bind_to(desired, wanted, 8000)
    bare["listening"].append(listener(held, port))
    assert make_plan(desired, bare)["problems"] == []


def test_a_port_that_nobody_is_seen_to_hold(desired: Data, bare: Data) -> None:
    bare["listening"].append(listener("0.0.0.0", process="", unit=""))
    assert "another process already listens" in only(make_plan(desired, bare))


def test_one_message_for_a_port_however_many_hold_it(desired: Data, bare: Data) -> None:
    bare["listening"] += [listener("0.0.0.0"), listener("::"), listener("127.0.0.1")]
    only(make_plan(desired, bare))


def test_another_application_of_the_role_is_somebody_else(desired: Data, bare: Data) -> None:
    bare["listening"].append(listener("0.0.0.0", process="gunicorn", unit="shop2-blue.service"))
    assert "gunicorn already listens" in only(make_plan(desired, bare))


@pytest.mark.parametrize("wanted", ["0.0.0.0", "127.0.0.1"])
def test_our_own_socket_is_not_somebody_else(desired: Data, observed: Data, wanted: str) -> None:
    """Where no slot runs, systemd itself holds the port."""
    bind_to(desired, wanted, 8000)
    observed["slots"]["blue"] = {"active": False, "state": "failed", "generation": ""}
    observed["listening"][-1] = listener("0.0.0.0", process="systemd", unit="init.scope")
    assert make_plan(desired, observed)["problems"] == []


def test_our_own_ipv6_socket_is_not_somebody_else(desired: Data, observed: Data) -> None:
    bind_to(desired, "::", 8000)
    observed["units"]["shop.socket"]["Listen"] = ["[::1]:8000"]
    observed["listening"][-1] = listener("::1", process="systemd", unit="init.scope")
    assert make_plan(desired, observed)["problems"] == []


def test_a_socket_unit_that_is_down_holds_nothing(desired: Data, observed: Data) -> None:
    observed["units"]["shop.socket"]["ActiveState"] = "failed"
    observed["listening"][-1] = listener("0.0.0.0")
    assert "nginx already listens" in only(make_plan(desired, observed))


@pytest.mark.parametrize(("rules", "enable", "locked_out"), [([], True, True), ([], False, False), (None, True, False)])
def test_ufw_never_locks_ssh_out(desired: Data, bare: Data, rules: Any, enable: bool, locked_out: bool) -> None:
    desired.update(rules=rules, firewall_enable=enable, ssh_ports=[])
    plan = make_plan(desired, bare)
    if locked_out:
        assert only(plan).startswith("gunicorn_firewall_enable: got true, but no SSH server was found")
    else:
        assert plan["problems"] == []


def test_all_problems_at_once(desired: Data, bare: Data) -> None:
    bare.update(os={"ID": "", "VERSION_ID": "", "PRETTY_NAME": ""}, systemd=False, python={}, foreign=["/opt/shop"])
    bare["listening"].append(listener("::"))
    assert len(make_plan(desired, bare)["problems"]) == 5


def test_the_comment_of_the_user_is_the_one_that_the_role_gives(role: Any) -> None:
    text = (role / "vars/main.yml").read_text()
    assert module.USER_COMMENT.format(name="{{ gunicorn_name }}") in text
