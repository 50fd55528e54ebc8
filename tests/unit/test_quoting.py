"""Values in the language of the program that reads them."""

from __future__ import annotations

import ast
import math
from collections import OrderedDict
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils import quoting
from ansible_collections.pyweb.deploy.tests.unit.systemd import read_environment
from hypothesis import example, given
from hypothesis import strategies as st

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=12,
)
NASTY = [
    "'",
    '"',
    "'''",
    '"""',
    "\\",
    "\\n",
    "\n",
    "\r\n",
    "\t",
    "%(h)s %d",
    "{}",
    "{{ x }}",
    "{% x %}",
    "$HOME",
    "`id`",
]
NASTY += ["ü€𝄞", "\x00", "\u2028"]
NAMES = st.from_regex(quoting.ENVIRONMENT_NAME, fullmatch=True)


@given(VALUES)
def test_a_literal_reads_back(value: Any) -> None:
    literal = quoting.python_literal(value)
    assert ast.literal_eval(literal) == value
    assert len(literal.splitlines()) == 1


@pytest.mark.parametrize("value", NASTY)
def test_nasty_strings_read_back(value: str) -> None:
    assert ast.literal_eval(quoting.python_literal({value: [value]})) == {value: [value]}


class Text(str):
    """Stands for the strings of Ansible, which carry their origin."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Text(...)"


class Number(int):
    def __repr__(self) -> str:
        return "Number(...)"


def test_subclasses_become_plain() -> None:
    assert quoting.python_literal(OrderedDict([(Text("a"), [Text("it's"), Number(3)])])) == """{'a': ["it's", 3]}"""


def test_types_survive() -> None:
    assert quoting.python_literal([True, 1, "1", 1.0, None]) == "[True, 1, '1', 1.0, None]"
    assert quoting.python_literal((1, 2)) == "[1, 2]"


@pytest.mark.parametrize("value", [math.nan, math.inf, object(), {1, 2}, b"bytes", [{"a": math.nan}], {"a": object()}])
def test_what_has_no_literal(value: Any) -> None:
    with pytest.raises(TypeError, match="has no Python literal"):
        quoting.python_literal(value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A=1\nB=two words\n", {"A": "1", "B": "two words"}),
        ('A="two  words"\n', {"A": "two  words"}),
        ('A="say \\"hi\\""', {"A": 'say "hi"'}),
        ('A="\\$x \\`y\\` \\\\ \\n"', {"A": "$x `y` \\ \\n"}),
        ('A="one\ntwo"\nB="3"', {"A": "one\ntwo", "B": "3"}),
        ('A="one\\\ntwo"', {"A": "onetwo"}),
        ("A='$x \\\\'", {"A": "$x \\\\"}),
        ("# A=1\n\nB=2", {"B": "2"}),
    ],
)
def test_the_reader_of_these_tests(text: str, wanted: dict[str, str]) -> None:
    assert read_environment(text) == wanted


@given(st.dictionaries(NAMES, st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
@example({"A": "".join(NASTY).replace("\0", ""), "B": "x"})
@example({"A": "ends with a backslash \\", "B": "\n"})
@example({"A": "", "B": " ", "C": "\\\n"})
def test_an_environment_reads_back(values: dict[str, str]) -> None:
    text = "".join(quoting.environment_line(name, value) + "\n" for name, value in values.items())
    assert read_environment(text) == values


@pytest.mark.parametrize(
    ("value", "wanted"), [(True, "true"), (False, "false"), (0, "0"), (8000, "8000"), (0.5, "0.5"), ("True", "True")]
)
def test_values_that_are_no_strings(value: Any, wanted: str) -> None:
    assert quoting.environment_line("A", value) == f'A="{wanted}"'


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "A\n", "Ä", "A.B"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        quoting.environment_line(name, "x")


def test_a_nul_never_shows_the_value() -> None:
    with pytest.raises(ValueError, match="the value of TOKEN holds a NUL") as caught:
        quoting.environment_line("TOKEN", "s3cret\0")
    assert "s3cret" not in str(caught.value)
