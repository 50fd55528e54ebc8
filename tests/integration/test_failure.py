"""Releases that don't work and input that can't: what the user reads, and that the site goes on.

tests/downtime/test_broken.py counts what the visitors of the site notice of such releases: nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import Play

from .conftest import ROOT, Controller, Server, main_pid

Variables = dict[str, Any]


@pytest.fixture
def ceres(
    request: pytest.FixtureRequest, controller: Controller, server: Server, variables: Variables, application: Path
) -> Server:
    """Give the server with two releases that have served at least; of those it keeps three."""
    variables["gunicorn_keep_releases"] = 3
    code = application / "wsgi.py"
    if server.run("grep -c Ceres /opt/hello/current/code/wsgi.py", check=False) != "1":
        request.getfixturevalue("deployed")
        code.write_text(code.read_text().replace("World", "Ceres"))
        play = controller.play(server, variables)
        assert play, play.output
    else:
        code.write_text(code.read_text().replace("World", "Ceres"))
    return server


def releases(server: Server, file: str = "") -> set[str]:
    """Name the releases that are there, or that have this file."""
    return set(server.run(f"cd /opt/hello/releases && ls -d */{file} | cut -d/ -f1").split())


def end(play: Play) -> list[str]:
    """Lines that a run printed after the header of its last task; that task alone has failed, and is named once."""
    assert (play.output.count("\nfatal: "), play.output.count("[ERROR]: ")) == (1, 1), play.output
    return play.output.rpartition("\nTASK [")[2].splitlines()[1:]


def is_refused(controller: Controller, server: Server, variables: Variables, *causes: str) -> Play:
    """Deploy a release that is broken: that is said, and what serves and what has served stay."""
    before = server.get(), server.run("readlink /opt/hello/current /opt/hello/previous"), main_pid(server)
    served = releases(server, "served")
    play = controller.play(server, variables)
    assert not play
    for cause in causes:
        assert cause in play.output, play.output
    assert "goes on serving" in play.output
    now = server.get(), server.run("readlink /opt/hello/current /opt/hello/previous"), main_pid(server)
    assert now == before
    assert releases(server, "served") == served, "a broken release doesn't eat the history"
    states = server.run("systemctl is-active hello-blue hello-green hello-check", check=False).split()
    assert states.count("active") == 1
    assert states[2] in ("inactive", "failed")
    return play


def test_an_import_error_never_reaches_the_site(
    controller: Controller, ceres: Server, variables: Variables, application: Path
) -> None:
    code = application / "wsgi.py"
    code.write_text("import a_module_that_nobody_has\n" + code.read_text())
    cause = "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"
    play = is_refused(controller, ceres, variables, cause, 'wsgi.py", line 1, in <module>')
    lines = end(play)
    assert len(lines) < 40, play.output
    assert [line.strip() for line in lines].count(cause) == 1
    found = [line for line in lines if cause in line]
    assert len(found) == 3, "what Ansible prints as the error, the traceback, and the table"
    assert found[0].startswith("[ERROR]: Task failed: the application failed to start: ")
    assert found[2].endswith(f" serves on: {cause}")
    said = "\n".join(lines)
    assert said.index(f"  {cause}\n") < said.index(
        "  gunicorn_requirements: 'a_module_that_nobody_has' is in no package "
    )
    assert "importlib" not in said


def test_a_package_that_nobody_has_is_said_once(controller: Controller, ceres: Server, variables: Variables) -> None:
    variables["gunicorn_packages"] = ["a-package-that-nobody-has==1.2.3"]
    before = ceres.get(), main_pid(ceres)
    play = controller.play(ceres, variables)
    assert not play
    assert (ceres.get(), main_pid(ceres)) == before
    lines = end(play)
    assert len(lines) < 40, play.output
    cause = "No matching distribution found for a-package-that-nobody-has==1.2.3"
    assert [line.strip() for line in lines].count(f"ERROR: {cause}") == 1
    assert next(line for line in lines if cause in line) == f"[ERROR]: Task failed: pip: {cause}"
    assert "serves on: pip: No matching distribution" in lines[-2]
    assert "━" not in play.output


@pytest.mark.parametrize("logs", ["journal", "json"])
def test_a_health_check_for_another_host_says_what_to_set(
    controller: Controller, ceres: Server, variables: Variables, application: Path, logs: str
) -> None:
    code = application / "wsgi.py"
    refuse = "import flask\n\n\n@app.before_request\ndef only() -> None:\n    "
    refuse += "if flask.request.host != 'shop.example':\n        print('not for', flask.request.host, flush=True)\n"
    code.write_text(f"{code.read_text()}\n{refuse}        flask.abort(400)\n")
    if logs == "json":
        variables["gunicorn_access_log"] = "json"
    play = is_refused(controller, ceres, variables, "GET /healthz answered 400", "not for localhost")
    lines = end(play)
    assert len(lines) < 55, play.output
    hint = "gunicorn_health.host: the application may answer to its own host name only. Example: gunicorn_health: "
    assert sum(hint in line for line in lines) == 1
    probes = [line for line in lines if "healthz HTTP" in line or '"/healthz"' in line]
    assert probes == [], "what the role asked by itself"


def test_settings_that_gunicorn_does_not_take_are_named_all_at_once(
    controller: Controller, ceres: Server, variables: Variables
) -> None:
    """What only the Gunicorn on the host can tell: a level of the log, and what the Python of the user sets."""
    variables["gunicorn_settings"] = {"loglevel": "loud"}
    variables["gunicorn_conf_extra"] = "worker = 4\nworkers = str('many')\n"
    is_refused(
        controller,
        ceres,
        variables,
        "unknown setting 'worker'; did you mean 'workers'?",
        "workers: got 'many'",
        "loglevel: got 'loud'",
    )


def test_a_health_check_that_was_wrong_once_does_not_stay_wrong(
    controller: Controller, ceres: Server, variables: Variables, application: Path
) -> None:
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("Ceres", "Pallas"))
    right = variables["gunicorn_health"]
    is_refused(controller, ceres, {**variables, "gunicorn_health": {"path": "/wrong"}}, "GET /wrong answered 404")
    play = controller.play(ceres, variables)
    assert play, play.output
    status = str(ROOT / "playbooks" / "status.yml")
    report = controller.play(ceres, variables, playbook=status).output
    assert re.search(r"hello +healthy ", report), report
    # The next release answers another path, which this one doesn't.
    code.write_text(code.read_text().replace("Pallas", "Juno").replace("/healthz", "/alive"))
    play = controller.play(ceres, {**variables, "gunicorn_health": {**right, "path": "/alive"}})
    assert play, play.output
    back = controller.play(ceres, {"gunicorn_name": "hello"}, playbook=str(ROOT / "playbooks" / "rollback.yml"))
    assert back, back.output
    assert ceres.get() == "Hello, Pallas!"
    report = controller.play(ceres, variables, playbook=status).output
    assert re.search(r"hello +drifted .* 200, ", report), report  # by the check that it passes
    code.write_text(code.read_text().replace("Juno", "Pallas").replace("/alive", "/healthz"))
    play = controller.play(ceres, variables)  # as the tests after this one expect it
    assert play, play.output


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"gunicorn_health": {"path": "/", "expect": "Goodbye", "timeout": 3}}, "doesn't hold 'Goodbye'"),
        ({"gunicorn_wsgi_app": "wsgi:__app__"}, "Failed to find attribute '__app__' in 'wsgi'"),
    ],
    ids=["body", "no such callable"],
)
def test_what_is_broken_is_named(
    controller: Controller, ceres: Server, variables: Variables, change: Variables, cause: str
) -> None:
    is_refused(controller, ceres, {**variables, **change}, cause)


@pytest.mark.full
def test_what_breaks_only_beside_the_old_one_is_stopped_again(
    controller: Controller, ceres: Server, variables: Variables, application: Path
) -> None:
    code = application / "wsgi.py"
    test = "import os\nif not os.environ['RUNTIME_DIRECTORY'].endswith('-check'):\n    raise RuntimeError('not here')\n"
    code.write_text(test + code.read_text())
    is_refused(controller, ceres, variables, "RuntimeError: not here")
    assert "RuntimeError: not here" in ceres.run("cat /opt/hello/releases/*/failed")


def test_the_next_good_release_deploys_and_what_never_served_is_gone(
    controller: Controller, ceres: Server, variables: Variables, application: Path
) -> None:
    live = ceres.run("basename $(readlink /opt/hello/current)")
    (application / "wsgi.py").write_text((application / "wsgi.py").read_text().replace("Ceres", "Venus"))
    play = controller.play(ceres, variables)
    assert play, play.output
    assert ceres.get() == "Hello, Venus!"
    assert ceres.run("basename $(readlink /opt/hello/previous)") == live
    kept = releases(ceres)
    assert len(kept) == 3
    assert kept == releases(ceres, "served")


def test_a_first_deploy_that_fails_leaves_nothing_that_runs(
    controller: Controller, server: Server, variables: Variables, application: Path
) -> None:
    (application / "wsgi.py").write_text("raise RuntimeError('not today')\napp = None\n")
    broken = {**variables, "gunicorn_name": "stillborn", "gunicorn_bind": ["0.0.0.0:8020"]}
    play = controller.play(server, broken)
    assert not play
    assert "RuntimeError: not today" in play.output
    assert "Nothing served before" in play.output
    assert ":8020" not in server.run("ss --listening --tcp --numeric")
    assert server.run("systemctl is-active stillborn.socket stillborn.service", check=False).split() == ["inactive"] * 2
    removed = controller.play(server, broken, playbook=str(ROOT / "playbooks" / "remove.yml"))
    assert removed, removed.output
    assert server.run("ls -d /opt/stillborn", check=False) == ""


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (
            {"gunicorn_name": "A B", "gunicorn_bind": 8000, "gunicorn_keep_releases": 0, "gunicorn_workers": 4}
            | {"gunicorn_source": [], "gunicorn_health": {"pth": "/"}, "gunicorn_user": None}
            | {"gunicorn_settings": {"wokers": 4, "timeout": -5}},
            [
                "gunicorn_name: got 'A B'",
                "gunicorn_bind: got 8000",
                "gunicorn_keep_releases: got 0",
                "gunicorn_source: got []",
                "unknown key 'pth'; did you mean 'path'?",
                "gunicorn_user: got None",
                "gunicorn_settings: unknown setting 'wokers'; did you mean 'workers'?",
                "gunicorn_settings: timeout: got -5: it is less than 0. It accepts a whole number from 0 on. Example: ",
                "gunicorn_workers: the role has no such variable",
            ],
        ),
        (
            {"gunicorn_name": "games", "gunicorn_bind": ["0.0.0.0:22"], "gunicorn_python": "python3.1"}
            | {"gunicorn_wsgi_app": "shop:app"},
            [
                "gunicorn_name: got 'games', but the host has a user of that name",
                "gunicorn_bind: got '0.0.0.0:22', which sshd of ssh.service already listens on",
                "gunicorn_python: got 'python3.1', which is not on the host",
                "gunicorn_wsgi_app: got 'shop:app': there is no shop.py",
            ],
        ),
    ],
    ids=["variables", "source and host"],
)
def test_bad_input_is_refused_before_the_host_changes(
    controller: Controller, fresh: Server, variables: Variables, change: Variables, messages: list[str]
) -> None:
    before = fresh.state()
    play = controller.play(fresh, {**variables, **change})
    assert not play
    for message in messages:
        assert message in play.said.replace("''", "'"), play.output
    assert len(end(play)) < 40, play.output
    assert play.changed == 0
    assert fresh.state() == before


@pytest.mark.full
def test_an_unsupported_system_is_refused(controller: Controller, fresh: Server, variables: Variables) -> None:
    fresh.run("cp --remove-destination /usr/lib/os-release /etc/os-release")
    for name, value in {"VERSION_ID": "11", "PRETTY_NAME": "Debian 11"}.items():
        fresh.run(f"sed -i 's/^{name}=.*/{name}=\"{value}\"/' /etc/os-release")
    try:
        before = fresh.state()
        play = controller.play(fresh, variables)
        assert not play
        assert "Debian 11" in play.output
        assert "debian 12, 13" in play.output
        assert fresh.state() == before
    finally:
        fresh.run("ln -sf ../usr/lib/os-release /etc/os-release")
