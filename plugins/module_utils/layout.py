# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Names and places on the host of what belongs to one application."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterable

SLOTS = ("blue", "green")
KINDS = ("code", "venvs", "releases")
"""Directories of an application for what it consists of."""

COMPLETE = ".complete"
"""A file that the directory of code or of a venv has once all of it is there."""

PACKAGES = "/var/lib/pyweb.deploy/packages"
"""Debian packages that came to the host with any application of the role, a line each."""

BEFORE = ".before"
"""End of the name of the list of those that were there before, while others come."""

MARK = "pyweb.deploy"
"""In the first line of each unit that the role wrote."""

OWNED = "." + MARK
"""A file that says that ``/opt/NAME`` is the role's, and which `LAYOUT` it has: the first to come, the last to go."""

LAYOUT = 2
"""Number of the names and places in this file. It changes where a host would need a migration."""

ID_PLACEHOLDER = "@release@"
SLOT_PLACEHOLDER = "@slot@"
"""Placeholders for a release's id and its slot in the texts of units, also in its record."""

USER_COMMENT = "Gunicorn application {name} (pyweb.deploy)"
"""Of the user that the role creates to run an application; the one who builds its packages has another."""

TRIAL = "/run/pyweb.deploy/firewall.trial"
"""There while ufw is on for a trial, whichever application turned it on: the module gunicorn_firewall keeps it."""


def is_free(names: Iterable[str]) -> bool:
    """Tell by what is in ``/opt/NAME`` whether it is nobody's yet: a killed run may have left half of the mark."""
    return all(name.startswith(f".{OWNED}.") for name in names)


class Layout:
    """Of the application `name`; `root` is where the host's file system begins, for tests."""

    def __init__(self, name: str, root: str = "/") -> None:
        self.name = name
        self.home = os.path.join(root, "opt", name)
        self.policy = os.path.join(self.home, "policy.json")
        """What the last run wanted that is no part of a release: health check, firewall, how many to keep."""
        self.units = os.path.join(root, "etc", "systemd", "system")
        self.socket = name + ".socket"
        self.packages = os.path.join(root, PACKAGES.lstrip("/"))
        self.packages_before = self.packages + BEFORE
        self.alias = os.path.join(self.units, name + ".service")
        """The link of systemd whose name the service has; it leads to the unit of the slot that serves."""

    def slot(self, slot: str) -> str:
        """Unit of a slot, or of the check."""
        return f"{self.name}-{slot}.service"

    def release(self, identity: str) -> str:
        """Directory of a release."""
        return os.path.join(self.home, "releases", identity)

    def code(self, digest: str) -> str:
        """Directory of the code with that digest."""
        return os.path.join(self.home, "code", digest)

    def live(self) -> str:
        """Slot that the alias leads to; empty where there is none."""
        try:
            unit = os.path.basename(os.readlink(self.alias))
        except OSError:
            return ""
        return next((slot for slot in SLOTS if unit == self.slot(slot)), "")
