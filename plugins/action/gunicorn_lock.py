# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_lock: know which run this is, and whether the one with the lock is alive."""

from __future__ import annotations

from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage


class ActionModule(Stage):
    """Acquire the deploy lock of an application or release it."""
