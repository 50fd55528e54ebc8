# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter python_literal: any plain value to one line of Python."""

from __future__ import annotations

DOCUMENTATION = r"""
name: python_literal
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Write a value as a Python literal
description:
  - Writes strings, numbers, booleans, V(null), lists and dictionaries as one line that Python reads back as it was.
positional: _input
options:
  _input:
    description: The value.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show a literal
  ansible.builtin.debug:
    msg: "{{ {'timeout': 30, 'name': \"it's\"} | pyweb.deploy.python_literal }}"
"""

RETURN = r"""
_value:
  description: The literal.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyweb.deploy.plugins.plugin_utils import quoting


def python_literal(value: Any) -> str:
    """Write a value as one line of Python; see `quoting.python_literal`."""
    try:
        return quoting.python_literal(value)
    except TypeError as problem:
        raise AnsibleFilterError(f"python_literal: {problem}") from problem


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"python_literal": python_literal}
