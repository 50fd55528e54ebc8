# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_switch: let a release take over, for this run of Ansible."""

from __future__ import annotations

from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage


class ActionModule(Stage):
    """Tell the module which run it works for."""
