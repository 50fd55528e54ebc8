"""Unusual ways to reach a server and to run Ansible: each deploys, repeats itself and predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, Play, fresh_server

from .conftest import APPLICATION, ROOT, Controller, Server, slot

pytestmark = pytest.mark.full

Run = Callable[..., Play]

VALUE = "the-only-copy-of-it"
FACTS = """
- name: A play that gathers facts
  hosts: gunicorn
  become: true
  gather_facts: true
  roles: [pyweb.deploy.gunicorn]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give the server that all of them deploy to."""
    yield from fresh_server("it-ways", RELEASES[-1])


@pytest.fixture
def run(controller: Controller, server: Server, variables: dict[str, Any]) -> Run:
    """Give a function that runs a playbook with these variables."""

    def play(*arguments: str, more: dict[str, Any] | None = None, **options: Any) -> Play:
        return controller.play(server, {**variables, **(more or {})}, *arguments, **options)

    return play


def write(application: Path, word: str) -> None:
    """Write an application that says this word."""
    text = (APPLICATION / "wsgi.py").read_text()
    (application / "wsgi.py").write_text(text.replace("World", word))


def in_each_mode(server: Server, application: Path, word: str, run: Run) -> None:
    """Deploy new code, deploy it again, and predict a change; each does what it does in the usual way."""
    write(application, word)
    play = run()
    assert play, play.output
    assert play.changed > 0
    assert server.get() == f"Hello, {word}!"

    again = run()
    assert (again.rc, again.changed) == (0, 0), again.output

    write(application, "Nobody")
    before = server.state()
    check = run("--check")
    assert check, check.output
    assert check.changed > 0
    assert server.state() == before
    assert server.get() == f"Hello, {word}!"


def test_a_first_deploy_through_docker(run: Run, server: Server, application: Path) -> None:
    """The host is no SSH server to Ansible, so the role has to find out by itself how others reach it."""
    docker = {"ansible_connection": "community.docker.docker", "ansible_host": f"pyweb-{server.name}"}
    in_each_mode(server, application, "Docker", lambda *arguments: run(*arguments, more=docker))
    assert run("--check", "-vvv", more=docker).executions == 0, "nothing came over SSH"
    assert "22/tcp" in server.run("ufw status"), "whoever administrates it comes by SSH"
    write(application, "Docker")
    usual = run()
    assert (usual.rc, usual.changed) == (0, 0), f"over SSH it is the same server: {usual.output}"


def test_without_pipelining(run: Run, server: Server, application: Path) -> None:
    """Secrets travel through a pipe all the same."""
    secrets = {"gunicorn_secrets": {"TOKEN": VALUE}}
    off = {"ANSIBLE_PIPELINING": "0"}
    in_each_mode(server, application, "Files", lambda *arguments: run(*arguments, more=secrets, environment=off))
    credential = f"/run/credentials/{slot(server)}/TOKEN"
    assert server.run(f"cat {credential}") == VALUE
    assert server.holding(VALUE).splitlines() == [credential], "it is in no file that Ansible copied"
    write(application, "Files")
    assert " PUT " not in run("-vvv", more=secrets).output
    assert " PUT " in run("-vvv", more=secrets, environment=off).output, "Ansible did copy its modules as files"


def test_where_files_of_modules_are_kept_secrets_are_refused(run: Run, server: Server, application: Path) -> None:
    write(application, "Kept")
    before = server.get()
    secrets = {"gunicorn_secrets": {"TOKEN": VALUE + "-kept"}}
    play = run(more=secrets, environment={"ANSIBLE_KEEP_REMOTE_FILES": "1"})
    assert play.rc == 2, play.output
    assert "gunicorn_secrets: got values, but" in play.said
    assert server.holding(VALUE + "-kept") == ""
    assert server.get() == before
    server.run("rm -rf /home/deploy/.ansible/tmp /root/.ansible/tmp")


def test_a_persistent_fact_cache(run: Run, server: Server, application: Path, tmp_path: Path) -> None:
    """What a run has found out is not what the next one acts upon."""
    facts = tmp_path / "facts"
    cache = {
        "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(facts),
        "ANSIBLE_GATHERING": "smart",
    }
    playbook = tmp_path / "site.yml"
    playbook.write_text(FACTS)

    def cached(*arguments: str) -> Play:
        return run(*arguments, environment=cache, playbook=str(playbook))

    in_each_mode(server, application, "Cache", cached)
    assert [file for file in facts.iterdir() if "ansible_distribution" in file.read_text()], "it was used"
    in_each_mode(server, application, "Later", cached)
    server.run("rm /opt/hello/current")
    write(application, "Later")
    fixed = cached()
    assert fixed, fixed.output
    assert server.run("test -e /opt/hello/current/release.json && echo there") == "there", "it looked again"


def test_the_strategy_free(run: Run, server: Server, application: Path) -> None:
    free = {"ANSIBLE_STRATEGY": "free"}
    in_each_mode(server, application, "Free", lambda *arguments: run(*arguments, environment=free))


@pytest.fixture
def without_dbus(server: Server) -> Iterator[Server]:
    """Give the server without the message bus, as a minimal one is; systemctl speaks with systemd itself then."""
    server.run("systemctl mask --now dbus.socket dbus.service && rm -f /run/dbus/system_bus_socket")
    yield server
    server.run("systemctl unmask dbus.socket dbus.service && systemctl start dbus.socket")


def test_a_server_without_dbus(run: Run, without_dbus: Server, application: Path) -> None:
    in_each_mode(without_dbus, application, "Silence", run)
    before = without_dbus.run("readlink /opt/hello/current")
    write(application, "Quiet")
    play = run()
    assert play, play.output
    assert without_dbus.get() == "Hello, Quiet!"
    back = run(playbook=str(ROOT / "playbooks" / "rollback.yml"))
    assert back, back.output
    assert without_dbus.run("readlink /opt/hello/current") == before
    assert without_dbus.get() == "Hello, Silence!"
    assert without_dbus.run("ls /run/dbus/system_bus_socket 2>/dev/null", check=False) == "", "it was away all the time"
