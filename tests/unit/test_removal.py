"""What goes and what stays where an application is to be absent."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils.removal import make_removal
from ansible_collections.pyweb.deploy.tests.unit.observed import NEW_SERVER

Data = dict[str, Any]

UNITS = "/etc/systemd/system"
RULE = {"port": 8000, "source": "any", "destination": "any", "interface": "", "action": "allow"}
SSH = {**RULE, "port": "22", "protocol": "tcp", "comment": "ssh"}


@pytest.fixture
def desired() -> Data:
    return {"name": "shop", "drain": False, "remove_data": False, "remove_packages": False}


@pytest.fixture
def bare() -> Data:
    return copy.deepcopy(NEW_SERVER)


@pytest.fixture
def observed(bare: Data) -> Data:
    """What is observed where one application serves and is the only one."""
    names = ["shop.socket", "shop-blue.service", "shop-blue.socket", "shop-green.socket", "shop-check.service"]
    bare.update(
        root=True,
        live="blue",
        build_user={"uid": 997, "gid": 997, "gecos": "Builds packages of shop (pyweb.deploy)"},
        user={"uid": 998, "gid": 998, "group": "shop", "gecos": "Gunicorn application shop (pyweb.deploy)"},
        files={f"{UNITS}/{name}": {} for name in names} | {"/opt/shop/check_config.py": {}},
        shared={
            "/run/gunicorn": ["shop-blue", "shop-blue.sock"],
            "/var/lib/gunicorn": ["shop"],
            "/var/log/gunicorn": ["shop"],
        },
        installed_by_role=["iptables", "ufw"],
    )
    bare["slots"]["blue"].update(active=True, state="active", release="3fa92c1b0d4e")
    bare["firewall"].update(installed=True, rules=[dict(RULE)])
    return bare


def test_everything_that_the_role_made_goes(desired: Data, observed: Data) -> None:
    plan = make_removal(desired, observed)
    assert (plan["problems"], plan["work"], plan["remove"]) == ([], True, True)
    assert plan["units"] == [path for path in observed["files"] if path.startswith(UNITS)]
    assert plan["users"] == ["shop", "shop-build"]
    assert plan["obsolete_rules"] == [RULE]
    assert plan["paths"] == ["/run/gunicorn", "/opt/shop"]
    assert plan["stages"] == ["remove", "withdraw"]


def test_what_the_application_wrote_becomes_roots_before_its_user_goes(desired: Data, observed: Data) -> None:
    plan = make_removal(desired, observed)
    assert plan["chown_to_root"] == ["/var/lib/gunicorn/shop", "/var/log/gunicorn/shop"]
    observed["user"] = {"gecos": "Somebody"}
    assert make_removal(desired, observed)["chown_to_root"] == [], "the user of somebody else keeps it"


def test_what_the_application_wrote_goes_if_asked(desired: Data, observed: Data) -> None:
    desired["remove_data"] = True
    plan = make_removal(desired, observed)
    assert plan["chown_to_root"] == []
    assert plan["paths"] == ["/var/lib/gunicorn", "/var/log/gunicorn", "/run/gunicorn", "/opt/shop"]


def test_the_rotation_of_logs_goes_along(desired: Data, observed: Data) -> None:
    observed["files"]["/etc/logrotate.d/pyweb.deploy-shop"] = {}
    plan = make_removal(desired, observed)
    assert plan["paths"] == ["/etc/logrotate.d/pyweb.deploy-shop", "/run/gunicorn", "/opt/shop"]
    assert "/etc/logrotate.d/pyweb.deploy-shop" not in plan["units"]


def test_what_others_share_stays(desired: Data, observed: Data) -> None:
    desired.update(remove_data=True, remove_packages=True)
    observed["applications"] = ["blog"]
    for names in observed["shared"].values():
        names.append("blog")
    plan = make_removal(desired, observed)
    assert plan["paths"] == ["/var/lib/gunicorn/shop", "/var/log/gunicorn/shop", "/opt/shop"]
    assert plan["remove_packages"] == []
    assert "stays: the Debian packages iptables, ufw: blog may need them" in plan["summary"]


def test_a_stranger_in_a_shared_directory_keeps_it(desired: Data, observed: Data) -> None:
    desired["remove_data"] = True
    observed["shared"]["/run/gunicorn"].append("by-hand.sock")
    observed["shared"]["/var/lib/gunicorn"].append("by-hand")
    assert make_removal(desired, observed)["paths"] == [
        "/var/lib/gunicorn/shop",
        "/var/log/gunicorn",
        "/opt/shop",
    ]


def test_what_others_made_stays_and_is_said(desired: Data, observed: Data) -> None:
    observed["unmanaged"] = ["/opt/shop", f"{UNITS}/shop.socket"]
    observed["user"]["gecos"] = "The shop's owner"
    observed["build_user"]["gecos"] = "The shop's builder"
    plan = make_removal(desired, observed)
    assert "/opt/shop" not in plan["paths"]
    assert f"{UNITS}/shop.socket" not in plan["units"]
    assert plan["users"] == []
    assert "stays: /opt/shop, which the role did not make" in plan["summary"]


def test_the_name_of_the_service_goes_where_no_unit_is_left_to_take_it_back(desired: Data, observed: Data) -> None:
    alias = f"{UNITS}/shop.service"
    assert alias not in make_removal(desired, observed)["units"], "systemd removes it"
    del observed["files"][f"{UNITS}/shop-blue.service"]
    assert alias in make_removal(desired, observed)["units"]


def test_nothing_to_do_where_nothing_is(desired: Data, bare: Data) -> None:
    plan = make_removal(desired, bare)
    assert (plan["work"], plan["remove"], plan["summary"]) == (False, False, [])


def test_nothing_to_do_again(desired: Data, bare: Data) -> None:
    """What stays is no work, and not said again."""
    bare.update(shared={"/var/lib/gunicorn": ["shop"], "/var/log/gunicorn": ["shop"]}, installed_by_role=["ufw"])
    bare["firewall"].update(installed=True, enabled=True, unmanaged=[SSH])
    plan = make_removal(desired, bare)
    assert (plan["work"], plan["summary"]) == (False, [])


@pytest.mark.parametrize(
    ("remove", "path"),
    [("remove_data", "/var/lib/gunicorn"), ("remove_packages", "")],
)
def test_what_stayed_goes_later_if_asked(desired: Data, bare: Data, remove: str, path: str) -> None:
    bare.update(shared={"/var/lib/gunicorn": ["shop"]}, installed_by_role=["ufw"])
    desired[remove] = True
    plan = make_removal(desired, bare)
    assert plan["work"]
    assert plan["paths"] == ([path] if path else [])
    assert plan["remove_packages"] == ([] if path else ["ufw"])


def test_an_interrupted_removal_is_taken_up(desired: Data, observed: Data) -> None:
    """Units, user and rules went, the directory with the mark didn't."""
    observed.update(files={}, live="", user={}, build_user={}, shared={}, installed_by_role=[])
    observed["firewall"]["rules"] = []
    plan = make_removal(desired, observed)
    assert (plan["work"], plan["paths"]) == (True, ["/opt/shop"])


