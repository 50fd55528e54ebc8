"""The lock of an application: who gets it, who waits, and when a run counts as dead."""

from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.pyweb.deploy.plugins.module_utils import lock as deploy_lock
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import deploy_lock as deploy_lock_of
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd
from ansible_collections.pyweb.deploy.plugins.modules import gunicorn_lock
from ansible_collections.pyweb.deploy.plugins.plugin_utils import stage

Data = dict[str, Any]

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def holder(run: str, pid: int = 4711, machine: str = "laptop", start: str = "1") -> Data:
    since = "2026-11-22T08:30:00Z"
    described = {"run": run, "machine": machine, "controller": machine, "pid": pid, "start": start}
    return {**described, "user": "alice", "since": since}


A, B = holder("a"), holder("b", machine="desktop")

Lock = Callable[..., Data]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the locks are."""
    monkeypatch.setattr(deploy_lock, "DIRECTORY", str(tmp_path / "locks"))
    return tmp_path / "locks"


@pytest.fixture
def lock(directory: Path, capsys: pytest.CaptureFixture[str]) -> Lock:
    """Run the module on the host."""
    assert not directory.exists()

    def run(**arguments: Any) -> Data:
        given = {"last_run": "", "dead": "", "seconds": 3600, **arguments.pop("lease", {})}
        lease = {key: arguments.pop(key, given.get(key)) for key in ("holder", *given)}
        with patch_module_args({"name": "shop", "lease": lease, **arguments}), pytest.raises(SystemExit):
            gunicorn_lock.main()
        found: Data = json.loads(capsys.readouterr().out)
        assert found.get("changed", False) is False
        return found

    return run


def refused(result: Data) -> str:
    """Why the lock was not given."""
    assert result["failed"] is True
    assert isinstance(result["msg"], str)
    return result["msg"]


def held(result: Data) -> bool:
    return "failed" not in result


def content(directory: Path) -> Data:
    found: Data = json.loads((directory / "shop.lock").read_text())
    return found


def test_the_lock_is_free_at_first(lock: Lock, directory: Path) -> None:
    result = lock(holder=A)
    assert held(result)
    assert result["holder"] == A
    assert A.items() <= content(directory).items()
    assert (directory.stat().st_mode & 0o777, (directory / "shop.lock").stat().st_mode & 0o777) == (0o755, 0o644)


def test_another_run_is_kept_out(lock: Lock, directory: Path) -> None:
    lock(holder=A)
    result = lock(holder=B)
    assert refused(result) == (
        "shop: another run is changing it: that of alice on laptop (process 4711), since 2026-11-22T08:30:00Z. Wait "
        f"until it has ended, then run again. If it was cut off: `truncate --size 0 {directory}/shop.lock` on the host"
    )
    assert result["busy"] is True
    assert A.items() <= result["holder"].items()
    assert content(directory)["run"] == "a"


def test_having_looked_after_it_began_does_not_help(lock: Lock) -> None:
    lock(holder=A)
    assert lock(holder=B, last_run="a")["busy"] is True


def test_applications_do_not_wait_for_each_other(lock: Lock) -> None:
    lock(holder=A)
    assert held(lock(holder=B, name="shop2"))


def test_the_same_run_may_take_it_again(lock: Lock) -> None:
    assert all(held(lock(holder=A)) for _time in range(2))
    lock(holder=A, state="released")
    assert held(lock(holder=A))


def test_what_was_given_back_is_free_for_who_saw_the_outcome(lock: Lock, directory: Path) -> None:
    lock(holder=A)
    assert held(lock(holder=A, state="released"))
    assert held(lock(holder=B, last_run="a"))
    assert content(directory)["run"] == "b"


@pytest.mark.parametrize("last_run", ["", "c"])
def test_who_looked_before_another_run_changed_it_is_refused(lock: Lock, directory: Path, last_run: str) -> None:
    lock(holder=A)
    lock(holder=A, state="released")
    result = lock(holder=B, last_run=last_run)
    assert (
        refused(result) == "shop: another run has changed it since this one looked: that of alice on laptop. Run again"
    )
    assert result["busy"] is False
    assert content(directory)["run"] == "a"


def test_only_the_holder_gives_it_back(lock: Lock) -> None:
    lock(holder=A)
    assert held(lock(holder=B, state="released"))
    assert lock(holder=B)["busy"] is True


def test_giving_back_what_nobody_has(lock: Lock) -> None:
    assert held(lock(holder=A, state="released"))
    assert held(lock(holder=B))


@pytest.mark.parametrize(("passed", "free"), [(3599, False), (3601, True)])
def test_the_lock_ends_after_an_hour(lock: Lock, monkeypatch: pytest.MonkeyPatch, passed: float, free: bool) -> None:
    lock(holder=A)
    now = time.monotonic()
    monkeypatch.setattr(deploy_lock, "time", SimpleNamespace(monotonic=lambda: now + passed, sleep=time.sleep))
    assert held(lock(holder=B, last_run="a")) is free
    assert not held(lock(holder=holder("c")))


def test_the_lock_of_a_dead_run_is_free(lock: Lock) -> None:
    lock(holder=A)
    assert held(lock(holder=B, last_run="a", dead="a"))


def test_a_dead_run_may_have_changed_it_too(lock: Lock) -> None:
    """It took the lock after this run had looked."""
    lock(holder=A)
    assert "has changed it since this one looked" in refused(lock(holder=B, last_run="", dead="a"))


def test_the_lock_of_a_run_that_lives_is_not_free_because_another_died(lock: Lock) -> None:
    lock(holder=A)
    assert lock(holder=B, last_run="a", dead="c")["busy"] is True


@pytest.mark.parametrize("text", ["", '{"run": "a", "unt'])
def test_what_a_write_left_that_broke_off(lock: Lock, directory: Path, text: str) -> None:
    directory.mkdir()
    (directory / "shop.lock").write_text(text)
    assert held(lock(holder=A))
    assert content(directory)["run"] == "a"


def test_a_shorter_holder_leaves_nothing_of_a_longer_one(lock: Lock, directory: Path) -> None:
    lock(holder=holder("a" * 500))
    lock(holder=A, dead="a" * 500, last_run="a" * 500)
    assert content(directory)["run"] == "a"


@pytest.fixture(autouse=True)
def stopped() -> Iterator[list[str]]:
    """Units that were stopped; nobody pauses for long."""
    units: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "PAUSE", 0.01)
        patch.setattr(Systemd, "stop", lambda _self, unit: units.append(unit))
        yield units


def test_a_build_that_goes_on_without_its_module_is_stopped(lock: Lock, stopped: list[str]) -> None:
    assert held(lock(holder=A))
    stopped.clear()
    assert held(lock(holder=A))
    assert stopped == []
    assert held(lock(holder=B, last_run="a", dead="a"))
    assert stopped == ["shop-build.service"]


def working(directory: Path, text: str) -> Any:
    """Give the lock file with a module that works under it, and content."""
    directory.mkdir(exist_ok=True)
    file = deploy_lock.open_file("shop")
    assert deploy_lock.try_flock(file)
    deploy_lock.write(file, json.loads(text))
    return file


OVER = json.dumps({**A, "name": "shop", "until": 0})


def test_a_module_of_a_dead_run_is_waited_for(lock: Lock, directory: Path, stopped: list[str]) -> None:
    with working(directory, json.dumps({**A, "name": "shop", "until": 1e12})):
        result = lock(holder=B, last_run="a", dead="a")
        assert result["working"] is True
        assert refused(result) == "shop: a module of an interrupted run still works on the host"
        assert content(directory)["run"] == "a"
    assert stopped == ["shop-build.service"], "whoever waits for a build ends with it"
    assert held(lock(holder=B, last_run="a", dead="a"))


def test_a_module_that_outlives_the_lease_is_waited_for(lock: Lock, directory: Path, stopped: list[str]) -> None:
    with working(directory, OVER):
        assert lock(holder=B, last_run="a")["working"] is True
    assert stopped


def test_a_run_that_lives_is_refused_at_once_and_its_build_goes_on(
    lock: Lock, directory: Path, stopped: list[str]
) -> None:
    with working(directory, json.dumps({**A, "name": "shop", "until": 1e12})):
        result = lock(holder=B)
    assert (result["busy"], result.get("working"), stopped) == (True, None, [])


def test_giving_it_back_while_a_module_works(lock: Lock, directory: Path) -> None:
    """The connection broke, and the module goes on: the next run waits for that."""
    with working(directory, json.dumps({**A, "name": "shop", "until": 1e12})):
        assert held(lock(holder=A, state="released"))
        assert content(directory)["until"] == 0
        assert lock(holder=B, last_run="a")["working"] is True


class Module:
    """A module at work, as far as the lock sees it."""

    check_mode = False
    run_command = None

    def __init__(self, run: Data, last_run: str = "", then: float = 300) -> None:
        lease = {"holder": run, "last_run": last_run, "dead": "", "seconds": 3600, "then": then}
        self.params = {"name": "shop", "lease": lease}


def until(directory: Path) -> float:
    """Seconds for which the lock is still kept."""
    return float(content(directory)["until"]) - time.monotonic()


def test_the_first_module_of_a_run_takes_the_lock_and_each_one_keeps_it(directory: Path) -> None:
    for last_run in ("", "seen before"):
        with deploy_lock_of(Module(A, last_run)):
            assert content(directory)["run"] == "a"
            assert until(directory) > 3000
        assert 0 < until(directory) < 301
    with pytest.raises(deploy_lock.LockError, match="another run is changing it"), deploy_lock_of(Module(B, "a")):
        pass


def test_the_last_module_gives_it_back(directory: Path) -> None:
    with deploy_lock_of(Module(A, then=0)):
        pass
    assert content(directory)["until"] == 0
    with deploy_lock_of(Module(B, "a")):
        pass


def test_a_module_that_fails_gives_it_back(directory: Path) -> None:
    with pytest.raises(ValueError, match="broken"), deploy_lock_of(Module(A)):
        raise ValueError("broken")
    assert content(directory)["until"] == 0


def test_a_run_that_lost_the_lock_changes_nothing_more(directory: Path) -> None:
    """Its lease was over, another run had the lock since."""
    with deploy_lock_of(Module(A, then=0)):
        pass
    with deploy_lock_of(Module(B, "a", then=0)):
        pass
    with pytest.raises(deploy_lock.LockError, match="has changed it since this one looked"), deploy_lock_of(Module(A)):
        pass
    assert content(directory)["run"] == "b"


def test_one_module_works_at_a_time(directory: Path) -> None:
    with working(directory, OVER), pytest.raises(deploy_lock.LockError, match="still works on the host") as problem:
        deploy_lock_of(Module(B, "a")).__enter__()
    assert problem.value.details == {"working": True}


@pytest.mark.usefixtures("directory")
def test_children_of_a_module_do_not_hold_the_lock() -> None:
    with deploy_lock_of(Module(A, then=0)):
        child = subprocess.Popen(["/bin/sleep", "60"], close_fds=False)
    try:
        with deploy_lock.open_file("shop") as file:  # the kernel lets Popen return just before it closes the child's
            assert deploy_lock.try_flock(file, seconds=5)
    finally:
        child.kill()
        child.wait()


@pytest.mark.usefixtures("directory")
def test_whether_a_module_is_at_work() -> None:
    assert not deploy_lock.is_held("shop")
    with deploy_lock_of(Module(A)):
        assert deploy_lock.is_held("shop")
    assert not deploy_lock.is_held("shop")


def test_check_mode_takes_no_lock(lock: Lock, directory: Path) -> None:
    assert held(lock(holder=A, _ansible_check_mode=True))
    assert not directory.exists()


@pytest.mark.parametrize("task", yaml.safe_load(gunicorn_lock.EXAMPLES), ids=lambda task: task["name"])
def test_the_examples_are_accepted(lock: Lock, task: Data) -> None:
    assert held(lock(**task["pyweb.deploy.gunicorn_lock"], _ansible_check_mode=True))


# On the controller


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another run, by a name that /proc/PID/stat doesn't quote."""
    program = tmp_path / "a) b (c 1"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"], executable=program) as started:
        yield started
        started.kill()


