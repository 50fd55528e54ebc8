# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Bring the table along with the playbooks of the collection: beside them, a callback needs no line in ansible.cfg."""

from __future__ import annotations

from ansible_collections.pyweb.deploy.plugins.callback.gunicorn_summary import DOCUMENTATION, CallbackModule

__all__ = ["DOCUMENTATION", "CallbackModule"]
