"""check_config.py, run as on a server: by the interpreter that has the real Gunicorn."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.certificates import certificate_and_key

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
        ("logconfig_json = 'nowhere.json'", "logconfig_json: [Errno 2] No such file or directory: 'nowhere.json'"),
    ],
)
def test_what_gunicorn_lets_pass(check: Check, text: str, line: str) -> None:
    assert check(text) == (1, [f"gunicorn.conf.py: gunicorn_settings: {line}"])


# TLS


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the files that systemd would hand to the service, good ones and others."""
    directory = tmp_path_factory.mktemp("credentials")
    certificate, key = certificate_and_key()
    locked_certificate, locked_key = certificate_and_key(locked=True)
    texts = {"certfile": certificate, "keyfile": key, "both": certificate + key, "other": certificate_and_key()[1]}
    texts |= {"locked": locked_key, "locked_certificate": locked_certificate, "junk": "hello\n"}
    for name, text in texts.items():
        (directory / name).write_text(text)
    return directory


HOOKED = "def ssl_context(config, default_ssl_context_factory):\n    context = default_ssl_context_factory()\n"
MUTUAL = "cert_reqs = {}\nca_certs = 'DIR/certfile'\n"
KEY = 'keyfile: "/etc/letsencrypt/live/shop.example/privkey.pem"'


@pytest.mark.parametrize(
    "text",
    [
        "certfile = 'DIR/certfile'\nkeyfile = 'DIR/keyfile'",
        "certfile = 'DIR/both'\nciphers = 'ECDHE+AESGCM'",
        "certfile = 'DIR/both'\n" + MUTUAL.format(1),
        "certfile = 'DIR/both'\n" + HOOKED + "    return context\n",
        "certfile = None\nkeyfile = None\n",
    ],
)
def test_tls(check: Check, pem: Path, text: str) -> None:
    assert check(text.replace("DIR", str(pem))) == (0, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "certfile = '/nowhere/a.pem'",
            "settings: certfile: got '/nowhere/a.pem': [Errno 2] No such file or directory",
        ),
        (
            "certfile = 'DIR/both'\nkeyfile = 'DIR/other'",
            "settings: keyfile: got 'DIR/other': it is not the key of certfile. It accepts a file in PEM with the "
            "private key of certfile, without a passphrase. Example: gunicorn_settings: {" + KEY + "}",
        ),
        (
            "certfile = 'DIR/both'\nkeyfile = 'DIR/junk'",
            "settings: keyfile: got 'DIR/junk': it holds no key. It accepts",
        ),
        (
            "certfile = 'DIR/keyfile'",
            "settings: certfile: got 'DIR/keyfile': it holds no certificate. It accepts a file",
        ),
        (
            "certfile = 'DIR/certfile'",
            "settings: certfile: got 'DIR/certfile': it holds no key; set keyfile, if that is",
        ),
        (
            "certfile = 'DIR/locked_certificate'\nkeyfile = 'DIR/locked'",
            "settings: keyfile: got 'DIR/locked': it has a passphrase, and nobody is there to type it in. It accepts",
        ),
        (
            "certfile = 'DIR/both'\nca_certs = 'DIR/keyfile'",
            "settings: ca_certs: got 'DIR/keyfile': it holds no certificate. It accepts a file in PEM with",
        ),
        ("certfile = 'DIR/both'\nciphers = 'NOPE'", "settings: ciphers: got 'NOPE': OpenSSL knows none of them. It"),
        (
            "certfile = 'DIR/both'\ncert_reqs = 3",
            "settings: cert_reqs: got 3: invalid value for verify_mode. It accepts 0 or 1. Example: ",
        ),
        (
            "certfile = 'DIR/both'\nEXTRAcert_reqs = 2",
            "conf_extra: cert_reqs: got 2: the health check, which has no certificate of its own, could not connect. ",
        ),
        (
            "certfile = 'DIR/both'\nEXTRA" + HOOKED + "    context.verify_mode = 2\n    return context",
            "conf_extra: ssl_context: got def ssl_context(config, default_ssl_context_factory): the health check, ",
        ),
        ("certfile = 'DIR/both'\nEXTRA" + HOOKED, "conf_extra: ssl_context: got def ssl_context(config, "),
        ("EXTRA" + HOOKED, "conf_extra: ssl_context: without certfile Gunicorn serves plain HTTP and never calls it."),
        (
            "EXTRAcertfile = 'DIR/both'",
            "conf_extra: certfile: got 'DIR/both': the health check has to know of TLS. It is accepted ",
        ),
    ],
)
def test_tls_that_would_not_work(check: Check, pem: Path, text: str, said: str) -> None:
    status, lines = check(text.replace("EXTRA", EXTRA).replace("DIR", str(pem)))
    assert (status, len(lines)) == (1, 1), lines
    assert lines[0].startswith(f"gunicorn.conf.py: gunicorn_{said.replace('DIR', str(pem))}")


COPIES = """\
_credentials = {"certfile": "/root/shop.pem", "keyfile": "/root/shop.key"}
certfile = "DIR/both"
keyfile = "DIR/other"
"""


def test_a_copy_of_systemd_goes_by_the_name_of_its_original(check: Check, pem: Path) -> None:
    status, (line,) = check(COPIES.replace("DIR", str(pem)))
    assert status == 1
    assert line.startswith("gunicorn.conf.py: gunicorn_settings: keyfile: got '/root/shop.key': it is not the key of ")


def test_copies_that_systemd_does_not_show_are_not_looked_at(check: Check) -> None:
    assert check(COPIES.replace("DIR", "/nowhere")) == (0, [])


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


def test_what_the_check_logs_to_hides_no_file(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--access-logfile - --error-logfile -")
    status, (line,) = check("errorlog = '/nowhere/a.log'")
    assert (status, "errorlog: got '/nowhere/a.log'" in line) == (1, True)


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
        ("workers = -1", "Value must be positive: -1", "a whole number from 1 on", "1"),
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


INCLUDES = """\
loglevel = "info"
_conf_file = {path!r}
_conf = type("")
exec(compile(open(_conf_file).read(), _conf_file, "exec"), globals())
threads = 4
# From gunicorn_conf_extra:
timeout = 30
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cores = 4\nhost = 'x'\n", []),
        ("threads = 'many'\n", []),
        (
            "\nworkers = str('many')\nloglevel = 'loud'\n",
            [
                "gunicorn_conf_file: workers: got 'many': invalid literal for int() with base 0: 'many'",
                "gunicorn_conf_file: loglevel: got 'loud': it is none of critical, error, warning, info, debug",
            ],
        ),
        ("\nimport nowhere\n", ["gunicorn_conf_file, line 2: ModuleNotFoundError: No module named 'nowhere'"]),
        ("a = 1\nb = (\n", ["gunicorn_conf_file, line 2: SyntaxError: '(' was never closed"]),
    ],
    ids=["own names", "overruled", "values", "import", "syntax"],
)
def test_what_gunicorn_conf_file_brings(
    check: Check, text: str, said: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = tmp_path_factory.mktemp("app") / "own.conf.py"
    own.write_text(text)
    status, lines = check(INCLUDES.format(path=str(own)))
    found = [line.removeprefix("gunicorn.conf.py: ").partition(". ")[0] for line in lines]
    assert (status, found) == (1 if said else 0, said)


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