@linux
def test_when_a_process_was_started(process: subprocess.Popen[bytes]) -> None:
    seconds = int(stage.read_start(process.pid)) / os.sysconf("SC_CLK_TCK")
    assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - seconds < 30
    assert stage.read_start(process.pid) != stage.read_start(os.getpid())


def test_a_process_that_is_not_there_has_no_start() -> None:
    assert stage.read_start(2**30) == ""


def test_this_run() -> None:
    found = stage.this_run(os.getpid())
    assert set(found) == set(A)
    assert found["run"] == f"{found['machine']} {os.getpid()} {found['start']}"
    assert (found["pid"], found["controller"]) == (os.getpid(), platform.node())
    assert found["user"] == getpass.getuser()
    assert abs(time.time() - datetime.fromisoformat(found["since"]).timestamp()) < 60
    again = stage.this_run(os.getpid())
    assert (again["run"], again["machine"]) == (found["run"], found["machine"])


@linux
def test_each_run_is_another(process: subprocess.Popen[bytes]) -> None:
    assert stage.this_run(process.pid)["run"] != stage.this_run(os.getpid())["run"]


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> None:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert stage.this_run(os.getpid())["user"] == f"user {os.getuid()}"


def test_a_controller_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_path: Path) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    found = stage.this_run(os.getpid())
    assert (found["machine"], found["start"]) == (platform.node(), "")
    assert stage.has_ended(found, found["machine"]) is False


