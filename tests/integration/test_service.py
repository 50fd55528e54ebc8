"""The service as an administrator knows it, and what it survives."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import Controller, Load, Server, eventually, main_pid, slot, workers

Variables = dict[str, Any]


def answers(server: Server) -> bool:
    try:
        return server.get() == "Hello, World!"
    except (OSError, http.client.HTTPException):
        return False


def replaced(server: Server, old: list[str]) -> bool:
    """Tell whether none of these workers is left, in time."""
    return eventually(lambda: not set(old) & set(workers(server)))


@pytest.fixture(
    scope="module", params=["hello-blue.service", pytest.param("hello-green.service", marks=pytest.mark.full)]
)
def wanted(request: pytest.FixtureRequest) -> str:
    """Name a slot; for the module, so that the tests of one slot follow each other."""
    return str(request.param)


@pytest.fixture
def either(controller: Controller, server: Server, variables: Variables, wanted: str) -> Server:
    """Give the server with the application in either slot. A deploy moves it to the other one."""
    for number in (2, 3):
        if slot(server) != wanted or not answers(server):
            play = controller.play(server, {**variables, "gunicorn_settings": {"workers": number}})
            assert play, play.output
    assert slot(server) == wanted
    return server


def test_status_restart_stop_and_start(either: Server) -> None:
    status = either.run("systemctl status hello")
    assert "active (running)" in status
    assert "gunicorn --config /opt/hello/releases/" in status
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
    assert eventually(lambda: either.run("systemctl list-jobs --no-legend 'hello*'") == "")
    assert either.run("systemctl is-active hello-blue hello-green", check=False).split() == ["inactive"] * 2
    either.run("systemctl start hello")
    assert eventually(lambda: answers(either))


def test_reload_takes_effect_without_a_lost_request(either: Server) -> None:
    main, old = main_pid(either), workers(either)
    with Load(either.address) as load:
        either.run("systemctl reload hello")
        assert replaced(either, old)
    assert load.failures == []
    assert main_pid(either) == main


@pytest.mark.parametrize("line", ["workers = 'many'", "wokers = 4", "import a_module_that_nobody_has"])
def test_reload_refuses_a_configuration_that_does_not_check(deployed: Server, line: str) -> None:
    path = "/opt/hello/current/gunicorn.conf.py"
    deployed.run(f"cp -p {path} /root/gunicorn.conf.py")
    main, old = main_pid(deployed), workers(deployed)
    reloads = f"journalctl --sync; journalctl _PID={main} --output cat | grep -c 'Handling signal: hup'"
    before = int(deployed.run(reloads, check=False))
    try:
        deployed.run(f"echo {line!r} >> {path}" if "'" not in line else f'echo "{line}" >> {path}')
        assert "failed" in deployed.run("systemctl reload hello 2>&1 || true").lower()
        assert answers(deployed)
    finally:
        deployed.run(f"cp -p /root/gunicorn.conf.py {path}")
    assert workers(deployed) == old, "the workers go on with what they have"
    deployed.run("systemctl reload hello")
    assert replaced(deployed, old)
    assert main_pid(deployed) == main
    assert int(deployed.run(reloads)) == before + 1, "the first reload did not reach Gunicorn"


def test_the_log_has_one_name_whatever_slot_serves(either: Server) -> None:
    marker = f"/marker-{main_pid(either)}"
    either.get(marker)
    assert eventually(lambda: marker in either.run("journalctl --sync; journalctl -t hello --since -1min"))
    assert marker in either.run("journalctl -u 'hello-*' --since -1min")


def test_the_control_socket_is_roots(either: Server) -> None:
    path = f"/run/{either.run('systemctl show --property RuntimeDirectory --value hello')}/control.sock"
    command = f"/opt/hello/current/venv/bin/gunicornc --socket {path} -c"
    assert workers(either)[0] in either.run(f"{command} 'show workers'")
    ask = f'import socket; socket.socket(socket.AF_UNIX).connect("{path}")'
    either.run(f"python3 -c '{ask}'")
    assert "Permission denied" in either.run(f"runuser -u nobody -- python3 -c '{ask}' 2>&1", check=False)


def test_a_killed_worker_is_replaced(deployed: Server) -> None:
    main, (victim, *others) = main_pid(deployed), workers(deployed)
    deployed.run(f"kill -9 {victim}")
    assert eventually(lambda: victim not in workers(deployed) and len(workers(deployed)) == len(others) + 1)
    assert main_pid(deployed) == main
    assert answers(deployed)


def test_a_killed_master_comes_back_and_the_port_never_closes(either: Server) -> None:
    main, serving = main_pid(either), slot(either)
    opened = "systemctl show --property ActiveState,InvocationID hello.socket"
    before = either.run(opened)
    with Load(either.address) as load:
        either.run(f"kill -9 {main}")
        assert eventually(lambda: main_pid(either) not in (0, main))
        assert eventually(lambda: answers(either))
    assert not [failure for failure in load.failures if "refused" in failure.lower()]
    assert either.run(opened) == before
    assert slot(either) == serving


@pytest.mark.full
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
        restarts = "systemctl show --property NRestarts --value hello"
        assert eventually(lambda: int(deployed.run(restarts)) > 10, 60)
        assert deployed.run("systemctl is-failed hello.socket", check=False) == "active"
    finally:
        deployed.run("rm -r /run/systemd/system/hello-*.service.d; systemctl daemon-reload")
    code = application / "wsgi.py"
    code.write_text(code.read_text() + "# fixed\n")
    play = controller.play(deployed, variables)
    assert play, play.output
    assert answers(deployed)
    assert deployed.run("systemctl is-active hello.socket") == "active"


@pytest.mark.parametrize(
    ("worker_class", "backlogs"), [("gthread", [700]), pytest.param("asgi", [700, 900], marks=pytest.mark.full)]
)
def test_the_backlog_is_the_one_that_is_set(
    controller: Controller,
    deployed: Server,
    variables: Variables,
    application: Path,
    worker_class: str,
    backlogs: list[int],
) -> None:
    if worker_class == "asgi":
        (application / "wsgi.py").write_text(
            "async def app(scope, receive, send):\n"
            "    assert scope['type'] == 'http'\n"
            "    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'12')]})\n"
            "    await send({'type': 'http.response.body', 'body': b'Hello, ASGI!'})\n"
        )
    for backlog in backlogs:
        settings = {"gunicorn_settings": {"worker_class": worker_class, "backlog": backlog}}
        with Load(deployed.address) as load:
            play = controller.play(deployed, {**variables, **settings})
        assert play, play.output
        assert load.failures == [], "another backlog opens no new socket"
        send_queue = deployed.run("ss --listening --tcp --numeric --no-header 'sport = :8000'").split()[2]
        assert send_queue == str(backlog)


CONF_FILE = """\
import multiprocessing
import os

