"""What a person reads of the output of pip and uv, from what they really said."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils import venv
from ansible_collections.pyweb.deploy.plugins.plugin_utils import pip_output

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str, installer: str = "pip") -> str:
    return (SAMPLES / installer / name).read_text()


NONE = "ERROR: Could not find a version that satisfies the requirement gunicorn==27.0.1 (from versions: none)"
REFUSED = "'NewConnectionError('Failed to establish a new connection: [Errno 111] Connection refused')'"
MANY = "Flask==99 (from versions: … 3.0.3, 3.1.0, 3.1.1, 3.1.2, 3.1.3)"
LINES = {
    "not_found": [
        f"ERROR: Could not find a version that satisfies the requirement {MANY}",
        "ERROR: No matching distribution found for Flask==99",
    ],
    "unreachable": [
        f"WARNING: Retrying after connection broken by {REFUSED}: /simple/gunicorn/",
        NONE,
        "ERROR: No matching distribution found for gunicorn==27.0.1",
    ],
}


@pytest.mark.parametrize("name", LINES)
def test_the_lines_that_count(name: str) -> None:
    assert pip_output.short(sample(name)) == LINES[name]


TELLING = {
    "compiler": "      Error: pg_config executable not found.",
    "conflict": "    flask 3.1.3 depends on werkzeug>=3.1.0",
    "hash": "        Expected sha256 00000000000000000000000000000000000000000000000000000000000000aa",
    "no_hash": "    gunicorn==27.0.1 --hash=sha256:378b26b9a38adcf4592f28828233c1716acc55e833ea06bf48719782efaa0d10",
}


@pytest.mark.parametrize(("name", "line"), TELLING.items())
def test_the_line_that_tells_why_is_kept(name: str, line: str) -> None:
    found = pip_output.short(sample(name))
    assert line in found
    assert len(found) <= pip_output.LINES
    assert max(map(len, found)) <= pip_output.WIDTH


def test_many_lines_of_a_compiler() -> None:
    output = "\n".join(["begin", "a.c: error: here", *(f"line {number}" for number in range(99)), "error: last"])
    found = pip_output.short(output)
    last = [f"line {number}" for number in range(89, 99)]
    assert found == ["a.c: error: here", *last, "error: last"]
    assert len(found) == pip_output.LINES


def test_credentials_are_left_out() -> None:
    assert pip_output.short("ERROR: git clone https://joe:s3cret@a.example/b failed") == [
        "ERROR: git clone https://***@a.example/b failed"
    ]


@pytest.mark.parametrize(("name", "missing"), [("not_found", "Flask"), ("unreachable", "gunicorn"), ("hash", "")])
def test_what_was_not_found(name: str, missing: str) -> None:
    assert venv.missing(sample(name)) == missing


def test_what_the_indexes_answered() -> None:
    assert pip_output.answers(sample("asked")) == [
        "https://pypi.org/simple/zzpriv/: 404 Client Error: Not Found",
        "http://127.0.0.1:8765/simple/zzpriv/: 401 Client Error: Unauthorized",
    ]
    (line,) = pip_output.answers(sample("asked_unreachable"))
    assert line.startswith(
        "https://nowhere.invalid/simple/zzprivo/: connection error: NewConnectionError('Failed to est"
    )
    assert line.endswith("[Errno -2] Name or service not known')")
    assert pip_output.answers("") == []


ADVICE = {
    "not_found": [],
    "conflict": [],
    "asked": ["gunicorn_index_url, gunicorn_extra_index_urls: an index wants a user"],
    "unreachable": ["The server doesn't reach the index."],
    "hash": ["gunicorn_require_hashes: "],
    "no_hash": ["gunicorn_require_hashes: "],
    "compiler": ["gunicorn_system_packages: "],
    "plain_http": ["gunicorn_index_url, gunicorn_extra_index_urls: pip takes nothing over plain HTTP"],
    "wheelhouse": ["gunicorn_wheelhouse: "],
}


@pytest.mark.parametrize(("name", "beginnings"), ADVICE.items())
def test_advice(name: str, beginnings: list[str]) -> None:
    found = pip_output.advice(sample(name))
    assert len(found) == len(beginnings)
    for line, beginning in zip(found, beginnings, strict=True):
        assert line.startswith(beginning)
        assert "Example: " in line


def test_the_reason_has_it_all() -> None:
    reason = pip_output.reason(sample("not_found"), sample("asked")).split("\n")
    assert reason[0].startswith("gunicorn_index_url, ")
    assert reason[1] == "pip said:"
    assert reason[-1].endswith("401 Client Error: Unauthorized")


# uv

NO_FLASK = "there is no version of flask==99"
UNSATISFIABLE = "your requirements are unsatisfiable."
UV_LINES = {
    "not_found": [
        "error: No solution found when resolving dependencies",
        f"  cause: Because {NO_FLASK} and you require flask==99, we can conclude that {UNSATISFIABLE}",
    ],
    "unreachable": [
        "error: Failed to fetch: https://127.0.0.1:9/simple/gunicorn/",
        "  cause: error sending request for url (https://127.0.0.1:9/simple/gunicorn/)",
        "  cause: client error (Connect)",
        "  cause: tcp connect error",
        "  cause: Connection refused (os error 111)",
    ],
}


@pytest.mark.parametrize("name", UV_LINES)
def test_the_lines_of_uv_that_count(name: str) -> None:
    assert pip_output.short(sample(name, "uv")) == UV_LINES[name]


def test_uv_says_by_itself_what_the_index_answered() -> None:
    said = pip_output.short(sample("unauth", "uv"))
    assert said[-1].startswith("hint: An index URL (https://packages.example/simple) could not be queried")
    assert venv.missing(sample("not_found", "uv")) == ""


UV_ADVICE = {
    "not_found": [],
    "conflict": [],
    "unauth": ["gunicorn_index_url, gunicorn_extra_index_urls: an index wants a user"],
    "unreachable": ["The server doesn't reach the index."],
    "hash": ["gunicorn_require_hashes: "],
    "no_hash": ["gunicorn_require_hashes: "],
    "wheelhouse": ["gunicorn_wheelhouse: "],
    "tls": ["The server doesn't know the certificate authority of the index."],
}


@pytest.mark.parametrize(("name", "beginnings"), UV_ADVICE.items())
def test_advice_where_uv_failed(name: str, beginnings: list[str]) -> None:
    found = pip_output.advice(sample(name, "uv"))
    assert len(found) == len(beginnings)
    for line, beginning in zip(found, beginnings, strict=True):
        assert line.startswith(beginning)
        assert "Example: " in line


def test_the_reason_names_the_installer() -> None:
    assert pip_output.reason(sample("not_found", "uv"), installer="uv").splitlines()[0] == "uv said:"
