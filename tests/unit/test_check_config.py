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
        ("worker = 4", "unknown setting 'worker'; did you mean 'workers'?"),
        ("worker_clas = 'sync'", "unknown setting 'worker_clas'; did you mean 'worker_class'?"),
        (
            "limit_request_field = 1",
            "unknown setting 'limit_request_field'; did you mean 'limit_request_fields' or 'limit_request_field_size'?",
        ),
        (
            "asgi_timeout = 1",
            "unknown setting 'asgi_timeout'; did you mean 'timeout', 'dirty_timeout' or 'graceful_timeout'?",
        ),
        ("access_logfile = '-'", "unknown setting 'access_logfile'; did you mean 'accesslog'?"),
        ("preload = True", "unknown setting 'preload'; did you mean 'preload_app'?"),
        ("zzzzzz = 1", "unknown setting 'zzzzzz'"),
        (
            "loglevel = 'warn'",
            (
                "loglevel: got 'warn': it is none of critical, error, warning, info, debug. "
                'Example: gunicorn_settings: {loglevel: "info"}'
            ),
        ),
        (
            "raw_env = ['TOKEN s3cret', 'A']",
            (
                "raw_env: environment setting 'TOKEN s3cret' invalid. It accepts a list of NAME=value. "
                'Example: gunicorn_settings: {raw_env: ["LANG=C.UTF-8"]}'
            ),
        ),
        ("certfile = '/nowhere/a.pem'", "certfile: [Errno 2] No such file or directory: '/nowhere/a.pem'"),
        ("keyfile = '/nowhere/a.pem'", "keyfile: [Errno 2] No such file or directory: '/nowhere/a.pem'"),
        ("logconfig_json = 'nowhere.json'", "logconfig_json: [Errno 2] No such file or directory: 'nowhere.json'"),
    ],
)
def test_what_gunicorn_lets_pass(check: Check, text: str, line: str) -> None:
    assert check(text) == (1, [f"gunicorn.conf.py: gunicorn_settings: {line}"])


def test_an_address_is_mended_in_its_own_variable(check: Check) -> None:
    said = "gunicorn.conf.py: gunicorn_bind: bind: got ['0.0.0.0:http']: 'http' is not a valid port number. It accepts "
    status, (line,) = check("bind = '0.0.0.0:http'")
    assert (status, line) == (1, said + 'a list of addresses. Example: gunicorn_bind: ["127.0.0.1:8000"]')


@pytest.mark.parametrize("setting", ["accesslog", "errorlog"])
def test_a_log_that_cannot_be_written(check: Check, tmp_path: Path, setting: str) -> None:
    status, (line,) = check(f"{setting} = '/nowhere/a.log'")
    assert status == 1
    assert line.startswith(f"gunicorn.conf.py: gunicorn_settings: {setting}: got '/nowhere/a.log': the user of the ")
    assert line.endswith(f'Example: gunicorn_settings: {{{setting}: "/var/log/gunicorn/NAME/{setting[:-3]}.log"}}')
    assert check(f"{setting} = '{tmp_path}/a.log'\n{setting} = None") == (0, [])
    assert check(f"{setting} = '{tmp_path}/a.log'") == (0, [])
    assert check(f"{setting} = 'a.log'") == (0, [])


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ("worker_class = 'gthred'", "Entry point ('gunicorn.workers', 'gthred') not found; did you mean 'gthread'?"),
        ("worker_class = 'zzz'", "Entry point ('gunicorn.workers', 'zzz') not found."),
        ("worker_class = 'nowhere.Worker'", "ModuleNotFoundError: No module named 'nowhere'."),
        ("worker_class = 'json.Nope'", "module 'json' has no attribute 'Nope'."),
        ("logger_class = 'nowhere.Logger'", "ModuleNotFoundError: No module named 'nowhere'."),
    ],
)
def test_a_class_that_cannot_be_loaded(check: Check, setting: str, cause: str) -> None:
    status, lines = check(setting)
    assert status == 1
    (line,) = lines
    name, value = setting.split(" = ")
    assert line.startswith(f"gunicorn.conf.py: gunicorn_settings: {name}: got {value}: ")
    assert f"{cause} It accepts " in line
    assert ("It accepts sync, gevent, " in line) == (name == "worker_class")


