"""What the actions of all stages have in common: the lease, failures that wait until the end, the task that fails."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleAction, AnsibleActionFail
from ansible.playbook.task import Task
from ansible_collections.pyweb.deploy.plugins.action.gunicorn_packages import ActionModule as Packages
from ansible_collections.pyweb.deploy.plugins.action.gunicorn_result import ActionModule as Result
from ansible_collections.pyweb.deploy.plugins.action.gunicorn_switch import ActionModule as Switch
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import (
    AT_WORK,
    BETWEEN,
    OURS,
    REGISTERED,
    fail,
    this_run,
)

Data = dict[str, Any]

PLAN = {"stages": ["code", "packages", "venv", "check", "switch"], "token": "now", "last_run": "before"}
FAILED = {"problem": "shop: the disk is full", "plan": "now"}


class Run:
    """Runs an action; what its modules answer, one after the other, and what they were asked."""

    def __init__(self, plugin: type, *answers: Data, check: bool = False, arguments: Data | None = None) -> None:
        self.asked: list[tuple[str, Data]] = []
        self.answers = list(answers)
        name = f"pyweb.deploy.{plugin.__module__.rpartition('.')[2]}"
        known = {"name": "shop", **(arguments or {})}
        task = Task.load({"name": "Stage", name: known, "check_mode": check})
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp"), become=None)
        self.action = plugin(task, connection, SimpleNamespace(), None, None, None)
        self.action._execute_module = self.execute

    def execute(self, module_name: str = "", module_args: Data | None = None, task_vars: Any = None) -> Data:
        assert task_vars is not None
        self.asked.append((module_name, dict(module_args or {})))
        return dict(self.answers[min(len(self.asked), len(self.answers)) - 1])

    def __call__(self, **variables: Any) -> Data:
        try:
            result: Data = self.action.run(task_vars={"__gunicorn_plan": PLAN, **variables})
        except AnsibleAction as problem:  # as Ansible does; what it prints first is `reason`
            return {**problem.result, "failed": True, "reason": str(problem)}
        return result


def test_a_stage_asks_for_the_lock_of_its_run() -> None:
    run = Run(Switch, {"changed": True, "invocation": {}})
    assert run() == {"changed": True}
    lease = run.asked[0][1]["lease"]
    assert lease["holder"]["run"] == this_run(os.getppid())["run"]
    assert {key: lease[key] for key in ("last_run", "dead", "seconds", "then")} == {
        "last_run": "before",
        "dead": "",
        "seconds": AT_WORK,
        "then": 0,
    }, "the last stage gives it back"


@pytest.mark.parametrize(
    ("stages", "then"),
    [(["switch", "check"], BETWEEN), (["switch", "enroll"], AT_WORK), (["switch"], 0), ([], 0)],
)
def test_how_long_the_lock_is_kept_for_what_comes_next(stages: list[str], then: int) -> None:
    run = Run(Switch, {})
    run(__gunicorn_plan={**PLAN, "stages": stages})
    assert run.asked[0][1]["lease"]["then"] == then


def test_a_failure_waits_for_the_end() -> None:
    assert Run(Switch, {"failed": True, "msg": "it is broken", "steps": []})() == {
        "failed": False,
        "problem": "it is broken",
        "plan": "now",
        "steps": [],
    }


def test_so_does_one_on_the_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Any, _task_vars: Any) -> Data:
        raise AnsibleActionFail("the code changed")

    monkeypatch.setattr(Switch, "module_arguments", refuse)
    assert Run(Switch, {})()["problem"] == "the code changed"


def test_without_a_plan_it_fails_as_any_module_does() -> None:
    run = Run(Switch, {"failed": True, "msg": "it is broken"})
    assert run.action.run(task_vars={}) == {"failed": True, "msg": "it is broken"}


@pytest.mark.parametrize("stage", REGISTERED)
def test_after_a_failure_nothing_is_done(stage: str) -> None:
    run = Run(Switch, {})
    found = run(**{f"__gunicorn_stage_{stage}": FAILED})
    assert (found["skipped"], run.asked) == (True, [])


@pytest.mark.parametrize(
    "earlier", [{"problem": "of another application", "plan": "then"}, {"skipped": True}, {"changed": True}]
)
def test_what_another_plan_left_does_not_count(earlier: Data) -> None:
    run = Run(Switch, {"changed": True})
    assert run(__gunicorn_stage_code=earlier) == {"changed": True}


# The task that fails


def test_the_result_fails_with_the_cause_and_gives_the_lock_back() -> None:
    run = Run(Result, {})
    found = run(__gunicorn_stage_venv=FAILED, __gunicorn_stage_switch={"skipped": True})
    assert (found["failed"], found["msg"]) == (True, "shop: the disk is full")
    assert [(name, args["state"]) for name, args in run.asked] == [("pyweb.deploy.gunicorn_lock", "released")]


@pytest.mark.parametrize(
    ("stage", "reason"),
    [({"problem": "shop: a\nb", "reason": "it is b"}, "it is b"), ({"problem": "shop: a\nb"}, "shop: a")],
)
def test_the_text_is_printed_once_below_its_reason(stage: Data, reason: str) -> None:
    found = Run(Result, {})(__gunicorn_stage_venv={**stage, "plan": "now"})
    assert found == {"failed": True, "msg": "shop: a\nb", "reason": reason}


def test_ansible_shows_no_error_behind_it() -> None:
    """It would repeat the text of the error that was caught."""
    with pytest.raises(AnsibleAction) as found:
        fail("gunicorn_bind: got 8000", "gunicorn_bind: got 8000")
    assert found.value.__suppress_context__


def test_a_deploy_that_went_well_costs_nothing_more() -> None:
    run = Run(Result, {})
    assert (run(__gunicorn_stage_switch={"changed": True}), run.asked) == ({}, [])


@pytest.mark.parametrize("last", sorted(set(REGISTERED) - set(OURS)))
def test_the_lock_is_given_back_where_no_stage_does(last: str) -> None:
    run = Run(Result, {})
    assert run(__gunicorn_plan={**PLAN, "stages": ["switch", last]}) == {}
    assert len(run.asked) == 1


def test_a_task_of_the_user_that_failed_is_remembered() -> None:
    run = Run(Result, {}, arguments={"problem": "gunicorn_drain_tasks: no route to host"})
    drained = run()
    assert (drained["problem"], drained["plan"], run.asked) == ("gunicorn_drain_tasks: no route to host", "now", [])
    assert Run(Result, {})(__gunicorn_stage_drain=drained)["msg"] == "gunicorn_drain_tasks: no route to host"


# Debian packages

PACKAGES = {"packages": ["ufw", "procps"], "missing": ["ufw"]}


def test_packages_come_by_apt_and_are_written_down() -> None:
    run = Run(
        Packages,
        {"changed": True, "diff": {"prepared": "ufw"}},
        {"changed": True, "diff": [{"after": "ufw\n"}]},
        arguments=PACKAGES,
    )
    found = run()
    assert [name for name, _arguments in run.asked] == ["ansible.builtin.apt", "pyweb.deploy.gunicorn_packages"]
    apt = run.asked[0][1]
    assert (apt["name"], apt["update_cache"], apt["install_recommends"]) == (["ufw", "procps"], True, False)
    assert apt["lock_timeout"] > 60, "the apt of a run that was killed goes on"
    assert (found["changed"], found["diff"]) == (True, [{"prepared": "ufw"}, {"after": "ufw\n"}])


def test_where_none_is_missing_there_is_nothing_to_write_down() -> None:
    run = Run(Packages, {"changed": False}, arguments={**PACKAGES, "missing": []})
    assert (run()["changed"], len(run.asked)) == (False, 1)
    run = Run(Packages, {"changed": False}, arguments={**PACKAGES, "missing": [], "unrecorded": True})
    run()
    assert len(run.asked) == 2, "but where a run was cut off"


def test_check_mode_asks_no_apt() -> None:
    run = Run(Packages, {"changed": False}, check=True, arguments=PACKAGES)
    assert run()["changed"] is True
    assert [name for name, _arguments in run.asked] == ["pyweb.deploy.gunicorn_packages"]


def test_packages_that_cannot_be_had() -> None:
    run = Run(Packages, {"failed": True, "msg": "No package matching 'uwf' is available"}, arguments=PACKAGES)
    assert (run()["problem"], len(run.asked)) == ("No package matching 'uwf' is available", 1)


@pytest.mark.parametrize("check", [False, True])
def test_packages_are_removed_with_their_list(check: bool) -> None:
    run = Run(Packages, {"changed": True}, check=check, arguments={"packages": ["ufw"], "state": "absent"})
    assert run()["changed"] is True
    assert [name.rpartition(".")[2] for name, _arguments in run.asked] == ["apt", "gunicorn_packages"][check:]
    if not check:
        assert run.asked[0][1] == {"name": ["ufw"], "state": "absent", "purge": True, "lock_timeout": 600}


def test_packages_that_others_need_stay() -> None:
    run = Run(Packages, {}, arguments={"packages": ["ufw"], "state": "absent", "needed_by": ["fail2ban"]})
    found = run()
    assert (found["changed"], run.asked) == (False, [])
    assert "ufw stay, because apt would remove fail2ban too" in found["msg"]
