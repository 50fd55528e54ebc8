"""check_config.py, run as on a server: by the interpreter that has the real Gunicorn."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Check = Callable[..., "tuple[int, list[str]]"]

APP = "def app(environ, start_response): ...\n"


@pytest.fixture
def check(role: Path, tmp_path: Path) -> Check:
    """Check a configuration: the exit status and the lines on standard error."""
    (tmp_path / "wsgi.py").write_text(APP)

    def run(text: str, *options: str) -> tuple[int, list[str]]:
        file = tmp_path / "gunicorn.conf.py"
        file.write_text(f"wsgi_app = 'wsgi:app'\nchdir = {str(tmp_path)!r}\n{text}\n")
        command: list[Any] = [sys.executable, role / "files/check_config.py", *options, file]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", env=environment, check=False)
        assert done.stdout == ""
        assert sorted(path.name for path in tmp_path.iterdir()) == ["gunicorn.conf.py", "wsgi.py"]  # no bytecode
        return done.returncode, done.stderr.splitlines()

    return run


GOOD = """\
bind = ["0.0.0.0:8000", "[::]:8000", "unix:/run/shop.sock"]
workers = 3
worker_class = "gthread"
loglevel = "WARNING"
raw_env = ["A=1"]
"""


def test_a_good_file(check: Check) -> None:
    assert check(GOOD) == (0, [])
    assert check(GOOD, "--app") == (0, [])


HELPERS = """\
import math
import os.path
from collections import OrderedDict

REGION = "eu"
_private = 1


class Limits:
    pass


def available_cpus():
    return 4


def on_starting(server):
    pass


workers = available_cpus()
"""


def test_helpers_are_no_settings(check: Check) -> None:
    assert check(HELPERS) == (0, [])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("timout = 30", "unknown setting 'timout'; did you mean 'timeout'?"),
        ("worker_clas = 'sync'", "unknown setting 'worker_clas'; did you mean 'worker_class'?"),
        ("zzzzzz = 1", "unknown setting 'zzzzzz'"),
        ("loglevel = 'warn'", "loglevel: 'warn' is none of critical, error, warning, info, debug"),
        ("bind = '0.0.0.0:http'", "bind: 'http' is not a valid port number."),
        ("raw_env = ['A']", "env: environment setting 'A' invalid"),
        ("certfile = '/nowhere/a.pem'", "certfile: [Errno 2] No such file or directory: '/nowhere/a.pem'"),
        ("keyfile = '/nowhere/a.pem'", "keyfile: [Errno 2] No such file or directory: '/nowhere/a.pem'"),
        ("worker_class = 'json.Nope'", "worker_class: module 'json' has no attribute 'Nope'"),
    ],
)
def test_what_gunicorn_lets_pass(check: Check, text: str, line: str) -> None:
    assert check(text) == (1, [f"gunicorn.conf.py: {line}"])


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ("worker_class = 'gthred'", "Entry point ('gunicorn.workers', 'gthred') not found"),
        ("worker_class = 'nowhere.Worker'", "ModuleNotFoundError: No module named 'nowhere'"),
        ("logger_class = 'nowhere.Logger'", "ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_a_class_that_cannot_be_loaded(check: Check, setting: str, cause: str) -> None:
    status, lines = check(setting)
    assert status == 1
    (line,) = lines
    assert line.startswith(f"gunicorn.conf.py: {setting.split(' ')[0]}: class uri ")
    assert line.endswith(cause)


def test_all_problems_at_once(check: Check) -> None:
    status, lines = check("timout = 1\nloglevel = 'warn'\nworker_class = 'gthred'")
    assert (status, len(lines)) == (1, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timeout = 'soon'", "invalid literal for int()"),
        ("workers = -1", "Invalid value for workers: -1"),
        ("preload_app = 'maybe'", "Invalid value for preload_app: maybe"),
        ("timeout = (", "SyntaxError"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
        ("chdir = '/nowhere'", "Invalid value for chdir: /nowhere"),
        ("def on_starting(): pass", "Invalid value for on_starting"),
    ],
)
def test_what_gunicorn_finds_itself(check: Check, text: str, said: str) -> None:
    status, lines = check(text)
    assert status == 1
    assert any(said in line for line in lines), lines


def test_the_application_is_imported_only_where_asked_for(check: Check) -> None:
    text = "wsgi_app = 'missing:app'"
    assert check(text) == (0, [])
    status, lines = check(text, "--app")
    assert (status, lines[-1]) == (1, "ModuleNotFoundError: No module named 'missing'")


def test_an_application_without_its_callable(check: Check) -> None:
    status, lines = check("wsgi_app = 'wsgi:application'", "--app")
    assert status == 1
    assert "Failed to find attribute 'application' in 'wsgi'" in lines[-1]


def test_problems_of_the_file_come_before_those_of_the_application(check: Check) -> None:
    status, lines = check("wsgi_app = 'missing:app'\ntimout = 1", "--app")
    assert (status, len(lines)) == (1, 1)
