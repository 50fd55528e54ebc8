"""Each word of the table at the end of a run is true."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible import constants
from ansible_collections.pyweb.deploy.plugins.callback import gunicorn_summary
from ansible_collections.pyweb.deploy.plugins.plugin_utils.removal import make_removal
from ansible_collections.pyweb.deploy.plugins.plugin_utils.summary import Summary
from ansible_collections.pyweb.deploy.tests.unit.observed import NEW_SERVER

PLAN: dict[str, Any] = {
    "problems": [],
    "name": "shop",
    "restore": False,
    "remove": False,
    "serving": "aaa",
    "id": "bbb",
    "slot": "green",
    "switch": True,
    "work": True,
}
SAME = {**PLAN, "id": "aaa"}


def planned(plan: dict[str, Any], *, check: bool = False) -> Summary:
    summary = Summary()
    summary.seen("web1", 10)
    summary.planned("web1", 11, plan, check)
    return summary


def result(summary: Summary) -> str:
    return summary.lines()[-1][1]


@pytest.mark.parametrize(
    ("change", "word", "foretold"),
    [
        ({}, "deployed", "would deploy"),
        ({"restore": True}, "gone back", "would go back"),
        ({"id": "aaa"}, "started again", "would start again"),
        ({"id": "aaa", "switch": False}, "adjusted", "would adjust"),
    ],
)
def test_work(change: dict[str, Any], word: str, foretold: str) -> None:
    for check, wanted in ((False, word), (True, foretold)):
        summary = planned({**PLAN, **change}, check=check)
        assert result(summary) == "not finished"
        summary.released("web1", 27)
        assert result(summary) == wanted


def test_a_removal() -> None:
    desired = {"name": "shop", "drain": False, "remove_data": True, "remove_packages": False}
    plan = make_removal(desired, {**NEW_SERVER, "shared": {"/var/lib/gunicorn": ["shop"]}})
    for check, word in ((False, "removed"), (True, "would remove")):
        summary = planned(plan, check=check)
        summary.released("web1", 13)
        assert result(summary) == word
    summary = planned(plan)
    summary.failed("web1", 12, "it broke")
    assert result(summary) == "failed, run again to remove the rest: it broke"
    nothing = make_removal(desired, NEW_SERVER)
    assert result(planned(nothing)) == "unchanged"


def test_a_row() -> None:
    summary = planned(PLAN)
    summary.released("web1", 27.4)
    summary.seen("web1", 90)
    assert [line for line, _result in summary.lines()] == [
        "host  application  from  to   seconds  result",
        "web1  shop         aaa   bbb  17       deployed",
    ]


@pytest.mark.parametrize("check", [False, True])
def test_nothing_to_do(check: bool) -> None:
    summary = planned({**SAME, "switch": False, "work": False}, check=check)
    summary.seen("web1", 13)
    assert result(summary) == "unchanged"


def test_a_failure_before_the_switch_or_in_it() -> None:
    summary = planned(PLAN)
    summary.failed("web1", 20, "it broke")
    summary.released("web1", 21)
    summary.failed("web1", 22, "it broke")
    assert result(summary) == "failed, aaa serves on: it broke"


def test_a_failure_after_the_switch() -> None:
    summary = planned(PLAN)
    summary.switched("web1", 19)
    summary.failed("web1", 20, "it broke")
    assert result(summary) == "failed, bbb serves on: it broke"


def test_the_reason_of_the_stage_counts_in_a_few_words() -> None:
    summary = planned(PLAN)
    summary.problem("web1", 20, "the application failed to start: ModuleNotFoundError: No module named 'flask'")
    summary.problem("web1", 21, "gunicorn_enroll_tasks: no route to host")
    summary.failed("web1", 22, "shop: release bbb takes no traffic, because it failed its check.")
    assert result(summary) == "failed, aaa serves on: ModuleNotFoundError: No module named 'flask'"
    summary.planned("web1", 23, PLAN, check=False)
    summary.failed("web1", 24, "x" * 100)
    assert result(summary) == f"failed, aaa serves on: {'x' * 71}…"


def test_a_first_deploy_that_fails() -> None:
    summary = planned({**PLAN, "serving": ""})
    summary.failed("web1", 20, "it broke")
    assert result(summary) == "failed, nothing serves: it broke"


@pytest.mark.parametrize("problems", [[], ["gunicorn_bind: got"]])
def test_a_failure_that_changed_nothing(problems: list[str]) -> None:
    summary = Summary()
    summary.seen("web1", 10)
    if problems:
        summary.planned("web1", 11, {"problems": problems, "name": "shop", "work": False}, check=False)
    summary.failed("web1", 12, "it broke")
    assert result(summary) == "failed, nothing was changed: it broke"


def test_a_failure_that_the_role_gets_over() -> None:
    summary = planned(PLAN)
    summary.failed("web1", 12, "it broke")
    summary.released("web1", 20)
    assert result(summary) == "deployed"


def test_hosts_that_the_run_did_not_get_to() -> None:
    summary = Summary()
    summary.expect(["web1", "web2", "web3"])
    summary.seen("web1", 1)
    summary.unreachable("web2", 2)
    summary.seen("web3", 1)
    summary.begin_play()
    summary.seen("web3", 5)
    summary.planned("web3", 6, PLAN, check=False)
    summary.released("web3", 9)
    assert [line.split() for line, _result in summary.lines()[1:]] == [
        ["web1", "-", "-", "-", "-", "not", "reached"],
        ["web2", "-", "-", "-", "-", "unreachable"],
        ["web3", "shop", "aaa", "bbb", "4", "deployed"],
    ]


def test_a_host_that_dies_on_the_way() -> None:
    summary = planned(PLAN)
    summary.unreachable("web1", 20)
    assert result(summary) == "unreachable"


def test_two_applications() -> None:
    summary = planned(PLAN)
    summary.released("web1", 20)
    summary.planned("web1", 21, {**SAME, "name": "blog", "work": False}, check=False)
    summary.failed("web1", 24, "it broke")
    assert [[*line.split()[:2], result] for line, result in summary.lines()[1:]] == [
        ["web1", "shop", "deployed"],
        ["web1", "blog", "unchanged"],
        ["web1", "-", "failed, nothing was changed: it broke"],
    ]


def test_plays_without_the_role_print_nothing() -> None:
    assert Summary().lines() == []
    other = SimpleNamespace(get_name=lambda: "somebody.else.gunicorn", _from_files={})
    assert not gunicorn_summary.is_ours(SimpleNamespace(_role=other))
    for part, ours in ({}, True), ({"tasks": "reach"}, True), ({"tasks": "status"}, False):
        role = SimpleNamespace(get_name=lambda: gunicorn_summary.ROLE, _from_files=part)
        assert gunicorn_summary.is_ours(SimpleNamespace(_role=role)) == ours
    assert not gunicorn_summary.is_ours(SimpleNamespace(_role=None))


def outcome(action: str, **found: Any) -> SimpleNamespace:
    """What a callback is told about a task of the role."""
    role = SimpleNamespace(get_name=lambda: gunicorn_summary.ROLE, _from_files={})
    task = SimpleNamespace(_role=role, action=action, resolved_action=action, check_mode=False, args={})
    return SimpleNamespace(task=task, host=SimpleNamespace(get_name=lambda: "web1"), result=found)


def test_the_callback_hears_of_the_reason() -> None:
    callback = gunicorn_summary.CallbackModule()
    callback.v2_runner_on_ok(outcome(gunicorn_summary.PLAN, **PLAN, fetch={}))
    callback.v2_runner_on_ok(outcome("pyweb.deploy.gunicorn_check", problem="shop: long\ntext", reason="it is short"))
    callback.v2_runner_on_failed(outcome("pyweb.deploy.gunicorn_result", msg="shop: long\ntext"))
    assert result(callback._summary) == "failed, aaa serves on: it is short"
    callback = gunicorn_summary.CallbackModule()
    callback.v2_runner_on_failed(outcome(gunicorn_summary.PLAN, msg="gunicorn_bind: got 8000\nand more"))
    assert result(callback._summary) == "failed, nothing was changed: gunicorn_bind: got 8000"


def test_colors() -> None:
    assert gunicorn_summary.color_of("failed, aaa serves on") == constants.COLOR_ERROR
    assert gunicorn_summary.color_of("unreachable") == constants.COLOR_UNREACHABLE
    assert gunicorn_summary.color_of("deployed") == constants.COLOR_CHANGED
