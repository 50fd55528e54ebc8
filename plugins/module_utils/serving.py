# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The release that serves until now, as ``--diff`` compares another one with it.

What differs in each release without meaning anything, as its id, is put in the other one's words first.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.pyweb.deploy.plugins.module_utils import shown
from ansible_collections.pyweb.deploy.plugins.module_utils.files import WHOLE, Before, read
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import ID_PLACEHOLDER, SLOT_PLACEHOLDER, SLOTS
from ansible_collections.pyweb.deploy.plugins.module_utils.reading import read_json

if TYPE_CHECKING:
    from ansible_collections.pyweb.deploy.plugins.module_utils.layout import Layout

FILES = ("gunicorn.conf.py", "environment", "before_activate")
"""What a release is configured with, besides its units and its secrets."""

VARIABLE = re.compile(r'^(\w+)="(?:[^"\\]|\\.)*"$', re.MULTILINE | re.DOTALL)
"""One of the environment's file: quoting.environment_line wrote it."""


class Serving:
    """The release with that id, if there is one; `other` has ``id``, ``code`` and ``venv`` of the one to compare."""

    def __init__(self, layout: Layout, identity: str, other: dict[str, str] | None = None) -> None:
        self.layout = layout
        self.other = other or {}
        self.directory = layout.release(identity)
        self.record = read_json(os.path.join(self.directory, "release.json")) if identity else {}

    @property
    def code(self) -> str:
        """Directory of its code, if that is the role's and still there."""
        place = self.layout.code(self.record.get("code", ""))
        return place if self.record and not self.record.get("existing") and os.path.isdir(place) else ""

    def file(self, name: str, after: str) -> Before:
        """What to compare a file of the other release with: `after` is its text."""
        path = os.path.join(self.directory, name)
        content = read(path) if self.record else None
        if content is None:
            return WHOLE
        text = self._in_words_of_other(content.decode("utf-8", "replace"))
        if name == "environment":
            text = without_values(text, after)
        return Before(path, text.encode())

    def compare_files(self, directory: str) -> list[dict[str, Any]]:
        """Show how files of the other release differ, which is in that directory, maybe for long."""
        found = []
        for name in FILES if self.record else ():
            path = os.path.join(directory, name)
            text = (read(path) or b"").decode("utf-8", "replace")
            before = self.file(name, text)
            if name == "environment":  # what it sets may be a secret of the one that serves
                text = without_values(text, (read(before.path) or b"").decode("utf-8", "replace"))
            if before.content != text.encode():
                found.append(shown.texts(path, before.content, text.encode(), before.path))
        return found

    def unit(self, slot: str) -> Before:
        """What to compare the other release's unit with: that of a slot, or of the check."""
        text = self.record.get("check_unit" if slot == "check" else "slot_unit")
        if text is None:
            return Before("", None)
        own = slot if slot == "check" else next(each for each in SLOTS if each != slot)
        text = text.replace(ID_PLACEHOLDER, self.other.get("id", ID_PLACEHOLDER)).replace(SLOT_PLACEHOLDER, slot)
        return Before(os.path.join(self.layout.units, self.layout.slot(own)), self._in_words_of_other(text).encode())

    def _in_words_of_other(self, text: str) -> str:
        for name, other in self.other.items():
            if self.record.get(name) and other:
                text = text.replace(self.record[name], other)
        return text


def without_values(text: str, other: str) -> str:
    """Leave out what variables hold that another release's environment doesn't set: there they may be secrets."""
    kept = {match[1] for match in VARIABLE.finditer(other)}
    return VARIABLE.sub(lambda match: match[0] if match[1] in kept else f"{match[1]}=...", text)
