"""The health check: what it asks, what it believes, and what it tells where the answer is no."""

from __future__ import annotations

import contextlib
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils import health as health_check
from ansible_collections.pyweb.deploy.plugins.module_utils.health import (
    Question,
    Service,
    UnhealthyError,
    diagnose,
    last_traceback,
    shown,
)
from ansible_collections.pyweb.deploy.plugins.module_utils.probe import BODY_LIMIT, Connection, ask
from ansible_collections.pyweb.deploy.tests.certificates import certificate_and_key

HEALTH: dict[str, Any] = {"path": "/", "host": "localhost", "status": [200], "expect": "", "timeout": 30, "tls": False}

Address = dict[str, Any]
Serve = Callable[..., Address]


def unix(path: str) -> Address:
    return {"host": "", "port": 0, "path": path}


def tcp(host: str, port: int) -> Address:
    return {"host": host, "port": port, "path": ""}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer connections to a Unix socket, or to an IP address, with a function of the connection and the request."""
    servers: list[socket.socket] = []
    with tempfile.TemporaryDirectory() as directory:  # pytest's own can be too long for a Unix socket

        def start(
            answer: Callable[[socket.socket, bytes], None],
            host: str = "",
            tls: ssl.SSLContext | None = None,
            seen: list[Any] | None = None,
        ) -> Address:
            address = unix(f"{directory}/{len(servers)}.sock")
            family = socket.AF_UNIX if not host else socket.AF_INET6 if ":" in host else socket.AF_INET
            server = socket.socket(family, socket.SOCK_STREAM)
            server.bind((host, 0) if host else address["path"])
            if host:
                address = tcp(host, server.getsockname()[1])
            server.listen()
            servers.append(server)

            def loop() -> None:
                while True:
                    try:
                        connection, _address = server.accept()
                    except OSError:
                        return
                    if tls:
                        try:
                            connection = tls.wrap_socket(connection, server_side=True)
                        except OSError:
                            connection.close()
                            continue
                        if seen is not None:
                            seen.append(connection.selected_alpn_protocol())
                    with connection:
                        request = b""
                        while b"\r\n\r\n" not in request:
                            if not (part := connection.recv(4096)):
                                break
                            request += part
                        with contextlib.suppress(OSError):  # the check hung up
                            answer(connection, request)

            threading.Thread(target=loop, daemon=True).start()
            return address

        yield start
        for server in servers:
            server.shutdown(socket.SHUT_RDWR)
            server.close()


def http(status: int, body: str = "", length: int | None = None) -> Callable[[socket.socket, bytes], None]:
    """Answer with a status and a body."""
    content = body.encode()
    head = f"HTTP/1.1 {status} Reason\r\nContent-Length: {len(content) if length is None else length}\r\n\r\n"

    def answer(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(head.encode() + content)

    return answer


def send(content: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda connection, _request: connection.sendall(content)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_an_address_of_tcp(serve: Serve, host: str) -> None:
    try:
        address = serve(http(200), host)
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert ask(address, HEALTH, 5) == (200, "")


@pytest.mark.parametrize(
    ("host", "asked"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.5", "192.0.2.5"), ("2001:db8::5", "2001:db8::5")],
)
def test_a_wildcard_is_asked_on_this_host(host: str, asked: str) -> None:
    connection = Connection(tcp(host, 8000), 7)
    assert (connection.host, connection.port, connection.timeout) == (asked, 8000, 7)


def test_a_port_that_nobody_holds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    status, problem = ask(tcp("127.0.0.1", port), HEALTH, 5)
    assert (status, "refused" in problem) == (0, True)


# TLS


@pytest.fixture
def over_tls(serve: Serve, tmp_path: Path) -> tuple[Serve, list[Any]]:
    """Answer over TLS; and the names and protocols that clients asked for."""
    certificate, key = certificate_and_key()
    (tmp_path / "both.pem").write_text(certificate + key)
    seen: list[Any] = []

    def start(host: str = "") -> Address:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "both.pem")
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.sni_callback = lambda _socket, name, _context: seen.append(name)
        return serve(http(200, "in private"), host, context, seen)

    return start, seen


@pytest.mark.parametrize("host", ["", "127.0.0.1"])
@pytest.mark.parametrize(
    ("asked", "name"),
    [("shop.example", "shop.example"), ("shop.example:8443", "shop.example"), ("192.0.2.5", None), ("", None)],
)
def test_tls_is_not_verified(over_tls: tuple[Serve, list[Any]], host: str, asked: str, name: str | None) -> None:
    start, seen = over_tls
    health = {**HEALTH, "tls": True, "host": asked, "expect": "private"}
    assert ask(start(host), health, 5) == (200, "")
    assert seen == [name, "http/1.1"]


def test_no_tls_where_it_is_wanted(serve: Serve) -> None:
    status, problem = ask(serve(http(200)), {**HEALTH, "tls": True}, 0.5)
    assert (status, problem.startswith("no answer to GET /: ")) == (0, True)


def test_tls_where_nobody_wants_it(over_tls: tuple[Serve, list[Any]]) -> None:
    assert ask(over_tls[0](), HEALTH, 5)[0] == 0


@pytest.mark.parametrize("name", [".shop.example", "a" * 70 + ".example", "[shop"])
def test_a_name_that_tls_cannot_ask_for(over_tls: tuple[Serve, list[Any]], name: str) -> None:
    status, problem = ask(over_tls[0](), {**HEALTH, "tls": True, "host": name}, 5)
    assert (status, problem.startswith("no answer to GET /: ")) == (0, True)


def test_addresses_for_people() -> None:
    assert shown(tcp("0.0.0.0", 8000)) == "port 8000 of 0.0.0.0"
    assert shown(unix("/run/shop.sock")) == "/run/shop.sock"


def test_a_healthy_answer(serve: Serve) -> None:
    assert ask(serve(http(200, "fine")), HEALTH, 5) == (200, "")


def test_the_request(serve: Serve) -> None:
    seen: list[bytes] = []

    def answer(connection: socket.socket, request: bytes) -> None:
        seen.append(request)
        http(200)(connection, request)

    assert ask(serve(answer), {**HEALTH, "path": "/healthz?full=1", "host": "shop.example"}, 5) == (200, "")
    lines = seen[0].decode().split("\r\n")
    assert lines[0] == "GET /healthz?full=1 HTTP/1.1"
    assert [line for line in lines if line.lower().startswith("host:")] == ["Host: shop.example"]
    assert "Connection: close" in lines


@pytest.mark.parametrize(("status", "wanted"), [(500, [200]), (404, [200, 204]), (301, [200]), (200, [204])])
def test_a_wrong_status(serve: Serve, status: int, wanted: list[int]) -> None:
    found = ask(serve(http(status)), {**HEALTH, "path": "/healthz", "status": wanted}, 5)
    assert found == (status, f"GET /healthz answered {status}, not {', '.join(map(str, wanted))}")


def test_another_status_that_is_wanted(serve: Serve) -> None:
    assert ask(serve(http(301)), {**HEALTH, "status": [200, 301]}, 5) == (301, "")


def test_the_body(serve: Serve) -> None:
    address = serve(http(200, "all ö is well"))
    assert ask(address, {**HEALTH, "expect": "ö is"}, 5) == (200, "")
    assert ask(address, {**HEALTH, "expect": "it's ok"}, 5) == (200, "the answer to GET / doesn't hold \"it's ok\"")


@pytest.mark.parametrize(("padding", "found"), [(BODY_LIMIT - 2, True), (BODY_LIMIT, False)])
def test_the_beginning_of_the_body_counts(serve: Serve, padding: int, found: bool) -> None:
    status, problem = ask(serve(http(200, "x" * padding + "ok")), {**HEALTH, "expect": "ok"}, 5)
    assert (status, problem == "") == (200, found)


def test_an_answer_that_hangs(serve: Serve) -> None:
    done = threading.Event()
    address = serve(lambda _connection, _request: (done.wait(30), None)[1])
    started = time.monotonic()
    status, problem = ask(address, {**HEALTH, "path": "/slow"}, 0.2)
    done.set()
    assert (status, problem) == (0, "no answer to GET /slow: timed out")
    assert time.monotonic() - started < 10


def test_a_body_that_never_ends(serve: Serve) -> None:
    def answer(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"event\n")
            time.sleep(0.02)

    address = serve(answer)
    started = time.monotonic()
    assert ask(address, {**HEALTH, "expect": "event"}, 0.2) == (200, "")
    assert ask(address, {**HEALTH, "expect": "nothing"}, 0.2)[1] != ""
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("content", [b"hello\r\n\r\n", b"\x00\xff\xfe", b"HTTP/1.1 abc\r\n\r\n", b"", b"SSH-2.0-x\r\n"])
def test_garbage(serve: Serve, content: bytes) -> None:
    status, problem = ask(serve(send(content)), HEALTH, 5)
    assert status == 0
    assert problem.startswith("no answer to GET /: ")
    assert problem.removeprefix("no answer to GET /: ")


def test_nobody_listens(tmp_path: Path) -> None:
    status, problem = ask(unix(str(tmp_path / "nobody.sock")), HEALTH, 5)
    assert status == 0
    assert "No such file" in problem


def test_an_error_without_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: object) -> None:
        raise OSError

    monkeypatch.setattr(Connection, "connect", fail)
    assert ask(unix("/x"), HEALTH, 1) == (0, "no answer to GET /: OSError")


# What the journal says

TRACEBACK = """\
[2026-11-22 08:00:00 +0000] [7] [INFO] Booting worker with pid: 7
[2026-11-22 08:00:00 +0000] [7] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "/opt/shop/venv/lib/python3.11/site-packages/gunicorn/arbiter.py", line 608, in spawn_worker
    worker.init_process()
  File "/opt/shop/code/wsgi.py", line 1, in <host>
    import flask

