"""What a user's own Python sets of Gunicorn's settings: read from its text, and what of it is refused."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils.conf_file import assignments
from ansible_collections.pyweb.deploy.plugins.module_utils.source import look
from ansible_collections.pyweb.deploy.plugins.plugin_utils import configuration, rendering
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import Application, Context, Release, make_wanted
from ansible_collections.pyweb.deploy.plugins.plugin_utils.validation import problems, source_problems
from ansible_collections.pyweb.deploy.plugins.plugin_utils.variables import defaults
from ansible_collections.pyweb.deploy.tests.unit.deploying import OBSERVED

Data = dict[str, Any]


# What the text says


def said(text: str) -> list[tuple[Any, ...]]:
    """Name and value of each assignment; … stands for what isn't a literal, ? for one in a block."""
    return [
        (each["name"], each["value"] if each["literal"] else ..., *(["?"] if not each["always"] else []))
        for each in assignments(text)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("bind = '127.0.0.1:8000'", [("bind", "127.0.0.1:8000")]),
        ("bind = workers = 4", [("bind", 4), ("workers", 4)]),
        ("bind, (user, group) = 'a', (1, None)", [("bind", "a"), ("user", 1), ("group", None)]),
        ("user, group = ids()", [("user", ...), ("group", ...)]),
        ("*some, last = 1, 2", [("some", ...), ("last", ...)]),
        ("timeout: int = 30\nbacklog: int", [("timeout", 30)]),
        ("workers += 1", [("workers", ...)]),
        ("raw_env = ('A=1', 'B=2')", [("raw_env", ["A=1", "B=2"])]),
        ("dogstatsd_tags = {'x': [1.5, -2, True]}", [("dogstatsd_tags", {"x": [1.5, -2, True]})]),
        ("a = b'1'\nb = {1: 2}\nc = f'{d}'\ne = 60 * 5", [("a", ...), ("b", ...), ("c", ...), ("e", ...)]),
        ("def post_fork(server, worker):\n    bind = 1\n", [("post_fork", ...)]),
        ("class Logger:\n    bind = 1\n", [("Logger", ...)]),
        ("import os.path, sys as system\nfrom a import b as c", [("os", ...), ("system", ...), ("c", ...)]),
        (
            "if x: bind = 1\nelif y: user = 2\nelse: group = 3",
            [(name, value, "?") for name, value in (("bind", 1), ("user", 2), ("group", 3))],
        ),
        (
            "try:\n    bind = 1\nexcept E as e:\n    user = 2\nfinally:\n    group = 3",
            [("bind", 1, "?"), ("group", 3, "?"), ("e", ...), ("user", 2, "?")],
        ),
        ("for a in b:\n    bind = 1", [("a", ...), ("bind", 1, "?")]),
        ("while a:\n    bind = 1", [("bind", 1, "?")]),
        ("with a as b:\n    bind = 1", [("b", ...), ("bind", 1, "?")]),
        ("match a:\n    case {'x': y, **z}:\n        bind = 1", [("z", ...), ("y", ...), ("bind", 1, "?")]),
        ("if (bind := 1):\n    pass", [("bind", ...)]),
        ("a = [bind for bind in (1, 2)]\nb = lambda user: user", [("a", ...), ("b", ...)]),
        ("a.bind = 1\na['user'] = 2", []),
        ("bind: 'a.b'\nprint(bind == 1)", []),
    ],
)
def test_what_a_text_assigns(text: str, expected: list[tuple[Any, ...]]) -> None:
    assert sorted(map(str, said(text))) == sorted(map(str, expected))


def test_where_it_does_so() -> None:
    text = "import os\n\nif os.environ:\n    bind = [\n        '127.0.0.1:8000',\n    ]\nx = " + "1" * 100
    _os, bind, x = assignments(text.encode())
    assert (bind["line"], bind["code"]) == (4, "bind = [")
    assert (x["line"], len(x["code"]), x["code"][-4:]) == (7, 80, "1...")


@pytest.mark.parametrize("text", ["def f(", "a = \0", "(" * 5000], ids=["syntax", "nul", "deep"])
def test_what_is_no_python(text: str) -> None:
    with pytest.raises(SyntaxError):
        assignments(text)


# What is refused of gunicorn_conf_extra


