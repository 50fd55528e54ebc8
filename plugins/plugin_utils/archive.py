# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Archives: the one that an application travels in, and those that it comes in."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ansible_collections.pyweb.deploy.plugins.module_utils import source
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import COMPLETE


def write(directory: str, exclude: Iterable[str], destination: str, top: str) -> None:
    """Write a reproducible ``tar.gz`` of what travels, in a directory `top`: root owns it all, time stamps are zero.

    Its last member is the file `COMPLETE`, so that who finds that one finds the others too.

    Raises `OSError` where a file can't be read or the archive can't be written.
    """
    with (
        open(destination, "wb") as output,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=output, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        archive.addfile(_member(top, tarfile.DIRTYPE, source.EXECUTABLE))
        made: set[str] = set()
        # A source may have something of that name.
        entries = sorted(source.entries(directory, exclude), key=_is_mark)
        for entry in entries:
            path = f"{top}/{entry.path}"
            for parent in _parents(path)[1:]:
                if parent not in made:
                    made.add(parent)
                    archive.addfile(_member(parent, tarfile.DIRTYPE, source.EXECUTABLE))
            if entry.link is not None:
                member = _member(path, tarfile.SYMTYPE, entry.mode)
                member.linkname = entry.link
                archive.addfile(member)
                continue
            with open(os.path.join(directory, entry.path), "rb") as file:
                content = file.read()
            member = _member(path, tarfile.REGTYPE, entry.mode)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if not any(map(_is_mark, entries)):
            archive.addfile(_member(f"{top}/{COMPLETE}", tarfile.REGTYPE, source.PLAIN))


def _is_mark(entry: source.Entry) -> bool:
    return entry.path.split("/")[0] == COMPLETE


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _member(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type = kind
    member.mode = mode
    member.uname = member.gname = "root"
    return member


@dataclass(frozen=True)
class _Packed:
    """A member of somebody's archive."""

    name: str
    kind: int
    """``stat.S_IFDIR``, ``S_IFREG`` or ``S_IFLNK``; 0 for what has no place in a source."""
    executable: bool
    content: bytes
    """Of a link: its target."""


def unpack(path: str, directory: str) -> None:
    """Unpack a tar archive (plain, or packed with gzip, bzip2 or xz) or a zip archive into an empty directory.

    Raises `ValueError` where it is neither, is damaged, or holds what would end up outside the directory: nothing is
    written outside. Raises `OSError` where the archive can't be read or the directory not be written.
    """
    # In this order: what ends in a zip archive counts as one, even a tar archive with one in it.
    if tarfile.is_tarfile(path):
        members = _tar_members(path)
    elif zipfile.is_zipfile(path):
        members = _zip_members(path)
    else:
        raise ValueError(f"{path} is neither a tar nor a zip archive")
    links: list[tuple[str, str]] = []
    try:
        for member in members:
            place = os.path.join(directory, _inside(member.name, member.name))
            if member.kind == stat.S_IFDIR:
                os.makedirs(place, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if member.kind == stat.S_IFREG:
                with open(place, "wb") as file:
                    file.write(member.content)
                os.chmod(place, source.EXECUTABLE if member.executable else source.PLAIN)
            elif member.kind == stat.S_IFLNK:
                target = os.fsdecode(member.content)
                _inside(posixpath.join(posixpath.dirname(member.name), target), member.name)
                links.append((target, place))
            else:
                raise ValueError(f"{path}: {member.name!r} is neither a file, a directory nor a link")
    except (EOFError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error) as problem:
        raise ValueError(f"{path} can't be unpacked: {problem}") from problem
    # Last, so that nothing is written through one of them.
    for target, place in links:
        os.symlink(target, place)
    root = os.path.realpath(directory)
    for _target, place in links:
        if os.path.commonpath([root, os.path.realpath(place)]) != root:
            raise _leads_out(os.path.relpath(place, directory))


def _inside(path: str, name: str) -> str:
    """Relative path of what stays inside; `ValueError` for what doesn't."""
    normal = posixpath.normpath(path)
    if normal.startswith(("/", "../")) or normal == ".." or "\0" in normal:
        raise _leads_out(name)
    return normal


def _leads_out(name: str) -> ValueError:
    return ValueError(f"{name!r} leads out of the archive's own directory")


def _tar_members(path: str) -> Iterator[_Packed]:
    kinds = {tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}
    with tarfile.open(path) as archive:
        for member in archive:
            # A hard link is read as the file that it leads to, which must be in the archive.
            regular = member.isfile() or member.islnk()
            kind = stat.S_IFREG if regular else kinds.get(member.type, 0)
            content = os.fsencode(member.linkname)
            if regular:
                try:
                    file = archive.extractfile(member)
                except KeyError as missing:
                    raise _leads_out(member.name) from missing
                content = file.read() if file else b""
            yield _Packed(member.name, kind, bool(member.mode & stat.S_IXUSR), content)


def _zip_members(path: str) -> Iterator[_Packed]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            mode = member.external_attr >> 16
            kind = stat.S_IFDIR if member.is_dir() else stat.S_IFMT(mode) or stat.S_IFREG
            known = kind in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK)
            yield _Packed(member.filename, kind if known else 0, bool(mode & stat.S_IXUSR), archive.read(member))
