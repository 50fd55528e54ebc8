# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Gunicorn's settings as far as the controller knows them: their names, and which values they never accept.

Gunicorn isn't on the controller. ``gunicorn_settings.json`` is made from it, by ``tests/settings_table.py``, for the
release that is the role's default. What passes here may still be refused on the host: ``check_config.py`` asks the
Gunicorn that is installed. So only what that would refuse for certain is refused here.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils.quoting import plain
from ansible_collections.pyweb.deploy.plugins.plugin_utils.settings import FILES, OWNED_SETTINGS, is_name

_TABLE = json.loads(Path(__file__).with_name("gunicorn_settings.json").read_text(encoding="utf-8"))

VERSION: str = _TABLE["version"]
"""Release of Gunicorn that the table is of."""

SETTINGS: Mapping[str, Mapping[str, Any]] = _TABLE["settings"]
"""Each setting with its ``validator``, and where they apply ``none``, ``choices``, ``options`` and ``accepts``."""

_SPELLINGS = {option: name for name, setting in SETTINGS.items() for option in setting.get("options", ())}
"""Options of Gunicorn's command line whose settings have other names."""

_FAR, _NEAR = 0.6, 0.1
"""How like a name another one has to be at least, and how much less like than the best one it may be."""

Check = Callable[[Any, "list[Any]", bool], str]
"""Takes a value, the words of the table, and whether Gunicorn may know more of them; gives a reason, or nothing."""

MASKED = ("raw_env",)
"""Settings whose value may be secret."""


def problems(settings: Any, version: Any) -> Iterator[str]:
    """Tell which settings Gunicorn of that version would refuse: one message each; nothing about what is no dictionary.

    Names that the table doesn't have are left to the host where `version` is newer than the table or isn't understood.
    Settings that `settings.problems` speaks of by their names are left to it.
    """
    newer = is_newer(version)
    for name, value in settings.items() if isinstance(settings, Mapping) else ():
        if name in OWNED_SETTINGS or name in FILES or not is_name(str(name)):
            continue
        if name not in SETTINGS:
            if not newer:
                yield (
                    f"gunicorn_settings: unknown setting {str(name)!r}{_did_you_mean(nearest(name))} It accepts the "
                    f"settings of Gunicorn {VERSION}. Example: gunicorn_settings: {{workers: 4, timeout: 60}}"
                )
        elif reason := refusal(name, value, newer):
            got = "" if name in MASKED else f"got {_short(value)}: "
            yield f"gunicorn_settings: {name}: {got}{reason}. {SETTINGS[name]['accepts']}"


def is_newer(version: Any) -> bool:
    """Tell whether a release of Gunicorn may know more than the table."""
    numbers = re.match(r"[0-9]+(\.[0-9]+)*", version) if isinstance(version, str) else None
    return not numbers or _numbers(numbers[0]) > _numbers(VERSION)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def nearest(word: str) -> list[str]:
    """Give the settings that a misspelt name may stand for, at most three, as ``check_config.py`` does."""
    meant = {**_SPELLINGS, **{name: name for name in SETTINGS}}
    if word in meant:
        return [meant[word]]
    rated = sorted(((difflib.SequenceMatcher(None, word, other).ratio(), other) for other in meant), reverse=True)
    near = [meant[other] for ratio, other in rated if ratio >= max(_FAR, rated[0][0] - _NEAR)]
    return list(dict.fromkeys(near))[:3]


def near(word: str, known: Iterable[str]) -> str:
    """Give the name that is meant for certain: one letter of ten is another, or two have changed places."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.9)
    return (close or [other for other in known if sorted(other) == sorted(word)] or [""])[0]


def _did_you_mean(names: list[str]) -> str:
    *others, last = [repr(name) for name in names] or [""]
    return f"; did you mean {', '.join(others)} or {last}?" if others else f"; did you mean {last}?" if last else "."


def _short(value: Any) -> str:
    text = repr(plain(value))
    return text if len(text) <= 120 else text[:117] + "..."


def refusal(name: str, value: Any, newer: bool = False) -> str:
    """Say why the validator of a setting would refuse a value; nothing where it may accept it.

    Of a Gunicorn that is newer than the table only the type counts: it may accept more words and numbers.
    """
    setting = SETTINGS[name]
    try:
        value = plain(value)
    except TypeError:  # settings.problems says so
        return ""
    check = _CHECKS.get(setting["validator"], _choice if "choices" in setting else None)
    if check is None or (value is None and "none" in setting):
        return ""
    return check(value, setting.get("choices", []), newer)


def _whole_number(least: int, most: float = float("inf")) -> Check:
    def check(value: Any, _choices: list[Any], newer: bool) -> str:
        try:
            number = value if isinstance(value, int) else int(value, 0)
        except (TypeError, ValueError):
            return "it is not a whole number"
        if newer or least <= number <= most:
            return ""
        return f"it is less than {least}" if number < least else f"it is more than {most}"

    return check


def _boolean(value: Any, _choices: list[Any], _newer: bool) -> str:
    fits = isinstance(value, bool) or (isinstance(value, str) and value.lower().strip() in ("true", "false"))
    return "" if fits else "it is neither true nor false"


def _choice(value: Any, choices: list[Any], newer: bool) -> str:
    words = [choice for choice in choices if isinstance(choice, str)]
    fits = (
        newer or value.lower().strip() in words
        if isinstance(value, str)
        else isinstance(value, bool) and value in choices
    )
    return "" if fits else f"it is none of {', '.join(words)}"


def _text(value: Any, _choices: list[Any], _newer: bool) -> str:
    return "" if isinstance(value, str) else "it is not a string"


def _protocols(value: Any, choices: list[Any], newer: bool) -> str:
    if not isinstance(value, str):
        return "it is not a string"
    words = [word.strip().lower() for word in value.split(",") if word.strip()]
    wrong = [word for word in words if word not in choices]
    return f"{wrong[0]!r} is none of {', '.join(choices)}" if wrong and not newer else ""


def _networks(value: Any, _choices: list[Any], newer: bool) -> str:
    if not isinstance(value, str):
        return "it is not a string"
    for item in (part.strip() for part in value.strip().split(",") if part):
        try:
            ipaddress.ip_network("::" if item == "*" or newer else item)
        except ValueError as problem:
            return str(problem)
    return ""


def _texts(value: Any, _choices: list[Any], _newer: bool) -> str:
    items = value if isinstance(value, (list, dict)) else [value if value else None]
    fits = all(item is None or isinstance(item, str) for item in items)
    return "" if fits else "it is not a list of strings"


def _dictionary(value: Any, _choices: list[Any], _newer: bool) -> str:
    return "" if isinstance(value, dict) else "it is not a dictionary"


def _import_path(value: Any, _choices: list[Any], _newer: bool) -> str:
    return "" if isinstance(value, str) and "." in value else "it is not the import path of a function"


_CHECKS: dict[str, Check] = {
    "_validate_callable": _import_path,
    "validate_bool": _boolean,
    "validate_class": _text,
    "validate_dict": _dictionary,
    "validate_http2_frame_size": _whole_number(2**14, 2**24 - 1),
    "validate_http2_stream_limit": _whole_number(1),
    "validate_http2_window_size": _whole_number(0, 2**31 - 1),
    "validate_http_protocols": _protocols,
    "validate_list_string": _texts,
    "validate_pos_int": _whole_number(0),
    "validate_post_request": _import_path,
    "validate_statsd_address": _text,
    "validate_string": _text,
    "validate_string_to_addr_list": _networks,
    "validate_string_to_list": _text,
}
"""What Gunicorn's validators refuse; those that spell out words, as the table has them, need no entry."""
