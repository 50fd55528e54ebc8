"""A fleet: one host goes first, a broken release stops there, a host that is down keeps nobody back and catches up."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, ROOT, Play, fresh_server

from .conftest import Controller, Server

pytestmark = pytest.mark.full

Variables = dict[str, Any]
REMOVE = str(ROOT / "playbooks" / "remove.yml")
ONLY_ON_SITE = """
import os
if not os.environ["RUNTIME_DIRECTORY"].endswith("-check"):
    raise RuntimeError("not here")
"""
HOOK = """
- name: {word} the host
  ansible.builtin.lineinfile:
    path: "{path}"
    line: "{word} {{{{ inventory_hostname }}}} {{{{ __gunicorn_plan.id }}}}"
    create: true
    mode: "0644"
  delegate_to: localhost
  become: false
"""


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[Server]]:
    """Give three servers."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(contextlib.contextmanager(fresh_server)(f"it-fleet-{number}", RELEASES[0]))
            for number in range(3)
        ]


def results(play: Play, fleet: list[Server]) -> list[str]:
    """What the table at the end of a run says of each server."""
    table = play.output.split("DEPLOYS **", 1)[1]
    return [re.findall(rf"^{server.name} +\S+ +\S+ +\S+ +\S+ +(.*)$", table, re.MULTILINE)[0] for server in fleet]


def test_a_fleet(
    controller: Controller, fleet: list[Server], variables: Variables, application: Path, tmp_path: Path
) -> None:
    first, *others = fleet
    log = tmp_path / "hooks"
    for word in ("drain", "enroll"):
        (tmp_path / f"{word}.yml").write_text(HOOK.format(word=word, path=log))
        variables[f"gunicorn_{word}_tasks"] = str(tmp_path / f"{word}.yml")
    variables |= {"gunicorn_firewall": False, "gunicorn_firewall_enable": False, "gunicorn_serial": [1, "100%"]}
    code = application / "wsgi.py"
    good = code.read_text()

    # The first of all is down: the next one goes first.
    first.run("systemctl stop ssh.socket ssh.service")
    play = controller.play(fleet, variables)
    assert play.rc == 4, play.output
    assert results(play, fleet) == ["unreachable", "deployed", "deployed"]
    assert [server.get() for server in others] == ["Hello, World!"] * 2
    assert "NO MORE HOSTS LEFT" not in play.output
    ids = {server.name: server.run("readlink /opt/hello/current | cut -d/ -f2") for server in others}
    log.unlink()

    # Broken, but only where it would serve: after the host was drained.
    code.write_text(good + ONLY_ON_SITE)
    play = controller.play(fleet, variables)
    assert play.rc != 0
    old = ids[others[0].name]
    assert results(play, fleet) == ["unreachable", f"failed, {old} serves on", "not reached"]
    assert [line.split()[:2] for line in log.read_text().splitlines()] == [
        ["drain", others[0].name],
        ["enroll", others[0].name],
    ]
    assert others[0].get() == "Hello, World!"
    assert others[1].run("ls /opt/hello/releases") == ids[others[1].name], "it was not touched"

    # The good one, and the first host is back.
    code.write_text(good.replace("World", "Fleet"))
    first.run("systemctl start ssh.socket || systemctl start ssh.service")
    play = controller.play(fleet, variables)
    assert play, play.output
    assert results(play, fleet) == ["deployed"] * 3
    assert [server.get() for server in fleet] == ["Hello, Fleet!"] * 3

    # It is not wanted any more: away from the load balancer, the first host before the others.
    log.unlink()
    play = controller.play(fleet, variables, playbook=REMOVE)
    assert play, play.output
    assert results(play, fleet) == ["removed"] * 3
    drained = [line.split()[:2] for line in log.read_text().splitlines()]
    assert drained[0] == ["drain", first.name]
    assert sorted(drained[1:]) == [["drain", other.name] for other in others]
    assert [server.run("ls /opt") for server in fleet] == [""] * 3
    play = controller.play(fleet, variables, playbook=REMOVE)
    assert results(play, fleet) == ["unchanged"] * 3
