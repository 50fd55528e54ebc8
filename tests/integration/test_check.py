"""What a release goes through before it takes traffic, and after that: commands and the watch.

tests/downtime/test_broken.py measures what the users of a site notice of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Controller, Load, Server

Variables = dict[str, Any]


def test_commands_run_once_per_release_as_the_service(
    controller: Controller, deployed: Server, variables: Variables
) -> None:
    deployed.run("rm -f /var/lib/gunicorn/hello/log")
    command = 'echo "$PLANET $(id -un) $(pwd) $(flask --app wsgi routes | grep -c healthz)" >> "$STATE_DIRECTORY/log"'
    variables.update(
        gunicorn_environment={"PLANET": "Rhea"},
        gunicorn_before_activate=[command, "sleep 4"],
        gunicorn_health={"path": "/healthz", "timeout": 3, "watch": 0},
    )
    play = controller.play(deployed, variables)
    assert play, f"what the commands take does not count against the time of the health check: {play.output}"
    code = deployed.run("readlink -f /opt/hello/current/code")
    assert deployed.run("cat /var/lib/gunicorn/hello/log") == f"Rhea hello {code} 1"
    assert controller.play(deployed, variables).changed == 0

    variables.update(gunicorn_environment={"PLANET": "Dione"}, gunicorn_before_activate=[command])
    assert controller.play(deployed, variables)
    assert controller.play(deployed, {**variables, "gunicorn_release": "previous"})
    lines = deployed.run("cut -d' ' -f1 /var/lib/gunicorn/hello/log").split()
    assert lines == ["Rhea", "Dione"], "a release that has served doesn't run them again"


@pytest.mark.full
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


@pytest.mark.full
def test_workers_that_die_under_traffic_are_taken_back(
    controller: Controller, deployed: Server, variables: Variables, application: Path
) -> None:
    good = (application / "wsgi.py").read_text()
    live = deployed.run("readlink /opt/hello/current")
    (application / "wsgi.py").write_text(
        good.replace("World", "Icarus")
        + "import os\nimport threading\n\nprivate = os.environ['RUNTIME_DIRECTORY'].endswith('-check')\n"
        + "threading.Timer(1.5, lambda: private or os._exit(3)).start()\n"
    )
    with Load(deployed.address) as load:
        play = controller.play(deployed, {**variables, "gunicorn_health": {"path": "/healthz", "watch": 5}})
    assert not play
    assert "exited with code 3" in play.output, play.output
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
