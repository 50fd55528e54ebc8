# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The list of the Debian packages that came to the host with its applications, so that they can be removed again.

What was there before is kept in a file until the list is written: where a run is cut off while apt works, the next one
knows all the same what came.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Iterable

from ansible_collections.pyweb.deploy.plugins.module_utils.files import FOR_ALL, Attributes, read
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError

if TYPE_CHECKING:
    from ansible_collections.pyweb.deploy.plugins.module_utils.files import Files
    from ansible_collections.pyweb.deploy.plugins.module_utils.layout import Layout
    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Command


def installed(run: Command) -> set[str]:
    """Names of the installed packages. Raises `StageError`."""
    command = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n"]
    code, out, err = run(command)
    if code != 0:
        raise StageError(f"dpkg-query failed: {(err or out).strip()}")
    return {line.split()[1] for line in out.splitlines() if line.startswith("installed ")}


def remember(layout: Layout, files: Files, run: Command) -> None:
    """Keep which packages are there, before others come. What an interrupted run kept still counts."""
    files.directory(os.path.dirname(layout.packages), Attributes("root", "root", "0755"))
    if not files.check and not os.path.exists(layout.packages_before):
        files.quietly(layout.packages_before, "\n".join(sorted(installed(run))) + "\n")


def write(layout: Layout, files: Files, run: Command, expected: Iterable[str]) -> None:
    """Add to the list what came since; in check mode, what is `expected` to."""
    known = set((read(layout.packages) or b"").decode().split())
    if files.check:
        came = set(expected)
    else:
        before = read(layout.packages_before)
        came = installed(run) - set(before.decode().split()) if before is not None else set()
    if came - known:
        files.file(layout.packages, "\n".join(sorted(known | came)) + "\n", FOR_ALL)
    if not files.check and os.path.exists(layout.packages_before):
        os.unlink(layout.packages_before)
