#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Start a release in private and ask it the health check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_check
short_description: Start a release in private and ask it the health check
version_added: "0.1.0"
description:
  - Writes the units of a slot, starts the release with one worker on a private socket that no traffic reaches, asks
    it the health check and stops it again. What serves isn't touched.
  - Fails where the release doesn't start or isn't healthy in time. The reason is kept in its directory.
  - Before that, it puts right what an interrupted run may have left in the slot.
author:
  - The pyweb.deploy authors (@pyweb)
extends_documentation_fragment:
  - pyweb.deploy.stage
  - pyweb.deploy.stage.health
options:
  release:
    description: Id of the release.
    type: str
    required: true
  slot:
    description: Slot that it will serve from.
    type: str
    choices: [blue, green]
    required: true
  misnamed_slot:
    description: Slot that serves, where an interrupted run left the service's name at the other one.
    type: str
    default: ''
  start:
    description: Whether to start and ask it. Otherwise only the files are written.
    type: bool
    default: true
  passed_health:
    description:
      - The same as O(health), as the release has passed it before. Where it fails today's, this decides; empty for
        none.
    type: dict
    default: {}
  names:
    description:
      - The release's C(id) and the digests of its C(code) and C(venv). Those of the release that serves are the same to
        C(--diff), or each line with one of them would differ.
    type: dict
    default: {}
  compare:
    description: What of the release is there already, so that no stage before this one has shown how it differs.
    type: list
    elements: str
    choices: [code, configuration]
    default: []
  units:
    description: Texts of units by their names, for C(/etc/systemd/system).
    type: dict
    default: {}
  files:
    description: Texts of other files by their absolute paths.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Check a release in private
  pyweb.deploy.gunicorn_check:
    name: shop
    release: 3fa92c1b0d4e
    slot: green
    units:
      shop-check.service: "{{ lookup('ansible.builtin.template', 'check.service.j2') }}"
      shop-green.service: "{{ lookup('ansible.builtin.template', 'green.service.j2') }}"
    health: {path: /healthz, timeout: 60}
  become: true
"""

RETURN = r"""
steps:
  description: What was done, in this order; in check mode, what would be done.
  returned: always
  type: list
  elements: dict
  sample: [{step: start it in private, unit: shop-check.service, changed: true, seconds: 1.2}]
changes:
  description: Paths and users that were changed, also those of which C(--diff) shows nothing.
  returned: always
  type: list
  elements: str
  sample: [/etc/systemd/system/shop-green.service]
health:
  description: The health check that it passed.
  returned: success
  type: dict
  sample: {path: /healthz, host: localhost, status: [200], expect: "", timeout: 60, tls: false}
reason:
  description: What is wrong, in one line. C(msg) says it too, with the traceback or the last lines of the journal.
  returned: failure
  type: str
  sample: "the application failed to start: ModuleNotFoundError: No module named 'flask'"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import HEALTH, LEASE, run_stage
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Check, Host


def work(host: Host, module: AnsibleModule) -> dict[str, Any]:
    """Do what the module is asked for."""
    return {"health": Check(host, module.params).run()}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "slot": {"type": "str", "choices": ["blue", "green"], "required": True},
            "serving": {"type": "str", "default": ""},
            "misnamed_slot": {"type": "str", "default": ""},
            "start": {"type": "bool", "default": True},
            "names": {"type": "dict", "default": {}},
            "compare": {"type": "list", "elements": "str", "choices": ["code", "configuration"], "default": []},
            "units": {"type": "dict", "default": {}, "no_log": True},
            "files": {"type": "dict", "default": {}, "no_log": True},
            "health": HEALTH,
            "passed_health": {"type": "dict", "default": {}, "no_log": False},
            "lease": LEASE,
        },
        supports_check_mode=True,
    )
    run_stage(module, work)


if __name__ == "__main__":
    main()
