# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The directory of an application, on the controller or on the host: what counts of it, and its digest.

Only content and what Git tracks of modes count. A fresh clone of the same commit therefore has the
same digest, whatever the umask, the time stamps, the owner or the empty directories of the checkout are.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils import lock_files, module_names
from ansible_collections.pyweb.deploy.plugins.module_utils import requirements as requirements_file
from ansible_collections.pyweb.deploy.plugins.module_utils.conf_file import assignments, not_python

NEVER_SHIPPED = (".git", ".hg", ".svn", ".venv", "__pycache__", "*.pyc")
"""Patterns that never travel, whatever the caller excludes."""

DIGEST_LENGTH = 12
"""Hexadecimal digits of a digest that names a directory on the host."""

CONF_FILE = "gunicorn.conf.py"
"""What Gunicorn reads in the directory that it is started in, where its command line names no other file."""

EXECUTABLE = 0o755
PLAIN = 0o644


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
                yield Entry(path, EXECUTABLE if executable else PLAIN, None)


def digest(directory: str, exclude: Iterable[str] = ()) -> str:
    """Digest of paths, modes and contents: `DIGEST_LENGTH` hexadecimal digits."""
    parts: list[bytes] = []
    for entry in entries(directory, exclude):
        parts += [os.fsencode(entry.path), b"%o" % entry.mode]
        parts.append(os.fsencode(entry.link) if entry.link is not None else _file_digest(directory, entry.path))
    return short_digest(*parts)


def _file_digest(directory: str, path: str) -> bytes:
    total = hashlib.sha256()
    with open(os.path.join(directory, path), "rb") as file:
        for part in iter(lambda: file.read(1 << 20), b""):
            total.update(part)
    return total.digest()


def look(
    directory: str, exclude: Iterable[str], requirements: Any, module: str, marker: str = "", conf_file: str = ""
) -> dict[str, Any]:
    """Tell what a source holds.

    `requirements` is the path of a requirements file inside it, or a list of them. `module` is the dotted name that
    Gunicorn imports. With a `marker`, the path of a file inside it, only the content of that file makes the digest.
    `conf_file` is the path of a configuration file of Gunicorn inside it; without one, `CONF_FILE` is looked for.

    Returns a dictionary: ``place`` (the directory), ``digest``, ``requirements_files`` (paths), ``requirements``
    (lines), ``locked`` (whether the file is a pylock.toml, beside which nothing else is installed), ``needs_source``
    (whether a line installs from the source itself), ``has_module``, what `module_names.look` tells of that module,
    ``conf_file`` (the one that was found), ``conf`` (what it assigns, as `conf_file.assignments` gives it), and
    ``problem``, ``requirements_problem`` and ``conf_problem``, reasons why the source or that file can't be used.
    """
    if not os.path.isdir(directory):
        return nothing(directory, f"{directory} is not a directory on the host")
    found = nothing(directory, "")
    try:
        found["digest"] = short_digest(_file_digest(directory, marker)) if marker else digest(directory, exclude)
        found["has_module"] = has_module(directory, module)
        found.update(module_names.look(directory, module))
    except OSError as problem:
        return nothing(directory, str(problem))
    try:
        files = requirements_file.files(directory, requirements)
        found["requirements"] = [line for path in files for line in requirements_file.lines(directory, path)]
        found["requirements_files"] = files
        found["locked"] = any(lock_files.is_pylock(path) for path in files)
    except (OSError, UnicodeDecodeError) as problem:
        found["requirements_problem"] = str(problem)
    found["needs_source"] = requirements_file.needs_source(found["requirements"])
    found.update(_configuration(directory, exclude, conf_file))
    return found


def _configuration(directory: str, exclude: Iterable[str], wanted: str) -> dict[str, Any]:
    """Read the configuration file of Gunicorn that is wanted, or the one that Gunicorn itself would read."""
    path = wanted or CONF_FILE
    place = os.path.join(directory, path)
    if not os.path.isfile(place) or is_excluded(path, (*NEVER_SHIPPED, *exclude)):
        return {"conf_problem": _no_configuration(directory, exclude, wanted) if wanted else ""}
    try:
        with open(place, "rb") as file:
            found = assignments(file.read())
    except SyntaxError as problem:
        return {"conf_file": path, "conf_problem": f"{path}: {not_python(problem)}"}
    except OSError as problem:
        return {"conf_file": path, "conf_problem": str(problem)}
    # Names that Gunicorn takes for settings: what others hold may be secret, as the environment may.
    found = [each for each in found if each["name"] == each["name"].lower() and not each["name"].startswith("_")]
    for each in found:
        if each["name"] == "raw_env":
            each.update(code="raw_env = ...", literal=False, value=None)
    return {"conf_file": path, "conf": found}


def _no_configuration(directory: str, exclude: Iterable[str], wanted: str) -> str:
    names = [entry.path for entry in entries(directory, exclude)]
    likely = [path for path in names if fnmatch.fnmatch(os.path.basename(path), "*gunicorn*.py")]
    there = f"it has {', '.join(likely)}" if likely else "nor any other file whose name says gunicorn"
    return f"there is no {wanted} in {directory}" + (f"; {there}" if likely else f", {there}")


def nothing(place: str, problem: str) -> dict[str, Any]:
    """Give what `look` gives for a source that can't be used."""
    return {
        "place": place,
        "digest": "",
        "requirements_files": [],
        "requirements": [],
        "requirements_problem": "",
        "locked": False,
        "needs_source": False,
        "has_module": False,
        "module_file": "",
        "module_names": {},
        "conf_file": "",
        "conf": [],
        "conf_problem": "",
        "problem": problem,
    }


def has_module(directory: str, module: str) -> bool:
    """Tell whether a dotted module name leads to a module (a compiled one too) or a package below the directory."""
    path = os.path.join(directory, *module.split("."))
    parent, name = os.path.split(path)
    if os.path.isfile(path + ".py") or os.path.isdir(path):
        return True
    return os.path.isdir(parent) and any(item.startswith(name + ".") for item in os.listdir(parent))
