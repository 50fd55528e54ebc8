"""The life of an application, from the first deploy to a server that has nothing, to its removal.

The steps follow each other on one server. What a run costs is counted, since seconds are noisy: see budget.yml.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, Play, fresh_server

from .conftest import APPLICATION, ROOT, Controller, Load, Server, costs, main_pid, workers

REMOVE, ROLLBACK = (str(ROOT / "playbooks" / f"{name}.yml") for name in ("remove", "rollback"))
CODE, VENVS, HISTORY = (f"/opt/hello/{name}" for name in ("code", "venvs", "releases"))
LOCK = "/run/pyweb.deploy/hello.lock"

Variables = dict[str, Any]


@pytest.fixture(scope="module")
def bare() -> Iterator[Server]:
    """Give a server on which nothing was deployed."""
    yield from fresh_server("it-deploy", RELEASES[-1], bare=True)


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the application as the steps before left it."""
    return Path(shutil.copytree(APPLICATION, tmp_path_factory.mktemp("life") / "application"))


@pytest.fixture(scope="module")
def variables(application: Path) -> Variables:
    """Give the variables as the steps before left them."""
    return {
        "gunicorn_name": "hello",
        "gunicorn_source": {"directory": str(application)},
        "gunicorn_bind": ["0.0.0.0:8000"],
        "gunicorn_health": {"path": "/healthz", "watch": 0},
        "gunicorn_settings": {"workers": 2},
        "gunicorn_firewall_enable": True,
    }


@pytest.fixture(scope="module")
def site(controller: Controller, bare: Server, variables: Variables) -> Server:
    """Give the server with the application as the steps before left it."""
    if not bare.run("readlink /opt/hello/current", check=False):
        play = controller.play(bare, variables)
        assert play, play.output
    return bare


@pytest.fixture(scope="module")
def newer(controller: Controller, site: Server, variables: Variables, application: Path) -> Play:
    """Deploy other code, another package and another setting, to be taken back: the user's files stay as they were."""
    code = application / "wsgi.py"
    good = code.read_text()
    code.write_text("import itsdangerous\n" + re.sub("Hello, [A-Z][a-z]+", "Hello, Janus", good))
    change = {"gunicorn_packages": ["itsdangerous==2.2.0"], "gunicorn_settings": {"workers": 4}}
    variables["gunicorn_keep_releases"] = 2  # part of the policy, which doesn't go back
    play = controller.play(site, {**variables, **change}, "-vvv")
    code.write_text(good)
    assert play, play.output
    return play


def greeting(application: Path) -> str:
    """Give what the user's code answers."""
    return str(re.findall("Hello, [A-Z][a-z]+!", (application / "wsgi.py").read_text())[0])


def release(server: Server, link: str = "current") -> str:
    return server.run(f"basename $(readlink /opt/hello/{link})")


def listening(server: Server) -> str:
    return server.run("ss --listening --tcp --numeric")


def nothing_to_do(controller: Controller, server: Server, variables: Variables) -> None:
    play = controller.play(server, variables)
    assert play, play.output
    assert play.changed == 0, play.output


def test_the_first_deploy(controller: Controller, bare: Server, variables: Variables) -> None:
    costs("first deploy", controller.play(bare, variables, "-vvv"))
    assert bare.get() == "Hello, World!"


def test_a_run_with_nothing_to_do(controller: Controller, site: Server, variables: Variables) -> None:
    site.run(f"rm -f {LOCK}")
    play = controller.play(site, variables, "-vvv")
    costs("nothing to do", play)
    assert play.changed == 0, play.output
    assert site.run(f"ls {LOCK}", check=False) == "", "it needs no lock"


def test_what_nothing_needs_goes_without_a_deploy(controller: Controller, site: Server, variables: Variables) -> None:
    before = site.state()
    site.run(f"mkdir -p {VENVS}/half/bin {CODE}/half && touch {CODE}/half/wsgi.py")
    costs("only pruning", controller.play(site, variables, "-vvv"))
    assert site.state() == before


def test_the_same_commit_in_another_clone_is_the_same_release(
    controller: Controller, site: Server, variables: Variables, application: Path
) -> None:
    (application / "__pycache__").mkdir()
    (application / "__pycache__" / "wsgi.cpython-311.pyc").write_bytes(b"x")
    (application / "empty").mkdir()
    (application / "wsgi.py").chmod(0o664)
    (application / "wsgi.py").touch()
    nothing_to_do(controller, site, variables)


