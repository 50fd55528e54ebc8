"""The action gunicorn_venv: what it hands to its module, and what a user reads of a failure."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.template import Templar
from ansible_collections.pyweb.deploy.plugins.action import gunicorn_venv as action
from ansible_collections.pyweb.deploy.plugins.module_utils import source

Data = dict[str, Any]


class Run:
    """One run of the action, whose module answers this."""

    def __init__(self, answer: Data, check: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = answer
        self.check = check
        self.asked: Data = {}
        self.sent: list[str] = []
        self.said: list[str] = []
        self.works: Callable[[], None] = lambda: None
        """What the module does on the host."""
        monkeypatch.setattr(action.ActionModule, "_execute_module", self.execute)
        monkeypatch.setattr(action.ActionModule, "_transfer_file", lambda _self, _local, place: self.sent.append(place))
        monkeypatch.setattr(action.ActionModule, "_fixup_perms2", lambda _self, _paths: None)

    def execute(self, module_name: str, module_args: Data, task_vars: Data) -> Data:
        assert module_name == "pyweb.deploy.gunicorn_venv"
        assert task_vars is not None
        self.asked = module_args
        self.works()
        return dict(self.answer)

    def __call__(self, arguments: Data, **known: Any) -> Data:
        variables = {"inventory_hostname": "web1", **known}
        given = {"name": "shop", "venv": "v1", "python": "/usr/bin/python3", "code": "/opt/shop", **arguments}
        task = Task.load({"name": "Build", "pyweb.deploy.gunicorn_venv": given})
        task.check_mode = self.check
        shell = SimpleNamespace(tmpdir="/tmp/there", join_path=lambda *parts: "/".join(parts))
        connection = SimpleNamespace(
            _shell=shell, become=None, _play_context=SimpleNamespace(), get_option=lambda _name: False, set_option=id
        )
        connection.set_option = lambda _name, _value: None
        templar = Templar(DataLoader(), variables=variables)
        plugin = action.ActionModule(task, connection, SimpleNamespace(), None, templar, None)
        plugin._display = SimpleNamespace(display=self.said.append)
        result: Data = plugin.run(task_vars=variables)
        return result


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run({"changed": True, "invocation": {"module_args": {}}}, False, monkeypatch)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    (tmp_path / "a.whl").write_text("a wheel")
    return tmp_path


def test_passwords_travel_apart(run: Run) -> None:
    result = run({}, gunicorn_index_url="https://me:s3cret@a.example/simple", gunicorn_extra_index_urls=["http://b"])
    assert (run.asked["index_url"], run.asked["extra_index_urls"]) == ("https://a.example/simple", ["http://b"])
    payload = json.loads(base64.b64decode(run.asked.pop("payload")))
    assert payload == {"netrc": "machine a.example login me password s3cret\n"}
    assert "s3cret" not in json.dumps(run.asked) + json.dumps(result)
    assert "invocation" not in result


def test_without_an_index(run: Run) -> None:
    run({}, gunicorn_index_url="", gunicorn_extra_index_urls=["https://b.example"])
    assert (run.asked["index_url"], run.asked["extra_index_urls"]) == ("", ["https://b.example"])


def test_a_url_that_is_none_is_not_quoted(run: Run) -> None:
    result = run({}, gunicorn_index_url="http://joe:s3cret@a.example/simple")
    assert result["failed"]
    assert "gunicorn_index_url" in result["msg"]
    assert "s3cret" not in str(result)


def test_the_module_does_not_see_the_requirements(run: Run) -> None:
    run({"requirements": ["a @ https://me:s3cret@a.example/a.whl"], "python_version": "3.11"})
    assert not set(run.asked) & set(action.HERE)


def test_wheels_are_shipped(run: Run, wheels: Path) -> None:
    run({"wheelhouse": str(wheels), "wheelhouse_digest": source.digest(str(wheels))})
    assert run.sent == ["/tmp/there/wheels.tar.gz"] == [run.asked["wheels"]]


def test_wheels_that_changed_are_not(run: Run, wheels: Path) -> None:
    result = run({"wheelhouse": str(wheels), "wheelhouse_digest": "another"})
    assert result["failed"]
    assert "changed while the play ran" in result["msg"]
    assert run.sent == []


def test_nothing_is_shipped_in_check_mode(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run({"changed": True}, True, monkeypatch)
    run({"wheelhouse": str(wheels), "wheelhouse_digest": "any"})
    assert (run.sent, "wheels" in run.asked) == ([], False)


def test_a_failure_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = {"installer": "pip", "output": "ERROR: no\n", "reason": "status 1", "asked": "", "free": 1}
    run = Run({"failed": True, "msg": "pip failed", "failure": failure}, False, monkeypatch)
    result = run({"specifiers": ["gunicorn==1"], "requirements": ["Flask"], "python_version": "3.11.2"})
    assert result["failed"]
    assert "failure" not in result
    assert "pip could not install\ngunicorn==1, Flask\n" in result["msg"]
    assert result["msg"].endswith("pip said:\nERROR: no")
    assert result["reason"] == "pip: no"


@pytest.mark.parametrize("lost", [False, True])
def test_a_long_build_says_each_minute_that_it_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    """Until the module has ended, or has been lost."""
    threads = threading.active_count()

    def works() -> None:
        until = time.monotonic() + 20
        while len(run.said) < 2 and time.monotonic() < until:
            time.sleep(0.001)
        if lost:
            raise AnsibleConnectionFailure("Connection reset")

    monkeypatch.setattr(action, "MINUTE", 0.001)
    run.works = works
    with pytest.raises(AnsibleConnectionFailure) if lost else contextlib.nullcontext():
        run({})
    assert threading.active_count() == threads
    first, second, *_more = run.said
    assert first == (
        "shop on web1: still building the virtual environment for 1 min, at most 30. "
        "There, `sudo tail -F /opt/shop/build/log` shows how far it is"
    )
    assert second == first.replace("1 min", "2 min")


def test_a_short_build_says_nothing(run: Run) -> None:
    run({})
    assert run.said == []