ModuleNotFoundError: No host named 'flask'
[2026-11-22 08:00:00 +0000] [7] [INFO] Worker exiting (pid: 7)
[2026-11-22 08:00:01 +0000] [1] [ERROR] Worker (pid:7) exited with code 3
[2026-11-22 08:00:01 +0000] [1] [ERROR] Reason: Worker failed to boot.
""".splitlines()


def test_the_last_traceback() -> None:
    found = last_traceback([*TRACEBACK, *(line.replace("flask", "redis") for line in TRACEBACK)])
    assert found[0] == "Traceback (most recent call last):"
    assert found[1:] == [*(line.replace("flask", "redis") for line in TRACEBACK[5:9])], "not how Gunicorn gets there"


ENDS = (TRACEBACK[9], "2 errors", ' - - "GET / HTTP/1.1" 500 9', '192.0.2.5 - - "GET / HTTP/1.1" 500')


@pytest.mark.parametrize("end", ENDS)
def test_a_message_of_several_lines_is_whole(wait: Wait, end: str) -> None:
    said = ["Settings.Error: 2 errors", "database_url", "  Field required", "", "secret_key", "  Field required"]
    states = [STARTING, {**STATE, "InvocationID": "abc"}]
    left, _module = wait(states, [OK], [TRACEBACK[2], *said, end, *said[1:]])
    assert left.result["msg"].splitlines()[2:] == [TRACEBACK[2], *said]
    assert left.result["reason"] == "the application failed to start: Settings.Error: 2 errors"
    left, _module = wait(states, [OK], [TRACEBACK[2], said[0], "something else", "that goes on"])
    assert left.result["msg"].splitlines()[2:] == [TRACEBACK[2], said[0]], "nobody knows what it belongs to"


def test_a_traceback_of_gunicorn_itself() -> None:
    assert last_traceback([*TRACEBACK[2:5], "AttributeError: x"]) == [*TRACEBACK[2:5], "AttributeError: x"]


def test_what_python_does_to_import_is_left_out() -> None:
    imports = [
        '  File "/usr/lib/python3.13/importlib/__init__.py", line 88, in import_module',
        "    return _bootstrap._gcd_import(name[level:], package, level)",
        "           ~~~~~~~~~~~~~~~~~~~~~~^^^^^^^^",
        '  File "<frozen importlib._bootstrap>", line 1387, in _gcd_import',
    ]
    own = ['  File "/opt/shop/code/wsgi.py", line 1, in <module>', "    import flask", "ModuleNotFoundError: x"]
    assert last_traceback([TRACEBACK[2], *imports, *own]) == [TRACEBACK[2], *own]


def test_a_long_traceback_keeps_its_end() -> None:
    frames = [f'  File "x.py", line {number}, in f' for number in range(100)]
    found = last_traceback(["Traceback (most recent call last):", *frames, "ValueError: x", "after it"])
    assert len(found) == 1 + health_check.TRACEBACK_LINES
    assert (found[0][:9], found[-2], found[-1]) == ("Traceback", frames[-1], "ValueError: x")


@pytest.mark.parametrize("lines", [[], ["[INFO] Booting worker"], ["  Traceback is a word"]])
def test_no_traceback(lines: list[str]) -> None:
    assert last_traceback(lines) == []


def test_a_traceback_that_breaks_off() -> None:
    assert last_traceback(["Traceback (most recent call last):", "  File"]) == [
        "Traceback (most recent call last):",
        "  File",
    ]


STATE = {"ActiveState": "failed", "Result": "exit-code", "ExecMainStatus": "3"}


def test_the_master_that_gives_up_does_not_hide_the_cause() -> None:
    halt = [
        TRACEBACK[0],
        '  File "arbiter.py", line 683, in reap_workers',
        "gunicorn.errors.HaltServer: <HaltServer 3>",
    ]
    assert last_traceback([*TRACEBACK, *halt, *halt]) == last_traceback(TRACEBACK)
    assert last_traceback(halt) == []


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (TRACEBACK, "the application failed to start: ModuleNotFoundError: No host named 'flask'"),
        (TRACEBACK[-2:], "Reason: Worker failed to boot."),
        (["gunicorn.conf.py: unknown setting 'timout'", "x"], "gunicorn.conf.py: unknown setting 'timout'"),
        (["Failed to read config file: x", TRACEBACK[-1]], "Failed to read config file: x"),
        (["[INFO] Starting"], "the service ended (result exit-code, status 3)"),
        ([], "the service ended (result exit-code, status 3)"),
    ],
)
def test_the_diagnosis(lines: list[str], reason: str) -> None:
    assert diagnose(lines, STATE) == reason


COMMANDS = [
    "gunicorn_before_activate: flask db upgrade",
    "[INFO] Running upgrade",
    "gunicorn_before_activate: flask warm-up",
    "warm",
]
DONE = [*COMMANDS, "gunicorn_before_activate: done"]


@pytest.mark.parametrize(
    ("lines", "result", "reason"),
    [
        (COMMANDS[:2], "exit-code", "gunicorn_before_activate: a command failed: flask db upgrade"),
        (COMMANDS, "exit-code", "gunicorn_before_activate: a command failed: flask warm-up"),
        (COMMANDS, "signal", "gunicorn_before_activate: a command failed: flask warm-up"),
        (COMMANDS, "timeout", "gunicorn_before_activate: a command took too long: flask warm-up"),
        ([*COMMANDS, *TRACEBACK], "exit-code", "gunicorn_before_activate: a command failed: flask warm-up"),
        (DONE, "exit-code", "the service ended (result exit-code, status 3)"),
        ([*DONE, *TRACEBACK], "exit-code", "the application failed to start: " + last_traceback(TRACEBACK)[-1]),
        (["it says gunicorn_before_activate: x"], "exit-code", "the service ended (result exit-code, status 3)"),
    ],
)
def test_the_diagnosis_of_commands(lines: list[str], result: str, reason: str) -> None:
    assert diagnose(lines, {**STATE, "Result": result}) == reason


# Waiting for a service


class Left(NamedTuple):
    """How it ended."""

    failed: bool
    result: dict[str, Any]


State = dict[str, str]


class Host:
    """A host whose service goes through the states, the last one for ever."""

    def __init__(self, states: list[State], journal: Iterable[str] = (), **params: Any) -> None:
        self.params: dict[str, Any] = {"health": HEALTH, "watch": 0, "public": [], "only_commands": False, **params}
        self.states = list(states)
        self.journal = list(journal)
        self.commands: list[list[str]] = []

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        if command[0] == "journalctl":
            return 0, "\n".join(self.journal[-int(command[command.index("--lines") + 1]) :]) + "\n", ""
        assert command[:3] == ["systemctl", "show", "--property"]
        assert command[4:] == ["shop-check.service"]
        state = self.states[0] if len(self.states) == 1 else self.states.pop(0)
        return 0, "".join(f"{key}={state[key]}\n" for key in command[3].split(",") if key in state), ""

    def asked_journal_for(self) -> list[str]:
        """What the journal was asked for."""
        return [command[-1] for command in self.commands if command[0] == "journalctl"]

    def run(self) -> Left:
        """Wait for the service, and watch it."""
        service = Service(self.run_command, "shop-check", self.params["health"])
        result: dict[str, Any] = {}
        try:
            if self.params["only_commands"]:
                service.wait_for_commands()
                return Left(False, result)
            result["status"], result["seconds"] = service.wait()
            if self.params["watch"]:
                service.watch(self.params["watch"], self.params["public"], result["seconds"])
        except UnhealthyError as problem:
            return Left(True, {"reason": problem.reason, "msg": str(problem)})
        return Left(False, result)


ACTIVE = {"ActiveState": "active", "SubState": "running", "InvocationID": "abc", "Job": ""}
STARTING = {**ACTIVE, "ActiveState": "activating", "SubState": "start", "Job": "4711"}
COMMAND = {**STARTING, "SubState": "start-pre"}

Answer = tuple[int, str]
Wait = Callable[..., "tuple[Left, Host]"]


@pytest.fixture
def asked() -> list[tuple[str, float]]:
    """Path and time limit of each question."""
    return []


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, float]]) -> Wait:
    """Run the health check against states and answers; of both, the last one is repeated."""

    def run(
        states: list[State], answers: list[Answer], journal: Iterable[str] = (), **health: Any
    ) -> tuple[Left, Host]:
        host = Host(states, journal, health={**HEALTH, **health})
        left_answers = list(answers)

        def answer(address: Address, _health: object, timeout: float) -> Answer:
            asked.append((address["path"], timeout))
            return left_answers[0] if len(left_answers) == 1 else left_answers.pop(0)

        monkeypatch.setattr(health_check, "PAUSE", 0.001)
        monkeypatch.setattr(health_check, "ask", answer)
        return host.run(), host

    return run


OK = (200, "")

NOT_FOUND = (404, "GET /healthz answered 404, not 200")


@pytest.mark.parametrize("answer", [NOT_FOUND, (302, "GET / answered 302, not 200")])
def test_a_wrong_path_is_not_asked_until_the_time_limit(
    wait: Wait, monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    monkeypatch.setattr(health_check, "REFUSAL_PATIENCE", 0.05)
    left, _host = wait([ACTIVE], [answer], timeout=3600)
    assert left.result["reason"] == answer[1]


def test_other_answers_may_change(wait: Wait, monkeypatch: pytest.MonkeyPatch) -> None:
    """What begins with errors of its own, or with another refusal each time, is still starting."""
    monkeypatch.setattr(health_check, "REFUSAL_PATIENCE", 0.0)
    answers = [(503, "not yet")] * 9 + [NOT_FOUND, (400, "no such host"), NOT_FOUND, OK]
    assert wait([ACTIVE], answers)[0].failed is False


@pytest.mark.parametrize(
    ("answered", "passes", "path"),
    [({"/"}, True, "/"), ({"/", "/healthz"}, True, "/healthz"), (set(), False, "/healthz")],
)
def test_what_passed_another_check_before_may_pass_that(
    monkeypatch: pytest.MonkeyPatch, answered: set[str], passes: bool, path: str
) -> None:
    def answer(_address: Address, health: dict[str, Any], _timeout: float) -> Answer:
        return OK if health["path"] in answered else (404, f"GET {health['path']} answered 404")

    monkeypatch.setattr(health_check, "REFUSAL_PATIENCE", 0.01)
    monkeypatch.setattr(health_check, "PAUSE", 0.001)
    monkeypatch.setattr(health_check, "ask", answer)
    service = Service(Host([ACTIVE]).run_command, "shop-check", {**HEALTH, "path": "/healthz"})
    if passes:
        service.wait({**HEALTH, "path": "/"})
    else:
        with pytest.raises(UnhealthyError, match="GET /healthz answered 404"):
            service.wait({**HEALTH, "path": "/"})
    assert service.health["path"] == path


def test_healthy_after_a_while(wait: Wait, asked: list[tuple[str, float]]) -> None:
    left, host = wait([STARTING, STARTING, ACTIVE], [(503, "not yet"), (0, "no answer"), OK])
    assert left.failed is False
    assert left.result["status"] == 200
    assert 0 <= left.result["seconds"] < HEALTH["timeout"]
    assert {path for path, _timeout in asked} == {"/run/gunicorn/shop-check.sock"}
    assert all(0 < timeout <= HEALTH["timeout"] for _path, timeout in asked)
    assert host.asked_journal_for() == []


def test_nothing_is_asked_before_the_service_runs(wait: Wait, asked: list[tuple[str, float]]) -> None:
    left, host = wait([STARTING] * 5, [OK], timeout=0.05)
    assert (left.failed, asked) == (True, [])
    assert left.result["reason"] == "it wasn't healthy within 0.05 s: no answer yet"
    assert len(host.commands) > 1


@pytest.mark.parametrize("state", ["failed", "inactive"])
def test_a_service_that_failed(wait: Wait, state: str) -> None:
    left, host = wait([STARTING, {**STATE, "ActiveState": state, "InvocationID": "abc"}], [OK], TRACEBACK)
    assert left.failed is True
    assert left.result["reason"] == "the application failed to start: ModuleNotFoundError: No host named 'flask'"
    lines = left.result["msg"].splitlines()
    assert lines[0] == "shop-check.service: the application failed to start:"
    assert lines[1:] == ["", *last_traceback(TRACEBACK)]
    assert left.result["msg"].count("No host named 'flask'") == 1
    assert host.asked_journal_for() == ["_SYSTEMD_INVOCATION_ID=abc"]


def test_a_service_that_was_started_again(wait: Wait) -> None:
    """The request that waits at its socket makes systemd start it again; what the first start wrote says why."""
    left, host = wait([STARTING, {**ACTIVE, "InvocationID": "def"}], [OK], TRACEBACK)
    assert left.failed is True
    assert "No host named 'flask'" in left.result["reason"]
    assert host.asked_journal_for() == ["_SYSTEMD_INVOCATION_ID=abc"]


@pytest.mark.parametrize("state", ["failed", "inactive"])
def test_what_was_before_the_start_does_not_count(wait: Wait, state: str) -> None:
    queued = {**STATE, "ActiveState": state, "SubState": "dead", "InvocationID": "old", "Job": "4711"}
    left, _module = wait([queued, queued, STARTING, ACTIVE], [OK], TRACEBACK)
    assert left.failed is False


def test_a_service_that_dies_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(health_check, "PAUSE", 0.001)
    monkeypatch.setattr(health_check, "ask", lambda *_arguments: (answered.wait(10), OK)[1])
    left = Host([ACTIVE, ACTIVE, {**STATE, "InvocationID": "abc"}], TRACEBACK).run()
    answered.set()
    assert left.failed is True
    assert "No host named 'flask'" in left.result["reason"]


def test_no_journal(wait: Wait) -> None:
    left, _module = wait([STATE], [OK])
    assert left.result["msg"] == "shop-check.service: the service ended (result exit-code, status 3)"


def test_never_healthy(wait: Wait) -> None:
    lines = [f"line {number}" for number in range(20)]
    left, _module = wait([ACTIVE], [(500, "GET / answered 500, not 200")], lines, timeout=0.05)
    assert left.failed is True
    assert left.result["reason"] == "it wasn't healthy within 0.05 s: GET / answered 500, not 200"
    assert left.result["msg"].splitlines()[2] == "Its last lines (journalctl -u shop-check.service):"
    assert left.result["msg"].splitlines()[3:] == [f"  {line}" for line in lines[-health_check.JOURNAL_LINES :]]


REQUEST = '"GET / HTTP/1.1" 500 9 "-" "-" 0.0005'
OWN = (
    f" - - {REQUEST}",
    f"- - - {REQUEST}",
    f" - - [29/Nov/2026:14:20:16 +0000] {REQUEST}",
    '{"time": "2026-11-25T22:53:39.123+00:00", "client": null, "user": null, "method": "GET", "url": "/", "status": 5}',
    *TRACEBACK[:1],
)
OTHERS = (
    f"192.0.2.5 - - {REQUEST}",
    f" - - {REQUEST.replace('/ ', '/cart ')}",
    OWN[3].replace("null", '"::1"', 1),
    "hello",
)


def test_what_the_check_does_itself_is_not_shown(wait: Wait) -> None:
    lines = [*OTHERS, *OWN * 20, WRONG[1]]
    left, _module = wait([ACTIVE], [(500, "GET / answered 500, not 200")], lines, timeout=0.05)
    assert left.result["msg"].splitlines()[3:] == [f"  {line}" for line in (*OTHERS, WRONG[1])]
    left, _module = wait([ACTIVE], [(500, "GET / answered 500, not 200")], OWN, timeout=0.05)
    assert left.result["msg"] == f"shop-check.service: {left.result['reason']}"


def test_a_log_line_that_is_the_reason_is_not_shown_twice(wait: Wait) -> None:
    said = "Failed to find attribute 'x' in 'wsgi'."
    left, _module = wait([STARTING, {**STATE, "InvocationID": "abc"}], [OK], [said, "after it"])
    assert left.result["msg"].count(said) == 1
    assert left.result["msg"].endswith("\n  after it")


def test_a_service_that_took_too_much_memory() -> None:
    assert diagnose(TRACEBACK, {**STATE, "Result": "oom-kill"}) == "the service ended (result oom-kill, status 3)"


def test_a_question_without_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(health_check, "ask", lambda *_arguments: (answered.wait(10), OK)[1])
    left = Host([ACTIVE], health={**HEALTH, "timeout": 0.05}).run()
    answered.set()
    assert left.failed is True


# With a clock of its own: only what the check sleeps counts, and each answer is there at once.


class Clock:
    """A clock that runs while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 10000, "it never ends"


