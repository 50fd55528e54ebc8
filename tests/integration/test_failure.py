"""Releases that don't work and input that can't: what the user reads, and that the site goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .conftest import Controller, Load, Server

Variables = dict[str, Any]


def test_an_import_error_never_reaches_the_site(
    controller: Controller, deployed: Server, variables: Variables, application: Path
) -> None:
    good = (application / "wsgi.py").read_text()
    live = deployed.run("readlink /opt/hello/current")
    (application / "wsgi.py").write_text("import a_module_that_nobody_has\n" + good)
    with Load(deployed.address) as load:
        play = controller.play(deployed, variables)
    assert not play
    assert "ModuleNotFoundError: No module named 'a_module_that_nobody_has'" in play.output
    assert "wsgi.py" in play.output, "the traceback tells where"
    assert "goes on serving" in play.output
    assert load.failures == []
    assert load.bodies == {"Hello, World!"}
    assert deployed.run("readlink /opt/hello/current") == live
    assert deployed.run("systemctl is-active hello-check.service", check=False) in ("inactive", "failed")

    (application / "wsgi.py").write_text(good.replace("World", "Venus"))
    assert controller.play(deployed, variables)
    assert deployed.get() == "Hello, Venus!"


@pytest.mark.parametrize(
    ("change", "code", "cause"),
    [
        ({}, "def broken(:\n", "SyntaxError"),
        ({"gunicorn_settings": {"worker": 4}}, "", "unknown setting 'worker'; did you mean 'workers'?"),
        ({"gunicorn_settings": {"workers": "many"}}, "", "many"),
        ({"gunicorn_settings": {"loglevel": "loud"}}, "", "loglevel"),
        ({"gunicorn_health": {"path": "/nothing", "timeout": 3}}, "", "answered 404, not 200"),
        ({"gunicorn_health": {"path": "/", "expect": "Goodbye", "timeout": 3}}, "", "doesn't hold 'Goodbye'"),
        ({"gunicorn_wsgi_app": "wsgi:application"}, "", "application"),
    ],
    ids=["syntax", "unknown setting", "wrong type", "log level", "status", "body", "no such callable"],
)
def test_what_is_broken_is_named_and_the_site_goes_on(
    controller: Controller,
    deployed: Server,
    variables: Variables,
    application: Path,
    change: Variables,
    code: str,
    cause: str,
) -> None:
    (application / "wsgi.py").write_text((application / "wsgi.py").read_text() + code)
    with Load(deployed.address) as load:
        play = controller.play(deployed, {**variables, **change})
    assert not play
    assert cause in play.output, play.output
    assert load.failures == []


def test_what_breaks_only_beside_the_old_one_is_stopped_again(
    controller: Controller, deployed: Server, variables: Variables, application: Path
) -> None:
    good = (application / "wsgi.py").read_text()
    test = "import os\nif not os.environ['RUNTIME_DIRECTORY'].endswith('-check'):\n    raise RuntimeError('not here')\n"
    (application / "wsgi.py").write_text(test + good)
    with Load(deployed.address) as load:
        play = controller.play(deployed, variables)
    assert not play
    assert "RuntimeError: not here" in play.output
    assert load.failures == []
    assert deployed.run("systemctl is-active hello-blue hello-green", check=False).split().count("active") == 1
    assert "RuntimeError: not here" in deployed.run("cat /opt/hello/generations/*/failed")


def test_broken_releases_do_not_eat_the_history(
    controller: Controller, deployed: Server, variables: Variables, application: Path
) -> None:
    good = (application / "wsgi.py").read_text()
    settings = {**variables, "gunicorn_keep_releases": 2}
    (application / "wsgi.py").write_text(good.replace("World", "Ceres"))
    assert controller.play(deployed, settings)
    before = {deployed.run(f"basename $(readlink /opt/hello/{link})") for link in ("current", "previous")}
    for number in (1, 2):
        (application / "wsgi.py").write_text(good + f"raise RuntimeError({number})\n")
        assert not controller.play(deployed, settings)
        assert before <= set(deployed.run("ls /opt/hello/generations").split())
    (application / "wsgi.py").write_text(good.replace("World", "Ceres"))
    assert controller.play(deployed, settings)
    assert set(deployed.run("ls /opt/hello/generations").split()) == before, (
        "what never served is gone, what did is there"
    )


def test_a_first_deploy_that_fails_leaves_nothing_that_runs(
    controller: Controller, server: Server, variables: Variables, application: Path
) -> None:
    (application / "wsgi.py").write_text("raise RuntimeError('not today')\n")
    broken = {**variables, "gunicorn_name": "stillborn", "gunicorn_bind": ["0.0.0.0:8020"]}
    play = controller.play(server, broken)
    assert not play
    assert "RuntimeError: not today" in play.output
    assert "Nothing served before" in play.output
    assert ":8020" not in server.run("ss --listening --tcp --numeric")
    assert server.run("systemctl is-active stillborn.socket stillborn.service", check=False).split() == ["inactive"] * 2


def test_an_index_out_of_reach_touches_nothing_that_runs(
    controller: Controller, deployed: Server, variables: Variables, tmp_path: Path
) -> None:
    playbook = tmp_path / "no-index.yml"
    playbook.write_text(
        """
