# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter environment_file: a dictionary to a file for systemd's EnvironmentFile=."""

from __future__ import annotations

DOCUMENTATION = r"""
name: environment_file
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Write environment variables as systemd reads them
description:
  - Writes a dictionary as lines for systemd's C(EnvironmentFile=), so that each value arrives byte for byte, quotes,
    dollar signs, backslashes and line breaks included.
positional: _input
options:
  _input:
    description: Names and values. Booleans become V(true) and V(false).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the file
  ansible.builtin.debug:
    msg: "{{ {'GREETING': 'a \"quoted\" $word'} | pyweb.deploy.environment_file }}"
"""

RETURN = r"""
_value:
  description: The lines, sorted by name, each with a line break at its end.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyweb.deploy.plugins.plugin_utils.quoting import environment_line


def environment_file(values: Mapping[str, Any]) -> str:
    """Write environment variables as systemd reads them; see `environment_line`."""
    try:
        return "".join(environment_line(name, values[name]) + "\n" for name in sorted(values))
    except ValueError as problem:
        raise AnsibleFilterError(f"environment_file: {problem}") from problem


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"environment_file": environment_file}
