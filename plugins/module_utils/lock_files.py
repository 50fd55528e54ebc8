# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a lock file, or a project's pyproject.toml, asks for, as lines of a requirements file.

Read as text, since Python has a parser for TOML only from 3.11 on, and this may run on a server. The lines are for
messages, comparisons and digests; the installer reads the file itself.

Formats: https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile (not specified: what uv writes, a key a line),
https://packaging.python.org/en/latest/specifications/pylock-toml/ and
https://packaging.python.org/en/latest/specifications/pyproject-toml/
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from typing import Callable

UV_LOCK = "uv.lock"
PYPROJECT = "pyproject.toml"

LOCK = "--lock "
"""What stands before the digest of all that counts of a file; to everybody else it looks like an option."""

_TABLE = re.compile(r"^\[+[^\[\]\n]+\]+[ \t]*(?:#[^\n]*)?$", re.MULTILINE)
_STRING = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_HASH = re.compile(r"""\bhash\s*=\s*"(sha256:[0-9a-f]+)"|\bsha256\s*=\s*["']([0-9a-f]+)["']""")
_LOCAL = re.compile(r"""\b(?:editable|directory|virtual|path)\s*=\s*["']([^"']+)["']|\b(workspace)\s*=\s*true""")


def is_pylock(path: str) -> bool:
    """Tell whether a path has a name that the standard gives to lock files."""
    return bool(re.fullmatch(r"pylock(\.[^.]+)?\.toml", posixpath.basename(path)))


def is_lock(path: str) -> bool:
    """Tell whether a path leads to a lock file, which names every package there is."""
    return posixpath.basename(path) == UV_LOCK or is_pylock(path)


def needs_uv(path: str) -> bool:
    """Tell whether pip can't install from a file."""
    return is_lock(path) or posixpath.basename(path) == PYPROJECT


def reader(path: str) -> Callable[[str], list[str]] | None:
    """Give the function that turns the text of such a file into lines; ``None`` for any other file."""
    if posixpath.basename(path) == UV_LOCK:
        return _uv_lock
    if is_pylock(path):
        return _pylock
    return _pyproject if posixpath.basename(path) == PYPROJECT else None


def _uv_lock(text: str) -> list[str]:
    """Lines of a uv.lock. The version of the project itself, which its every release changes, doesn't count."""
    found, counting = [], []
    for name, part in _tables(text):
        package = name == "[[package]]"
        if package and re.search(r'^source = \{ (editable|virtual) = "\." \}$', part, re.MULTILINE):
            counting.append(re.sub(r"^version = .*$", "", part, flags=re.MULTILINE))
            continue
        counting.append(part)
        if package:
            source = re.search(r"^source = .*$", part, re.MULTILINE)
            found.append(_line(part, source[0] if source else ""))
    return [*found, _digest(counting)]


def _pylock(text: str) -> list[str]:
    """Lines of a pylock.toml."""
    found: list[str] = []
    for name, part in _tables(text):
        if name == "[[packages]]":
            found.append(_line(part, "\n".join(re.findall(r"^directory = .*$", part, re.MULTILINE))))
        elif name == "[packages.directory]":
            found += [f"./{path}" for path, _workspace in _LOCAL.findall(part)]
    return [*found, _digest([text])]


def _pyproject(text: str) -> list[str]:
    """Lines of a pyproject.toml: the dependencies of the project, and what its settings of uv make of them."""
    found, counting = [], []
    for name, part in _tables(text):
        if name == "[project]":
            found += _strings("dependencies", part)
            if "dependencies" in _strings("dynamic", part):
                found.append(".")  # only building the project tells
        elif name.lstrip("[").startswith("tool.uv"):
            counting.append(part)
            found += [f"./{path}" for path, _workspace in _LOCAL.findall(part)]
    return [*found, _digest(counting)]


def _strings(key: str, part: str) -> list[str]:
    """Strings of an array; none where the table has no such key."""
    array = re.search(rf"^{key}\s*=\s*\[((?:[\s,]|#[^\n]*|{_STRING})*)\]", part, re.MULTILINE)
    found = re.findall(rf"#[^\n]*|({_STRING})", array[1]) if array else []
    return [item[1:-1] for item in found if item]


def _tables(text: str) -> list[tuple[str, str]]:
    """Each table of a TOML file with its header; what stands before the first one has none."""
    starts = [0, *(match.start() for match in _TABLE.finditer(text)), len(text)]
    parts = [text[start:end] for start, end in zip(starts, starts[1:])]
    return [(part.split("\n", 1)[0].split("#")[0].strip() if part.startswith("[") else "", part) for part in parts]


def _line(part: str, source: str) -> str:
    """Write the line of a requirements file that means one package of a lock."""
    local = _LOCAL.search(source)
    if local:
        return f"./{local[1]}"
    keys = dict(re.findall(r"""^(name|version)\s*=\s*["']([^"']*)["']""", part, re.MULTILINE))
    hashes = "".join(f" --hash={one or 'sha256:' + other}" for one, other in _HASH.findall(part))
    return f"{keys.get('name', '')}=={keys.get('version', '')}{hashes}"


def _digest(parts: list[str]) -> str:
    text = "\n".join(line.rstrip() for part in parts for line in part.splitlines() if line.strip())
    return LOCK + "sha256:" + hashlib.sha256(text.encode()).hexdigest()
