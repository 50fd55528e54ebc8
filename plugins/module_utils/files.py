# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Small files, links and directories: written where they differ, each as a whole, with what ``--diff`` shows of them.

The one place where the modules of a deploy write, so that tests can let any call fail.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import shutil
import stat
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ansible_collections.pyweb.deploy.plugins.module_utils import shown
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import COMPLETE, OWNED

if TYPE_CHECKING:
    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Command

MARKS = (COMPLETE, "release.json")
"""Files that tell that a directory is complete: the first to go, so that half of one is never taken for a whole one."""


def read(path: str) -> bytes | None:
    """Content of a file; ``None`` where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def target(path: str) -> str:
    """Target of a symbolic link; empty where it is none."""
    return os.readlink(path) if os.path.islink(path) else ""


def delete(path: str) -> None:
    """Remove whatever has that name. No link is followed, also where somebody puts one in the way."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):  # of a service that has just ended
            os.unlink(path)


def temporary(path: str) -> str:
    """Name beside a path. Not in module.tmpdir, which would make a directory in the home of root."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.{os.urandom(8).hex()}")  # of a run that was killed one may be left


class Attributes(NamedTuple):
    """Who owns a file or a directory, by name, and its mode in octal; an empty string leaves it as it is."""

    owner: str = ""
    group: str = ""
    mode: str = ""


FOR_ALL = Attributes("root", "root", "0644")
FOR_ROOT = Attributes("root", "root", "0600")


class Before(NamedTuple):
    """What ``--diff`` compares a file with, in place of what the file itself held."""

    path: str
    content: bytes | None
    """``None`` for nothing, as if the file were new."""


WHOLE = Before(shown.NOTHING, b"")
"""For a new file that is to be read from its first line to its last."""


class Files:
    """What a module writes; in check mode, what it would write. Raises `OSError`, and never ends the module.

    Links and directories that are made aren't shown: they follow from the rest. Nor are files of the role's own.
    """

    def __init__(self, check: bool, shows: bool = True) -> None:
        self.check = check
        self.shows = shows
        """Whether anybody reads `diff`, which takes its time to make."""
        self.diff: list[dict[str, Any]] = []
        self.written: list[str] = []
        """Paths of what changed, each once."""

    def note(self, path: str, entry: dict[str, Any] | None = None) -> None:
        """Tell that something changes, and what is shown of it."""
        if path not in self.written:
            self.written.append(path)
        if entry:
            self.diff.append(entry)

    def set_attributes(self, path: str, new: bool, wanted: Attributes) -> None:
        """Give a file or a directory its owner, group and mode."""
        if not os.path.exists(path):  # in check mode it may not be there
            return
        found = os.stat(path)
        owner = pwd.getpwnam(wanted.owner).pw_uid if wanted.owner else found.st_uid
        group = grp.getgrnam(wanted.group).gr_gid if wanted.group else found.st_gid
        mode = int(wanted.mode, 8) if wanted.mode else stat.S_IMODE(found.st_mode)
        before = {"owner": found.st_uid, "group": found.st_gid, "mode": f"{stat.S_IMODE(found.st_mode):04o}"}
        after = {"owner": owner, "group": group, "mode": f"{mode:04o}"}
        differing = [key for key, value in after.items() if value != before[key]]
        if not differing:
            return
        if not new:
            self.note(path, shown.states(path, before, {key: after[key] for key in differing}))
        if not self.check:
            os.chown(path, owner, group)
            os.chmod(path, mode)  # last: a change of the owner may drop bits of it

    def directory(self, path: str, wanted: Attributes) -> None:
        """Create a directory, or fix its attributes."""
        new = not os.path.isdir(path)
        if new:
            self.note(path)
            if not self.check:
                os.mkdir(path)
        self.set_attributes(os.path.realpath(path), new, wanted)  # a link leads to the one that counts

    def file(self, path: str, text: str, wanted: Attributes, force: bool = True, **how: Any) -> bool:
        """Write a file where it differs, also in its attributes, and tell whether it did; `how` as for `content`."""
        return (force or not os.path.exists(path)) and self.content(path, text.encode("utf-8"), wanted, **how)

    def content(
        self, path: str, content: bytes, wanted: Attributes, before: Before | None = None, hidden: bool = False
    ) -> bool:
        """Do the same with bytes. A file that differs is shown beside what it held, or beside `before`."""
        changes, found = len(self.written), read(path)
        if found == content:
            self.set_attributes(path, False, wanted)
            return len(self.written) > changes
        was = before or Before(path, found)
        unseen = hidden or not self.shows or was.content == content
        self.note(path, None if unseen else shown.texts(path, was.content, content, was.path))
        if not self.check:
            self.replace(path, content, wanted)
        return True

    def replace(self, path: str, content: bytes, wanted: Attributes) -> None:
        """Put a file in its place as a whole. What isn't asked for of its attributes stays as it was."""
        was = os.stat(path) if os.path.exists(path) else None
        beside = temporary(path)
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # a name that survives a crash must not lead to an empty file
        if was:
            os.chown(beside, was.st_uid, was.st_gid)
            os.chmod(beside, stat.S_IMODE(was.st_mode))
        self.set_attributes(beside, True, wanted)
        os.rename(beside, path)

    def quietly(self, path: str, text: str) -> None:
        """Write a file that is gone again when all is done: no change that anybody has to know of."""
        self.replace(path, text.encode("utf-8"), FOR_ALL)

    def tree(self, path: str, fill: Callable[[str], None], run: Command) -> None:
        """Make a directory that isn't there yet as a whole: it has its name once all of it is on the disk."""
        self.note(path)
        if self.check:
            return
        directory, name = os.path.split(path)
        beside = os.path.join(directory, f".{name}.new")
        if os.path.lexists(beside):
            shutil.rmtree(beside)
        os.mkdir(beside)
        os.chmod(beside, 0o755)  # noqa: S103 - the user of the application reads it
        fill(beside)
        code, out, err = run(["sync", "--file-system", beside])
        if code != 0:
            raise OSError(errno.EIO, f"sync failed: {(err or out).strip()}", path)
        os.rename(beside, path)

    def link(self, path: str, wanted: str) -> None:
        """Make a link where it differs."""
        if target(path) == wanted:
            return
        self.note(path)
        if not self.check:
            beside = temporary(path)
            os.symlink(wanted, beside)
            os.rename(beside, path)

    def remove(self, path: str, depth: int = 1) -> None:
        """Remove a file, a link or a whole directory; that there was one is all that ``--diff`` shows.

        So many levels of a directory have marks of the role. What is below them may be other users'.
        """
        if not os.path.lexists(path):
            return
        self.note(path, shown.states(path, shown.PRESENT, shown.ABSENT))
        if not self.check:
            self._remove(path, depth)

    def _remove(self, path: str, depth: int) -> None:
        if depth and os.path.isdir(path) and not os.path.islink(path):
            for name in sorted(os.listdir(path), key=lambda name: (name not in MARKS, name == OWNED)):
                self._remove(os.path.join(path, name), depth - 1)
        self.drop(path)

    def drop(self, path: str) -> None:
        """Remove one thing, with all that is in it."""
        delete(path)
