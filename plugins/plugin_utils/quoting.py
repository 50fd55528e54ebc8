# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Values written in the language of the program that reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What POSIX and systemd accept as the name of an environment variable."""


def is_true(value: Any) -> bool:
    """Tell what a boolean means that came as a boolean or as a text, as Ansible's filter ``bool`` does."""
    return str(value).lower() in ("true", "yes", "1", "on")


def plain(value: Any) -> Any:
    """Reduce a template result to Python's own types, so that ``repr`` gives a literal.

    Raises `TypeError` for what has no literal (a custom object) and for floats that have none (``nan``, ``inf``).
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and value - value == 0:
        return float(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    raise TypeError(f"{value!r} ({type(value).__name__}) has no Python literal")


def python_literal(value: Any) -> str:
    """Write a value as one line of Python that ``ast.literal_eval`` reads back."""
    return repr(plain(value))


def environment_line(name: str, value: Any) -> str:
    """Write ``NAME="value"`` as systemd's ``EnvironmentFile=`` reads it: byte for byte, line breaks included.

    Booleans become ``true`` and ``false``. Source: systemd.exec(5), ``EnvironmentFile=``.

    Raises `ValueError` for a name that no environment takes and for a value that holds a NUL.
    """
    if not ENVIRONMENT_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name for an environment variable")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "\0" in text:
        raise ValueError(f"the value of {name} holds a NUL character")
    escaped = re.sub(r'(["\\`$])', r"\\\1", text)
    return f'{name}="{escaped}"'