@linux
def test_a_process_number_means_something_on_its_own_machine_only() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert stage.describe_controller() == f"{boot} {os.readlink('/proc/self/ns/pid')}"


@linux
def test_a_run_that_has_ended(process: subprocess.Popen[bytes]) -> None:
    run = stage.this_run(process.pid)
    assert stage.has_ended(run, run["machine"]) is False
    assert stage.has_ended({**run, "start": str(int(run["start"]) - 1)}, run["machine"]) is True, (
        "the number came again"
    )
    process.kill()
    process.wait()
    assert stage.has_ended(run, run["machine"]) is True
    assert stage.has_ended(run, "another") is False


@linux
def test_a_run_of_another_user_is_seen(process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_pid: int, _signal: int) -> None:
        raise PermissionError

    run = stage.this_run(process.pid)
    monkeypatch.setattr(os, "kill", forbidden)
    assert stage.has_ended(run, run["machine"]) is False


class Asking:
    """An action on the controller, whose module runs here."""

    def __init__(self, lock: Lock) -> None:
        self.lock = lock
        self.said: list[str] = []
        self._display = SimpleNamespace(display=self.display)
        self.heard: Callable[[], None] = lambda: None

    def _execute_module(self, module_name: str, module_args: Data, task_vars: Any) -> Data:
        assert (module_name, task_vars) == ("pyweb.deploy.gunicorn_lock", {})
        return self.lock(**module_args)

    def display(self, message: str) -> None:
        self.said.append(message)
        self.heard()


