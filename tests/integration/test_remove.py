"""`gunicorn_state: absent`: the server is left as it was found, and what else is on it notices nothing.

The tests are steps of one journey on one server that nothing was deployed to: they run in this order.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import KILL_MODULE, RELEASES, Play, fresh_server

from .conftest import ROOT, Controller, Load, Server, costs
from .prediction import CALLBACK, read

Variables = dict[str, Any]

REMOVE = str(ROOT / "playbooks" / "remove.yml")
EVERYTHING = {"gunicorn_remove_data": True, "gunicorn_remove_packages": True}

KEPT_BY_OTHERS = (
    # docs/removal.md lists these.
    r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-",  # the tools' own copies of what was before
    r"/var/(cache|lib)/(apt|debconf|dpkg|ucf)(/.*)?",  # apt's indexes and archives, dpkg's and debconf's records
    r"/var/log/(apt/.*|dpkg\.log|alternatives\.log)",
    r"/var/log/journal(/.*)?",
    r"/var/lib/systemd/credential\.secret",  # the host's own key, which others may have used since
    r"/run/(ufw|xtables)\.lock|/run/pyweb\.deploy(/hello\.lock|/blog\.lock)?",  # until the next start of the server
    # Everything below is not the role's doing: Ansible's directory for its modules, systemd at work, the test's tools.
    r"/home/deploy/\.ansible(/.*)?|/root/\.ansible(/.*)?",
    r"/run/(systemd|user|utmp|sudo|log)(/.*)?",
    r"/var/lib/(systemd|sudo)(/.*)?|/var/log/(wtmp|btmp|lastlog).*",
)


def everything(server: Server) -> list[str]:
    """Files with owner, mode and content, units, users, packages and firewall rules of the whole server."""
    shown = server.run(
        r"""
        find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/tmp \) -prune -o \
            -type d -printf '%p %y %m %u %g\n' -o -printf '%p %y %m %u %g %s %l\n' | sort
        find /run/gunicorn /run/pyweb.deploy 2>/dev/null
        find /etc /opt /usr/local -type f | sort | xargs -d '\n' sha256sum | sed -E 's/^(\S+)  (.*)/\2 \1/'
        dpkg-query --show --showformat 'package ${Package} ${db:Status-Status}\n'
        getent passwd; getent group
        systemctl list-units --all --plain --no-legend '*hello*' '*blog*'
        systemctl list-unit-files --no-legend '*hello*' '*blog*'
        if command -v ufw >/dev/null; then ufw show added; fi
        """,
        check=False,
    )
    ignored = re.compile("|".join(f"(?:{pattern})" for pattern in KEPT_BY_OTHERS))
    return [line for line in shown.splitlines() if not ignored.fullmatch(line.split(" ")[0])]


def difference(before: list[str], after: list[str]) -> list[str]:
    """Lines that are in one of the two only."""
    return [line for line in difflib.ndiff(before, after) if line[0] in "+-"]


def changes(play: Play) -> list[str]:
    """Tasks and items that a run reports as changed."""
    return [str(change) for change in read(play).changes]


def remove(controller: Controller, server: Server, name: str, *arguments: str, **variables: Any) -> Play:
    play = controller.play(
        server, {"gunicorn_name": name, **variables}, "--diff", *arguments, playbook=REMOVE, environment=CALLBACK
    )
    assert play, play.output
    return play


SLOW = """
import time


@app.route("/slow")
def slow() -> str:
    time.sleep(6)
    return "after all"
