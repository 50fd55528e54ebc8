# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter pip_failure: what pip or uv said when it failed to what a person needs of it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: pip_failure
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Tell in short why pip or uv failed
description:
  - Picks the lines that matter from the output of C(pip install) or C(uv pip install), and says what to do where the
    cause is known.
positional: _input
options:
  _input:
    description: Message of M(ansible.builtin.pip), or the installer's output.
    type: str
    required: true
  asked:
    description: Output of C(pip -vv index versions NAME) for the distribution that was not found.
    type: str
    default: ''
  installer:
    description: Whose output it is.
    type: str
    choices: [pip, uv]
    default: pip
"""

EXAMPLES = r"""
- name: Show what is missing
  ansible.builtin.debug:
    msg: "{{ (ansible_failed_result.msg | pyweb.deploy.pip_failure).missing }}"
"""

RETURN = r"""
_value:
  description:
    - C(missing), the distribution that pip did not find, and C(reason), lines with what to do, what the installer said,
      and why indexes did not have that distribution.
  type: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils import pip_output


def pip_failure(output: str, asked: str = "", installer: str = "pip") -> dict[str, str]:
    """Tell in short why pip or uv failed; see `pip_output`."""
    return {"missing": pip_output.missing(output), "reason": pip_output.reason(output, asked, installer)}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"pip_failure": pip_failure}
