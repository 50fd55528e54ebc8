"""What a user reads of the difference between two releases, and of what check mode can't tell."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils.difference import check_mode_limits, differences

Data = dict[str, Any]

NEW: Data = {
    "name": "shop",
    "code": "ccc",
    "venv": "vvv",
    "addresses": [{"listen_stream": "0.0.0.0:8000"}],
    "settings": {"timeout": 30, "workers": 2},
    "environment": ["MODE"],
    "secrets": ["TOKEN"],
    "slot_unit": "# @release@\nEnvironment=PATH=/opt/shop/venvs/vvv/bin\nMemoryMax=1G\nSystemCallFilter=a\n",
    "release_files": {
        "gunicorn.conf.py": "timeout = 30\n",
        "environment": 'MODE="a"\n',
        "before_activate": "true\n",
    },
}
OLD: Data = {**{key: value for key, value in NEW.items() if key not in ("name", "release_files")}, "id": "old"}


def said(old: Data | None = None, new: Data | None = None, **files: str) -> list[str]:
    """What differs, where the old release had these files, and otherwise the same ones."""
    texts = {**NEW["release_files"], **files}
    there = {
        f"/opt/shop/releases/old/{name}": {"sha256": hashlib.sha256(text.encode()).hexdigest()}
        for name, text in texts.items()
    }
    return differences({**OLD, **(old or {})}, {**NEW, **(new or {})}, there, "new")


@pytest.mark.parametrize(
    ("old", "words"),
    [
        ({"code": "ddd"}, ["code"]),
        ({"venv": "www", "slot_unit": str(NEW["slot_unit"]).replace("vvv", "www")}, ["Python packages"]),
        (
            {"settings": {"timeout": 45, "preload_app": True, "workers": 2}},
            ["settings (preload_app True -> unset, timeout 45 -> 30)"],
        ),
        ({"settings": {"timeout": 30, "workers": 2, "logconfig_dict": {"a": "x" * 50}}}, ["settings (logconfig_dict)"]),
        ({"addresses": [{"listen_stream": "[::]:80"}]}, ["addresses (+0.0.0.0:8000, -[::]:80)"]),
        ({"environment": ["OTHER"]}, ["environment variables (+MODE, -OTHER)"]),
        ({"secrets": ["TOKEN", "KEY"]}, ["secrets (-KEY)"]),
        (
            {"slot_unit": "Environment=A=1\nMemoryMax=hunter2\nSystemCallFilter=a\n"},
            ["directives of the unit (MemoryMax)"],
        ),
        ({}, ["the value of a secret"]),
        ({"code": "ddd", "secrets": []}, ["code", "secrets (+TOKEN)"]),
    ],
)
def test_what_the_records_tell(old: Data, words: list[str]) -> None:
    assert said(old) == words


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"environment": 'MODE="hunter2"\n'}, ["values of environment variables"]),
        ({"before_activate": "false\n"}, ["gunicorn_before_activate"]),
        ({"gunicorn.conf.py": "timeout = 45\n"}, ["gunicorn.conf.py"]),
    ],
)
def test_what_only_the_files_tell(files: dict[str, str], words: list[str]) -> None:
    assert said(None, None, **files) == words


def test_nothing_that_has_a_name() -> None:
    assert said({"secrets": []}, {"secrets": []}) == ["the configuration"]


PLAN = {
    "id": "3fa92c1b0d4e",
    "passed_health": {},
    "ask": False,
    "switch": False,
    "venv": False,
    "missing_packages": [],
    "enable_firewall": False,
    "restore": False,
}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({}, []),
        ({"switch": True}, ["runs gunicorn_before_activate, starts it in private and asks for /healthz first"]),
        ({"switch": True, "restore": True}, ["the run starts it in private"]),
        ({"passed_health": {"path": "/"}}, ["or only the one that it passed when it served last"]),
        ({"ask": True}, ["whether release 3fa92c1b0d4e passes the health check"]),
        ({"venv": True}, ["which versions of those that aren't pinned"]),
        ({"missing_packages": ["ufw"]}, ["which other Debian packages come along"]),
        ({"enable_firewall": True}, ["turns ufw off again where it doesn't"]),
    ],
)
def test_what_check_mode_can_not_tell(plan: Data, words: list[str]) -> None:
    lines = check_mode_limits(
        {"policy": {"health": {"path": "/healthz"}}, "check_unit": "sh /x/before_activate\n"}, {**PLAN, **plan}
    )
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert word in line
        assert line.startswith("check mode can't tell ")