- hosts: gunicorn
  gather_facts: false
  become: true
  environment: {PIP_INDEX_URL: "http://127.0.0.1:9/simple", PIP_RETRIES: "0", PIP_NO_CACHE_DIR: "1"}
  roles: [pyweb.deploy.gunicorn]
"""
    )
    with Load(deployed.address) as load:
        play = controller.play(deployed, {**variables, "gunicorn_packages": ["blinker==1.9.0"]}, playbook=str(playbook))
    assert not play
    assert "gunicorn_packages" in play.output
    assert "blinker==1.9.0" in play.output
    assert "Nothing that runs was touched" in play.output
    assert load.failures == []

    assert controller.play(deployed, {**variables, "gunicorn_packages": ["blinker==1.9.0"]}), "the next run builds it"
    assert deployed.get() == "Hello, World!"


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        ({"gunicorn_name": "../x"}, ["gunicorn_name", "'../x'", "gunicorn_name: shop"]),
        ({"gunicorn_name": ""}, ["gunicorn_name", "gunicorn_name: shop"]),
        ({"gunicorn_name": "games"}, ["gunicorn_name", "'games'", "a user of that name", "games-web"]),
        ({"gunicorn_name": "ssh"}, ["gunicorn_name", "'ssh'", "ssh.service", "ssh-web"]),
        ({"gunicorn_wsgi_app": "wsgi.py"}, ["gunicorn_wsgi_app", "'wsgi.py'", '"wsgi:app"']),
        ({"gunicorn_wsgi_app": "shop:app"}, ["gunicorn_wsgi_app", "shop.py"]),
        ({"gunicorn_bind": ["0.0.0.0:80000"]}, ["gunicorn_bind", "80000", "1 to 65535"]),
        ({"gunicorn_bind": ["localhost"]}, ["gunicorn_bind", "localhost", "0.0.0.0:8000"]),
        ({"gunicorn_bind": ["0.0.0.0:22"]}, ["gunicorn_bind", "'0.0.0.0:22'", "sshd of ssh.service"]),
        ({"gunicorn_source": {"directory": "/nowhere"}}, ["gunicorn_source", "/nowhere", "not a directory"]),
        ({"gunicorn_source": {}}, ["gunicorn_source", "Example:"]),
        ({"gunicorn_settings": "workers=4"}, ["gunicorn_settings", "'workers=4'", "{workers: 4, timeout: 60}"]),
        (
            {"gunicorn_python": "python3.1"},
            ["gunicorn_python: got", "python3.1", "gunicorn_python: /usr/bin/python3.11"],
        ),
        (
            {"gunicorn_user": "nobody-here", "gunicorn_wsgi_app": "shop:app", "gunicorn_workers": 4}
            | {"gunicorn_settings": {"workers": "{{ gunicorn_workers }}"}},
            ["gunicorn_user", "'nobody-here'", "there is no shop.py"],
        ),
        (
            {"gunicorn_name": "A B", "gunicorn_bind": 8000, "gunicorn_keep_releases": 0, "gunicorn_workers": 4}
            | {"gunicorn_source": [], "gunicorn_health": {"pth": "/"}, "gunicorn_user": None, "gunicorn_settings": {}},
            [
                *(
                    "gunicorn_name: got",
                    "gunicorn_bind: got 8000",
                    "gunicorn_keep_releases: got",
                    "gunicorn_source: got []",
                ),
                *(
                    "unknown key 'pth'; did you mean 'path'?",
                    "gunicorn_user: got None",
                    "gunicorn_workers: the role has no",
                ),
            ],
        ),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, dict) else "",
)
def test_bad_input_is_refused_before_the_host_changes(
    controller: Controller, fresh: Server, variables: Variables, change: Variables, messages: list[str]
) -> None:
    before = fresh.state()
    play = controller.play(fresh, {**variables, **change})
    assert not play
    for message in messages:
        assert message in play.output, play.output
    assert play.changed == 0
    assert fresh.state() == before


def test_an_unsupported_system_is_refused(controller: Controller, fresh: Server, variables: Variables) -> None:
    fresh.run("cp --remove-destination /usr/lib/os-release /etc/os-release")
    for name, value in {"VERSION_ID": "11", "PRETTY_NAME": "Debian 11"}.items():
        fresh.run(f"sed -i 's/^{name}=.*/{name}=\"{value}\"/' /etc/os-release")
    try:
        before = fresh.state()
        play = controller.play(fresh, variables)
        assert not play
        assert "Debian 11" in play.output
        assert "debian 12, 13" in play.output
        assert fresh.state() == before
    finally:
        fresh.run("ln -sf ../usr/lib/os-release /etc/os-release")
