"""What a release goes through before and after it takes traffic: commands, the health check, the watch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Controller, Load, Server

Variables = dict[str, Any]

LATER = """
import os
import threading
import time

started = time.monotonic()
private = os.environ["RUNTIME_DIRECTORY"].endswith("-check")
"""
UNHEALTHY = """
@app.before_request
def fail():
    from flask import request

    late = not private and time.monotonic() > started + 1.5
    return ("", 503) if late and request.path == "/healthz" else None
"""


def test_commands_run_once_per_generation_as_the_service(
    controller: Controller, deployed: Server, variables: Variables
) -> None:
    deployed.run("rm -f /var/lib/gunicorn/hello/log")
    command = 'echo "$PLANET $(id -un) $(pwd) $(flask --app wsgi routes | grep -c healthz)" >> "$STATE_DIRECTORY/log"'
    change = {"gunicorn_environment": {"PLANET": "Rhea"}, "gunicorn_before_activate": [command, "sleep 4"]}
    short = {"gunicorn_health": {"path": "/healthz", "timeout": 3, "watch": 0}}
    play = controller.play(deployed, {**variables, **change, **short})
    assert play, f"what the commands take does not count against the time of the health check: {play.output}"
    line = deployed.run("cat /var/lib/gunicorn/hello/log")
    release = deployed.run("readlink -f /opt/hello/current/code")
    assert line == f"Rhea hello {release} 1"
    assert controller.play(deployed, {**variables, **change, **short}).changed == 0

    change["gunicorn_environment"] = {"PLANET": "Dione"}
    assert controller.play(deployed, {**variables, **change})
    assert controller.play(deployed, {**variables, **change, "gunicorn_release": "previous"})
    lines = deployed.run("cut -d' ' -f1 /var/lib/gunicorn/hello/log").split()
    assert lines == ["Rhea", "Dione"], "a generation that has served doesn't run them again"


@pytest.mark.parametrize(
    ("commands", "cause"),
    [
        (["echo upgrading", "python -c 'raise SystemExit(\"no database\")'", "echo never"], "no database"),
        (["touch /opt/hello/here"], "Read-only file system"),
    ],
    ids=["fails", "sandbox"],
)
def test_a_command_that_fails_keeps_the_release_from_traffic(
    controller: Controller, deployed: Server, variables: Variables, commands: list[str], cause: str
) -> None:
    live = deployed.run("readlink /opt/hello/current")
    with Load(deployed.address) as load:
        play = controller.play(deployed, {**variables, "gunicorn_before_activate": commands})
    assert not play
    failing = commands[min(1, len(commands) - 1)]
    assert f"gunicorn_before_activate: a command failed: {failing}" in play.output.replace("''", "'"), play.output
    assert cause in play.output
    assert "gunicorn_before_activate: echo never" not in play.output
    assert load.failures == []
    assert deployed.run("readlink /opt/hello/current") == live


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("threading.Timer(1.5, lambda: private or os._exit(3)).start()\n", "exited with code 3"),
        (UNHEALTHY, "answered 503, not 200"),
    ],
    ids=["workers die", "unhealthy"],
)
def test_what_breaks_under_traffic_is_taken_back(
    controller: Controller, deployed: Server, variables: Variables, application: Path, code: str, cause: str
) -> None:
    good = (application / "wsgi.py").read_text()
    live = deployed.run("readlink /opt/hello/current")
    (application / "wsgi.py").write_text(good.replace("World", "Icarus") + LATER + code)
    with Load(deployed.address) as load:
        play = controller.play(deployed, {**variables, "gunicorn_health": {"path": "/healthz", "watch": 5}})
    assert not play
    assert cause in play.output, play.output
    assert "goes on serving" in play.output
    assert load.failures == []
    assert load.bodies <= {"Hello, World!", "Hello, Icarus!"}
    assert deployed.get() == "Hello, World!"
    assert deployed.run("readlink /opt/hello/current") == live
    states = deployed.run("systemctl is-active hello-blue hello-green hello-check", check=False).split()
    assert states.count("active") == 1

    (application / "wsgi.py").write_text(good.replace("World", "Daedalus"))
    assert controller.play(deployed, variables)
    assert deployed.get() == "Hello, Daedalus!"
