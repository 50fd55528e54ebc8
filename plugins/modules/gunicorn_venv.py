#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Build the virtual environment of an application, as nobody's root."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_venv
short_description: Build the virtual environment of an application in a sandbox
version_added: "0.1.0"
description:
  - Installs Python packages with pip or uv into a virtual environment below C(/opt/NAME/venvs), unless a complete one
    is there. One that is complete never changes.
  - Installing a package may run any code. The installer runs as the user C(NAME-build), in the unit
    C(NAME-build.service), which sees no application. It writes into a private directory, of which root makes a copy.
    Nothing that was built runs as root.
  - What an interrupted run left of a build, a running unit included, is removed first.
  - C(http_proxy), C(https_proxy), C(all_proxy), C(no_proxy), C(SSL_CERT_FILE), C(SSL_CERT_DIR), C(REQUESTS_CA_BUNDLE),
    C(CURL_CA_BUNDLE), C(PIP_*) and C(UV_*) of the module's environment reach the installer; so do C(/etc/pip.conf) and
    C(/etc/uv/uv.toml).
  - The action plugin adds the credentials of the package indexes, which it takes from the variables
    C(gunicorn_index_url) and C(gunicorn_extra_index_urls), and ships O(wheelhouse).
  - Takes the deploy lock for its run, see M(pyweb.deploy.gunicorn_lock), and fails where another run has it.
author:
  - The pyweb.deploy authors (@pyweb)
options:
  name:
    description: Name of the application.
    type: str
    required: true
  venv:
    description: Name of the directory in C(/opt/NAME/venvs), the digest of what is asked for.
    type: str
    required: true
  python:
    description: Absolute path of the interpreter.
    type: path
    required: true
  installer:
    description: What installs the packages.
    type: str
    choices: [pip, uv]
    default: pip
  tool:
    description: With O(installer=uv), name of the virtual environment with uv, which is built where it is missing.
    type: str
    default: ''
  tool_requirements:
    description: What pip installs into O(tool), as the text of a requirements file.
    type: str
    default: ''
  specifiers:
    description: What to install, besides what O(requirements_files) name.
    type: list
    elements: str
    default: []
  requirements_files:
    description: Paths of requirements files or lock files, relative to O(code).
    type: list
    elements: str
    default: []
  requirements:
    description: Lines of these files, which a message shows.
    type: list
    elements: str
    default: []
  require_hashes:
    description: Whether to require a hash for every package.
    type: bool
    default: false
  code:
    description: Absolute path of the source.
    type: path
    required: true
  existing:
    description: Whether somebody else keeps the source. Nothing is written to it.
    type: bool
    default: false
  needs_source:
    description: Whether something is installed from the source itself. It is built in a copy.
    type: bool
    default: false
  editable:
    description: Whether the virtual environment may refer to the source.
    type: bool
    default: false
  wheelhouse:
    description:
      - Directory on the controller with all wheels; no index is asked then. Empty for none. The module ignores it; the
        action plugin gives it the shipped archive.
    type: path
  wheelhouse_digest:
    description: Digest of O(wheelhouse) that was planned with.
    type: str
    default: ''
  wheels:
    description: Set by the action plugin. Archive of O(wheelhouse) on the host.
    type: path
    default: ''
  index_url:
    description: Set by the action plugin. Package index in place of PyPI, without credentials.
    type: str
    default: ''
  extra_index_urls:
    description: Set by the action plugin. More package indexes, without credentials.
    type: list
    elements: str
    default: []
  payload:
    description: Set by the action plugin. Credentials of the indexes, as JSON in Base64.
    type: str
    default: ''
  lease:
    description: Set by the action plugin. Which run of Ansible this is.
    type: dict
    default: {}
  timeout:
    description: Seconds that a build may take. What takes longer is ended, and the module fails.
    type: int
    default: 1800
  python_version:
    description: Version of O(python), for a message.
    type: str
    default: ''
  package:
    description: Whether a package is the source, for a message.
    type: bool
    default: false
attributes:
  action:
    support: full
    description: It packs wheels, takes credentials out of URLs, and says what a failure of the installer means.
  check_mode:
    support: full
    description: Tells what would be built. Whether the packages can be installed, only the installer finds out.
  diff_mode:
    support: full
    description: Shows what is there before and after, not the files in it.
