"""The service as an administrator knows it, and what it survives."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Controller, Load, Server, slot

Variables = dict[str, Any]


def eventually(condition: Callable[[], bool], seconds: float = 15) -> bool:
    """Tell whether a condition comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


def answers(server: Server) -> bool:
    try:
        return server.get() == "Hello, World!"
    except (OSError, http.client.HTTPException):
        return False


def main_pid(server: Server) -> int:
    return int(server.run("systemctl show --property MainPID --value hello"))


def children(server: Server, pid: int) -> str:
    return server.run(f"cat /proc/{pid}/task/{pid}/children")


def replaced(server: Server, main: int, workers: str) -> bool:
    """Tell whether none of these workers is left, in time."""
    return eventually(lambda: not set(workers.split()) & set(children(server, main).split()))


@pytest.fixture(scope="module", params=["hello-blue.service", "hello-green.service"])
def wanted(request: pytest.FixtureRequest) -> str:
    """Name a slot; for the module, so that the tests of one slot follow each other."""
    return str(request.param)


@pytest.fixture
def either(controller: Controller, server: Server, variables: Variables, wanted: str) -> Server:
    """Give the server with the application in either slot. A deploy moves it to the other one."""
    for workers in (2, 3):
        if slot(server) != wanted or not answers(server):
            play = controller.play(server, {**variables, "gunicorn_settings": {"workers": workers}})
            assert play, play.output
    assert slot(server) == wanted
    return server


def test_status_restart_stop_and_start(either: Server) -> None:
    status = either.run("systemctl status hello")
    assert "active (running)" in status
    assert "gunicorn --config /opt/hello/generations/" in status
    assert either.run("systemctl is-enabled hello.socket") == "enabled"

    before = main_pid(either)
    with Load(either.address) as load:
        either.run("systemctl restart hello")
        assert eventually(lambda: load.answers[-1][0] > time.monotonic() - 0.5)
    assert main_pid(either) != before
    assert load.failures == [], "the port stays open; requests wait"

    either.run("systemctl stop hello")
    assert eventually(lambda: either.run("systemctl is-active hello.socket", check=False) == "inactive")
    with pytest.raises(ConnectionRefusedError):
        either.get()
    time.sleep(1)
    assert either.run("systemctl is-active hello-blue hello-green", check=False).split() == ["inactive"] * 2
    either.run("systemctl start hello")
    assert eventually(lambda: answers(either))


def test_reload_takes_effect_without_a_lost_request(either: Server) -> None:
    main = main_pid(either)
    workers = children(either, main)
    with Load(either.address) as load:
        either.run("systemctl reload hello")
        assert replaced(either, main, workers)
    assert load.failures == []
    assert main_pid(either) == main


@pytest.mark.parametrize("line", ["workers = 'many'", "wokers = 4", "import a_module_that_nobody_has"])
def test_reload_refuses_a_configuration_that_does_not_check(deployed: Server, line: str) -> None:
    path = "/opt/hello/current/gunicorn.conf.py"
    deployed.run(f"cp -p {path} /root/gunicorn.conf.py")
    main = main_pid(deployed)
    workers = children(deployed, main)
    try:
        deployed.run(f"echo {line!r} >> {path}" if "'" not in line else f'echo "{line}" >> {path}')
        assert "failed" in deployed.run("systemctl reload hello 2>&1 || true").lower()
        time.sleep(1)
        assert children(deployed, main) == workers, "the workers go on with what they have"
        assert answers(deployed)
    finally:
        deployed.run(f"cp -p /root/gunicorn.conf.py {path}")
    deployed.run("systemctl reload hello")
    assert replaced(deployed, main, workers)


def test_the_log_has_one_name_whatever_slot_serves(either: Server) -> None:
    marker = f"/marker-{main_pid(either)}"
    either.get(marker)
    assert eventually(lambda: marker in either.run("journalctl --sync; journalctl -t hello --since -1min"))
    assert marker in either.run("journalctl -u 'hello-*' --since -1min")


def test_the_control_socket_is_roots(either: Server) -> None:
    path = f"/run/{either.run('systemctl show --property RuntimeDirectory --value hello')}/control.sock"
    command = f"/opt/hello/current/venv/bin/gunicornc --socket {path} -c"
    assert children(either, main_pid(either)).split()[0] in either.run(f"{command} 'show workers'")
    ask = f'import socket; socket.socket(socket.AF_UNIX).connect("{path}")'
    either.run(f"python3 -c '{ask}'")
    assert "Permission denied" in either.run(f"runuser -u nobody -- python3 -c '{ask}' 2>&1", check=False)


