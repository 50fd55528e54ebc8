# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The steps of a stage: each is done or predicted by the same code, timed, and told in the stage's result."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Iterator

from ansible_collections.pyweb.deploy.plugins.module_utils import shown
from ansible_collections.pyweb.deploy.plugins.module_utils.shown import ABSENT, PRESENT

if TYPE_CHECKING:
    from collections.abc import Callable


class StageError(Exception):
    """A stage can't go on, or refuses to; the text is for people."""


class Steps:
    """What a module did, or would do in check mode."""

    def __init__(self, check: bool) -> None:
        self.check = check
        self.entries: list[dict[str, Any]] = []
        self.diff: list[dict[str, Any]] = []
        self.things: list[str] = []
        """What the steps changed that are no unit's."""

    @contextlib.contextmanager
    def step(self, step: str, unit: str) -> Iterator[bool]:
        """Record a step that changes what a unit does, also one that fails; gives whether to take it for real."""
        started = time.monotonic()
        try:
            yield not self.check
        finally:
            seconds = round(time.monotonic() - started, 2)
            self.entries.append({"step": step, "unit": unit, "changed": True, "seconds": seconds})

    def take(
        self,
        step: str,
        thing: str,
        needed: bool,
        action: Callable[[], object],
        *states: dict[str, str],
        hidden: bool = False,
    ) -> None:
        """Take a step where it is needed; in check mode only say so. `thing` is what it changes.

        `states` are that before and after it; without them the step makes it.
        """
        started = time.monotonic()
        if needed and not self.check:
            action()
        self.entries.append({"step": step, "changed": needed, "seconds": round(time.monotonic() - started, 2)})
        if needed:
            self.things.append(thing)
            if not hidden:
                self.diff.append(shown.states(thing, *(states or (ABSENT, PRESENT))))

    @property
    def changed(self) -> bool:
        """Whether any step changed the host, or would."""
        return any(step["changed"] for step in self.entries)
