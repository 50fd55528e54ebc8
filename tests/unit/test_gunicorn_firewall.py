"""Rules of ufw, and the trial of turning it on: the action and its module, on a host with a played ufw and clock."""

from __future__ import annotations

import contextlib
import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.template import Templar
from ansible_collections.pyweb.deploy.plugins.action import gunicorn_firewall as action
from ansible_collections.pyweb.deploy.plugins.module_utils import ufw
from ansible_collections.pyweb.deploy.plugins.module_utils.files import Attributes
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError
from ansible_collections.pyweb.deploy.plugins.modules import gunicorn_firewall as module

Data = dict[str, Any]

RULE = {"action": "allow", "port": 8000, "source": "any", "destination": "any", "interface": ""}
ENABLE: Data = {"rules": [RULE], "ssh_ports": [22], "enable": True, "netfilter": True, "netfilter6": True}
OTHERS = "12345"
"""Number of another trial."""


class Killed(BaseException):
    """Ansible was killed: nothing of it runs any more."""


class Host:
    """A host with ufw. Its clock only goes on where somebody waits."""

    def __init__(self, root: Path) -> None:
        self.trial = root / "run/firewall.trial"
        self.on = False
        self.locked = False
        """Whether ufw lets no new connection in."""
        self.away_from = math.inf
        """When it can't be reached any more, whatever ufw lets in."""
        self.proved = False
        """Whether one came in with ufw on."""
        self.new = False
        """Whether the connection is a new one."""
        self.now = 0.0
        self.takes = 0.0
        """Seconds that a new connection takes."""
        self.timers: list[tuple[float, str]] = []
        self.done: list[Any] = []
        """What was executed."""
        self.broken: dict[str, str] = {}
        """What the words of a command are, which fails."""
        self.fault: tuple[int, str] = (-1, "")
        """Number of an execution, and its fate."""

    # The host

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer not in due]
        for _when, number in due:
            self.fire(number)

    def fire(self, number: str) -> None:
        if self.trial.exists() and self.trial.read_text() == f"{number}\n":
            self.on = False
            self.trial.unlink()

    def begin(self, number: str, seconds: float) -> None:
        """Leave what a run left that was killed in its trial."""
        self.trial.parent.mkdir()
        self.trial.write_text(f"{number}\n")
        self.timers.append((seconds, number))
        self.on = True

    def command(self, command: list[str], **options: Any) -> tuple[int, str, str]:
        assert options == {"environ_update": {"LC_ALL": "C"}, "handle_exceptions": False}, "its words are what we tell"
        name = command[0].rpartition("/")[2]
        if self.broken.get(name) == "gone":
            raise FileNotFoundError(2, "No such file or directory", command[0])
        if name in self.broken:
            return 1, "", f"{self.broken[name]}\n"
        if name == "systemd-run":
            assert command[-3:-1] == ["sh", "-c"]
            unit = next(word for word in command if word.startswith("--unit=pyweb.deploy-firewall-"))
            number = unit.rpartition("-")[2]
            assert f"grep -qsx {number} {self.trial}; then ufw disable && rm {self.trial}" in command[-1]
            after = next(word for word in command if word.startswith("--on-active="))
            self.timers.append((self.now + int(after.partition("=")[2]), number))
        if name == "systemctl":
            return 0, "ActiveState=inactive\n", ""
        return 0, f"Status: {'active' if self.on else 'inactive'}\n", ""

    def ufw(self, arguments: Data) -> Data:
        """Do what community.general.ufw does."""
        if "ufw" in self.broken:
            return {"failed": True, "msg": f"{self.broken['ufw']}\n"}
        state = arguments.get("state")
        if not state:
            return {"changed": arguments["port"] != "9999"}
        before, self.on = self.on, state == "enabled"
        self.proved &= self.on
        return {"changed": self.on != before}

    # What the action sees

    def reset(self) -> None:
        self.new = True
        self.wait(self.takes)

    def execute(self, module_name: str, module_args: Data, task_vars: Data) -> Data:
        assert isinstance(task_vars, dict)
        number, fate = self.fault
        here = len(self.done) == number
        self.done.append(module_args.get("step") or module_args.get("state") or module_args["port"])
        if self.new and (self.now >= self.away_from or (self.on and self.locked)):
            raise AnsibleConnectionFailure("Connection timed out")
        self.proved |= self.new and self.on
        if here and fate == "refused":
            return {"failed": True, "msg": "ERROR: no"}
        if here and fate.endswith("before"):
            raise Killed if "killed" in fate else AnsibleConnectionFailure("Broken pipe")
        if module_name == "community.general.ufw":
            result = self.ufw(module_args)
        else:
            assert module_name == "pyweb.deploy.gunicorn_firewall"
            result = run_module(module_args)
        if here and fate.endswith("after"):
            raise Killed if "killed" in fate else AnsibleConnectionFailure("Broken pipe")
        return result


