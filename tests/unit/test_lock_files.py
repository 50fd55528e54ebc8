"""What lock files and pyproject.toml ask for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils import lock_files, requirements

PROJECT = """\
# What is installed
[build-system]
requires = ["hatchling"]

[project]
name = "shop"
version = "1.0"
requires-python = ">=3.10"
dependencies = [
    "flask[async]>=3", # ["comment"]
    # "old",
    'redis; sys_platform == "linux"',
]

[dependency-groups]
dev = ["pytest"]
"""
UV_LOCK = """\
version = 1
revision = 5
requires-python = ">=3.10"

[[package]]
name = "flask"
version = "3.1.3"
source = { registry = "https://pypi.org/simple" }
dependencies = [
    { name = "redis", marker = "sys_platform == 'linux'" },
]
sdist = { url = "https://files.example/flask-3.1.3.tar.gz", hash = "sha256:0a", size = 7 }
wheels = [
    { url = "https://files.example/flask-3.1.3-py3-none-any.whl", hash = "sha256:0b", size = 7 },
]

[[package]]
name = "shop"
version = "1.0"
source = { virtual = "." }
dependencies = [
    { name = "flask" },
]

[package.metadata]
requires-dist = [{ name = "flask" }]
"""
PYLOCK = """\
lock-version = "1.0"
created-by = "uv"

[[packages]]
name = "flask"
version = "3.1.3"
sdist = { url = "https://files.example/flask-3.1.3.tar.gz", size = 7, hashes = { sha256 = "0a" } }
wheels = [{ url = "https://files.example/flask-3.1.3-py3-none-any.whl", size = 7, hashes = { sha256 = "0b" } }]
"""
FLASK = "flask==3.1.3 --hash=sha256:0a --hash=sha256:0b"

Ask = Callable[..., list[str]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Give the lines of a file with a text."""

    def lines(name: str, text: str) -> list[str]:
        (tmp_path / name).write_text(text)
        return requirements.lines(str(tmp_path), name)

    return lines


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("uv.lock", UV_LOCK, [FLASK]),
        ("pylock.toml", PYLOCK, [FLASK]),
        ("pylock.deploy.toml", PYLOCK, [FLASK]),
        ("pyproject.toml", PROJECT, ["flask[async]>=3", 'redis; sys_platform == "linux"']),
        ("pyproject.toml", '[project]\nname = "shop"\n', []),
        ("pyproject.toml", "", []),
    ],
)
def test_lines(ask: Ask, name: str, text: str, wanted: list[str]) -> None:
    found = ask(name, text)
    assert found[:-1] == wanted
    assert re.fullmatch(r"--lock sha256:[0-9a-f]{64}", found[-1])


@pytest.mark.parametrize(
    ("name", "text", "old", "new"),
    [
        ("uv.lock", UV_LOCK, 'version = "1.0"', 'version = "1.1"'),  # another release of the application itself
        ("uv.lock", UV_LOCK, "\n\n", "\n"),
        ("pyproject.toml", PROJECT, 'version = "1.0"', 'version = "1.1"'),
        ("pyproject.toml", PROJECT, 'dev = ["pytest"]', 'dev = ["pytest", "ruff"]'),
        ("pyproject.toml", PROJECT, "dev = [", "[tool.ruff]\nline-length = [100]\n["),
    ],
)
def test_what_does_not_count(ask: Ask, name: str, text: str, old: str, new: str) -> None:
    assert old in text
    assert ask(name, text.replace(old, new)) == ask(name, text)


@pytest.mark.parametrize(
    ("name", "text", "old", "new"),
    [
        ("uv.lock", UV_LOCK, "sha256:0b", "sha256:0c"),
        ("uv.lock", UV_LOCK, '    { name = "redis", marker = "sys_platform == \'linux\'" },\n', ""),
        ("uv.lock", UV_LOCK, 'dependencies = [\n    { name = "flask" },\n]', "dependencies = [\n]"),
        ("uv.lock", UV_LOCK, 'version = "3.1.3"', 'version = "3.1.4"'),
        ("pylock.toml", PYLOCK, "files.example", "other.example"),
        ("pyproject.toml", PROJECT, "flask[async]>=3", "flask[async]>=4"),
        ("pyproject.toml", PROJECT, "[dependency-groups]", '[[tool.uv.index]]\nurl = "https://a.example"\n[other]'),
    ],
)
def test_what_counts(ask: Ask, name: str, text: str, old: str, new: str) -> None:
    assert old in text
    assert ask(name, text.replace(old, new)) != ask(name, text)


@pytest.mark.parametrize(
    ("name", "text", "local"),
    [
        ("uv.lock", UV_LOCK, False),
        ("uv.lock", UV_LOCK.replace('virtual = "."', 'editable = "."'), False),
        ("uv.lock", UV_LOCK.replace('registry = "https://pypi.org/simple"', 'directory = "lib"'), True),
        ("uv.lock", UV_LOCK.replace('registry = "https://pypi.org/simple"', 'editable = "lib"'), True),
        ("pylock.toml", PYLOCK, False),
        ("pylock.toml", PYLOCK + '\n[[packages]]\nname = "lib"\ndirectory = { path = "lib" }\n', True),
        ("pylock.toml", PYLOCK + '\n[[packages]]\nname = "lib"\n[packages.directory]\npath = "lib"\n', True),
        ("pyproject.toml", PROJECT, False),
        ("pyproject.toml", PROJECT + '[tool.uv.sources]\nflask = { path = "lib" }\n', True),
        ("pyproject.toml", PROJECT + "[tool.uv.sources]\nflask = { workspace = true }\n", True),
        ("pyproject.toml", '[project]\nname = "shop"\ndynamic = ["version"]\n', False),
        ("pyproject.toml", '[project]\nname = "shop"\ndynamic = ["dependencies"]\n', True),
    ],
)
def test_what_installs_from_the_source(ask: Ask, name: str, text: str, local: bool) -> None:
    assert requirements.needs_source(ask(name, text)) is local


def test_gunicorn_is_found_in_a_lock(ask: Ask) -> None:
    found = ask("uv.lock", UV_LOCK.replace('"flask"', '"gunicorn"'))
    assert requirements.pinned_version(found, "gunicorn") == "3.1.3"
    assert requirements.is_hashed(found, "gunicorn")
    assert requirements.without_hash(found) == []


@pytest.mark.parametrize(
    ("path", "lock", "uv"),
    [
        ("uv.lock", True, True),
        ("deploy/uv.lock", True, True),
        ("pylock.toml", True, True),
        ("pylock.a.toml", True, True),
        ("pyproject.toml", False, True),
        ("requirements.txt", False, False),
        ("my-uv.lock.txt", False, False),
        ("pylock.a.b.toml", False, False),
    ],
)
def test_names(path: str, lock: bool, uv: bool) -> None:
    assert (lock_files.is_lock(path), lock_files.needs_uv(path)) == (lock, uv)
