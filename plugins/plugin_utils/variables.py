# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Read the role's variables as an action finds them: one by one, so that a message can name the one that is wrong."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError, AnsibleValueOmittedError
from ansible_collections.pyweb.deploy.plugins.plugin_utils import validation

ROLE = Path(__file__).resolve().parents[2] / "roles/gunicorn"


class VariableError(ValueError):
    """Variables that can't work: a message for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))


def read_all(templar: Any, task_vars: Mapping[str, Any]) -> dict[str, Any]:
    """Work out the variables that count, each once: where a value comes from may be far away.

    Raises `VariableError` where Ansible can't.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name in ("gunicorn_state", "gunicorn_release"):
        values[name] = read(name, templar, task_vars)
    for name in validation.counting(values["gunicorn_state"], values["gunicorn_release"]):
        if name not in values:
            try:
                values[name] = read(name, templar, task_vars)
            except VariableError as problem:
                problems.append(str(problem))
    if problems:
        raise VariableError(problems)
    return values


def read(name: str, templar: Any, task_vars: Mapping[str, Any]) -> Any:
    """Work out one variable. One that is missing or omitted has the role's default."""
    if name not in task_vars:
        return defaults()[name]
    try:
        return untagged(templar.template(task_vars[name]))
    except AnsibleValueOmittedError:
        return defaults()[name]
    except AnsibleError as problem:
        raise VariableError([validation.unreadable(name, str(problem).rstrip("."))]) from problem


@functools.cache
def defaults() -> dict[str, Any]:
    """The role's own values; none of them is a template."""
    found: dict[str, Any] = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    return found


def untagged(value: Any) -> Any:
    """Reduce a value to Python's own types: Ansible's subclasses remember where it came from, or decrypt it each time.

    What is none of them, as a date, stays as it is: the checks refuse it.
    """
    if isinstance(value, Mapping):
        return {untagged(key): untagged(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [untagged(item) for item in value]
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if isinstance(value, int) else float(value)
    return value