"""


@dataclass(frozen=True)
class Found:
    """A bare server, and how it was found."""

    server: Server
    before: list[str]


@pytest.fixture(scope="module")
def found() -> Iterator[Found]:
    """Give a server that nothing was deployed to, with none of the packages that the role installs."""
    for server in fresh_server("it-found", RELEASES[-1], bare=True):
        before = everything(server)
        assert "package ufw installed" not in before
        yield Found(server, before)


@pytest.fixture
def hello(variables: Variables) -> Variables:
    """Give what a user sets for the first of two applications."""
    return {**variables, "gunicorn_firewall_enable": False, "gunicorn_secrets": {"PASSWORD": "hunter2"}}


def test_what_others_made_is_not_removed(controller: Controller, found: Found) -> None:
    """Of a name that means something else on the server."""
    before = found.server.state()
    assert changes(remove(controller, found.server, "ssh", **EVERYTHING)) == []
    assert found.server.state() == before


def test_one_of_two_is_removed_and_the_other_serves(controller: Controller, found: Found, hello: Variables) -> None:
    server = found.server
    with Path(hello["gunicorn_source"]["directory"], "wsgi.py").open("a") as code:
        code.write(SLOW)
    costs("first deploy, ufw off", controller.play(server, hello, "-vvv"))
    play = controller.play(server, {**hello, "gunicorn_name": "blog", "gunicorn_bind": ["0.0.0.0:8001"]})
    assert play, play.output
    server.run("runuser -u hello -- tee /var/lib/gunicorn/hello/data </dev/null; ufw allow 443/tcp comment 'mine'")

    predicted = remove(controller, server, "hello", "--check")
    assert server.get() == "Hello, World!"
    with ThreadPoolExecutor() as pool, Load(server.address, 8001) as load:
        answer = pool.submit(server.get, "/slow")
        play = remove(controller, server, "hello")
    assert answer.result() == "after all", "a request that had begun is answered"
    assert changes(predicted) == changes(play)
    assert len(changes(play)) > 5
    assert load.failures == []
    assert len(load.answers) > 50
    left = [line for line in everything(server) if "hello" in line and line not in found.before]
    assert {line.split(" ")[0] for line in left} == {
        "/var/lib/gunicorn/hello",
        "/var/lib/gunicorn/hello/data",
        "/var/log/gunicorn/hello",
    }, left
    assert all(" root root" in line for line in left), "whoever gets the number of the user next doesn't get these"
    with pytest.raises(ConnectionRefusedError):
        server.get()
    rules = server.run("ufw show added")
    assert "8000" not in rules
    assert "8001" in rules
    assert changes(remove(controller, server, "hello")) == [], "there is nothing left to do"


@pytest.mark.full
def test_it_comes_back_to_what_it_wrote(controller: Controller, found: Found, hello: Variables) -> None:
    assert controller.play(found.server, {**hello, "gunicorn_bind": ["0.0.0.0:8002"]})
    assert found.server.get(port=8002) == "Hello, World!"
    assert found.server.run("stat --format %U /var/lib/gunicorn/hello/data") == "hello"


@pytest.mark.full
def test_a_removal_that_is_killed_is_finished_by_the_next(controller: Controller, found: Found) -> None:
    server = found.server
    unit_is_gone = "while test -e /etc/systemd/system/hello.socket; do sleep 0.01; done"
    cut = server.cut_when(f"{unit_is_gone}; {KILL_MODULE}", during=True)
    assert controller.play(server, {"gunicorn_name": "hello"}, playbook=REMOVE, environment=cut).rc == -9
    remove(controller, server, "hello")
    assert server.run("ls -d /opt/hello /etc/systemd/system/hello*; getent passwd hello", check=False) == ""
    assert changes(remove(controller, server, "hello")) == []


def test_its_data_goes_too_and_the_packages_stay_for_the_other(controller: Controller, found: Found) -> None:
    server = found.server
    remove(controller, server, "hello", **EVERYTHING)
    assert "hello" not in server.run("ls /var/lib/gunicorn /var/log/gunicorn /opt")
    assert server.get(port=8001) == "Hello, World!"
    assert "package ufw installed" in everything(server)


def test_the_last_one_leaves_the_server_as_it_was_found(controller: Controller, found: Found) -> None:
    server = found.server
    play = remove(controller, server, "blog", **EVERYTHING)
    (stays,) = [line for line in read(play).plan if line.startswith("stays: the Debian packages ")]
    assert {"ufw", "iptables", "python3-pip-whl"} <= set(re.findall(r"[\w-]+", stays))
    assert "443" in server.run("ufw show added"), "a rule of somebody else would be lost"

    server.run("ufw delete allow 443/tcp")
    predicted = remove(controller, server, "blog", "--check", **EVERYTHING)
    play = remove(controller, server, "blog", **EVERYTHING)
    assert changes(predicted) == changes(play)
    assert difference(found.before, everything(server)) == []
    assert changes(remove(controller, server, "blog", **EVERYTHING)) == []


@pytest.mark.full
def test_an_existing_user_and_what_others_need_stay(
    controller: Controller, found: Found, variables: Variables, tmp_path: Path
) -> None:
    server = found.server
    server.run("useradd --system --comment 'Of the site' keeper")
    play = controller.play(server, {**variables, "gunicorn_user": "keeper"})  # ufw is on: gunicorn_firewall_enable
    assert play, play.output
    # Somebody else's package needs one that the role brought.
    (tmp_path / "control").write_text(
        "Package: needy\nVersion: 1\nArchitecture: all\nMaintainer: Test <test@example.com>\n"
        "Depends: python3-pip-whl\nDescription: needs a package\n"
    )
    server.run("mkdir -p /srv/needy/DEBIAN")
    server.put(tmp_path / "control", "/srv/needy/DEBIAN/")
    server.run("dpkg-deb --build /srv/needy /srv/needy.deb && dpkg --install /srv/needy.deb")

    play = remove(controller, server, "hello", gunicorn_remove_packages=True)
    assert "after `ufw disable`" in "\n".join(read(play).plan)
    assert "Status: active" in server.run("ufw status"), "the firewall filters what else is on the server"
    assert "22/tcp" in server.run("ufw show added")
    assert "keeper:" in server.run("getent passwd")
    assert server.run("stat --format %U /var/lib/gunicorn/hello") == "keeper"

    server.run("ufw --force disable")
    play = remove(controller, server, "hello", gunicorn_remove_packages=True)
    assert "stay, because apt would remove needy too" in play.output
    assert server.run("dpkg-query --show --showformat '${db:Status-Status}' needy") == "installed"
    server.run("dpkg --purge needy")
    remove(controller, server, "hello", gunicorn_remove_packages=True)
    assert server.run("dpkg-query --list | grep -E '^i. +(ufw|iptables|python3-pip-whl) '", check=False) == ""
