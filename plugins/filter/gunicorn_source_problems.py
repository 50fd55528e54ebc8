# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter gunicorn_source_problems: the role's variables and a source to what doesn't fit."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_source_problems
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Check the variables of the role gunicorn against the source
description:
  - Compares what the variables name inside the source with what is there.
positional: _input, source
options:
  _input:
    description: Name and value of every public variable of the role; P(pyweb.deploy.gunicorn_problems#filter) has
      nothing against them.
    type: dict
    required: true
  source:
    description: What the lookup P(pyweb.deploy.source#lookup) gave.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Check what Gunicorn imports
  ansible.builtin.debug:
    msg: "{{ variables | pyweb.deploy.gunicorn_source_problems(lookup('pyweb.deploy.source', '/home/me/shop')) }}"
"""

RETURN = r"""
_value:
  description: One message per problem, with the variable, what it got, what it accepts and an example.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyweb.deploy.plugins.plugin_utils.validation import source_problems


def gunicorn_source_problems(values: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    """List what doesn't fit; see `source_problems`."""
    try:
        return source_problems(values, source)
    except KeyError as missing:
        raise AnsibleFilterError(f"gunicorn_source_problems: the key {missing} is missing from its input") from missing


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"gunicorn_source_problems": gunicorn_source_problems}