def test_a_forced_run_restores_what_no_other_run_looks_at(
    controller: Controller, site: Server, variables: Variables
) -> None:
    before = site.state()
    site.run(f"chmod 755 /opt/hello && chmod 775 {CODE} && rm -r {VENVS}/*/lib/python3*/site-packages/blinker*")
    assert site.state() != before
    nothing_to_do(controller, site, variables)
    play = controller.play(site, {**variables, "gunicorn_force": True})
    assert play, play.output
    assert site.state() == before


def test_a_forced_run_goes_through_all_stages_and_changes_nothing(
    controller: Controller, site: Server, variables: Variables
) -> None:
    before = site.state()
    play = controller.play(site, {**variables, "gunicorn_force": True}, "-vvv")
    costs("forced", play)
    assert play.changed == 0, play.output
    assert site.state() == before


def test_a_changed_line_builds_no_venv(
    controller: Controller, site: Server, variables: Variables, application: Path
) -> None:
    venvs, code = site.stamps(VENVS), application / "wsgi.py"
    code.write_text(code.read_text().replace("Hello, World!", "Hello, Mars!"))
    costs("new code", controller.play(site, variables, "-vvv"))
    assert site.get() == "Hello, Mars!"
    assert site.stamps(VENVS) == venvs
    states = site.run("systemctl is-active hello-blue hello-green hello-check", check=False).split()
    assert sorted(states) == ["active", "inactive", "inactive"], "the old slot and the check have stopped"


def test_a_changed_setting_ships_no_code(controller: Controller, site: Server, variables: Variables) -> None:
    before = site.stamps(CODE, VENVS)
    variables["gunicorn_settings"] = {"workers": 3}
    costs("another setting", controller.play(site, variables, "-vvv"))
    assert len(workers(site)) == 3
    assert site.stamps(CODE, VENVS) == before


def test_a_changed_health_check_is_asked_and_kept(controller: Controller, site: Server, variables: Variables) -> None:
    before = release(site), site.stamps(CODE, VENVS), main_pid(site)
    health = {**variables["gunicorn_health"], "path": "/"}
    costs("a changed policy", controller.play(site, {**variables, "gunicorn_health": health}, "-vvv"))
    wrong = controller.play(site, {**variables, "gunicorn_health": {"path": "/no/such/path"}})
    assert not wrong
    assert "GET /no/such/path answered 404, not 200" in wrong.output
    assert '"path": "/"' in site.run("cat /opt/hello/policy.json")
    again = controller.play(site, variables)
    assert again, again.output
    assert (release(site), site.stamps(CODE, VENVS), main_pid(site)) == before


def test_code_packages_and_settings_in_one_release(site: Server, newer: Play) -> None:
    assert newer.changed > 0
    assert site.get() == "Hello, Janus!"
    assert len(workers(site)) == 4


@pytest.mark.usefixtures("newer")
def test_old_releases_are_pruned(site: Server) -> None:
    kept = {release(site), release(site, "previous")}
    assert set(site.run(f"ls {HISTORY}").split()) == kept
    for part, place in (("code", CODE), ("venv", VENVS)):
        used = {site.run(f"basename $(readlink {HISTORY}/{each}/{part})") for each in kept}
        assert set(site.run(f"ls {place}").split()) == used


def test_back_to_the_previous_one_without_an_index_or_the_source(
    controller: Controller, site: Server, variables: Variables, application: Path, newer: Play
) -> None:
    before, current = release(site, "previous"), release(site)
    built, rules = site.stamps(CODE, VENVS, HISTORY), site.run("ufw status")
    site.run("cp /etc/hosts /root/hosts && printf '127.0.0.1 pypi.org files.pythonhosted.org\\n' >> /etc/hosts")
    try:
        with Load(site.address) as load:
            play = controller.play(site, {"gunicorn_name": "hello"}, "-vvv", playbook=ROLLBACK)
    finally:
        site.run("cat /root/hosts > /etc/hosts")
    costs("going back", play)
    print(f"\nrolled back in {play.seconds:.1f} s, and the deploy before took {newer.seconds:.1f} s")
    assert play.seconds < newer.seconds
    assert load.failures == []
    assert load.bodies == {"Hello, Janus!", greeting(application)}
    assert site.get() == greeting(application)
    assert (release(site), release(site, "previous")) == (before, current)
    assert site.stamps(CODE, VENVS, HISTORY) == built, "nothing is shipped, built or written"
    assert site.run("ufw status") == rules
    nothing_to_do(controller, site, variables)


@pytest.mark.usefixtures("newer")
def test_an_earlier_release_that_no_longer_works_does_not_take_over(controller: Controller, site: Server) -> None:
    code = site.run(f"readlink -f {HISTORY}/{release(site, 'previous')}/code")
    body, current, process = site.get(), release(site), main_pid(site)
    site.run(f"mv {code}/wsgi.py {code}/away.py")
    play = controller.play(site, {"gunicorn_name": "hello"}, playbook=ROLLBACK)
    site.run(f"mv {code}/away.py {code}/wsgi.py")
    assert not play
    assert "No module named 'wsgi'" in play.output
    assert (site.get(), release(site), main_pid(site)) == (body, current, process)


