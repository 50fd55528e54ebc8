# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a user reads when the installer failed: what was asked of it, where it looked, what to do, and its own words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils import pip_output

SHOWN = 12
"""Packages that the message names at the most."""


@dataclass(frozen=True)
class Asked:
    """What the installer was asked for."""

    name: str
    installer: str
    wanted: Sequence[str]
    """Specifiers and lines of requirements files."""
    python_version: str
    package: bool = False
    """Whether a package is the source."""
    index_url: str = ""
    extra_index_urls: Sequence[str] = ()
    """These and the former without credentials."""
    wheelhouse: str = ""
    tool: str = ""
    """Name of the virtual environment with uv, which pip installs."""


def message(asked: Asked, failure: Mapping[str, Any]) -> str:
    """Say what could not be installed; `failure` is what the module gunicorn_venv returns."""
    by = str(failure["installer"])
    for_tool = by != asked.installer
    said = pip_output.reason(str(failure["output"]), str(failure["asked"]), by)
    # What the installer says by failing is known; that it was ended, only systemd says.
    ended = "" if str(failure["reason"]).endswith("status 1") else f"{failure['reason']}.\n"
    wanted = [asked.tool.replace("-", "==")] if for_tool else _shown(asked.wanted)
    example = "gunicorn_installer: pip" if for_tool else 'gunicorn_packages: ["Flask==3.1.3"]'
    return (
        f"{', '.join(_variables(asked, for_tool))}: {by} could not install\n"
        f"{', '.join(wanted[:SHOWN])}{' and more' if wanted[SHOWN:] else ''}\n"
        f"from {' and '.join(_places(asked, by))}.\n"
        f"They accept what is there for Python {asked.python_version}. Example: {example}.\n"
        f"Nothing that runs was touched. Space left on the disk of /opt/{asked.name}: {_size(int(failure['free']))}.\n"
        f"{ended}{said}"
    )


def reason(failure: Mapping[str, Any]) -> str:
    """Say the same in one line: the installer's last word, or what ended it."""
    said = pip_output.short(str(failure["output"]))
    if not said or not str(failure["reason"]).endswith("status 1"):
        return f"{failure['installer']}: {failure['reason']}"
    return f"{failure['installer']}: {said[-1].strip().removeprefix('ERROR: ')}"


def _shown(wanted: Sequence[str]) -> list[str]:
    """Packages without hashes and credentials, each once."""
    lines = [re.sub(r" +--hash=[^ ]+|(?<=://)[^/@ ]+@", "", line) for line in wanted if not line.startswith("--lock ")]
    return list(dict.fromkeys(lines))


def _variables(asked: Asked, for_tool: bool) -> list[str]:
    """Variables that decide what is installed, and from where."""
    names = ["gunicorn_requirements", "gunicorn_packages", "gunicorn_version"]
    names += ["gunicorn_source"] if asked.package else []
    return [
        *(["gunicorn_installer"] if for_tool else names),
        *(["gunicorn_index_url"] if asked.index_url else []),
        *(["gunicorn_extra_index_urls"] if asked.extra_index_urls else []),
        *(["gunicorn_wheelhouse"] if asked.wheelhouse else []),
    ]


def _places(asked: Asked, by: str) -> list[str]:
    if asked.wheelhouse:
        return [asked.wheelhouse]
    first = asked.index_url or f"PyPI (or what {by} on the host is set to)"
    return [first, *asked.extra_index_urls]


def _size(size: float) -> str:
    """Bytes in a unit that people read."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
