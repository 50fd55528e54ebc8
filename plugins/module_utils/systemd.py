# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""systemctl and systemd-run, as far as the role needs them: where modules give systemd orders, which tests replace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

BUSY = ("active", "activating", "reloading", "deactivating")
"""Values of ActiveState of a unit that has a process."""

if TYPE_CHECKING:
    Command = Callable[[list[str]], tuple[int, str, str]]
    """Runs a command: return code, output, errors. AnsibleModule.run_command is one."""


class SystemdError(Exception):
    """systemd refused; the text is for people."""


class Systemd:
    """systemd of the host that a module runs on."""

    def __init__(self, run: Command) -> None:
        self._run = run

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit as ``systemctl show`` gives them, also of one that isn't there (LoadState=not-found)."""
        out = self._order("show", "--property", ",".join(properties), unit)
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def is_busy(self, unit: str) -> bool:
        """Tell whether a unit has a process."""
        return self.show(unit, "ActiveState")["ActiveState"] in BUSY

    def daemon_reload(self) -> None:
        """Have systemd read all units again."""
        self._order("daemon-reload")

    def start(self, *units: str, wait: bool = True) -> None:
        """Start units; without `wait`, only queue the job."""
        self._order("start", *([] if wait else ["--no-block"]), *units)

    def restart(self, *units: str, wait: bool = True) -> None:
        """Restart units, or start them; without `wait`, only queue the job."""
        self._order("restart", *([] if wait else ["--no-block"]), *units)

    def stop(self, *units: str, wait: bool = True) -> None:
        """Stop units; without `wait`, only queue the job. One that doesn't exist is stopped already."""
        there = [unit for unit in units if self.show(unit, "LoadState").get("LoadState") != "not-found"]
        if there:
            self._order("stop", *([] if wait else ["--no-block"]), *there)

    def reset_failed(self, unit: str) -> None:
        """Forget that a unit has failed, where it has."""
        if self.show(unit, "ActiveState").get("ActiveState") == "failed":
            self._order("reset-failed", unit)

    def enable(self, *units: str) -> None:
        """Make the links of [Install], in place of those that other units have; systemd reads all units again."""
        self._order("enable", "--force", *units)

    def disable(self, *units: str) -> None:
        """Remove the links of [Install]; systemd reads all units again."""
        self._order("disable", *units)

    def run_later(self, unit: str, description: str, seconds: int, script: str) -> None:
        """Have a shell run a script as root after so many seconds, in a unit that is forgotten then."""
        when = [f"--on-active={seconds}", "--timer-property=AccuracySec=100ms"]
        what = ["--collect", f"--unit={unit}", f"--description={description}"]
        self._run_or_fail(["systemd-run", *what, *when, "sh", "-c", script])

    def _order(self, *arguments: str) -> str:
        return self._run_or_fail(["systemctl", *arguments])

    def _run_or_fail(self, command: list[str]) -> str:
        code, out, err = self._run(command)
        if code != 0:
            raise SystemdError(f"{' '.join(command)} failed: {(err or out).strip()}")
        return out