def test_a_firewall_that_filters_keeps_its_packages(desired: Data, observed: Data) -> None:
    desired["remove_packages"] = True
    assert make_removal(desired, observed)["remove_packages"] == ["iptables", "ufw"]
    observed["firewall"].update(enabled=True, unmanaged=[SSH])
    plan = make_removal(desired, observed)
    assert plan["remove_packages"] == []
    assert any("after `ufw disable`" in line for line in plan["summary"])
    assert "stays: ufw, which is on, and its rules for SSH" in plan["summary"]


def test_a_firewall_with_rules_of_others_keeps_its_packages(desired: Data, observed: Data) -> None:
    desired["remove_packages"] = True
    observed["firewall"]["unmanaged"] = [SSH]
    assert make_removal(desired, observed)["remove_packages"], "that one came with the role"
    observed["firewall"]["unmanaged"] = [SSH, {**SSH, "port": "443", "comment": ""}]
    plan = make_removal(desired, observed)
    assert plan["remove_packages"] == []
    assert any("has rules that are not the role's" in line for line in plan["summary"])


def test_ufw_is_asked_only_where_there_is_a_rule_of_ours(desired: Data, observed: Data) -> None:
    observed["firewall"]["enabled"] = True
    plan = make_removal(desired, observed)
    assert (plan["ask_ufw"], plan["netfilter"], plan["netfilter6"]) == (True, True, True)
    observed["firewall"]["rules"] = []
    assert not make_removal(desired, observed)["ask_ufw"]


def test_rules_of_a_ufw_that_is_gone_are_nobodys(desired: Data, observed: Data) -> None:
    observed["firewall"]["installed"] = False
    assert make_removal(desired, observed)["obsolete_rules"] == []


def test_the_unit_of_an_interrupted_build_goes(desired: Data, bare: Data) -> None:
    build = "/run/systemd/system/shop-build.service"
    bare["unfinished"] = ["/opt/shop/build", build]
    assert make_removal(desired, bare)["units"] == [build]
    bare["unmanaged"] = [build]
    assert make_removal(desired, bare)["units"] == []


def test_the_summary(desired: Data, observed: Data) -> None:
    plan, later = make_removal(desired, observed), "gunicorn_remove_data: true"
    assert plan["summary"] == [
        "shop: release 3fa92c1b0d4e stops serving",
        "firewall: withdraw port 8000/tcp from any to any",
        "remove /run/gunicorn",
        "remove /opt/shop",
        "remove the user shop",
        "remove the user shop-build",
        "stays: the Debian packages iptables, ufw: gunicorn_remove_packages: true removes them",
        f"stays: {' and '.join(plan['chown_to_root'])}, root's from now on; {later} removes what the application wrote",
    ]
    observed["slots"]["blue"]["active"] = False
    assert make_removal(desired, observed)["summary"][0] == "shop: its units go; nothing serves"