@pytest.fixture
def asking(lock: Lock) -> Asking:
    return Asking(lock)


@pytest.fixture
def take(asking: Asking) -> Lock:
    """Acquire the lock as a run does, or release it."""

    def run(last_run: str = "", state: str = "held") -> Data:
        if state == "held":
            return stage.wait_for_lock(asking, "shop", last_run, {})
        arguments = {"name": "shop", "state": state}
        return stage.run_with_lock(asking, "pyweb.deploy.gunicorn_lock", arguments, {})

    return run


def test_the_action_says_which_run_this_is(take: Lock, directory: Path) -> None:
    """Each task runs in a process of its own; the run is the process that started them all."""
    assert held(take())
    assert content(directory)["run"] == stage.this_run(os.getppid())["run"]
    assert held(take(state="released"))
    assert content(directory)["until"] == 0


def test_the_action_gives_back_what_nobody_has(take: Lock) -> None:
    assert held(take(state="released"))


@linux
def test_the_action_waits_for_no_dead_run(take: Lock, lock: Lock, process: subprocess.Popen[bytes]) -> None:
    run = stage.this_run(process.pid)
    lock(holder=run)
    assert "another run is changing it" in refused(take(last_run=run["run"]))
    process.kill()
    process.wait()
    result = take(last_run=run["run"])
    assert held(result)
    assert not {"msg", "busy"} & set(result)


@linux
def test_the_action_believes_no_other_controller_dead(take: Lock, lock: Lock, process: subprocess.Popen[bytes]) -> None:
    run = {**stage.this_run(process.pid), "machine": "another"}
    process.kill()
    process.wait()
    lock(holder=run)
    assert "another run is changing it" in refused(take(last_run=run["run"]))


def test_the_action_waits_for_a_module_and_says_so(take: Lock, asking: Asking, directory: Path) -> None:
    asking.heard = working(directory, OVER).close
    assert held(take(last_run="a"))
    assert asking.said == [
        "shop: a module of an interrupted run still works on the host. Waiting for it, at most 10 minutes"
    ]


def test_the_action_does_not_wait_for_ever(take: Lock, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "PATIENCE", 0.5)
    with working(directory, OVER):
        assert "still works on the host" in refused(take(last_run="a"))


def test_the_action_passes_on_what_it_saw(take: Lock, lock: Lock) -> None:
    lock(holder=A)
    lock(holder=A, state="released")
    assert "has changed it since this one looked" in refused(take(last_run="b"))
    assert held(take(last_run="a"))
