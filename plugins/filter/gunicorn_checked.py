# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter gunicorn_checked: a variable that a playbook needs before the role can check it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_checked
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Check one variable of the role gunicorn
description:
  - Gives the value as it is. Fails where the role would refuse it.
  - For keywords of a play, which count before the first task of the role does.
positional: _input, name
options:
  _input:
    description: The value of the variable.
    type: raw
    required: true
  name:
    description: The name of the variable.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Deploy in batches
  hosts: gunicorn
  serial: "{{ batches | pyweb.deploy.gunicorn_checked('gunicorn_serial') }}"
  roles:
    - role: pyweb.deploy.gunicorn
"""

RETURN = r"""
_value:
  description: The value.
  type: raw
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyweb.deploy.plugins.plugin_utils.validation import checked_alone


def gunicorn_checked(value: Any, name: str) -> Any:
    """Give the value, if the variable accepts it."""
    problem = checked_alone(value, name)
    if problem:
        raise AnsibleFilterError(problem)
    return value


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"gunicorn_checked": gunicorn_checked}
