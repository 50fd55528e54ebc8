"""The firewall: who reaches the application from other machines, and that nobody is locked out of SSH."""

from __future__ import annotations

import json
import socket
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, SSH_CONFIG, WORKER, fresh_server, rig

from .conftest import Controller, Server

Variables = dict[str, Any]

NETWORK = f"pyweb-rig-firewall-{WORKER}".strip("-")
"""A network with IPv6. Its name comes after that of the rig's own: the first one's address is the server's."""

APPLICATION = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""
TRY = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Machine:
    """A container in the network: a client, or the server."""

    name: str

    @property
    def addresses(self) -> list[str]:
        """Its addresses now, IPv4 and IPv6."""
        (found,) = json.loads(docker("inspect", self.name))
        network = found["NetworkSettings"]["Networks"][NETWORK]
        return [network["IPAddress"], network["GlobalIPv6Address"]]

    def reaches(self, server: Server, port: int = 8000) -> list[bool]:
        """Tell whether it connects over IPv4 and over IPv6."""
        return [
            subprocess.run(
                ["docker", "exec", self.name, "python3", "-c", TRY, address, str(port)],
                check=False,
                capture_output=True,
            ).returncode
            == 0
            for address in Machine(f"pyweb-{server.name}").addresses
        ]


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    """Give a network with IPv6, which the rig's own has not."""
    label = "org.pyweb.deploy.rig=1"
    subnet = f"fd5b:{zlib.crc32(NETWORK.encode()) % 65536:x}::/64"
    docker("network", "create", "--label", label, "--ipv6", "--subnet", subnet, NETWORK)
    try:
        yield NETWORK
    finally:
        docker("network", "rm", NETWORK)


@pytest.fixture(scope="module")
def host(network: str) -> Iterator[Server]:
    """Give a server whose SSH server listens on another port too, and which no play has seen."""
    for server in fresh_server("it-firewall", RELEASES[-1]):
        docker("network", "connect", network, f"pyweb-{server.name}")
        server.run("printf 'Port 22\\nPort 2222\\n' >/etc/ssh/sshd_config.d/ports.conf; systemctl restart ssh")
        yield server


@pytest.fixture(scope="module")
def clients(network: str) -> Iterator[tuple[Machine, Machine]]:
    """Give two machines: one that may come in, and a stranger."""
    names = [f"pyweb-it-firewall-{who}-{WORKER}".strip("-") for who in ("friend", "stranger")]
    try:
        for name in names:
            options = ("--label", "org.pyweb.deploy.rig=1", "--network", network, "--name", name)
            docker("run", "--detach", "--rm", *options, f"pyweb-rig:{RELEASES[-1]}", "sleep", "infinity")
        yield Machine(names[0]), Machine(names[1])
    finally:
        subprocess.run(["docker", "rm", "--force", *names], check=True, capture_output=True)


