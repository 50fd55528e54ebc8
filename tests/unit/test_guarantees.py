"""The table of guarantees, tests/README.md, names tests that exist, and says which of them only the full form runs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
TEST = re.compile(r"`((?:integration/|downtime/)?test_\w+\.py|molecule)::(test_\w+)`( \*\*full\*\*)?")
PLACES = (("test_",), ("integration/", "downtime/", "molecule"))


def rows() -> list[list[str]]:
    """Each promise, and two cells with what holds it."""
    lines = re.findall(r"^\| (.+) \|$", (TESTS / "README.md").read_text().split("\n| Promise |", 1)[1], re.MULTILINE)
    return [line.split(" | ") for line in lines if not line.startswith("Promise |")]


@cache
def collected(*options: str) -> set[str]:
    """Give the tests on servers, as pytest finds them."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run([*command, "integration", "downtime"], cwd=TESTS, capture_output=True, text=True, check=False)
    found = set(re.findall(r"((?:integration|downtime)/test_\w+\.py::test_\w+)", done.stdout))
    assert found, done.stdout + done.stderr
    return found


@cache
def read(file: str) -> str:
    paths = TESTS.parent.glob("molecule/*/tests/test_*.py") if file == "molecule" else (TESTS / "unit").glob(file)
    return "\n".join(path.read_text() for path in paths)


def problems(*cells: str) -> Iterator[str]:
    """Tell what is wrong with the cells of a row."""
    for cell, places in zip(cells, PLACES, strict=True):
        named = TEST.findall(cell)
        if cell != ", ".join(match[0] for match in TEST.finditer(cell)) and cell not in ("-", "none"):
            yield f"{cell!r} is neither tests with commas between them, nor - or none"
        for file, function, full in named:
            name = f"{file}::{function}"
            there = name in collected() if "/" in file else f"\ndef {function}(" in read(file)
            if not there or not file.startswith(places):
                yield f"there is no {name}, or it belongs to the other column"
            elif "/" in file and bool(full) is (name in collected("-m", "not full")):
                yield f"{name} is {'also' if full else 'not'} in the short form"
    if not any("::" in cell for cell in cells) and set(cells) != {"none"}:
        yield "without a test it says none, twice"


def test_the_table_is_true() -> None:
    found = [f"{row[0]}: {problem}" for row in rows() for problem in problems(*row[1:])]
    assert len(rows()) > 200
    assert not found, "\n".join(found)
