"""Going back to an earlier generation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Controller, Load, Server

Variables = dict[str, Any]

ROLLBACK = str(ROOT / "playbooks" / "rollback.yml")


@pytest.fixture
def two(controller: Controller, deployed: Server, variables: Variables, application: Path) -> Server:
    """Give the server with a second generation on top, of other code, with another package and another setting."""
    code = application / "wsgi.py"
    code.write_text("import itsdangerous\n" + code.read_text().replace("World", "Janus").replace("/healthz", "/ready"))
    change: Variables = {
        "gunicorn_health": {"path": "/ready"},
        "gunicorn_packages": ["itsdangerous==2.2.0"],
        "gunicorn_settings": {"workers": 3},
    }
    play = controller.play(deployed, {**variables, **change})
    assert play, play.output
    return deployed


def generation(server: Server, link: str) -> str:
    return server.run(f"basename $(readlink /opt/hello/{link})")


@pytest.mark.alone
def test_back_to_the_previous_one_without_an_index_or_the_source(controller: Controller, two: Server) -> None:
    before, current = generation(two, "previous"), generation(two, "current")
    rules = two.run("ufw status")
    two.run("cp /etc/hosts /root/hosts && printf '127.0.0.1 pypi.org files.pythonhosted.org\\n' >> /etc/hosts")
    try:
        with Load(two.address) as load:
            play = controller.play(two, {"gunicorn_name": "hello"}, playbook=ROLLBACK)
    finally:
        two.run("cat /root/hosts > /etc/hosts")
    assert play, play.output
    print(f"\nrolled back in {play.seconds:.1f} s")
    assert play.seconds < 10
    assert load.failures == []
    assert load.bodies == {"Hello, Janus!", "Hello, World!"}
    assert two.get() == "Hello, World!"
    assert (generation(two, "current"), generation(two, "previous")) == (before, current)
    assert two.run("ufw status") == rules
    for task in ("Ship the code", "Install Gunicorn and the requirements", "Write the configuration"):
        assert task not in play.output


def test_back_and_forth_by_id(controller: Controller, two: Server, variables: Variables) -> None:
    first, second = generation(two, "previous"), generation(two, "current")
    for wanted, answer in ((first, "World"), (second, "Janus")):
        play = controller.play(two, {**variables, "gunicorn_release": wanted})
        assert play, play.output
        assert two.get() == f"Hello, {answer}!"
        assert generation(two, "current") == wanted
    again = controller.play(two, {**variables, "gunicorn_release": second})
    assert again, again.output
    assert again.changed == 0, "it serves already"


def test_back_to_another_port(controller: Controller, deployed: Server, variables: Variables) -> None:
    assert controller.play(deployed, {**variables, "gunicorn_bind": ["0.0.0.0:9000"]})
    play = controller.play(deployed, {"gunicorn_name": "hello", "gunicorn_firewall_enable": True}, playbook=ROLLBACK)
    assert play, play.output
    assert deployed.get(port=8000) == "Hello, World!"
    rules = deployed.run("ufw status")
    assert "8000/tcp" in rules
    assert "9000/tcp" not in rules


def test_a_generation_that_no_longer_works_does_not_take_over(controller: Controller, two: Server) -> None:
    code = two.run(f"readlink -f /opt/hello/generations/{generation(two, 'previous')}/code")
    two.run(f"mv {code}/wsgi.py {code}/away.py")
    try:
        with Load(two.address) as load:
            play = controller.play(two, {"gunicorn_name": "hello"}, playbook=ROLLBACK)
    finally:
        two.run(f"mv {code}/away.py {code}/wsgi.py")
    assert not play
    assert "No module named 'wsgi'" in play.output
    assert load.failures == []
    assert load.bodies == {"Hello, Janus!"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("0123456789ab", "which is not on the host. It accepts `previous` or a generation that has served"),
        ("yesterday", "it is neither `previous` nor the id of a generation"),
    ],
)
def test_what_there_is_to_go_back_to_is_said(
    controller: Controller, deployed: Server, variables: Variables, wanted: str, message: str
) -> None:
    before = deployed.state()
    play = controller.play(deployed, {**variables, "gunicorn_release": wanted})
    assert not play
    assert f"gunicorn_release: got '{wanted}'" in play.output.replace("''", "'")
    assert message in " ".join(play.output.split())
    assert deployed.state() == before


def test_nothing_to_go_back_to(controller: Controller, fresh: Server) -> None:
    play = controller.play(fresh, {"gunicorn_name": "hello"}, playbook=ROLLBACK)
    assert not play
    assert "nothing served before on the host" in " ".join(play.output.split())
