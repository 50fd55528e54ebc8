# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Remove an application from a host.

Each step looks at the host first and does only what is not done yet: a run that was killed anywhere in here is taken up
again by the next one.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.pyweb.deploy.plugins.module_utils import accounts, build_unit, package_list
from ansible_collections.pyweb.deploy.plugins.module_utils.files import read
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import MARK, OWNED, SLOTS, USER_COMMENT, is_free
from ansible_collections.pyweb.deploy.plugins.module_utils.shown import ABSENT, PRESENT
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError

if TYPE_CHECKING:
    from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host
    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Command

HOME_DEPTH = 3
"""Levels of /opt/NAME that have marks: its own, and those of the directories in /opt/NAME/venvs and the like."""


class Remove:
    """Close the port, let the application answer its requests, and remove what the role made.

    `plan` is the part of the role's plan that is about this; `modules/gunicorn_remove.py` documents it.
    """

    def __init__(self, host: Host, run: Command, plan: dict[str, Any]) -> None:
        self.host = host
        self._run = run
        self.plan = plan
        layout = host.layout
        # The public socket closes first. A private one goes with its service: before that, it is something to stop.
        self.units = sorted(
            (os.path.basename(path) for path in plan["units"] if path != layout.alias),
            key=lambda unit: (unit != layout.socket, unit.endswith(".service")),
        )

    def run(self) -> None:
        """Remove it all. The users go last: nothing is left to whoever gets their numbers next."""
        self.refuse_unmanaged()
        self.stop()
        self.remove_units()
        for path in self.plan["chown_to_root"]:
            self.chown_to_root(path)
        for path in self.plan["paths"]:
            self.host.files.remove(path, HOME_DEPTH if path == self.host.layout.home else 1)
        for user in self.plan["users"]:
            self.remove_user(user)

    def refuse_unmanaged(self) -> None:
        """Refuse what the role did not make: it may have come since the host was observed."""
        name, layout = self.host.layout.name, self.host.layout
        comments = (None, USER_COMMENT.format(name=name), build_unit.COMMENT.format(name=name))
        found = [f"a unit {path}" for path in self.plan["units"] if not self._is_ours(path)]
        found += [f"a user {user}" for user in self.plan["users"] if accounts.comment_of(user) not in comments]
        if layout.home in self.plan["paths"] and os.path.isdir(layout.home):
            names = os.listdir(layout.home)
            found += [f"a directory {layout.home}"] if OWNED not in names and not is_free(names) else []
        if found:
            raise StageError(
                f"{name}: the host has {' and '.join(found)} that the role did not make, so nothing was removed. "
                "Run again: the next run leaves it alone"
            )

    def _is_ours(self, path: str) -> bool:
        if path == self.host.layout.alias and self.host.layout.live():
            return True
        return not os.path.lexists(path) or MARK.encode() in (read(path) or b"")[:200]

    def stop(self) -> None:
        """Stop it: no new requests, then as much time as systemd gives it for the current ones."""
        host = self.host
        if host.layout.slot("check") in self.units and not host.steps.check:
            host.service("check").wait_for_commands()  # of an interrupted run
        for unit in self.units:
            if host.systemd.is_busy(unit):  # until its socket closes, a request may wake a service
                with host.steps.step(f"stop {unit}", unit) as real:
                    if real:
                        host.systemd.stop(unit)
            if not host.steps.check:
                host.systemd.reset_failed(unit)  # or systemd would list it for ever

    def remove_units(self) -> None:
        """Remove the units, and with them the service's name. systemd then forgets them."""
        host, layout = self.host, self.host.layout
        here = {os.path.basename(path) for path in self.plan["units"] if os.path.exists(path)}
        installed = [unit for unit in (layout.socket, *map(layout.slot, SLOTS)) if unit in here]
        if installed:
            with host.steps.step("disable it, so that nothing starts it", f"{layout.name}.service") as real:
                if real:
                    host.systemd.disable(*installed)
        for path in self.plan["units"]:
            host.files.remove(path)
        # Also where only the rest is left of a run that was killed before this.
        if (self.plan["units"] or layout.home in self.plan["paths"]) and not host.steps.check:
            host.systemd.daemon_reload()

    def chown_to_root(self, path: str) -> None:
        """Give root a directory with all that is in it."""
        if not os.path.isdir(path):
            return
        code, out, _err = self._run(["find", path, "!", "(", "-uid", "0", "-gid", "0", ")", "-print", "-quit"])
        self.host.steps.take(
            f"give root {path}",
            path,
            bool(code or out),
            lambda: self._order("chown", "--recursive", "--no-dereference", "root:root", path),
            {"owner": self.host.layout.name},
            {"owner": "root"},
        )

    def remove_user(self, user: str) -> None:
        """Remove a user with its group. It has no home."""
        there = accounts.exists(user)
        self.host.steps.take(
            f"remove the user {user}", f"user {user}", there, lambda: self._order("userdel", user), PRESENT, ABSENT
        )

    def needed_by(self, packages: list[str]) -> list[str]:
        """Debian packages that apt would remove besides these, because they need one of them."""
        if not packages:
            return []
        here = sorted(package_list.installed(self._run).intersection(packages))  # apt may not know the others
        going = self._order("apt-get", "--simulate", "purge", *here) if here else ""
        return sorted(set(re.findall(r"^(?:Purg|Remv) ([^ :]+)", going, re.MULTILINE)) - set(packages))

    def _order(self, *command: str) -> str:
        code, out, err = self._run([*command])
        if code != 0:
            raise StageError(f"{self.host.layout.name}: {' '.join(command)} failed: {(err or out).strip()}")
        return out
