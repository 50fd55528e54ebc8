# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Secrets in files that only root can read, for LoadCredential= and LoadCredentialEncrypted= of a systemd unit.

No value is ever part of a message or a result.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Callable

from ansible_collections.pyweb.deploy.plugins.module_utils.files import delete
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError

OWNER = (0, 0)
DIRECTORY = 0o700
FILE = 0o600
TOOL = "systemd-creds"

Run = Callable[..., Any]
"""AnsibleModule.run_command: it takes the data to write to the command."""


class SecretFiles:
    """The directory with one file for each secret: `values` by name. What else is in it is removed."""

    def __init__(self, run: Run, path: str, values: dict[str, str], encrypt: bool) -> None:
        self._run = run
        self.path = path
        self.values = {name: value.encode("utf-8") for name, value in values.items()}
        self.encrypt = encrypt

    def differing(self) -> list[str]:
        """Names of the secrets whose file doesn't hold them, or can be read by others. Decrypts each, so ask once."""
        return sorted(
            name for name in self.values if not self.is_private(name, FILE) or self.held(name) != self.values[name]
        )

    def unknown(self) -> list[str]:
        """Names of files that are no secret of the application."""
        there = set(os.listdir(self.path)) if os.path.isdir(self.path) else set()
        return sorted(there - set(self.values))

    def need_work(self, differing: list[str]) -> bool:
        """Tell whether anything is to be written or removed."""
        return bool(differing or not self.is_private("", DIRECTORY) or self.unknown())

    def write(self, differing: list[str]) -> None:
        """Write what differs, and remove what doesn't belong there. Raises `StageError` and `OSError`."""
        os.makedirs(self.path, DIRECTORY, exist_ok=True)
        os.chown(self.path, *OWNER)
        os.chmod(self.path, DIRECTORY)
        for name in self.unknown():
            delete(os.path.join(self.path, name))
        for name in differing:
            self.write_file(name)

    def tool(self, verb: str, name: str, data: bytes) -> tuple[int, bytes, bytes]:
        """Let systemd-creds encrypt or decrypt what is to be the credential `name`."""
        # Not with a TPM as well: another firmware, and the host could not read them any more.
        options = ["--with-key=host"] if verb == "encrypt" else []
        command = [TOOL, verb, f"--name={name}", *options, "-", "-"]
        code, out, err = self._run(command, data=data, binary_data=True, encoding=None)
        return code, out, err

    def held(self, name: str) -> bytes | None:
        """Secret that a file holds; ``None`` where there is none, or none that can be read."""
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                data = file.read()
        except OSError:
            return None
        if not self.encrypt:
            return data
        code, out, _err = self.tool("decrypt", name, data)
        return out if code == 0 else None

    def is_private(self, name: str, mode: int) -> bool:
        """Tell whether only root may use a file, or the directory itself where `name` is empty."""
        try:
            found = os.lstat(os.path.join(self.path, name) if name else self.path)
        except OSError:
            return False
        kind = stat.S_ISREG(found.st_mode) if name else stat.S_ISDIR(found.st_mode)
        return kind and (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (*OWNER, mode)

    def content(self, name: str) -> bytes:
        """Content of a secret's file."""
        if not self.encrypt:
            return self.values[name]
        code, out, err = self.tool("encrypt", name, self.values[name])
        if code != 0:
            raise StageError(f"{TOOL} could not encrypt {name}: {err.decode('utf-8', 'replace').strip()}")
        return out

    def write_file(self, name: str) -> None:
        """Put a file in place, at once and complete."""
        content = self.content(name)
        beside = os.path.join(self.path, f".{name}.new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchown(descriptor, *OWNER)
            os.fchmod(descriptor, FILE)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(beside, os.path.join(self.path, name))
