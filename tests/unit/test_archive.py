"""The archive that an application travels in, and those that it comes in."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils import source
from ansible_collections.pyweb.deploy.plugins.plugin_utils import archive


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An application with every kind of thing that travels."""
    directory = tmp_path / "app"
    for name, text in {"wsgi.py": "app = 1\n", "shop/main.py": "x\n", "bin/tool": "#!/bin/sh\n"}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    (directory / "bin/tool").chmod(0o755)
    (directory / "latest").symlink_to("shop/main.py")
    return directory


# The one that travels


def untar(packed: Path, directory: Path) -> Path:
    directory.mkdir()
    subprocess.run(["tar", "-xzpf", str(packed), "-C", str(directory)], check=True, umask=0o077)
    return directory


def test_it_unpacks_to_the_same_digest(app: Path, tmp_path: Path) -> None:
    for name in ("a b/ü\nname", "tests/test_x.py", f"{'long/' * 30}{'name' * 40}"):
        (app / name).parent.mkdir(parents=True)
        (app / name).write_text("x")
    archive.write(str(app), ["tests"], str(tmp_path / "a.tar.gz"), "top")
    unpacked = untar(tmp_path / "a.tar.gz", tmp_path / "unpacked")
    (unpacked / "top/.complete").unlink()
    assert source.digest(str(unpacked / "top")) == source.digest(str(app), ["tests"])
    assert not (unpacked / "top/tests").exists()


def test_it_unpacks_readable_for_the_service(app: Path, tmp_path: Path) -> None:
    for path in app.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)
    archive.write(str(app), [], str(tmp_path / "a.tar.gz"), "top")
    unpacked = untar(tmp_path / "a.tar.gz", tmp_path / "unpacked")
    assert (unpacked / "top").stat().st_mode & 0o777 == 0o755
    assert (unpacked / "top/shop").stat().st_mode & 0o777 == 0o755
    assert (unpacked / "top/wsgi.py").stat().st_mode & 0o777 == 0o644


def test_it_is_reproducible(app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.write(str(app), [], str(tmp_path / "one.tar.gz"), "top")
    copy = shutil.copytree(app, tmp_path / "copy", symlinks=True)
    os.utime(copy / "wsgi.py", (1, 1))
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    archive.write(str(copy), [], str(tmp_path / "two.tar.gz"), "top")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()


@pytest.mark.parametrize("name", [".complete", ".complete/x", "a/.complete", ".completely"])
def test_the_mark_comes_last_whatever_the_source_has(app: Path, tmp_path: Path, name: str) -> None:
    (app / name).parent.mkdir(exist_ok=True)
    (app / name).write_text("the source's own")
    archive.write(str(app), [], str(tmp_path / "a.tar.gz"), "top")
    with tarfile.open(tmp_path / "a.tar.gz") as packed:
        names = packed.getnames()
    assert len(set(names)) == len(names)
    marks = [place for place, member in enumerate(names) if member.split("/")[1:2] == [".complete"]]
    assert marks == list(range(len(names)))[-len(marks) :]
    assert (untar(tmp_path / "a.tar.gz", tmp_path / "unpacked") / "top" / name).read_text() == "the source's own"


def test_root_owns_what_is_in_it(app: Path, tmp_path: Path) -> None:
    archive.write(str(app), [], str(tmp_path / "a.tar.gz"), "top")
    with tarfile.open(tmp_path / "a.tar.gz") as packed:
        members = packed.getmembers()
    inside = ["bin", "bin/tool", "latest", "shop", "shop/main.py", "wsgi.py", ".complete"]
    assert [member.name for member in members] == ["top", *(f"top/{name}" for name in inside)]
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "root", "root")}


