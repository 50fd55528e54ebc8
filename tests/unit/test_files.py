"""Small files, links and directories on the host: what is written, what is left alone, what is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils.files import Attributes, Files

Data = dict[str, Any]
Ship = Callable[..., Data]

FILES = {"shop.service": "[Service]\nExecStart=/bin/true\n", "shop.socket": "ü\r\n € no line break"}


@pytest.fixture
def ship(tmp_path: Path) -> Ship:
    """Write files, directories and links below a directory, as a module does."""

    def run(
        files: dict[str, str] | None = None,
        directories: dict[str, str] | None = None,
        links: dict[str, str] | None = None,
        check: bool = False,
        force: bool = True,
        attributes: Attributes = Attributes(mode="0640"),  # noqa: B008 - it can't be changed
    ) -> Data:
        written = Files(check)
        for name, mode in (directories or {}).items():
            written.directory(str(tmp_path / "etc" / name), Attributes(mode=mode))
        for name, text in (FILES if files is None else files).items():
            written.file(str(tmp_path / "etc" / name), text, attributes, force)
        for name, target in (links or {}).items():
            written.link(str(tmp_path / "etc" / name), target)
        return {"changed": bool(written.diff), "written": written.written, "diff": written.diff}

    (tmp_path / "etc").mkdir()
    return run


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """The directory that the files go to."""
    return tmp_path / "etc"


def held(directory: Path) -> dict[str, tuple[str, int]]:
    """Text and mode of each file."""
    return {path.name: (path.read_bytes().decode(), path.stat().st_mode & 0o777) for path in directory.iterdir()}


def diff_entries(found: Data) -> list[tuple[str, Any, Any]]:
    """What ``--diff`` shows."""
    assert all(part["before_header"] == part["after_header"] for part in found["diff"])
    return [(part["after_header"], part["before"], part["after"]) for part in found["diff"]]


def test_each_file_is_written_once(ship: Ship, etc: Path) -> None:
    wanted = {name: (text, 0o640) for name, text in FILES.items()}
    found = ship()
    assert (found["changed"], found["written"]) == (True, [f"{etc}/{name}" for name in FILES])
    assert diff_entries(found) == [(f"{etc}/{name}", "", text) for name, text in FILES.items()]
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
        found = ship(check=check_mode)
        assert (found["changed"], found["written"]) == (True, [str(path)])
        assert diff_entries(found) == [(str(path), before, after)]
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
    found = ship(attributes=Attributes("nobody", "daemon", "0640"))
    assert len(found["written"]) == 2
    assert {(path.owner(), path.group()) for path in etc.iterdir()} == {("nobody", "daemon")}
    assert ship(attributes=Attributes("nobody", "daemon", "0640"))["changed"] is False
    assert diff_entries(ship(attributes=Attributes("root", "daemon", "0640")))[0][1:] == (
        {"owner": 65534},
        {"owner": 0},
    )


def test_a_directory_where_a_file_should_be(ship: Ship, etc: Path) -> None:
    (etc / "shop.socket").mkdir()
    with pytest.raises(IsADirectoryError):
        ship()


def test_directories(ship: Ship, etc: Path) -> None:
    wanted = {"code": "0755", "code/old": "0700"}
    paths = [etc / name for name in wanted]
    for check_mode in (True, False):
        found = ship(directories=wanted, files={}, check=check_mode)
        assert diff_entries(found) == [(str(path), {"state": "absent"}, {"state": "directory"}) for path in paths]
        assert [path.is_dir() for path in paths] == [not check_mode] * 2
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o755, 0o700]
    assert ship(directories=wanted, files={})["changed"] is False
    paths[0].chmod(0o700)
    assert diff_entries(ship(directories=wanted, files={})) == [(str(paths[0]), {"mode": "0700"}, {"mode": "0755"})]
    assert paths[0].stat().st_mode & 0o777 == 0o755


def test_a_directory_that_is_elsewhere(ship: Ship, etc: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (etc / "code").symlink_to(tmp_path / "disk")
    for check_mode in (True, False):
        found = ship(directories={"code": "0755"}, files={}, check=check_mode)
        assert diff_entries(found) == [(str(tmp_path / "disk"), {"mode": "0700"}, {"mode": "0755"})]
    assert (tmp_path / "disk").stat().st_mode & 0o777 == 0o755
    assert (etc / "code").is_symlink()
    assert ship(directories={"code": "0755"}, files={})["changed"] is False


def test_a_file_where_a_directory_should_be(ship: Ship, etc: Path) -> None:
    (etc / "code").write_text("of somebody\n")
    with pytest.raises(FileExistsError):
        ship(directories={"code": "0755"}, files={})
    assert (etc / "code").read_text() == "of somebody\n"


@pytest.mark.parametrize("before", ["", "elsewhere", "a file"])
def test_links(ship: Ship, etc: Path, before: str) -> None:
    path = etc / "current"
    if before == "elsewhere":
        path.symlink_to(before)
    elif before:
        path.write_text(before)
    shown = before if before == "elsewhere" else ""
    for check_mode in (True, False):
        found = ship(files={}, links={"current": "releases/2"}, check=check_mode)
        assert diff_entries(found) == [(str(path), shown, "releases/2")]
        assert (path.is_symlink() and str(path.readlink()) == "releases/2") != check_mode
    assert ship(files={}, links={"current": "releases/2"})["changed"] is False
    assert [each.name for each in etc.iterdir()] == ["current"]


def test_a_directory_where_a_link_should_be(ship: Ship, etc: Path) -> None:
    (etc / "current").mkdir()
    with pytest.raises(IsADirectoryError):
        ship(files={}, links={"current": "releases/2"})


@pytest.mark.parametrize("fault", ["", "filling", "sync"])
@pytest.mark.usefixtures("ship")
def test_a_directory_appears_as_a_whole(etc: Path, fault: str) -> None:
    place = etc / "code"
    faults = {fault}

    def fill(directory: str) -> None:
        (Path(directory) / "wsgi.py").write_text("app = 1\n")
        if "filling" in faults:
            raise OSError(28, "No space left on device", directory)
        assert not place.exists()

    def run(command: list[str]) -> tuple[int, str, str]:
        assert command[:2] == ["sync", "--file-system"]
        return (1, "", "Input/output error") if "sync" in faults else (0, "", "")

    if fault:
        with pytest.raises(OSError, match=r"No space left|sync failed: Input/output error"):
            Files(False).tree(str(place), fill, run)
        assert not place.exists()
        faults.clear()
    checked, done = Files(True), Files(False)
    checked.tree(str(place), fill, run)
    assert not place.exists()
    done.tree(str(place), fill, run)
    assert checked.diff == done.diff
    assert (place / "wsgi.py").read_text() == "app = 1\n"
    assert [path.name for path in etc.iterdir()] == ["code"], "what a run left that was cut off is gone"
    assert place.stat().st_mode & 0o777 == 0o755
