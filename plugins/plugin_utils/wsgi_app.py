# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""``gunicorn_wsgi_app``: what Gunicorn takes for MODULE:CALLABLE, and whether the source has it.

The rules are those of ``gunicorn.util.import_app``.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\([^\n]*\))?)?")

_DEFAULT = "application"
"""What Gunicorn imports where only a module is given."""

_LIKELY = re.compile("app|asgi|wsgi", re.IGNORECASE)
_MOST = 5
"""How many names a message offers."""


def problems(value: Any) -> Iterator[str]:
    """Tell why Gunicorn can't import that, whatever the source has."""
    if not isinstance(value, str) or not _FORM.fullmatch(value):
        yield "it is not MODULE:CALLABLE"
    elif ":" in value and not _is_name_or_call(value.partition(":")[2]):
        yield "after the colon Gunicorn takes a name, or a call of it with plain values"


def _is_name_or_call(text: str) -> bool:
    try:
        expression = ast.parse(text, mode="eval").body
        if isinstance(expression, ast.Call):
            for argument in (*expression.args, *(keyword.value for keyword in expression.keywords)):
                ast.literal_eval(argument)
            return isinstance(expression.func, ast.Name) and all(keyword.arg for keyword in expression.keywords)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return False
    return isinstance(expression, ast.Name)


def source_problems(values: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[str]:
    """Tell that the source has no such module, or that the module plainly has no such name, and what it has instead.

    `values` are the role's variables, in which `problems` found nothing wrong; nothing is installed from the source.
    `source` is what `module_utils.source.look` gives.
    """
    value = values["gunicorn_wsgi_app"]
    module, _colon, wanted = value.partition(":")
    if _looks_elsewhere(values):
        return
    if not source["has_module"]:
        yield f"there is no {module.replace('.', '/')}.py in {source['place']}"
        return
    name, names = wanted.partition("(")[0] or _DEFAULT, source["module_names"]
    # Every module has more names with two underscores than its text says.
    if source["module_file"] and name not in names and not name.startswith("__"):
        yield f"there is no {name!r} in {source['module_file']} of {source['place']}{_hint(module, name, names)}"


def _looks_elsewhere(values: Mapping[str, Any]) -> bool:
    """Tell whether Python looks for modules in other places before the source."""
    inside = re.search(r"\b(sys\.path|pythonpath)\b", values["gunicorn_conf_extra"])
    return bool(inside) or "pythonpath" in values["gunicorn_settings"] or "PYTHONPATH" in values["gunicorn_environment"]


def _hint(module: str, name: str, names: Mapping[str, str]) -> str:
    """Name what the module has that could be meant, the likely ones first."""
    offered = sorted(
        (spelled for other, spelled in names.items() if spelled and not other.startswith("_")),
        key=lambda spelled: (not _LIKELY.search(spelled), -difflib.SequenceMatcher(None, name, spelled).ratio()),
    )
    *others, last = [f"'{module}:{spelled}'" for spelled in offered[:_MOST]] or [""]
    if not last:
        return ", nor anything else that can be called"
    return f"; did you mean {', '.join(others)} or {last}?" if others else f"; did you mean {last}?"
