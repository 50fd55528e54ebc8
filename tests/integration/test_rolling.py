"""A fleet in batches: a release that breaks on one host ends with its batch, one that is down catches up later."""

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
BATCHES = [2, 3, 3]
ONLY_ON_SITE = """
import os
if os.path.exists("/etc/broken") and not os.environ["RUNTIME_DIRECTORY"].endswith("-check"):
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
    """Give eight servers."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(contextlib.contextmanager(fresh_server)(f"it-fleet-{number}", RELEASES[0]))
            for number in range(sum(BATCHES))
        ]


def results(play: Play, fleet: list[Server]) -> list[str]:
    """What the table at the end of a run says of each server."""
    table = play.output.split("DEPLOYS **", 1)[1]
    return [re.findall(rf"^{server.name} +\S+ +\S+ +\S+ +\S+ +(.*)$", table, re.MULTILINE)[0] for server in fleet]


def told(log: Path, batches: list[list[Server]], *words: str) -> None:
    """The load balancer heard these words of each host, once in this order, and of one batch after the other."""
    lines = [tuple(line.split()[:2]) for line in log.read_text().splitlines()]
    log.unlink()
    for batch in batches:
        now, lines = lines[: len(batch) * len(words)], lines[len(batch) * len(words) :]
        assert {server.name: [word for word, name in now if name == server.name] for server in batch} == {
            server.name: list(words) for server in batch
        }
    assert lines == []


def test_a_fleet(
    controller: Controller, fleet: list[Server], variables: Variables, application: Path, tmp_path: Path
) -> None:
    first, *others = fleet
    batches = [fleet[:2], fleet[2:5], fleet[5:]]
    broken = fleet[3]
    log = tmp_path / "hooks"
    for word in ("drain", "enroll"):
        (tmp_path / f"{word}.yml").write_text(HOOK.format(word=word, path=log))
        variables[f"gunicorn_{word}_tasks"] = str(tmp_path / f"{word}.yml")
    variables |= {"gunicorn_firewall": False, "gunicorn_firewall_enable": False, "gunicorn_serial": BATCHES}
    code = application / "wsgi.py"
    good = code.read_text()

    # The first of all is down, which keeps nobody back.
    first.run("systemctl stop ssh.socket ssh.service")
    play = controller.play(fleet, variables)
    assert play.rc == 4, play.output
    assert results(play, fleet) == ["unreachable", *["deployed"] * 7]
    assert [server.get() for server in others] == ["Hello, World!"] * 7
    assert "NO MORE HOSTS LEFT" not in play.output
    told(log, [others[:2], others[2:5], others[5:]], "drain", "enroll")
    old = broken.run("readlink /opt/hello/current | cut -d/ -f2")
    untouched = [server.state() for server in batches[2]]

    # It is back. Another release breaks on one host of the second batch, where it would serve: after it was drained.
    first.run("systemctl start ssh.socket || systemctl start ssh.service")
    broken.run("touch /etc/broken")
    code.write_text(good.replace("World", "Fleet") + ONLY_ON_SITE)
    play = controller.play(fleet, variables)
    assert play.rc == 2, play.output
    served = ["deployed", f"failed, {old} serves on: RuntimeError: not here", "deployed"]
    assert results(play, fleet) == ["deployed", "deployed", *served, *["not reached"] * 3]
    failed = re.findall(r"^(?:fatal|failed): \[([^]]+)\]", play.output, re.MULTILINE)
    assert failed == [broken.name], "one failing task"
    assert f": [{broken.name}]" not in play.output.split(f"fatal: [{broken.name}]")[1], "the last one"
    told(log, batches[:2], "drain", "enroll")
    assert [server.get() for server in batches[0]] == ["Hello, Fleet!"] * 2
    assert [server.get() for server in batches[1]] == ["Hello, Fleet!", "Hello, World!", "Hello, Fleet!"]
    assert [server.state() for server in batches[2]] == untouched

    # The next one works everywhere.
    code.write_text(good.replace("World", "Moon"))
    play = controller.play(fleet, variables)
    assert play, play.output
    assert results(play, fleet) == ["deployed"] * 8
    assert [server.get() for server in fleet] == ["Hello, Moon!"] * 8
    log.unlink()

    # It is not wanted any more: away from the load balancer, one batch after the other.
    play = controller.play(fleet, variables, playbook=REMOVE)
    assert play, play.output
    assert results(play, fleet) == ["removed"] * 8
    told(log, batches, "drain")
    assert [server.run("ls /opt") for server in fleet] == [""] * 8
    play = controller.play(fleet, variables, playbook=REMOVE)
    assert results(play, fleet) == ["unchanged"] * 8
