#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Documentation of the action plugin gunicorn_plan."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_plan
short_description: Decide what a run of the role gunicorn has to do
version_added: "0.1.0"
description:
  - Reads the variables of the role P(pyweb.deploy.gunicorn#role), checks them, looks at the source on the controller
    and, with M(pyweb.deploy.gunicorn_info), at the host, and compares.
  - Fails with all problems at once where a run can't work. Changes nothing.
  - For the tasks of the role, whose stages run where the result says that they have something to do.
author:
  - The pyweb.deploy authors (@pyweb)
options:
  fetched:
    description: Whether what C(fetch) asks for is there.
    type: bool
    default: false
  runtime_status:
    description:
      - Whether to tell how the application is, and what a deploy would change, in place of a plan.
      - Then nothing fails. What goes wrong is a part of the result.
    type: bool
    default: false
  unknown:
    description: With O(runtime_status), why it can't be known what a deploy would change; empty to find out.
    type: str
    default: ''
attributes:
  action:
    support: full
    description: It decides on the controller.
  check_mode:
    support: full
    description: It only reads.
  diff_mode:
    support: none
    description: It changes nothing.
notes:
  - Needs root, as M(pyweb.deploy.gunicorn_info) does. Set C(become=true).
"""

EXAMPLES = r"""
- name: Plan
  pyweb.deploy.gunicorn_plan:
  register: __gunicorn_plan
"""

RETURN = r"""
fetch:
  description: What has to be fetched to the controller before there is a plan; empty where nothing has to be.
  returned: always
  type: dict
  sample:
    kind: git
    url: https://git.example.org/shop.git
    path: /home/me/.ansible/pyweb.deploy/git-9d1f0c2b7a663fa9
    version: main
    submodules: true
    key_file: ''
    by_hand: git clone https://git.example.org/shop.git
run:
  description: What the run has deployed, by host and application, this one included.
  returned: without O(runtime_status)
  type: dict
work:
  description: Whether there is anything to do.
  returned: without O(runtime_status)
  type: bool
id:
  description: The wanted release.
  returned: without O(runtime_status), where nothing has to be fetched
  type: str
  sample: 3fa92c1b0d4e
serving:
  description: The release that serves; empty for none.
  returned: without O(runtime_status), where nothing has to be fetched
  type: str
summary:
  description: The plan for people.
  returned: without O(runtime_status)
  type: list
  elements: str
  sample: ["shop: release 3fa92c1b0d4e starts in slot blue; nothing serves yet"]
observed:
  description: What RV(pyweb.deploy.gunicorn_info#module:gunicorn) says. Beside it is what the role's stages need.
  returned: without O(runtime_status), where nothing has to be fetched
  type: dict
name:
  description: The application.
  returned: where nothing has to be fetched
  type: str
described:
  description: Whether the variables are about an application that is to be there.
  returned: with O(runtime_status)
  type: bool
reached:
  description: Whether the host answered.
  returned: with O(runtime_status)
  type: bool
problem:
  description: Why the host was not looked at; empty where it was.
  returned: with O(runtime_status)
  type: str
applications:
  description: How each application of the host is.
  returned: with O(runtime_status)
  type: dict
plan:
  description: What a deploy would do; empty where that is unknown.
  returned: with O(runtime_status)
  type: dict
unknown:
  description: Why that is unknown.
  returned: with O(runtime_status)
  type: str
"""
