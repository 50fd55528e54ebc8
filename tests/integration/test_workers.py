"""Worker classes and settings that need more than Gunicorn itself: the role brings it along."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import Controller, Server

from .conftest import Load, eventually

ASGI = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi MARK"})
"""
UVICORN = {"worker_class": "uvicorn_worker.UvicornWorker", "statsd_host": "unix:///run/statsd.sock"}

LISTENER = """
import os, socket
{}
while True:
    open("/run/{}", "ab").write(listener.recv(65536) + b"\\n")
"""
OVER_UDP = 'listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); listener.bind(("127.0.0.1", 8125))'
OVER_UNIX = """
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("/run/statsd.sock")
os.chmod("/run/statsd.sock", 0o666)
"""


@contextlib.contextmanager
def statsd(server: Server, name: str, listener: str) -> Iterator[Callable[[], str]]:
    """Run a listener on the server; what it has heard so far."""
    program = LISTENER.format(listener, name)
    server.run(f"systemd-run --quiet --collect --unit={name} --property=Type=exec python3 -c '{program}'")
    try:
        yield lambda: server.run(f"cat /run/{name}", check=False)
    finally:
        server.run(f"systemctl stop {name}; rm -f /run/{name} /run/statsd.sock")


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """Give an ASGI application that needs nothing but a worker."""
    (tmp_path / "application").mkdir()
    (tmp_path / "application/wsgi.py").write_text(ASGI.replace("MARK", "one"))
    return tmp_path / "application"


def test_uvicorns_worker(controller: Controller, server: Server, variables: dict[str, Any]) -> None:
    variables["gunicorn_settings"] = UVICORN
    with statsd(server, "statsd-unix", OVER_UNIX) as heard:
        play = controller.play(server, variables)
        assert play, play.output
        assert server.get() == "asgi one"
        assert eventually(lambda: "gunicorn.workers:1|g" in heard()), heard()


@pytest.mark.full
def test_a_release_of_uvicorns_worker(
    controller: Controller, server: Server, variables: dict[str, Any], application: Path
) -> None:
    variables["gunicorn_settings"] = UVICORN
    play = controller.play(server, variables)
    assert play, play.output
    (application / "wsgi.py").write_text(ASGI.replace("MARK", "two"))
    with Load(server.address) as load:
        play = controller.play(server, variables)
    assert play, play.output
    assert load.failures == []
    assert load.bodies == {"asgi one", "asgi two"}
    assert load.longest_gap < load.restarted(server).longest_gap


@pytest.mark.full
def test_a_name_for_ps_and_metrics(
    controller: Controller, server: Server, variables: dict[str, Any], application: Path
) -> None:
    code = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'wsgi']\n"
    (application / "wsgi.py").write_text(code)
    metrics = {"statsd_host": "127.0.0.1:8125", "statsd_prefix": "shop"}
    variables["gunicorn_settings"] = {"proc_name": "storefront", **metrics}
    with statsd(server, "statsd-udp", OVER_UDP) as heard:
        play = controller.play(server, variables)
        assert play, play.output
        assert server.get() == "wsgi"
        assert eventually(lambda: "shop.gunicorn.request.status.200:1|c" in heard()), heard()
    assert "gunicorn: master [storefront]" in server.run("ps -e -o args")
    again = controller.play(server, variables)
    assert (again.rc, again.changed) == (0, 0), again.output
