"""Deploys over SSH: what a user does after the first one, and what the users of the site see meanwhile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .conftest import ROOT, Controller, Load, Server

Variables = dict[str, Any]


def test_the_site_answers(site: Server) -> None:
    assert site.get() == "Hello, World!"


def test_a_run_with_nothing_to_do_executes_at_most_two_modules(
    controller: Controller, site: Server, variables: Variables
) -> None:
    play = controller.play(site, variables, "-vvv")
    assert play, play.output
    assert play.changed == 0, play.output
    executions = re.findall(r"SSH: EXEC", play.output)
    assert 1 <= len(executions) <= 2, play.output


def test_a_forced_run_changes_nothing_either(controller: Controller, site: Server, variables: Variables) -> None:
    before = site.state()
    play = controller.play(site, {**variables, "gunicorn_force": True})
    assert play, play.output
    for stage in ("Ship the code", "Write the configuration", "Write the units", "Let clients in"):
        assert stage in play.output, "force runs every stage"
    assert play.changed == 0, play.output
    assert site.state() == before


def test_the_same_commit_in_another_clone_is_the_same_generation(
    controller: Controller, site: Server, variables: Variables, application: Path
) -> None:
    (application / "__pycache__").mkdir()
    (application / "__pycache__" / "wsgi.cpython-311.pyc").write_bytes(b"x")
    (application / "empty").mkdir()
    (application / "wsgi.py").chmod(0o664)
    (application / "wsgi.py").touch()
    play = controller.play(site, variables)
    assert play, play.output
    assert play.changed == 0, play.output


def test_a_changed_line_is_live_and_nobody_notices(
    controller: Controller, site: Server, variables: Variables, application: Path
) -> None:
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("Hello, World!", "Hello, Mars!"))
    with Load(site.address) as load:
        play = controller.play(site, variables)
    assert play, play.output
    assert "Install Gunicorn and the requirements" not in play.output, "a change of the code builds no venv"
    assert load.failures == []
    assert load.bodies == {"Hello, World!", "Hello, Mars!"}
    assert load.longest_gap < 1.0
    assert site.get() == "Hello, Mars!"


def test_a_changed_setting_is_live_and_nobody_notices(
    controller: Controller, site: Server, variables: Variables
) -> None:
    with Load(site.address) as load:
        play = controller.play(site, {**variables, "gunicorn_settings": {"workers": 3}})
    assert play, play.output
    assert "Ship the code" not in play.output, "a change of a setting ships no code"
    assert load.failures == []
    assert load.longest_gap < 1.0
    main = site.run("systemctl show --property MainPID --value hello.service")
    assert len(site.run(f"cat /proc/{main}/task/{main}/children").split()) == 3


def test_another_port_moves_the_firewall_rule_along(
    controller: Controller, deployed: Server, variables: Variables
) -> None:
    play = controller.play(deployed, {**variables, "gunicorn_bind": ["0.0.0.0:9000"]})
    assert play, play.output
    assert deployed.get(port=9000) == "Hello, World!"
    rules = deployed.run("ufw status")
    assert "9000/tcp" in rules
    assert "8000/tcp" not in rules
    assert "22/tcp" in rules, "rules that aren't ours stay"
    assert ":8000" not in deployed.run("ss --listening --tcp --numeric")
    again = controller.play(deployed, {**variables, "gunicorn_bind": ["0.0.0.0:9000"]})
    assert again.changed == 0, again.output


def test_the_same_port_on_another_address(controller: Controller, site: Server, variables: Variables) -> None:
    both = {**variables, "gunicorn_bind": [f"{site.address}:8000", "127.0.0.1:8000"]}
    play = controller.play(site, both)
    assert play, play.output
    assert site.get() == "Hello, World!"
    again = controller.play(site, both)
    assert again.changed == 0, again.output


def test_one_more_address_and_one_less_under_load(controller: Controller, site: Server, variables: Variables) -> None:
    both = {**variables, "gunicorn_bind": ["0.0.0.0:8000", "127.0.0.2:8001"]}
    with Load(site.address) as load:
        play = controller.play(site, both)
    assert play, play.output
    assert load.bodies == {"Hello, World!"}
    assert load.longest_gap < 10, "the port is closed until the new slot gets it"
    assert controller.play(site, both).changed == 0

    with Load(site.address) as load:
        play = controller.play(site, variables)
    assert play, play.output
    assert load.failures == [], "to close an address interrupts no other"
    assert ":8001" not in site.run("ss --listening --tcp --numeric")
    assert controller.play(site, variables).changed == 0


def test_old_generations_are_pruned(controller: Controller, deployed: Server, variables: Variables) -> None:
    for workers in (1, 3, 4):
        settings = {"gunicorn_settings": {"workers": workers}, "gunicorn_keep_releases": 2}
        assert controller.play(deployed, {**variables, **settings})
    kept = deployed.run("ls /opt/hello/generations").split()
    assert len(kept) == 2
    for link in ("current", "previous"):
        assert deployed.run(f"basename $(readlink /opt/hello/{link})") in kept


def test_a_dead_site_comes_back(controller: Controller, site: Server, variables: Variables) -> None:
    site.run("systemctl stop hello.socket hello.service")
    play = controller.play(site, variables)
    assert play, play.output
    assert site.get() == "Hello, World!"
    assert controller.play(site, variables).changed == 0


def test_what_somebody_edited_by_hand_is_put_right(controller: Controller, site: Server, variables: Variables) -> None:
    site.run("echo 'workers = 1' >> /opt/hello/current/gunicorn.conf.py && systemctl restart hello")
    play = controller.play(site, variables)
    assert play, play.output
    assert "workers = 1\n" not in site.run("cat /opt/hello/current/gunicorn.conf.py")
    main = site.run("systemctl show --property MainPID --value hello.service")
    assert len(site.run(f"cat /proc/{main}/task/{main}/children").split()) == 2
    assert controller.play(site, variables).changed == 0


# A server's own copy of its Python, as somebody might have built one.
ANOTHER_PYTHON = """
set -e
real=$(readlink -f /usr/bin/python3)
mkdir -p /opt/python-x/bin /opt/python-x/lib
cp $real /opt/python-x/bin/
cp -r /usr/lib/${real##*/} /opt/python-x/lib/
ln -s ${real##*/} /opt/python-x/bin/python3
"""


def test_an_interpreter_that_is_upgraded_and_then_gone(
    controller: Controller, site: Server, variables: Variables
) -> None:
    site.run(ANOTHER_PYTHON)
    other = {**variables, "gunicorn_python": "/opt/python-x/bin/python3"}
    play = controller.play(site, other)
    assert play, play.output
    assert site.run("readlink -f /opt/hello/current/venv/bin/python").startswith("/opt/python-x/bin/python3.")
    before = site.run("readlink /opt/hello/current/venv")

    # Its version is a text in it, which gets another last digit.
    version = site.run("/opt/python-x/bin/python3 -c 'import platform; print(platform.python_version())'")
    upgraded = f"{version[:-1]}{(int(version[-1]) + 1) % 10}"
    site.run(f"sed -i 's/{re.escape(version)}/{upgraded}/g' $(readlink -f /opt/python-x/bin/python3)")
    with Load(site.address) as load:
        play = controller.play(site, other)
    assert play, play.output
    assert "Ship the code" not in play.output, "another interpreter copies no code"
    assert load.failures == []
    assert site.run("readlink /opt/hello/current/venv") != before
    assert f'"python": "{upgraded}"' in site.run("cat /opt/hello/current/generation.json")

    site.run("rm -r /opt/python-x")
    gone = controller.play(site, other)
    real = site.run("readlink -f /usr/bin/python3")
    assert not gone
    said = " ".join(gone.output.split())
    assert "gunicorn_python: got '/opt/python-x/bin/python3', which is not on the host." in said
    assert f"The host has {real}. Example: gunicorn_python: {real}" in said
    back = controller.play(site, {**variables, "gunicorn_release": "previous"})
    assert not back
    assert "the interpreter of its venv, /opt/python-x/bin/python3, is gone: install it again" in " ".join(
        back.output.split()
    )
    assert (gone.changed, back.changed) == (0, 0)
    assert site.get() == "Hello, World!"


def traces(server: Server) -> str:
    """What the application hello consists of on the server, and which processes it runs."""
    return server.run(
        "find /opt/hello /etc/systemd/system/hello* /var/lib/gunicorn/hello /var/log/gunicorn/hello"
        " -printf '%p %m %u %g %s %l %T@\\n' | sort;"
        "systemctl show --property MainPID,InvocationID,ActiveState hello.service hello.socket;"
        "getent passwd hello; ufw show added | grep -w hello"
    )


def test_two_applications_in_one_play(
    controller: Controller, site: Server, variables: Variables, tmp_path: Path
) -> None:
    playbook = tmp_path / "two.yml"
    playbook.write_text(
        """
- hosts: gunicorn
  gather_facts: false
  become: true
  roles:
    - role: pyweb.deploy.gunicorn
    - role: pyweb.deploy.gunicorn
      vars:
        gunicorn_name: second
        gunicorn_bind: ["0.0.0.0:8010"]
"""
    )
    before = traces(site)
    assert "ActiveState=active" in before
    play = controller.play(site, variables, playbook=str(playbook))
    assert play, play.output
    assert site.get(port=8000) == site.get(port=8010) == "Hello, World!"
    assert traces(site) == before, "the first one is left alone"
    again = controller.play(site, variables, playbook=str(playbook))
    assert again, again.output
    assert again.changed == 0, again.output

    playbook.write_text(playbook.read_text().replace("8010", "8000"))
    clash = controller.play(site, variables, "--check", playbook=str(playbook))
    assert not clash
    assert "'hello', another application of this run, listens on '0.0.0.0:8000'" in " ".join(clash.output.split())

    # A later run, and a new name: that is another application, and the old one has the port, stopped or not.
    site.run("systemctl stop second.socket second")
    state = site.state()
    sock = {**variables, "gunicorn_name": "renamed", "gunicorn_bind": ["127.0.0.1:8010"]}
    taken = controller.play(site, sock)
    assert not taken
    assert "got '127.0.0.1:8010', which the application 'second' of this host has" in " ".join(taken.output.split())
    assert taken.changed == 0
    assert site.state() == state

    removal = {"gunicorn_name": "second", "gunicorn_remove_data": True}
    removed = controller.play(site, removal, playbook=str(ROOT / "playbooks/remove.yml"))
    assert removed, removed.output
    assert (
        site.run("ls -d /opt/second /etc/systemd/system/second* 2>/dev/null; getent passwd second", check=False) == ""
    )
    assert "8010" not in site.run("ufw show added; ss --listening --tcp --numeric")
    assert traces(site) == before, "to remove one touches no other"
