"""The module that writes small files: what it writes, what it leaves alone, what it tells."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.pyweb.deploy.plugins.modules import ship_files

Data = dict[str, Any]
Ship = Callable[..., Data]

FILES = {"shop.service": "[Service]\nExecStart=/bin/true\n", "shop.socket": "ü\r\n € no line break"}


@pytest.fixture
def ship(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ship:
    """Run the module."""

    def run(**arguments: Any) -> Data:
        arguments = {"dest": str(tmp_path / "etc"), "files": FILES, "mode": "0640", **arguments}
        home = tmp_path / "home"
        internal = {"_ansible_remote_tmp": str(home), "_ansible_diff": True, "_ansible_no_log": False}
        with patch_module_args({**internal, **arguments}), pytest.raises(SystemExit):
            ship_files.main()
        assert not home.exists(), "it leaves nothing in the home of root"
        found: Data = json.loads(capsys.readouterr().out)
        return found

    (tmp_path / "etc").mkdir()
    return run


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """The directory that the files go to."""
    return tmp_path / "etc"


def held(directory: Path) -> dict[str, tuple[str, int]]:
    """Text and mode of each file."""
    return {path.name: (path.read_bytes().decode(), path.stat().st_mode & 0o777) for path in directory.iterdir()}


def told(found: Data) -> list[tuple[str, Any, Any]]:
    """What ``--diff`` shows."""
    assert all(part["before_header"] == part["after_header"] for part in found["diff"])
    return [(part["after_header"], part["before"], part["after"]) for part in found["diff"]]


def test_each_file_is_written_once(ship: Ship, etc: Path) -> None:
    wanted = {name: (text, 0o640) for name, text in FILES.items()}
    found = ship()
    assert (found["changed"], found["written"]) == (True, [f"{etc}/{name}" for name in FILES])
    assert told(found) == [(f"{etc}/{name}", "", text) for name, text in FILES.items()]
    assert held(etc) == wanted
    inodes = {path.stat().st_ino for path in etc.iterdir()}
    found = ship()
    assert (found["changed"], found["written"], found["diff"]) == (False, [], [])
    assert held(etc) == wanted
    assert {path.stat().st_ino for path in etc.iterdir()} == inodes


@pytest.mark.parametrize(
    ("harm", "before", "after"),
    [
        (lambda path: path.write_text("other\n"), "other\n", FILES["shop.service"]),
        (lambda path: path.write_bytes(b"\xff\n"), "\N{REPLACEMENT CHARACTER}\n", FILES["shop.service"]),
        (lambda path: path.unlink(), "", FILES["shop.service"]),
        (lambda path: path.chmod(0o644), {"mode": "0644"}, {"mode": "0640"}),
    ],
    ids=["other", "bytes", "gone", "mode"],
)
def test_what_is_amiss_is_mended(ship: Ship, etc: Path, harm: Callable[[Path], Any], before: Any, after: Any) -> None:
    ship()
    path = etc / "shop.service"
    harm(path)
    there = {each: each.read_bytes() for each in etc.iterdir()}
    for check_mode in (True, False):
        found = ship(_ansible_check_mode=check_mode)
        assert (found["changed"], found["written"]) == (True, [str(path)])
        assert told(found) == [(str(path), before, after)]
        if check_mode:
            assert {each: each.read_bytes() for each in etc.iterdir()} == there
    assert held(etc) == {name: (text, 0o640) for name, text in FILES.items()}


def test_what_is_there_may_be_left_alone(ship: Ship, etc: Path) -> None:
    (etc / "shop.service").write_text("of then\n")
    (etc / "shop.service").chmod(0o600)
    found = ship(force=False)
    assert found["written"] == [f"{etc}/shop.socket"]
    assert held(etc)["shop.service"] == ("of then\n", 0o600)


def test_a_link_is_replaced_and_not_followed(ship: Ship, etc: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("of somebody else\n")
    (etc / "shop.service").symlink_to(tmp_path / "elsewhere")
    assert ship()["changed"] is True
    assert (tmp_path / "elsewhere").read_text() == "of somebody else\n"
    assert not (etc / "shop.service").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_and_the_group(ship: Ship, etc: Path) -> None:
    found = ship(owner="nobody", group="daemon")
    assert len(found["written"]) == 2
    assert {(path.owner(), path.group()) for path in etc.iterdir()} == {("nobody", "daemon")}
    assert ship(owner="nobody", group="daemon")["changed"] is False
    assert told(ship(owner="root"))[0][1:] == ({"owner": 65534}, {"owner": 0})


def test_a_directory_that_is_not_there(ship: Ship, etc: Path) -> None:
    etc.rmdir()
    assert ship(_ansible_check_mode=True)["written"] == [f"{etc}/{name}" for name in FILES]
    found = ship()
    assert found["failed"] is True
    assert found["msg"].startswith(f"dest: got {str(etc)!r}, which is no directory on the host.")


def test_a_directory_where_a_file_should_be(ship: Ship, etc: Path) -> None:
    (etc / "shop.socket").mkdir()
    found = ship()
    assert found["failed"] is True
    assert found["msg"] == f"can't write {etc}/shop.socket: Is a directory"
    assert found["written"] == [f"{etc}/shop.service"]


def test_the_directory_is_made_where_it_may_be(ship: Ship, etc: Path) -> None:
    etc.rmdir()
    for check_mode in (True, False):
        found = ship(directory_mode="0750", links={"current": "shop.service"}, _ansible_check_mode=check_mode)
        assert found["written"] == [str(etc), *(f"{etc}/{name}" for name in (*FILES, "current"))]
        assert etc.exists() != check_mode
    assert etc.stat().st_mode & 0o777 == 0o750
    assert ship(directory_mode="0750", links={"current": "shop.service"})["changed"] is False
    etc.chmod(0o700)
    assert ship()["changed"] is False
    found = ship(directory_mode="0750")
    assert told(found) == [(str(etc), {"mode": "0700"}, {"mode": "0750"})]
    assert etc.stat().st_mode & 0o777 == 0o750


def test_directories(ship: Ship, etc: Path) -> None:
    wanted = {"releases": "0755", "releases/old": "0700"}
    paths = [etc / name for name in wanted]
    for check_mode in (True, False):
        found = ship(directories=wanted, files={}, _ansible_check_mode=check_mode)
        assert told(found) == [(str(path), {"state": "absent"}, {"state": "directory"}) for path in paths]
        assert [path.is_dir() for path in paths] == [not check_mode] * 2
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o755, 0o700]
    assert ship(directories=wanted, files={})["changed"] is False
    paths[0].chmod(0o700)
    assert told(ship(directories=wanted, files={})) == [(str(paths[0]), {"mode": "0700"}, {"mode": "0755"})]
    assert paths[0].stat().st_mode & 0o777 == 0o755


def test_a_directory_that_is_elsewhere(ship: Ship, etc: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (etc / "releases").symlink_to(tmp_path / "disk")
    for check_mode in (True, False):
        found = ship(directories={"releases": "0755"}, files={}, _ansible_check_mode=check_mode)
        assert told(found) == [(str(tmp_path / "disk"), {"mode": "0700"}, {"mode": "0755"})]
    assert (tmp_path / "disk").stat().st_mode & 0o777 == 0o755
    assert (etc / "releases").is_symlink()
    assert ship(directories={"releases": "0755"}, files={})["changed"] is False


def test_a_file_where_a_directory_should_be(ship: Ship, etc: Path) -> None:
    (etc / "releases").write_text("of somebody\n")
    found = ship(directories={"releases": "0755"}, files={})
    assert (found["failed"], found["msg"]) == (True, f"can't write {etc}/releases: File exists")
    assert (etc / "releases").read_text() == "of somebody\n"


@pytest.mark.parametrize("before", ["", "elsewhere", "a file"])
def test_links(ship: Ship, etc: Path, before: str) -> None:
    path = etc / "current"
    if before == "elsewhere":
        path.symlink_to(before)
    elif before:
        path.write_text(before)
    shown = before if before == "elsewhere" else ""
    for check_mode in (True, False):
        found = ship(files={}, links={"current": "generations/2"}, _ansible_check_mode=check_mode)
        assert told(found) == [(str(path), shown, "generations/2")]
        assert (path.is_symlink() and str(path.readlink()) == "generations/2") != check_mode
    assert ship(files={}, links={"current": "generations/2"})["changed"] is False
    assert [each.name for each in etc.iterdir()] == ["current"]


def test_a_directory_where_a_link_should_be(ship: Ship, etc: Path) -> None:
    (etc / "current").mkdir()
    found = ship(files={}, links={"current": "generations/2"})
    assert (found["failed"], found["msg"]) == (True, f"can't write {etc}/current: Is a directory")


@pytest.mark.parametrize("problem", [False, True])
def test_texts_are_shown_only_where_somebody_asks(
    ship: Ship, etc: Path, monkeypatch: pytest.MonkeyPatch, problem: bool
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "_log_to_syslog", lambda _module, text: logged.append(text))
    if problem:
        (etc / "shop.service").mkdir()
    found = ship(_ansible_diff=False)
    assert found["invocation"]["module_args"]["files"] == list(FILES)
    assert not any(text in str([found, logged]) for text in ("ExecStart", "no line break"))
