# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Names and places on the host of what belongs to one application."""

from __future__ import annotations

import os

SLOTS = ("blue", "green")

TRIAL = "/run/pyweb.deploy/firewall.trial"
"""There while ufw is on for a trial, whichever application turned it on: the module gunicorn_firewall keeps it."""


class Layout:
    """Of the application `name`; `root` is where the host's file system begins, for tests."""

    def __init__(self, name: str, root: str = "/") -> None:
        self.name = name
        self.home = os.path.join(root, "opt", name)
        self.units = os.path.join(root, "etc", "systemd", "system")
        self.socket = name + ".socket"
        self.alias = os.path.join(self.units, name + ".service")
        """The link of systemd whose name the service has; it leads to the unit of the slot that serves."""

    def slot(self, slot: str) -> str:
        """Unit of a slot, or of the check."""
        return f"{self.name}-{slot}.service"

    def generation(self, identity: str) -> str:
        """Directory of a generation."""
        return os.path.join(self.home, "generations", identity)

    def live(self) -> str:
        """Slot that the alias leads to; empty where there is none."""
        try:
            unit = os.path.basename(os.readlink(self.alias))
        except OSError:
            return ""
        return next((slot for slot in SLOTS if unit == self.slot(slot)), "")
