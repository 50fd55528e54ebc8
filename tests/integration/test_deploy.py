"""Deploys over SSH: what a user does after the first one, and what the users of the site see meanwhile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .conftest import Controller, Load, Server

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


def test_another_port_moves_the_firewall_rule_along(controller: Controller, site: Server, variables: Variables) -> None:
    play = controller.play(site, {**variables, "gunicorn_bind": ["0.0.0.0:9000"]})
    assert play, play.output
    assert site.get(port=9000) == "Hello, World!"
    rules = site.run("ufw status")
    assert "9000/tcp" in rules
    assert "8000/tcp" not in rules
    assert "22/tcp" in rules, "rules that aren't ours stay"
    assert ":8000" not in site.run("ss --listening --tcp --numeric")
    again = controller.play(site, {**variables, "gunicorn_bind": ["0.0.0.0:9000"]})
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


def test_old_generations_are_pruned(controller: Controller, site: Server, variables: Variables) -> None:
    for workers in (1, 2, 4):
        settings = {"gunicorn_settings": {"workers": workers}, "gunicorn_keep_releases": 2}
        assert controller.play(site, {**variables, **settings})
    kept = site.run("ls /opt/hello/generations").split()
    assert len(kept) == 2
    for link in ("current", "previous"):
        assert site.run(f"basename $(readlink /opt/hello/{link})") in kept


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
    assert len(site.run(f"cat /proc/{main}/task/{main}/children").split()) == 2 * int(site.run("nproc")) + 1
    assert controller.play(site, variables).changed == 0


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
    before = site.run("systemctl show --property MainPID --value hello.service")
    play = controller.play(site, variables, playbook=str(playbook))
    assert play, play.output
    assert site.get(port=8000) == site.get(port=8010) == "Hello, World!"
    assert site.run("systemctl show --property MainPID --value hello.service") == before, "the first one is left alone"
    again = controller.play(site, variables, playbook=str(playbook))
    assert again, again.output
    assert again.changed == 0, again.output

    playbook.write_text(playbook.read_text().replace("8010", "8000"))
    clash = controller.play(site, variables, "--check", playbook=str(playbook))
    assert not clash
    assert "'hello', another application of this run, listens on '0.0.0.0:8000'" in " ".join(clash.output.split())
