"""A removal on the host: what it does, and that a fault at any call of it leaves nothing behind in the end.

Each case lets one call fail, or kills the module before or after it. Then the role runs again: the second run removes
the rest, and the third finds nothing to do.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import pwd
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.pyweb.deploy.plugins.module_utils import lock
from ansible_collections.pyweb.deploy.plugins.module_utils.files import Files, temporary
from ansible_collections.pyweb.deploy.plugins.module_utils.remove import Remove
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError
from ansible_collections.pyweb.deploy.plugins.modules import gunicorn_remove
from ansible_collections.pyweb.deploy.plugins.plugin_utils.removal import make_removal
from ansible_collections.pyweb.deploy.tests.unit.machine import Killed, Machine, PlayedFiles

Data = dict[str, Any]

LEASE = {"holder": {"run": "a"}, "last_run": "", "dead": "", "seconds": 60, "then": 0}

COMPLETE = {"code/c1": ".complete", "venvs/v1": ".complete", "releases/r1": "release.json"}
"""Directories of /opt/shop, and the mark that says that all of one is there."""


class Role:
    """The role's removal, with the arguments that its task gives the module."""

    def __init__(self, machine: Machine, task: Data) -> None:
        self.machine = machine
        self.desired = {"name": "shop", "drain": False, "remove_data": False, "remove_packages": False}
        names = {key: re.findall(r"__gunicorn_plan\.(\w+)", str(text)) for key, text in task.items()}
        self.arguments = {key: found[0] for key, found in names.items() if found}

    def plan(self) -> Data:
        return make_removal(self.desired, self.machine.look())

    def rooted(self, value: list[str]) -> list[str]:
        """Paths as they are on the machine."""
        return [f"{self.machine.root}{item}" if item.startswith("/") else item for item in value]

    def run(self, check: bool = False) -> Data:
        """Remove; returns what the module tells."""
        plan, host = self.plan(), self.machine.host(check)
        given = {key: self.rooted(plan[name]) for key, name in self.arguments.items()}
        Remove(host, self.machine.run, given).run()
        steps = [step["step"] for step in host.steps.entries if step["changed"]]
        return {"steps": steps, "diff": host.files.diff + host.steps.diff}

    def left(self) -> list[str]:
        """Files, links and directories of the application, and what else is left of it."""
        machine = self.machine
        found = [str(path.relative_to(machine.root)) for path in machine.root.rglob("*shop*")]
        found += [str(path.relative_to(machine.root)) for path in machine.root.rglob(".complete")]
        return [*sorted(found), *machine.running, *machine.users, *machine.read, *machine.failed]

    def half(self) -> list[str]:
        """Directories that count as complete, and are not."""
        home = Path(self.machine.layout.home)
        return [
            path
            for path, mark in COMPLETE.items()
            if (home / path / mark).exists() and sorted(os.listdir(home / path)) != sorted([mark, "a", "z"])
        ]


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


UNITS = (
    "shop.socket",
    *(f"shop-{slot}.{kind}" for slot in ("blue", "green", "check") for kind in ("service", "socket")),
)


def serving(machine: Machine) -> None:
    """It serves from the slot blue."""
    for unit in UNITS:
        socket = "ListenStream=0.0.0.0:8000\n" if unit == "shop.socket" else ""
        write(Path(machine.layout.units, unit), f"# pyweb.deploy\nEnvironment=GUNICORN_RELEASE=a1\n{socket}")
    machine.enable_unit("shop-blue.service")
    machine.enable_unit("shop.socket")
    machine.start_unit("shop.socket")
    home = Path(machine.layout.home)
    for path, mark in COMPLETE.items():
        for name in ("a", mark, "z"):
            write(home / path / name)
    write(home / ".pyweb.deploy", "layout: 2\n")
    write(home / "check_config.py")
    (home / "current").symlink_to("releases/r1")
    machine.users = {"shop": "Gunicorn application shop (pyweb.deploy)"}
    machine.users["shop-build"] = "Builds packages of shop (pyweb.deploy)"
    for place in ("var/lib", "var/log"):
        write(machine.root / place / "gunicorn/shop/data")
        machine.written.add(str(machine.root / place / "gunicorn/shop"))
    write(machine.root / "run/gunicorn/shop-blue.sock")
    write(machine.root / "etc/logrotate.d/pyweb.deploy-shop")


def two_slots(machine: Machine) -> None:
    """A run was killed in the middle of a switch."""
    serving(machine)
    machine.start_slot("green")


def check_with_commands(machine: Machine) -> None:
    serving(machine)
    machine.start_slot("check")
    machine.commands = True


