"""Readers of systemd's file formats, written from its manual pages and apart from the code under test."""

from __future__ import annotations


def read_environment(text: str) -> dict[str, str]:
    """Read an EnvironmentFile= by the rules of systemd.exec(5), as far as no blanks stand around names and values.

    Outside quotes a value ends with its line, and a backslash keeps the next character or joins two lines. In single
    quotes everything stands for itself. In double quotes a backslash keeps itself, the double quote, the dollar sign
    and the backquote, and joins two lines; before anything else it stays.
    """
    found: dict[str, str] = {}
    position = 0

    def take() -> str:
        nonlocal position
        position += 1
        return text[position - 1 : position]

    while position < len(text):
        line_end = (text + "\n").index("\n", position)
        name, equals, _rest = text[position:line_end].partition("=")
        if name.startswith(("#", ";")) or not equals:
            position = line_end + 1
            continue
        position += len(name) + 1
        value, quote = "", ""
        while (character := take()) and (quote or character not in "\n\r"):
            if character == quote:
                quote = ""
            elif not quote and character in "'\"":
                quote = character
            elif character == "\\" and quote != "'":
                following = take()
                kept = not quote or following in '"\\`$'
                value += "" if following == "\n" else following if kept else character + following
            else:
                value += character
        found[name] = value
    return found


def read_unit(text: str) -> dict[str, dict[str, list[str]]]:
    """Read a unit: the values of each directive, by section. Refuses what systemd.syntax(7) knows no meaning for."""
    found: dict[str, dict[str, list[str]]] = {}
    section = ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            if section in found:
                raise ValueError(f"section {section} stands there twice")
            found[section] = {}
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.isalnum() or not section or line.endswith("\\"):
            raise ValueError(f"not a directive: {line!r}")
        found[section].setdefault(name, []).append(value)
    return found
