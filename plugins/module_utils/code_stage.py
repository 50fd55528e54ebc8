# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Bring an application's code to the host, and what it needs around it: a user, directories, the checker's program."""

from __future__ import annotations

import base64
import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

from ansible_collections.pyweb.deploy.plugins.module_utils import accounts, code_diff, package_list
from ansible_collections.pyweb.deploy.plugins.module_utils.disk import lack_of_space
from ansible_collections.pyweb.deploy.plugins.module_utils.files import FOR_ALL, Attributes
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import COMPLETE, KINDS, LAYOUT, OWNED
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError

if TYPE_CHECKING:
    from typing import IO

    from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host
    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Command

# Later releases of Python refuse by default what this archive, made by the action, doesn't hold.
EVERYTHING: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}


class CodeStage:
    """The stage of a deploy that brings the code; `plan` is what modules/gunicorn_code.py documents."""

    def __init__(self, host: Host, plan: dict[str, Any], run: Command) -> None:
        self.host = host
        self.plan = plan
        self._run = run

    def run(self) -> None:
        """Do what is missing."""
        self.create_user()
        self.make_home()
        if self.plan["installs_packages"]:
            package_list.remember(self.host.layout, self.host.files, self._run)
        if self.plan["digest"]:
            self.bring_code()

    def create_user(self) -> None:
        """Create the user of the application."""
        name, comment = self.host.layout.name, self.plan["user_comment"]
        needed = bool(comment) and not accounts.exists(name)
        self.host.steps.take(
            "create the user", f"user {name}", needed, lambda: accounts.create(self._run, name, comment)
        )

    def make_home(self) -> None:
        """Make the directory of the application, with what is in it."""
        home, files = self.host.layout.home, self.host.files
        files.directory(home, Attributes("root", self.plan["group"], "0750"))
        files.file(os.path.join(home, OWNED), f"layout: {LAYOUT}\n", FOR_ALL, hidden=True)
        for name in KINDS:
            files.directory(os.path.join(home, name), Attributes("root", "root", "0755"))
        files.file(os.path.join(home, "check_config.py"), self.plan["check_config"], FOR_ALL, hidden=True)

    def bring_code(self) -> None:
        """Put the code in a directory of its own, or what differs of it where that is asked for."""
        files, place = self.host.files, self.host.layout.code(self.plan["digest"])
        if os.path.exists(os.path.join(place, COMPLETE)):
            self.repair(place)
            return
        files.remove(place)  # what an interrupted run left
        if not files.check:
            self.require_space()
        if files.shows and self.is_packed:
            self.show(place)
        files.tree(place, self.unpack, self._run)

    def show(self, place: str) -> None:
        """Show what of the code differs from that which serves."""
        serving = self.host.serving(self.plan)
        with self.open() as archive:
            self.host.files.diff += code_diff.compare(serving.code, place, code_diff.of_archive(archive))

    @property
    def is_packed(self) -> bool:
        """Whether an archive came along. There is none for a package that pip finds by its name."""
        return bool(self.plan["archive"] or self.plan["archive_file"])

    def require_space(self) -> None:
        """Fail where the disk is too full, before anything is written."""
        size = 0
        if self.is_packed:
            with self.open() as archive:
                size = sum(member.size for member in archive)
        problem = lack_of_space(self.host.layout.home, size)
        if problem:
            raise StageError(f"can't bring the code to {self.host.layout.home}: {problem}")

    def open(self) -> tarfile.TarFile:
        """Open the archive: it came with the module, or in a file."""
        file: IO[bytes]
        if self.plan["archive_file"]:
            return tarfile.open(self.plan["archive_file"])
        file = io.BytesIO(base64.b64decode(self.plan["archive"]))
        return tarfile.open(fileobj=file)

    def unpack(self, directory: str) -> None:
        """Fill the directory. Of a package that pip finds by its name there is no code, only the mark."""
        if self.is_packed:
            with self.open() as archive:
                archive.extractall(directory, **EVERYTHING)  # noqa: S202 - our own action packed it
        else:
            with open(os.path.join(directory, COMPLETE), "xb") as mark:
                os.fchmod(mark.fileno(), 0o644)

    def repair(self, place: str) -> None:
        """Write those files of a complete directory that were changed since, where the archive is there to compare."""
        if not self.is_packed:
            return
        with self.open() as archive:
            for member in archive:
                path = os.path.normpath(os.path.join(place, member.name))
                content = archive.extractfile(member) if member.isfile() else None
                if content:
                    mode = f"{member.mode:04o}"
                    self.host.files.content(path, content.read(), Attributes(FOR_ALL.owner, FOR_ALL.group, mode))
