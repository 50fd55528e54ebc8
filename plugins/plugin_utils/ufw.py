# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What the action gunicorn_firewall has the module community.general.ufw do, and what a user reads where that fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils.firewall import rule_text

ENABLE = "enable ufw"
"""The step that a trial is made of."""

ON = "Status: active"
"""How ``ufw status`` begins where ufw is on."""

NOT_ENABLED = "ufw could not be turned on"
NO_CONNECTION = "with ufw on, no new connection came in"
TOO_LATE = "with ufw on, the proof came too late"


@dataclass(frozen=True)
class Step:
    """One run of the module community.general.ufw."""

    text: str
    arguments: Mapping[str, Any]


def steps(given: Mapping[str, Any]) -> Iterator[Step]:
    """Give the rules to add and to withdraw; `given` is what the action was given."""
    comment = f"pyweb.deploy {given['name']}"
    for rule in given["rules"]:
        yield Step(f"{rule['action']} {rule_text(rule)}", _arguments(rule, comment))
    for rule in given["withdraw"]:
        yield Step(f"withdraw {rule_text(rule)}", {**_arguments(rule, comment), "delete": True})
    for port in given["ssh_ports"]:
        yield Step(
            f"allow port {port}/tcp for SSH", {"rule": "allow", "port": str(port), "proto": "tcp", "comment": "ssh"}
        )


def _arguments(rule: Mapping[str, Any], comment: str) -> dict[str, Any]:
    interface = {"interface": rule["interface"], "direction": "in"} if rule["interface"] else {}
    return {
        "rule": rule["action"],
        "port": str(rule["port"]),
        "proto": "tcp",
        "from_ip": rule["source"],
        "to_ip": rule["destination"],
        **interface,
        "comment": comment,
    }


def broken(words: str) -> str:
    """Say that ufw doesn't work, before anything was changed."""
    return (
        "gunicorn_firewall: got True, but ufw doesn't work on the host. Nothing that runs was touched. It accepts true "
        "where `ufw status` and `ufw enable` work.\nExample: fix it (`apt install --reinstall ufw iptables`), or "
        f"gunicorn_firewall: false, which leaves the firewall to you. It says:\n{words}"
    )


def step_failed(step: str, words: str) -> str:
    """Say that ufw refused a rule."""
    return (
        f"gunicorn_firewall: got True, but ufw could not {step}. It accepts true where ufw takes that rule.\nExample: "
        "look at `ufw status` on the host, or gunicorn_firewall: false, which leaves the firewall to you. It says:\n"
        f"{words}"
    )


def trial_failed(why: str, words: str, stays: str) -> str:
    """Say why a trial failed, and what became of ufw; `stays` is why the run could not turn it off, or empty."""
    after = f"This run could not turn it off ({stays}); the host does so itself" if stays else "ufw is off again"
    return (
        f"gunicorn_firewall_enable: got true, but {why}. {after}, and nothing that runs was touched.\nIt accepts true "
        "where SSH gets through the rules of ufw; a rule that denies counts before those that come after it. `ufw show "
        "added` on the host lists them.\nExample: `ufw delete deny from 192.0.2.7`, or gunicorn_firewall_enable: "
        f"false. The cause:\n{words}"
    )
