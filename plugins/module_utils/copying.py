# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Copy, as root, a tree that somebody else wrote: nothing in it is followed, run or trusted.

Only directories, regular files and symbolic links are copied. Of a file's attributes its content, whether its owner may
execute it and its time of modification (which bytecode names) arrive; owners, ACLs, extended attributes, hard links and
open descriptors stay behind. Both trees are walked by descriptors, so that a symbolic link is never followed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from typing import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, what became a FIFO in the meantime would be waited for.
_SOURCE_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class CopyError(Exception):
    """The tree holds what is not copied; the text is for people."""


class Options(NamedTuple):
    """How a tree is copied."""

    owner: tuple[int, int] | None = None
    """User and group of the copy; ``None`` for those of the process."""
    skip_special: bool = False
    """Whether sockets, devices and the like are left out. Otherwise they are refused."""
    only_new: bool = False
    """Whether what the target has already is left as it is. Otherwise it is refused."""


PLAIN = Options()


def copy_tree(source: str, target: str, options: Options = PLAIN) -> None:
    """Copy what is in a directory into another one, which is made where it isn't there.

    Raises `CopyError` for what is no directory, regular file or symbolic link, and `OSError`.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(target)
    with contextlib.ExitStack() as stack:
        source_fd = _open(stack, source, _DIRECTORY)
        target_fd = _open(stack, target, _DIRECTORY | os.O_NOFOLLOW)
        _set_attributes(target_fd, 0o755, options)
        _copy_directory(source_fd, target_fd, source, options)


def copy_file(source: str, target: str, options: Options = PLAIN) -> None:
    """Copy one file to a place where there is none yet. `source` may be a symbolic link."""
    _copy_content(os.path.realpath(source), target, options)


def _open(stack: contextlib.ExitStack, path: str, flags: int, parent: int | None = None) -> int:
    descriptor = os.open(path, flags, dir_fd=parent)
    stack.callback(os.close, descriptor)
    return descriptor


def _set_attributes(descriptor: int, mode: int, options: Options) -> None:
    os.fchmod(descriptor, mode)
    if options.owner:
        os.fchown(descriptor, *options.owner)


def _copy_directory(source: int, target: int, path: str, options: Options) -> None:
    with os.scandir(source) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        mode = os.stat(name, dir_fd=source, follow_symlinks=False).st_mode
        place = os.path.join(path, name)
        with contextlib.ExitStack() as stack:
            if options.only_new and not stat.S_ISDIR(mode):
                stack.enter_context(contextlib.suppress(FileExistsError))
            if stat.S_ISDIR(mode):
                _copy_subdirectory(source, target, name, place, options)
            elif stat.S_ISREG(mode):
                _copy_content(name, name, options, source, target)
            elif stat.S_ISLNK(mode):
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
                if options.owner:
                    os.chown(name, *options.owner, dir_fd=target, follow_symlinks=False)
            elif not options.skip_special:
                raise CopyError(f"{place} is neither a file, a directory nor a symbolic link")


def _copy_subdirectory(source: int, target: int, name: str, path: str, options: Options) -> None:
    try:
        os.mkdir(name, dir_fd=target)
    except FileExistsError:
        if not options.only_new:
            raise
    with contextlib.ExitStack() as stack:
        source_fd = _open(stack, name, _DIRECTORY | os.O_NOFOLLOW, source)
        target_fd = _open(stack, name, _DIRECTORY | os.O_NOFOLLOW, target)
        _set_attributes(target_fd, 0o755, options)
        _copy_directory(source_fd, target_fd, path, options)


def _copy_content(
    source: str, target: str, options: Options, source_parent: int | None = None, target_parent: int | None = None
) -> None:
    with open(os.open(source, _SOURCE_FILE, dir_fd=source_parent), "rb") as reader:
        info = os.fstat(reader.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise CopyError(f"{source} is not a file any more")
        with open(os.open(target, _NEW_FILE, 0o600, dir_fd=target_parent), "wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
            writer.flush()
            _set_attributes(writer.fileno(), 0o755 if info.st_mode & stat.S_IXUSR else 0o644, options)
            os.utime(writer.fileno(), ns=(info.st_mtime_ns, info.st_mtime_ns))
