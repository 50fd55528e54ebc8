# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Write the texts of a release from the role's templates, with plain Jinja.

The bytes decide the id of a release: a line break more or less is another one on every host.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils.layout import ID_PLACEHOLDER, SLOT_PLACEHOLDER
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import Release
from ansible_collections.pyweb.deploy.plugins.plugin_utils.quoting import environment_line, python_literal
from ansible_collections.pyweb.deploy.plugins.plugin_utils.variables import ROLE
from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment_file(values: Mapping[str, Any]) -> str:
    """Write environment variables as systemd reads them, sorted by name."""
    return "".join(environment_line(name, values[name]) + "\n" for name in sorted(values))


def directive_lines(sources: Iterable[Mapping[str, Any]]) -> str:
    """Write directives of a unit, of which later sources win; one with a list is written once for each item."""
    lines = []
    for name, value in {name: value for each in sources for name, value in each.items()}.items():
        for item in value if isinstance(value, list) else [value]:
            word = ("yes" if item else "no") if isinstance(item, bool) else item
            lines.append(f"{name}={word}\n")
    return "".join(lines)


def _load() -> dict[str, Any]:
    """Compile every template of the role, by its name."""
    environment = Environment(
        loader=FileSystemLoader(ROLE / "templates"),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # nothing here is HTML
    )
    environment.filters.update(
        directive_lines=directive_lines,
        environment_file=environment_file,
        python_literal=python_literal,
        quote=shlex.quote,
    )
    return {name.removesuffix(".j2"): environment.get_template(name) for name in environment.list_templates(["j2"])}


TEMPLATES = _load()
"""Compiled where this is imported, which is before Ansible forks for each task of each host."""


@dataclass(frozen=True)
class Texts:
    """What a deploy writes; units have placeholders where the release and its slot will be."""

    slot_unit: str
    check_unit: str
    private_socket: str
    public_socket: str
    log_rotation: str
    """Empty where the logs go to the journal."""
    release_files: dict[str, str]
    """By their names in the directory of the release."""


def render(release: Release) -> Texts:
    """Write the texts of a release."""

    def write(template: str, slot: str = SLOT_PLACEHOLDER) -> str:
        text: str = TEMPLATES[template].render(app=release.app, release=release, slot=slot, id=ID_PLACEHOLDER)
        return text.strip("\n") + "\n"

    return Texts(
        slot_unit=write("slot.service"),
        check_unit=write("slot.service", "check"),
        private_socket=write("private.socket"),
        public_socket=write("public.socket"),
        log_rotation=write("logrotate") if release.app.logs == "files" else "",
        release_files={name: write(name) for name in ("gunicorn.conf.py", "environment", "before_activate")},
    )
