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
    from other controllers the lock ends an hour after the last module of the run began, or when the host restarts.
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
  lease:
    description: The run and for how long it gets the lock, as the action plugin gives it. Not for playbooks.
    type: dict
    default: {}
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
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils import build_unit, lock
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import LEASE
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError


def acquire(module: AnsibleModule, name: str) -> dict[str, Any]:
    """Acquire the lock, or leave the module with the reason why not."""
    systemd = Systemd(module.run_command)
    try:
        with lock.open_file(name) as file:
            lock.take(file, name, module.params["lease"], lambda: systemd.stop(build_unit.unit_name(name)))
    except lock.LockError as problem:
        module.fail_json(msg=str(problem), **problem.details)
    except SystemdError as problem:
        module.fail_json(msg=f"{name}: can't stop the build of an interrupted run: {problem}")
    return {"holder": module.params["lease"]["holder"]}


def release(name: str, run: str) -> dict[str, Any]:
    """Give the lock back, if this run has it."""
    with lock.open_file(name) as file:
        if lock.read(file).get("run") == run:
            lock.leave(file, 0)
    return {}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
            "lease": LEASE,
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False)
    name = module.params["name"]
    if module.params["state"] == "released":
        module.exit_json(changed=False, **release(name, module.params["lease"]["holder"]["run"]))
    module.exit_json(changed=False, **acquire(module, name))


if __name__ == "__main__":
    main()
