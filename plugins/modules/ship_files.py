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
options:
  owner:
    description: Name of the owner. Without it, new files belong to the user that the module runs as.
    type: str
    default: ''
  group:
    description: Name of the group that gets what is written.
    type: str
    default: ''
  mode:
    description: Mode of the files, in octal as V("0644"). Without it new files are V("0600").
    type: str
    default: ''
  dest:
    description: Absolute path of the directory. It must exist, unless there is O(directory_mode).
    type: path
    required: true
  directory_mode:
    description:
      - Mode of O(dest), which is made where it isn't there, and gets O(owner) and O(group).
      - Without it the directory is left as it is.
    type: str
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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils.files import Attributes, Files


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "dest": {"type": "path", "required": True},
            "directory_mode": {"type": "str"},
            "directories": {"type": "dict", "default": {}},
            "files": {"type": "dict", "default": {}, "no_log": True},
            "links": {"type": "dict", "default": {}},
            "force": {"type": "bool", "default": True},
            "owner": {"type": "str", "default": ""},
            "group": {"type": "str", "default": ""},
            "mode": {"type": "str", "default": ""},
        },
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
    shipment = Files(module.check_mode)
    owner, group = module.params["owner"], module.params["group"]
    try:
        if module.params["directory_mode"] is not None:
            shipment.directory(dest, Attributes(owner, group, module.params["directory_mode"]))
        for name, mode in module.params["directories"].items():
            path = os.path.join(dest, name)
            shipment.directory(path, Attributes(owner, group, mode))
        for name, text in module.params["files"].items():
            path = os.path.join(dest, name)
            shipment.file(path, str(text), Attributes(owner, group, module.params["mode"]), module.params["force"])
        for name, target in module.params["links"].items():
            path = os.path.join(dest, name)
            shipment.link(path, str(target))
    except KeyError as problem:
        module.fail_json(msg=f"can't write {path}: {problem}", invocation=invocation)
    except OSError as problem:
        module.fail_json(msg=f"can't write {path}: {problem.strerror}", written=shipment.written, invocation=invocation)
    shown = {"diff": shipment.diff} if module._diff else {}
    module.exit_json(changed=bool(shipment.diff), written=shipment.written, invocation=invocation, **shown)


if __name__ == "__main__":
    main()