def test_all_problems_at_once(check: Check) -> None:
    status, lines = check("timout = 1\nloglevel = 'warn'\nworker_class = 'gthred'")
    assert (status, len(lines)) == (1, 3)
    status, lines = check("timout = 1\ntimeout = 'soon'\nworkers = 'many'\nloglevel = 'warn'")
    assert (status, len(lines)) == (1, 4)


@pytest.mark.parametrize(
    ("setting", "reason", "accepts", "example"),
    [
        ("timeout = 'soon'", "invalid literal for int() with base 0: 'soon'", "a whole number from 0 on", "30"),
        ("workers = -1", "Value must be positive: -1", "a whole number from 0 on", "1"),
        ("preload_app = 'maybe'", "Invalid boolean: maybe", "true or false", "false"),
        ("sendfile = 1", "Invalid type for casting: 1", "true or false", "true"),
        ("proc_name = 5", "Not a string: 5", "a string", '"text"'),
        ("dirty_apps = [5]", "Not a string: 5", "a list of strings", '["text"]'),
        ("logconfig_dict = 5", "Value is not a dictionary: 5", "a dictionary", '{"name": "value"}'),
        (
            "forwarder_headers = 5",
            "Not a string: 5",
            "a string of names, with commas between them",
            '"SCRIPT_NAME,PATH_',
        ),
        (
            "forwarded_allow_ips = '192.0.2.1/24'",
            "192.0.2.1/24 has host bits set",
            "a string of IP addresses and networks, with commas between them",
            '"127.0.0.1,::1"',
        ),
        (
            "header_map = 'keep'",
            "Invalid header map behaviour: keep",
            "drop, refuse, dangerous (Configure how header field names are mapped into environ)",
            '"drop"',
        ),
        (
            "asgi_loop = 'trio'",
            "Invalid ASGI loop: trio",
            "auto, uvloop, asyncio (Event loop implementation for ASGI workers)",
            '"auto"',
        ),
        (
            "http2_max_frame_size = 5",
            "http2_max_frame_size must be between 16384 and 16777215, got 5",
            "a whole number (Maximum HTTP/2 frame payload size in bytes)",
            "16384",
        ),
        ("worker_class = 5", "Not a string: 5", "the name of a class, or its import path", '"sync"'),
    ],
)
def test_a_value_that_gunicorn_refuses(check: Check, setting: str, reason: str, accepts: str, example: str) -> None:
    name, value = setting.split(" = ")
    status, (line,) = check(setting)
    assert status == 1
    hint = f"It accepts {accepts}. Example: gunicorn_settings: {{{name}: {example}"
    assert line.startswith(f"gunicorn.conf.py: gunicorn_settings: {name}: got {value}: {reason}. {hint}")


def test_a_value_without_an_example(check: Check) -> None:
    status, (line,) = check("statsd_host = 'a:b'")
    assert status == 1
    assert line.startswith("gunicorn.conf.py: gunicorn_settings: statsd_host: got 'a:b': Value must be one of (")
    assert line.endswith(" It accepts what Gunicorn calls: The address of the StatsD server to log to.")


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("on_starting = 'hooks'", "'hooks': Value 'hooks' is not import string. "),
        ("on_starting = 'nowhere.hook'", "'nowhere.hook': No module named 'nowhere'. "),
        ("def on_starting():\n    pass", "def on_starting(): Value must have an arity of: 1. "),
    ],
)
def test_a_hook_that_cannot_be_called(check: Check, text: str, got: str) -> None:
    status, (line,) = check(text)
    assert status == 1
    assert line.startswith(f"gunicorn.conf.py: gunicorn_settings: on_starting: got {got}")
    assert "It accepts a function with the arguments (server), defined in gunicorn_conf_extra, " in line
    assert line.endswith("Example: gunicorn_conf_extra: 'def on_starting(server): ...'")


