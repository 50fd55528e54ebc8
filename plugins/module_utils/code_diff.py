# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What ``--diff`` shows of an application's code, beside that which serves: changed texts, the rest by name."""

from __future__ import annotations

import functools
import os
import stat
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, NamedTuple

from ansible_collections.pyweb.deploy.plugins.module_utils import shown
from ansible_collections.pyweb.deploy.plugins.module_utils.files import read
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import COMPLETE

if TYPE_CHECKING:
    import tarfile

MOST_LINES, MOST_BYTES = 1000, 1 << 20
"""Added and removed lines that are shown of all files together, and how long these may be; the others are named."""

MOST_NAMES = 100
"""Files of which no more than a line is shown; the others are counted."""


class Item(NamedTuple):
    """A file or a link of an application's code."""

    path: str
    mode: int
    link: str
    """Target of a link; empty for a file."""
    size: int
    read: Callable[[], bytes | None]


def of_directory(directory: str) -> Iterator[Item]:
    """Give what is in a directory of code."""
    for place, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted([*names, *(each for each in directories if os.path.islink(os.path.join(place, each)))]):
            path = os.path.join(place, name)
            found = os.lstat(path)
            link = os.readlink(path) if stat.S_ISLNK(found.st_mode) else ""
            relative = os.path.relpath(path, directory)
            if relative != COMPLETE:
                yield Item(relative, stat.S_IMODE(found.st_mode), link, found.st_size, functools.partial(read, path))


def of_archive(archive: tarfile.TarFile) -> Iterator[Item]:
    """Give what is in an archive that the action packed."""
    for member in archive:
        path = os.path.normpath(member.name)
        if (member.isfile() or member.issym()) and path != COMPLETE:
            yield Item(path, member.mode, member.linkname, member.size, functools.partial(_content, archive, member))


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    file = archive.extractfile(member)
    return file.read() if file else None


def compare(before: str, after: str, new: Iterable[Item]) -> list[dict[str, Any]]:
    """Show how code differs from that in the directory `before`, if there is any; `after` is where it will be."""
    if not before:
        sizes = [item.size for item in new if not item.link]
        files = f"{len(sizes)} file{'' if len(sizes) == 1 else 's'}"
        return [shown.one_line(f"{after}: new, {files}, {shown.size(sum(sizes))}")] if sizes else []
    found = _Found()
    old = {item.path: item for item in of_directory(before)}
    for item in new:
        path, was = os.path.join(after, item.path), old.pop(item.path, None)
        if was is None:
            found.name(f"{path}: new, {'link to ' + item.link if item.link else shown.size(item.size)}")
        elif item.link or was.link:
            if item.link != was.link:
                found.name(f"{path}: {_kind(was)} -> {_kind(item)}")
        else:
            if item.mode != was.mode:
                found.name(f"{path}: mode {was.mode:04o} -> {item.mode:04o}")
            found.file(os.path.join(before, item.path), path, was.read() or b"", item.read() or b"")
    for item in old.values():
        found.name(f"{os.path.join(before, item.path)}: removed, {_kind(item) if item.link else shown.size(item.size)}")
    return found.entries()


def _kind(item: Item) -> str:
    return f"link to {item.link}" if item.link else "file"


class _Found:
    """Differences so far."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.lines = self.bytes = 0

    def name(self, text: str) -> None:
        """Show a file by its name."""
        self.names.append(text)

    def file(self, was: str, path: str, before: bytes, after: bytes) -> None:
        """Show a file's text, as long as not too much is shown already: then nobody looks into the others any more."""
        if before == after:
            return
        reason, lines = (self.full(), 0) if self.full() else shown.compare(before, after)
        if not reason:
            self.lines += lines
            self.bytes += len(before) + len(after)
            reason = self.full()
        if reason:
            self.name(shown.sizes(path, before, after, reason))
        else:
            self.shown.append(shown.both(was, before, path, after))

    def full(self) -> str:
        """Why no other text is shown; empty where there is room."""
        if self.lines <= MOST_LINES and self.bytes <= MOST_BYTES:
            return ""
        return f"more than {MOST_LINES} changed lines or {shown.size(MOST_BYTES)} in all"

    def entries(self) -> list[dict[str, Any]]:
        """What is shown: texts first."""
        names = self.names[:MOST_NAMES]
        if len(self.names) > MOST_NAMES:
            names.append(f"and {len(self.names) - MOST_NAMES} more of which nothing is shown")
        return self.shown + [shown.one_line(name) for name in names]
