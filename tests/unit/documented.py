"""YAML of the documentation: what kind it is, and what is wrong with it, by the role's and Gunicorn's own rules."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.pyweb.deploy.plugins.plugin_utils.validation import VARIABLES, problems

Data = dict[str, Any]

STAND_INS = {
    "lookup('ansible.builtin.file'": "timeout = 60",
    "inventory_dir": "/home/me/deploy/inventory",
    "port": 8000,
    "workers": 4,
    "wsgi": "wsgi:app",
}
"""What a template comes to whose expression holds the word, where the page doesn't set the variable itself."""

PLAY_KEYS = {"tasks", "pre_tasks", "post_tasks", "handlers", "roles", "vars", "become", "environment", "serial"}
INVENTORY_KEYS = {"hosts", "vars", "children"}


class Loader(yaml.SafeLoader):
    """YAML with Ansible's tags."""


def _text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    return loader.construct_scalar(node)


for _tag in ("!unsafe", "!vault"):
    Loader.add_constructor(_tag, _text)


def alternatives(text: str) -> list[Any]:
    """Load YAML; where keys stand there more than once, as examples of one variable do, there are several readings."""
    loader = Loader(text)
    root = loader.get_single_node()
    if not isinstance(root, yaml.MappingNode):
        return [Loader(text).get_single_data()]
    given: dict[Any, list[yaml.Node]] = {}
    for key, value in root.value:
        given.setdefault(loader.construct_object(key), []).append(value)
    readings = max(map(len, given.values()))
    return [
        {key: loader.construct_object(values[min(number, len(values) - 1)], deep=True) for key, values in given.items()}
        for number in range(readings)
    ]


def kind(data: Any, sections: set[str]) -> str:
    """Tell what a block of YAML is; an empty string where that is unknown. `sections` are those of the changelog."""
    if isinstance(data, list) and data and all(isinstance(item, dict) for item in data):
        plays = all("hosts" in item or any(key.endswith("import_playbook") for key in item) for item in data)
        return "plays" if plays else "tasks"
    if not isinstance(data, dict) or not data:
        return ""
    keys, values = set(map(str, data)), list(data.values())
    if any(key.startswith("gunicorn_") for key in keys) or all(re.match(r"vault_|ansible_", key) for key in keys):
        return "variables"
    if keys <= sections:
        return "fragment"
    lists = [value if isinstance(value, list) else [] for value in values]
    if keys <= {"collections", "roles"} and all(isinstance(i, dict) and "name" in i for i in itertools.chain(*lists)):
        return "requirements"
    if keys <= PLAY_KEYS:
        return "part of a play"
    if all(isinstance(value, dict) and value and set(value) <= INVENTORY_KEYS for value in values):
        return "inventory"
    return ""


def variables(data: Any, outer: Data | None = None) -> Iterator[Data]:
    """Find every set of the role's variables in a play, an inventory or a list of tasks, with those around it."""
    outer = outer or {}
    if isinstance(data, list):
        for item in data:
            yield from variables(item, outer)
    elif isinstance(data, Mapping):
        own = {**data, **(data["vars"] if isinstance(data.get("vars"), Mapping) else {})}
        own = {name: value for name, value in own.items() if str(name).startswith("gunicorn_")}
        if own:
            yield {**outer, **own}
        for name, value in data.items():
            if name != "vars" and name not in own:
                yield from variables(value, {**outer, **own})


def _fill_in(value: Any, known: Mapping[str, Any]) -> Any:
    """Put something in the place of each template."""
    if isinstance(value, Mapping):
        return {_fill_in(key, known): _fill_in(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill_in(item, known) for item in value]
    if not isinstance(value, str) or "{{" not in value:
        return value
    whole = re.fullmatch(r"\{\{((?:(?!\}\}).)*)\}\}", value.strip())
    if whole:
        return _stand_in(whole[1], known)
    return re.sub(r"\{\{(.*?)\}\}", lambda expression: str(_stand_in(expression[1], known)), value)


def _stand_in(expression: str, known: Mapping[str, Any]) -> Any:
    if expression.strip() in known:
        return known[expression.strip()]
    return next((value for word, value in STAND_INS.items() if word in expression), "standin")


def wrong(values: Data, defaults: Data, known: Mapping[str, Any] | None = None) -> list[str]:
    """Tell what the role and Gunicorn refuse of these variables, the rest at their defaults.

    `known` are other variables that a template may name.
    """
    own = {name for name in values if name not in VARIABLES}
    found = [f"{name}: the role has no such variable" for name in sorted(own - set(known or {}))]
    given = {name: _fill_in(value, known or {}) for name, value in values.items() if name not in own}
    source = {"gunicorn_source": {"directory": "/home/me/shop"}}
    everything = {**defaults, **source, **given}
    if everything["gunicorn_wheelhouse"]:  # a directory that is there for the reader only
        everything["gunicorn_wheelhouse"] = ""
    return found + problems(everything)


def requirements_problems(data: Mapping[str, Any]) -> list[str]:
    """Tell what ansible-galaxy would refuse of a requirements.yml."""
    entries = list(itertools.chain.from_iterable(data.values()))
    return [
        f"{entry.get('name')}: ansible-galaxy knows no {', '.join(sorted(unknown))}"
        for entry in entries
        if (unknown := set(entry) - {"name", "type", "version", "source", "signatures", "src", "scm"})
    ] + [
        f"{entry.get('name')}: ansible-galaxy knows no type {entry['type']!r}"
        for entry in entries
        if entry.get("type", "git") not in ("git", "file", "galaxy", "url", "dir", "subdirs")
    ]


def defaults(role: Path) -> Data:
    """Read the role's defaults."""
    found: Data = yaml.safe_load((role / "defaults/main.yml").read_text())
    return found