def run_module(arguments: Data) -> Data:
    output = io.StringIO()
    with patch_module_args(arguments), contextlib.redirect_stdout(output), pytest.raises(SystemExit):
        module.main()
    result: Data = json.loads(output.getvalue())
    return result


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setattr(ufw, "TRIAL", str(host.trial))
    monkeypatch.setattr(ufw, "FOR_ROOT", Attributes(mode="0600"))  # whoever runs the test
    monkeypatch.setattr(basic.AnsibleModule, "run_command", lambda _self, command, **how: host.command(command, **how))
    monkeypatch.setattr(action.ActionModule, "_execute_module", lambda _self, **asked: host.execute(**asked))
    monkeypatch.setattr(time, "monotonic", lambda: host.now)
    monkeypatch.setattr(time, "sleep", host.wait)
    return host


@pytest.fixture
def run(host: Host) -> Callable[..., Data]:
    def run(check: bool = False, **arguments: Any) -> Data:
        task = Task.load({"name": "Open", "pyweb.deploy.gunicorn_firewall": {"name": "shop", **arguments}})
        task.check_mode = check
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None), reset=host.reset)
        plugin = action.ActionModule(task, connection, SimpleNamespace(), None, Templar(DataLoader()), None)
        result: Data = plugin.run(task_vars={})
        return result

    return run


Run = Callable[..., Data]


def steps_of(result: Data) -> list[tuple[str, bool]]:
    assert "failed" not in result, result
    return [(step["step"], step["changed"]) for step in result["steps"]]


# Rules


def test_rules_are_added_and_withdrawn(host: Host, run: Run) -> None:
    result = run(rules=[RULE], withdraw=[{**RULE, "port": 9000, "action": "limit"}])
    assert steps_of(result) == [
        ("allow port 8000/tcp from any to any", True),
        ("withdraw port 9000/tcp from any to any", True),
    ]
    assert host.done == ["8000", "9000"], "one execution for each"
    assert result["changed"] is True


def test_a_ufw_that_was_installed_meanwhile(host: Host, run: Run) -> None:
    assert steps_of(run(rules=[RULE], installed=False))
    assert host.done == ["8000"]


def test_a_rule_that_is_there(run: Run) -> None:
    result = run(rules=[{**RULE, "port": 9999}])
    assert (steps_of(result), result["changed"]) == ([("allow port 9999/tcp from any to any", False)], False)


def test_what_ufw_is_asked_for(host: Host, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Data] = []

    def note(arguments: Data) -> Data:
        asked.append(arguments)
        return {"changed": True}

    monkeypatch.setattr(host, "ufw", note)
    narrow = {"action": "limit", "port": 8000, "source": "192.0.2.7", "destination": "10.0.0.1", "interface": "wg0"}
    run(rules=[RULE], withdraw=[narrow], ssh_ports=[2222])
    ours: Data = {"proto": "tcp", "comment": "pyweb.deploy shop", "port": "8000"}
    place = {"from_ip": "192.0.2.7", "to_ip": "10.0.0.1", "interface": "wg0", "direction": "in"}
    assert asked == [
        {**ours, "rule": "allow", "from_ip": "any", "to_ip": "any"},
        {**ours, "rule": "limit", **place, "delete": True},
        {"rule": "allow", "port": "2222", "proto": "tcp", "comment": "ssh"},
    ]


def test_nothing_to_do(host: Host, run: Run) -> None:
    assert run(rules=[], withdraw=[])["changed"] is False
    assert host.done == []


