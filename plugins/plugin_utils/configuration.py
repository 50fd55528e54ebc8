# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a user's own Python sets of Gunicorn's settings, in ``gunicorn_conf_extra`` or in the file of his source.

It is read, not run: what isn't a literal only the server can work out, where ``check_config.py`` looks at it.
`module_utils.conf_file.assignments` gives the assignments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils.conf_file import assignments, not_python
from ansible_collections.pyweb.deploy.plugins.plugin_utils import gunicorn_registry, settings
from ansible_collections.pyweb.deploy.plugins.plugin_utils.quoting import is_true

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
            yield f"{place(each)}: {reason}"
    yield from value_problems(found, given, version, wins=True)


def _managed(each: Mapping[str, Any]) -> str:
    """Say why an assignment of ``gunicorn_conf_extra``, which wins over the role's, isn't the user's to make."""
    name = each["name"]
    says_no = each["literal"] and not each["value"]
    if name in TO_TELL and not says_no:
        return "set it in gunicorn_settings; the role has to know of it"
    if name not in settings.OWNED_SETTINGS or (name in HOOKS and not each["literal"]):
        return ""
    if says_no and name not in OF_THE_ROLE:
        return ""
    return f"not yours to set: {settings.OWNED_SETTINGS[name]}"


def value_problems(
    found: Iterable[Mapping[str, Any]], given: Mapping[Any, Any], version: str, wins: bool
) -> Iterator[str]:
    """Tell which values Gunicorn refuses, and which can't work beside those given, with which nothing is wrong.

    `wins` tells whether the text wins over what is given.
    """
    found, newer = [each for each in found if wins or each["name"] not in given], gunicorn_registry.is_newer(version)
    for each in found:
        name = each["name"]
        if not each["literal"] or name in settings.OWNED_SETTINGS or name not in gunicorn_registry.SETTINGS:
            continue
        if reason := gunicorn_registry.refusal(name, each["value"], newer):
            accepts = gunicorn_registry.SETTINGS[name]["accepts"].partition(" Example:")[0]
            yield f"{place(each)}: {reason}; {accepts[:1].lower()}{accepts[1:].rstrip('.')}"
    together = {**given, **settled(found)}
    for name in (*unsettled(found), *settings.OWNED_SETTINGS):  # refused by its name, where it is
        together.pop(name, None)
    yield from (at_line(reason, found) for reason in settings.problems(together))


def at_line(reason: str, found: Iterable[Mapping[str, Any]]) -> str:
    """Put the line before a reason that begins with the name of a setting, where the text sets that."""
    lines = {each["name"]: each["line"] for each in found}
    line = lines.get(reason.partition(":")[0])
    return f"line {line}: {reason}" if line else reason


def place(each: Mapping[str, Any]) -> str:
    """Quote an assignment with its line, but not a value that may be secret."""
    return f"line {each['line']}: `{each['name'] if each['name'] in gunicorn_registry.MASKED else each['code']}`"


# The file of gunicorn_conf_file, over which the role's own settings win


NEEDED = ("backlog", "graceful_timeout", "http_parser", "http_protocols", "proc_name", "worker_class")
"""Settings on which packages, units or others of the role's settings depend."""

NEEDED_FOR_FILES = ("accesslog", "errorlog", "logconfig", "logconfig_dict", "logconfig_json")
NEEDED_FOR_JSON = ("access_log_format", "logconfig", "logconfig_dict", "logconfig_json", "logger_class", "statsd_host")
"""The same for ``gunicorn_logs: files`` and ``gunicorn_access_log: json``."""


def file_problems(found: Iterable[Mapping[str, Any]], values: Mapping[str, Any]) -> Iterator[str]:
    """Tell what can't work in the file of ``gunicorn_conf_file``; `values` are the role's variables."""
    found, given = list(found), file_overruled(values)
    unknown = [name for name in unsettled(found) if name not in given]
    needed = {*NEEDED, *(NEEDED_FOR_FILES if values["gunicorn_logs"] == "files" else ())}
    needed |= set(NEEDED_FOR_JSON if values["gunicorn_access_log"] == "json" else ())
    for each in found:
        if reason := _managed_in_file(each, values):
            yield f"{place(each)}: {reason}"
        elif each["name"] in unknown and each["name"] in needed:
            yield f"{place(each)}: the role has to know the value before; set it in gunicorn_settings"
        elif reason := _misspelt(each):
            yield f"{place(each)}: {reason}"
    yield from value_problems(found, given, values["gunicorn_version"], wins=False)


