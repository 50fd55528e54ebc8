# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The steps of a stage: each is done or predicted by the same code, timed, and told in the stage's result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Steps:
    """What a module did, or would do in check mode."""

    def __init__(self, check: bool) -> None:
        self.check = check
        self.told: list[dict[str, Any]] = []
        self.diff: list[dict[str, Any]] = []

    def take(self, step: str, path: str, needed: bool, action: Callable[[], None]) -> None:
        """Make `path` present where that is needed; in check mode only say so."""
        started = time.monotonic()
        if needed and not self.check:
            action()
        self.told.append({"step": step, "changed": needed, "seconds": round(time.monotonic() - started, 2)})
        if needed:
            states = {"before": {"state": "absent"}, "after": {"state": "present"}}
            self.diff.append({"before_header": path, "after_header": path, **states})

    @property
    def changed(self) -> bool:
        """Whether any step changed the host, or would."""
        return any(step["changed"] for step in self.told)