Reply = Callable[[Address], Answer]
Run = Callable[..., Left]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(health_check, "time", SimpleNamespace(monotonic=found.monotonic, sleep=found.sleep))
    monkeypatch.setattr(Question, "start", Question.run)
    monkeypatch.setattr(Question, "join", lambda _self, seconds: found.sleep(seconds))
    return found


@pytest.fixture
def questions() -> list[Address]:
    """Addresses that were asked, in order."""
    return []


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, clock: Clock, questions: list[Address]) -> Run:
    """Run the health check on a host; the reply is a function of the address."""

    def run(host: Host, reply: Reply = lambda _address: OK) -> Left:
        def answer(address: Address, _health: object, _timeout: float) -> Answer:
            questions.append(address)
            return reply(address)

        monkeypatch.setattr(health_check, "ask", answer)
        return host.run()

    assert clock.now == 1000
    return run


def test_what_commands_take_does_not_count(run: Run) -> None:
    left = run(Host([COMMAND] * 600 + [STARTING] * 200 + [ACTIVE]))
    assert left.failed is False
    assert 20 < left.result["seconds"] < 21


def test_after_the_commands_the_time_counts(run: Run, questions: list[Address]) -> None:
    left = run(Host([COMMAND] * 600 + [STARTING] * 400 + [ACTIVE]))
    assert (left.failed, questions) == (True, [])
    assert left.result["reason"] == "it wasn't healthy within 30 s: no answer yet"