def refused(extra: str, **settings: Any) -> list[str]:
    """Give the reasons, without what is around them."""
    values = {**defaults(), "gunicorn_source": {"directory": "/srv/shop"}, "gunicorn_conf_extra": extra}
    found = problems({**values, "gunicorn_settings": settings})
    if not found:
        return []
    (message,) = found
    assert message.startswith("gunicorn_conf_extra: ")
    assert message.endswith(
        'It accepts Python, as one string. Example: gunicorn_conf_extra: "def on_exit(server): ..."'
    )
    body = message.removeprefix("gunicorn_conf_extra: ").rpartition(" It accepts Python")[0]
    head, *items = body.split("\n  - ")
    return [item.strip() for item in items] if items else [head.removesuffix(".")]


BIND = "not yours to set: set gunicorn_bind; systemd's socket unit holds the addresses"


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ("bind = '127.0.0.1:9000'", f"line 1: `bind = '127.0.0.1:9000'`: {BIND}"),
        ("import os\nif os.environ.get('X'):\n    bind = os.environ['X']", f"line 3: `bind = os.environ['X']`: {BIND}"),
        ("timeout, bind = 30, 'x'", f"line 1: `timeout, bind = 30, 'x'`: {BIND}"),
        ("for bind in 'ab':\n    pass", f"line 1: `for bind in 'ab':`: {BIND}"),
        ("bind += ['x']", f"line 1: `bind += ['x']`: {BIND}"),
        ("bind: list = []", f"line 1: `bind: list = []`: {BIND}"),
        ("\nchdir = '/srv'", "line 2: `chdir = '/srv'`: not yours to set: leave it out; it is the directory"),
        ("daemon = True", "line 1: `daemon = True`: not yours to set: leave it out; systemd"),
        ("user = 'www-data'", "line 1: `user = 'www-data'`: not yours to set: set gunicorn_user"),
        ("worker_tmp_dir = None", "line 1: `worker_tmp_dir = None`: not yours to set: leave it out; it is"),
        ("when_ready = 'a.b'", "line 1: `when_ready = 'a.b'`: not yours to set: define the function"),
        ("certfile = '/etc/x.pem'", "line 1: `certfile = '/etc/x.pem'`: set it in gunicorn_settings"),
        ("workers = 'many'", "line 1: `workers = 'many'`: it is not a whole number; it accepts a whole number"),
        ("timeout = 30\ntimeout = -1", "line 2: `timeout = -1`: it is less than 0; it accepts a whole number"),
        ("if x:\n    timeout = -1", "line 2: `timeout = -1`: it is less than 0; it accepts a whole number"),
        ("raw_env = 's3cret'[1]\nraw_env = [5]", "line 2: `raw_env`: it is not a list of strings; it accepts"),
        ("workers = 0", "line 1: workers: with 0 of them nothing answers a request; use 1 or more"),
        ("worker_class = 'eventlet'", "line 1: worker_class: Gunicorn has no 'eventlet' any more; use gevent"),
        ("raw_env = ['NOTIFY_SOCKET=x']", "line 1: raw_env: NOTIFY_SOCKET is not yours to set: systemd sets it"),
        ("def f(:\n    pass", "line 1: `def f(:`: invalid syntax"),
        ("timeout = 30\nx = (", "line 2: `x = (`: '(' was never closed"),
    ],
)
def test_what_is_refused_by_its_line(extra: str, reason: str) -> None:
    (found,) = refused(extra)
    assert found.startswith(reason)


def test_everything_is_said_at_once() -> None:
    found = refused("bind = 'x'\nworkers = 'many'\nchdir = '/srv'\nthreads = 0\n")
    assert [reason.partition(":")[0] for reason in found] == ["line 1", "line 3", "line 2", "line 4"]


SYNC = (
    "'sync' has no threads, so Gunicorn would run gthread and not say so; "
    "use worker_class: gthread, or leave threads out"
)


@pytest.mark.parametrize(
    ("extra", "given", "line"),
    [
        ("worker_class = 'sync'", {"threads": 4}, "line 1: worker_class: "),
        ("threads = 4", {"worker_class": "sync"}, "worker_class: "),
        ("\nthreads, worker_class = 4, 'sync'", {}, "line 2: worker_class: "),
    ],
)
def test_what_cannot_go_together(extra: str, given: Data, line: str) -> None:
    assert refused(extra, **given) == [line + SYNC]