def test_what_is_not_there_can_not_be_gone_back_to(controller: Controller, site: Server, variables: Variables) -> None:
    before = site.state()
    play = controller.play(site, {**variables, "gunicorn_release": "0123456789ab"})
    assert not play
    assert (
        "gunicorn_release: got '0123456789ab', which is not on the host. "
        "It accepts `previous` or a release that has served"
    ) in play.said.replace("''", "'")
    assert site.state() == before


def test_a_dead_site_comes_back(controller: Controller, site: Server, variables: Variables) -> None:
    body = site.get()
    site.run("systemctl stop hello.socket hello.service")
    play = controller.play(site, variables)
    assert play, play.output
    assert site.get() == body
    nothing_to_do(controller, site, variables)


def test_what_somebody_edited_by_hand_is_put_right(controller: Controller, site: Server, variables: Variables) -> None:
    wanted = site.run("cat /opt/hello/current/gunicorn.conf.py")
    site.run("echo 'workers = 1' >> /opt/hello/current/gunicorn.conf.py && systemctl restart hello")
    play = controller.play(site, variables)
    assert play, play.output
    assert site.run("cat /opt/hello/current/gunicorn.conf.py") == wanted
    assert len(workers(site)) == variables["gunicorn_settings"]["workers"]
    nothing_to_do(controller, site, variables)


def test_another_port_moves_the_firewall_rule_along(controller: Controller, site: Server, variables: Variables) -> None:
    body = site.get()
    variables["gunicorn_bind"] = ["0.0.0.0:9000"]
    play = controller.play(site, variables)
    assert play, play.output
    assert site.get(port=9000) == body
    rules = site.run("ufw status")
    assert "9000/tcp" in rules
    assert "8000/tcp" not in rules
    assert "22/tcp" in rules, "rules that aren't ours stay"
    assert ":8000" not in listening(site)
    nothing_to_do(controller, site, variables)


def test_one_more_address(controller: Controller, site: Server, variables: Variables) -> None:
    (address,) = variables["gunicorn_bind"]
    port = int(address.split(":")[1])
    body = site.get(port=port)
    variables["gunicorn_bind"] = [address, "127.0.0.2:8001"]
    with Load(site.address, port) as load:
        play = controller.play(site, variables)
    assert play, play.output
    assert "127.0.0.2:8001" in listening(site)
    assert load.bodies == {body}
    assert load.longest_gap < play.seconds / 2, "the port is closed only from the stop of the old slot to the new one"
    nothing_to_do(controller, site, variables)


def test_one_address_less_interrupts_no_other(controller: Controller, site: Server, variables: Variables) -> None:
    address, *_others = variables["gunicorn_bind"]
    variables["gunicorn_bind"] = [address]
    with Load(site.address, int(address.split(":")[1])) as load:
        play = controller.play(site, variables)
    assert play, play.output
    assert load.failures == []
    assert ":8001" not in listening(site)
    nothing_to_do(controller, site, variables)


