# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The unit ``NAME-build.service``, in which a user of its own builds what root would have to trust otherwise.

Installing a Python package may run any code. Here it runs as the user ``NAME-build``, who owns nothing on the host, and
sees no application: a private directory lies where the result is to be, and root copies that afterwards. The unit has a
fixed name, so that whoever changes the application next can stop it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.pyweb.deploy.plugins.module_utils import accounts
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import MARK, OWNED
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import SystemdError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Command, Systemd

ROOTS = "/opt"
UNITS = "/run/systemd/system"
COMMENT = "Builds packages of {name} (pyweb.deploy)"
"""By which a user is known as one that the role created."""

SYSTEM_PYTHON = "/usr/bin/python3"
"""For the file of this one, the distribution has pip in a package."""

LIMIT = 1800
"""Seconds that a build may take."""

LARGEST_LOG = 1 << 20
"""Bytes of the end of a log that are read."""

HIDDEN = (
    "/var/lib/gunicorn",
    "/var/log/gunicorn",
    "/var/lib/pyweb.deploy",
    "/run/gunicorn",
    "/run/pyweb.deploy",
    "/run/dbus",
)
"""Places of the applications, and what would reach other processes."""

# As for the service (templates/slot.service.j2). Left out is what compilers need: memory that is written and executed,
# programs in /tmp, all system calls.
SANDBOX = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadOnlyPaths=/run
ProtectHome=tmpfs
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateIPC=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
KeyringMode=private
RemoveIPC=yes
SystemCallArchitectures=native
"""


class BuildError(Exception):
    """The build could not be started; the text is for people."""


class BuildFailedError(Exception):
    """The program that was built with failed, or was ended."""

    def __init__(self, output: str, reason: str) -> None:
        super().__init__(reason)
        self.output = output
        """The end of what it wrote."""
        self.reason = reason
        """What systemd says of it."""


class Mount(NamedTuple):
    """What the build sees at a place of the host."""

    source: str
    target: str
    writable: bool = False


def unit_name(name: str) -> str:
    """Name of the unit that builds for an application."""
    return f"{name}-build.service"


def unit_path(name: str) -> str:
    """Path of its file, which is there only while it is needed."""
    return os.path.join(UNITS, unit_name(name))


def user_name(name: str) -> str:
    """Name of the user who builds for an application."""
    return f"{name}-build"


def quote(path: str) -> str:
    """Quote a path for a directive that takes several, separated by colons or blanks."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def environment_file(variables: Mapping[str, str]) -> str:
    """Text of an EnvironmentFile=, in which every value arrives as it is."""
    lines = []
    for name, value in variables.items():
        for character in '\\"$`':
            value = value.replace(character, "\\" + character)
        lines.append(f'{name}="{value}"\n')
    return "".join(lines)


def unit_text(name: str, mounts: Iterable[Mount], others: Iterable[str], limit: int) -> str:
    """Text of the unit. `others` are the directories of the host's other applications."""
    root = os.path.join(ROOTS, name)
    build = os.path.join(root, "build")
    lines = [f"TemporaryFileSystem={root}:ro"]
    lines += [f"InaccessiblePaths=-{quote(path)}" for path in (*HIDDEN, *others)]
    for mount in mounts:
        kind = "BindPaths" if mount.writable else "BindReadOnlyPaths"
        lines.append(f"{kind}={quote(mount.source)}:{quote(mount.target)}")
        lines += [f"ReadWritePaths={quote(mount.target)}"] if mount.writable else []
    return f"""\
# Written by the Ansible role {MARK}.gunicorn. It is there while packages are built.
[Unit]
Description=Build the Python packages of {name}

[Service]
Type=oneshot
User={user_name(name)}
Group={user_name(name)}
UMask=0022
EnvironmentFile={build}/environment
ExecStart=/bin/sh {build}/run
StandardInput=null
StandardOutput=append:{build}/log
StandardError=inherit
TimeoutStartSec={limit}
TimeoutStopSec=5
{SANDBOX}{chr(10).join(lines)}
"""


