#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Documentation of the action plugin ship_directory."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ship_directory
short_description: Copy an application's directory from the controller as one archive
version_added: "0.1.0"
description:
  - Packs a directory on the controller, as the user who runs Ansible, and unpacks it on the host with
    M(ansible.builtin.unarchive). Root owns what arrives; files are V(0644), executable ones and directories V(0755).
  - C(.git), C(.hg), C(.svn), C(.venv), C(__pycache__), C(*.pyc), virtual environments and empty directories never
    travel. Symbolic links stay links.
  - An empty file C(.complete) arrives last, so that what has it was not cut off.
  - Fails, before anything travels, where the directory no longer has the digest that was planned with.
author:
  - The pyweb.deploy authors (@pyweb)
options:
  src:
    description:
      - Absolute path on the controller, of a directory or of what O(kind) says.
    type: path
    required: true
  dest:
    description: Directory on the host, which is made where it isn't there; the one that it is in must be.
    type: path
    required: true
  digest:
    description: Digest of O(src) that was planned with, as M(pyweb.deploy.gunicorn_plan) works it out.
    type: str
    required: true
  exclude:
    description: Shell patterns of what to leave out; one with a C(/) is compared with the whole relative path.
    type: list
    elements: str
    default: []
  kind:
    description:
      - What O(src) is. The content of an archive (tar or zip) travels as if it were a directory; of a package, its file
        travels as it is.
    type: str
    choices: [directory, archive, package]
    default: directory
  subdirectory:
    description: Path of the application inside it; empty for all of it.
    type: str
    default: ''
  module:
    description: Dotted name of what Gunicorn imports, by which the application is found inside an archive.
    type: str
    default: ''
attributes:
  action:
    support: full
    description: It packs on the controller.
  check_mode:
    support: partial
    description:
      - Where O(dest) doesn't hold the file C(.complete), the copy counts as a change.
        Otherwise the files are not compared, since M(ansible.builtin.unarchive) doesn't do that in check mode.
  diff_mode:
    support: none
    description: A release is a directory of its own; there is nothing to compare it with.
notes:
  - The host needs C(tar) and C(gzip).
"""

EXAMPLES = r"""
- name: Ship the application
  pyweb.deploy.ship_directory:
    src: /home/me/shop
    dest: /opt/shop/releases/9d1f0c2b7a66
    digest: 9d1f0c2b7a66
"""

RETURN = r"""
size:
  description: Bytes of the archive that travelled.
  returned: when the archive travelled
  type: int
  sample: 2048
"""
