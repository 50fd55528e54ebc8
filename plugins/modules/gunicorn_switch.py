#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Let a release take over from the one that serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_switch
short_description: Let a release take over from the one that serves
version_added: "0.1.0"
description:
  - Starts the release in its slot beside the old one, on the same public socket, waits until it is healthy there and
    watches it. Then it points the service's name at the new slot, lets the old one answer its requests and stops it.
  - Where that fails, the old release serves as before, and the module fails with the reason.
  - Records what serves and the policy, and removes what nothing needs any more.
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
    description: Slot that it serves from.
    type: str
    choices: [blue, green]
    required: true
  other_slot:
    description: The other one, in which nothing runs at the end.
    type: str
    choices: [blue, green]
    required: true
  old_slot:
    description: Slot that serves until then; empty where none does.
    type: str
    default: ''
  switch:
    description: Whether to start the release. Otherwise it serves already, and only the rest is done.
    type: bool
    default: true
  ask:
    description: Whether to ask it the health check where it serves already. Where it fails, nothing is changed.
    type: bool
    default: false
  policy:
    description:
      - What F(/opt/NAME/policy.json) says afterwards, C(health), C(firewall) and C(keep). Of C(health), what the option
        O(health) says counts more.
    type: dict
    required: true
  socket:
    description: The public socket.
    type: dict
    required: true
    suboptions:
      text:
        description: Its unit.
        type: str
        required: true
      previous:
        description: Its unit as the old release had it; empty where there is none.
        type: str
        default: ''
      restart:
        description: Whether there is a new address, which has to be opened.
        type: bool
        default: false
      conflict:
        description: Whether the old slot holds a new address, so that it must stop first.
        type: bool
        default: false
  watch:
    description: Seconds to go on watching after the first healthy answer.
    type: int
    default: 0
  public:
    description:
      - Public addresses to ask too while watching. Each must answer once within C(health.timeout), with whatever
        status, since the old release shares them and may be the one that answers.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: IP address; empty for a Unix socket. A wildcard address is asked over the loopback interface.
        type: str
        default: ''
      port:
        description: TCP port; 0 for a Unix socket.
        type: int
        default: 0
      path:
        description: Path of a Unix socket; empty for TCP.
        type: str
        default: ''
  previous:
    description: Id of the release to go back to; empty for none.
    type: str
    default: ''
  obsolete:
    description: Paths to remove when the release serves.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Switch to a release that passed its check
  pyweb.deploy.gunicorn_switch:
    name: shop
    release: 3fa92c1b0d4e
    slot: green
    other_slot: blue
    old_slot: blue
    socket:
      text: "{{ lookup('ansible.builtin.template', 'shop.socket.j2') }}"
    health: {path: /healthz}
    policy: {health: {watch: 3}, firewall: {sources: [], interface: "", action: allow}, keep: 3}
    watch: 3
    public: [{host: 0.0.0.0, port: 8000}]
  become: true
"""

RETURN = r"""
steps:
  description: What was done, in this order; in check mode, what would be done.
  returned: always
  type: list
  elements: dict
  sample: [{step: "point the alias at slot green", unit: shop.service, changed: true, seconds: 1.2}]
changes:
  description: Paths and users that were changed, also those of which C(--diff) shows nothing.
  returned: always
  type: list
  elements: str
  sample: [/opt/shop/previous, /opt/shop/current]
reason:
  description: What is wrong, in one line. C(msg) says it too, with the traceback or the last lines of the journal.
  returned: failure
  type: str
  sample: "the application failed to start: ModuleNotFoundError: No module named 'flask'"
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import HEALTH, LEASE, run_stage
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host, Switch

SLOT = {"type": "str", "choices": ["blue", "green"], "required": True}


def work(host: Host, module: AnsibleModule) -> None:
    """Do what the module is asked for."""
    Switch(host, module.params).run()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "slot": SLOT,
            "other_slot": SLOT,
            "old_slot": {"type": "str", "default": ""},
            "serving": {"type": "str", "default": ""},
            "switch": {"type": "bool", "default": True},
            "ask": {"type": "bool", "default": False},
            "policy": {"type": "dict", "required": True},
            "socket": {
                "type": "dict",
                "required": True,
                "options": {
                    "text": {"type": "str", "required": True},
                    "previous": {"type": "str", "default": ""},
                    "restart": {"type": "bool", "default": False},
                    "conflict": {"type": "bool", "default": False},
                },
            },
            "health": HEALTH,
            "watch": {"type": "int", "default": 0},
            "public": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "host": {"type": "str", "default": ""},
                    "port": {"type": "int", "default": 0},
                    "path": {"type": "str", "default": ""},
                },
            },
            "previous": {"type": "str", "default": ""},
            "obsolete": {"type": "list", "elements": "str", "default": []},
            "lease": LEASE,
        },
        supports_check_mode=True,
    )
    run_stage(module, work)


if __name__ == "__main__":
    main()