def test_a_rule_that_ufw_refuses(host: Host, run: Run) -> None:
    host.fault = (1, "refused")
    result = run(rules=[RULE, {**RULE, "port": 8001}, {**RULE, "port": 8002}])
    assert result["failed"]
    assert "ufw could not allow port 8001/tcp from any to any" in result["msg"]
    assert result["msg"].endswith("\nERROR: no")
    assert host.done == ["8000", "8001"]


def test_a_rule_without_a_port(run: Run) -> None:
    result = run(rules=[{"action": "allow", "source": "any", "destination": "any"}])
    assert result["failed"]
    assert "missing required arguments: port" in result["msg"]


# Asking


def test_asking_changes_nothing(host: Host, run: Run) -> None:
    for check in (False, True):
        assert run(check=check, ask=True, netfilter=True)["changed"] is False
    assert host.done == ["ask", "ask"]
    assert not host.trial.exists()


@pytest.mark.parametrize("command", ["ufw", "iptables", "ip6tables"])
@pytest.mark.parametrize("words", ["ERROR: no", "gone"])
@pytest.mark.parametrize("arguments", [{"ask": True}, {"enable": True}], ids=lambda arguments: next(iter(arguments)))
def test_a_ufw_that_is_broken(host: Host, run: Run, command: str, words: str, arguments: Data) -> None:
    host.broken = {command: words}
    result = run(**arguments, netfilter=True, netfilter6=True)
    assert result["msg"].startswith("gunicorn_firewall: got True, but ufw doesn't work on the host")
    assert "Nothing that runs was touched" in result["msg"]
    assert result["msg"].endswith(f"/usr/sbin/{command}: No such file or directory" if words == "gone" else words)
    assert (host.on, host.timers, host.trial.exists()) == (False, [], False)
    assert len(host.done) == 1


@pytest.mark.parametrize("command", ["iptables", "ip6tables"])
def test_the_kernel_is_needed_only_for_what_ufw_filters(host: Host, run: Run, command: str) -> None:
    host.broken = {command: "Permission denied"}
    assert run(ask=True, netfilter=command == "ip6tables")["changed"] is False


# The trial


def test_ufw_is_turned_on(host: Host, run: Run) -> None:
    result = run(**ENABLE)
    assert steps_of(result) == [
        ("allow port 8000/tcp from any to any", True),
        ("allow port 22/tcp for SSH", True),
        ("enable ufw", True),
    ]
    assert host.done == ["8000", "22", "begin", "enabled", "end"], "what each costs"
    assert host.proved
    assert not host.trial.exists()
    host.wait(100)
    assert host.on, "the timer does nothing any more"


def test_nobody_gets_in(host: Host, run: Run) -> None:
    host.locked = True
    result = run(**ENABLE)
    assert result["failed"]
    assert result["msg"].startswith(
        "gunicorn_firewall_enable: got true, but with ufw on, no new connection came in. ufw is off again, and nothing "
    )
    assert result["msg"].endswith("\nConnection timed out")
    assert (host.on, host.trial.exists()) == (False, False)
    assert host.now == pytest.approx(60, abs=2), "the host has turned it off itself"
    assert 20 <= host.done.count("end") <= 22, "a third of the time was for the proof"
    assert host.done[-2:] == ["disabled", "end"]


def test_a_proof_that_comes_too_late(host: Host, run: Run) -> None:
    host.takes = 61
    result = run(**ENABLE)
    assert "with ufw on, the proof came too late. ufw is off again" in result["msg"]
    assert result["msg"].endswith("\nStatus: inactive")


def test_a_host_that_stays_away(host: Host, run: Run) -> None:
    host.locked = True
    host.away_from = 50
    result = run(**ENABLE)
    assert "This run could not turn it off (Connection timed out); the host does so itself" in result["msg"]
    assert host.on is False
    assert 140 <= host.now <= 145