def traces(server: Server, name: str) -> str:
    """What an application consists of on the server, and which processes it runs."""
    return server.run(
        f"find /opt/{name} /etc/systemd/system/{name}* /var/lib/gunicorn/{name} /var/log/gunicorn/{name}"
        " -printf '%p %m %u %g %s %l %T@\\n' | sort;"
        f"systemctl show --property MainPID,InvocationID,ActiveState {name}.service {name}.socket;"
        f"getent passwd {name}; ufw show added | grep -w {name}"
    )


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Give a playbook with two applications of the same source."""
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
    return playbook


@pytest.fixture
def second(controller: Controller, site: Server, variables: Variables, two: Path) -> None:
    """Have the second application on the server."""
    if not site.run("readlink /opt/second/current", check=False):
        play = controller.play(site, variables, playbook=str(two))
        assert play, play.output


def test_two_applications_in_one_play(
    controller: Controller, site: Server, variables: Variables, application: Path, two: Path
) -> None:
    before = traces(site, "hello")
    assert before.count("ActiveState=active") == 2
    play = controller.play(site, variables, playbook=str(two))
    assert play, play.output
    assert site.get(port=8010) == greeting(application)
    assert traces(site, "hello") == before, "the first one is left alone"
    again = controller.play(site, variables, playbook=str(two))
    assert again, again.output
    assert again.changed == 0, again.output


def test_two_applications_of_a_run_with_one_address(
    controller: Controller, site: Server, variables: Variables, two: Path
) -> None:
    (address,) = variables["gunicorn_bind"]
    two.write_text(two.read_text().replace("0.0.0.0:8010", address))
    play = controller.play(site, variables, "--check", playbook=str(two))
    assert not play
    assert f"'hello', another application of this run, listens on '{address}'" in play.said


@pytest.mark.usefixtures("second")
def test_a_new_name_is_another_application(controller: Controller, site: Server, variables: Variables) -> None:
    """The old one has the port, stopped or not."""
    site.run("systemctl stop second.socket second")
    before = site.state()
    play = controller.play(site, {**variables, "gunicorn_name": "renamed", "gunicorn_bind": ["127.0.0.1:8010"]})
    assert not play
    assert "got '127.0.0.1:8010', which the application 'second' of this host has" in play.said
    assert play.changed == 0
    assert site.state() == before
    site.run("systemctl start second.socket second")


@pytest.mark.usefixtures("newer", "second")
def test_removal_touches_no_other_application(controller: Controller, site: Server, variables: Variables) -> None:
    before = traces(site, "second")
    assert before.count("ActiveState=active") == 2
    costs("removal", controller.play(site, variables, "-vvv", playbook=REMOVE))
    assert site.run("ls -d /opt/hello /etc/systemd/system/hello*; getent passwd hello", check=False) == ""
    (address,) = variables["gunicorn_bind"]
    assert address.split(":")[1] not in site.run("ufw show added") + listening(site)
    assert traces(site, "second") == before


# What takes its own deploys, after the removal.


@pytest.fixture
def again(controller: Controller, bare: Server, variables: Variables) -> Server:
    """Give the server with the application deployed once more."""
    variables["gunicorn_bind"] = ["0.0.0.0:8000"]
    play = controller.play(bare, variables)
    assert play, play.output
    return bare


@pytest.mark.full
def test_the_same_port_on_another_address(controller: Controller, again: Server, variables: Variables) -> None:
    body = again.get()
    both = {**variables, "gunicorn_bind": [f"{again.address}:8000", "127.0.0.1:8000"]}
    play = controller.play(again, both)
    assert play, play.output
    assert again.get() == body
    nothing_to_do(controller, again, both)


# A server's own copy of its Python, as somebody might have built one.
ANOTHER_PYTHON = """
set -e
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends python3-venv >&2
real=$(readlink -f /usr/bin/python3)
mkdir -p /opt/python-x/bin /opt/python-x/lib
cp $real /opt/python-x/bin/
cp -r /usr/lib/${real##*/} /opt/python-x/lib/
ln -s ${real##*/} /opt/python-x/bin/python3
"""


@pytest.mark.full
def test_an_interpreter_that_is_upgraded_and_then_gone(
    controller: Controller, again: Server, variables: Variables
) -> None:
    body = again.get()
    again.run(ANOTHER_PYTHON)
    other = {**variables, "gunicorn_python": "/opt/python-x/bin/python3"}
    play = controller.play(again, other)
    assert play, play.output
    assert again.run("readlink -f /opt/hello/current/venv/bin/python").startswith("/opt/python-x/bin/python3.")
    before, code = again.run("readlink /opt/hello/current/venv"), again.stamps(CODE)

    # Its version is a text in it, which gets another last digit.
    version = again.run("/opt/python-x/bin/python3 -c 'import platform; print(platform.python_version())'")
    upgraded = f"{version[:-1]}{(int(version[-1]) + 1) % 10}"
    again.run(f"sed -i 's/{re.escape(version)}/{upgraded}/g' $(readlink -f /opt/python-x/bin/python3)")
    with Load(again.address) as load:
        play = controller.play(again, other)
    assert play, play.output
    assert again.stamps(CODE) == code, "another interpreter copies no code"
    assert load.failures == []
    assert again.run("readlink /opt/hello/current/venv") != before
    assert f'"python": "{upgraded}"' in again.run("cat /opt/hello/current/release.json")

    again.run("rm -r /opt/python-x")
    gone = controller.play(again, other)
    real = again.run("readlink -f /usr/bin/python3")
    assert not gone
    assert "gunicorn_python: got '/opt/python-x/bin/python3', which is not on the host." in gone.said
    assert f"The host has {real}. Example: gunicorn_python: {real}" in gone.said
    back = controller.play(again, {**variables, "gunicorn_release": "previous"})
    assert not back
    assert "the interpreter of its venv, /opt/python-x/bin/python3, is gone: install it again" in back.said
    assert (gone.changed, back.changed) == (0, 0)
    assert again.get() == body
