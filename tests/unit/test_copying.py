"""Copies of trees that somebody else wrote: what arrives, and what doesn't."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils.copying import CopyError, Options, copy_file, copy_tree


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    (directory / "lib").mkdir(parents=True)
    (directory / "lib/a.py").write_text("a")
    (directory / "run").write_text("#!/bin/sh")
    (directory / "run").chmod(0o4777)
    (directory / "lib64").symlink_to("lib")
    (directory / "out").symlink_to("/etc/passwd")
    (directory / "lib").chmod(0o700)
    os.utime(directory / "lib/a.py", ns=(5, 123456789))
    return directory


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def listed(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_directories_and_links(source: Path, target: Path) -> None:
    copy_tree(str(source), str(target))
    assert listed(target) == listed(source)
    assert (target / "lib/a.py").read_text() == "a"
    assert os.readlink(target / "lib64") == "lib"
    assert os.readlink(target / "out") == "/etc/passwd"


def test_modes_are_masked_whatever_the_umask(source: Path, target: Path) -> None:
    before = os.umask(0o077)
    try:
        copy_tree(str(source), str(target))
    finally:
        os.umask(before)
    assert [mode(target / each) for each in ("run", "lib", "lib/a.py", ".")] == [0o755, 0o755, 0o644, 0o755]


def test_bytecode_stays_valid(source: Path, target: Path) -> None:
    """It names the second in which its source was written."""
    copy_tree(str(source), str(target))
    assert (target / "lib/a.py").stat().st_mtime_ns == 123456789


def test_hard_links_end(source: Path, target: Path) -> None:
    os.link(source / "run", source / "again")
    copy_tree(str(source), str(target))
    assert (target / "run").stat().st_nlink == 1


def test_other_kinds_of_files_are_refused(source: Path, target: Path) -> None:
    os.mkfifo(source / "lib/pipe")
    with pytest.raises(CopyError, match="source/lib/pipe is neither a file, a directory nor a symbolic link"):
        copy_tree(str(source), str(target))


def test_or_left_out(source: Path, target: Path) -> None:
    os.mkfifo(source / "lib/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        directory = os.getcwd()
        os.chdir(source)  # the path of a socket must be short
        server.bind("socket")
        os.chdir(directory)
    copy_tree(str(source), str(target), Options(skip_special=True))
    assert {"lib/pipe", "socket"} & set(listed(target)) == set()


def test_nothing_is_written_through_a_link(source: Path, target: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("before")
    target.mkdir()
    (target / "run").symlink_to(victim)
    with pytest.raises(FileExistsError):
        copy_tree(str(source), str(target))
    assert victim.read_text() == "before"


def test_nor_into_a_directory_behind_one(source: Path, target: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    target.mkdir()
    (target / "lib").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="Not a directory"):
        copy_tree(str(source), str(target), Options(only_new=True))
    assert listed(tmp_path / "victim") == []


def test_the_target_itself_is_no_link(source: Path, target: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    target.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="Not a directory"):
        copy_tree(str(source), str(target))


def test_only_what_is_new(source: Path, target: Path) -> None:
    (target / "lib").mkdir(parents=True)
    (target / "lib/a.py").write_text("older")
    (target / "lib64").symlink_to("elsewhere")
    copy_tree(str(source), str(target), Options(only_new=True))
    assert (target / "lib/a.py").read_text() == "older"
    assert os.readlink(target / "lib64") == "elsewhere"
    assert (target / "run").exists()


def test_owner(source: Path, target: Path) -> None:
    copy_tree(str(source), str(target), Options(owner=(os.getuid(), os.getgid())))
    assert {path.lstat().st_uid for path in target.rglob("*")} == {os.getuid()}


def test_one_file(source: Path, tmp_path: Path) -> None:
    (source / "link").symlink_to("run")
    copy_file(str(source / "link"), str(tmp_path / "copy"))
    assert not (tmp_path / "copy").is_symlink()
    assert mode(tmp_path / "copy") == 0o755


def test_what_is_no_file(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(CopyError, match="is not a file any more"):
        copy_file(str(source / "pipe"), str(tmp_path / "copy"))