# Those that it comes in


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def of_kind(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    return member


def tar(path: Path, *members: str | tarfile.TarInfo) -> Path:
    """Write a tar archive with empty files of these names, or with these members."""
    with tarfile.open(path, "w:gz") as packed:
        for member in members:
            packed.addfile(tarfile.TarInfo(member) if isinstance(member, str) else member, io.BytesIO())
    return path


def zipped(path: Path, members: dict[str, tuple[int, str]]) -> Path:
    """Write a zip archive of these names, each with mode and content."""
    with zipfile.ZipFile(path, "w") as packed:
        for name, (mode, content) in members.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            packed.writestr(member, content)
    return path


def by_tar(compress: Callable[[bytes], bytes] = bytes) -> Callable[[Path, Path], None]:
    """Pack as people do, and compress in Python: not every machine has the programs for that."""

    def pack(app: Path, packed: Path) -> None:
        packed.write_bytes(compress(subprocess.check_output(["tar", "-c", "-C", str(app), "."])))

    return pack


def by_zip(app: Path, packed: Path) -> None:
    members = {}
    for entry in source.entries(str(app)):
        kind = stat.S_IFLNK if entry.link is not None else stat.S_IFREG
        content = entry.link if entry.link is not None else (app / entry.path).read_text()
        members[entry.path] = (kind | entry.mode, content)
    zipped(packed, members)


@pytest.mark.parametrize(
    "pack",
    [by_tar(), by_tar(gzip.compress), by_tar(lzma.compress), by_tar(bz2.compress), by_zip],
    ids=["tar", "tar.gz", "tar.xz", "tar.bz2", "zip"],
)
def test_every_format_unpacks_to_the_same_digest(app: Path, tmp_path: Path, pack: Callable[[Path, Path], None]) -> None:
    pack(app, tmp_path / "packed")
    (tmp_path / "unpacked").mkdir()
    archive.unpack(str(tmp_path / "packed"), str(tmp_path / "unpacked"))
    assert source.digest(str(tmp_path / "unpacked")) == source.digest(str(app))


def test_a_tar_archive_that_ends_in_a_zip_archive(app: Path, tmp_path: Path) -> None:
    zipped(app / "zzz.zip", {"inner.py": (0o644, "")})
    by_tar()(app, tmp_path / "packed")
    (tmp_path / "unpacked").mkdir()
    archive.unpack(str(tmp_path / "packed"), str(tmp_path / "unpacked"))
    assert (tmp_path / "unpacked/zzz.zip").exists()


def test_hard_links_become_files(app: Path, tmp_path: Path) -> None:
    os.link(app / "wsgi.py", app / "zzz.py")
    by_tar(gzip.compress)(app, tmp_path / "packed")
    (tmp_path / "unpacked").mkdir()
    archive.unpack(str(tmp_path / "packed"), str(tmp_path / "unpacked"))
    assert (tmp_path / "unpacked/zzz.py").read_text() == "app = 1\n"


@pytest.mark.parametrize(
    "member",
    [
        "../evil",
        "shop/../../evil",
        "/etc/evil",
        "..",
        link("evil", "/etc/passwd"),
        link("shop/evil", "../../etc"),
        link("evil", "/etc/passwd", tarfile.LNKTYPE),
        link("evil", "../evil", tarfile.LNKTYPE),
    ],
    ids=lambda member: getattr(member, "linkname", member),
)
def test_what_climbs_out_of_a_tar_archive(tmp_path: Path, member: str | tarfile.TarInfo) -> None:
    packed = tar(tmp_path / "packed", "wsgi.py", member)
    (tmp_path / "in/unpacked").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"evil|'\.\.'") as caught:
        archive.unpack(str(packed), str(tmp_path / "in/unpacked"))
    assert "leads out of the archive's own directory" in str(caught.value)
    assert os.listdir(tmp_path / "in") == ["unpacked"]
    assert not (tmp_path / "in/unpacked/evil").is_symlink()


@pytest.mark.parametrize(
    ("name", "mode", "content"),
    [
        ("../evil", stat.S_IFREG | 0o644, ""),
        ("/etc/evil", stat.S_IFREG | 0o644, ""),
        ("evil", stat.S_IFLNK | 0o777, "/etc/passwd"),
        ("evil", stat.S_IFLNK | 0o777, "../.."),
    ],
)
def test_what_climbs_out_of_a_zip_archive(tmp_path: Path, name: str, mode: int, content: str) -> None:
    packed = zipped(tmp_path / "packed", {name: (mode, content)})
    (tmp_path / "in/unpacked").mkdir(parents=True)
    with pytest.raises(ValueError, match="evil' leads out of the archive's own directory"):
        archive.unpack(str(packed), str(tmp_path / "in/unpacked"))
    assert os.listdir(tmp_path / "in") == ["unpacked"]
    assert os.listdir(tmp_path / "in/unpacked") == []


def test_links_that_lead_out_together(tmp_path: Path) -> None:
    packed = tar(tmp_path / "packed", "p/q/wsgi.py", link("p/q/x", "../.."), link("z", "p/q/x/.."))
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(ValueError, match="'z' leads out of the archive's own directory"):
        archive.unpack(str(packed), str(tmp_path / "unpacked"))


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A link within the archive is allowed; a file below its name is no way to write to where it leads."""
    packed = tar(tmp_path / "packed", link("a", "b"), "a/wsgi.py")
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(OSError, match="File exists"):
        archive.unpack(str(packed), str(tmp_path / "unpacked"))


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_what_has_no_place_in_a_source(tmp_path: Path, kind: bytes) -> None:
    packed = tar(tmp_path / "packed", of_kind("odd", kind))
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(ValueError, match="'odd' is neither a file, a directory nor a link"):
        archive.unpack(str(packed), str(tmp_path / "unpacked"))


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress], ids=["gz", "xz", "bz2"])
def test_archives_that_are_cut_off(app: Path, tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    (app / "data").write_bytes(os.urandom(100_000))
    by_tar(compress)(app, tmp_path / "packed")
    whole = (tmp_path / "packed").read_bytes()
    (tmp_path / "packed").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(ValueError, match="packed"):
        archive.unpack(str(tmp_path / "packed"), str(tmp_path / "unpacked"))


def test_what_is_no_archive(app: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"wsgi\.py is neither a tar nor a zip archive"):
        archive.unpack(str(app / "wsgi.py"), str(tmp_path))


def test_an_archive_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        archive.unpack(str(tmp_path / "nowhere"), str(tmp_path))
