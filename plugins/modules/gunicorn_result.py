#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Documentation of the action plugin gunicorn_result."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_result
short_description: End a deploy, with its failure where there was one
version_added: "0.1.0"
description:
  - The stages of a deploy don't fail by themselves, since a host that was drained has to be enrolled again, and a play
    that stops would leave the other hosts of a batch half-way. The stages after one that failed do nothing. This, the
    last task, fails with the cause.
  - Releases the deploy lock where the run still has it.
author:
  - The pyweb.deploy authors (@pyweb)
options:
  name:
    description: Name of the application.
    type: str
    required: true
  problem:
    description: Why a user's task failed. The deploy goes on as after a stage that failed, and ends with it.
    type: str
    default: ''
attributes:
  action:
    support: full
    description: Knows what became of the stages.
  check_mode:
    support: full
    description: The same.
  diff_mode:
    support: none
    description: It changes nothing.
notes:
  - For the role. It isn't meant for other playbooks.
"""

EXAMPLES = r"""
- name: End the deploy
  pyweb.deploy.gunicorn_result:
    name: shop
"""

RETURN = r"""
problem:
  description: What failed.
  returned: when O(problem) is given
  type: str
"""
