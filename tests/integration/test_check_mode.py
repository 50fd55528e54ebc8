"""`--check --diff`: passes anywhere and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .conftest import Controller, Server

Variables = dict[str, Any]


def test_on_a_fresh_server(controller: Controller, fresh: Server, variables: Variables) -> None:
    before = fresh.state()
    play = controller.play(fresh, variables, "--check", "--diff")
    assert play, play.output
    assert play.changed > 10, "everything is still to be done"
    assert "+workers = 2 * available_cpus() + 1" in play.output, "the diff shows the configuration"
    assert fresh.state() == before


def test_on_a_converged_server(controller: Controller, site: Server, variables: Variables) -> None:
    before = site.state()
    play = controller.play(site, variables, "--check", "--diff")
    assert play, play.output
    assert play.changed == 0, play.output
    assert site.state() == before


def test_with_a_change_to_come(controller: Controller, site: Server, variables: Variables, application: Path) -> None:
    before = site.state()
    (application / "wsgi.py").write_text((application / "wsgi.py").read_text() + "\n# another line\n")
    change = {"gunicorn_settings": {"timeout": 45}, "gunicorn_packages": ["itsdangerous==2.2.0"]}
    play = controller.play(site, {**variables, **change, "gunicorn_bind": ["0.0.0.0:8001"]}, "--check", "--diff")
    assert play, play.output
    assert play.changed > 0
    assert "+timeout = 45" in play.output
    assert site.state() == before
    assert site.get() == "Hello, World!"
