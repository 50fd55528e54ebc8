"""`gunicorn_state: absent`: the server is left as it was found, and what else is on it notices nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, Play, fresh_server

from .conftest import ROOT, Controller, Load, Server

Variables = dict[str, Any]

REMOVE = str(ROOT / "playbooks" / "remove.yml")

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


@pytest.fixture(scope="module")
def found() -> Iterator[Server]:
    """Give a server as it is found: nothing was deployed to it."""
    yield from fresh_server("it-found", RELEASES[-1])


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
    tasks, task = [], ""
    for line in play.output.splitlines():
        if line.startswith("TASK ["):
            task = line.strip("* ")
        elif line.startswith("changed: "):
            tasks.append(f"{task} {line.partition('=> (item=')[2]}")
    return tasks


def remove(controller: Controller, server: Server, name: str, *arguments: str, **variables: Any) -> Play:
    return controller.play(server, {"gunicorn_name": name, **variables}, *arguments, playbook=REMOVE)


def test_the_server_is_left_as_it_was_found(controller: Controller, found: Server, variables: Variables) -> None:
    before = everything(found)
    assert "package ufw installed" not in before
    variables.update(gunicorn_firewall_enable=False, gunicorn_secrets={"PASSWORD": "hunter2"})
    blog = {**variables, "gunicorn_name": "blog", "gunicorn_bind": ["0.0.0.0:8001"]}
    for each in (variables, blog):
        play = controller.play(found, each)
        assert play, play.output
    found.run("runuser -u hello -- tee /var/lib/gunicorn/hello/data </dev/null; ufw allow 443/tcp comment 'mine'")

    # One of two: what is predicted happens, the other one serves throughout.
    predicted = remove(controller, found, "hello", "--check", "--diff")
    assert found.get() == "Hello, World!"
    with Load(found.address, 8001) as load:
        play = remove(controller, found, "hello")
    assert play, play.output
    assert changes(predicted) == changes(play)
    assert play.changed > 5
    assert load.failures == []
    assert len(load.answers) > 50
    left = [line for line in everything(found) if "hello" in line and line not in before]
    assert {line.split(" ")[0] for line in left} == {
        "/var/lib/gunicorn/hello",
        "/var/lib/gunicorn/hello/data",
        "/var/log/gunicorn/hello",
    }, left
    assert all(" root root" in line for line in left), "whoever gets the number of the user next doesn't get these"
    with pytest.raises(ConnectionRefusedError):
        found.get()
    rules = found.run("ufw show added")
    assert "8000" not in rules
    assert "8001" in rules
    again = remove(controller, found, "hello")
    assert again, again.output
    assert again.changed == 0, again.output

    # It can come back, to what it wrote.
    variables["gunicorn_bind"] = ["0.0.0.0:8002"]
    assert controller.play(found, variables)
    assert found.get(port=8002) == "Hello, World!"
    assert found.run("stat --format %U /var/lib/gunicorn/hello/data") == "hello"
    assert remove(controller, found, "hello", gunicorn_remove_data=True, gunicorn_remove_packages=True)
    assert found.get(port=8001) == "Hello, World!", "the packages are still there, which blog needs"
    assert "hello" not in found.run("ls /var/lib/gunicorn /var/log/gunicorn /opt")

    # The last one, with everything that came along, as soon as no rule of somebody else would be lost.
    play = remove(controller, found, "blog")
    assert play, play.output
    for package in ("ufw", "iptables", "python3-packaging"):
        assert re.search(rf"stays: the Debian\s+packages .*\b{package}\b", play.output, re.DOTALL)
    assert "443" in found.run("ufw show added")
    everything_too = {"gunicorn_remove_data": True, "gunicorn_remove_packages": True}
    play = remove(controller, found, "blog", **everything_too)
    assert play, play.output
    assert "443" in found.run("ufw show added")
    found.run("ufw delete allow 443/tcp")
    predicted = remove(controller, found, "blog", "--check", **everything_too)
    play = remove(controller, found, "blog", **everything_too)
    assert play, play.output
    assert changes(predicted) == changes(play)
    assert difference(before, everything(found)) == []
    again = remove(controller, found, "blog", **everything_too)
    assert again, again.output
    assert again.changed == 0, again.output


def test_an_existing_user_and_what_others_need_stay(
    controller: Controller, found: Server, variables: Variables, tmp_path: Path
) -> None:
    found.run("useradd --system --comment 'Of the site' keeper")
    variables.update(gunicorn_user="keeper", gunicorn_secrets={})  # ufw is on: gunicorn_firewall_enable
    play = controller.play(found, variables)
    assert play, play.output
    # Somebody else's package needs one that the role brought.
    (tmp_path / "control").write_text(
        "Package: needy\nVersion: 1\nArchitecture: all\nMaintainer: Test <test@example.com>\n"
        "Depends: python3-packaging\nDescription: needs a package\n"
    )
    found.run("mkdir -p /srv/needy/DEBIAN")
    found.put(tmp_path / "control", "/srv/needy/DEBIAN/")
    found.run("dpkg-deb --build /srv/needy /srv/needy.deb && dpkg --install /srv/needy.deb")

    play = remove(controller, found, "hello", gunicorn_remove_packages=True)
    assert play, play.output
    assert "after `ufw disable`" in " ".join(play.output.split())
    assert "Status: active" in found.run("ufw status"), "the firewall filters what else is on the server"
    assert "22/tcp" in found.run("ufw show added")
    assert "keeper:" in found.run("getent passwd")
    assert found.run("stat --format %U /var/lib/gunicorn/hello") == "keeper"

    found.run("ufw --force disable")
    play = remove(controller, found, "hello", gunicorn_remove_packages=True)
    assert play, play.output
    assert "stay, because apt would remove needy too" in " ".join(play.output.split()), play.output
    assert found.run("dpkg-query --show --showformat '${db:Status-Status}' needy") == "installed"
    found.run("dpkg --purge needy")
    play = remove(controller, found, "hello", gunicorn_remove_packages=True)
    assert play, play.output
    assert found.run("dpkg-query --list | grep -E '^i. +(ufw|iptables|python3-packaging) '", check=False) == ""


def test_what_others_made_is_not_removed(controller: Controller, fresh: Server) -> None:
    """Of a name that means something else on the server."""
    before = fresh.state()
    play = remove(controller, fresh, "ssh", gunicorn_remove_data=True, gunicorn_remove_packages=True)
    assert play, play.output
    assert play.changed == 0, play.output
    assert fresh.state() == before
