# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a configuration file of Gunicorn assigns, read from its text: nothing of it runs."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

LONGEST = 80
"""Characters of a line of code that are still shown."""

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_OPAQUE = (*_SCOPES, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def assignments(text: str | bytes) -> list[dict[str, Any]]:
    """List what a module's text assigns at its top level, in its order, blocks such as ``if`` and ``try`` included.

    Each is a dictionary: ``name``, ``line``, ``code`` (the first line of the statement), ``literal`` (whether ``value``
    is what the text says, in types that JSON has), ``always`` (whether it is in no block) and ``function`` (whether the
    statement is a ``def`` or the like).

    Raises `SyntaxError` where this Python can't parse the text.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the user's own code
        try:
            tree = ast.parse(text)
        except (ValueError, RecursionError, MemoryError) as problem:
            raise SyntaxError(str(problem) or type(problem).__name__) from None
    lines = (text if isinstance(text, str) else text.decode("utf-8", "replace")).splitlines()
    return list(_walk(tree.body, lines, always=True))


def not_python(problem: SyntaxError) -> str:
    """Say where a text is no Python."""
    line = f"line {problem.lineno}: `{(problem.text or '').strip()}`: " if problem.lineno else ""
    return f"{line}{problem.msg}"


def _walk(body: Iterable[ast.stmt], lines: list[str], always: bool) -> Iterator[dict[str, Any]]:
    for statement in body:
        line = statement.lineno
        code = lines[line - 1].strip() if line <= len(lines) else ""
        about = {"line": line, "code": code if len(code) <= LONGEST else code[: LONGEST - 3] + "..."}
        for name, value in _assigned(statement):
            literal, plain = _literal(value)
            function = isinstance(statement, _SCOPES)
            yield {
                "name": name,
                **about,
                "literal": literal,
                "value": plain,
                "always": always,
                "function": function,
            }
        if isinstance(statement, _SCOPES):
            continue
        for part in (statement, *getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            for block in ("body", "orelse", "finalbody"):
                yield from _walk(getattr(part, block, ()), lines, always=False)


def _assigned(statement: ast.stmt) -> Iterator[tuple[str, ast.expr | None]]:
    """Give the names that a statement binds, not those in its blocks, each with its value where it has one."""
    if isinstance(statement, _SCOPES):
        yield statement.name, None
        return
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name.split(".")[0], None) for alias in statement.names)
        return
    paired: set[str] = set()
    if isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            for name, value in _pairs(target, statement.value):
                paired.add(name)
                yield name, value
    for node in _outside_blocks(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            name = node.id
        else:  # `except … as name`, and the patterns of a match statement, which Python 3.8 has no classes for
            name = next((found for found in map(vars(node).get, ("name", "rest")) if isinstance(found, str)), "")
        is_bare = isinstance(statement, ast.AnnAssign) and statement.value is None
        if name and name not in paired and not is_bare and not isinstance(node, ast.alias):
            yield name, None


def _outside_blocks(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through a statement without the statements in it; functions have names of their own."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.stmt, *_OPAQUE)):
            continue
        yield child
        yield from _outside_blocks(child)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr | None]]:
    """Give the names of a target with what each of them gets, where the text says so."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, (ast.Tuple, ast.List)):
        items = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
        if len(items) == len(target.elts) and not any(isinstance(each, ast.Starred) for each in (*items, *target.elts)):
            for part, item in zip(target.elts, items):
                yield from _pairs(part, item)


def _literal(value: ast.expr | None) -> tuple[bool, Any]:
    """Tell whether an expression is a literal that JSON has a form for, and give its value."""
    if value is None:
        return False, None
    try:
        return True, _plain(ast.literal_eval(value))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return False, None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    raise ValueError(value)
