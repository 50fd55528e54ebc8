"""Two runs at once on a host. test_deploy.py shows that a run with nothing to do needs no lock."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .conftest import Controller, Server, eventually

Variables = dict[str, Any]

LOCK = "/run/pyweb.deploy/hello.lock"
GO = "/var/lib/gunicorn/hello/go"


def test_the_second_one_fails_and_says_who_has_the_lock(
    controller: Controller, deployed: Server, variables: Variables, application: Path
) -> None:
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("World", "Castor"))
    slow = {**variables, "gunicorn_before_activate": [f"until [ -e {GO} ]; do sleep 0.1; done"]}
    another = {**variables, "gunicorn_settings": {"workers": 3}}

    def waits() -> bool:
        return "start-pre" in deployed.run("systemctl show --property SubState hello-check.service")

    deployed.run(f"rm -f {GO}")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(controller.play, deployed, slow)
        try:
            assert eventually(lambda: waits() or first.done(), 120)
            second = controller.play(deployed, another)
            assert not first.done()
        finally:
            deployed.run(f"touch {GO}")
        outcome = first.result()
    assert not second
    assert "hello: another run is changing it" in second.said
    assert second.changed == 0
    assert outcome, outcome.output
    assert deployed.get() == "Hello, Castor!"
    third = controller.play(deployed, another)
    assert third, f"the lock was given back: {third.output}"


def test_a_run_of_another_controller_that_never_came_back(
    request: pytest.FixtureRequest, controller: Controller, server: Server, variables: Variables
) -> None:
    if not server.run(f"ls {LOCK}", check=False):
        request.getfixturevalue("deployed")
    lock = json.loads(server.run(f"cat {LOCK}"))

    def leave_lock(until: float) -> None:
        lock.update(run="elsewhere", machine="elsewhere", controller="ci-7", user="bob", until=until)
        server.run(f"cat > {LOCK} <<'END'\n{json.dumps(lock)}\nEND")

    change = {**variables, "gunicorn_settings": {"workers": 1}}
    leave_lock(until=1e12)
    refused = controller.play(server, change)
    assert not refused
    assert "that of bob on ci-7" in refused.said
    assert f"truncate --size 0 {LOCK}" in refused.said

    leave_lock(until=1)
    play = controller.play(server, change)
    assert play, f"its time is up: {play.output}"
