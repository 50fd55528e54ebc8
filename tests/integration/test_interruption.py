"""A run that is cut off in the middle: the site goes on, and the next run finishes the work.

tests/downtime/test_interruption_everywhere.py does this at every task; here are a few of them, each in another stage.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Controller, Load, Server

PLUGINS = Path(__file__).parent / "callback_plugins"


@pytest.mark.parametrize(
    ("task", "served"),
    [
        ("configure | Mark the generation as complete", "World"),
        ("activate | Give it the name of the service", "either"),
        ("activate | Record what serves now and what served before", "Pluto"),
    ],
)
def test_a_run_cut_off_at(
    controller: Controller,
    deployed: Server,
    variables: dict[str, Any],
    application: Path,
    task: str,
    served: str,
) -> None:
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("World", "Pluto") + f"# {task}\n")
    killer = {
        "ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS),
        "ANSIBLE_CALLBACKS_ENABLED": "killer",
        "KILL_AT": task,
    }
    with Load(deployed.address) as load:
        cut = controller.play(deployed, variables, environment=killer)
        assert cut.rc == -9, cut.output
        assert served == "either" or served in deployed.get()
        play = controller.play(deployed, variables)
    assert play, play.output
    assert load.failures == []
    assert deployed.get() == "Hello, Pluto!"
    states = deployed.run("systemctl is-active hello-blue hello-green hello-check", check=False).split()
    assert sorted(states) == ["active", "inactive", "inactive"], "nothing of the first attempt is left running"
    assert controller.play(deployed, variables).changed == 0