def test_a_command_that_fails(run: Run) -> None:
    left = run(Host([COMMAND, {**STATE, "InvocationID": "abc"}], COMMANDS))
    assert left.result["reason"] == "gunicorn_before_activate: a command failed: flask warm-up"
    assert left.result["msg"].splitlines()[-1] == "  warm"


def test_a_command_that_says_much_before_it_fails(run: Run) -> None:
    much = [f"Running upgrade {number}" for number in range(5000)]
    left = run(Host([COMMAND, {**STATE, "InvocationID": "abc"}], [COMMANDS[0], *much]))
    assert left.result["reason"] == "gunicorn_before_activate: a command failed: flask db upgrade"


@pytest.mark.parametrize("end", [ACTIVE, STARTING, {**STATE, "SubState": "failed"}])
def test_waiting_for_commands_only(run: Run, clock: Clock, questions: list[Address], end: State) -> None:
    host = Host([*[COMMAND] * 4000, end], only_commands=True)
    left = run(host)
    assert (left.failed, questions) == (False, [])
    assert (len(host.commands), clock.now) == (4001, 3000)


# The watch

PRIVATE = "/run/gunicorn/shop-check.sock"
PUBLIC = [tcp("0.0.0.0", 8000), tcp("::", 8000), unix("/run/shop.sock")]
WRONG = (500, "GET / answered 500, not 200")
LIVELY = ["[2026-11-22 08:00:00 +0000] [7] [INFO] Booting worker with pid: 7", '127.0.0.1 "GET / HTTP/1.1" 200']


