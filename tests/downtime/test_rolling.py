"""A fleet behind a load balancer: what deploys to twelve servers, one of them down, cost the users of the site."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, Controller, Play, Server, fresh_server

from .client import KINDS
from .measure import PLAYBOOKS, Load, Variables

SERVERS = int(os.environ.get("PYWEB_FLEET", "12"))  # fewer try the test itself, on a small machine
CODE = Path(__file__).parent / "applications" / "wsgi.py"
BROKEN = """
import os
if not os.environ["RUNTIME_DIRECTORY"].endswith("-check"):
    raise RuntimeError("not here")
"""
HAPROXY = """
global
    stats socket /run/haproxy-admin.sock mode 600 level admin
defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    option redispatch
    retries 3
frontend web
    bind :8000
    default_backend shop
backend shop
    balance roundrobin
    option httpchk GET /healthz
    http-check expect status 200
    default-server check inter 1s fall 2 rise 1
{servers}
"""
HOOK = """
- name: {word} the host
  community.general.haproxy:
    socket: /run/haproxy-admin.sock
    backend: shop
    host: "{{{{ inventory_hostname }}}}"
    state: {state}
  delegate_to: "{balancer}"
  throttle: 5
"""


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[Server]]:
    """Give the servers."""
    with contextlib.ExitStack() as stack:
        start = contextlib.contextmanager(fresh_server)
        yield [stack.enter_context(start(f"dt-fleet-{number}", RELEASES[0])) for number in range(SERVERS)]


@pytest.fixture(scope="module")
def balancer(fleet: list[Server]) -> Iterator[Server]:
    """Give a server with HAProxy, which knows them all."""
    for server in fresh_server("dt-balancer", RELEASES[0]):
        server.run("apt-get update -q && apt-get install -qy --no-install-recommends haproxy")
        servers = "\n".join(f"    server {each.name} {each.address}:8000" for each in fleet)
        server.run(f"cat >/etc/haproxy/haproxy.cfg <<'CFG'\n{HAPROXY.format(servers=servers)}\nCFG")
        server.run("systemctl restart haproxy")
        yield server


def results(play: Play, fleet: list[Server]) -> list[str]:
    """What the table at the end of a run says of each server."""
    table = play.output.split("DEPLOYS **", 1)[1]
    return [re.findall(rf"^{server.name} +\S+ +\S+ +\S+ +\S+ +(.*)$", table, re.MULTILINE)[0] for server in fleet]


@pytest.mark.full
def test_a_fleet_behind_haproxy(controller: Controller, fleet: list[Server], balancer: Server, tmp_path: Path) -> None:
    code = Path(shutil.copy(CODE, tmp_path / "wsgi.py"))
    variables: Variables = {
        "gunicorn_name": "shop",
        "gunicorn_source": {"directory": str(tmp_path), "exclude": ["*.yml"]},
        "gunicorn_health": {"path": "/healthz"},
        "gunicorn_settings": {"workers": 1, "threads": 8},
        "gunicorn_firewall": False,
        "gunicorn_serial": [1, "25%"],
    }
    # The balancer is no host of the group: the tasks reach it by its name in SSH's configuration.
    extra = f"-F {controller.ssh_config}"
    for word, state in (("drain", "drain"), ("enroll", "enabled")):
        hook = HOOK.format(word=word.capitalize(), state=state, balancer=balancer.name)
        (tmp_path / f"{word}.yml").write_text(hook + f'  vars: {{ansible_ssh_common_args: "{extra}"}}\n')
        variables[f"gunicorn_{word}_tasks"] = str(tmp_path / f"{word}.yml")

    def deploy(mark: str, appended: str = "", playbook: str = "site.yml") -> Callable[[], Play]:
        def step() -> Play:
            text = re.sub(r'^MARK = ".*"', f'MARK = "{mark}"', CODE.read_text(), flags=re.MULTILINE)
            code.write_text(text + appended)
            return controller.play(fleet, variables, playbook=str(PLAYBOOKS / playbook))

        return step

    figures: list[tuple[str, Play, int, int]] = []

    def under_load(change: str, step: Callable[[], Play], *accept: str) -> Play:
        with Load.on(balancer.address, 8000, set(accept)) as load:
            time.sleep(1)
            play = step()
            time.sleep(1.5)
        requests = sum(load.counts[kind].requests for kind in KINDS)
        failures = list(itertools.chain.from_iterable(load.counts[kind].failures for kind in KINDS))
        figures.append((change, play, requests, len(failures)))
        print(f"\n{change}: {requests} requests, {len(failures)} failed, play {play.seconds:.0f} s", flush=True)
        print(play.output.split("DEPLOYS **", 1)[1], flush=True)
        assert failures == []
        return play

    play = controller.play(fleet, variables, "-e", "gunicorn_serial=100%")
    print(f"\nfirst deploy: {play.seconds:.0f} s", flush=True)
    assert play, play.output
    assert results(play, fleet) == ["deployed"] * SERVERS
    old = fleet[0].run("readlink /opt/shop/current | cut -d/ -f2")

    play = under_load("new code", deploy("second"), "first", "second")
    assert play, play.output
    assert results(play, fleet) == ["deployed"] * SERVERS
    serving = fleet[0].run("readlink /opt/shop/current | cut -d/ -f2")
    assert serving != old

    play = under_load("broken code", deploy("broken", BROKEN), "second")
    assert play.rc != 0
    assert results(play, fleet) == [f"failed, {serving} serves on: RuntimeError: not here"] + ["not reached"] * (
        SERVERS - 1
    )
    assert "DRAIN" not in balancer.run(
        "echo 'show stat' | socat - /run/haproxy-admin.sock 2>/dev/null || "
        "python3 -c \"import socket; s=socket.socket(socket.AF_UNIX); s.connect('/run/haproxy-admin.sock'); "
        "s.send(b'show stat\\n'); print(s.makefile().read())\""
    )

    dead = SERVERS // 2
    fleet[dead].run("systemctl stop 'shop*' ssh.socket ssh.service; pkill sshd", check=False)
    play = under_load("one server down", deploy("third"), "second", "third")
    assert play.rc == 4, play.output
    expected = ["deployed"] * SERVERS
    expected[dead] = "unreachable"
    assert results(play, fleet) == expected

    fleet[dead].run("systemctl start ssh.socket || systemctl start ssh.service")
    play = under_load("it is back", deploy("third"), "third")
    assert play, play.output
    expected = ["unchanged"] * SERVERS
    expected[dead] = "deployed"
    assert results(play, fleet) == expected
    assert sum(requests for _change, _play, requests, _failed in figures) > 1000
