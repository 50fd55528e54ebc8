"""What a run would make of the role's variables, without Ansible: application, texts, plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.pyweb.deploy.plugins.action.gunicorn_plan import decide
from ansible_collections.pyweb.deploy.plugins.module_utils.source import nothing
from ansible_collections.pyweb.deploy.plugins.plugin_utils import application, rendering, variables
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import Application, Context, Release, Wanted
from ansible_collections.pyweb.deploy.tests.unit.observed import NEW_SERVER

Data = dict[str, Any]

OBSERVED: Data = {
    **NEW_SERVER,
    "python": {
        "path": "/usr/bin/python3",
        "file": "/usr/bin/python3.11",
        "version": "3.11.2",
        "venv": True,
        "system": True,
    },
    "user": {"uid": 33, "gid": 33, "group": "www-data", "gecos": "Gunicorn application shop (pyweb.deploy)"},
    "ssh_connection": {"client": "192.0.2.5", "port": 2222},
}
"""What gunicorn_info would return for a new server."""


def read(directory: Path, given: Data) -> Wanted:
    """Check variables as the role does, and tell what they want; relative paths start at the directory."""
    values = {**variables.defaults(), "gunicorn_name": "shop", **given}
    context = Context(str(directory), str(directory / "cache"), names=list(values))
    application.check(values, context)
    return application.make_wanted(values, context)


def plan(wanted: Wanted, observed: Data) -> Data:
    """What came out, as the tests ask for it."""
    found = decide(wanted, observed)
    if found["problems"]:
        return {"refused": "\n".join(found["problems"])}
    if not isinstance(wanted, Application):
        return {"desired": wanted.desired, "plan": found}
    release = Release(wanted, wanted.look(observed), observed)
    return {"desired": release.desired(vars(rendering.render(release))), "plan": found}


def configuration(directory: Path | str, **given: Any) -> str:
    """Write gunicorn.conf.py for code that is in the directory, whether or not the role would accept the variables."""
    values = {**variables.defaults(), "gunicorn_name": "shop", "gunicorn_source": {"existing": str(directory)}, **given}
    wanted = application.make_wanted(values, Context("/", "/"))
    assert isinstance(wanted, Application)
    release = Release(wanted, nothing(str(directory), ""), OBSERVED)
    return rendering.render(release).release_files["gunicorn.conf.py"]
