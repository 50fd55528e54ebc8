"""Check and switch: what they do to a host, and that a fault at any call of them loses nothing.

Each case lets one call fail, or kills the module before or after it. Then the role runs again: something that passed
its check serves all the time, the second run finishes the work, and the third finds nothing to do.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pyweb.deploy.plugins.module_utils.health import UnhealthyError
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Check, Switch
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import SystemdError
from ansible_collections.pyweb.deploy.plugins.plugin_utils.plan import make_plan
from ansible_collections.pyweb.deploy.tests.unit.machine import Killed, Machine, read_json

Data = dict[str, Any]


def wanted(code: str, *addresses: str) -> Data:
    """What the role wants of a release, as far as a switch depends on it."""
    addresses = addresses or ("0.0.0.0:8000",)
    streams = "".join(f"ListenStream={address}\n" for address in addresses)
    found: Data = {"name": "shop", "user": "shop", "create_user": True, "restore": "", "force": False}
    found.update(
        code=code, venv="vvvvvvvvvvvv", python="python3", packages=[], firewall_packages=[], tls=False, tools=[]
    )
    found.update(existing="", source_problems=[], credentials={}, release_files={}, secrets=[], secrets_digest="")
    found.update(settings={}, environment=[], check_config="", log_rotation="", rules=None, firewall_enable=False)
    found.update(drain=False, enroll=False)
    found["addresses"] = [
        {
            "host": address.rpartition(":")[0],
            "port": int(address.rpartition(":")[2]),
            "path": "",
            "listen_stream": address,
            "needs_rule": True,
            "destination": "any",
        }
        for address in addresses
    ]
    found["policy"] = {"health": {"path": "/", "timeout": 30, "watch": 3}, "firewall": None, "keep": 5}
    found["slot_unit"] = "# pyweb.deploy\nEnvironment=GUNICORN_RELEASE=@release@\n# @slot@\n"
    found["check_unit"] = "# pyweb.deploy\nEnvironment=GUNICORN_RELEASE=@release@\n# check\n"
    found["private_socket"] = "# pyweb.deploy @slot@\n"
    found["public_socket"] = f"# pyweb.deploy\n{streams}"
    return found


class Role:
    """The role's stages check and switch, with the arguments that its tasks give them."""

    def __init__(self, machine: Machine, tasks: list[Data]) -> None:
        self.machine = machine
        self.releases: dict[str, Data] = {}
        switching = next(task["block"] for task in tasks if "block" in task)
        found = [*tasks, *switching]
        self.arguments = {
            stage: next(
                task[f"pyweb.deploy.gunicorn_{stage}"] for task in found if f"pyweb.deploy.gunicorn_{stage}" in task
            )
            for stage in ("check", "switch")
        }

    def plan(self, desired: Data) -> Data:
        """Compare, and write what the stages before would have written of the release."""
        found = make_plan(desired, self.machine.observe(desired, self.releases))
        assert found["problems"] == []
        if found["id"] not in self.releases:
            self.releases[found["id"]] = found["record"]
            os.mkdir(self.machine.layout.release(found["id"]))
            found = make_plan(desired, self.machine.observe(desired, self.releases))
        return found

    def run(self, desired: Data, check: bool = False) -> Data:
        """Run the stages as tasks/deploy.yml does; returns what they told."""
        plan, steps, written = self.plan(desired), [], []
        health = plan["health"]
        for stage, worker in (("check", Check), ("switch", Switch)):
            if stage not in plan["stages"]:
                continue
            host = self.machine.host(check, health)
            try:
                health = worker(host, {**self.given(stage, plan), "health": health, "obsolete": []}).run() or health
            finally:
                steps += [step["step"] for step in host.steps.entries]
                written += host.files.written
        return {"steps": steps, "written": written, "changed": bool(steps or written)}

    def given(self, stage: str, plan: Data) -> Data:
        """Arguments of a task, with their values of the plan."""
        values = {key: re.findall(r"__gunicorn_plan\.(\w+)", str(text)) for key, text in self.arguments[stage].items()}
        return {key: plan[names[0]] for key, names in values.items() if names}

    def serves(self, desired: Data) -> None:
        """Require that exactly this serves, from the slot with the service's name, and that it is recorded."""
        identity, machine = self.plan(desired)["id"], self.machine
        live = machine.layout.live()
        assert machine.running == {live: identity}
        for address in (each["listen_stream"] for each in desired["addresses"]):
            assert machine.answers(address) == {identity}
        assert machine.open == {each["listen_stream"] for each in desired["addresses"]}
        directory = Path(machine.layout.release(identity))
        assert read_json(directory / "served") == desired["policy"]["health"]
        assert read_json(Path(machine.layout.policy)) == desired["policy"]
        assert not (directory / "failed").exists()
        assert Path(machine.layout.home, "current").readlink().name == identity