def build(machine: Machine) -> None:
    """A run was killed while packages were built."""
    serving(machine)
    write(machine.root / "run/systemd/system/shop-build.service", "# pyweb.deploy\n")
    write(Path(machine.layout.home, "build", "work", "a"))
    machine.running["build"] = ""


def crashed(machine: Machine) -> None:
    """Stopped by hand, and another slot failed."""
    serving(machine)
    machine.stop_unit("shop.socket")
    machine.stop_unit("shop-blue.service")
    machine.failed.add("shop-green.service")


def first_build(machine: Machine) -> None:
    """A first deploy was killed before there was a unit."""
    home = Path(machine.layout.home)
    write(home / "code/c1/a")
    write(home / ".pyweb.deploy", "layout: 2\n")
    machine.users["shop"] = "Gunicorn application shop (pyweb.deploy)"


def without_a_unit(machine: Machine) -> None:
    """Stopped, and somebody has removed the unit to which the service's name leads."""
    crashed(machine)
    Path(machine.layout.units, "shop-blue.service").unlink()
    machine.reload()


def beside_another(machine: Machine) -> None:
    serving(machine)
    write(machine.root / "opt/blog/.pyweb.deploy", "layout: 2\n")
    for place in ("run", "var/lib", "var/log"):
        write(machine.root / place / "gunicorn/blog/data")


def of_an_earlier_layout(machine: Machine) -> None:
    """As the role's first versions made it: other names of directories, and a mark that has no number."""
    serving(machine)
    home = Path(machine.layout.home)
    (home / ".pyweb.deploy").unlink()
    (home / ".pyweb.deploy").mkdir()
    (home / "releases").rename(home / "generations")
    (home / "code").rename(home / "releases")


STATES = [
    *(serving, two_slots, check_with_commands, build, crashed, first_build, without_a_unit, beside_another),
    of_an_earlier_layout,
]
WITH_DATA = [*((state, False) for state in STATES), (serving, True), (beside_another, True)]

NewRole = Callable[..., Role]


@pytest.fixture
def task(role: Path) -> Data:
    """Arguments of the role's task."""
    tasks = yaml.safe_load((role / "tasks/remove.yml").read_text())
    found: Data = next(each["pyweb.deploy.gunicorn_remove"] for each in tasks if "pyweb.deploy.gunicorn_remove" in each)
    assert found.pop("name") == "{{ gunicorn_name }}"
    found.pop("packages")  # which the module only asks about
    return found


@pytest.fixture
def new_role(tmp_path: Path, task: Data, monkeypatch: pytest.MonkeyPatch) -> NewRole:
    """Give the role on a new machine in some state."""
    numbers = iter(range(10000))
    current: list[Machine] = []

    def getpwnam(name: str) -> Any:
        return SimpleNamespace(pw_gecos=current[-1].users[name])

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)

    def make(state: Callable[[Machine], None], remove_data: bool = False) -> Role:
        current.append(Machine(tmp_path / str(next(numbers))))
        state(current[-1])
        current[-1].calls = 0
        made = Role(current[-1], task)
        made.desired["remove_data"] = remove_data
        return made

    return make


def kept(role: Role) -> list[str]:
    """What stays, where data may."""
    if role.desired["remove_data"]:
        return []
    return [path for path in ("var/lib/gunicorn/shop", "var/log/gunicorn/shop") if (role.machine.root / path).exists()]


@pytest.mark.parametrize(("state", "remove_data"), WITH_DATA)
def test_nothing_is_left(new_role: NewRole, state: Callable[[Machine], None], remove_data: bool) -> None:
    role = new_role(state, remove_data)
    role.run()
    assert role.left() == kept(role)
    assert not role.machine.written or remove_data
    assert role.machine.open is None
    assert not role.plan()["work"]
    places = {path: (role.machine.root / path / "gunicorn").exists() for path in ("run", "var/lib", "var/log")}
    if state is beside_another:
        assert all((role.machine.root / path / "gunicorn/blog/data").exists() for path in places)
    elif remove_data:
        assert not any(places.values())


def half_a_mark(machine: Machine) -> None:
    """A first deploy was killed while it wrote that."""
    Path(machine.layout.home, "releases").rmdir()
    write(Path(temporary(os.path.join(machine.layout.home, ".pyweb.deploy"))))


def test_half_of_a_mark_goes_too(new_role: NewRole) -> None:
    role = new_role(half_a_mark)
    role.run()
    assert role.left() == []
    assert not role.plan()["work"]


@pytest.mark.parametrize("state", STATES)
def test_check_mode_tells_what_is_done_and_does_nothing(new_role: NewRole, state: Callable[[Machine], None]) -> None:
    role = new_role(state)

    def shown() -> Any:
        return sorted(role.machine.root.rglob("*")), {**copy.deepcopy(vars(role.machine)), "layout": "", "calls": 0}

    before = shown()
    predicted = role.run(check=True)
    assert shown() == before
    assert predicted == role.run()
    assert predicted["diff"]


