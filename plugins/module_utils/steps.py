# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a module did, step by step, for its result and for whoever reads it with -v."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Iterator


class Steps:
    """Collects steps in their order; in check mode, those that a real run would take."""

    def __init__(self, check: bool) -> None:
        self.check = check
        self.done: list[dict[str, Any]] = []
        """Each with its name, ``step``, and the ``seconds`` that it took."""

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[bool]:
        """Record a step, also one that fails. Gives whether it is to be taken for real."""
        started = time.monotonic()
        try:
            yield not self.check
        finally:
            self.done.append({"step": name, "seconds": round(time.monotonic() - started, 2)})