bind = "127.0.0.1:8000"
workers = 3 * min(1, multiprocessing.cpu_count())


def post_fork(server, worker):
    os.environ["SET_BY"] = os.path.basename(__file__)
"""


def test_a_configuration_file_in_the_source(
    controller: Controller, server: Server, variables: Variables, application: Path
) -> None:
    """Without a word about it, it isn't read; a run says so. Included, it counts, but not against the role."""
    (application / "gunicorn.conf.py").write_text(CONF_FILE)
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("World", "{__import__('os').environ.get('SET_BY', 'nobody')}"))
    code.write_text(code.read_text().replace('"Hello', 'f"Hello'))
    play = controller.play(server, variables)
    assert play, play.output
    assert server.get() == "Hello, nobody!"
    assert "gunicorn.conf.py of the source is not read" in play.output
    assert "hello listens on 0.0.0.0:8000, not where gunicorn.conf.py of its source says" in play.output
    before = main_pid(server)

    included = {**variables, "gunicorn_conf_file": "gunicorn.conf.py", "gunicorn_settings": {}}
    play = controller.play(server, included)
    assert not play
    assert 'line 4: `bind = "127.0.0.1:8000"`: not yours to set: set gunicorn_bind: ["127.0.0.1:8000"]' in play.output
    assert main_pid(server) == before

    (application / "gunicorn.conf.py").write_text(CONF_FILE.replace("bind = ", "_bind = "))
    play = controller.play(server, included)
    assert play, play.output
    assert server.get() == "Hello, gunicorn.conf.py!"
    assert eventually(lambda: len(workers(server)) == 3)
    assert "is not read" not in play.output
    again = controller.play(server, included)
    assert (bool(again), again.changed) == (True, 0), again.output
