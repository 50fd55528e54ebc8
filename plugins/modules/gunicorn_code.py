#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Bring the code of an application to its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_code
short_description: Bring the code of an application to its host
version_added: "0.1.0"
description:
  - Creates the user of the application and its directory C(/opt/NAME), and unpacks the code into a directory of its
    own below C(/opt/NAME/code), which gets its name once all of it is on the disk. Root owns it.
  - The action plugin packs the code on the controller, as the user who runs Ansible. Files are V(0644), executable
    ones and directories V(0755). C(.git), C(.hg), C(.svn), C(.venv), C(__pycache__), C(*.pyc), virtual environments
    and empty directories never travel; symbolic links stay links. Where the code no longer has the digest that was
    planned with, nothing is sent.
  - Code that is there already is left alone. With O(force), those of its files that were changed are written again.
author:
  - The pyweb.deploy authors (@pyweb)
extends_documentation_fragment:
  - pyweb.deploy.stage
options:
  user_comment:
    description: Comment of the user that is created where it is missing; empty where the application runs as another.
    type: str
    default: ''
  group:
    description: Group that may enter the directory of the application.
    type: str
    required: true
  check_config:
    description: Text of the program that checks a configuration.
    type: str
    required: true
  digest:
    description: Digest of the code, the name of its directory; empty for code that somebody else keeps on the host.
    type: str
    default: ''
  src:
    description:
      - Absolute path on the controller, of a directory or of what O(kind) says; empty for a package that pip finds by
        its name.
    type: path
    default: ''
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
  exclude:
    description: Shell patterns of what to leave out; one with a C(/) is compared with the whole relative path.
    type: list
    elements: str
    default: []
  installs_packages:
    description: Whether Debian packages are installed next, so that the host has to know which it had before.
    type: bool
    default: false
  force:
    description: Whether code that is there already is compared.
    type: bool
    default: false
  serving:
    description: Id of the release that serves until then, with which C(--diff) compares; empty for none.
    type: str
    default: ''
  archive:
    description: The packed code in Base64, as the action plugin gives it. Not for playbooks.
    type: str
    default: ''
  archive_file:
    description: A file on the host with the packed code, where it is larger. Not for playbooks.
    type: path
    default: ''
"""

EXAMPLES = r"""
- name: Bring the code of the shop
  pyweb.deploy.gunicorn_code:
    name: shop
    user_comment: Gunicorn application shop (pyweb.deploy)
    group: shop
    check_config: "{{ lookup('ansible.builtin.file', 'check_config.py') }}"
    src: /home/me/shop
    digest: "{{ lookup('pyweb.deploy.source', '/home/me/shop').digest }}"
  become: true
"""

RETURN = r"""
steps:
  description: What was done besides writing files, in this order; in check mode, what would be done.
  returned: always
  type: list
  elements: dict
  sample: [{step: create the user, changed: true, seconds: 0.1}]
changes:
  description: Paths and users that were changed, also those of which C(--diff) shows nothing.
  returned: always
  type: list
  elements: str
  sample: [/opt/shop/code/9d1f0c2b7a66]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils.code_stage import CodeStage
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import LEASE, run_stage
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host


def work(host: Host, module: AnsibleModule) -> None:
    """Do what the module is asked for."""
    CodeStage(host, module.params, module.run_command).run()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "user_comment": {"type": "str", "default": ""},
            "group": {"type": "str", "required": True},
            "check_config": {"type": "str", "required": True, "no_log": True},
            "digest": {"type": "str", "default": ""},
            "src": {"type": "path", "default": ""},
            "kind": {"type": "str", "choices": ["directory", "archive", "package"], "default": "directory"},
            "subdirectory": {"type": "str", "default": ""},
            "module": {"type": "str", "default": ""},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "installs_packages": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "serving": {"type": "str", "default": ""},
            "archive": {"type": "str", "default": "", "no_log": True},
            "archive_file": {"type": "path", "default": ""},
            "lease": LEASE,
        },
        supports_check_mode=True,
    )
    run_stage(module, work)


if __name__ == "__main__":
    main()