@pytest.mark.parametrize(
    ("extra", "given"),
    [
        ("worker_class = 'sync'", {}),
        ("worker_class = 'gthread'", {"worker_class": "sync"}),
        ("import os\nworker_class = os.environ['CLASS']", {"threads": 4}),
        ("if x:\n    threads = 4", {"worker_class": "sync"}),
        ("worker_class = 'sync'\nthreads = f()", {"threads": 4}),
        ("threads = min(4, available_cpus())", {}),
        ("def post_fork(server, worker):\n    bind = 1\n", {}),
        ("def when_ready(server): ...\npost_worker_init = print\n", {}),
        ("daemon = False\npidfile = None\nuser = None\nspew = False\numask = 0\ncertfile = None", {}),
        ("_bind = 1\nBIND = 2", {}),
        ("import logging\nlogger = logging.getLogger()\nlogger.bind = 1", {}),
        ("def ssl_context(config, default): ...", {"certfile": "/etc/x.pem", "keyfile": "/etc/x.key"}),
        ("keepalive = 5", {"certfile": "/etc/x.pem"}),
        ("not_a_setting = 5", {}),
    ],
)
def test_what_is_accepted(extra: str, given: Data) -> None:
    assert refused(extra, **given) == []


def test_what_is_wrong_with_the_settings_is_theirs() -> None:
    values = {**defaults(), "gunicorn_source": {"directory": "/srv/shop"}, "gunicorn_conf_extra": "timeout = 60"}
    (message,) = problems({**values, "gunicorn_settings": {"workers": 0}})
    assert message.startswith("gunicorn_settings: got {'workers': 0}: workers: with 0 of them nothing answers")


# What it counts for


def all_settings(**variables: Any) -> Data:
    """Give the settings that are written, and on which other texts depend."""
    wanted = make_wanted({**defaults(), "gunicorn_source": {"directory": "."}, **variables}, Context("/", "/"))
    assert isinstance(wanted, Application)
    return wanted.all_settings


def test_what_it_says_for_certain_counts_as_a_setting() -> None:
    """The number of threads, the packages of a worker and the times of systemd depend on it."""
    extra = "worker_class = 'sync'\ngraceful_timeout = 7\nif x:\n    timeout = 1\nloglevel = f()\nhelper = 2\n"
    found = all_settings(gunicorn_conf_extra=extra, gunicorn_settings={"graceful_timeout": 90, "timeout": 91})
    assert "threads" not in found
    assert "helper" not in found
    assert [found[name] for name in ("graceful_timeout", "timeout", "loglevel")] == [7, 91, "info"]
    assert all_settings()["threads"] == 16
    assert all_settings(gunicorn_conf_extra="timeout = 1\ntimeout = f()")["timeout"] == 30


def test_what_only_the_server_can_tell() -> None:
    found = assignments("workers = f()\nx = f()\ntimeout = f()\ntimeout = 1\ndef post_fork(server, worker): ...")
    assert configuration.unsettled(found) == ["workers", "post_fork"]
    assert configuration.settled(found) == {"timeout": 1}


# The file of gunicorn_conf_file

TUTORIAL = """\
import multiprocessing

bind = "127.0.0.1:8000"
chdir = "/home/me/shop"
workers = multiprocessing.cpu_count() * 2 + 1
worker_class = "sync"
accesslog = "/var/log/shop/access.log"
daemon = True
pidfile = None


def post_fork(server, worker):
    server.log.info("worker %s", worker.pid)
"""


def of_file(text: str, directory: Path, **variables: Any) -> list[str]:
    """Give what is wrong with the file of a source, without what is around the reasons."""
    (directory / "gunicorn.conf.py").write_text(text)
    (directory / "wsgi.py").write_text("app = 1\n")
    source = {"gunicorn_source": {"directory": str(directory)}}
    values = {**defaults(), **source, "gunicorn_conf_file": "gunicorn.conf.py", **variables}
    assert problems(values) == []
    wanted = make_wanted(values, Context("/", "/"))
    assert isinstance(wanted, Application)
    found = source_problems(wanted.variables, wanted.look({}))
    if not found:
        return []
    (message,) = found
    assert message.startswith("gunicorn_conf_file: got ")
    assert message.endswith(
        "It accepts the path of a configuration file of Gunicorn inside the source, or an empty string for none. "
        "Example: gunicorn_conf_file: gunicorn.conf.py"
    )
    head, *items = message.rpartition(" It accepts")[0].split("\n  - ")
    return [item.strip() for item in items] if items else [head.partition(": ")[2].partition(": ")[2].removesuffix(".")]


