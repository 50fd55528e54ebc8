# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter gunicorn_addresses: Gunicorn's addresses to what systemd and ufw need of them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_addresses
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Take addresses in Gunicorn's notation apart
description:
  - Turns C(IP:PORT), C([IPv6]:PORT) and C(unix:/PATH) into what a socket unit and a firewall rule need.
positional: _input
options:
  _input:
    description: The addresses.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what to listen on
  ansible.builtin.debug:
    msg: "{{ ['0.0.0.0:8000'] | pyweb.deploy.gunicorn_addresses }}"
"""

RETURN = r"""
_value:
  description:
    - For each address C(listen_stream) (systemd's notation), C(host), C(port) (0 for a Unix socket), C(path) (empty for
      TCP), C(needs_rule) (whether other machines can reach it) and C(destination) (of a firewall rule).
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyweb.deploy.plugins.plugin_utils.bind import EXAMPLE, Address, parse


def gunicorn_addresses(texts: Iterable[str]) -> list[dict[str, Any]]:
    """Take addresses in Gunicorn's notation apart; see `parse`."""
    return [_as_dictionary(str(text)) for text in texts]


def _as_dictionary(text: str) -> dict[str, Any]:
    try:
        address: Address = parse(text)
    except ValueError as problem:
        raise AnsibleFilterError(f"gunicorn_addresses: got {text!r}: {problem}. Example: {EXAMPLE}") from problem
    return {
        "listen_stream": address.listen_stream,
        "host": address.host,
        "port": address.port,
        "path": address.path,
        "needs_rule": address.needs_rule,
        "destination": address.destination if address.needs_rule else "",
    }


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"gunicorn_addresses": gunicorn_addresses}
