"""The controller's part of ship_directory: what it refuses, what it packs, what it leaves behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.playbook.task import Task
from ansible_collections.pyweb.deploy.plugins.action.ship_directory import ActionModule
from ansible_collections.pyweb.deploy.plugins.module_utils import source
from ansible_collections.pyweb.deploy.plugins.plugin_utils import archive

Ship = Callable[..., "dict[str, Any]"]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app/tests").mkdir(parents=True)
    (tmp_path / "app/wsgi.py").write_text("app = 1\n")
    (tmp_path / "app/tests/test_app.py").write_text("")
    return tmp_path / "app"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


@pytest.fixture
def ship(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Ship:
    """Run the action against a host that has /srv/there, half of it in /srv/half, and unpacks nothing."""

    def stat(_self: Any, path: str, **_options: Any) -> dict[str, bool]:
        return {"exists": path == "/srv/there/.complete"}

    def unpack(_self: Any, archive: str, dest: str, _task_vars: Any) -> dict[str, Any]:
        return {"changed": True, "place": dest, "content": Path(archive).read_bytes()}

    monkeypatch.setattr(ActionModule, "_execute_remote_stat", stat)
    monkeypatch.setattr(ActionModule, "_unpack", unpack)

    def run(check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        task = Task.load({"name": "Ship", "pyweb.deploy.ship_directory": arguments, "check_mode": check_mode})
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp"), become=None)
        action = ActionModule(task, connection, SimpleNamespace(), None, None, None)
        try:
            found: dict[str, Any] = action.run(task_vars={})
        finally:
            assert list(scratch.iterdir()) == []
        return found

    return run


def arguments(app: Path, *exclude: str, dest: str = "/srv/there") -> dict[str, Any]:
    return {"src": str(app), "dest": dest, "digest": source.digest(str(app), exclude), "exclude": list(exclude)}


@pytest.mark.parametrize("dest", ["/srv/there", "/srv/there/"])
def test_it_packs_what_the_digest_is_of(ship: Ship, app: Path, tmp_path: Path, dest: str) -> None:
    result = ship(**arguments(app, "tests", dest=dest))
    archive.write(str(app), ["tests"], str(tmp_path / "wanted.tar.gz"), "there")
    assert result["content"] == (tmp_path / "wanted.tar.gz").read_bytes()
    assert (result["changed"], result["place"]) == (True, "/srv")
    assert (result["dest"], result["size"]) == (dest, len(result["content"]))


@pytest.mark.parametrize("check_mode", [False, True])
def test_it_refuses_what_changed_since_it_was_planned(ship: Ship, app: Path, check_mode: bool) -> None:
    planned = arguments(app)
    (app / "wsgi.py").write_text("app = 2\n")
    with pytest.raises(AnsibleActionFail, match="changed while the play ran") as caught:
        ship(check_mode, **planned)
    assert planned["digest"] in str(caught.value)
    assert source.digest(str(app)) in str(caught.value)


@pytest.mark.parametrize("dest", ["/srv/new", "/srv/half"])
def test_check_mode_predicts_a_copy(ship: Ship, app: Path, dest: str) -> None:
    result = ship(True, **arguments(app, dest=dest))
    assert result["changed"] is True
    assert "content" not in result


def test_check_mode_leaves_what_is_complete_to_unarchive(ship: Ship, app: Path) -> None:
    assert "content" in ship(True, **arguments(app))


def test_a_directory_that_is_missing(ship: Ship, app: Path) -> None:
    wrong = {**arguments(app), "src": f"{app}/nowhere"}
    with pytest.raises(AnsibleActionFail, match=r"can't read .*nowhere"):
        ship(**wrong)


def test_a_failure_to_pack(ship: Ship, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, os.strerror(28))

    planned = arguments(app)
    monkeypatch.setattr(archive, "write", full)
    with pytest.raises(AnsibleActionFail, match=r"can't pack .*: \[Errno 28\] No space left on device"):
        ship(**planned)


@pytest.mark.parametrize("missing", ["src", "dest", "digest"])
def test_missing_options(ship: Ship, app: Path, missing: str) -> None:
    given = arguments(app)
    del given[missing]
    with pytest.raises(AnsibleError, match=missing):
        ship(**given)


def test_unknown_options(ship: Ship, app: Path) -> None:
    with pytest.raises(AnsibleError, match="excluded"):
        ship(**arguments(app), excluded=[])
