# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What the documentation of the modules of a stage has in common; module_utils/stages.py has the code."""

from __future__ import annotations


class ModuleDocFragment:
    """Options, attributes and notes of these modules; `HEALTH` is of those that ask a health check."""

    DOCUMENTATION = r"""
options:
  name:
    description: Name of the application, C(gunicorn_name) of the role.
    type: str
    required: true
  lease:
    description: The run of Ansible that this works for, as the action plugin gives it. Not for playbooks.
    type: dict
    default: {}
attributes:
  action:
    support: full
    description: Tells the module which run of Ansible it works for.
  check_mode:
    support: full
    description: Tells what would be done.
  diff_mode:
    support: full
    description: Shows the lines of texts that change, beside what serves where that has them; of anything else a line.
notes:
  - Needs root. Set C(become=true).
  - Takes the deploy lock for its run, see M(pyweb.deploy.gunicorn_lock), and fails where another run has it. The run
    keeps it until the last of its stages has ended.
  - The role calls it with what its plan says. It isn't meant for other playbooks.
"""

    HEALTH = r"""
options:
  serving:
    description: Id of the release that serves until then; empty for none.
    type: str
    default: ''
  health:
    description: What a healthy answer is.
    type: dict
    default: {}
    suboptions:
      path:
        description: Path of the request.
        type: str
        default: /
      host:
        description: Value of the header C(Host).
        type: str
        default: localhost
      status:
        description: HTTP status codes of a healthy answer.
        type: list
        elements: int
        default: [200]
      expect:
        description: Text that the beginning of the body (64 KiB) must contain; empty for any body.
        type: str
        default: ''
      timeout:
        description: Seconds within which the service must be healthy.
        type: int
        default: 30
      tls:
        description: Whether to speak TLS. Certificates are not verified.
        type: bool
        default: false
"""
