#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Write several small text files, links and directories at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ship_files
short_description: Write small text files, links and directories, all of them at once
version_added: "0.1.0"
description:
  - Writes texts to files below one directory, gives them an owner, a group and a mode, and makes symbolic links.
  - Does for each file what M(ansible.builtin.copy) does with C(content), and for each link and directory what
    M(ansible.builtin.file) does, in one execution on the host for all of them.
    M(ansible.builtin.copy) needs seven for each file that it writes.
  - What is as it should be is left alone. Each file and each link is replaced as a whole, at once.
  - The texts are not in the journal of the host, and in the output only with C(--diff).
author:
  - The pyweb.deploy authors (@pyweb)
extends_documentation_fragment:
  - ansible.builtin.files
options:
  dest:
    description: Absolute path of the directory. It must exist, unless there is O(directory_mode).
    type: path
    required: true
  directory_mode:
    description:
      - Mode of O(dest), which is made where it isn't there, and gets O(owner) and O(group).
      - Without it the directory is left as it is.
    type: raw
  directories:
    description:
      - Modes of directories by their names, which are relative to O(dest). They are made where they aren't there, and
        get O(owner) and O(group).
    type: dict
    default: {}
  files:
    description:
      - Texts by the names of the files, which are relative to O(dest). They come after O(directories), in this order.
    type: dict
    default: {}
  links:
    description:
      - Targets of symbolic links by the names of the links, which are relative to O(dest). They come after O(files).
    type: dict
    default: {}
  force:
    description: Whether a file that is there already is compared and written. Otherwise it is left as it is.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: Tells what would be written.
  diff_mode:
    support: full
    description: Shows each file's text before and after.
"""

EXAMPLES = r"""
- name: Write the units
  pyweb.deploy.ship_files:
    dest: /etc/systemd/system
    files:
      shop.service: "{{ lookup('ansible.builtin.template', 'shop.service.j2') }}"
      shop.socket: "{{ lookup('ansible.builtin.template', 'shop.socket.j2') }}"
    owner: root
    group: root
    mode: "0644"

- name: Write a release's settings, and lead to them
  pyweb.deploy.ship_files:
    dest: /srv/shop
    directory_mode: "0755"
    directories:
      uploads: "0700"
    files:
      settings-7.ini: "workers = 4\n"
    links:
      settings.ini: settings-7.ini
"""

RETURN = r"""
written:
  description: Paths of what changed, the directory and links among them.
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/shop.service]
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def read(path: str) -> bytes | None:
    """Content of a file; ``None`` where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def told(path: str, before: Any, after: Any) -> dict[str, Any]:
    """Give one part of what ``--diff`` shows."""
    return {"before_header": path, "after_header": path, "before": before, "after": after}


def temporary(path: str) -> str:
    """Name beside a path. Not in module.tmpdir, which would make a directory in the home of root."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.{os.urandom(8).hex()}")  # of a run that was killed one may be left


class Shipment:
    """What is to be there."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.check: bool = module.check_mode
        self.diff: list[dict[str, Any]] = []

    def settle(self, path: str, new: bool, mode: Any) -> None:
        """Give a file or the directory its owner, group and mode."""
        if not os.path.exists(path):  # in check mode it may not be there
            return
        arguments = self.module.load_file_common_arguments({**self.module.params, "mode": mode}, path=path)
        attributes: dict[str, Any] = {}
        if self.module.set_fs_attributes_if_different(arguments, False, diff=attributes) and not new:
            self.diff.append(told(path, attributes["before"], attributes["after"]))

    def directory(self, path: str, mode: Any) -> None:
        """Make a directory, or mend its attributes."""
        new = not os.path.isdir(path)
        if new:
            self.diff.append(told(path, {"state": "absent"}, {"state": "directory"}))
            if not self.check:
                os.mkdir(path)
        self.settle(os.path.realpath(path), new, mode)  # a link leads to the one that counts

    def file(self, path: str, text: str) -> None:
        """Write a file where it differs."""
        found, wanted = read(path), text.encode("utf-8")
        if found is not None and not self.module.params["force"]:
            return
        if found != wanted:
            self.diff.append(told(path, (found or b"").decode("utf-8", "replace"), text))
            if not self.check:
                beside = temporary(path)
                with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(wanted)
                self.module.atomic_move(beside, path)
        self.settle(path, found is None, self.module.params["mode"])

    def link(self, path: str, target: str) -> None:
        """Make a link where it differs."""
        found = os.readlink(path) if os.path.islink(path) else ""
        if found == target:
            return
        self.diff.append(told(path, found, target))
        if not self.check:
            beside = temporary(path)
            os.symlink(target, beside)
            os.rename(beside, path)

    @property
    def written(self) -> list[str]:
        """Paths of what changed, each once."""
        return list(dict.fromkeys(part["after_header"] for part in self.diff))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "directory_mode": {"type": "raw"},
            "directories": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}, "no_log": True},
            "links": {"type": "dict", "default": {}},
            "force": {"type": "bool", "default": True},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    # What no_log keeps out of the journal, --diff may show.
    module.no_log_values.clear()
    dest = path = module.params["dest"]
    # What -vvv shows is without the texts, as that of copy and template.
    invocation = {"module_args": {**module.params, "files": list(module.params["files"])}}
    if module.params["directory_mode"] is None and not os.path.isdir(dest) and not module.check_mode:
        module.fail_json(
            msg=f"dest: got {dest!r}, which is no directory on the host. It accepts one that is there.",
            invocation=invocation,
        )
    shipment = Shipment(module)
    try:
        if module.params["directory_mode"] is not None:
            shipment.directory(dest, module.params["directory_mode"])
        for name, mode in module.params["directories"].items():
            path = os.path.join(dest, name)
            shipment.directory(path, mode)
        for name, text in module.params["files"].items():
            path = os.path.join(dest, name)
            shipment.file(path, str(text))
        for name, target in module.params["links"].items():
            path = os.path.join(dest, name)
            shipment.link(path, str(target))
    except OSError as problem:
        module.fail_json(msg=f"can't write {path}: {problem.strerror}", written=shipment.written, invocation=invocation)
    shown = {"diff": shipment.diff} if module._diff else {}
    module.exit_json(changed=bool(shipment.diff), written=shipment.written, invocation=invocation, **shown)


if __name__ == "__main__":
    main()