@pytest.mark.parametrize(("state", "remove_data"), WITH_DATA)
def test_a_fault_at_any_call(new_role: NewRole, state: Callable[[Machine], None], remove_data: bool) -> None:
    counting = new_role(state, remove_data)
    counting.run()
    assert counting.machine.calls > 5
    for number in range(counting.machine.calls):
        for what in ("fails", "before", "after"):
            role = new_role(state, remove_data)
            role.machine.fault = (number, what)
            with contextlib.suppress(Killed, SystemdError, StageError, OSError):
                role.run()
            assert role.half() == [], (number, what)
            role.machine.fault = (-1, "")
            role.run()
            assert role.left() == kept(role), (number, what)
            assert not role.plan()["work"], (number, what)
            assert role.run() == {"steps": [], "diff": []}


def test_the_port_is_closed_first_and_a_service_stopped_after_its_private_socket(new_role: NewRole) -> None:
    role = new_role(two_slots)
    steps = role.run()["steps"]
    assert steps == [
        "stop shop.socket",
        "stop shop-blue.socket",
        "stop shop-green.socket",
        "stop shop-blue.service",
        "stop shop-green.service",
        "disable it, so that nothing starts it",
        f"give root {role.machine.root}/var/lib/gunicorn/shop",
        f"give root {role.machine.root}/var/log/gunicorn/shop",
        "remove the user shop",
        "remove the user shop-build",
    ]


def test_a_service_that_a_request_wakes_meanwhile_is_stopped_too(
    new_role: NewRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = new_role(serving)
    machine = role.machine
    machine.running.clear()  # it crashed, and its socket is open
    stop = machine.stop_unit

    def wake(unit: str) -> None:
        if unit == "shop.socket":
            machine.start_slot("blue")
        stop(unit)

    monkeypatch.setattr(machine, "stop_unit", wake)
    assert "stop shop-blue.service" in role.run()["steps"]
    assert role.left() == kept(role)


def test_a_user_who_still_runs_something_is_told_and_goes_later(new_role: NewRole) -> None:
    role = new_role(serving)
    role.machine.running["check"] = "by hand"
    Path(role.machine.layout.units, "shop-check.service").unlink()
    with pytest.raises(StageError, match=r"^shop: userdel shop failed: userdel: user shop is currently used by"):
        role.run()
    role.machine.running.clear()
    role.run()
    assert role.left() == kept(role)


def a_unit(machine: Machine) -> None:
    write(Path(machine.layout.units, "shop-check.service"), "# of somebody else\n")


def the_alias(machine: Machine) -> None:
    Path(machine.layout.alias).unlink(missing_ok=True)
    write(Path(machine.layout.alias), "# of somebody else\n")


def a_user(machine: Machine) -> None:
    machine.users["shop"] = "The shop's owner"


def the_directory(machine: Machine) -> None:
    (Path(machine.layout.home) / ".pyweb.deploy").unlink()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (a_unit, "unit .*/etc/systemd/system/shop-check.service"),
        (the_alias, "unit .*/etc/systemd/system/shop.service"),
        (a_user, "user shop"),
        (the_directory, "directory .*/opt/shop"),
    ],
)
def test_what_others_have_made_meanwhile_is_refused(
    new_role: NewRole, monkeypatch: pytest.MonkeyPatch, change: Callable[[Machine], None], named: str
) -> None:
    role = new_role(without_a_unit if change is the_alias else serving)
    plan = role.plan()
    change(role.machine)
    monkeypatch.setattr(role, "plan", lambda: plan)
    before = sorted(role.machine.root.rglob("*"))
    with pytest.raises(StageError, match=rf"^shop: the host has a {named} that the role did not make, so nothing "):
        role.run()
    assert sorted(role.machine.root.rglob("*")) == before
    assert "shop" in role.machine.users


def test_what_is_gone_already_is_no_error(new_role: NewRole, monkeypatch: pytest.MonkeyPatch) -> None:
    role = new_role(build)
    plan = role.plan()
    role.run()
    monkeypatch.setattr(role, "plan", lambda: plan)
    assert role.run() == {"steps": [], "diff": []}