@pytest.fixture
def tasks(role: Path) -> list[Data]:
    found: list[Data] = yaml.safe_load((role / "tasks/deploy.yml").read_text())
    return found


NewRole = Callable[[], Role]


@pytest.fixture
def new_role(tmp_path: Path, tasks: list[Data], monkeypatch: pytest.MonkeyPatch) -> NewRole:
    """Give the role on a new machine."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # a disk may take a while, thousands of times
    numbers = iter(range(10000))
    return lambda: Role(Machine(tmp_path / str(next(numbers))), tasks)


OLD, NEW = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


def nothing(_role: Role) -> None:
    """Start from a new server."""


def serving(*addresses: str) -> Callable[[Role], None]:
    def prepare(role: Role) -> None:
        role.run(wanted(OLD, *addresses))

    return prepare


def serving_from_green(role: Role) -> None:
    role.run(wanted("cccccccccccc"))
    role.run(wanted(OLD))


def with_leftovers(role: Role) -> None:
    """A run was killed while both slots ran, the alias moved already, and it is another release's."""
    role.run(wanted(OLD))
    machine = role.machine
    machine.unhealthy[role.plan(wanted("dddddddddddd"))["id"]] = ""
    for number in range(200):
        machine.calls, machine.fault = 0, (number, "before")
        try:
            role.run(wanted("dddddddddddd"))
        except Killed:
            if {"blue", "green"} <= machine.running.keys():
                break
    machine.fault = (-1, "")
    assert set(machine.running) == {"blue", "green"}


def stopped(role: Role) -> None:
    """Somebody stopped the application."""
    role.run(wanted(OLD))
    role.machine.stop_unit("shop-blue.service")


def gone_back(role: Role) -> None:
    """The new one has served before."""
    role.run(wanted(NEW))
    role.run(wanted(OLD))


STATES: dict[str, tuple[Callable[[Role], None], list[str]]] = {
    "a new server": (nothing, []),
    "the old one serves": (serving(), []),
    "it serves from the other slot": (serving_from_green, []),
    "the rest of a killed run": (with_leftovers, []),
    "a stopped application": (stopped, []),
    "back to an earlier one": (gone_back, []),
    "another port": (serving(), ["0.0.0.0:9000"]),
    "one more port": (serving(), ["0.0.0.0:8000", "0.0.0.0:9000"]),
    "a port is removed": (serving("0.0.0.0:8000", "0.0.0.0:9000"), ["0.0.0.0:8000"]),
    "the port of another address": (serving(), ["127.0.0.1:8000"]),
}
"""Where a run starts from, and the addresses that it wants."""

KEEPS_THE_PORT = [
    state for state, (_prepare, addresses) in STATES.items() if not addresses and "new server" not in state
]


def idle(plan: Data) -> bool:
    """Tell whether there is nothing to do, but for what would be pruned: that is no part of these tests."""
    return not (plan["activate"] or plan["check"] or plan["policy_change"])


@pytest.mark.parametrize("state", STATES)
def test_a_switch(new_role: NewRole, state: str) -> None:
    role, (prepare, addresses) = new_role(), STATES[state]
    prepare(role)
    old = role.machine.layout.live()
    assert role.run(wanted(NEW, *addresses))["changed"]
    role.serves(wanted(NEW, *addresses))
    assert role.machine.layout.live() == {"": "blue", "blue": "green", "green": "blue"}[old]
    assert idle(role.plan(wanted(NEW, *addresses)))


@pytest.mark.parametrize("state", STATES)
def test_check_mode_tells_what_is_done_and_does_nothing(new_role: NewRole, state: str) -> None:
    role, (prepare, addresses) = new_role(), STATES[state]
    prepare(role)
    role.plan(wanted(NEW, *addresses))
    before = copy.deepcopy({**vars(role.machine), "layout": "", "calls": 0})
    predicted = role.run(wanted(NEW, *addresses), check=True)
    assert {**vars(role.machine), "layout": "", "calls": 0} == before
    done = role.run(wanted(NEW, *addresses))
    assert predicted == done


def faults(new_role: NewRole, state: str, broken: str) -> list[tuple[int, str]]:
    """Each call of the run, with each fault."""
    role = new_role()
    calls = attempt(role, state, broken)
    return [(number, what) for number in range(calls) for what in ("fails", "before", "after")]


