# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What ``--diff`` shows of a change: of a text the lines that changed, of anything else one line."""

from __future__ import annotations

import difflib
from typing import Any

LONGEST = 64 << 10
"""Bytes of a file whose text is still shown."""

MOST_LINES = 200
"""Added and removed lines of a file that are still shown."""

ABSENT, PRESENT = {"state": "absent"}, {"state": "present"}

NOTHING = "/dev/null"
"""What a file is compared with that is shown as a whole."""


def one_line(text: str) -> dict[str, Any]:
    """Give a line that a callback prints as it is."""
    return {"prepared": text + "\n"}


def size(count: int) -> str:
    """Write a number of bytes for people."""
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{round(count / unit, 1):g} {name}"
    return f"{count} bytes"


def states(thing: str, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Show what changes of a thing that is no text: each key's value; that of ``state`` without its name."""
    words = (f"{'' if key == 'state' else key + ' '}{before[key]} -> {value}" for key, value in after.items())
    return one_line(f"{thing}: {', '.join(words)}")


def texts(path: str, before: bytes | None, after: bytes, was: str = "") -> dict[str, Any]:
    """Show a file, and what it held before, in place of which it may have another path: `was`.

    A new one is a line; so is one that isn't text, or too long for people.
    """
    if before is None:
        return one_line(f"{path}: new, {size(len(after))}")
    reason, _lines = compare(before, after)
    return one_line(sizes(path, before, after, reason)) if reason else both(was or path, before, path, after)


def both(was: str, before: bytes, path: str, after: bytes) -> dict[str, Any]:
    """Give two texts, of which a callback prints the lines that differ."""
    return {"before_header": was, "after_header": path, "before": before.decode(), "after": after.decode()}


def sizes(path: str, before: bytes, after: bytes, reason: str) -> str:
    """Name a file that changes, and why its text isn't shown."""
    return f"{path}: {size(len(before))} -> {size(len(after))}, not shown: {reason}"


def compare(before: bytes, after: bytes) -> tuple[str, int]:
    """Why nobody would read how these differ, empty where people can; and how many lines do."""
    if max(len(before), len(after)) > LONGEST:
        return f"more than {size(LONGEST)}", 0
    try:
        if b"\0" in before + after:
            return "not text", 0
        changed = changed_lines(before.decode(), after.decode())
    except UnicodeDecodeError:
        return "not text", 0
    return f"{changed} changed lines, more than {MOST_LINES}" if changed > MOST_LINES else "", changed


def changed_lines(before: str, after: str) -> int:
    """Lines that are added or removed."""
    found = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0)
    return max(0, sum(line[0] in "+-" for line in found) - len("+-"))  # the two at the head are none
