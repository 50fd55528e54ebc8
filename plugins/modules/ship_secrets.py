#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Write secrets to files of root's own, which systemd hands to a service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ship_secrets
short_description: Write secrets for LoadCredential= of a systemd unit
version_added: "0.1.0"
description:
  - Writes each secret to a file of its own, V(0600) and root's, in a directory that only root may enter.
  - With O(encrypt), what is written is what C(systemd-creds encrypt) makes of it with the key of the host, for
    C(LoadCredentialEncrypted=).
  - A file that holds its secret already is left alone. What else is in the directory is removed.
  - The values travel through a pipe. Where Ansible would write them to a disk on the way, because it can't pipeline,
    the task fails and nothing is sent.
  - The values are in no output and no log, whatever C(no_log) says.
author:
  - The pyweb.deploy authors (@pyweb)
options:
  path:
    description: Absolute path of the directory.
    type: path
    required: true
  secrets:
    description: Names and values of the secrets.
    type: dict
    required: true
  encrypt:
    description: Whether systemd decrypts them again when the service starts.
    type: bool
    default: false
attributes:
  action:
    support: full
    description: It looks at how Ansible reaches the host.
  check_mode:
    support: full
    description: Tells what would be written.
  diff_mode:
    support: none
    description: There is nothing in it that anybody may see.
notes:
  - Needs root. Set C(become=true).
  - O(encrypt) needs systemd 250 or later. It makes the key of the host, C(/var/lib/systemd/credential.secret), where
    there is none yet.
"""

EXAMPLES = r"""
- name: Write the password of the database
  pyweb.deploy.ship_secrets:
    path: /etc/shop/secrets
    secrets:
      DATABASE_PASSWORD: "{{ vault_database_password }}"
    encrypt: true
  become: true
  no_log: true
"""

RETURN = r"""
written:
  description: Names of the secrets whose files were written.
  returned: success
  type: list
  elements: str
  sample: [DATABASE_PASSWORD]
removed:
  description: Names of files that were removed.
  returned: success
  type: list
  elements: str
"""

import os
import shutil
import stat
from typing import Any

from ansible.module_utils.basic import AnsibleModule

OWNER = (0, 0)
DIRECTORY = 0o700
FILE = 0o600
TOOL = "systemd-creds"


class Secrets:
    """The directory with its files."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.path: str = module.params["path"]
        self.secrets: dict[str, bytes] = {
            name: str(value).encode("utf-8") for name, value in module.params["secrets"].items()
        }
        self.encrypt: bool = module.params["encrypt"]

    def tool(self, verb: str, name: str, data: bytes) -> tuple[int, bytes, bytes]:
        """Let systemd-creds encrypt or decrypt what is to be the credential `name`."""
        command = [self.module.get_bin_path(TOOL, required=True), verb, "--name=" + name]
        # Not with a TPM as well: another firmware, and the host could not read them any more.
        options = ["--with-key=host"] if verb == "encrypt" else []
        rc, out, err = self.module.run_command(
            [*command, *options, "-", "-"], data=data, binary_data=True, encoding=None
        )
        return rc, out, err

    def held(self, name: str) -> bytes | None:
        """Secret that a file holds; ``None`` where there is none, or none that can be read."""
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                data = file.read()
        except OSError:
            return None
        if not self.encrypt:
            return data
        rc, out, _err = self.tool("decrypt", name, data)
        return out if rc == 0 else None

    def is_ours(self, name: str, mode: int) -> bool:
        """Tell whether root alone may use a file, or the directory itself where `name` is empty."""
        try:
            found = os.lstat(os.path.join(self.path, name) if name else self.path)
        except OSError:
            return False
        kind = stat.S_ISREG(found.st_mode) if name else stat.S_ISDIR(found.st_mode)
        return kind and (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (*OWNER, mode)

    def sealed(self, name: str) -> bytes:
        """Content of a secret's file."""
        if not self.encrypt:
            return self.secrets[name]
        rc, out, err = self.tool("encrypt", name, self.secrets[name])
        if rc != 0:
            self.module.fail_json(msg=f"{TOOL} could not encrypt {name}: {err.decode('utf-8', 'replace').strip()}")
        return out

    def write(self, name: str) -> None:
        """Put a file in place, at once and complete."""
        content = self.sealed(name)
        temporary = os.path.join(self.path, f".{name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchown(descriptor, *OWNER)
            os.fchmod(descriptor, FILE)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, os.path.join(self.path, name))

    def remove(self, name: str) -> None:
        """Remove whatever has that name."""
        path = os.path.join(self.path, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)

    def open_directory(self) -> None:
        """Make the directory, or make it root's own."""
        os.makedirs(self.path, DIRECTORY, exist_ok=True)
        os.chown(self.path, *OWNER)
        os.chmod(self.path, DIRECTORY)

    def bring(self) -> dict[str, Any]:
        """Do what is to be done, or tell it in check mode."""
        directory = self.is_ours("", DIRECTORY)
        there = set(os.listdir(self.path)) if os.path.isdir(self.path) else set()
        wrong = sorted(
            name for name in self.secrets if not self.is_ours(name, FILE) or self.held(name) != self.secrets[name]
        )
        foreign = sorted(there - set(self.secrets))
        if not self.module.check_mode:
            if not directory:
                self.open_directory()
            for name in foreign:
                self.remove(name)
            for name in wrong:
                self.write(name)
        return {"changed": bool(wrong or foreign or not directory), "written": wrong, "removed": foreign}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "secrets": {"type": "dict", "required": True, "no_log": True},
            "encrypt": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        result = Secrets(module).bring()
    except OSError as problem:
        module.fail_json(msg=f"can't write to {module.params['path']}: {problem.strerror}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
