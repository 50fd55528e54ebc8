# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Which names a Python module has once it is imported, read from its text: nothing of it runs.

Only where the text says it plainly. Nothing is said where names may come in other ways than a module's own statements
(``import *``, ``__getattr__``, ``globals()``), nor about text that this Python can't parse.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

_HIDDEN_NAMES = frozenset(("__builtins__", "eval", "exec", "global_enum", "globals", "locals", "setattr", "vars"))
_HIDDEN_ATTRIBUTES = frozenset(
    ("__dict__", "__setattr__", "_getframe", "currentframe", "f_globals", "global_enum", "modules")
)
_HIDDEN_IMPORTS = _HIDDEN_NAMES | _HIDDEN_ATTRIBUTES | {"*", "builtins"}
"""What code uses that may bind names of its module unseen."""

_LIKELY_IMPORTS = ("app", "application", "create_app", "make_app")
"""Names that a module may have imported for Gunicorn."""

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_LITERALS = (ast.Constant, ast.JoinedStr, ast.List, ast.Tuple, ast.Dict, ast.Set)


def look(directory: str, module: str) -> dict[str, Any]:
    """Tell what a module below a directory has.

    Returns a dictionary: ``module_file``, the module's path inside the directory, is empty where nothing can be said.
    ``module_names`` maps each of its names to what Gunicorn may be given for it, ``app`` or ``create_app()``, which is
    empty for what can't be called.

    Raises `OSError` where a file can't be read.
    """
    file = _file(directory, module.replace(".", "/")) if module else ""
    found = None
    if file:
        with open(os.path.join(directory, file), "rb") as opened:
            found = names(opened.read())
    return {"module_file": "" if found is None else file, "module_names": found or {}}


def _file(directory: str, path: str) -> str:
    """Find the file that Python would import: that of a package comes first, and a compiled one before its text."""
    for candidate in (path + "/__init__.py", path + ".py"):
        parent, name = os.path.split(os.path.join(directory, candidate))
        beside = os.listdir(parent) if os.path.isdir(parent) else []
        if any(item.startswith(name[:-2]) and item.endswith(".so") for item in beside):
            return ""
        if name in beside:
            return candidate
    return ""


def names(text: bytes) -> dict[str, str] | None:
    """Map the names of a module to what Gunicorn may be given for them; None where the text doesn't say it plainly."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the application's own code, which its tests are for
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found: dict[str, str] = {}
    for node in _outside_scopes(tree.body):
        for name, callable_as in _bound(node):
            found[name] = found.get(name) or callable_as
    for node in ast.walk(tree):
        if _hides(node):
            return None
        if isinstance(node, ast.Global):
            found.update((name, found.get(name, "")) for name in node.names)
        elif isinstance(node, ast.NamedExpr) and isinstance(node.target, ast.Name):
            found.setdefault(node.target.id, "")
    return None if "__getattr__" in found else found


def _outside_scopes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Walk through what runs when a module is imported; what is inside functions and classes has names of its own."""
    todo = deque(body)
    while todo:
        node = todo.popleft()
        yield node
        if not isinstance(node, _SCOPES):
            todo.extend(ast.iter_child_nodes(node))


def _bound(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Give the names that a node binds, each with what Gunicorn may be given for it."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.name, node.name + ("()" if _is_factory(node) else "")
    elif isinstance(node, ast.ClassDef):
        yield node.name, node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            yield name, name if name in _LIKELY_IMPORTS else ""
    elif isinstance(node, (ast.Assign, ast.AnnAssign)):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                literal = node.value is None or isinstance(node.value, _LITERALS)
                yield target.id, "" if literal else target.id
    elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id, ""
    elif not isinstance(node, ast.alias):
        # `except … as name` and the patterns of a match statement, which Python 3.8 has no classes for.
        for field in ("name", "rest"):
            captured = getattr(node, field, None)
            if isinstance(captured, str):
                yield captured, ""


def _is_factory(node: Any) -> bool:
    """Tell whether a function can be called without arguments; what a decorator makes of it is unknown."""
    given = node.args
    required = len(given.posonlyargs) + len(given.args) - len(given.defaults) + given.kw_defaults.count(None)
    return isinstance(node, ast.FunctionDef) and not required and not node.decorator_list


def _hides(node: ast.AST) -> bool:
    """Tell whether code may bind names of its module unseen."""
    if isinstance(node, ast.Name):
        return node.id in _HIDDEN_NAMES
    if isinstance(node, ast.Attribute):
        return node.attr in _HIDDEN_ATTRIBUTES
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        taken = {alias.name for alias in node.names} | {getattr(node, "module", None)}
        return not _HIDDEN_IMPORTS.isdisjoint(taken)
    # A call for its own sake that is told the name of the module may look it up.
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and any(isinstance(arg, ast.Name) and arg.id == "__name__" for arg in call.args)