def test_the_watch(run: Run, clock: Clock, questions: list[Address]) -> None:
    left = run(Host([ACTIVE], LIVELY, watch=5, public=PUBLIC))
    assert (left.failed, left.result["status"]) == (False, 200)
    assert left.result["seconds"] < 1, "it tells when the answer was healthy first"
    assert 5 <= clock.now - 1000 < 6
    assert [address for address in questions if address in PUBLIC] == PUBLIC
    assert [address["path"] for address in questions].count(PRIVATE) == 1 + 10


def test_the_watch_ends_when_its_time_is_over(run: Run, clock: Clock) -> None:
    """Between two looks, not after the next."""
    assert run(Host([ACTIVE], LIVELY, watch=5.2)).failed is False
    assert 5.2 <= clock.now - 1000 < 5.45


def test_without_a_watch(run: Run, questions: list[Address]) -> None:
    host = Host([ACTIVE], DIED, public=PUBLIC)
    assert run(host).failed is False
    assert ([address["path"] for address in questions], host.asked_journal_for()) == ([PRIVATE], [])


def test_a_connection_that_a_dying_worker_broke(run: Run, clock: Clock) -> None:
    reset = (0, "no answer to GET /: [Errno 104] Connection reset by peer")
    left = run(Host([ACTIVE], DIED, watch=5), lambda _address: reset if clock.now >= 1002 else OK)
    said = "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?"
    assert left.result["reason"] == f"unhealthy after 2.5 s of traffic: {reset[1]}; {said}"