def test_the_marks_go_first_and_the_role_s_own_last(new_role: NewRole, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what somebody else may own isn't looked into: a link there leads nowhere."""
    role = new_role(serving)
    host, home = role.machine.host(), Path(role.machine.layout.home)
    elsewhere = role.machine.root / "elsewhere"
    write(elsewhere / ".complete")
    (home / "code/linked").symlink_to(elsewhere)
    (home / "code/c1/linked").symlink_to(elsewhere)
    dropped: list[str] = []

    def drop(self: PlayedFiles, path: str) -> None:
        dropped.append(path)
        Files.drop(self, path)

    monkeypatch.setattr(PlayedFiles, "drop", drop)
    host.files.remove(str(home), 3)
    found = [os.path.relpath(path, home) for path in dropped]
    for path, mark in COMPLETE.items():
        assert next(each for each in found if each.startswith(f"{path}/")) == f"{path}/{mark}"
    assert found[-2:] == [".pyweb.deploy", "."]
    assert not home.exists()
    assert os.listdir(elsewhere) == [".complete"]


def test_systemd_forgets_only_what_failed() -> None:
    state, asked = "failed", []

    def run(command: list[str]) -> tuple[int, str, str]:
        asked.append(command[1])
        return 0, f"ActiveState={state}\n", ""

    Systemd(run).reset_failed("shop-blue.service")
    state = "inactive"
    Systemd(run).reset_failed("shop-blue.service")  # systemctl would fail, where the unit isn't loaded
    assert asked == ["show", "reset-failed", "show"]


# The module


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Data]:
    """Run the module on a host with two users, and with the Debian packages ufw and iptables, which docker needs."""
    monkeypatch.setattr(lock, "DIRECTORY", str(tmp_path))
    (tmp_path / "shop.lock").write_text(json.dumps({"run": "a", "name": "shop"}))
    machine = Machine(tmp_path / "machine")
    machine.packages = {"ufw": "", "iptables": "docker"}
    machine.users = {"shop": "Gunicorn application shop (pyweb.deploy)"}
    machine.users["blog"] = "Gunicorn application blog (pyweb.deploy)"
    os.rmdir(os.path.join(machine.layout.home, "releases"))
    os.rmdir(machine.layout.home)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_gecos=machine.users[name]))
    monkeypatch.setattr(basic.AnsibleModule, "run_command", lambda _self, command: machine.run(command))

    def run(**arguments: Any) -> Data:
        output = io.StringIO()
        given = {"name": "shop", "lease": LEASE, "_ansible_diff": True, **arguments}
        with patch_module_args(given), contextlib.redirect_stdout(output), pytest.raises(SystemExit):
            gunicorn_remove.main()
        result: Data = json.loads(output.getvalue())
        return result

    return run


def test_only_paths(module: Callable[..., Data], tmp_path: Path) -> None:
    write(tmp_path / "venvs/v1/.complete")
    for check in (True, False):
        result = module(paths=[str(tmp_path / "venvs/v1"), str(tmp_path / "gone")], _ansible_check_mode=check)
        assert (result["changed"], result["steps"], result["needed_by"]) == (True, [], [])
        assert result["changes"] == [str(tmp_path / "venvs/v1")]
        assert result["diff"] == [{"prepared": f"{tmp_path}/venvs/v1: present -> absent\n"}]
    assert os.listdir(tmp_path / "venvs") == []
    assert module(paths=[str(tmp_path / "venvs/v1")])["changed"] is False


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("packages", "needed_by"), [(["ufw"], []), (["ufw", "iptables", "purged-long-ago"], ["docker"]), (["gone"], [])]
)
def test_who_needs_the_packages(
    module: Callable[..., Data], packages: list[str], needed_by: list[str], check: bool
) -> None:
    result = module(packages=packages, _ansible_check_mode=check)
    assert (result["changed"], result["needed_by"]) == (False, needed_by)


def test_it_works_for_the_run_that_has_the_lock(module: Callable[..., Data], tmp_path: Path) -> None:
    write(tmp_path / "old")
    other = {"run": "b", "user": "alice", "controller": "laptop", "pid": 1, "since": "noon", "until": 0, "name": "shop"}
    (tmp_path / "shop.lock").write_text(json.dumps(other))
    result = module(paths=[str(tmp_path / "old")])
    assert "another run has changed it since this one looked" in result["msg"]
    assert (tmp_path / "old").exists()


def test_a_user(module: Callable[..., Data]) -> None:
    for check in (True, False):
        result = module(users=["shop"], _ansible_check_mode=check)
        assert (result["changed"], [step["step"] for step in result["steps"]]) == (True, ["remove the user shop"])
        assert (result["changes"], result["diff"]) == (["user shop"], [{"prepared": "user shop: present -> absent\n"}])
    result = module(users=["shop"])
    assert (result["changed"], result["diff"]) == (False, [])


def test_a_user_of_another_application_is_refused(module: Callable[..., Data]) -> None:
    result = module(users=["blog"])
    assert result["failed"]
    assert result["reason"].startswith("shop: the host has a user blog that the role did not make")
