# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter secrets_digest: secrets to something that differs when they do."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secrets_digest
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Tell whether secrets have changed, without them
description:
  - Gives a digest of all secrets of an application. It takes some 50 ms on purpose, so that nobody who learns it finds
    the secrets by trying.
positional: _input, name
options:
  _input:
    description: Names and values of the secrets.
    type: dict
    required: true
  name:
    description: Name of the application. The same secrets have another digest in another one.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Say whether the password is the one of last year
  ansible.builtin.debug:
    msg: "{{ {'PASSWORD': vault_password} | pyweb.deploy.secrets_digest('shop') == last_year }}"
"""

RETURN = r"""
_value:
  description: The digest, in hexadecimal digits; empty where there are no secrets.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils import secret_values


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"secrets_digest": secret_values.digest}
