"""What a user's own Python sets of Gunicorn's settings: read from its text, and what of it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils.conf_file import assignments
from ansible_collections.pyweb.deploy.plugins.plugin_utils import configuration
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import Application, Context, make_wanted
from ansible_collections.pyweb.deploy.plugins.plugin_utils.validation import problems
from ansible_collections.pyweb.deploy.plugins.plugin_utils.variables import defaults

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
