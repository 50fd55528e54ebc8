# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The application's directory on the controller: what travels, its digest, its archive.

Only content and what Git tracks of modes count. A fresh clone of the same commit therefore has the
same digest, whatever the umask, the time stamps, the owner or the empty directories of the checkout are.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NEVER_SHIPPED = (".git", ".hg", ".svn", ".venv", "__pycache__", "*.pyc")
"""Patterns that never travel, whatever the caller excludes."""

DIGEST_LENGTH = 12
"""Hexadecimal digits of a digest that names a directory on the host."""

_EXECUTABLE = 0o755
_PLAIN = 0o644


@dataclass(frozen=True)
class Entry:
    """One file or symbolic link of the tree."""

    path: str
    """Relative to the directory, with ``/`` between the parts."""
    mode: int
    """``0o755`` where the owner may execute the file, else ``0o644``."""
    link: str | None
    """Target of a symbolic link, ``None`` for a file."""


def short_digest(*parts: bytes) -> str:
    """Digest of several byte strings, in which the borders between them count.

    Returns the first `DIGEST_LENGTH` hexadecimal digits of a SHA-256.
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(b"%d:" % len(part))
        total.update(part)
    return total.hexdigest()[:DIGEST_LENGTH]


def is_excluded(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether a relative path matches one of the shell patterns.

    A pattern with a ``/`` is compared with the whole path, any other one with the last part of it.
    """
    name = path.rsplit("/", 1)[-1]
    return any(
        fnmatch.fnmatchcase(path if "/" in pattern else name, pattern.strip("/") if "/" in pattern else pattern)
        for pattern in patterns
    )


def entries(directory: str, exclude: Iterable[str] = ()) -> list[Entry]:
    """List what travels, sorted by path.

    Left out: `NEVER_SHIPPED`, the caller's patterns, virtual environments (they hold a ``pyvenv.cfg``), empty
    directories and whatever is neither a file nor a symbolic link. Links are kept as links and never followed.

    Raises `OSError` where the directory or a part of it can't be read.
    """
    patterns = (*NEVER_SHIPPED, *exclude)
    return sorted(_walk(directory, "", patterns), key=lambda entry: os.fsencode(entry.path))


def _walk(directory: str, prefix: str, patterns: tuple[str, ...]) -> Iterator[Entry]:
    with os.scandir(os.path.join(directory, prefix)) as found:
        for item in found:
            path = prefix + item.name
            if is_excluded(path, patterns):
                continue
            if item.is_symlink():
                yield Entry(path, 0o777, os.readlink(item.path))
            elif item.is_dir():
                if not os.path.exists(os.path.join(item.path, "pyvenv.cfg")):
                    yield from _walk(directory, path + "/", patterns)
            elif item.is_file():
                executable = item.stat().st_mode & stat.S_IXUSR
                yield Entry(path, _EXECUTABLE if executable else _PLAIN, None)


def digest(directory: str, exclude: Iterable[str] = ()) -> str:
    """Digest of paths, modes and contents: `DIGEST_LENGTH` hexadecimal digits."""
    parts: list[bytes] = []
    for entry in entries(directory, exclude):
        parts += [os.fsencode(entry.path), b"%o" % entry.mode]
        parts.append(os.fsencode(entry.link) if entry.link is not None else _file_digest(directory, entry))
    return short_digest(*parts)


def _file_digest(directory: str, entry: Entry) -> bytes:
    with open(os.path.join(directory, entry.path), "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def write_archive(directory: str, exclude: Iterable[str], destination: str) -> None:
    """Write a reproducible ``tar.gz`` of what travels: root owns it all, time stamps are zero.

    Raises `OSError` where a file can't be read or the archive can't be written.
    """
    with (
        open(destination, "wb") as output,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=output, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        made: set[str] = set()
        for entry in entries(directory, exclude):
            for parent in _parents(entry.path):
                if parent not in made:
                    made.add(parent)
                    archive.addfile(_member(parent, tarfile.DIRTYPE, _EXECUTABLE))
            if entry.link is not None:
                member = _member(entry.path, tarfile.SYMTYPE, entry.mode)
                member.linkname = entry.link
                archive.addfile(member)
                continue
            with open(os.path.join(directory, entry.path), "rb") as file:
                content = file.read()
            member = _member(entry.path, tarfile.REGTYPE, entry.mode)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]


def _member(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type = kind
    member.mode = mode
    member.uname = member.gname = "root"
    return member
