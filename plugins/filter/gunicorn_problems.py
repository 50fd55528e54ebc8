# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter gunicorn_problems: the role's variables to what is wrong with them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_problems
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Check the variables of the role gunicorn
description:
  - Checks every variable of the role. Nothing asks a host or looks at the source.
positional: _input
options:
  _input:
    description: Name and value of every public variable of the role.
    type: dict
    required: true
  names:
    description: Names of all variables in sight that start with C(gunicorn_), to find misspelt ones.
    type: list
    elements: str
    default: []
  wheelhouse:
    description: Absolute path that O(_input.gunicorn_wheelhouse) means.
    type: str
    default: ''
  earlier:
    description:
      - Applications that the run has deployed to the host already, name to variables. No two may have one name or one
        address.
    type: dict
    default: {}
  uv:
    description: How the names of the wheels of uv begin that the role installs.
    type: str
    default: ''
  task_files:
    description: Absolute paths that those variables mean which name a file of tasks, by variable.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Check two ports
  ansible.builtin.debug:
    msg: "{{ variables | combine({'gunicorn_bind': ['0.0.0.0:80000']}) | pyweb.deploy.gunicorn_problems }}"
"""

RETURN = r"""
_value:
  description: One message per problem, with the variable, what it got, what it accepts and an example.
  type: list
  elements: str
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyweb.deploy.plugins.plugin_utils.validation import problems


def gunicorn_problems(
    values: Mapping[str, Any],
    names: Iterable[str] = (),
    wheelhouse: str = "",
    earlier: Mapping[str, Mapping[str, Any]] | None = None,
    uv: str = "",
    task_files: Mapping[str, str] | None = None,
) -> list[str]:
    """List what is wrong with the variables; see `problems`."""
    try:
        return problems(values, names, wheelhouse, earlier, uv, task_files)
    except KeyError as missing:
        raise AnsibleFilterError(f"gunicorn_problems: the variable {missing} is missing from its input") from missing


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"gunicorn_problems": gunicorn_problems}
