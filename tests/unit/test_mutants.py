"""The list of mutants is about lines that are there and tests that run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
import yaml
from ansible_collections.pyweb.deploy.tests import mutants
from ansible_collections.pyweb.deploy.tests.mutants import Mutant

MUTANTS = mutants.load()


def short_tests(path: Path) -> Iterator[str]:
    """Name the tests of a file that the short form runs."""
    body = ast.parse(path.read_text()).body
    marks = [ast.unparse(each) for each in body if isinstance(each, ast.Assign)]
    if "pytestmark = pytest.mark.full" not in marks:
        for each in body:
            if isinstance(each, ast.FunctionDef) and "pytest.mark.full" not in map(ast.unparse, each.decorator_list):
                yield each.name


def test_names_are_unique() -> None:
    names = [each.name for each in MUTANTS]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_line_is_there_and_what_becomes_of_it_can_be_read(root: Path, mutant: Mutant) -> None:
    """What can't be read would fail any test."""
    path = root / mutant.file
    broken = mutant.applied(path.read_text())
    assert broken != path.read_text()
    if path.suffix == ".py":
        compile(broken, path, "exec")
    if path.suffix == ".yml":
        yaml.safe_load(broken)
    if path.suffix in (".yml", ".j2"):
        jinja2.Environment(autoescape=True).parse(broken)


@pytest.mark.parametrize("test", sorted({each.test for each in MUTANTS}))
def test_the_test_is_there_and_short(root: Path, test: str) -> None:
    path, _colons, name = test.partition("::")
    assert name in short_tests(root / path)


def test_a_line_that_is_not_there_once() -> None:
    mutant = Mutant("It is broken", "a.py", "b", "c", "test.py::test_it")
    assert mutant.applied("abc") == "acc"
    for text in ("ac", "abb"):
        with pytest.raises(ValueError, match="It is broken"):
            mutant.applied(text)
