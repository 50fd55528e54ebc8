# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Read files of the host for a look at it: what is missing or unreadable is empty, and no reason to fail."""

from __future__ import annotations

import json
from typing import Any


def read(path: str) -> str:
    """Text of a file; empty where it is missing or unreadable, as one of a process that has ended meanwhile."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def read_json(path: str) -> dict[str, Any]:
    """Dictionary in a file of JSON; empty where it is missing or something else."""
    try:
        return dict(json.loads(read(path)))
    except (TypeError, ValueError):
        return {}
