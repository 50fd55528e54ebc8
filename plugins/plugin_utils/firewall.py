# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What has to change in ufw, what would shut SSH out, and where the firewall does less than one may expect.

Part of the plan: pure functions of what is wanted and what was observed, which `plan.make_plan` describes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils import bind


def rules(addresses: Iterable[Mapping[str, Any]], clients: Mapping[str, Any] | None) -> list[dict[str, Any]] | None:
    """Rules that let clients in at addresses, one for each of both; None to leave the firewall alone.

    `clients` has ``sources``, an ``interface`` (empty for all of them) and the ``action``, ``allow`` or ``limit``.
    """
    if clients is None:
        return None
    found = [
        {
            "port": address["port"],
            "source": source,
            "destination": address["destination"],
            "interface": clients["interface"],
            "action": clients["action"],
        }
        for address in addresses
        if address["needs_rule"]
        for source in clients["sources"] or ["any"]
    ]
    return [rule for number, rule in enumerate(found) if rule not in found[:number]]


def stage(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, Any]:
    """What has to change in ufw. Only rules that are marked as this application's are changed or withdrawn."""
    found = observed["firewall"]
    if desired["rules"] is None or is_left_alone(observed):
        return {"ours": False, "wanted": [], "missing": [], "obsolete": [], "enable": False, "ssh": []}
    wanted = [rule for rule in _as_ufw_writes(desired["rules"]) if not _unmanaged_at(rule, found["unmanaged"])]
    if not found["ipv6"]:
        wanted = [rule for rule in wanted if ":" not in rule["source"] + rule["destination"]]
    places = [_place(rule) for rule in wanted]
    enable = bool(desired["firewall_enable"]) and (not found["enabled"] or found["on_trial"])
    return {
        "ours": True,
        "wanted": wanted,
        "missing": [rule for rule in wanted if rule not in found["rules"]],
        # One that says something else about the same clients is replaced where it stands.
        "obsolete": [rule for rule in found["rules"] if _place(rule) not in places],
        "enable": enable,
        "ssh": _closed_ssh_ports(observed) if enable else [],
    }


def is_left_alone(observed: Mapping[str, Any]) -> bool:
    """Tell whether the host has a firewall that is not ufw: installing ufw could remove it, turning it on undo it."""
    return bool(observed["firewall"]["others"]) and not observed["firewall"]["enabled"]


def _place(rule: Mapping[str, Any]) -> tuple[str, ...]:
    """What ufw has one rule for at most, whatever that says."""
    return (str(rule["port"]), rule["source"], rule["destination"], rule["interface"])


