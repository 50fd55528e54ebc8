# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What the actions of a deploy's stages have in common: they tell their module which run of Ansible it works for."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ansible.errors import AnsibleAction, AnsibleActionFail
from ansible.plugins.action import ActionBase


def read_start(pid: int) -> str:
    """When a process of the controller was started, in ticks since the controller's own start; empty where unknown.

    Source: field 22 of /proc/PID/stat, proc_pid_stat(5). Where there is no /proc (macOS), any process with that number
    counts as the same one.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def describe_controller() -> str:
    """Machine and process namespace in which a process number means something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def this_run(pid: int) -> dict[str, Any]:
    """Describe the run whose main process has that number."""
    machine, start = describe_controller(), read_start(pid)
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"user {os.getuid()}"
    now = datetime.datetime.now(tz=datetime.UTC)
    return {
        "run": f"{machine} {pid} {start}",
        "machine": machine,
        "controller": platform.node(),
        "pid": pid,
        "start": start,
        "user": user,
        "since": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def has_ended(holder: dict[str, Any], machine: str) -> bool:
    """Tell whether a run of this machine has ended; of another one's run nobody knows."""
    if holder.get("machine") != machine:
        return False
    pid = int(holder["pid"])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return read_start(pid) != str(holder["start"])


def enable_pipelining(connection: Any) -> None:
    """Let a task pipeline, whatever Ansible is configured with, so that its arguments touch no disk."""
    # Connections without an option of their own (community.docker) look at what they know of the play.
    connection._play_context.pipelining = True
    with contextlib.suppress(KeyError):
        connection.get_option("pipelining")
        connection.set_option("pipelining", True)


AT_WORK = 3600
"""Seconds for which a run keeps the lock while one of its modules works, or what isn't ours: apt, a hook."""

BETWEEN = 300
"""Seconds for which it keeps the lock from one of its modules to the next."""

OURS = ("code", "venv", "release", "check", "switch", "remove")
"""Stages whose modules, of the same names, take and keep the lock themselves."""

REGISTERED = (
    "lock",
    "code",
    "packages",
    "venv",
    "release",
    "firewall",
    "check",
    "drain",
    "switch",
    "remove",
    "enroll",
    "withdraw",
)
"""Stages in the order of the role, which registers the result of each as ``__gunicorn_stage_NAME``."""

PREFIX = "__gunicorn_stage_"

PAUSE = 1.0
PATIENCE = 600
"""Seconds for which a run waits until a module of an interrupted one has ended."""


def keep(stage: str, stages: Sequence[str]) -> int:
    """Seconds for which a run keeps the lock after one of its stages: none after the last."""
    following = stages[stages.index(stage) + 1 :] if stage in stages else []
    if not following:
        return 0
    return BETWEEN if following[0] in OURS else AT_WORK


def find_problem(task_vars: Mapping[str, Any]) -> Mapping[str, Any]:
    """Result of the first stage that failed; empty where none has. What is left of another plan doesn't count."""
    token = task_vars.get("__gunicorn_plan", {}).get("token")
    results = (task_vars.get(PREFIX + stage, {}) for stage in REGISTERED)
    return next((each for each in results if each.get("problem") and each.get("plan") == token), {})


def reason_of(result: Mapping[str, Any]) -> str:
    """Say in one line why a stage failed."""
    return str(result.get("reason") or result["problem"]).split("\n", 1)[0]


def fail(reason: str, text: str, **result: Any) -> NoReturn:
    """Let a task fail with a text that is printed once, below its reason. Of a result Ansible prints ``msg`` twice."""
    raise AnsibleAction(reason, result={**result, "msg": text}) from None


def run_with_lock(
    action: ActionBase, module: str, arguments: Mapping[str, Any], task_vars: Mapping[str, Any], **lease: Any
) -> dict[str, Any]:
    """Run a module that takes the deploy lock; a run of this machine that has ended doesn't keep it from that.

    `lease` has ``last_run``, who had the lock when the host was observed, and ``then``, for how many seconds the run
    keeps it after the module.
    """
    lease = {"holder": this_run(os.getppid()), "dead": "", "seconds": AT_WORK, **lease}
    for _attempt in range(2):
        asked = {**arguments, "lease": lease}
        result: dict[str, Any] = action._execute_module(module_name=module, module_args=asked, task_vars=task_vars)
        if not result.get("busy") or not has_ended(result["holder"], lease["holder"]["machine"]):
            break
        lease["dead"] = result["holder"]["run"]
    return result


def wait_for_lock(action: ActionBase, name: str, last_run: str, task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Acquire the lock of an application; where a module of an interrupted run still works, say so and wait for it."""
    until, said = time.monotonic() + PATIENCE, False
    while True:
        result = run_with_lock(action, "pyweb.deploy.gunicorn_lock", {"name": name}, task_vars, last_run=last_run)
        if not result.get("working") or time.monotonic() >= until:
            return result
        if not said:
            action._display.display(f"{result['msg']}. Waiting for it, at most {PATIENCE // 60} minutes")
        said = True
        time.sleep(PAUSE)


def release_lock(action: ActionBase, name: str, task_vars: Mapping[str, Any]) -> None:
    """Give the lock of an application back, if this run has it."""
    arguments = {"name": name, "state": "released", "lease": {"holder": this_run(os.getppid())}}
    action._execute_module(module_name="pyweb.deploy.gunicorn_lock", module_args=arguments, task_vars=task_vars)


class Stage(ActionBase):
    """Run the module of the same name, for the run that the process which started all tasks is.

    It doesn't fail, but returns ``problem``: what was begun has to be put right first, see gunicorn_result. After a
    stage with a problem it does nothing. Outside the role, without a plan, it fails as any module does.

    Reads ``__gunicorn_plan``: ``stages``, the names of all that the run goes through; ``last_run``, who had the deploy
    lock when the host was observed; ``token``, by which results of other plans are told apart.
    """

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action; the module documents its options."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = task_vars or {}
        if find_problem(given):
            return {**result, "skipped": True, "skip_reason": "An earlier stage failed"}
        try:
            result.update(self.run_module(self.module_arguments(given), given))
        except AnsibleActionFail as problem:
            result.update(failed=True, msg=problem.message)
        result.pop("invocation", None)
        if result.get("failed") and "__gunicorn_plan" in given:
            result.update(failed=False, problem=str(result.pop("msg")), plan=given["__gunicorn_plan"]["token"])
            result.pop("exception", None)  # or Ansible would show it here too
        return result

    def run_module(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module with the deploy lock."""
        plan = task_vars.get("__gunicorn_plan", {})
        module = self._task.action
        then = keep(module.rpartition("gunicorn_")[2], plan.get("stages", []))
        return run_with_lock(self, module, arguments, task_vars, last_run=plan.get("last_run", ""), then=then)

    def send(self, file: str, name: str) -> str:
        """Send a file of the controller ahead of the module; its path on the host."""
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        place: str = shell.join_path(shell.tmpdir, name)
        self._transfer_file(file, place)
        self._fixup_perms2((shell.tmpdir, place))
        return place

    def module_arguments(self, _task_vars: dict[str, Any]) -> dict[str, Any]:
        """Give the module's arguments, but for the lease: those of the task."""
        return dict(self._task.args)
