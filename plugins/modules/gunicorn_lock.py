#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Acquire or release the deploy lock of an application."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_lock
short_description: Acquire or release the deploy lock of an application
version_added: "0.1.0"
description:
  - Lets one run of Ansible at a time change an application. While one run has the lock, another one fails.
  - A run that has ended without releasing the lock doesn't hold up the next one from the same controller. For runs
    from other controllers the lock ends after O(lease) seconds, or when the host restarts.
  - Killing Ansible doesn't kill the module that it has started on the host. While one of the role's modules that build
    or switch still works for a run that has ended, this stops its build, and waits until the module has ended.
author:
  - The pyweb.deploy authors (@pyweb)
options:
  name:
    description: Name of the application, C(gunicorn_name) of the role.
    type: str
    required: true
  state:
    description: V(held) acquires the lock, V(released) releases it if this run has it.
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
    description: Seconds after which a run of another controller counts as ended.
    type: int
    default: 3600
  holder:
    description: This run, as the action plugin describes it. Not for playbooks.
    type: dict
    required: false
  dead:
    description: Run that has ended without releasing the lock, as the action plugin found out. Not for playbooks.
    type: str
    default: ''
attributes:
  check_mode:
    support: full
    description: In check mode there is nothing to keep others from, so no lock is acquired.
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
- name: Acquire the deploy lock
  pyweb.deploy.gunicorn_lock:
    name: shop
  become: true

- name: Release it
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
waited:
  description: Whether a module of a run that has ended had to be waited for, so that the host should be observed anew.
  returned: success
  type: bool
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils import build_unit, lock
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError


def refusal(found: dict[str, Any], holder: dict[str, Any], last_run: str, dead: str, now: float) -> str:
    """Why the lock can't be had; empty where it can.

    `found` is what the file holds: the run that had the lock last with ``until``, the second (of the host's clock since
    its start) at which its lease ends; 0 once it released the lock.
    """
    name = found.get("name", "")
    if found.get("run") in (None, holder["run"]):
        return ""
    if found["until"] > now and found["run"] != dead:
        return (
            f"{name}: another run is changing it: that of {found['user']} on {found['controller']} (process "
            f"{found['pid']}), since {found['since']}. Wait until it has ended, then run again. If it was cut off: "
            f"`truncate --size 0 {lock.DIRECTORY}/{name}.lock` on the host"
        )
    if found["run"] != last_run:
        return (
            f"{name}: another run has changed it since this one looked: that of {found['user']} on "
            f"{found['controller']}. Run again"
        )
    return ""


def refuse(module: AnsibleModule, found: dict[str, Any]) -> None:
    """Leave the module where the lock can't be had."""
    now = time.monotonic()
    reason = refusal(found, module.params["holder"], module.params["last_run"], module.params["dead"], now)
    if reason:
        module.fail_json(msg=reason, holder=found, busy=found["until"] > now)


def stop_build(module: AnsibleModule, name: str) -> None:
    """Stop the build of a run that has ended: whoever waits for it goes on at once, and fails."""
    try:
        Systemd(module.run_command).stop(build_unit.unit_name(name))
    except SystemdError as problem:
        module.fail_json(msg=f"{name}: can't stop the build of an interrupted run: {problem}")


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
    with lock.open_file(name) as file:
        if module.params["state"] == "released":
            found = lock.read(file)
            if found.get("run") == holder["run"]:
                lock.write(file, {**found, "until": 0})
            module.exit_json(changed=False)
        free = lock.try_flock(file)
        refuse(module, lock.read(file))
        # A build may go on without the module that started it.
        if not free or os.path.exists(build_unit.unit_path(name)):
            stop_build(module, name)
        if not free:
            module.fail_json(msg=f"{name}: a module of an interrupted run still works on the host", working=True)
        lock.write(file, {**holder, "name": name, "until": time.monotonic() + module.params["lease"]})
    module.exit_json(changed=False, holder=holder)


if __name__ == "__main__":
    main()