@pytest.mark.parametrize("answer", [WRONG, (0, "no answer to GET /: timed out")])
def test_a_bad_answer_in_the_watch(run: Run, clock: Clock, questions: list[Address], answer: Answer) -> None:
    host = Host([ACTIVE], ["the", "end"], watch=5, public=PUBLIC)
    left = run(host, lambda address: answer if address["path"] == PRIVATE and clock.now >= 1002 else OK)
    assert left.failed is True
    assert left.result["reason"] == f"unhealthy after 2.5 s of traffic: {answer[1]}"
    assert left.result["msg"].splitlines()[0] == f"shop-check.service: {left.result['reason']}"
    assert left.result["msg"].splitlines()[-2:] == ["  the", "  end"]
    assert len(questions) < 12


def test_what_an_older_service_answers_at_the_public_addresses_is_not_its_fault(run: Run) -> None:
    """It shares them until the new one is healthy; its own failure may be what the new one fixes."""
    left = run(Host([ACTIVE], watch=5, public=PUBLIC), lambda address: OK if address["path"] == PRIVATE else WRONG)
    assert left.failed is False


@pytest.mark.parametrize("silent", PUBLIC)
@pytest.mark.parametrize(("seconds", "healthy"), [(4, True), (20, True), (29, True), (31, False), (99, False)])
def test_each_public_address_must_answer_once(
    run: Run, clock: Clock, silent: Address, seconds: float, healthy: bool
) -> None:
    def reply(address: Address) -> Answer:
        return (0, "no answer to GET /: refused") if address == silent and clock.now < 1000 + seconds else OK

    left = run(Host([ACTIVE], watch=5, public=PUBLIC), reply)
    assert left.failed is not healthy
    if not healthy:
        wanted = f"s of traffic: no answer to GET /: refused ({shown(silent)})"
        assert left.result["reason"].endswith(wanted)
        assert 30 < clock.now - 1000 < 32


