# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action gunicorn_plan: read the role's variables, look at the source and the host, and decide what a run has to do."""

from __future__ import annotations

import uuid
from subprocess import SubprocessError
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import USER_COMMENT
from ansible_collections.pyweb.deploy.plugins.plugin_utils import (
    application,
    configuration,
    rendering,
    ufw,
    validation,
    variables,
)
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import (
    Application,
    Release,
    Removal,
    Return,
    Wanted,
)
from ansible_collections.pyweb.deploy.plugins.plugin_utils.plan import make_plan
from ansible_collections.pyweb.deploy.plugins.plugin_utils.removal import make_removal
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import OURS, fail, release_lock, wait_for_lock

Data = dict[str, Any]

NOTHING: Data = {"work": False, "problems": [], "summary": []}
"""The plan of a run that has to fetch its source first."""

STATUS_KEYS = ("problems", "work", "stages", "summary")
"""What a look at the status returns of a plan."""

UNKNOWABLE = (AnsibleError, OSError, ValueError, LookupError, SubprocessError)
"""What keeps a look at the status from knowing what a deploy would change."""


class ActionModule(ActionBase):
    """Plan a run, or tell how an application is."""

    def run(self, tmp: str | None = None, task_vars: Data | None = None) -> Data:
        """Run the action; modules/gunicorn_plan.py documents its options."""
        result: Data = super().run(tmp, task_vars)
        _spec, options = self.validate_argument_spec(
            {
                "fetched": {"type": "bool", "default": False},
                "runtime_status": {"type": "bool", "default": False},
                "unknown": {"type": "str", "default": ""},
            }
        )
        # It is too long to print with -v; the task after this one prints its summary.
        result.update(changed=False, _ansible_verbose_override=True)
        if options["runtime_status"]:
            return {**result, **self._runtime_status(task_vars or {}, **options)}
        try:
            return {**result, **self._plan(task_vars or {}, options["fetched"])}
        except (variables.VariableError, OSError, SubprocessError) as problem:
            fail(first_line(str(problem)), str(problem))

    def _plan(self, task_vars: Data, fetched: bool) -> Data:
        wanted = application.from_task_vars(self, task_vars)
        remembered = application.remember(self, task_vars, wanted)
        if isinstance(wanted, Application) and wanted.source.fetch and not fetched:
            return {**NOTHING, "run": remembered, "fetch": wanted.source.fetch}
        check = bool(self._task.check_mode)
        answer = self._observe(wanted.observation(), task_vars)
        if "gunicorn" not in answer:
            return answer
        found = decide(wanted, answer["gunicorn"], check)
        waits = found["work"] and not found["problems"] and answer["gunicorn"]["at_work"] and not check
        if waits:  # for the module of a run that was killed; it fails where that run is alive
            taken = wait_for_lock(self, wanted.name, found["last_run"], task_vars)
            if taken.get("failed"):
                return {"failed": True, "msg": taken["msg"]}
            answer = self._observe(wanted.observation(), task_vars)
            found = decide(wanted, answer["gunicorn"], check)
        problems = found["problems"] or self._ask_ufw(found, task_vars)
        if waits and (problems or not found["work"]):  # no stage comes that would
            release_lock(self, wanted.name, task_vars)
        if problems:
            row = {key: found.get(key, "") for key in ("name", "serving", "id")}  # for the summary at the end of a run
            message = "\n".join(problems)
            fail(first_line(message), message, **row)
        told = kept(answer)
        ignored = validation.ignored(application.like_ours(task_vars))
        told["warnings"] = [*told.get("warnings", []), *ignored, *found.pop("unheard", [])]
        return {**told, **found, "run": remembered, "fetch": {}}

    def _ask_ufw(self, plan: Data, task_vars: Data) -> list[str]:
        """Ask ufw whether it works, where it is needed and there already: before anything is changed."""
        if not plan["ask_ufw"] or not plan["observed"]["firewall"]["installed"]:
            return []
        asked = {"step": "ask", **{key: plan[key] for key in ("name", "netfilter", "netfilter6")}}
        answer: Data = self._execute_module(
            module_name="pyweb.deploy.gunicorn_firewall", module_args=asked, task_vars=task_vars
        )
        return [ufw.broken(str(answer["msg"]))] if answer.get("failed") else []

    def _observe(self, asked: Data, task_vars: Data) -> Data:
        """Look at the host; what the module gunicorn_info answers, a failure too."""
        answer: Data = self._execute_module(
            module_name="pyweb.deploy.gunicorn_info", module_args=asked, task_vars=task_vars
        )
        answer.pop("invocation", None)
        return answer

    def _runtime_status(self, task_vars: Data, fetched: bool, unknown: str, **_options: Any) -> Data:
        """Tell how the application is. Whatever goes wrong becomes a part of that."""
        found: Data = {"described": True, "reached": True, "problem": "", "applications": {}, "plan": {}}
        found["fetch"], found["unknown"] = {}, unknown
        wanted: Wanted | None = None
        try:
            found["name"] = variables.read("gunicorn_name", self._templar, task_vars)
        except variables.VariableError as problem:
            return {**found, "name": "", "problem": str(problem)}
        try:
            found["described"] = application.is_described(self._templar, task_vars)
            if found["described"] and not unknown:
                wanted = application.from_task_vars(self, task_vars)
        except UNKNOWABLE as problem:
            found["unknown"] = str(problem)
        if isinstance(wanted, Application) and wanted.source.fetch and not fetched:
            return {**found, "fetch": wanted.source.fetch}
        asked = wanted.observation() if wanted else {"name": found["name"], "user": found["name"]}
        try:
            answer = self._observe({**asked, "runtime_status": True}, task_vars)
        except AnsibleConnectionFailure as problem:
            return {**found, "reached": False, "problem": str(problem)}
        except AnsibleError as problem:
            return {**found, "problem": str(problem)}
        if "gunicorn" not in answer:
            return {**found, "problem": str(answer.get("msg", answer))}
        found.update(kept(answer), applications=answer["gunicorn"]["runtime_status"])
        try:
            if wanted:
                plan = decide(wanted, answer["gunicorn"])
                found["plan"] = {key: plan[key] for key in STATUS_KEYS if key in plan}
        except UNKNOWABLE as problem:
            found["unknown"] = str(problem)
        return found


