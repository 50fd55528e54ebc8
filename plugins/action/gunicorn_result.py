# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin gunicorn_result: the one task of a deploy that fails."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import (
    OURS,
    fail,
    find_problem,
    reason_of,
    release_lock,
)


class ActionModule(ActionBase):
    """End a deploy, or remember why a user's task failed."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action; modules/gunicorn_result.py documents its options."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = task_vars or {}
        plan = given["__gunicorn_plan"]
        problem = self._task.args.get("problem")
        if problem:
            return {**result, "problem": str(problem), "plan": plan["token"]}
        failure = find_problem(given)
        if failure or plan["stages"][-1] not in OURS:
            # A stage that failed on the host has done so, one that failed here has not.
            release_lock(self, self._task.args["name"], given)
        if failure:
            fail(reason_of(failure), str(failure["problem"]))
        return result
