"""What the controller refuses of Gunicorn's settings, beside Gunicorn's own validators."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import EncryptedString
from ansible_collections.pyweb.deploy.plugins.plugin_utils.gunicorn_registry import (
    SETTINGS,
    VERSION,
    nearest,
    problems,
    refusal,
)
from ansible_collections.pyweb.deploy.plugins.plugin_utils.settings import OWNED_SETTINGS
from ansible_collections.pyweb.deploy.tests import settings_table
from gunicorn.config import make_settings
from gunicorn.errors import ConfigError
from hypothesis import given, settings
from hypothesis import strategies as st

GUNICORN = make_settings()
REFUSALS = (ConfigError, TypeError, ValueError, AttributeError)
FREE = sorted(set(GUNICORN) - set(OWNED_SETTINGS))

CHECK_CONFIG = runpy.run_path(str(Path(__file__).parents[2] / "roles/gunicorn/files/check_config.py"))


# The table


def test_the_table_is_what_the_installed_gunicorn_says() -> None:
    done = subprocess.run([sys.executable, settings_table.__file__, "--check"], capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert set(SETTINGS) == set(GUNICORN)


def test_an_old_table_is_noticed_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settings_table, "TABLE", tmp_path / "table.json")
    monkeypatch.setattr("os.environ", {})
    (tmp_path / "table.json").write_text("{}")
    assert settings_table.main(["--check"]) == 1
    assert "table.json: the table is old; run: " in capsys.readouterr().err
    assert settings_table.main([]) == 0
    assert json.loads((tmp_path / "table.json").read_text())["settings"] == SETTINGS
    assert settings_table.main(["--check"]) == 0
    assert settings_table.main(["--chek"]) == 2


def test_the_table_is_of_the_release_that_is_the_default(role: Path) -> None:
    assert yaml.safe_load((role / "defaults/main.yml").read_text())["gunicorn_version"] == VERSION


def test_every_setting_has_a_value_that_is_refused() -> None:
    """So a validator of a newer Gunicorn that nothing here knows is noticed."""
    assert [name for name in FREE if not refusal(name, [5.5])] == []
    assert all(SETTINGS[name]["accepts"].startswith("It accepts ") for name in FREE)


# Never more than Gunicorn refuses

WORDS = sorted({word for setting in SETTINGS.values() for word in setting.get("choices", ()) if isinstance(word, str)})
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from([*WORDS, "none", "yes", "True", "", "h2,h1", "gthread", "shop.hooks", "unix:/run/a", "-", "a,b"]),
    st.integers().map(str),
    st.sampled_from(
        ["0x10", "0o17", "010", "1_000", "1e3", "4.0", "+4", " 4 ", "-5", "16384", "16777216", "2147483648"]
    ),
    st.ip_addresses().map(str),
    st.sampled_from(["*", "10.0.0.0/8", "10.0.0.1/8", "127.0.0.1,::1", "localhost", "127.0.0.1,", ",", "fe80::1%eth0"]),
)
LOOSE = TEXTS | TEXTS.map(str.upper) | TEXTS.map(str.title) | TEXTS.map("  {}\n".format)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | LOOSE
VALUES = st.one_of(
    SCALARS,
    st.integers(-1, 2) | st.sampled_from([2**14 - 1, 2**14, 2**24 - 1, 2**24, 2**31 - 1, 2**31]),
    st.lists(SCALARS, max_size=3),
    st.dictionaries(LOOSE | st.integers(), SCALARS, max_size=2),
)


def refused_by_gunicorn(name: str, value: Any) -> bool:
    try:
        GUNICORN[name].copy().set(value)
    except REFUSALS:
        return True
    return False


@pytest.mark.parametrize("validator", sorted({SETTINGS[name]["validator"] for name in FREE}))
def test_what_is_refused_gunicorn_refuses_too(validator: str) -> None:
    alike = [name for name in FREE if SETTINGS[name]["validator"] == validator]
    seen: set[bool] = set()

    @settings(max_examples=400, deadline=None)
    @given(st.sampled_from(alike), VALUES)
    def check(name: str, value: Any) -> None:
        reason = refusal(name, value)
        seen.add(bool(reason))
        assert not reason or refused_by_gunicorn(name, value), f"{name}: {value!r} is accepted, and not {reason}"
        assert not refusal(name, value, newer=True) or reason, "a newer one is asked for less"

    check()
    assert seen == {True, False}


@pytest.mark.parametrize("value", [None, True, False, "", [], {}, 0, "4", 0o17])
def test_plain_values(value: Any) -> None:
    refused = [name for name in FREE if refusal(name, value)]
    assert [name for name in refused if not refused_by_gunicorn(name, value)] == []


# What is refused

BAD: list[tuple[str, Any, str]] = [
    ("workers", "four", "it is not a whole number"),
    ("workers", None, "it is not a whole number"),
    ("workers", 1.0, "it is not a whole number"),
    ("timeout", -5, "it is less than 0"),
    ("timeout", "-5", "it is less than 0"),
    ("timeout", "010", "it is not a whole number"),
    ("http2_max_concurrent_streams", 0, "it is less than 1"),
    ("http2_max_frame_size", 2**24, "it is more than 16777215"),
    ("http2_initial_window_size", 2**31, "it is more than 2147483647"),
    ("preload_app", "yes", "it is neither true nor false"),
    ("preload_app", 1, "it is neither true nor false"),
    ("proc_name", 5, "it is not a string"),
    ("worker_class", ["gthread"], "it is not a string"),
    ("statsd_host", 8125, "it is not a string"),
    ("dirty_apps", ["shop:Model", 5], "it is not a list of strings"),
    ("dirty_apps", 5, "it is not a list of strings"),
    ("logconfig_dict", None, "it is not a dictionary"),
    ("secure_scheme_headers", "X-FORWARDED-PROTO: https", "it is not a dictionary"),
    ("header_map", "keep", "it is none of drop, refuse, dangerous"),
    ("header_map", True, "it is none of drop, refuse, dangerous"),
    ("proxy_protocol", 1, "it is none of off, false, 0, none, true, auto, 1, v1, v2"),
    ("http_protocols", "h1,h4", "'h4' is none of h1, h2"),
    ("http_protocols", ["h1"], "it is not a string"),
    ("forwarded_allow_ips", "192.0.2.1/24", "192.0.2.1/24 has host bits set"),
    ("forwarded_allow_ips", "proxy.example", "'proxy.example' does not appear to be an IPv4 or IPv6 network"),
    ("forwarded_allow_ips", ["192.0.2.1"], "it is not a string"),
    ("on_exit", "on_exit", "it is not the import path of a function"),
    ("post_request", 5, "it is not the import path of a function"),
]


@pytest.mark.parametrize(("name", "value", "reason"), BAD)
def test_a_value_that_is_refused(name: str, value: Any, reason: str) -> None:
    (message,) = problems({name: value}, VERSION)
    assert message.startswith(f"gunicorn_settings: {name}: got {value!r}: {reason}. It accepts ")
    assert refused_by_gunicorn(name, value)


def test_the_whole_messages() -> None:
    unknown, wrong = problems({"wokers": 4, "timeout": -5, "bind": 1, "keyfile": [], "a-b": 1}, VERSION)
    assert unknown == (
        "gunicorn_settings: unknown setting 'wokers'; did you mean 'workers'? It accepts the settings of Gunicorn "
        f"{VERSION}. Example: gunicorn_settings: {{workers: 4, timeout: 60}}"
    )
    assert wrong == (
        "gunicorn_settings: timeout: got -5: it is less than 0. It accepts a whole number from 0 on. "
        "Example: gunicorn_settings: {timeout: 30}"
    )


@pytest.mark.parametrize("settings", [None, "workers=4", ["workers"], {1: 2}, {"é": 1}, {}])
def test_what_is_no_dictionary_of_settings_is_told_elsewhere(settings: Any) -> None:
    assert list(problems(settings, VERSION)) == []


def test_values_that_may_be_secret_are_not_shown() -> None:
    (message,) = problems({"raw_env": [{"TOKEN": "s3cret"}]}, VERSION)
    assert message.startswith("gunicorn_settings: raw_env: it is not a list of strings. It accepts a list of strings. ")


def test_a_long_value_is_cut() -> None:
    (message,) = problems({"timeout": "x" * 500}, VERSION)
    assert f"got '{'x' * 116}...: it is not a whole number" in message


def test_what_has_no_literal_is_told_elsewhere() -> None:
    assert refusal("timeout", float("nan")) == ""
    assert refusal("timeout", EncryptedString(ciphertext="x")) == ""


@pytest.mark.parametrize("version", ["27.0.2", "28", "27.1rc1", 28, None, "the newest"])
def test_a_newer_gunicorn_may_know_more(version: Any) -> None:
    assert list(problems({"wokers": 4, "header_map": "keep", "http_protocols": "h3", "timeout": -1}, version)) == []
    (message,) = problems({"workers": "four"}, version)
    assert message.startswith("gunicorn_settings: workers: got 'four': it is not a whole number. ")


@pytest.mark.parametrize("version", ["27.0.1", "27.0", "26.9.9"])
def test_no_other_knows_more(version: str) -> None:
    assert len(list(problems({"wokers": 4}, version))) == 1


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("worker", ["workers"]),
        ("access_logfile", ["accesslog"]),
        ("preload", ["preload_app"]),
        ("limit_request_field", ["limit_request_fields", "limit_request_field_size"]),
        ("zzzzzz", []),
    ],
)
def test_the_nearest_names(word: str, names: list[str]) -> None:
    assert nearest(word) == names


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(sorted(SETTINGS)), st.integers(0, 20), st.text("abcdefghijklmnopqrstuvwxyz_", max_size=3))
def test_the_nearest_names_are_those_of_the_check_on_the_host(name: str, cut: int, letters: str) -> None:
    word = name[:cut] + letters + name[cut + 1 :]
    assert nearest(word) == CHECK_CONFIG["nearest"](word, CHECK_CONFIG["spellings"](GUNICORN))
