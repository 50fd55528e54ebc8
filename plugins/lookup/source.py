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
  - Reads a directory, an archive or a package on the controller. Only content and the executable bit count, so that
    two clones of one commit have the same digest.
  - C(.git), C(.hg), C(.svn), C(.venv), C(__pycache__), C(*.pyc), virtual environments and empty directories never
    count.
options:
  _terms:
    description: Absolute path; empty for a package that pip finds by its name.
    type: list
    elements: str
    required: true
  exclude:
    description: Shell patterns of what to leave out; one with a C(/) is compared with the whole relative path.
    type: list
    elements: str
    default: []
  requirements:
    description:
      - Path of a requirements file inside the directory, or a list of such paths. V(requirements.txt) may be missing,
        where it is not in a list.
    type: raw
    default: requirements.txt
  kind:
    description: What it is. An archive (tar or zip) counts as the directory that it holds.
    type: str
    choices: [directory, archive, package]
    default: directory
  subdirectory:
    description: Path of the application inside it; empty for all of it.
    type: str
    default: ''
  checksum:
    description: What an archive's file must have, C(ALGORITHM:HEX); empty to leave it unchecked.
    type: str
    default: ''
  module:
    description: Dotted name of what Gunicorn imports.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Show the digest of an application
  ansible.builtin.debug:
    msg: "{{ lookup('pyweb.deploy.source', '/home/me/shop', exclude=['tests']).digest }}"
"""

RETURN = r"""
_raw:
  description: One dictionary per source.
  type: list
  elements: dict
  contains:
    place:
      description: Where it is, to name it in messages.
      type: str
    digest:
      description: Digest of what travels; empty where there is a problem.
      type: str
    requirements_files:
      description: Paths of the requirements files that are there.
      type: list
      elements: str
    requirements:
      description: Lines of the requirements files, those of the files that they name included.
      type: list
      elements: str
    locked:
      description: Whether the requirements file is a C(pylock.toml), beside which nothing else is installed.
      type: bool
    needs_source:
      description: Whether a requirement is installed from the directory itself.
      type: bool
    requirements_problem:
      description: Why the requirements file can't be read; empty where it can.
      type: str
    has_module:
      description: Whether what Gunicorn imports is there.
      type: bool
    module_file:
      description: Path of the module inside the directory; empty where its text doesn't plainly say which names it has.
      type: str
    module_names:
      description: Names that the module has, with what Gunicorn may be given for each; empty where it can't be called.
      type: dict
    problem:
      description: Why the source can't be used; empty where it can.
      type: str
"""

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.pyweb.deploy.plugins.module_utils import source
from ansible_collections.pyweb.deploy.plugins.plugin_utils.location import Location, opened


class LookupModule(LookupBase):
    """Look into sources on the controller."""

    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Give one dictionary per source, as RETURN describes it."""
        self.set_options(var_options=variables, direct=kwargs)
        return [self._look(str(term)) for term in terms]

    def _look(self, path: str) -> dict[str, Any]:
        options = self.get_options()
        place = Location(options["kind"], path, options["subdirectory"], options["checksum"], module=options["module"])
        try:
            with opened(place) as directory:
                found = source.look(directory, options["exclude"], options["requirements"], options["module"])
        except (OSError, ValueError) as problem:
            return source.nothing(path, str(problem))
        # What is unpacked for the moment is called by its name on the controller.
        told = found["requirements_problem"].replace(directory, path or "a package that pip finds by its name")
        return {**found, "place": path, "requirements_problem": told}
