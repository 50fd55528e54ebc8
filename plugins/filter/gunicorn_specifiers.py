# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter gunicorn_specifiers: Gunicorn's settings to what pip has to install for them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_specifiers
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: What pip has to install for Gunicorn with some settings
description:
  - Names Gunicorn with those of its extras that the settings need, and the distribution of a worker class that isn't
    Gunicorn's own.
positional: _input, version
options:
  _input:
    description: Gunicorn's settings by their own names, as in O(pyweb.deploy.gunicorn#role:gunicorn_settings).
    type: dict
    required: true
  version:
    description: The release of Gunicorn.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Say what has to be installed for gevent
  ansible.builtin.debug:
    msg: "{{ {'worker_class': 'gevent'} | pyweb.deploy.gunicorn_specifiers('27.0.1') }}" # ['gunicorn[gevent]==27.0.1']
"""

RETURN = r"""
_value:
  description: Requirement specifiers.
  type: list
  elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils.settings import specifiers


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"gunicorn_specifiers": specifiers}
