#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Install the Debian packages of an application and list what came, or remove them again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_packages
short_description: Install the Debian packages of an application, or remove them
version_added: "0.1.0"
description:
  - The action plugin installs them with M(ansible.builtin.apt). The module then adds what came along to the list
    C(/var/lib/pyweb.deploy/packages), so that it can be removed again. M(pyweb.deploy.gunicorn_code) has kept what
    was there before.
  - With O(state=absent) they are removed and so is the list, unless apt would remove O(needed_by) too.
author:
  - The pyweb.deploy authors (@pyweb)
extends_documentation_fragment:
  - pyweb.deploy.stage
options:
  packages:
    description: Names of all packages that the application needs, or of those to remove.
    type: list
    elements: str
    required: true
  state:
    description: Whether the packages are to be there.
    type: str
    choices: [present, absent]
    default: present
  needed_by:
    description: Other packages that need one of them, which therefore stay. For O(state=absent).
    type: list
    elements: str
    default: []
  missing:
    description: Those that the host lacks.
    type: list
    elements: str
    default: []
  unrecorded:
    description: Whether an interrupted run has not written down yet what came.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Install what the shop needs
  pyweb.deploy.gunicorn_packages:
    name: shop
    packages: [libpq5, python3-pip-whl]
    missing: [libpq5]
  become: true
"""

RETURN = r"""
steps:
  description: Empty.
  returned: always
  type: list
  elements: dict
changes:
  description: Paths and users that were changed, also those of which C(--diff) shows nothing.
  returned: always
  type: list
  elements: str
  sample: [/var/lib/pyweb.deploy/packages]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils import package_list
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import LEASE, run_stage
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host


def work(host: Host, module: AnsibleModule) -> None:
    """Do what the module is asked for."""
    if module.params["state"] == "absent":
        host.files.remove(os.path.dirname(host.layout.packages))
    else:
        package_list.write(host.layout, host.files, module.run_command, module.params["missing"])


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "needed_by": {"type": "list", "elements": "str", "default": []},
            "missing": {"type": "list", "elements": "str", "default": []},
            "unrecorded": {"type": "bool", "default": False},
            "lease": LEASE,
        },
        supports_check_mode=True,
    )
    run_stage(module, work)


if __name__ == "__main__":
    main()
