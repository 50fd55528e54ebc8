"""The health gate: what it asks, what it believes, and what it tells where the answer is no."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.pyweb.deploy.plugins.modules import gunicorn_gate
from ansible_collections.pyweb.deploy.plugins.modules.gunicorn_gate import Gate, ask, diagnose, last_traceback

HEALTH: dict[str, Any] = {"path": "/", "host": "localhost", "status": [200], "expect": "", "timeout": 30}

Serve = Callable[[Callable[[socket.socket, bytes], None]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer connections to a Unix socket with a function of the connection and the request."""
    servers: list[socket.socket] = []
    with tempfile.TemporaryDirectory() as directory:  # pytest's own can be too long for a Unix socket

        def start(answer: Callable[[socket.socket, bytes], None]) -> str:
            path = f"{directory}/{len(servers)}.sock"
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            server.bind(path)
            server.listen()
            servers.append(server)

            def loop() -> None:
                while True:
                    try:
                        connection, _address = server.accept()
                    except OSError:
                        return
                    with connection:
                        request = b""
                        while b"\r\n\r\n" not in request:
                            request += connection.recv(4096)
                        with contextlib.suppress(OSError):  # the gate hung up
                            answer(connection, request)

            threading.Thread(target=loop, daemon=True).start()
            return path

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
    path = serve(http(200, "all ö is well"))
    assert ask(path, {**HEALTH, "expect": "ö is"}, 5) == (200, "")
    assert ask(path, {**HEALTH, "expect": "it's ok"}, 5) == (200, "the answer to GET / doesn't hold \"it's ok\"")


@pytest.mark.parametrize(
    ("padding", "found"), [(gunicorn_gate.BODY_LIMIT - 2, True), (gunicorn_gate.BODY_LIMIT, False)]
)
def test_the_beginning_of_the_body_counts(serve: Serve, padding: int, found: bool) -> None:
    status, problem = ask(serve(http(200, "x" * padding + "ok")), {**HEALTH, "expect": "ok"}, 5)
    assert (status, problem == "") == (200, found)


def test_an_answer_that_hangs(serve: Serve) -> None:
    done = threading.Event()
    path = serve(lambda _connection, _request: (done.wait(30), None)[1])
    started = time.monotonic()
    status, problem = ask(path, {**HEALTH, "path": "/slow"}, 0.2)
    done.set()
    assert (status, problem) == (0, "no answer to GET /slow: timed out")
    assert time.monotonic() - started < 10


def test_a_body_that_never_ends(serve: Serve) -> None:
    def answer(connection: socket.socket, _request: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"event\n")
            time.sleep(0.02)

    path = serve(answer)
    started = time.monotonic()
    assert ask(path, {**HEALTH, "expect": "event"}, 0.2) == (200, "")
    assert ask(path, {**HEALTH, "expect": "nothing"}, 0.2)[1] != ""
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("content", [b"hello\r\n\r\n", b"\x00\xff\xfe", b"HTTP/1.1 abc\r\n\r\n", b"", b"SSH-2.0-x\r\n"])
def test_garbage(serve: Serve, content: bytes) -> None:
    status, problem = ask(serve(send(content)), HEALTH, 5)
    assert status == 0
    assert problem.startswith("no answer to GET /: ")
    assert problem.removeprefix("no answer to GET /: ")


def test_nobody_listens(tmp_path: Path) -> None:
    status, problem = ask(str(tmp_path / "nobody.sock"), HEALTH, 5)
    assert status == 0
    assert "No such file" in problem


def test_an_error_without_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: object) -> None:
        raise OSError

    monkeypatch.setattr(gunicorn_gate.UnixConnection, "connect", fail)
    assert ask("/x", HEALTH, 1) == (0, "no answer to GET /: OSError")


# What the journal says

TRACEBACK = """\
[2026-11-22 08:00:00 +0000] [7] [INFO] Booting worker with pid: 7
[2026-11-22 08:00:00 +0000] [7] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "/opt/shop/venv/lib/python3.11/site-packages/gunicorn/arbiter.py", line 608, in spawn_worker
    worker.init_process()
  File "/opt/shop/code/wsgi.py", line 1, in <module>
    import flask

ModuleNotFoundError: No module named 'flask'
[2026-11-22 08:00:00 +0000] [7] [INFO] Worker exiting (pid: 7)
[2026-11-22 08:00:01 +0000] [1] [ERROR] Worker (pid:7) exited with code 3
[2026-11-22 08:00:01 +0000] [1] [ERROR] Reason: Worker failed to boot.
""".splitlines()