def test_the_file_of_the_tutorial_is_refused_line_by_line(tmp_path: Path) -> None:
    bind, chdir, log, daemon = of_file(TUTORIAL, tmp_path)
    assert bind == (
        'line 3: `bind = "127.0.0.1:8000"`: not yours to set: set gunicorn_bind: ["127.0.0.1:8000"]; '
        "systemd's socket unit holds the addresses"
    )
    assert chdir == (
        'line 4: `chdir = "/home/me/shop"`: not yours to set: leave it out; it is the directory of the code'
    )
    assert log == (
        'line 7: `accesslog = "/var/log/shop/access.log"`: the sandbox keeps the service from writing there; leave it '
        "out for the journal, or set gunicorn_logs: files for /var/log/gunicorn/app/access.log"
    )
    assert daemon.startswith("line 8: `daemon = True`: not yours to set: leave it out; systemd runs ")


def test_what_is_left_of_it_works(tmp_path: Path) -> None:
    text = "".join(line for line in TUTORIAL.splitlines(True) if not line.startswith(("chdir", "accesslog", "daemon")))
    assert of_file(text, tmp_path, gunicorn_bind=["127.0.0.1:8000"]) == []


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("bind = ['127.0.0.1:8000', '[::1]:8000']", {"gunicorn_bind": ["127.0.0.1:8000", "[::1]:8000"]}),
        ("bind = '127.0.0.1:8000,[::1]:8000'", {"gunicorn_bind": ["127.0.0.1:8000", "[::1]:8000"]}),
        ("wsgi_app = 'wsgi:app'", {}),
        ("user = group = pidfile = tmp_upload_dir = worker_tmp_dir = None\numask = 0\nspew = daemon = False", {}),
        ("accesslog = '-'\nerrorlog = '/dev/stderr'", {}),
        ("accesslog = '/var/log/gunicorn/app/a.log'", {}),
        ("accesslog = '/srv/a.log'", {"gunicorn_hardening": False}),
        ("accesslog = '/srv/a.log'", {"gunicorn_settings": {"accesslog": "-"}}),
        ("accesslog = '/srv/a.log'", {"gunicorn_service_options": {"ReadWritePaths": "/srv"}}),
        ("worker_class = f()", {"gunicorn_settings": {"worker_class": "gevent"}}),
        ("timeout = -1", {"gunicorn_settings": {"timeout": 30}}),
        ("loglevel = f()\nstatsd_host = f()\nhost = 'a'\ncores = 4\n_worker = 1\nWORKER = 2", {}),
        ("def when_ready(server): ...\npost_worker_init = f\nworker = f()\ndef worker(): ...", {}),
        ("threads = 4\nif x:\n    worker_class = 'sync'", {"gunicorn_settings": {"worker_class": "gthread"}}),
        ("import sys\nsys.path.insert(0, 'src')", {"gunicorn_wsgi_app": "shop:app"}),
        ("pythonpath = f()", {"gunicorn_wsgi_app": "shop:app"}),
    ],
)
def test_what_a_file_may_say(tmp_path: Path, text: str, variables: Data) -> None:
    assert of_file(text, tmp_path, **variables) == []


