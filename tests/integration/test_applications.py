"""Applications of PyPI side by side on one server: the files of examples/ as they are, each updated under load."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import socket
import struct
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, ROOT, Controller, Play, Server, fresh_server

from .conftest import Load

pytestmark = pytest.mark.full

EXAMPLES = ROOT / "examples"
APPLICATIONS = {"budget": 8001, "wiki": 8002, "board": 8003, "calendar": 8004}
VAULT = {"budget_secret_key": "not to be guessed", "wiki_secret_key": "nor this one"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give the server that has all of them."""
    yield from fresh_server("it-applications", RELEASES[0])


@dataclass
class Host:
    """The server with the applications, and who deploys to it."""

    controller: Controller
    server: Server

    def deploy(self, example: Path, *arguments: str) -> Play:
        """Run the playbook of an example as a user would, with nothing added but what a vault holds."""
        play = self.controller.play(self.server, VAULT, *arguments, playbook=str(example / "site.yml"))
        assert play, play.output
        return play

    def running(self) -> dict[str, str]:
        """What runs, by application: process, start and release."""
        names = "MainPID,InvocationID,ActiveState,ActiveEnterTimestampMonotonic"
        return {
            name: self.server.run(
                f"systemctl show --property {names} {name}.service {name}.socket; readlink /opt/{name}/current"
            )
            for name in APPLICATIONS
            if self.server.run(f"ls -d /opt/{name}", check=False)
        }

    @contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Hold that this application changes, and that no other one does."""
        before = self.running()
        yield
        after = self.running()
        assert after.pop(name) != before.pop(name, ""), f"{name} runs anew"
        assert after == before, f"a deploy of {name} touches no other application"

    def as_service(self, name: str, command: str, options: str = "") -> str:
        """Run a command as the user of an application, in its directory, with its environment and its secrets."""
        current = f"/opt/{name}/current"
        secrets = self.server.run(f"ls {current}/secrets 2>/dev/null", check=False).split()
        load = [f"--property=LoadCredentialEncrypted={secret}:{current}/secrets/{secret}" for secret in secrets]
        assign = [f'{secret}=$(cat "$CREDENTIALS_DIRECTORY/{secret}")' for secret in secrets]
        shell = " ".join([*assign, f"exec {current}/venv/bin/{command}"])
        return self.server.run(
            f"systemd-run --quiet --pipe --wait --uid={name} --working-directory={current}/code"
            f" --property=EnvironmentFile={current}/environment --setenv=STATE_DIRECTORY=/var/lib/gunicorn/{name}"
            f" {' '.join(load)} {options} sh -c {shlex.quote(shell)}"
        )


@pytest.fixture
def host(controller: Controller, server: Server) -> Host:
    return Host(controller, server)


def earlier(example: str, directory: Path, file: str, now: str, then: str) -> Path:
    """Give an example as it was before its last change."""
    copy = Path(shutil.copytree(EXAMPLES / example, directory / example))
    text = (copy / file).read_text()
    assert now in text
    (copy / file).write_text(text.replace(now, then))
    return copy


@dataclass
class Browser:
    """Somebody who visits an application, and keeps its cookies."""

    address: str
    port: int
    headers: dict[str, str] = field(default_factory=dict)
    cookies: SimpleCookie = field(default_factory=SimpleCookie)

    def ask(self, method: str, path: str, form: dict[str, str] | str = "", **headers: str) -> tuple[HTTPResponse, str]:
        """Send a request; the answer and its body."""
        connection = HTTPConnection(self.address, self.port, timeout=30)
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={cookie.value}" for name, cookie in self.cookies.items())
        if isinstance(form, dict):
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
            form = urllib.parse.urlencode(form)
        connection.request(method, path, form.encode() or None, sent)
        answer = connection.getresponse()
        for value in answer.headers.get_all("Set-Cookie", []):
            self.cookies.load(value)
        return answer, answer.read().decode()

    def get(self, path: str) -> str:
        """Body of a page that has to be there."""
        answer, body = self.ask("GET", path)
        assert answer.status == 200, (answer.status, body)
        return body

    def submit(self, path: str, form: dict[str, str]) -> str:
        """Fill in the form of a page of Django, and send it: where it leads to."""
        (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', self.get(path)))
        answer, body = self.ask("POST", path, {**form, "csrfmiddlewaretoken": token})
        assert answer.status == 302, body
        return answer.headers["Location"]


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_flask_with_a_database(host: Host, tmp_path: Path) -> None:
    """I Hate Money 7.2 changes the tables of 7.1."""
    browser = Browser(host.server.address, APPLICATIONS["budget"])
    host.deploy(earlier("flask_database", tmp_path, "budget/requirements.txt", "==7.2.1", "==7.1.1"))
    project = {"name": "Trip", "id": "trip", "password": "to the sea", "contact_email": "ann@example.org"}
    assert browser.ask("POST", "/api/projects", {**project, "default_currency": "EUR"})[0].status == 201
    browser.headers = basic("trip", "to the sea")
    assert browser.ask("POST", "/api/projects/trip/members", {"name": "Ann"})[0].status == 201
    assert "remote_addr" in columns(host, "transaction")

    # Not the password: to check that at each request costs more than all the rest.
    browser.headers = {"Authorization": "Bearer " + json.loads(browser.get("/api/projects/trip/token"))["token"]}
    load = Load(browser.address, browser.port, path="/api/projects/trip", headers=browser.headers)
    with host.changing("budget"), load:
        host.deploy(EXAMPLES / "flask_database")
    assert load.failures == []
    assert load.longest_gap < load.restarted(host.server, "budget").longest_gap
    assert "remote_addr" not in columns(host, "transaction"), "7.2 drops that column"
    assert json.loads(browser.get("/api/projects/trip"))["members"][0]["name"] == "Ann"
    assert "I Hate Money" in browser.get("/")
    log = host.server.run("journalctl --unit budget-check --output cat").split("gunicorn_before_activate: flask db ")[
        -1
    ]
    assert "Running upgrade" in log.split("gunicorn_before_activate: done")[0], "before Gunicorn starts, and once"
    assert "Running upgrade" not in log.split("gunicorn_before_activate: done")[1]


def columns(host: Host, table: str) -> str:
    """Names of the columns of a table of I Hate Money."""
    query = f"import sqlite3 as s; print(*s.connect('budget.sqlite').execute('pragma table_info(\\\"{table}\\\")'))"
    return host.server.run(f'cd /var/lib/gunicorn/budget && python3 -c "{query}"')


def test_django_with_static_files(host: Host, tmp_path: Path) -> None:
    browser = Browser(host.server.address, APPLICATIONS["wiki"], {"Host": "wiki.example"})
    host.deploy(earlier("django_static", tmp_path, "wiki/settings.py", "WIKI_ANONYMOUS_WRITE = False\n", ""))
    host.as_service(
        "wiki",
        "python -m django createsuperuser --no-input --username ann --email ann@example.org",
        "--setenv=DJANGO_SUPERUSER_PASSWORD=sesame",
    )
    assert browser.submit("/admin/login/?next=/admin/", {"username": "ann", "password": "sesame"}) == "/admin/"
    assert "Site administration" in browser.get("/admin/")
    browser.submit("/create-root/", {"title": "Cabin", "content": "The key is under the **third** stone."})
    visitor = Browser(browser.address, browser.port, browser.headers)
    assert "under the <strong>third</strong> stone" in visitor.get("/")
    assert Browser(browser.address, browser.port).ask("GET", "/")[0].status == 400, "it answers to its own name only"
    styles = re.findall(r'href="(/static/\S+\.[0-9a-f]{12}\.css)"', visitor.get("/"))
    assert styles

    load = Load(browser.address, browser.port, rate=20, headers=browser.headers)
    with host.changing("wiki"), load:
        host.deploy(EXAMPLES / "django_static")
    assert load.failures == []
    assert load.longest_gap < load.restarted(host.server, "wiki").longest_gap
    assert "under the <strong>third</strong> stone" in visitor.get("/")
    assert "Site administration" in browser.get("/admin/"), "who was logged in still is"
    for style in styles:
        answer, body = visitor.ask("GET", style)
        assert (answer.status, answer.headers.get_content_type()) == (200, "text/css")
        assert "immutable" in answer.headers["Cache-Control"]
        assert "{" in body
    manifests = host.server.run("cd /var/lib/gunicorn/wiki/manifests && ls */staticfiles.json | xargs dirname").split()
    assert sorted(manifests) == sorted(host.server.run("ls /opt/wiki/releases").split()), "each has its own"


class WebSocket:
    """A browser's end of a WebSocket, as RFC 6455 has it; messages are shorter than 64 KiB."""

    def __init__(self, address: str, port: int, path: str) -> None:
        self.socket = socket.create_connection((address, port), timeout=30)
        self.file = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = b"".join(iter(self.file.readline, b"\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 "), head

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.socket.close()

    def send(self, message: Any) -> None:
        data = json.dumps(message).encode()
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        size = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack(">BH", 0x80 | 126, len(data))
        self.socket.sendall(b"\x81" + size + mask + masked)

    def receive(self) -> Any:
        """Give the next message; nothing where the other end is gone."""
        start = self.file.read(2)
        if len(start) < 2 or start[0] & 0x0F == 0x08:
            return None
        size = start[1] & 0x7F
        (size,) = struct.unpack(">H", self.file.read(2)) if size == 126 else (size,)
        return json.loads(self.file.read(size))

    def output(self, name: str) -> str:
        """Wait for Shiny to send another value of an output."""
        while message := self.receive():
            if name in message.get("values", {}):
                return str(message["values"][name])
        raise AssertionError("the connection ended")


def test_asgi_with_websockets(host: Host, tmp_path: Path) -> None:
    address, port = host.server.address, APPLICATIONS["board"]

    def open_page() -> WebSocket:
        page = WebSocket(address, port, "/websocket/")
        page.send({"method": "init", "data": {"net:shiny.number": 100, ".clientdata_output_gross_hidden": False}})
        return page

    host.deploy(earlier("asgi_websocket", tmp_path, "board/app.py", "1.19", "1.16"))
    with open_page() as old:
        assert old.output("gross") == "With tax: 116.00"
        with host.changing("board"), Load(address, port) as load:
            host.deploy(EXAMPLES / "asgi_websocket")
        assert load.failures == []
        assert load.longest_gap < load.restarted(host.server, "board").longest_gap
        while old.receive():
            pass  # it ends with its release, after graceful_timeout
    with open_page() as new:
        assert new.output("gross") == "With tax: 119.00"
        new.send({"method": "update", "data": {"net:shiny.number": 200}})
        while (gross := new.output("gross")) == "With tax: 119.00":
            pass
        assert gross == "With tax: 238.00"


EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Tests//EN
BEGIN:VEVENT
UID:party
DTSTAMP:20260101T000000Z
DTSTART:20260601T180000Z
SUMMARY:Garden party
END:VEVENT
END:VCALENDAR
"""
RADICALE_3_2_2 = {
    "archive": "https://files.pythonhosted.org/packages/99/af/d1fd5be0936f670696770567b295262682c93c848d91fa947c3c05a222b5/radicale-3.2.2.tar.gz",
    "checksum": "sha256:f4f2747647f535423863d9dd86f7b37d9c35173f02c28900f43c9b77cb45580c",
}


def test_setup_py_from_an_archive(host: Host) -> None:
    browser = Browser(host.server.address, APPLICATIONS["calendar"], basic("ann", ""))
    host.deploy(EXAMPLES / "setup_py", "-e", json.dumps({"gunicorn_source": RADICALE_3_2_2}))
    assert browser.ask("MKCALENDAR", "/ann/plans/")[0].status == 201
    assert browser.ask("PUT", "/ann/plans/party.ics", EVENT, Content_Type="text/calendar")[0].status == 201

    load = Load(browser.address, browser.port, path="/ann/plans/party.ics", headers=browser.headers)
    with host.changing("calendar"), load:
        host.deploy(EXAMPLES / "setup_py")
    assert load.failures == []
    assert load.longest_gap < load.restarted(host.server, "calendar").longest_gap
    assert "SUMMARY:Garden party" in browser.get("/ann/plans/party.ics")
    assert "Radicale Web Interface" in browser.get("/.web/")
    installed = host.server.run("ls /opt/calendar/current/venv/lib/python3*/site-packages").lower().split()
    assert "radicale-3.2.3.dist-info" in installed
    assert any(name.startswith("vobject-") for name in installed), "setup.py asks for it"
    assert host.deploy(EXAMPLES / "setup_py", "-e", "gunicorn_force=true").changed == 0


def test_a_setting_of_one_is_nothing_to_the_others(host: Host) -> None:
    with host.changing("budget"):
        host.deploy(EXAMPLES / "flask_database", "-e", '{"gunicorn_settings": {"workers": 1}}')
    assert set(host.running()) == set(APPLICATIONS)
    units = " ".join(f"'{name}*'" for name in APPLICATIONS)
    states = host.server.run(f"systemctl list-units --all --plain --no-legend {units}")
    assert "calendar.socket" in states
    assert "failed" not in states