def test_the_last_traceback() -> None:
    found = last_traceback([*TRACEBACK, *(line.replace("flask", "redis") for line in TRACEBACK)])
    assert found[0] == "Traceback (most recent call last):"
    assert found[-1] == "ModuleNotFoundError: No module named 'redis'"
    assert len(found) == 7


def test_a_long_traceback_keeps_its_end() -> None:
    frames = [f'  File "x.py", line {number}, in f' for number in range(100)]
    found = last_traceback(["Traceback (most recent call last):", *frames, "ValueError: x", "after it"])
    assert len(found) == 1 + gunicorn_gate.TRACEBACK_LINES
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
        (TRACEBACK, "the application failed to start: ModuleNotFoundError: No module named 'flask'"),
        (TRACEBACK[-2:], "Reason: Worker failed to boot."),
        (["gunicorn.conf.py: unknown setting 'timout'", "x"], "gunicorn.conf.py: unknown setting 'timout'"),
        (["Failed to read config file: x", TRACEBACK[-1]], "Failed to read config file: x"),
        (["[INFO] Starting"], "the service ended (result exit-code, status 3)"),
        ([], "the service ended (result exit-code, status 3)"),
    ],
)
def test_the_diagnosis(lines: list[str], reason: str) -> None:
    assert diagnose(lines, STATE) == reason


# Waiting for a service


class Left(SystemExit):
    """The module left, as exit_json and fail_json do."""

    def __init__(self, failed: bool, result: dict[str, Any]) -> None:
        super().__init__(int(failed))
        self.failed = failed
        self.result = result


State = dict[str, str]


class Module:
    """Stands for AnsibleModule on a host whose service goes through the states, the last one for ever."""

    def __init__(self, states: list[State], journal: list[str], health: dict[str, Any]) -> None:
        self.params = {"name": "shop-check", "health": {**HEALTH, **health}}
        self.states = states
        self.journal = journal
        self.commands: list[list[str]] = []

    def get_bin_path(self, name: str, required: bool = False) -> str | None:
        return "/bin/" + name if required or self.journal else None

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        self.commands.append(command)
        if command[0] == "/bin/journalctl":
            return 0, "\n".join(self.journal) + "\n", ""
        state = self.states[0] if len(self.states) == 1 else self.states.pop(0)
        return 0, "".join(f"{key}={value}\n" for key, value in state.items()), ""

    def exit_json(self, **result: Any) -> None:
        raise Left(False, result)

    def fail_json(self, **result: Any) -> None:
        raise Left(True, result)

    def asked_journal_for(self) -> list[str]:
        """What the journal was asked for."""
        return [command[-1] for command in self.commands if command[0] == "/bin/journalctl"]


ACTIVE = {"ActiveState": "active", "InvocationID": "abc", "Job": ""}
STARTING = {**ACTIVE, "ActiveState": "activating"}

Answer = tuple[int, str]
Wait = Callable[..., "tuple[Left, Module]"]


@pytest.fixture
def asked() -> list[tuple[str, float]]:
    """Path and time limit of each question."""
    return []


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch, asked: list[tuple[str, float]]) -> Wait:
    """Run the gate against states and answers; of both, the last one is repeated."""

    def run(
        states: list[State], answers: list[Answer], journal: Iterable[str] = (), **health: Any
    ) -> tuple[Left, Module]:
        module = Module(list(states), list(journal), health)
        left_answers = list(answers)

        def answer(path: str, _health: object, timeout: float) -> Answer:
            asked.append((path, timeout))
            return left_answers[0] if len(left_answers) == 1 else left_answers.pop(0)

        monkeypatch.setattr(gunicorn_gate, "PAUSE", 0.001)
        monkeypatch.setattr(gunicorn_gate, "ask", answer)
        with pytest.raises(Left) as left:
            Gate(module).wait()
        return left.value, module

    return run


OK = (200, "")


def test_healthy_after_a_while(wait: Wait, asked: list[tuple[str, float]]) -> None:
    left, module = wait([STARTING, STARTING, ACTIVE], [(503, "not yet"), (0, "no answer"), OK])
    assert left.failed is False
    assert (left.result["changed"], left.result["status"]) == (False, 200)
    assert 0 <= left.result["seconds"] < HEALTH["timeout"]
    assert {path for path, _timeout in asked} == {"/run/gunicorn/shop-check.sock"}
    assert all(0 < timeout <= HEALTH["timeout"] for _path, timeout in asked)
    assert module.asked_journal_for() == []