def test_it_waits_for_a_timer_that_is_at_it(host: Host, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has read the file turns ufw off, although the file is gone then."""
    busy = iter(["activating", "activating"])

    def command(command: list[str], **options: Any) -> tuple[int, str, str]:
        if command[0] != "systemctl":
            return Host.command(host, command, **options)
        state = next(busy, "inactive")
        host.on = host.on and state != "inactive"
        return 0, f"ActiveState={state}\n", ""

    monkeypatch.setattr(host, "command", command)
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    assert "with ufw on, the proof came too late" in run(**ENABLE)["msg"]


def test_another_trial_goes_on(host: Host, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two applications may be deployed at the same time."""

    def enable(arguments: Data) -> Data:
        if arguments.get("state") == "enabled":
            host.trial.write_text(f"{OTHERS}\n")
        return Host.ufw(host, arguments)

    monkeypatch.setattr(host, "ufw", enable)
    assert steps_of(run(**ENABLE))
    assert host.trial.read_text() == f"{OTHERS}\n"


def test_a_timer_that_can_not_be_made(host: Host, run: Run) -> None:
    host.begin(OTHERS, 30)
    host.broken = {"systemd-run": "Failed to connect to bus"}
    result = run(**ENABLE)
    assert "enabled" not in host.done
    assert result["msg"].endswith("failed: Failed to connect to bus")
    host.wait(30)
    assert host.on is False, "the timer of the trial that broke off still counts"


FATES = [f"{what} {when}" for what in ("lost", "killed") for when in ("before", "after")]


@pytest.mark.parametrize("locked", [False, True], ids=["open", "locked"])
@pytest.mark.parametrize("on_trial", [False, True], ids=["off", "on trial"])
@pytest.mark.parametrize("fate", ["refused", *FATES])
@pytest.mark.parametrize("number", range(5))
def test_any_execution_fails(host: Host, run: Run, number: int, fate: str, on_trial: bool, locked: bool) -> None:
    """In the end ufw is off, or on and somebody came in since; and a failure has its cause last."""
    if on_trial:
        host.begin(OTHERS, 50)
    host.locked, host.fault = locked, (number, fate)
    result: Data = {}
    with contextlib.suppress(Killed, AnsibleConnectionFailure):
        result = run(**ENABLE)
    if result.get("failed"):
        assert result["msg"].endswith(("\nERROR: no", "\nBroken pipe", "\nConnection timed out")), result["msg"]
        assert host.on is (on_trial and number < 3), "at once, unless the trial didn't begin"
    elif result:
        assert host.on
        assert host.proved
    host.wait(100)
    assert not host.trial.exists()
    assert host.on is False or (host.proved and not locked)


# Check mode


def test_check_mode_predicts_a_ufw_that_is_yet_to_be_installed(host: Host, run: Run) -> None:
    result = run(check=True, installed=False, **ENABLE)
    assert [changed for _step, changed in steps_of(result)] == [True, True, True]
    assert host.done == []


def test_check_mode_asks_a_ufw_that_is_there(host: Host, run: Run) -> None:
    result = run(check=True, **{**ENABLE, "rules": [RULE, {**RULE, "port": 9999}]})
    assert [changed for _step, changed in steps_of(result)] == [True, False, True, True]
    assert host.done == ["8000", "9999", "22"], "and begins no trial"
    assert (host.on, host.trial.exists()) == (False, False)


def test_the_module_begins_no_trial_in_check_mode(host: Host) -> None:
    result = run_module({"name": "shop", "step": "begin", "trial": "1", "_ansible_check_mode": True})
    assert (result["changed"], host.timers, host.trial.exists()) == (False, [], False)


# The documentation


def test_the_documented_options_are_the_accepted_ones() -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert set(documented) == {*ufw.OPTIONS, "step", "trial"}
    for name, option in ufw.OPTIONS.items():
        same = {key: value for key, value in option.items() if key not in ("options", "elements")}
        assert {key: documented[name].get(key) for key in same} == same, name
    assert set(documented["rules"]["suboptions"]) == set(ufw.RULES["options"])


@pytest.mark.parametrize("task", yaml.safe_load(module.EXAMPLES), ids=lambda task: task["name"])
def test_the_examples_are_accepted(run: Run, task: Data) -> None:
    assert steps_of(run(**task["pyweb.deploy.gunicorn_firewall"]))


def test_systemd_refuses() -> None:
    with pytest.raises(SystemdError, match=r"systemd-run .* failed: no"):
        Systemd(lambda _command: (1, "", "no")).run_later("unit", "a unit", 60, "true")
