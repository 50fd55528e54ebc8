# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a user's own Python sets of Gunicorn's settings, in ``gunicorn_conf_extra`` or in the file of his source.

It is read, not run: what isn't a literal only the server can work out, where ``check_config.py`` looks at it.
`module_utils.conf_file.assignments` gives the assignments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils.conf_file import assignments
from ansible_collections.pyweb.deploy.plugins.plugin_utils import gunicorn_registry, settings

Data = dict[str, Any]

OF_THE_ROLE = ("bind", "chdir", "control_socket", "worker_tmp_dir", "wsgi_app")
"""Settings that the role writes; of any other that it manages, a value that says no is harmless."""

HOOKS = ("post_worker_init", "when_ready")
"""Hooks that the role has too; it calls the user's function."""

TO_TELL = ("certfile", "keyfile")
"""Settings that the role has to know before it looks at the server."""


def settled(found: Iterable[Mapping[str, Any]]) -> Data:
    """Give the settings whose value the text says for certain."""
    known: Data = {}
    for each in found:
        known.pop(each["name"], None)
        if each["literal"] and each["always"] and each["name"] in gunicorn_registry.SETTINGS:
            known[each["name"]] = each["value"]
    return known


def unsettled(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Name the settings that the text sets to what only the server can tell."""
    found = list(found)
    names = dict.fromkeys(each["name"] for each in found if each["name"] in gunicorn_registry.SETTINGS)
    known = settled(found)
    return [name for name in names if name not in known]


def extra_settings(text: str) -> Data:
    """Give the settings whose value ``gunicorn_conf_extra`` says for certain."""
    try:
        return settled(assignments(text))
    except SyntaxError:
        return {}


def extra_problems(text: str, given: Mapping[Any, Any], version: str) -> Iterator[str]:
    """Tell what can't work in ``gunicorn_conf_extra``, beside ``gunicorn_settings``, which are well-formed."""
    try:
        found = assignments(text)
    except SyntaxError as problem:
        yield not_python(problem)
        return
    for each in found:
        if reason := _managed(each):
            yield f"{_place(each)}: {reason}"
    yield from value_problems(found, given, version)


def not_python(problem: SyntaxError) -> str:
    """Say where a text is no Python."""
    line = f"line {problem.lineno}: `{(problem.text or '').strip()}`: " if problem.lineno else ""
    return f"{line}{problem.msg}"


def _managed(each: Mapping[str, Any]) -> str:
    """Say why an assignment isn't the user's to make, and what to do instead."""
    name = each["name"]
    says_no = each["literal"] and not each["value"]
    if name in TO_TELL and not says_no:
        return "set it in gunicorn_settings; the role has to know of it"
    if name not in settings.OWNED_SETTINGS or (name in HOOKS and not each["literal"]):
        return ""
    if says_no and name not in OF_THE_ROLE:
        return ""
    return f"not yours to set: {settings.OWNED_SETTINGS[name]}"


def value_problems(found: Iterable[Mapping[str, Any]], given: Mapping[Any, Any], version: str) -> Iterator[str]:
    """Tell which values Gunicorn refuses, and which can't work beside those given, with which nothing is wrong."""
    found, newer = list(found), gunicorn_registry.is_newer(version)
    lines = {each["name"]: each["line"] for each in found}
    for each in found:
        name = each["name"]
        if not each["literal"] or name in settings.OWNED_SETTINGS or name not in gunicorn_registry.SETTINGS:
            continue
        if reason := gunicorn_registry.refusal(name, each["value"], newer):
            accepts = gunicorn_registry.SETTINGS[name]["accepts"].partition(" Example:")[0]
            yield f"{_place(each)}: {reason}; {accepts[:1].lower()}{accepts[1:].rstrip('.')}"
    unknown = unsettled(found)
    together = {name: value for name, value in {**given, **settled(found)}.items() if name not in unknown}
    for reason in settings.problems({name: value for name, value in together.items() if name not in _SKIPPED}):
        line = lines.get(reason.partition(":")[0])
        yield f"line {line}: {reason}" if line else reason


_SKIPPED = frozenset(settings.OWNED_SETTINGS)
"""What is refused by its name, where it is."""


def _place(each: Mapping[str, Any]) -> str:
    """Quote an assignment with its line, but not a value that may be secret."""
    return f"line {each['line']}: `{each['name'] if each['name'] in gunicorn_registry.MASKED else each['code']}`"