def file_overruled(values: Mapping[str, Any]) -> Data:
    """Give the settings that win over those of the file."""
    return {**values["gunicorn_settings"], **extra_settings(values["gunicorn_conf_extra"])}


def with_file(values: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> Data:
    """Give the variables as they are with the settings of the file among ``gunicorn_settings``."""
    return {**values, "gunicorn_settings": {**settled(found), **file_overruled(values)}}


def _managed_in_file(each: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Say why an assignment would have no effect, or couldn't work, and what to do instead."""
    name, value = each["name"], each["value"]
    if each["literal"] and not value:
        return ""
    if name in settings.FILES and name not in values["gunicorn_settings"]:
        return "set it in gunicorn_settings; the role has to know of it before it looks at the host"
    if name in ("accesslog", "errorlog") and _is_beyond_reach(each, values):
        return (
            "the sandbox keeps the service from writing there; leave it out for the journal, or set "
            f"gunicorn_logs: files for /var/log/gunicorn/{values['gunicorn_name']}/{name[:-3]}.log"
        )
    if name not in settings.OWNED_SETTINGS or (name in HOOKS and not each["literal"]):
        return ""
    if each["literal"] and value == {"wsgi_app": values["gunicorn_wsgi_app"]}.get(name):
        return ""
    if name == "bind" and each["literal"] and _addresses(value) == values["gunicorn_bind"]:
        return ""
    return f"not yours to set: {_instead(each)}"


def _is_beyond_reach(each: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Tell whether a log is in a place where nothing lets the service write."""
    path = str(each["value"])
    own = tuple(f"/var/{kind}/gunicorn/{values['gunicorn_name']}/" for kind in ("log", "lib"))
    if not each["literal"] or not path.startswith("/") or path.startswith((*own, "/dev/")):
        return False
    if each["name"] in values["gunicorn_settings"] or values["gunicorn_logs"] == "files":
        return False  # overruled, or told otherwise
    return is_true(values["gunicorn_hardening"]) and not values["gunicorn_service_options"]


def _misspelt(each: Mapping[str, Any]) -> str:
    """Take for a setting what is called nearly as one; Gunicorn ignores it without a word."""
    name = each["name"]
    meant = gunicorn_registry.near(name, gunicorn_registry.SETTINGS)
    wrong = each["literal"] and meant and name not in gunicorn_registry.SETTINGS
    return f"Gunicorn has no setting {name!r}; did you mean {meant!r}?" if wrong else ""


def _addresses(value: Any) -> list[str]:
    """Give the addresses of a value of ``bind``."""
    parts = value if isinstance(value, list) else map(str.strip, str(value).split(","))
    return [str(part) for part in parts]


def _instead(each: Mapping[str, Any]) -> str:
    """Say what does the same as an assignment of a setting."""
    name, value = each["name"], each["value"]
    if name == "bind" and each["literal"]:
        return f"set gunicorn_bind: {json.dumps(_addresses(value))}; systemd's socket unit holds the addresses"
    if name == "wsgi_app" and each["literal"]:
        return f"set gunicorn_wsgi_app: {json.dumps(value)}"
    if name in settings.OWNED_SETTINGS:
        return settings.OWNED_SETTINGS[name]
    if name == "raw_env":
        return "set gunicorn_environment"
    if name in ("accesslog", "errorlog") and str(value).startswith("/"):
        return "set gunicorn_logs: files"
    if each["literal"] and each["always"]:
        return f"set gunicorn_settings: {{{name}: {json.dumps(value)}}}"
    return "put it into gunicorn_conf_extra"


# A gunicorn.conf.py that nobody names


def notes(path: str, found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say that a configuration file in the source isn't read, and what says the same as its lines do."""
    told = [each for each in found if each["name"] in gunicorn_registry.SETTINGS]
    lines = [f"{place(each)}: {_instead(each)}" for each in told if not (each["literal"] and not each["value"])]
    way_out = ", exclude it, or say the same with variables:" if lines else ", or exclude it"
    return [f"{path} of the source is not read. Set gunicorn_conf_file: {path} to include it{way_out}", *lines]


def unheard(path: str, found: Iterable[Mapping[str, Any]], name: str, binds: list[str]) -> list[str]:
    """Warn that an application listens on other addresses than its configuration file says, which isn't read."""
    said = [each for each in found if each["name"] == "bind" and each["literal"] and each["value"]]
    if not said or _addresses(said[-1]["value"]) == binds:
        return []
    warning = (
        f"{name} listens on {', '.join(binds)}, not where {path} of its source says, which is not read: "
        f"{place(said[-1])}. To listen there, set gunicorn_bind: {json.dumps(_addresses(said[-1]['value']))}"
    )
    return [warning]
