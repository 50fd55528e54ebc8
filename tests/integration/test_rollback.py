"""Going back to an earlier release. What a rollback costs and when it fails is in test_deploy.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Controller, Server

Variables = dict[str, Any]

ROLLBACK = str(ROOT / "playbooks" / "rollback.yml")


def release(server: Server, link: str) -> str:
    return server.run(f"basename $(readlink /opt/hello/{link})")


def test_nothing_to_go_back_to(controller: Controller, fresh: Server) -> None:
    play = controller.play(fresh, {"gunicorn_name": "hello"}, playbook=ROLLBACK)
    assert not play
    assert "nothing served before on the host" in play.said


@pytest.mark.full
def test_back_and_forth_by_id(
    controller: Controller, deployed: Server, variables: Variables, application: Path
) -> None:
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("World", "Janus").replace("/healthz", "/ready"))
    variables.update(gunicorn_health={"path": "/ready"}, gunicorn_settings={"workers": 3})
    play = controller.play(deployed, variables)
    assert play, play.output
    first, second = release(deployed, "previous"), release(deployed, "current")
    for wanted, answer in ((first, "World"), (second, "Janus")):
        play = controller.play(deployed, {**variables, "gunicorn_release": wanted})
        assert play, play.output
        assert deployed.get() == f"Hello, {answer}!"
        assert release(deployed, "current") == wanted
    again = controller.play(deployed, {**variables, "gunicorn_release": second})
    assert again, again.output
    assert again.changed == 0, "it serves already"


@pytest.mark.full
def test_back_to_another_port(controller: Controller, deployed: Server, variables: Variables) -> None:
    assert controller.play(deployed, {**variables, "gunicorn_bind": ["0.0.0.0:9000"]})
    play = controller.play(deployed, {"gunicorn_name": "hello", "gunicorn_firewall_enable": True}, playbook=ROLLBACK)
    assert play, play.output
    assert deployed.get(port=8000) == "Hello, World!"
    rules = deployed.run("ufw status")
    assert "8000/tcp" in rules
    assert "9000/tcp" not in rules