def _unmanaged_at(rule: Mapping[str, Any], unmanaged: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Somebody else's rule that ours would overwrite."""
    return next((each for each in unmanaged if each["protocol"] == "tcp" and _place(each) == _place(rule)), None)


def _ssh_ports(observed: Mapping[str, Any]) -> list[int]:
    """Ports of the SSH server, and the one that Ansible came in by."""
    connection = observed["ssh_connection"]
    return sorted({*observed["ssh_ports"], *([connection["port"]] if connection else [])})


def _closed_ssh_ports(observed: Mapping[str, Any]) -> list[int]:
    """Ports of SSH that no rule opens, for Ansible at least. Who has opened them for a few has thought about it."""
    rules = [rule for rule in observed["firewall"]["unmanaged"] if rule["action"] in ("allow", "limit")]
    client = observed["ssh_connection"].get("client", "")
    return [
        port
        for port in _ssh_ports(observed)
        if not any(_covers(rule, port) and _is_from(client, rule["source"]) for rule in rules)
    ]


def _covers(rule: Mapping[str, Any], port: int) -> bool:
    """Tell whether a rule is about a port; ufw writes several of them as ``80,443,3000:3010``."""
    if rule["protocol"] not in ("tcp", "any"):
        return False
    spans = [span.partition(":") for span in rule["port"].split(",")]
    return rule["port"] == "any" or any(int(first) <= port <= int(last or first) for first, _colon, last in spans)


def _is_from(client: str, source: str) -> bool:
    return source == "any" or (
        bool(client) and ipaddress.ip_address(client) in ipaddress.ip_network(source, strict=False)
    )


def _as_ufw_writes(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rules as ufw will show them: a single host without its netmask, and none that would mix IPv4 with IPv6.

    Records of earlier versions lack the interface and the action.
    """
    written: list[dict[str, Any]] = []
    for rule in rules:
        source = rule["source"]
        if source != "any":
            network = ipaddress.ip_network(source)
            source = str(network.network_address if network.num_addresses == 1 else network)
        mixed = "any" not in (source, rule["destination"]) and (":" in source) != (":" in rule["destination"])
        new = {"interface": "", "action": "allow", **rule, "source": source}
        if not mixed and new not in written:
            written.append(new)
    return written


def problems(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> Iterable[str]:
    """What would shut SSH out for certain, once ufw is on."""
    if not stage(desired, observed)["enable"]:
        return
    got = "gunicorn_firewall_enable: got true, but"
    if not _ssh_ports(observed):
        yield (
            f"{got} no SSH server was found on the host, so ufw could lock you out. It accepts true where sshd listens "
            "or Ansible connects over SSH. Example: gunicorn_firewall_enable: false"
        )
    for port in _closed_ssh_ports(observed):
        for rule in observed["firewall"]["unmanaged"]:
            if _place(rule) == (str(port), "any", "any", "") and rule["protocol"] == "tcp":
                yield (
                    f"{got} a rule of ufw shuts out SSH on port {port}, and the role changes no rule of yours. It "
                    f"accepts true where none does. Example: `ufw delete {rule['action']} {port}/tcp` on the host first"
                )


def rule_text(rule: Mapping[str, Any]) -> str:
    """Say in words whom a rule lets in."""
    interface = f" on {rule['interface']}" if rule["interface"] else ""
    return f"port {rule['port']}/tcp from {rule['source']} to {rule['destination']}{interface}"


def notes(desired: Mapping[str, Any], observed: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Say where the firewall doesn't do what one may expect of it. A run with nothing to do says the first only."""
    found, rules = observed["firewall"], desired["rules"]
    if rules is None:
        return []
    lines = []
    if is_left_alone(observed) and (rules or desired["firewall_enable"]):
        ports = ", ".join(f"{port}/tcp" for port in sorted({rule["port"] for rule in rules})) or "what you need"
        lines.append(
            f"firewall: left alone, because {' and '.join(found['others'])} runs it on the host and ufw is off; allow "
            f"{ports} there, and set gunicorn_firewall: false"
        )
        return lines
    if not plan["work"]:
        return []
    on = found["enabled"] or plan["enable_firewall"]
    if found["others"] and on:
        lines.append(f"firewall: {' and '.join(found['others'])} runs beside ufw; what one of them shuts out stays out")
    unheard = [] if found["ipv6"] else _only_ipv6(desired)
    if unheard:
        lines.append(
            f"firewall: nothing for {', '.join(unheard)}, because ufw doesn't handle IPv6 on the host (IPV6=no in "
            "/etc/default/ufw); while ufw is on, no IPv6 comes in"
        )
    for rule in _as_ufw_writes(rules):
        unmanaged = _unmanaged_at(rule, found["unmanaged"])
        if unmanaged and unmanaged["action"] != rule["action"]:
            lines.append(
                f"firewall: a rule that is not the role's says {unmanaged['action']} for {rule_text(rule)}; it stays "
                "as it is"
            )
        wide = {
            str(each["port"])
            for each in found["unmanaged"]
            if each["action"] in ("allow", "limit")
            and _place(each)[1:] == ("any", "any", "")
            and _covers(each, rule["port"])
        }
        if wide and _place(rule)[1:] != ("any", "any", ""):
            lines.append(
                f"firewall: a rule that is not the role's lets everybody in at port {wide.pop()}, whatever the role's "
                "own say"
            )
    lines += [
        f"firewall: the host has no interface {interface} now; it has {', '.join(observed['interfaces'])}"
        for interface in sorted({rule["interface"] for rule in plan["rules"]} - {"", *observed["interfaces"]})
    ]
    if found["docker"] and on and plan["firewall"]:
        held = {item["port"] for item in observed["listening"] if item["process"] == "docker-proxy"}
        ports = f" ({', '.join(map(str, sorted(held)))})" if held else ""
        lines.append(
            f"firewall: Docker runs on the host, and ports that it publishes{ports} go around ufw, whatever its rules "
            "say; those of this application don't"
        )
    return lines


def _only_ipv6(desired: Mapping[str, Any]) -> list[str]:
    """Addresses and sources that only IPv6 reaches."""
    streams = [address["listen_stream"] for address in desired["addresses"] if ":" in address["host"]]
    return [
        *filter(lambda stream: bind.parse(stream).needs_rule, streams),
        *sorted({rule["source"] for rule in desired["rules"] if ":" in rule["source"]}),
    ]
