# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a requirements file asks for, so that a venv is rebuilt when, and only when, that changes.

Format: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils import lock_files

DEFAULT = "requirements.txt"
"""The one file that may be missing, where it is asked for by its path alone, not in a list."""

CONSTRAINT = "--constraint "
"""What stands before a line that comes from a constraints file: it limits a version, but installs nothing."""

_NESTED = re.compile(r"(?:-[rc]\s*|--(?:requirement|constraint)(?:\s+|=))(?P<path>\S+)")
_LOCAL = re.compile(r"(?:.*@\s*)?file:|(?!.*://)(?:\.|.*/|-e|--editable|-f|--find-links)")
_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*===?\s*(?P<version>[^\s;,#\\]+)")


def lines(directory: str, path: str, seen: tuple[str, ...] = ()) -> list[str]:
    """Give every line that counts, those of the files that ``-r`` and ``-c`` name included.

    Comments and empty lines are left out, lines of a constraints file begin with `CONSTRAINT`. `path` is relative to
    `directory`, a nested one to the file that names it. A file that `lock_files` knows gives what it says of it.

    Raises `OSError` where one of the files can't be read.
    """
    with open(os.path.join(directory, path), encoding="utf-8-sig") as file:
        text = file.read()
    reader = lock_files.reader(path)
    if reader:
        return reader(text)
    # A comment goes on to the end of its line, even where that is a backslash.
    joined = re.sub(r"^[ \t]*#.*$", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: list[str] = []
    for raw in joined.splitlines():
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        nested = _NESTED.fullmatch(line)
        if nested and "://" not in nested["path"]:
            inner = os.path.normpath(os.path.join(os.path.dirname(path), nested["path"]))
            if inner not in (*seen, path):
                mark = CONSTRAINT if line.startswith(("-c", "--c")) else ""
                found += [mark + _bare(each) if mark else each for each in lines(directory, inner, (*seen, path))]
        elif line:
            found.append(line)
    return found


def nested_files(directory: str, paths: list[str]) -> list[str]:
    """Paths of files and of those that they name with ``-r`` and ``-c``: all that an installer opens of them."""
    found: list[str] = []
    queue = [os.path.normpath(path) for path in paths]
    while queue:
        path = queue.pop(0)
        if path in found:
            continue
        found.append(path)
        with open(os.path.join(directory, path), encoding="utf-8-sig") as file:
            text = file.read()
        matches = filter(None, map(_NESTED.match, map(str.strip, text.splitlines())))
        inner = (match["path"] for match in matches if "://" not in match["path"])
        queue.extend(os.path.normpath(os.path.join(os.path.dirname(path), each)) for each in inner)
    return found


def files(directory: str, wanted: Any) -> list[str]:
    """Paths of the requirements files to install from: one path or a list of them, `DEFAULT` only where it exists.

    Raises `FileNotFoundError` for any other that is missing.
    """
    paths = [wanted] if isinstance(wanted, str) else list(wanted)
    if wanted in ("", DEFAULT) and not os.path.isfile(os.path.join(directory, wanted)):
        return []
    for path in paths:
        if not os.path.isfile(os.path.join(directory, path)):
            raise FileNotFoundError(f"{directory} has no file {path}")
        project = os.path.join(os.path.dirname(path), lock_files.PYPROJECT)
        if os.path.basename(path) == lock_files.UV_LOCK and not os.path.isfile(os.path.join(directory, project)):
            raise FileNotFoundError(f"{directory} has no file {project}, which uv reads together with {path}")
    return paths


def _bare(line: str) -> str:
    return line[len(CONSTRAINT) :] if line.startswith(CONSTRAINT) else line


def needs_source(wanted: list[str]) -> bool:
    """Tell whether a line may install from the source tree (``.``, ``-e ./lib``): then its content counts too."""
    return any(_LOCAL.match(_bare(line)) for line in wanted)


def pinned_version(wanted: list[str], name: str) -> str | None:
    """Version that a line pins with ``==`` for a distribution, else ``None``. Names are compared as PEP 503 says."""
    for line in wanted:
        match = _PINNED.match(_bare(line))
        if match and _normalized(match["name"]) == _normalized(name) and "*" not in match["version"]:
            return match["version"]
    return None


def is_hashed(wanted: list[str], name: str) -> bool:
    """Tell whether a line that installs a distribution pins it, with a hash."""
    return any("--hash=" in line and pinned_version([line], name) for line in wanted if not line.startswith(CONSTRAINT))


def without_hash(wanted: list[str]) -> list[str]:
    """Lines that install something without saying its hash; options are none of them."""
    return [line for line in wanted if not line.startswith("-") and not re.search(r"--hash=|#sha[0-9]+=", line)]


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
