# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Lookup source: digest of an application's directory on the controller, and what it requires."""

from __future__ import annotations

DOCUMENTATION = r"""
name: source
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Digest of an application's directory and what it requires
description:
  - Reads a directory on the controller. Only content and the executable bit count, so that two clones of one commit
    have the same digest.
  - C(.git), C(.hg), C(.svn), C(.venv), C(__pycache__), C(*.pyc), virtual environments and empty directories never
    count.
options:
  _terms:
    description: Absolute path of the directory.
    type: list
    elements: str
    required: true
  exclude:
    description: Shell patterns of what to leave out; one with a C(/) is compared with the whole relative path.
    type: list
    elements: str
    default: []
  requirements:
    description: Requirements file inside the directory; it may be missing.
    type: str
    default: requirements.txt
"""

EXAMPLES = r"""
- name: Show the digest of an application
  ansible.builtin.debug:
    msg: "{{ lookup('pyweb.deploy.source', '/home/me/shop', exclude=['tests']).digest }}"
"""

RETURN = r"""
_raw:
  description: One dictionary per directory.
  type: list
  elements: dict
  contains:
    digest:
      description: Digest of what travels.
      type: str
    has_requirements:
      description: Whether the requirements file is there.
      type: bool
    requirements:
      description: Lines of the requirements file, those of the files that it names included.
      type: list
      elements: str
    needs_source:
      description: Whether a requirement is installed from the directory itself.
      type: bool
"""

import os
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.pyweb.deploy.plugins.plugin_utils import requirements, source


class LookupModule(LookupBase):
    """Look into directories on the controller."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Give one dictionary per directory, as RETURN describes it."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [self._look(str(term)) for term in terms]
        except (OSError, UnicodeDecodeError) as problem:
            raise AnsibleError(f"lookup source: {problem}") from problem

    def _look(self, directory: str) -> dict[str, Any]:
        path = self.get_option("requirements")
        present = os.path.isfile(os.path.join(directory, path))
        wanted = requirements.lines(directory, path) if present else []
        return {
            "digest": source.digest(directory, self.get_option("exclude")),
            "has_requirements": present,
            "requirements": wanted,
            "needs_source": requirements.needs_source(wanted),
        }
