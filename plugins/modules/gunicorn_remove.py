#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Remove an application from a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_remove
short_description: Remove an application from a host
version_added: "0.1.0"
description:
  - Closes the application's port, lets it answer the requests that it has, and stops it. Then it removes its units, its
    users and other paths.
  - What is gone already is no error, so a run that was killed is taken up again.
  - Refuses units, users and C(/opt/NAME) that don't bear the mark of the role, before it touches anything.
author:
  - The pyweb.deploy authors (@pyweb)
extends_documentation_fragment:
  - pyweb.deploy.stage
options:
  units:
    description:
      - Paths of units to stop and remove. systemd's own time limits count for how long that may take.
      - C(/etc/systemd/system/NAME.service) may be among them, where no unit is left to take that name back from.
    type: list
    elements: path
    default: []
  chown_to_root:
    description: Directories that stay, and that root gets with all that is in them.
    type: list
    elements: path
    default: []
  users:
    description: Users to remove.
    type: list
    elements: str
    default: []
  paths:
    description: Files and directories to remove, in this order. C(/opt/NAME) has to be the last.
    type: list
    elements: path
    default: []
  packages:
    description: Debian packages that are to be removed after this. The module only asks apt about them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Remove an application
  pyweb.deploy.gunicorn_remove:
    name: shop
    units: [/etc/systemd/system/shop.socket, /etc/systemd/system/shop-blue.service]
    chown_to_root: [/var/lib/gunicorn/shop]
    users: [shop]
    paths: [/opt/shop]
  become: true
"""

RETURN = r"""
steps:
  description: What was done besides removing files, in this order; in check mode, what would be done.
  returned: always
  type: list
  elements: dict
  sample: [{step: stop shop-blue.service, unit: shop-blue.service, changed: true, seconds: 1.2}]
changes:
  description: Paths and users that were changed, also those of which C(--diff) shows nothing.
  returned: always
  type: list
  elements: str
  sample: [/opt/shop, user shop]
needed_by:
  description: Debian packages that apt would remove together with O(packages), since they need one of them.
  returned: success
  type: list
  elements: str
reason:
  description: What is wrong, in one line.
  returned: failure
  type: str
  sample: "shop: userdel shop failed: userdel: user shop is currently used by process 4711"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils.remove import Remove
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import LEASE, run_stage
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host


def work(host: Host, module: AnsibleModule) -> dict[str, Any]:
    """Do what the module is asked for."""
    remove = Remove(host, module.run_command, module.params)
    needed_by = remove.needed_by(module.params["packages"])
    remove.run()
    return {"needed_by": needed_by}


def main() -> None:
    """Run the module."""
    paths = {"type": "list", "elements": "path", "default": []}
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "units": paths,
            "chown_to_root": paths,
            "users": names,
            "paths": paths,
            "packages": names,
            "lease": LEASE,
        },
        supports_check_mode=True,
    )
    run_stage(module, work)


if __name__ == "__main__":
    main()