notes:
  - The host needs systemd, and C(python3-pip-whl) where O(python) is the distribution's own. Another interpreter needs
    its module C(ensurepip).
"""

EXAMPLES = r"""
- name: Build a virtual environment
  pyweb.deploy.gunicorn_venv:
    name: shop
    venv: 67fbea346fb3
    python: /usr/bin/python3
    specifiers: ["gunicorn==27.0.1"]
    requirements_files: [requirements.txt]
    code: /opt/shop/code/9d1f0c2b7a66
  become: true
"""

RETURN = r"""
path:
  description: Directory of the virtual environment.
  returned: success
  type: str
  sample: /opt/shop/venvs/67fbea346fb3
steps:
  description: What was done, or would be in check mode, and how long it took.
  returned: success
  type: list
  elements: dict
  sample:
    - {step: create the build user, changed: true, seconds: 0.12}
    - {step: install the packages, changed: true, seconds: 2.31}
changes:
  description: Paths and users that were changed, also those of which C(--diff) shows nothing.
  returned: always
  type: list
  elements: str
  sample: [user shop-build, /opt/shop/venvs/67fbea346fb3]
failure:
  description:
    - What is known of a failed installation, from which the action plugin makes the message; C(free) are the bytes left
      on the disk. The action plugin removes it.
  returned: when the installer failed
  type: dict
"""

import base64
import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils import lock
from ansible_collections.pyweb.deploy.plugins.module_utils.build_unit import BuildError, BuildUnit
from ansible_collections.pyweb.deploy.plugins.module_utils.copying import CopyError
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import LEASE, deploy_lock
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError
from ansible_collections.pyweb.deploy.plugins.module_utils.venv import InstallFailedError, Request, VenvStage

ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "venv": {"type": "str", "required": True},
    "python": {"type": "path", "required": True},
    "installer": {"type": "str", "choices": ["pip", "uv"], "default": "pip"},
    "tool": {"type": "str", "default": ""},
    "tool_requirements": {"type": "str", "default": ""},
    "specifiers": {"type": "list", "elements": "str", "default": []},
    "requirements_files": {"type": "list", "elements": "str", "default": []},
    "requirements": {"type": "list", "elements": "str", "default": []},
    "require_hashes": {"type": "bool", "default": False},
    "code": {"type": "path", "required": True},
    "existing": {"type": "bool", "default": False},
    "needs_source": {"type": "bool", "default": False},
    "editable": {"type": "bool", "default": False},
    "wheelhouse": {"type": "path"},
    "wheelhouse_digest": {"type": "str", "default": ""},
    "wheels": {"type": "path", "default": ""},
    "index_url": {"type": "str", "default": ""},
    "extra_index_urls": {"type": "list", "elements": "str", "default": []},
    "payload": {"type": "str", "default": "", "no_log": True},
    "lease": LEASE,
    "timeout": {"type": "int", "default": 1800},
    "python_version": {"type": "str", "default": ""},
    "package": {"type": "bool", "default": False},
}


def make_request(params: dict[str, Any]) -> Request:
    """Make the request of the module's parameters."""
    payload = json.loads(base64.b64decode(params["payload"]) or b"{}")
    given = {name: params[name] for name in Request._fields if name != "netrc"}
    return Request(**given, netrc=str(payload.get("netrc", "")))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    request = make_request(params)
    unit = BuildUnit(request.name, Systemd(module.run_command), module.run_command, params["timeout"])
    stage = VenvStage(request, unit, module.run_command, os.environ)
    try:
        with deploy_lock(module):
            steps = stage.run(module.check_mode)
    except InstallFailedError as failure:
        module.fail_json(msg=f"{failure.details['installer']} failed: {failure}", failure=failure.details)
    except (BuildError, CopyError, StageError, SystemdError) as problem:
        module.fail_json(msg=f"{request.name}: can't build the virtual environment: {problem}")
    except lock.LockError as problem:
        module.fail_json(msg=str(problem), **problem.details)
    except OSError as problem:
        module.fail_json(msg=f"{request.name}: can't build the virtual environment: {problem}")
    told = {"steps": steps.entries, "changes": steps.things, **({"diff": steps.diff} if module._diff else {})}
    module.exit_json(changed=steps.changed, path=request.place(request.venv), **told)


if __name__ == "__main__":
    main()