EXTRA = "timeout = 10\n\n# From gunicorn_conf_extra:\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timeout = 'soon'", ": timeout: got 'soon': invalid literal for int() with base 0: 'soon'. It accepts "),
        ("if True:\n    timeout = 'soon'", ": timeout: got 'soon': "),
        ("loglevel = 'warn'", ": loglevel: got 'warn': it is none of "),
        ("worker_class = 'gthred'", ": worker_class: got 'gthred': "),
        ("accesslog = '/nowhere/a'", ": accesslog: got '/nowhere/a': "),
        ("zzzzzz = 4", ": unknown setting 'zzzzzz'; for one of your own: _zzzzzz"),
        ("work = 4", ": unknown setting 'work'; did you mean 'workers'? A variable of your own begins with _: _work"),
        ("timeout = (", ", line 1: SyntaxError: '(' was never closed"),
        ("import os\n\nimport nowhere", ", line 3: ModuleNotFoundError: No module named 'nowhere'"),
        (
            "def workers_of(x):\n    return 1 / x\n\n\nworkers = workers_of(0)",
            ", line 2: ZeroDivisionError: division by",
        ),
        ("raise SystemExit(3)", ", line 1: SystemExit: 3"),
    ],
)
def test_what_gunicorn_conf_extra_brings(check: Check, text: str, said: str) -> None:
    status, lines = check(EXTRA + text)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(f"gunicorn.conf.py: gunicorn_conf_extra{said}")
    assert "gunicorn_settings" not in lines[0]


def test_an_error_in_a_module_of_the_user_shows_where(check: Check) -> None:
    status, lines = check(EXTRA + "import json\n\njson.loads('{')")
    assert status == 1
    assert lines[-1].startswith("gunicorn.conf.py: gunicorn_conf_extra, line 3: JSONDecodeError: ")
    assert any("json/decoder.py" in line for line in lines[:-1])
    assert "Traceback" not in "".join(lines)


def test_what_only_gunicorn_as_a_whole_finds(check: Check) -> None:
    """A package is missing: Gunicorn says so when it has read everything."""
    status, lines = check("http_protocols = 'h2'\nhttp2_cleartext = 'both'")
    assert status == 1
    assert lines[-1].startswith("gunicorn.conf.py: http_protocols includes h2 but the h2 package is not installed. ")
    assert lines[-1].endswith('Example: gunicorn_packages: ["gunicorn[http2]"]')


def test_a_directory_that_is_not_there(check: Check) -> None:
    status, (line,) = check("chdir = '/nowhere'")
    assert status == 1
    assert line.startswith("gunicorn.conf.py: gunicorn_settings: chdir: got '/nowhere': can't chdir to '/nowhere'. ")


def test_the_application_is_imported_only_where_asked_for(check: Check) -> None:
    text = "wsgi_app = 'missing:app'"
    assert check(text) == (0, [])
    status, lines = check(text, "--app")
    assert (status, lines[-1]) == (1, "ModuleNotFoundError: No module named 'missing'")


def test_the_application_sees_what_gunicorn_gives_it(check: Check, tmp_path: Path) -> None:
    """Its import path and its environment, which Gunicorn sets as late as the worker starts."""
    (tmp_path / "wsgi.py").write_text("import os\n\nassert os.environ['A'] == '1'\nimport nearby\n" + APP)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "nearby.py").touch()
    assert check(f"raw_env = ['A=1']\npythonpath = '/nowhere,{elsewhere}'", "--app") == (0, [])
    status, lines = check("raw_env = ['A=1']", "--app")
    assert (status, lines[-1]) == (1, "ModuleNotFoundError: No module named 'nearby'")


def test_an_application_without_its_callable(check: Check) -> None:
    status, lines = check("wsgi_app = 'wsgi:application'", "--app")
    assert status == 1
    assert "Failed to find attribute 'application' in 'wsgi'" in lines[-1]


def test_problems_of_the_file_come_before_those_of_the_application(check: Check) -> None:
    status, lines = check("wsgi_app = 'missing:app'\ntimout = 1", "--app")
    assert (status, len(lines)) == (1, 1)