class BuildUnit:
    """The build of one application: its user, its private directory, its unit."""

    def __init__(self, name: str, systemd: Systemd, run: Command, limit: int = LIMIT) -> None:
        self.name = name
        self.directory = os.path.join(ROOTS, name, "build")
        self.work = os.path.join(self.directory, "work")
        """Home of the user, with what is downloaded and compiled."""
        self._systemd = systemd
        self._run = run
        self._limit = limit

    # The user

    def has_user(self) -> bool:
        """Tell whether the user is there; refuse one that the role did not create."""
        try:
            entry = pwd.getpwnam(user_name(self.name))
        except KeyError:
            return False
        if entry.pw_gecos != COMMENT.format(name=self.name):
            raise BuildError(f"the host has a user {entry.pw_name} that the role did not create")
        return True

    def create_user(self) -> None:
        """Create the user, who can't log in and owns nothing."""
        accounts.create(self._run, user_name(self.name), COMMENT.format(name=self.name))

    @property
    def owner(self) -> tuple[int, int]:
        """Numbers of the user and of its group."""
        entry = pwd.getpwnam(user_name(self.name))
        return entry.pw_uid, entry.pw_gid

    # The directory

    def clear(self) -> None:
        """Stop the unit, and remove all that belongs to a build: also what a killed run left."""
        unit = unit_name(self.name)
        self._systemd.stop(unit)
        self._systemd.reset_failed(unit)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unit_path(self.name))
        if os.path.lexists(self.directory):
            shutil.rmtree(self.directory)

    def open(self) -> None:
        """Make the private directory. Only root gets into it; the unit sees parts of it."""
        os.mkdir(self.directory, 0o700)
        self.make_directory("work", 0o700)

    def make_directory(self, name: str, mode: int = 0o755) -> str:
        """Make a directory of the user's own in the private one."""
        path = os.path.join(self.directory, name)
        os.mkdir(path)
        os.chmod(path, mode)
        os.chown(path, *self.owner)
        return path

    def write(self, name: str, text: str, mode: int = 0o600, own: bool = False) -> str:
        """Write a file into the private directory: root's, or with `own` the user's."""
        path = os.path.join(self.directory, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            if own:
                os.fchown(file.fileno(), *self.owner)
            os.fchmod(file.fileno(), mode)
        return path

    # The unit

    def run(self, script: str, environment: Mapping[str, str], mounts: Iterable[Mount]) -> str:
        """Run a shell script as the user, until no process of it is left; its output.

        Raises `BuildFailedError` where it fails, takes too long or is stopped, and `SystemdError`.
        """
        unit = unit_name(self.name)
        for name in ("run", "environment", "log"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.directory, name))
        run = self.write("run", script, 0o644)
        self.write("environment", environment_file({"HOME": self.work, "TMPDIR": self.work, **environment}))
        log = self.write("log", "")
        text = unit_text(
            self.name,
            [Mount(self.work, self.work, writable=True), Mount(run, run), *mounts],
            self._others(),
            self._limit,
        )
        with open(unit_path(self.name), "w", encoding="utf-8") as file:
            file.write(text)
        self._systemd.daemon_reload()
        try:
            self._systemd.start(unit)
        except SystemdError as problem:
            state = self._systemd.show(unit, "Result", "ExecMainStatus")
            raise BuildFailedError(read_end(log), self._describe(state, str(problem))) from None
        finally:
            # A start ends with the script; what the script left running ends here.
            self._systemd.stop(unit)
        return read_end(log)

    def _others(self) -> list[str]:
        found = map(os.path.dirname, glob.glob(os.path.join(ROOTS, "*", OWNED)))
        return sorted(path for path in found if os.path.basename(path) != self.name)

    def _describe(self, state: Mapping[str, str], problem: str) -> str:
        result = state.get("Result", "")
        if result == "timeout":
            return f"it took longer than {self._limit // 60} minutes, and was ended"
        if result == "oom-kill":
            return "the host ran out of memory, and it was ended"
        if result in ("", "success"):
            return f"it was stopped ({problem})"
        return f"{unit_name(self.name)} failed: {result}, status {state.get('ExecMainStatus', '')}"


def read_end(path: str) -> str:
    """End of a log; empty where there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - LARGEST_LOG, 0))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
