#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Let clients of an application through ufw, and turn ufw on without locking SSH out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_firewall
short_description: Let clients of an application through ufw, and turn ufw on without locking SSH out
version_added: "0.1.0"
description:
  - Adds and withdraws rules of ufw, and turns ufw on for a trial. The action plugin does that with
    M(community.general.ufw), in this order; the module itself asks whether ufw works, and begins and ends the trial.
  - While the trial lasts, a timer on the host stands ready to turn ufw off, whatever becomes of the run. The trial ends
    when a new connection has come in. Where none does, ufw is turned off again, and the task fails with the reason.
  - Rules of an application carry the comment C(pyweb.deploy NAME).
author:
  - The pyweb.deploy authors (@pyweb)
options:
  name:
    description: Name of the application, C(gunicorn_name) of the role.
    type: str
    required: true
  ask:
    description: Whether to ask ufw first whether it works, which changes nothing.
    type: bool
    default: false
  rules:
    description: Rules to add. Each is about one TCP port.
    type: list
    elements: dict
    default: []
    suboptions: &rule
      action:
        description: What to do with those clients.
        type: str
        choices: [allow, limit]
        required: true
      port:
        description: The port.
        type: int
        required: true
      source:
        description: Address or network of the clients, or V(any).
        type: str
        required: true
      destination:
        description: Address of the host that they connect to, or V(any).
        type: str
        required: true
      interface:
        description: Network interface that they come in by; empty for every one.
        type: str
        default: ''
  withdraw:
    description: Rules to remove.
    type: list
    elements: dict
    default: []
    suboptions: *rule
  ssh_ports:
    description: TCP ports to allow for everybody, with the comment C(ssh).
    type: list
    elements: int
    default: []
  enable:
    description: Whether to turn ufw on, for a trial.
    type: bool
    default: false
  seconds:
    description: How long the trial lasts at most. A third of it is for the new connection.
    type: int
    default: 60
  netfilter:
    description: Whether the kernel has to let ufw filter IPv4, because it does so or is to.
    type: bool
    default: false
  netfilter6:
    description: The same for IPv6.
    type: bool
    default: false
  installed:
    description: Whether ufw is on the host. In check mode, where it isn't, everything is predicted as a change.
    type: bool
    default: true
  step:
    description: Set by the action plugin. What the module does.
    type: str
    choices: [ask, begin, end]
    default: ask
  trial:
    description: Set by the action plugin. A number that tells this trial from others.
    type: str
    default: ''
attributes:
  action:
    support: full
    description: Runs M(community.general.ufw), and comes in by a new connection.
  check_mode:
    support: full
    description: Tells what would be done. Whether a new connection comes in, only a real run knows.
  diff_mode:
    support: none
    description: The steps say what changes.
notes:
  - Needs root. Set C(become=true).
seealso:
  - module: community.general.ufw
"""

EXAMPLES = r"""
- name: Open port 8000, and turn ufw on
  pyweb.deploy.gunicorn_firewall:
    name: shop
    rules:
      - {action: allow, port: 8000, source: any, destination: any}
    ssh_ports: [22]
    enable: true
    netfilter: true
  become: true

- name: Close it
  pyweb.deploy.gunicorn_firewall:
    name: shop
    withdraw:
      - {action: allow, port: 8000, source: any, destination: any}
  become: true
"""

RETURN = r"""
steps:
  description: What was done, in this order; in check mode, what would be done.
  returned: always
  type: list
  elements: dict
  sample: [{step: "allow port 8000/tcp from any to any", changed: true}]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils import ufw
from ansible_collections.pyweb.deploy.plugins.module_utils.files import Files
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **ufw.OPTIONS,
            "step": {"type": "str", "choices": ["ask", "begin", "end"], "default": "ask"},
            "trial": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    step = "ask" if module.check_mode else params["step"]

    def run(command: list[str]) -> tuple[int, str, str]:
        code, out, err = module.run_command(command, environ_update={"LC_ALL": "C"}, handle_exceptions=False)
        return code, out, err

    trial = ufw.Trial(params["trial"], Systemd(run), Files(module.check_mode))
    try:
        if step == "end":
            trial.end()
        status = ufw.ask(run, params["netfilter"], params["netfilter6"])
        if step == "begin":
            trial.begin(params["seconds"])
    except ufw.UfwError as problem:
        module.fail_json(msg=str(problem))
    except (SystemdError, OSError) as problem:
        module.fail_json(msg=f"the trial can't {step}: {problem}")
    module.exit_json(changed=step != "ask", status=status)


if __name__ == "__main__":
    main()
