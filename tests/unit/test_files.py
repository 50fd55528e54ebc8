"""Small files, links and directories on the host: what is written, what is left alone, what is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils.files import WHOLE, Attributes, Before, Files

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


def shown(diff: list[Data]) -> list[str | tuple[str, str, str, str]]:
    """What ``--diff`` shows: lines, and texts."""
    keys = ("before_header", "after_header", "before", "after")
    return [part["prepared"].rstrip("\n") if "prepared" in part else tuple(part[key] for key in keys) for part in diff]


def test_each_file_is_written_once(ship: Ship, etc: Path) -> None:
    wanted = {name: (text, 0o640) for name, text in FILES.items()}
    found = ship()
    assert (found["changed"], found["written"]) == (True, [f"{etc}/{name}" for name in FILES])
    assert shown(found["diff"]) == [f"{etc}/{name}: new, {len(text.encode())} bytes" for name, text in FILES.items()]
    assert held(etc) == wanted
    inodes = {path.stat().st_ino for path in etc.iterdir()}
    found = ship()
    assert (found["changed"], found["written"], found["diff"]) == (False, [], [])
    assert held(etc) == wanted
    assert {path.stat().st_ino for path in etc.iterdir()} == inodes


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (lambda path: path.write_text("other\n"), ("other\n", FILES["shop.service"])),
        (lambda path: path.write_bytes(b"\xff\n"), "2 bytes -> 30 bytes, not shown: not text"),
        (lambda path: path.unlink(), "new, 30 bytes"),
        (lambda path: path.chmod(0o644), "mode 0644 -> 0640"),
    ],
    ids=["other", "bytes", "gone", "mode"],
)
def test_what_is_amiss_is_mended(ship: Ship, etc: Path, harm: Callable[[Path], Any], line: Any) -> None:
    ship()
    path = etc / "shop.service"
    harm(path)
    there = {each: each.read_bytes() for each in etc.iterdir()}
    for check_mode in (True, False):
        found = ship(check=check_mode)
        assert (found["changed"], found["written"]) == (True, [str(path)])
        assert shown(found["diff"]) == [f"{path}: {line}" if isinstance(line, str) else (str(path), str(path), *line)]
        if check_mode:
            assert {each: each.read_bytes() for each in etc.iterdir()} == there
    assert held(etc) == {name: (text, 0o640) for name, text in FILES.items()}


def write(etc: Path, name: str, text: str, **how: Any) -> list[Any]:
    """Predict a file and write it; what ``--diff`` shows, the same for both."""
    predicted, real = Files(True), Files(False)
    for each in (predicted, real):
        assert each.file(str(etc / name), text, Attributes(mode="0640"), **how)
        assert each.written == [str(etc / name)]
    assert predicted.diff == real.diff
    return shown(real.diff)


@pytest.mark.usefixtures("ship")
def test_a_file_is_shown_beside_that_of_another_release(etc: Path) -> None:
    before = Before("/old/conf.py", b"workers = 1\n")
    conf = f"{etc}/conf.py"
    assert write(etc, "conf.py", "workers = 2\n", before=before) == [
        ("/old/conf.py", conf, "workers = 1\n", "workers = 2\n")
    ]
    assert write(etc, "same.py", "workers = 1\n", before=before) == [], "what is as it was isn't shown"
    assert write(etc, "conf.py", "a = 1\n", before=WHOLE) == [("/dev/null", conf, "", "a = 1\n")]
    assert write(etc, "conf.py", "b = 1\n", before=Before("", None)) == [f"{conf}: new, 6 bytes"]
    assert write(etc, "mark", "of the role's own\n", hidden=True) == []


LINES = [f"line {number}\n" for number in range(10_000)]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        ("a\0b", "a\0c", "3 bytes -> 3 bytes, not shown: not text"),
        ("".join(LINES[:101]), "new\n" * 100, "799 bytes -> 400 bytes, not shown: 201 changed lines, more than 200"),
        ("".join(LINES[:100]), "new\n" * 100, None),
        ("".join(LINES), "".join(LINES[:-1]), "96.6 KiB -> 96.6 KiB, not shown: more than 64 KiB"),
        ("short\n", "".join(LINES), "6 bytes -> 96.6 KiB, not shown: more than 64 KiB"),
    ],
    ids=["binary", "many lines", "just as many", "long", "now long"],
)
@pytest.mark.usefixtures("ship")
def test_what_nobody_would_read_is_one_line(etc: Path, before: str, after: str, line: str | None) -> None:
    (etc / "file").write_text(before)
    (found,) = write(etc, "file", after)
    assert found == (f"{etc}/file: {line}" if line else (f"{etc}/file", f"{etc}/file", before, after))


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
    found = ship(attributes=Attributes("root", "daemon", "0640"))
    assert shown(found["diff"])[0] == f"{etc}/shop.service: owner 65534 -> 0"


def test_a_directory_where_a_file_should_be(ship: Ship, etc: Path) -> None:
    (etc / "shop.socket").mkdir()
    with pytest.raises(IsADirectoryError):
        ship()


def test_directories(ship: Ship, etc: Path) -> None:
    wanted = {"code": "0755", "code/old": "0700"}
    paths = [etc / name for name in wanted]
    for check_mode in (True, False):
        found = ship(directories=wanted, files={}, check=check_mode)
        assert (found["written"], found["diff"]) == (list(map(str, paths)), []), "they are made, and not shown"
        assert [path.is_dir() for path in paths] == [not check_mode] * 2
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o755, 0o700]
    assert ship(directories=wanted, files={})["changed"] is False
    paths[0].chmod(0o700)
    assert shown(ship(directories=wanted, files={})["diff"]) == [f"{paths[0]}: mode 0700 -> 0755"]
    assert paths[0].stat().st_mode & 0o777 == 0o755


def test_a_directory_that_is_elsewhere(ship: Ship, etc: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o700)
    (etc / "code").symlink_to(tmp_path / "disk")
    for check_mode in (True, False):
        found = ship(directories={"code": "0755"}, files={}, check=check_mode)
        assert shown(found["diff"]) == [f"{tmp_path}/disk: mode 0700 -> 0755"]
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
    for check_mode in (True, False):
        found = ship(files={}, links={"current": "releases/2"}, check=check_mode)
        assert (found["written"], found["diff"]) == ([str(path)], [])
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
    assert checked.written == done.written == [str(place)]
    assert (place / "wsgi.py").read_text() == "app = 1\n"
    assert [path.name for path in etc.iterdir()] == ["code"], "what a run left that was cut off is gone"
    assert place.stat().st_mode & 0o777 == 0o755