def attempt(role: Role, state: str, broken: str, fault: tuple[int, str] = (-1, "")) -> int:
    """Run once from a state, with a fault; returns the number of calls."""
    prepare, addresses = STATES[state]
    prepare(role)
    new = wanted(NEW, *addresses)
    if broken:
        role.machine.unhealthy[role.plan(new)["id"]] = broken
    role.machine.calls, role.machine.fault = 0, fault
    with contextlib.suppress(Killed, UnhealthyError, SystemdError, OSError):
        role.run(new)
    role.machine.fault = (-1, "")
    return role.machine.calls


@pytest.mark.parametrize("broken", ["", "check", "slot"])
@pytest.mark.parametrize("state", STATES)
def test_a_fault_at_any_call(new_role: NewRole, state: str, broken: str) -> None:
    new, old = wanted(NEW, *STATES[state][1]), wanted(OLD)
    cases = faults(new_role, state, broken)
    assert len(cases) > 20
    for fault in cases:
        role = new_role()
        attempt(role, state, broken, fault)
        machine, identity = role.machine, role.plan(new)["id"]
        if state in KEEPS_THE_PORT and state != "a stopped application":
            served = machine.answers("0.0.0.0:8000")
            passed = {
                role.plan(each)["id"] for each in (old, wanted("dddddddddddd"), *([] if broken == "check" else [new]))
            }
            assert served, (fault, "the site is up")
            assert served <= passed, (fault, "by what passed its check")
        if broken:
            runs_already = role.plan(new)["serving"] == identity
            with pytest.raises(UnhealthyError, match="goes on serving" if runs_already else "takes no traffic"):
                role.run(new)
            assert (Path(machine.layout.release(identity)) / "failed").exists(), fault
            assert list(machine.running.values()).count(identity) == runs_already, fault
            machine.unhealthy.clear()
        role.run(new)
        role.serves(new)
        assert idle(role.plan(new)), (fault, role.plan(new)["summary"])


def asked(desired: Data, path: str, keep: int = 5) -> Data:
    """Want the same, but for the policy."""
    return {
        **desired,
        "policy": {**desired["policy"], "health": {**desired["policy"]["health"], "path": path}, "keep": keep},
    }


def test_a_changed_policy_is_written_once_what_serves_passes_it(new_role: NewRole) -> None:
    role = new_role()
    serving()(role)
    before, machine = wanted(OLD), role.machine
    machine.answers_at[role.plan(before)["id"]] = {"/", "/healthz"}
    assert role.run(asked(before, "/healthz", 7), check=True)["changed"]
    role.serves(before)
    steps = role.run(asked(before, "/healthz", 7))["steps"]
    assert steps == [f"ask release {role.plan(before)['id']}, which serves, the new health check"]
    role.serves(asked(before, "/healthz", 7))
    assert role.run(asked(before, "/healthz", 9))["steps"] == [], "it has passed that already"
    role.serves(asked(before, "/healthz", 9))
    with pytest.raises(UnhealthyError, match="fails the new health check, which isn't used then") as failure:
        role.run(asked(before, "/wrong", 2))
    assert "\n\ngunicorn_health.path: got '/wrong', " in str(failure.value)
    role.serves(asked(before, "/healthz", 9))
    assert idle(role.plan(asked(before, "/healthz", 9)))


def test_a_fault_at_any_call_while_the_policy_changes(new_role: NewRole) -> None:
    new = asked(wanted(OLD), "/healthz", 7)

    def attempt(fault: tuple[int, str]) -> Role:
        role = new_role()
        serving()(role)
        role.machine.calls, role.machine.fault = 0, fault
        with contextlib.suppress(Killed, UnhealthyError, SystemdError, OSError):
            role.run(new)
        role.machine.fault = (-1, "")
        return role

    calls = attempt((-1, "")).machine.calls
    assert calls >= 5
    for fault in ((number, what) for number in range(calls) for what in ("fails", "before", "after")):
        role = attempt(fault)
        assert role.machine.answers("0.0.0.0:8000") == {role.plan(new)["id"]}, fault
        role.run(new)
        role.serves(new)
        assert idle(role.plan(new)), fault


def gone_on(role: Role) -> tuple[Data, Data]:
    """Serve one that passed another health check, then one that passes today's; what they are."""
    old, new = wanted(OLD), asked(wanted(NEW), "/healthz")
    for desired, path in ((old, "/"), (new, "/healthz")):
        role.machine.answers_at[role.plan(desired)["id"]] = {path}
        role.run(desired)
    return old, new


def test_going_back_asks_todays_check_and_then_what_was_passed(new_role: NewRole) -> None:
    role = new_role()
    old, new = gone_on(role)
    back = {**old, "restore": role.plan(old)["id"]}
    role.run(back)
    role.serves(old)
    assert idle(role.plan(back))
    forth = {**new, "restore": role.plan(new)["id"]}
    role.machine.answers_at[forth["restore"]] = {"/", "/healthz"}
    role.run(forth)
    role.serves(asked(new, "/"))
    role.machine.answers_at[back["restore"]] = set()
    with pytest.raises(UnhealthyError, match="takes no traffic"):
        role.run(back)


