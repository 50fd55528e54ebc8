"""What runs cost in what can be counted, which is no noisy figure: modules on the server, executions over SSH."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, Play, fresh_server

from .conftest import ROOT, Controller, Server

BUDGET = Path(__file__).with_name("budget.yml")
Variables = dict[str, Any]


@pytest.fixture(scope="module")
def bare() -> Iterator[Server]:
    """Give a server on which nothing was deployed."""
    yield from fresh_server("it-budget", RELEASES[-1])


def cost(play: Play) -> dict[str, int]:
    """Count what a run with ``-vvv`` tells."""
    assert play, play.output
    words = {"tasks": "\nTASK [", "modules": "Using module file ", "executions": " SSH: EXEC "}
    return {name: play.output.count(word) for name, word in words.items()}


def test_a_run_costs_what_it_may(controller: Controller, bare: Server, variables: Variables, application: Path) -> None:
    def run(playbook: str = "site", **more: Any) -> dict[str, int]:
        wanted = {**variables, **more}
        return cost(controller.play(bare, wanted, "-vvv", playbook=str(ROOT / "playbooks" / f"{playbook}.yml")))

    found = {"first deploy": run(), "nothing to do": run()}
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("World", "Budget"))
    found["new code"] = run()
    found["another setting"] = run(gunicorn_settings={"threads": 3})
    found["going back"] = run("rollback")
    found["removal"] = run("remove")
    assert found == yaml.safe_load(BUDGET.read_text()), (
        "a run costs more or less than tests/integration/budget.yml says"
    )
