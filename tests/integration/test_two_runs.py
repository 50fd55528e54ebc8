"""Two runs at once on a host."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .conftest import Controller, Load, Server

Variables = dict[str, Any]

LOCK = "/run/pyweb.deploy/hello.lock"


def test_the_second_one_fails_and_says_who_has_the_lock(
    controller: Controller, deployed: Server, variables: Variables, application: Path
) -> None:
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("World", "Castor"))
    slow = {**variables, "gunicorn_before_activate": ["sleep 8"]}
    with Load(deployed.address) as load, ThreadPoolExecutor() as pool:
        first = pool.submit(controller.play, deployed, slow)
        while "start-pre" not in deployed.run("systemctl show --property SubState hello-check.service"):
            assert not first.done()
            time.sleep(0.2)
        second = controller.play(deployed, {**variables, "gunicorn_settings": {"workers": 3}})
        outcome = first.result()
    assert not second
    assert "hello: another run is changing it" in " ".join(second.output.split())
    assert second.changed == 0
    assert outcome, outcome.output
    assert load.failures == []
    assert deployed.get() == "Hello, Castor!"
    third = controller.play(deployed, {**variables, "gunicorn_settings": {"workers": 3}})
    assert third, f"the lock was given back: {third.output}"


def test_a_run_of_another_controller_that_never_came_back(
    controller: Controller, deployed: Server, variables: Variables
) -> None:
    assert controller.play(deployed, {**variables, "gunicorn_settings": {"workers": 3}})
    lock = json.loads(deployed.run(f"cat {LOCK}"))
    lock.update(run="elsewhere", machine="elsewhere", controller="ci-7", user="bob", until=lock["until"] + 1e6)
    deployed.run(f"cat > {LOCK} <<'END'\n{json.dumps(lock)}\nEND")
    refused = controller.play(deployed, variables)
    assert not refused
    assert "that of bob on ci-7" in " ".join(refused.output.split())
    assert f"remove {LOCK}" in " ".join(refused.output.split())

    lock["until"] = 1.0
    deployed.run(f"cat > {LOCK} <<'END'\n{json.dumps(lock)}\nEND")
    play = controller.play(deployed, variables)
    assert play, f"its time is up: {play.output}"


def test_nothing_to_do_needs_no_lock(controller: Controller, site: Server, variables: Variables) -> None:
    site.run(f"rm -f {LOCK}")
    assert controller.play(site, variables).changed == 0
    assert site.run(f"ls {LOCK}", check=False) == ""
