"""Every setting of the installed Gunicorn, through gunicorn_settings and back.

Values of all types are written by the role's template, read by Gunicorn and looked at by check_config.py. Gunicorn's
registry says which settings there are; a type that is not in `KINDS` fails.
"""

from __future__ import annotations

import os
import re
import runpy
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.pyweb.deploy.plugins.plugin_utils import gunicorn_registry
from ansible_collections.pyweb.deploy.plugins.plugin_utils import settings as rules
from ansible_collections.pyweb.deploy.tests.certificates import certificate_and_key
from ansible_collections.pyweb.deploy.tests.unit.deploying import configuration
from gunicorn import sock, util
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.config import Config, make_settings
from gunicorn.glogging import Logger
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

Data = dict[str, Any]
Problems = Callable[..., list[str]]
Given = st.SearchStrategy[tuple[Any, Any]]
"""A value of gunicorn_settings, and what Gunicorn makes of it."""

GUNICORN = make_settings()
PEM = certificate_and_key()
HOOKS = "hooks_of_all_settings"
NASTY = (
    *("'", '"', "'''", "\\", "\\n", "\n", "\r\n", "\t", "\0", "#", "$HOME", "`id`", "%", "%(h)s", "%%", ",", "=", " "),
    *(
        "{",
        "}",
        "{{",
        "}}",
        "{{ 1 }}",
        "{% if %}",
        "%}",
        "{#",
        "#}",
        "{{ lookup('pipe', 'id') }}",
        "é",
        "€",
        "𝄞",
        "\u2028",
    ),
)
FILE = "{{ its }} 'file' %"


def texts(without: str = "") -> st.SearchStrategy[str]:
    """Strings of what could go wrong and of anything else, without some characters."""
    pieces = [piece for piece in NASTY if not set(piece) & set(without)]
    letters = st.characters(exclude_categories=["Cs"], exclude_characters=without)
    return st.lists(st.sampled_from(pieces) | st.text(letters, max_size=3), max_size=5).map("".join)


def same(value: Any) -> tuple[Any, Any]:
    return value, value


def number(first: int = 0, last: int = 2**31 - 1) -> Given:
    """Whole numbers, also as strings in the notations of Python."""
    numbers = st.integers(first, last)
    written = st.tuples(numbers, st.sampled_from(("", "#x", "#o")))
    return numbers.map(same) | written.map(lambda pair: (format(*pair), pair[0]))


def choice(*names: str, **others: str) -> Given:
    """One of the names, however it is written; `others` maps True, False and None to names."""
    words = {"true": True, "false": False, "none": None}
    loose = [(given, name) for name in names for given in (name, name.upper(), f" {name}\n")]
    return st.sampled_from(loose + [(words[given], name) for given, name in others.items()])


def text() -> Given:
    return texts().map(lambda value: (value, value.strip())) | st.just((None, None))


def joined(items: st.SearchStrategy[str]) -> Given:
    """Items in one string, with commas between them."""
    return st.lists(items, max_size=4).map(lambda listed: (", ".join(listed), listed))


def addresses() -> Given:
    return joined(
        st.one_of(st.just("*"), st.ip_addresses().map(str), st.sampled_from(("192.0.2.0/24", "2001:db8::/32")))
    )


def names() -> Given:
    return joined(texts(without=",").filter(lambda value: value != "" and value == value.strip()))


def lists() -> Given:
    """Lists of strings; one string is a list too, and nothing an empty one."""
    single = texts().filter(bool).map(lambda value: (value, [value.strip()]))
    several = st.lists(texts(), max_size=4).map(lambda value: (value, [item.strip() for item in value]))
    return several | single | st.sampled_from(((None, []), ("", [])))


def dictionaries() -> Given:
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts()
    nested = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts(), inner, max_size=2), max_leaves=4
    )
    return st.dictionaries(texts(), nested, max_size=3).map(same)


def booleans() -> Given:
    return st.sampled_from(
        [(True, True), (False, False), (None, None), ("true", True), (" False\n", False), ("TRUE", True)]
    )


