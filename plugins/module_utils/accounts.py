# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Users of the host that the role creates: who can't log in and own nothing."""

from __future__ import annotations

import grp
import pwd
from typing import TYPE_CHECKING

from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError

if TYPE_CHECKING:
    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Command


def comment_of(name: str) -> str | None:
    """Comment of a user, by which the role knows its own; ``None`` where there is no such user."""
    try:
        return pwd.getpwnam(name).pw_gecos
    except KeyError:
        return None


def exists(name: str) -> bool:
    """Tell whether the host has a user of that name."""
    return comment_of(name) is not None


def create(run: Command, name: str, comment: str) -> None:
    """Create a system user, in a group of the same name. Raises `StageError`."""
    try:
        grp.getgrnam(name)
        group = ["--gid", name]
    except KeyError:
        group = ["--user-group"]
    command = ["useradd", "--system", *group, "--no-create-home", "--home-dir", "/nonexistent"]
    command += ["--shell", "/usr/sbin/nologin", "--comment", comment, name]
    code, out, err = run(command)
    if code != 0:
        raise StageError(f"useradd {name} failed: {(err or out).strip()}")
