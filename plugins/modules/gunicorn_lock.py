#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Let one run at a time change an application."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_lock
short_description: Let one run at a time change an application
version_added: "0.1.0"
description:
  - Takes a lock on a host for this run of Ansible, or gives it back. While one run has it, another one fails.
  - A run that has ended without giving its lock back doesn't hold up the next one from the same controller. For runs
    from other controllers the lock ends after O(lease) seconds, or when the host restarts.
author:
  - The pyweb.deploy authors (@pyweb)
options:
  name:
    description: Name of the application, C(gunicorn_name) of the role.
    type: str
    required: true
  state:
    description: V(held) takes the lock, V(released) gives it back if this run has it.
    type: str
    choices: [held, released]
    default: held
  last_run:
    description:
      - RV(pyweb.deploy.gunicorn_info#module:gunicorn.last_run) of the observation that this run acts on. The lock isn't
        given where another run had it since.
    type: str
    default: ''
  lease:
    description: Seconds after which a run of another controller is taken for dead.
    type: int
    default: 3600
  holder:
    description: This run, as the action plugin describes it. Not for playbooks.
    type: dict
    required: false
  dead:
    description: Run that has ended without giving back the lock, as the action plugin found out. Not for playbooks.
    type: str
    default: ''
attributes:
  check_mode:
    support: full
    description: In check mode there is nothing to keep others from, so no lock is taken.
  diff_mode:
    support: none
    description: A lock is no lasting change.
  action:
    support: full
    description: Knows on the controller which run this is.
notes:
  - The lock is the file C(/run/pyweb.deploy/NAME.lock). It is no part of what a run changes, so C(changed) is always
    false.
"""

EXAMPLES = r"""
- name: Keep other runs out
  pyweb.deploy.gunicorn_lock:
    name: shop
  become: true

- name: Let other runs in
  pyweb.deploy.gunicorn_lock:
    name: shop
    state: released
  become: true
"""

RETURN = r"""
holder:
  description: The run that holds the lock. Returned too where that is another one and the module fails.
  returned: when some run holds it
  type: dict
  sample: {run: 4f1d2c, controller: laptop, pid: 4711, user: alice, since: "2026-11-22T08:30:00Z"}
"""

import fcntl
import json
import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DIRECTORY = "/run/pyweb.deploy"


def refusal(found: dict[str, Any], holder: dict[str, Any], last_run: str, dead: str, now: float) -> str:
    """Why the lock can't be had; empty where it can.

    `found` is what the file holds: the run that had the lock last with ``until``, the second (of the host's clock since
    its start) at which its hold ends; 0 once it gave the lock back.
    """
    name = found.get("name", "")
    if found.get("run") in (None, holder["run"]):
        return ""
    if found["until"] > now and found["run"] != dead:
        return (
            f"{name}: another run is changing it: that of {found['user']} on {found['controller']} (process "
            f"{found['pid']}), since {found['since']}. Wait until it has ended, then run again. If it was cut off, "
            f"remove {DIRECTORY}/{name}.lock on the host"
        )
    if found["run"] != last_run:
        return (
            f"{name}: another run has changed it since this one looked: that of {found['user']} on "
            f"{found['controller']}. Run again"
        )
    return ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
            "last_run": {"type": "str", "default": ""},
            "lease": {"type": "int", "default": 3600},
            "holder": {"type": "dict"},
            "dead": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False)
    name, holder = module.params["name"], module.params["holder"]
    os.makedirs(DIRECTORY, mode=0o755, exist_ok=True)
    path = os.path.join(DIRECTORY, name + ".lock")
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            found = json.loads(file.read())
        except ValueError:
            found = {}
        now = time.monotonic()
        if module.params["state"] == "released":
            if found.get("run") != holder["run"]:
                module.exit_json(changed=False)
            entry = {**found, "until": 0}
        else:
            reason = refusal(found, holder, module.params["last_run"], module.params["dead"], now)
            if reason:
                module.fail_json(msg=reason, holder=found, busy=found["until"] > now)
            entry = {**holder, "name": name, "until": now + module.params["lease"]}
        file.seek(0)
        file.truncate()
        file.write(json.dumps(entry))
    module.exit_json(changed=False, holder=holder)


if __name__ == "__main__":
    main()