def statsd() -> Given:
    hosts = st.tuples(st.sampled_from(("localhost", "192.0.2.7")), st.integers(1, 65535))
    paths = texts(without=":").map(lambda name: f"/run/{name}".strip())
    return (
        st.just((None, None))
        | hosts.map(lambda pair: (f"{pair[0]}:{pair[1]}", pair))
        | paths.map(lambda path: (f"unix://{path}", path))
    )


class FunctionName(str):
    """Name of the function that Gunicorn makes of an import path."""

    __slots__ = ()


def hook(setting: Any) -> Given:
    """Import path of a function that takes as many arguments as Gunicorn's own."""
    name = f"with_{util.get_arity(setting.default)}"
    return st.just((f"{HOOKS}.{name}", FunctionName(name)))


def environment() -> Given:
    pairs = st.tuples(st.sampled_from(("A", "LONGER_NAME", "_x1")), texts()).map("=".join)
    return st.lists(pairs, max_size=4).map(lambda value: (value, [item.strip() for item in value]))


def log(empty: str | None) -> Given:
    """A log file, which lies in a directory that is there."""
    files = texts(without="/\0").map(lambda name: f"logs/{name}".strip())
    return files.map(same) | st.sampled_from((("-", "-"), (empty, empty)))


def copy(name: str) -> Given:
    """Path of a file on the host; Gunicorn is given that of systemd's copy, which the fixture `directory` holds."""
    return st.sampled_from(["/root/shop.pem", "/é/it is: a #file"]).map(lambda path: (path, Copy(name)))


class Copy(str):
    """Name of a file in systemd's directory of credentials."""

    __slots__ = ()


KINDS: dict[str, Callable[[Any], Given]] = {
    "_validate_callable": hook,
    "validate_asgi_lifespan": lambda _: choice("auto", "on", "off", none="auto"),
    "validate_asgi_loop": lambda _: choice("auto", "asyncio", "uvloop", none="auto"),
    "validate_bool": lambda _: booleans(),
    "validate_dict": lambda _: dictionaries(),
    "validate_header_map_behaviour": lambda _: choice("drop", "refuse", "dangerous"),
    "validate_http2_cleartext": lambda _: choice(
        "off", "prior-knowledge", "upgrade", "both", true="prior-knowledge", false="off", none="off"
    ),
    "validate_http2_frame_size": lambda _: number(2**14, 2**24 - 1),
    "validate_http2_stream_limit": lambda _: number(1),
    "validate_http2_window_size": lambda _: number(),
    "validate_http_parser": lambda _: choice("auto", "fast", "python", none="auto"),
    "validate_http_protocols": lambda _: st.sampled_from(
        [("h1", ["h1"]), (" H1\n", ["h1"]), ("", ["h1"]), (None, ["h1"]), ("h2,h1", ["h2", "h1"]), ("h2", ["h2"])]
    ),
    "validate_list_string": lambda _: lists(),
    "validate_pos_int": lambda _: number(),
    "validate_post_request": hook,
    "validate_proxy_protocol": lambda _: choice("off", "v1", "v2", "auto", true="auto", false="off", none="off"),
    "validate_statsd_address": lambda _: statsd(),
    "validate_string": lambda _: text(),
    "validate_string_to_addr_list": lambda _: addresses(),
    "validate_string_to_list": lambda _: names(),
}
"""Values by the function with which Gunicorn validates a setting."""

NARROWER: dict[str, Given] = {
    "accesslog": log(None),
    "ca_certs": copy("ca_certs"),
    "cert_reqs": st.sampled_from([same(0), same(1), ("1", 1)]),
    "certfile": copy("certfile"),
    "ciphers": st.sampled_from([same(None), same("ECDHE+AESGCM"), same("HIGH:!aNULL:!SHA1@STRENGTH")]),
    "errorlog": log("-"),
    "keyfile": copy("keyfile"),
    "logconfig": st.sampled_from(((FILE, FILE), (None, None))),
    "logconfig_json": st.sampled_from(((FILE, FILE), (None, None))),
    "logger_class": st.sampled_from([same("gunicorn.glogging.Logger"), same("simple"), same(f"{HOOKS}.Logger")]),
    "loglevel": st.sampled_from([same(level) for level in ("debug", "INFO", "Warning", "error", "critical")]),
    "protocol": st.just(same("http")),
    "raw_env": environment(),
    "ssl_context": st.just((f"{HOOKS}.context", FunctionName("context"))),
    "threads": number(1),
    "worker_class": st.sampled_from([same(name) for name in ("sync", "gthread", "asgi", f"{HOOKS}.Worker")]),
    "workers": number(1),
}
"""Values of settings that accept less than their validator lets pass."""