def first_line(text: str) -> str:
    """First line of a message, with a mark where there are more."""
    first, _newline, rest = text.partition("\n")
    return f"{first} […]" if rest else first


def kept(answer: Data) -> Data:
    """What Ansible itself says beside a module's answer, as which interpreter it found: it would look for it again."""
    return {key: answer[key] for key in ("ansible_facts", "warnings", "deprecations") if key in answer}


def decide(wanted: Wanted, observed: Data, check_mode: bool = False) -> Data:
    """Compare what is wanted with the host: the plan, with what the stages need to know besides it."""
    details: Data = {}
    if isinstance(wanted, Removal):
        plan = make_removal(wanted.desired, observed)
    elif isinstance(wanted, Return):
        plan = make_plan(wanted.desired, observed)
    else:
        release = Release(wanted, wanted.look(observed), observed)
        texts = rendering.render(release)
        plan = make_plan(release.desired(vars(texts)), observed)
        details = {} if plan["problems"] else for_stages(release, bool(plan["bring_code"]))
        if plan["summary"]:
            notes, details["unheard"] = unread(release)
            plan["summary"] = [*plan["summary"], *notes]
    return {
        **plan,
        "token": uuid.uuid4().hex,
        "last_run": observed["last_run"],
        "lock": bool(plan["work"]) and plan["stages"][0] not in OURS,
        "summary": [*plan["summary"], *(plan["check_mode_limits"] if plan["summary"] and check_mode else [])],
        "observed": observed,
        "drain_tasks": wanted.drain_tasks,
        "enroll_tasks": wanted.enroll_tasks,
        **details,
    }


def unread(release: Release) -> tuple[list[str], list[str]]:
    """Say what a configuration file says that Gunicorn would read, were it not for the role's.

    The second list warns where it says another address than the role's default, as one that no other machine reaches.
    """
    app, path, found = release.app, release.source["conf_file"], release.source["conf"]
    if app.conf_file or not path:
        return [], []
    by_default = app.bind == variables.defaults()["gunicorn_bind"]
    warnings = configuration.unheard(path, found, app.name, app.bind) if by_default else []
    return configuration.notes(path, found), warnings


def for_stages(release: Release, brings_code: bool) -> Data:
    """What the stages of a deploy take from the plan; none of it is secret."""
    app = release.app
    source = app.source
    code = {
        "digest": release.code if brings_code else "",
        "src": source.path,
        "kind": source.location,
        "module": app.module,
    }
    given = {"subdirectory": source.given.get("subdirectory", ""), "exclude": source.given.get("exclude", [])}
    return {
        "group": release.group,
        "source": dict(release.source),
        "code": {
            **code,
            **given,
            "user_comment": "" if app.user else USER_COMMENT.format(name=app.name),
        },
        "links": {
            "code": source.code or f"../../code/{release.code}",
            "venv": f"../../venvs/{release.venv}",
        },
        "installation": {
            "venv": release.venv,
            "tool": app.tool,
            "specifiers": release.specifiers,
            "code": release.code_directory,
            "existing": source.on_host,
            "package": bool(source.package),
            "needs_source": release.needs_source,
            "editable": release.editable,
            "wheelhouse": app.wheelhouse,
            "wheelhouse_digest": app.wheelhouse_digest,
        },
    }
