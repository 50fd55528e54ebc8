# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter gunicorn_status: what was found on each host to one table of the fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_status
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Put together how the applications of a fleet are
description:
  - Says of each application of each host in a word how it is, and writes all of it down.
  - The playbook C(pyweb.deploy.status) shows the result.
positional: _input
options:
  _input:
    description: What C(tasks/status.yml) of the role kept of each host (C(__gunicorn_status)), by the name of the host.
    type: dict
    required: true
  made:
    description: When that was, in UTC.
    type: str
    required: true
  strict:
    description: Whether an application is well only if a deploy would change nothing.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Put it together
  ansible.builtin.set_fact:
    fleet: "{{ {inventory_hostname: __gunicorn_status} | pyweb.deploy.gunicorn_status('2026-11-25T20:15:00Z') }}"
"""

RETURN = r"""
_value:
  description:
    - C(table), lines for a terminal; C(json) and C(html), texts of a file; C(unhealthy), the hosts on which something
      is not well, each with a list of what.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyweb.deploy.plugins.plugin_utils import status, status_page


def gunicorn_status(hosts: Mapping[str, Mapping[str, Any]], made: str, strict: bool = False) -> dict[str, Any]:
    """Put together how the applications of a fleet are; see `status.report`."""
    try:
        found = status.report(hosts, strict, made)
    except KeyError as missing:
        raise AnsibleFilterError(f"gunicorn_status: the key {missing} is missing from its input") from missing
    return {
        "table": status.table(found),
        "json": status.as_json(found),
        "html": status_page.page(found),
        "unhealthy": found["unhealthy"],
    }


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"gunicorn_status": gunicorn_status}