@pytest.mark.parametrize(
    ("text", "variables", "reason"),
    [
        ("bind = f()", {}, "line 1: `bind = f()`: not yours to set: set gunicorn_bind; "),
        ("wsgi_app = 'a:b'", {}, "line 1: `wsgi_app = 'a:b'`: not yours to set: set gunicorn_wsgi_app: \"a:b\""),
        ("umask = 0o007", {}, "line 1: `umask = 0o007`: not yours to set: set gunicorn_service_options: {UMask"),
        ("when_ready = 'a.b'", {}, "line 1: `when_ready = 'a.b'`: not yours to set: define the function in "),
        ("keyfile = f()", {}, "line 1: `keyfile = f()`: set it in gunicorn_settings; "),
        ("worker_class = f()", {}, "line 1: `worker_class = f()`: the role has to know the value before; "),
        ("if x:\n    backlog = 1", {}, "line 2: `backlog = 1`: the role has to know the value before; "),
        ("logger_class = f()", {"gunicorn_access_log": "json"}, "line 1: `logger_class = f()`: the role has to know "),
        (
            "logger_class = 'a.B'",
            {"gunicorn_access_log": "json"},
            "line 1: logger_class: it decides how the access log",
        ),
        ("accesslog = f()", {"gunicorn_logs": "files"}, "line 1: `accesslog = f()`: the role has to know "),
        ("accesslog = '/a'", {"gunicorn_logs": "files"}, "line 1: accesslog: gunicorn_logs: files makes it /var/log/"),
        ("worker = 4", {}, "line 1: `worker = 4`: Gunicorn has no setting 'worker'; did you mean 'workers'?"),
        ("timeout = 'x'", {}, "line 1: `timeout = 'x'`: it is not a whole number; it accepts a whole number from 0 on"),
        ("workers = 0", {}, "line 1: workers: with 0 of them nothing answers a request; "),
        ("threads = 4", {"gunicorn_settings": {"worker_class": "sync"}}, "worker_class: 'sync' has no threads, "),
        ("workers = (", {}, "gunicorn.conf.py: line 1: `workers = (`: '(' was never closed"),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, text: str, variables: Data, reason: str) -> None:
    (found,) = of_file(text, tmp_path, **variables)
    assert found.startswith(reason)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    def refused(path: str, **source: Any) -> str:
        variables = {"gunicorn_conf_file": path, "gunicorn_source": {"directory": str(tmp_path), **source}}
        (reason,) = of_file("", tmp_path, **variables)
        return reason

    place = f"there is no conf.py in {tmp_path}"
    assert refused("conf.py", exclude=["gunicorn*"]) == f"{place}, nor any other file whose name says gunicorn"
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/gunicorn_config.py").write_text("")
    assert refused("conf.py") == f"{place}; it has deploy/gunicorn_config.py, gunicorn.conf.py"
    assert refused("gunicorn.conf.py", exclude=["gunicorn.conf.py"]).endswith("; it has deploy/gunicorn_config.py")


# What Gunicorn makes of it


def written(directory: Path, text: str, **variables: Any) -> str:
    """Write the configuration for a source that has this file."""
    (directory / "own.py").write_text(text)
    source = {"gunicorn_source": {"existing": str(directory)}}
    wanted = make_wanted({**defaults(), **source, "gunicorn_conf_file": "own.py", **variables}, Context("/", "/"))
    assert isinstance(wanted, Application)
    found = look(str(directory), [], "requirements.txt", "wsgi", conf_file="own.py")
    return rendering.render(Release(wanted, found, OBSERVED)).release_files["gunicorn.conf.py"]


def ran(directory: Path, text: str, monkeypatch: pytest.MonkeyPatch, **variables: Any) -> Data:
    """Run that configuration: the names that it defines."""
    file = directory / "gunicorn.conf.py"
    file.write_text(written(directory, text, **variables))
    for name in ("RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY"):
        monkeypatch.setenv(name, str(directory))
    return runpy.run_path(str(file), run_name="__config__")


def test_which_value_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the role that it manages, gunicorn_conf_extra, gunicorn_settings, the file, the role's defaults."""
    text = "workers = 2 + 1\ntimeout = f = 61\nloglevel = ''.join('debug')\ngraceful_timeout = 62\nbacklog = 63\n"
    extra = "backlog = 64"
    given = {"gunicorn_settings": {"graceful_timeout": 65}, "gunicorn_conf_extra": extra}
    found = ran(tmp_path, text + "bind = []\n", monkeypatch, **given)
    names = ("workers", "timeout", "loglevel", "graceful_timeout", "backlog", "bind", "worker_class", "threads")
    assert [found[name] for name in names] == [3, 61, "debug", 65, 64, ["0.0.0.0:8000"], "gthread", 16]
    assert found["worker_tmp_dir"] == str(tmp_path)


def test_what_a_file_sets_sometimes_has_the_roles_default_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os\nif os.environ.get('MANY'):\n    workers, loglevel = 40, 'debug'\n"
    found = ran(tmp_path, text, monkeypatch)
    assert (found["workers"], found["loglevel"]) == (2 * found["available_cpus"]() + 1, "info")
    monkeypatch.setenv("MANY", "1")
    found = ran(tmp_path, text, monkeypatch)
    assert (found["workers"], found["loglevel"]) == (40, "debug")


def test_it_runs_as_gunicorn_would_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own path and namespace; its hooks see those later, and the role's call them."""
    text = """\
from __future__ import annotations
import os
_place, os_name = __file__, "mine"
math = 5
asked = []
def post_fork(server, worker) -> Nowhere:
    return _place, __file__, __name__, math
def when_ready(server):
    asked.append(server)
"""
    found = ran(tmp_path, text, monkeypatch)
    place = str(tmp_path / "own.py")
    assert found["post_fork"](None, None) == (place, place, "__config__", 5)
    assert found["os_name"] == "mine"
    server = SimpleNamespace(LISTENERS=[])
    found["when_ready"](server)
    assert found["asked"] == [server]


def test_a_literal_in_it_counts_as_a_setting(tmp_path: Path) -> None:
    text = written(tmp_path, "worker_class = 'asgi'\n")
    assert "threads = " not in text
    assert "\nkeepalive = 0\n" in text
    assert "keepalive = 0" not in written(tmp_path, "worker_class = 'asgi'\nkeepalive = 5\n")
    before, _mark, after = written(tmp_path, "worker_class = 'asgi'\nkeepalive = f()\n").partition("_conf_file = ")
    assert "\nkeepalive = 0\n" in before
    assert "keepalive = " not in after


def test_without_a_file_nothing_of_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(TUTORIAL)
    text = written(tmp_path, TUTORIAL, gunicorn_conf_file="")
    assert "_conf" not in text.replace("gunicorn_conf_extra", "")
    assert "'gthread'" in text


# A gunicorn.conf.py that nobody names


def test_a_file_that_is_not_read_is_told_with_the_variables_that_say_the_same() -> None:
    text = TUTORIAL + "raw_env = ['A=s3cret']\nhelper = 1\ntimeout = 60\nwsgi_app = 'a:b'\n"
    first, bind, *lines = configuration.notes("gunicorn.conf.py", assignments(text))
    assert first == (
        "gunicorn.conf.py of the source is not read. Set gunicorn_conf_file: gunicorn.conf.py to include it, exclude "
        "it, or say the same with variables:"
    )
    assert bind.startswith('line 3: `bind = "127.0.0.1:8000"`: set gunicorn_bind: ["127.0.0.1:8000"]; systemd')
    assert lines == [
        'line 4: `chdir = "/home/me/shop"`: leave it out; it is the directory of the code',
        "line 5: `workers = multiprocessing.cpu_count() * 2 + 1`: put it into gunicorn_conf_extra",
        'line 6: `worker_class = "sync"`: set gunicorn_settings: {worker_class: "sync"}',
        'line 7: `accesslog = "/var/log/shop/access.log"`: set gunicorn_logs: files',
        "line 8: `daemon = True`: leave it out; systemd runs the service in the background",
        "line 12: `def post_fork(server, worker):`: put it into gunicorn_conf_extra",
        "line 14: `raw_env`: set gunicorn_environment",
        "line 16: `timeout = 60`: set gunicorn_settings: {timeout: 60}",
        "line 17: `wsgi_app = 'a:b'`: set gunicorn_wsgi_app: \"a:b\"",
    ]
    assert len(configuration.notes("gunicorn.conf.py", [])) == 1


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ("bind = '127.0.0.1:8000'", True),
        ("bind = ['127.0.0.1:8000', '[::1]:8000']", True),
        ("bind = '0.0.0.0:8000'", False),
        ("bind = []", False),
        ("workers = 4", False),
    ],
)
def test_another_address_in_it_stands_out(text: str, warned: bool) -> None:
    found = configuration.unheard("gunicorn.conf.py", assignments(text), "shop", ["0.0.0.0:8000"])
    assert bool(found) == warned
    if text == "bind = '127.0.0.1:8000'":
        (warning,) = found
        assert warning == (
            "shop listens on 0.0.0.0:8000, not where gunicorn.conf.py of its source says, which is not read: line 1: "
            "`bind = '127.0.0.1:8000'`. To listen there, set gunicorn_bind: [\"127.0.0.1:8000\"]"
        )