@pytest.fixture
def session(host: Server) -> Iterator[Callable[[], bool]]:
    """Keep an SSH session open all the time; what tells whether it still answers."""
    command = ["ssh", "-F", str(SSH_CONFIG), "-o", "ControlPath=none", "-p", "2222", host.name, "cat"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def answers() -> bool:
        assert process.stdin
        assert process.stdout
        process.stdin.write("still there\n")
        return process.stdout.readline() == "still there\n"

    try:
        assert answers()
        yield answers
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def wanted(tmp_path_factory: pytest.TempPathFactory, clients: tuple[Machine, Machine]) -> Variables:
    """Give what a user sets for a small application that one machine may reach."""
    directory = tmp_path_factory.mktemp("application")
    (directory / "wsgi.py").write_text(APPLICATION)
    return {
        "ansible_port": 2222,
        "gunicorn_name": "hello",
        "gunicorn_source": {"directory": str(directory)},
        "gunicorn_wsgi_app": "wsgi:app",
        "gunicorn_health": {"watch": 0},
        "gunicorn_settings": {"workers": 2},
        "gunicorn_bind": ["0.0.0.0:8000", "[::]:8000"],
        "gunicorn_firewall_sources": clients[0].addresses,
        "gunicorn_firewall_enable": True,
    }


def rules(server: Server, word: str = "") -> set[str]:
    """Rules in the words of ufw's own command."""
    return {line for line in server.run("ufw show added").splitlines() if line.startswith("ufw ") and word in line}


def allowed(machine: Machine) -> set[str]:
    """Give the rules that let one machine in, and SSH."""
    return {
        "ufw allow 22/tcp comment 'ssh'",
        "ufw allow 2222/tcp comment 'ssh'",
        *(
            f"ufw allow from {address} to any port 8000 proto tcp comment 'pyweb.deploy hello'"
            for address in machine.addresses
        ),
    }


def is_on(server: Server) -> bool:
    return server.run("ufw status").startswith("Status: active")


def test_only_the_allowed_machine_gets_in(
    controller: Controller,
    host: Server,
    clients: tuple[Machine, Machine],
    session: Callable[[], bool],
    wanted: Variables,
) -> None:
    friend, stranger = clients
    play = controller.play(host, wanted)
    assert play, play.output
    assert session()
    assert is_on(host)
    assert rules(host) == allowed(friend)
    assert (friend.reaches(host), stranger.reaches(host)) == ([True, True], [False, False])
    host.run("systemd-run --quiet --unit=other python3 -m http.server --bind :: 8001")
    assert friend.reaches(host, 8001) == [False, False], "a port that nobody opened"


@pytest.fixture
def site(controller: Controller, host: Server, clients: tuple[Machine, Machine], wanted: Variables) -> Server:
    """Give the server as the first test left it, also where that was left out."""
    if not is_on(host) or rules(host) != allowed(clients[0]):
        play = controller.play(host, wanted)
        assert play, play.output
    return Server(host.name, rig("address", host.name))  # a restart may change it


@pytest.mark.full
def test_a_restart_of_the_server_changes_nothing(site: Server, clients: tuple[Machine, Machine]) -> None:
    docker("restart", f"pyweb-{site.name}")
    rig("up", site.name, f"{RELEASES[-1]}-ready")
    assert is_on(site)
    assert [client.reaches(site) for client in clients] == [[True, True], [False, False]]


def test_a_ufw_that_is_broken(controller: Controller, site: Server, wanted: Variables) -> None:
    site.run("mv /usr/sbin/iptables /usr/sbin/iptables.gone")
    before = site.state()
    try:
        play = controller.play(site, {**wanted, "gunicorn_bind": ["0.0.0.0:9005"]})
        after = site.state()
    finally:
        site.run("mv /usr/sbin/iptables.gone /usr/sbin/iptables")
    assert not play
    assert "gunicorn_firewall: got True, but ufw doesn't work on the host" in play.said
    assert "ERROR: Couldn't determine iptables version" in play.said
    assert after == before


@pytest.mark.full
def test_a_run_that_breaks_off_in_the_trial_is_finished_by_the_next(
    controller: Controller, site: Server, session: Callable[[], bool], wanted: Variables
) -> None:
    site.run("ufw disable")
    predicted = controller.play(site, wanted, "--check")
    assert "firewall: enable ufw" in predicted.said
    assert predicted.changed == 1, predicted.output
    assert not is_on(site)
    cut = site.cut_when("grep -q ^ENABLED=yes /etc/ufw/ufw.conf", during=True)
    play = controller.play(site, wanted, environment=cut)
    assert play.rc == -9, play.output
    site.run("until ufw status | grep -q '^Status: active'; do sleep 0.1; done")  # ufw itself goes on
    play = controller.play(site, wanted)
    assert play, play.output
    assert "firewall: enable ufw" in play.said, "nobody had proved it"
    timers = site.run("systemctl list-units --plain --no-legend 'pyweb.deploy-firewall-*.timer'").splitlines()
    assert timers, "that of the last run at least"
    for timer in timers:
        site.run(f"systemctl start {timer.split('.timer')[0]}.service")
    assert is_on(site), "after the trial they do nothing"
    assert session()
    assert controller.play(site, wanted).changed == 0


@pytest.mark.full
def test_without_ipv6_in_ufw(
    controller: Controller, site: Server, clients: tuple[Machine, Machine], wanted: Variables
) -> None:
    site.run("sed -i s/IPV6=yes/IPV6=no/ /etc/default/ufw && ufw reload")
    sources = {"gunicorn_firewall_sources": [clients[1].addresses[0], "2001:db8::/32"]}
    play = controller.play(site, {**wanted, **sources})
    assert play, play.output
    assert "IPV6=no in /etc/default/ufw" in play.said
    assert clients[1].reaches(site) == [True, False]
    assert controller.play(site, {**wanted, **sources}).changed == 0
    site.run("sed -i s/IPV6=no/IPV6=yes/ /etc/default/ufw && ufw reload")
    play = controller.play(site, wanted)
    assert play, play.output
    assert (clients[0].reaches(site), clients[1].reaches(site)) == ([True, True], [False, False])


def test_a_host_with_nftables_is_left_alone(controller: Controller, site: Server, wanted: Variables) -> None:
    there = rules(site)
    site.run("ufw disable; systemd-run --quiet --unit=nftables --remain-after-exit true")
    try:
        play = controller.play(site, {**wanted, "gunicorn_firewall_sources": []})
        assert play, play.output
        assert play.changed == 1
        assert "who may connect changes in policy.json; no firewall rule changes" in play.said
        assert "firewall: left alone, because nftables runs it on the host and ufw is off" in play.said
        assert not is_on(site)
        assert rules(site) == there
    finally:
        site.run("systemctl stop nftables; ufw --force enable")


SHORT = ("-e", "__gunicorn_trial=15")
"""A trial of fifteen seconds."""


def test_nobody_is_locked_out(
    controller: Controller, site: Server, session: Callable[[], bool], wanted: Variables
) -> None:
    command = ["ssh", "-F", str(SSH_CONFIG), site.name, "echo $SSH_CLIENT"]
    here = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
    site.run(f"ufw disable && ufw insert 1 deny from {here}")
    before = site.run("systemctl show --property MainPID hello; ls /opt/hello/releases; readlink /opt/hello/current")
    change = {"ansible_timeout": 2, "gunicorn_firewall_sources": ["192.0.2.7"]}
    play = controller.play(site, {**wanted, **change}, *SHORT)
    assert not play
    assert "gunicorn_firewall_enable: got true, but with ufw on, no new connection came in" in play.said, play.output
    assert "ufw is off again, and nothing that runs was touched" in play.said
    assert session()
    assert not is_on(site)
    assert before == site.run(
        "systemctl show --property MainPID hello; ls /opt/hello/releases; readlink /opt/hello/current"
    )
    assert site.run("systemctl --failed --plain --no-legend") == ""
    site.run(f"ufw delete deny from {here}")


def test_rules_follow_the_application_and_leave_others_alone(
    controller: Controller,
    site: Server,
    clients: tuple[Machine, Machine],
    session: Callable[[], bool],
    wanted: Variables,
) -> None:
    address = Machine(f"pyweb-{site.name}").addresses[0]
    interface = site.run(f"ip -oneline address show to {address}").split()[1]
    others = {
        "ufw allow 8000/udp",
        f"ufw limit in on {interface} to any port 9001 proto tcp",
        "ufw limit 2222/tcp comment 'ssh'",
        "ufw allow 8100/tcp comment 'pyweb.deploy other'",
        "ufw deny from 203.0.113.7 to any port 8000 proto tcp",
    }
    site.run(" && ".join(sorted(others)))
    site.run("ip link add docker0 type bridge")
    others |= rules(site) - rules(site, "hello")
    assert controller.play(site, wanted).changed == 0

    moved = {
        **wanted,
        "gunicorn_bind": ["0.0.0.0:9000", "0.0.0.0:9001"],
        "gunicorn_firewall_sources": [],
        "gunicorn_firewall_interface": interface,
        "gunicorn_firewall_limit": True,
    }
    play = controller.play(site, moved)
    assert play, play.output
    ours = f"ufw limit in on {interface} to any port 9000 proto tcp comment 'pyweb.deploy hello'"
    assert rules(site) == {*others, ours}, "for the other port, the administrator's own will do"
    assert "firewall: Docker runs on the host, and ports that it publishes go around ufw" in play.said
    assert clients[1].reaches(site, 9000)[0]
    with pytest.raises(TimeoutError):  # the controller is on another interface
        socket.create_connection((site.address, 9000), timeout=2)
    site.run("ip link del docker0")

    play = controller.play(site, {**moved, "gunicorn_bind": ["unix:/run/hello.sock"]})
    assert play, play.output
    assert rules(site) == others
    assert session()
