# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What the modules of a deploy's stages have in common: the lock, the host behind its seams, the result."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Callable, Iterator

from ansible_collections.pyweb.deploy.plugins.module_utils import build_unit, lock
from ansible_collections.pyweb.deploy.plugins.module_utils.files import Files
from ansible_collections.pyweb.deploy.plugins.module_utils.health import Service, UnhealthyError
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import Layout
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError, Steps
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

HEALTH: dict[str, Any] = {
    "type": "dict",
    "default": {},
    "apply_defaults": True,
    "options": {
        "path": {"type": "str", "default": "/"},
        "host": {"type": "str", "default": "localhost"},
        "status": {"type": "list", "elements": "int", "default": [200]},
        "expect": {"type": "str", "default": ""},
        "timeout": {"type": "int", "default": 30},
        "tls": {"type": "bool", "default": False},
    },
}
"""Specification of the option ``health``."""


LEASE: dict[str, Any] = {"type": "dict", "default": {}}
"""Specification of the option ``lease``, which plugin_utils/stage.py fills."""


@contextlib.contextmanager
def deploy_lock(module: AnsibleModule) -> Iterator[None]:
    """Hold the deploy lock while a module works. Its run keeps it for the next stage, unless this was the last one.

    In check mode there is nothing to keep others from. Raises `lock.LockError`.
    """
    if module.check_mode:
        yield
        return
    name, lease = module.params["name"], module.params["lease"]
    systemd = Systemd(module.run_command)
    with lock.open_file(name) as file:
        lock.take(file, name, lease, lambda: systemd.stop(build_unit.unit_name(name)))
        try:
            yield
        except BaseException:
            lock.leave(file, 0)
            raise
        lock.leave(file, lease["then"])


def run_stage(module: AnsibleModule, work: Callable[[Host, AnsibleModule], Any]) -> None:
    """Do the work of a module for the run that has the deploy lock, and leave the module with the result.

    What the work returns is told too.
    """
    module.no_log_values.clear()  # what no_log keeps out of the journal, --diff may show
    layout, systemd = Layout(module.params["name"]), Systemd(module.run_command)
    files, steps = Files(module.check_mode, module._diff), Steps(module.check_mode)

    def service(slot: str) -> Service:
        return Service(module.run_command, f"{layout.name}-{slot}", module.params.get("health", {}))

    failure: dict[str, Any] = {}
    more: dict[str, Any] = {}
    try:
        with deploy_lock(module):
            more = work(Host(layout, systemd, files, steps, service), module) or {}
    except UnhealthyError as problem:
        failure = {"msg": str(problem), "reason": problem.reason}
    except lock.LockError as problem:
        failure = {"msg": str(problem), "reason": str(problem), **problem.details}
    except (SystemdError, StageError) as problem:
        failure = {"msg": str(problem), "reason": str(problem).split("\n", 1)[0]}
    except OSError as problem:
        failure = {"msg": f"can't change {problem.filename}: {problem.strerror}"}
        failure["reason"] = failure["msg"]
    result = {
        **more,
        "changed": bool(files.written or steps.changed),
        "steps": steps.entries,
        "changes": [*files.written, *steps.things],
        "invocation": {"module_args": {"name": layout.name}},  # the texts are long, and in --diff where they differ
    }
    if module._diff:
        result["diff"] = [*files.diff, *steps.diff]
    if failure:
        module.fail_json(**failure, **result)
    module.exit_json(**result)