def test_nothing_is_asked_before_the_service_runs(wait: Wait, asked: list[tuple[str, float]]) -> None:
    left, module = wait([STARTING] * 5, [OK], timeout=0.05)
    assert (left.failed, asked) == (True, [])
    assert left.result["reason"] == "it wasn't healthy within 0.05 s: no answer yet"
    assert len(module.commands) > 1


@pytest.mark.parametrize("state", ["failed", "inactive"])
def test_a_service_that_failed(wait: Wait, state: str) -> None:
    left, module = wait([STARTING, {**STATE, "ActiveState": state, "InvocationID": "abc"}], [OK], TRACEBACK)
    assert left.failed is True
    assert left.result["reason"] == "the application failed to start: ModuleNotFoundError: No module named 'flask'"
    lines = left.result["msg"].splitlines()
    assert lines[0] == f"shop-check.service: {left.result['reason']}"
    assert lines[1:] == ["", *last_traceback(TRACEBACK)]
    assert module.asked_journal_for() == ["_SYSTEMD_INVOCATION_ID=abc"]


def test_a_service_that_was_started_again(wait: Wait) -> None:
    """The request that waits at its socket makes systemd start it again; what the first start wrote says why."""
    left, module = wait([STARTING, {**ACTIVE, "InvocationID": "def"}], [OK], TRACEBACK)
    assert left.failed is True
    assert "No module named 'flask'" in left.result["reason"]
    assert module.asked_journal_for() == ["_SYSTEMD_INVOCATION_ID=abc"]


@pytest.mark.parametrize("state", ["failed", "inactive"])
def test_what_was_before_the_start_does_not_count(wait: Wait, state: str) -> None:
    queued = {**STATE, "ActiveState": state, "InvocationID": "old", "Job": "4711"}
    left, _module = wait([queued, queued, {**STARTING, "Job": "4711"}, ACTIVE], [OK], TRACEBACK)
    assert left.failed is False


def test_a_service_that_dies_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    module = Module([ACTIVE, ACTIVE, {**STATE, "InvocationID": "abc"}], TRACEBACK, {"timeout": 30})
    monkeypatch.setattr(gunicorn_gate, "PAUSE", 0.001)
    monkeypatch.setattr(gunicorn_gate, "ask", lambda *_arguments: (answered.wait(10), OK)[1])
    with pytest.raises(Left) as left:
        Gate(module).wait()
    answered.set()
    assert left.value.failed is True
    assert "No module named 'flask'" in left.value.result["reason"]


def test_no_journal(wait: Wait) -> None:
    left, _module = wait([STATE], [OK])
    assert left.result["msg"] == "shop-check.service: the service ended (result exit-code, status 3)"


def test_never_healthy(wait: Wait) -> None:
    lines = [f"line {number}" for number in range(20)]
    left, _module = wait([ACTIVE], [(500, "GET / answered 500, not 200")], lines, timeout=0.05)
    assert left.failed is True
    assert left.result["reason"] == "it wasn't healthy within 0.05 s: GET / answered 500, not 200"
    assert left.result["msg"].splitlines()[2] == "Its last lines (journalctl -u shop-check.service):"
    assert left.result["msg"].splitlines()[3:] == [f"  {line}" for line in lines[-gunicorn_gate.JOURNAL_LINES :]]


def test_a_question_without_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    module = Module([ACTIVE], [], {"timeout": 0.05})
    monkeypatch.setattr(gunicorn_gate, "ask", lambda *_arguments: (answered.wait(10), OK)[1])
    with pytest.raises(Left) as left:
        Gate(module).wait()
    answered.set()
    assert left.value.failed is True


def test_check_mode_asks_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with patch_module_args({"name": "shop-check", "_ansible_check_mode": True}), pytest.raises(SystemExit) as left:
        gunicorn_gate.main()
    assert left.value.code == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False


def test_unknown_health_keys_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with patch_module_args({"name": "shop-check", "health": {"url": "/"}}), pytest.raises(SystemExit):
        gunicorn_gate.main()
    assert "health.url" in json.loads(capsys.readouterr().out)["msg"]
