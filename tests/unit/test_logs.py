"""Gunicorn itself with the role's configuration of its logs: what it logs, and where, whatever clients send."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.unit.deploying import configuration

APPLICATION = """\
import os, sys


def app(environ, start_response):
    if environ["PATH_INFO"] == "/die":
        os.kill(os.getpid(), 9)
    print("printed by the application", file=sys.stderr, flush=True)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""
HOSTILE = [
    rb'quote " and "} and {"a": "b"}',
    rb"backslash \ and \" and \u0000 and \n",
    b"invalid UTF-8 \xff\xfe\x80 and valid \xe2\x82\xac",
    b"%(h)s %s %d %%",
    b"\ttab\t",
    b"-",
]
EXTRA = """\
from datetime import datetime
import re as json

_json_fields["country"] = "{cf-ipcountry}i"


def on_starting(server):
    server.log.info("the hook of the user")


def when_ready(server):
    server.log.info("the other hook of the user")
"""
"""What people write, with names that the configuration needs too."""

ROTATES = """\
def on_starting(server):
    os.rename("error.log", "error.log.1")
    os.rename("access.log", "a.1")


def post_fork(server, worker):
    os.rename("access.log", "a.2")
"""


class Running:
    """Gunicorn in the background, as systemd would start it, with its standard error in a file."""

    def __init__(self, directory: Path, text: str, *options: str) -> None:
        self.directory, self.journal = directory, directory / "journal"
        (directory / "gunicorn.conf.py").write_text(text.replace("/var/log/gunicorn/shop", str(directory)))
        (directory / "wsgi.py").write_text(APPLICATION)
        environment = {**os.environ, "RUNTIME_DIRECTORY": str(directory), "GUNICORN_RELEASE": "3fa92c1b0d4e"}
        command = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", *options]
        with self.journal.open("wb") as journal:
            self.process = subprocess.Popen(
                [*command, "--bind", "unix:gunicorn.sock"],
                cwd=directory,
                env=environment,
                stdout=journal,
                stderr=journal,
            )

    def ask(self, head: bytes = b"GET / HTTP/1.1\r\nHost: a\r\n") -> bytes:
        """Send a request as it is: the answer, or nothing."""
        path = self.directory / "gunicorn.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(20)
            eventually(lambda: connection.connect_ex(os.path.relpath(path)) == 0)
            connection.sendall(head + b"Connection: close\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(4096), b""))

    def text(self, name: str) -> str:
        """What is in a file, if it is there."""
        path = self.directory / name
        return path.read_text() if path.exists() else ""


def eventually(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Wait until a condition comes true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return found


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start Gunicorn with the role's variables; stop it after the test."""
    monkeypatch.chdir(tmp_path)
    running = []

    def run(*options: str, **variables: Any) -> Running:
        settings = {"workers": 1, "worker_class": "sync", **variables.pop("gunicorn_settings", {})}
        text = configuration(tmp_path, gunicorn_settings=settings, **variables)
        running.append(Running(tmp_path, text, *options))
        return running[-1]

    yield run
    for each in running:
        with contextlib.suppress(ProcessLookupError):
            each.process.terminate()
        each.process.wait(timeout=20)


@pytest.mark.parametrize("worker", ["sync", "gthread", "asgi"])
def test_each_line_is_an_object_whatever_clients_send(start: Start, worker: str) -> None:
    server = start(
        gunicorn_access_log="json",
        gunicorn_conf_extra=EXTRA,
        gunicorn_wsgi_app="wsgi:asgi" if worker == "asgi" else "wsgi:app",
        gunicorn_settings={"worker_class": worker},
    )
    for agent in HOSTILE:
        head = b'GET /a"b%0A%22\\{}?q="}%0d HTTP/1.1\r\nHost: a\r\nCF-IPCountry: "\r\nX-Request-ID: 7\r\n'
        assert b"200 OK" in server.ask(head + b"User-Agent: " + agent + b"\r\nReferer: " + agent + b"\r\n")
    eventually(lambda: server.text("journal").count('"status"') == len(HOSTILE))
    lines = [line for line in server.text("journal").splitlines() if line.startswith("{")]
    found = [json.loads(line) for line in lines]
    assert all(line.isascii() for line in lines)
    agents = [agent.decode("latin-1").strip() for agent in HOSTILE[:-1]]
    assert [line["user_agent"] for line in found] == [line["referer"] for line in found] == [*agents, None]
    for line in found:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
        assert line.pop("microseconds") >= 0
        assert line.pop("pid") != server.process.pid
        assert line.pop("client") is None, "who comes over a Unix socket has no address"
        del line["user_agent"], line["referer"]
        assert line == {
            "user": None,
            "method": "GET",
            "url": '/a"b%0A%22\\{}?q="}%0d',
            "protocol": "HTTP/1.1",
            "status": 200,
            "bytes": 2,
            "forwarded_for": None,
            "request_id": "7",
            "country": '"',
            "release": "3fa92c1b0d4e",
        }
    assert "the hook of the user" in server.text("journal")


def test_json_goes_with_statsd(start: Start) -> None:
    """Gunicorn would choose that class by itself only where there is no other one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as statsd:
        statsd.bind(("127.0.0.1", 0))
        statsd.settimeout(20)
        host = f"127.0.0.1:{statsd.getsockname()[1]}"
        server = start(gunicorn_access_log="json", gunicorn_settings={"statsd_host": host})
        server.ask()
        packets = iter(lambda: statsd.recv(4096), b"")
        assert any(packet.startswith(b"gunicorn.request.status.200:") for packet in packets)
    assert eventually(lambda: '"status": 200' in server.text("journal"))


@pytest.mark.parametrize("capture", [False, True])
def test_what_goes_to_which_file(start: Start, capture: bool) -> None:
    server = start(
        gunicorn_logs="files",
        gunicorn_conf_extra=EXTRA.partition("\n\n\n")[2],
        gunicorn_settings={"capture_output": capture},
    )
    server.ask()
    eventually(lambda: server.text("access.log").count("GET / HTTP/1.1") == 1)
    assert "GET /" not in server.text("journal")
    printed = "printed by the application\n"
    places = {name: server.text(name).count(printed) for name in ("journal", "error.log", "access.log")}
    assert places == {"journal": not capture, "error.log": capture, "access.log": 0}

    # The journal has the error log too, once, and in the same words.
    server.ask(b"GET /die HTTP/1.1\r\nHost: a\r\n")
    eventually(lambda: "was sent SIGKILL" in server.text("error.log"))
    for name in ("journal", "error.log"):
        for said in (r"\[ERROR\] Worker \(pid:\d+\) was sent SIGKILL", "the hook of", "the other hook of"):
            assert len(re.findall(rf"^\[[^]]+\] \[\d+\] .*{said}", server.text(name), re.MULTILINE)) == 1, (name, said)

    # Rotated, and reloaded, which runs the configuration again.
    for number, sent in enumerate((signal.SIGUSR1, signal.SIGHUP), start=1):
        for log in ("access", "error"):
            (server.directory / f"{log}.log").rename(server.directory / f"{log}.log.{number}")
        server.process.send_signal(sent)
        eventually(lambda: (server.directory / "access.log").exists() and (server.directory / "error.log").exists())
        eventually(lambda: server.ask() and "GET / " in server.text("access.log"))
    assert server.text("journal").count("Hang up: Master") == 1


def test_a_rotation_while_gunicorn_starts(start: Start) -> None:
    """The signal would end a process that starts, so it is not sent: the master opens its files anew when it is up."""
    server = start(
        gunicorn_logs="files",
        gunicorn_conf_extra=ROTATES,
    )
    server.ask()
    eventually(lambda: server.text("access.log").count("GET /") == 1)
    assert (server.text("a.1"), server.text("a.2")) == ("", "")
    server.process.terminate()
    server.process.wait(timeout=20)
    assert "Shutting down: Master" in server.text("error.log")


def test_the_check_logs_to_the_journal_alone(start: Start) -> None:
    """With what its unit puts into GUNICORN_CMD_ARGS."""
    server = start(
        "--access-logfile", "-", "--error-logfile", "-", gunicorn_logs="files", gunicorn_wsgi_app="wsgi:none"
    )
    assert server.process.wait(timeout=20) != 0
    assert server.text("journal").count("[INFO] Listening at: ") == 1
    assert "Failed to find attribute 'none' in 'wsgi'" in server.text("journal")
    assert (server.text("error.log"), server.text("access.log")) == ("", "")
