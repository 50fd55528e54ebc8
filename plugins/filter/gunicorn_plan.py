# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter gunicorn_plan: wanted state and observed state to the list of what to do."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_plan
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Decide what a run of the role gunicorn has to do
description:
  - Compares what is wanted with what M(pyweb.deploy.gunicorn_info) observed.
  - The role's stages run where the result says that they have something to do.
positional: _input, observed
options:
  _input:
    description: What is wanted, as C(roles/gunicorn/vars/main.yml) puts it together in C(__gunicorn_desired).
    type: dict
    required: true
  observed:
    description: The value RV(pyweb.deploy.gunicorn_info#module:gunicorn).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Plan
  ansible.builtin.set_fact:
    __gunicorn_plan: "{{ __gunicorn_desired | pyweb.deploy.gunicorn_plan(__gunicorn_observed.gunicorn) }}"
"""

RETURN = r"""
_value:
  description:
    - The plan. C(problems) holds messages that must stop the run, C(id) names the wanted generation, C(slot) where it
      runs; the other keys say what each stage has to do, C(summary) says it to people.
  type: dict
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyweb.deploy.plugins.plugin_utils.plan import make_plan
from ansible_collections.pyweb.deploy.plugins.plugin_utils.removal import make_removal


def gunicorn_plan(desired: Mapping[str, Any], observed: Mapping[str, Any]) -> dict[str, Any]:
    """Decide what a run has to do; see `make_plan`, and `make_removal` where the application is to be absent."""
    try:
        plan = (make_removal if desired["state"] == "absent" else make_plan)(desired, observed)
    except KeyError as missing:
        raise AnsibleFilterError(f"gunicorn_plan: the key {missing} is missing from its input") from missing
    return {**plan, "token": uuid.uuid4().hex}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"gunicorn_plan": gunicorn_plan}
