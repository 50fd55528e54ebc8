# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Room on the host's disks, which a stage looks for before it writes much."""

from __future__ import annotations

import shutil

SPARE = 16 << 20
"""Bytes that must be left on the disk."""


def lack_of_space(directory: str, size: int) -> str:
    """Why so many bytes can't be written below a directory; empty where they can."""
    free = shutil.disk_usage(directory).free
    if free >= size + SPARE:
        return ""
    return (
        f"it needs {size >> 20} MiB, and {SPARE >> 20} MiB have to stay free, but only {free >> 20} MiB are. "
        "Make room on that disk"
    )