def test_a_fault_at_any_call_while_going_back_to_one_that_passed_another_check(new_role: NewRole) -> None:
    def attempt(fault: tuple[int, str]) -> tuple[Role, Data, Data]:
        role = new_role()
        old, _new = gone_on(role)
        back = {**old, "restore": role.plan(old)["id"]}
        role.machine.calls, role.machine.fault = 0, fault
        with contextlib.suppress(Killed, UnhealthyError, SystemdError, OSError):
            role.run(back)
        role.machine.fault = (-1, "")
        return role, old, back

    calls = attempt((-1, ""))[0].machine.calls
    assert calls >= 18
    for fault in ((number, what) for number in range(calls) for what in ("fails", "before", "after")):
        role, old, back = attempt(fault)
        assert role.machine.answers("0.0.0.0:8000"), fault
        role.run(back)
        role.serves(old)
        assert idle(role.plan(back)), fault


@pytest.mark.parametrize("broken", ["check", "slot"])
@pytest.mark.parametrize("state", STATES)
def test_a_broken_release_changes_nothing(new_role: NewRole, state: str, broken: str) -> None:
    role, (prepare, addresses) = new_role(), STATES[state]
    prepare(role)
    machine, new = role.machine, wanted(NEW, *addresses)
    serving_before = role.plan(new)["serving"]
    machine.unhealthy[role.plan(new)["id"]] = broken
    with pytest.raises(UnhealthyError) as failure:
        role.run(new)
    lines = str(failure.value).splitlines()
    assert lines[0] == f"shop: release {role.plan(new)['id']} takes no traffic, because it failed its check."
    assert lines[1] == (f"Release {serving_before} goes on serving." if serving_before else "Nothing served before.")
    assert lines[-1] in ("shop-check.service: it ended", "shop-blue.service: a worker died")
    assert (Path(machine.layout.release(role.plan(new)["id"])) / "failed").read_text() == f"{failure.value}\n"
    assert role.plan(new)["serving"] == serving_before
    assert list(machine.running.values()) == ([serving_before] if serving_before else [])


def test_at_the_end_stands_what_to_set_and_what_the_code_has_for_it(new_role: NewRole) -> None:
    host = new_role().machine.host()
    problem = UnhealthyError("no such name", "Failed to find attribute 'application' in 'wsgi'.")
    end = "\n\ngunicorn_wsgi_app: wsgi has no 'application'."
    assert str(host.refuse("abc", "", problem)).endswith(f"{end} Example: gunicorn_wsgi_app: wsgi:app")
    code = Path(host.layout.release("abc"), "code")
    code.mkdir(parents=True)
    (code / "wsgi.py").write_text("import os\n\n\ndef create_app():\n    return None\n")
    refusal = host.refuse("abc", "", problem)
    assert str(refusal).endswith(f"{end} It has wsgi:create_app(). Example: gunicorn_wsgi_app: wsgi:create_app()")
    assert refusal.reason == "no such name"


def test_the_old_one_that_can_not_be_put_back_is_told(new_role: NewRole, monkeypatch: pytest.MonkeyPatch) -> None:
    role = new_role()
    serving()(role)
    role.machine.unhealthy[role.plan(wanted(NEW))["id"]] = "slot"

    def fail(_self: Switch) -> None:
        raise SystemdError("systemctl enable failed: Read-only file system")

    monkeypatch.setattr(Switch, "put_back", fail)
    with pytest.raises(SystemdError, match="a worker died\nThe old release isn't back as it was: systemctl enable"):
        role.run(wanted(NEW))


def test_what_nothing_needs_is_removed_its_mark_first(new_role: NewRole) -> None:
    """A venv of which only a part is left must not look like a whole one."""
    role = new_role()
    serving()(role)
    host, venv = role.machine.host(), Path(role.machine.layout.home, "venvs", "old")
    (venv / "bin").mkdir(parents=True)
    (venv / ".complete").touch()
    role.machine.calls, role.machine.fault = 0, (2, "before")
    plan = {**role.given("switch", role.plan(wanted(OLD))), "obsolete": [str(venv)]}
    with pytest.raises(Killed):
        Switch(host, plan).prune()
    assert (venv.exists(), (venv / ".complete").exists()) == (True, False)
    role.machine.fault = (-1, "")
    Switch(host, plan).prune()
    assert not venv.exists()
    assert host.files.written == [str(venv)]
