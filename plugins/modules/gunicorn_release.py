#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Write the configuration of an application, with its secrets, as a release that can be checked."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_release
short_description: Write a release of an application
version_added: "0.1.0"
description:
  - Writes C(gunicorn.conf.py), the environment and the secrets into a directory below C(/opt/NAME/releases), with
    links to the code and to the virtual environment. Nothing that runs is touched.
  - Each secret is a file of root's own, V(0600). With O(encrypt), what is written is what C(systemd-creds encrypt)
    makes of it with the key of the host. The values are in no output and no log.
  - The action plugin renders the texts from the variables of the role, as they were planned with, and takes the secrets
    from C(gunicorn_secrets). They travel through a pipe; where Ansible would write them to a disk on their way, because
    it can't pipeline, it fails and nothing is sent.
author:
  - The pyweb.deploy authors (@pyweb)
extends_documentation_fragment:
  - pyweb.deploy.stage
options:
  release:
    description: Id of the release.
    type: str
    required: true
  group:
    description: Group that may read the configuration.
    type: str
    required: true
  links:
    description: Targets of symbolic links by their names.
    type: dict
    default: {}
  encrypt:
    description: Whether systemd decrypts the secrets when the service starts. Needs systemd 250 or later.
    type: bool
    default: false
  serving:
    description: Id of the release that serves until then, with which C(--diff) compares; empty for none.
    type: str
    default: ''
  names:
    description:
      - The release's C(id) and the digests of its C(code) and C(venv). Those of the release that serves are the same to
        C(--diff), or each line with one of them would differ.
    type: dict
    default: {}
  payload:
    description: Texts and secrets, as the action plugin gives them. Not for playbooks.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Write a release of the shop
  pyweb.deploy.gunicorn_release:
    name: shop
    release: 3fa92c1b0d4e
    group: shop
    links: {code: ../../code/9d1f0c2b7a66, venv: ../../venvs/67fbea346fb3}
  become: true
"""

RETURN = r"""
steps:
  description: What was done besides writing files; in check mode, what would be done.
  returned: always
  type: list
  elements: dict
  sample: [{step: write the secrets, changed: true, seconds: 0.1}]
changes:
  description: Paths and users that were changed, also those of which C(--diff) shows nothing.
  returned: always
  type: list
  elements: str
  sample: [/opt/shop/releases/3fa92c1b0d4e]
written:
  description: Names of the secrets that were written. Only where C(gunicorn_no_log) is off.
  returned: success
  type: list
  elements: str
"""

import base64
import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils.release_stage import ReleaseStage
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import LEASE, run_stage
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host


def work(host: Host, module: AnsibleModule) -> dict[str, list[str]]:
    """Do what the module is asked for."""
    payload = json.loads(base64.b64decode(module.params["payload"]))
    stage = ReleaseStage(host, module.params, payload, module.run_command)
    stage.run()
    return {"written": stage.written}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
            "links": {"type": "dict", "default": {}},
            "encrypt": {"type": "bool", "default": False},
            "serving": {"type": "str", "default": ""},
            "names": {"type": "dict", "default": {}},
            "payload": {"type": "str", "default": "", "no_log": True},
            "lease": LEASE,
        },
        supports_check_mode=True,
    )
    run_stage(module, work)


if __name__ == "__main__":
    main()
