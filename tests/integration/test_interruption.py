"""A run that is cut off in the middle: the site goes on, and the next run finishes the work.

Where only Ansible is killed, the module that it has started on the server goes on, and the next run has to wait for it.

tests/downtime/test_interruption_everywhere.py kills modules at each of their steps; here are a few moments.
"""

from __future__ import annotations

import contextlib
import http.client
from pathlib import Path
from typing import Any

import pytest

from .conftest import KILL_MODULE, Controller, Load, Server, slot

WRITTEN = """
    cd /opt/hello/releases && for each in *; do
        if [ -e $each/release.json ] && [ ! -e $each/served ] && [ ! -e $each/failed ]; then exit 0; fi
    done; exit 1
"""
BOTH = "systemctl is-active --quiet hello-blue && systemctl is-active --quiet hello-green"
UNRECORDED = "readlink /etc/systemd/system/hello.service | grep -v {old} && ! systemctl is-active --quiet {old}"


@pytest.fixture
def live(controller: Controller, server: Server, variables: dict[str, Any]) -> Server:
    """Give the server with some release of the application."""
    body = ""
    with contextlib.suppress(OSError, http.client.HTTPException):
        body = server.get()
    if not body.startswith("Hello, "):
        play = controller.play(server, variables)
        assert play, play.output
    return server


@pytest.mark.parametrize(
    ("moment", "planet", "module"),
    [
        pytest.param(WRITTEN, "Pluto", "", id="a release is written and not checked yet"),
        pytest.param(BOTH, "Charon", "goes on", id="both slots are active, and the module goes on"),
        pytest.param(BOTH, "Nix", "killed", id="both slots are active, and the module is killed"),
        pytest.param(UNRECORDED, "Styx", "goes on", id="the new slot serves alone", marks=pytest.mark.full),
    ],
)
def test_a_run_that_is_cut_off_when(
    controller: Controller,
    live: Server,
    variables: dict[str, Any],
    application: Path,
    moment: str,
    planet: str,
    module: str,
) -> None:
    before = live.get()
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("World", planet))
    condition = moment.format(old=slot(live)) if moment == UNRECORDED else moment
    watched = {**variables, "gunicorn_health": {"watch": 15}}  # long enough for the next run to find the module at work
    with Load(live.address) as load:
        cut = controller.play(live, watched, environment=live.cut_when(condition, during=bool(module)))
        assert cut.rc == -9, cut.output
        if module == "killed":
            live.run(KILL_MODULE)
        served = {WRITTEN: {before}, BOTH: {before, f"Hello, {planet}!"}, UNRECORDED: {f"Hello, {planet}!"}}[moment]
        assert live.get() in served
        play = controller.play(live, variables)
    assert play, play.output
    if moment == BOTH:
        assert ("a module of an interrupted run still works on the host" in play.output) is (module == "goes on")
    assert load.failures == []
    assert live.get() == f"Hello, {planet}!"
    states = live.run("systemctl is-active hello-blue hello-green hello-check", check=False).split()
    assert sorted(states) == ["active", "inactive", "inactive"], "nothing of the first attempt is left running"
    assert controller.play(live, variables).changed == 0