def test_a_killed_worker_is_replaced(deployed: Server) -> None:
    main = main_pid(deployed)
    victim = children(deployed, main).split()[0]
    deployed.run(f"kill -9 {victim}")
    assert eventually(
        lambda: victim not in children(deployed, main).split() and len(children(deployed, main).split()) > 1
    )
    assert main_pid(deployed) == main
    assert answers(deployed)


def test_a_killed_master_comes_back_and_the_port_never_closes(either: Server) -> None:
    main, serving = main_pid(either), slot(either)
    either.run(f"kill -9 {main}")
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert either.run("systemctl is-active hello.socket") == "active"
    assert answers(either)
    assert main_pid(either) != main
    assert slot(either) == serving


def test_a_worker_that_eats_all_memory_is_killed_alone(
    controller: Controller, deployed: Server, variables: Variables, application: Path
) -> None:
    if "memory" not in deployed.run("cat /sys/fs/cgroup/cgroup.controllers").split():
        pytest.skip("this machine's containers have no memory limit (no cgroup controller memory)")
    code = application / "wsgi.py"
    eater = '\n@app.route("/eat")\ndef eat():\n    return str(len([b"x" * 10**7 for _ in range(200)]))\n'
    code.write_text(code.read_text() + eater)
    limits = {"gunicorn_service_options": {"MemoryMax": "300M", "MemorySwapMax": "0"}}
    play = controller.play(deployed, {**variables, **limits, "gunicorn_settings": {"workers": 2}})
    assert play, play.output
    main = main_pid(deployed)
    with pytest.raises((OSError, http.client.HTTPException)):
        deployed.get("/eat")
    assert eventually(lambda: answers(deployed))
    assert main_pid(deployed) == main, "the service goes on"
    assert "was sent SIGKILL" in deployed.run("journalctl -t hello --since -1min")


def test_the_kernel_may_kill_a_worker_without_the_rest(deployed: Server) -> None:
    assert deployed.run("systemctl show --property OOMPolicy --value hello") == "continue"


def test_a_crash_loop_keeps_the_port_and_ends_with_the_next_release(
    controller: Controller, deployed: Server, variables: Variables, application: Path
) -> None:
    deployed.run(
        "systemctl set-property --runtime hello.service MemoryHigh=infinity;"
        "mkdir -p /run/systemd/system/hello-blue.service.d /run/systemd/system/hello-green.service.d;"
        "for slot in blue green; do"
        "  printf '[Service]\\nExecStartPre=/bin/false\\nRestartSec=100ms\\n'"
        "    > /run/systemd/system/hello-$slot.service.d/crash.conf;"
        "done; systemctl daemon-reload"
    )
    try:
        deployed.run(f"kill -9 {main_pid(deployed)}")
        time.sleep(8)
        assert deployed.run("systemctl is-failed hello.socket", check=False) == "active"
        assert int(deployed.run("systemctl show --property NRestarts --value hello")) > 10
    finally:
        deployed.run("rm -r /run/systemd/system/hello-*.service.d; systemctl daemon-reload")
    code = application / "wsgi.py"
    code.write_text(code.read_text() + "# mended\n")
    play = controller.play(deployed, variables)
    assert play, play.output
    assert answers(deployed)
    assert deployed.run("systemctl is-active hello.socket") == "active"


@pytest.mark.parametrize("worker_class", ["gthread", "asgi"])
def test_the_backlog_is_the_one_that_is_set(
    controller: Controller, deployed: Server, variables: Variables, application: Path, worker_class: str
) -> None:
    if worker_class == "asgi":
        (application / "wsgi.py").write_text(
            "async def app(scope, receive, send):\n"
            "    assert scope['type'] == 'http'\n"
            "    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'12')]})\n"
            "    await send({'type': 'http.response.body', 'body': b'Hello, ASGI!'})\n"
        )
    for backlog in (700, 900):
        settings = {"gunicorn_settings": {"worker_class": worker_class, "backlog": backlog}}
        with Load(deployed.address) as load:
            play = controller.play(deployed, {**variables, **settings})
        assert play, play.output
        assert load.failures == [], "another backlog opens no new socket"
        send_queue = deployed.run("ss --listening --tcp --numeric --no-header 'sport = :8000'").split()[2]
        assert send_queue == str(backlog)
