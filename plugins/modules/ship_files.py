#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Write several small text files at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ship_files
short_description: Write small text files, all of them at once
version_added: "0.1.0"
description:
  - Writes texts to files of one directory and gives them an owner, a group and a mode.
  - Does for each file what M(ansible.builtin.copy) does with C(content), in one execution on the host for all of them.
    M(ansible.builtin.copy) needs seven for each file that it writes.
  - A file that holds its text already is left alone. Each file is replaced as a whole, at once.
author:
  - The pyweb.deploy authors (@pyweb)
extends_documentation_fragment:
  - ansible.builtin.files
options:
  dest:
    description: Absolute path of an existing directory.
    type: path
    required: true
  files:
    description: Texts by the names of the files, which are relative to O(dest). They are written in this order.
    type: dict
    required: true
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
"""

RETURN = r"""
written:
  description: Paths of the files whose text, owner, group or mode changed.
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/shop.service]
"""

import os
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule


def read(path: str) -> bytes | None:
    """Content of a file; ``None`` where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def replace(module: AnsibleModule, path: str, content: bytes) -> None:
    """Put a file in place, at once and complete."""
    descriptor, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    module.atomic_move(temporary, path)


def ship(module: AnsibleModule, path: str, text: str) -> list[dict[str, Any]]:
    """Write one file where it differs, or tell it in check mode; what is different, for ``--diff``."""
    found = read(path)
    if found is not None and not module.params["force"]:
        return []
    headers = {"before_header": path, "after_header": path}
    diff: list[dict[str, Any]] = []
    if found != text.encode("utf-8"):
        diff.append({**headers, "before": (found or b"").decode("utf-8", "replace"), "after": text})
        if not module.check_mode:
            replace(module, path, text.encode("utf-8"))
    if os.path.exists(path):  # in check mode it may not
        arguments = module.load_file_common_arguments(module.params, path=path)
        attributes: dict[str, Any] = {}
        if module.set_fs_attributes_if_different(arguments, False, diff=attributes) and found is not None:
            diff.append({**headers, **attributes})
    return diff


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "files": {"type": "dict", "required": True},
            "force": {"type": "bool", "default": True},
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    dest = module.params["dest"]
    if not (os.path.isdir(dest) or module.check_mode):
        module.fail_json(msg=f"dest: got {dest!r}, which is no directory on the host. It accepts one that is there.")
    diff: list[dict[str, Any]] = []
    for name, text in module.params["files"].items():
        path = os.path.join(dest, name)
        try:
            diff += ship(module, path, str(text))
        except OSError as problem:
            module.fail_json(msg=f"can't write {path}: {problem.strerror}", written=written(diff))
    module.exit_json(changed=bool(diff), written=written(diff), diff=diff)


def written(diff: list[dict[str, Any]]) -> list[str]:
    """Paths of what is different, each once."""
    return list(dict.fromkeys(part["after_header"] for part in diff))


if __name__ == "__main__":
    main()