CERTIFICATE = {"certfile": "/root/shop.pem"}
BESIDE: dict[str, Data] = {
    "ca_certs": CERTIFICATE,
    "cert_reqs": {**CERTIFICATE, "ca_certs": "/root/shop.pem"},
    "ciphers": CERTIFICATE,
    "do_handshake_on_connect": CERTIFICATE,
    "http_protocols": {"http2_cleartext": "both"},
    "keyfile": CERTIFICATE,
    "ssl_context": CERTIFICATE,
    "suppress_ragged_eofs": CERTIFICATE,
}
"""What a setting needs beside it."""

MODULE = """\
from gunicorn.glogging import Logger as Base
from gunicorn.workers.sync import SyncWorker


def with_1(a): pass
def with_2(a, b): pass
def with_3(a, b, c): pass
def with_4(a, b, c, d): pass
def context(config, default): return default()


class Logger(Base): pass
class Worker(SyncWorker): pass
"""


def kind_of(setting: Any) -> str:
    return setting.name if setting.name in NARROWER else str(setting.validator.__name__)


def values_of(setting: Any) -> Given:
    """Find the values for a setting."""
    kind = kind_of(setting)
    if kind not in {**KINDS, **NARROWER}:
        raise LookupError(f"{setting.name}: no values for {kind}; add them to KINDS")
    return NARROWER[kind] if kind in NARROWER else KINDS[kind](setting)


