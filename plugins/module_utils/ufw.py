# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Whether ufw works on the host, and the trial of turning it on: a timer turns it off again unless the trial ends.

Rules, and turning it on and off, are the business of the module ``community.general.ufw``.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.pyweb.deploy.plugins.module_utils.files import FOR_ROOT, Attributes, Files, read
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import TRIAL

if TYPE_CHECKING:
    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Command, Systemd

PAUSE = 0.1

RULES: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "action": {"type": "str", "choices": ["allow", "limit"], "required": True},
        "port": {"type": "int", "required": True},
        "source": {"type": "str", "required": True},
        "destination": {"type": "str", "required": True},
        "interface": {"type": "str", "default": ""},
    },
}
OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "ask": {"type": "bool", "default": False},
    "rules": RULES,
    "withdraw": RULES,
    "ssh_ports": {"type": "list", "elements": "int", "default": []},
    "enable": {"type": "bool", "default": False},
    "seconds": {"type": "int", "default": 60},
    "netfilter": {"type": "bool", "default": False},
    "netfilter6": {"type": "bool", "default": False},
    "installed": {"type": "bool", "default": True},
}
"""What the module gunicorn_firewall and its action accept."""


class UfwError(Exception):
    """ufw doesn't work; the text is its own."""


def ask(run: Command, netfilter: bool, netfilter6: bool) -> str:
    """What ``ufw status`` says. With `netfilter`, for IPv6 too, the kernel has to let it filter. Changes nothing."""
    commands = [
        ["/usr/sbin/ufw", "status"],
        *([["/usr/sbin/iptables", "-n", "-L", "INPUT"]] if netfilter else []),
        *([["/usr/sbin/ip6tables", "-n", "-L", "INPUT"]] if netfilter6 else []),
    ]
    said = []
    for command in commands:
        try:
            code, out, err = run(command)
        except OSError as problem:
            raise UfwError(f"{command[0]}: {problem.strerror}") from None
        if code != 0:
            raise UfwError((err or out).strip() or f"{' '.join(command)} failed")
        said.append(out.strip())
    return said[0]


class Trial:
    """A trial, which its number tells from that of a run that broke off, or of another application."""

    def __init__(self, number: str, systemd: Systemd, files: Files) -> None:
        self.unit = f"pyweb.deploy-firewall-{number}"
        self.number = number
        self.systemd = systemd
        self.files = files

    def begin(self, seconds: int) -> None:
        """Have the host turn ufw off by itself after so many seconds, unless the trial ends before."""
        # First the timer: where a trial broke off, that one's counts until the file says that this one does.
        self.systemd.run_later(
            self.unit,
            "Turn ufw off, unless a new SSH connection has proved itself",
            seconds,
            f"if grep -qsx {self.number} {TRIAL}; then ufw disable && rm {TRIAL}; fi",
        )
        self.files.directory(os.path.dirname(TRIAL), Attributes())
        self.files.file(TRIAL, self.number + "\n", FOR_ROOT)

    def end(self) -> None:
        """Have the timer do nothing any more; what it does already comes to its end first. Another trial goes on."""
        if read(TRIAL) == f"{self.number}\n".encode():
            self.files.remove(TRIAL)
        while self.systemd.is_busy(f"{self.unit}.service"):
            time.sleep(PAUSE)