def test_a_public_address_that_hangs_is_asked_again_soon(
    run: Run, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """The older service may be the one that hangs."""
    patience: list[float] = []

    def start(question: Question) -> None:
        patience.append(question.arguments[2])
        question.run()

    monkeypatch.setattr(Question, "start", start)
    left = run(
        Host([ACTIVE], watch=1, public=PUBLIC[:1]),
        lambda address: OK if address["path"] == PRIVATE or clock.now > 1010 else (0, "timed out"),
    )
    assert left.failed is False
    assert patience.count(health_check.PUBLIC_PATIENCE) > 10
    assert HEALTH["timeout"] > 10 * health_check.PUBLIC_PATIENCE


def test_a_public_address_is_asked_again_only_after_its_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, clock: Clock, questions: list[Address]
) -> None:
    public = PUBLIC[0]
    monkeypatch.setattr(Question, "is_alive", lambda each: each.arguments[0] == public and clock.now < 1001.8)
    assert run(Host([ACTIVE], watch=1, public=[public])).failed is False
    assert questions.count(public) == 1
    assert 1001.8 <= clock.now < 1003


def test_an_answer_that_drips_ends_the_wait(run: Run, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Each read brings something, so no time limit of the socket is ever reached."""
    monkeypatch.setattr(Question, "is_alive", lambda _self: True)
    left = run(Host([ACTIVE]))
    assert left.result["reason"].startswith("it wasn't healthy within 30 s: ")
    assert 1030 <= clock.now < 1031


def test_an_answer_that_drips_ends_the_watch(run: Run, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    monkeypatch.setattr(Question, "is_alive", lambda _self: clock.now > 1002)
    left = run(Host([ACTIVE], watch=5))
    assert "s of traffic: no complete answer to GET / within 30 s" in left.result["reason"]
    assert 1030 < clock.now < 1034


def test_a_public_address_where_the_old_service_drips(
    run: Run, monkeypatch: pytest.MonkeyPatch, questions: list[Address]
) -> None:
    public = PUBLIC[0]
    monkeypatch.setattr(Question, "is_alive", lambda each: each.arguments[0] == public and each.until < 1010)
    assert run(Host([ACTIVE], watch=1, public=[public])).failed is False
    assert questions.count(public) > 3, "asked again, until the new one answers"


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ({**STATE, "InvocationID": "abc"}, "No host named 'flask'"),
        ({**ACTIVE, "InvocationID": "def"}, "No host named 'flask'"),
    ],
)
def test_a_service_that_ends_in_the_watch(run: Run, end: State, reason: str) -> None:
    host = Host([*[ACTIVE] * 8, end], TRACEBACK, watch=5)
    left = run(host)
    assert left.failed is True
    assert reason in left.result["reason"]
    assert host.asked_journal_for() == ["_SYSTEMD_INVOCATION_ID=abc"]


LOG = "[2026-11-22 08:00:01 +0000] [1] "
DIED = [*LIVELY, LOG + "[ERROR] Worker (pid:7) was sent SIGKILL! Perhaps out of memory?", *LIVELY]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (DIED[2], "Worker (pid:7) was sent SIGKILL! Perhaps out of memory?"),
        (LOG + "[WARNING] Worker (pid:7) was sent SIGSEGV!", "Worker (pid:7) was sent SIGSEGV!"),
        (LOG + "[ERROR] Worker (pid:7) exited with code 1.", "Worker (pid:7) exited with code 1."),
    ],
)
def test_a_worker_that_died_in_the_watch(run: Run, line: str, said: str) -> None:
    left = run(Host([ACTIVE], [*LIVELY, line, *LIVELY * 1000], watch=5))
    assert left.failed is True
    assert left.result["reason"] == f"unhealthy after 5.1 s of traffic: {said}"


@pytest.mark.parametrize(
    "line",
    [
        LOG + "[INFO] Worker (pid:7) was sent SIGTERM!",
        LOG + "[INFO] Worker exiting (pid: 7)",
        '192.0.2.7 - - "GET / HTTP/1.1" 200 2 "-" "Worker (pid:7) exited with code 1."',
        f'192.0.2.7 - - "GET / HTTP/1.1" 200 2 "-" "{LOG}[ERROR] Worker (pid:7) exited with code 1."',
    ],
)
def test_what_visitors_send_and_workers_that_stop_do_not_end_the_watch(run: Run, line: str) -> None:
    assert run(Host([ACTIVE], [line], watch=5)).failed is False


def test_the_watch_waits_for_slow_answers(run: Run, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    host = Host([ACTIVE], watch=5)
    monkeypatch.setattr(Question, "is_alive", lambda _self: 1001 < clock.now < 1020)
    left = run(host, lambda _address: OK if clock.now < 1000.5 else WRONG)
    assert left.failed is True
    assert "after 19.9 s of traffic" in left.result["reason"]


def test_an_answer_that_comes_while_the_watch_looks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers_now(question: Question) -> bool:
        question.run()
        return False

    monkeypatch.setattr(Question, "start", lambda _self: None)
    monkeypatch.setattr(Question, "is_alive", answers_now)
    assert run(Host([ACTIVE], watch=2)).failed is False


def test_no_answer_is_missed_in_the_watch(run: Run, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    looks: dict[Question, int] = {}

    def is_alive(question: Question) -> bool:
        looks[question] = looks.get(question, 0) + 1
        return looks[question] % 2 == 1 and clock.now > 1000.5

    monkeypatch.setattr(Question, "is_alive", is_alive)
    left = run(Host([ACTIVE], watch=5), lambda _address: OK if clock.now < 1000.5 else (500, "answered 500"))
    assert left.failed is True