FREE = {name: setting for name, setting in GUNICORN.items() if name not in rules.OWNED_SETTINGS}
"""Settings that the role leaves to the user."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A release with what the values name, and the directory that this process is in meanwhile."""
    path = tmp_path_factory.mktemp("release")
    (path / "logs").mkdir()
    (path / "credentials").mkdir()
    for name in ("certfile", "keyfile", "ca_certs"):
        (path / "credentials" / name).write_text("".join(PEM))
    (path / FILE).write_text("{}")
    (path / f"{HOOKS}.py").write_text(MODULE)
    (path / "wsgi.py").write_text("def app(environ, start_response): ...\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("RUNTIME_DIRECTORY", str(path))
        patch.setenv("CREDENTIALS_DIRECTORY", str(path / "credentials"))
        patch.setattr(sys, "path", [str(path), *sys.path])
        patch.setattr(sys, "argv", ["gunicorn", "--config", str(path / "gunicorn.conf.py")])
        patch.setattr("gunicorn.http2.is_http2_available", lambda: True)
        # As the unit does: bytecode of one configuration would be taken for that of the next of its size and second.
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield path
        sys.modules.pop(HOOKS, None)


@pytest.fixture(scope="module")
def problems(role: Path) -> Problems:
    """Check of check_config.py."""
    found: Problems = runpy.run_path(str(role / "files/check_config.py"))["problems"]
    return found


def load(directory: Path, **variables: Any) -> Config:
    """Write a configuration, and let Gunicorn read it as it does from its command line."""
    (directory / "gunicorn.conf.py").write_text(configuration(directory, **variables))
    return WSGIApplication().cfg


def shown(value: Any) -> str:
    """Value for a comparison that tells True from 1; a function by its name."""
    if isinstance(value, FunctionName):
        return str(value)
    return str(value.__name__) if callable(value) else repr(value)


@pytest.mark.parametrize("kind", sorted({kind_of(setting) for setting in FREE.values()}))
def test_values_arrive_in_gunicorn(directory: Path, problems: Problems, kind: str) -> None:
    alike = {name: setting for name, setting in FREE.items() if kind_of(setting) == kind}
    beside = {key: value for name in alike for key, value in BESIDE.get(name, {}).items() if key not in alike}

    @settings(max_examples=10, phases=[Phase.generate])
    @given(st.fixed_dictionaries({name: values_of(setting) for name, setting in alike.items()}))
    def check(values: dict[str, tuple[Any, Any]]) -> None:
        wanted = {**{name: given for name, (given, _to) in values.items()}, **beside}
        assert list(rules.problems(wanted)) == []
        assert list(gunicorn_registry.problems(wanted, gunicorn_registry.VERSION)) == []
        config = load(directory, gunicorn_settings=wanted)
        arrived = {name: shown(config.settings[name].get()) for name in alike}
        credentials = f"{directory}/credentials"
        expected = {
            name: f"{credentials}/{to}" if isinstance(to, Copy) else to for name, (_given, to) in values.items()
        }
        assert arrived == {name: shown(value) for name, value in expected.items()}
        assert problems(config, vars(sys.modules["__config__"]), Logger.LOG_LEVELS) == []

    check()


def test_a_new_type_of_setting_is_noticed() -> None:
    def validate_colour(_value: str) -> None: ...

    with pytest.raises(LookupError, match="colour: no values for validate_colour; add them to KINDS"):
        values_of(SimpleNamespace(name="colour", validator=validate_colour))


def test_every_rule_is_about_a_setting() -> None:
    assert set(rules.OWNED_SETTINGS) | set(NARROWER) | set(BESIDE) <= set(GUNICORN)
    assert not set(rules.OWNED_SETTINGS) & set(NARROWER)
    assert {setting.validator.__name__ for setting in FREE.values()} >= set(KINDS)


# Which value wins


def printed(directory: Path, *arguments: str, **environment: str) -> dict[str, str]:
    """Start Gunicorn itself with the configuration that was written last: the settings that it goes by."""
    command = [sys.executable, "-m", "gunicorn", "--print-config", "--config", "gunicorn.conf.py", *arguments]
    given = {**os.environ, **environment}
    done = subprocess.run(command, cwd=directory, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^(\w+) += (.*)$", done.stdout, re.MULTILINE))


PLACES: list[tuple[str, Data]] = [
    ("30", {}),
    ("31", {"gunicorn_settings": {"timeout": 31}}),
    ("32", {"gunicorn_conf_extra": "timeout = 32"}),
    ("33", {"GUNICORN_CMD_ARGS": "--timeout 33"}),
    ("34", {"arguments": ["--timeout", "34"]}),
]
"""Where a timeout can come from; each place wins over those before it."""


@pytest.mark.parametrize("last", range(len(PLACES)))
def test_which_place_wins(directory: Path, last: int) -> None:
    given: Data = {}
    for _timeout, place in PLACES[: last + 1]:
        given.update(place)
    arguments = given.pop("arguments", [])
    environment = {name: given.pop(name) for name in list(given) if name.isupper()}
    (directory / "gunicorn.conf.py").write_text(configuration(directory, **given))
    assert printed(directory, *arguments, **environment)["timeout"] == PLACES[last][0]


@pytest.mark.parametrize("chosen", [{}, {"gunicorn_settings": {"workers": 4}}])
def test_an_expression_in_gunicorn_conf_extra_wins(directory: Path, chosen: Data) -> None:
    extra = "workers = 40 + min(1, available_cpus(), available_memory())"
    (directory / "gunicorn.conf.py").write_text(configuration(directory, gunicorn_conf_extra=extra, **chosen))
    assert printed(directory)["workers"] == "41"


def test_variables_of_the_environment_that_gunicorn_reads(directory: Path) -> None:
    (directory / "gunicorn.conf.py").write_text(configuration(directory))
    found = printed(directory, WEB_CONCURRENCY="77", PORT="99", FORWARDED_ALLOW_IPS="192.0.2.7")
    assert found["workers"] == printed(directory)["workers"] != "77"
    assert (found["bind"], found["forwarded_allow_ips"]) == ("['0.0.0.0:8000']", "['192.0.2.7']")


def test_the_role_wins_over_gunicorns_own_defaults(directory: Path) -> None:
    (directory / "gunicorn.conf.py").write_text(configuration(directory))
    found = printed(directory)
    assert (found["worker_class"], found["accesslog"], found["proc_name"]) == ("gthread", "-", "shop")
    assert (GUNICORN["worker_class"].get(), GUNICORN["accesslog"].get(), GUNICORN["proc_name"].get()) == (
        "sync",
        None,
        None,
    )


def test_a_problem_of_gunicorn_conf_extra_is_told_as_such(role: Path, directory: Path) -> None:
    """check_config.py finds the place where the template puts it."""
    path = directory / "gunicorn.conf.py"
    path.write_text(configuration(directory, gunicorn_conf_extra="\ntimeout = 30\n\nimport nowhere\n"))
    command = [sys.executable, str(role / "files/check_config.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    problem = "gunicorn_conf_extra, line 3: ModuleNotFoundError: No module named 'nowhere'"
    assert (done.returncode, done.stderr) == (1, f"gunicorn.conf.py: {problem}\n")


# What docs/settings.md says


def table() -> str:
    """Write what the role refuses as a table; settings with the same answer share a row."""
    answers: dict[str, list[str]] = {}
    for name, answer in rules.OWNED_SETTINGS.items():
        answers.setdefault(answer, []).append(f"`{name}`")
    rows = [f"| {', '.join(names)} | {answer} |" for answer, names in answers.items()]
    return "\n".join(["| Setting | What to do |", "|---|---|", *rows])


def test_the_documentation_lists_what_is_refused() -> None:
    assert table() in PAGE, "docs/settings.md needs this table:\n\n" + table()


PAGE = (Path(__file__).resolve().parents[2] / "docs/settings.md").read_text()


@pytest.mark.parametrize("extra", re.findall(r"^gunicorn_conf_extra: (workers = .+)$", PAGE, re.MULTILINE))
def test_the_expressions_of_the_documentation_work(directory: Path, extra: str) -> None:
    (directory / "gunicorn.conf.py").write_text(configuration(directory, gunicorn_conf_extra=extra))
    assert yaml.safe_load(f"gunicorn_conf_extra: {extra}") == {"gunicorn_conf_extra": extra}
    assert int(printed(directory)["workers"]) >= 1


HOOK_EXAMPLES = {
    re.findall(r"def (\w+)", block)[0]: yaml.safe_load(block)
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    if "def " in block
}


@pytest.fixture
def example(directory: Path) -> Callable[[str], Config]:
    """Let Gunicorn load the example of a hook."""
    return lambda hook: load(directory, **{"gunicorn_settings": CERTIFICATE, **HOOK_EXAMPLES[hook]})


def test_the_hooks_of_the_documentation_load(example: Callable[[str], Config], problems: Problems) -> None:
    assert set(HOOK_EXAMPLES) == {"post_fork", "ssl_context", "post_request"}
    for hook in HOOK_EXAMPLES:
        config = example(hook)
        assert getattr(config, hook).__module__ == "__config__"
        assert problems(config, vars(sys.modules["__config__"]), Logger.LOG_LEVELS) == []


def test_the_hook_of_the_documentation_for_tls(example: Callable[[str], Config]) -> None:
    assert sock.ssl_context(example("ssl_context")).minimum_version == ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(("limit", "alive"), [(2**50, True), (0, False)])
def test_the_hook_of_the_documentation_against_growing_workers(
    example: Callable[[str], Config], limit: int, alive: bool
) -> None:
    hook = example("post_request").post_request
    said: list[Any] = []
    worker = SimpleNamespace(alive=True, log=SimpleNamespace(info=lambda text, *given: said.append(text % given)))
    hook.__globals__["_MEMORY_LIMIT"] = limit
    for _request in range(2):
        hook(worker, None, {}, None)
    assert worker.alive is alive
    assert len(said) == (0 if alive else 1)
    assert all(re.fullmatch(r"Retiring: [1-9]\d* MiB of memory", line) for line in said)
