"""The figures of tests/downtime can be believed: each kind of failure is seen, and nothing is left out or mixed."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.tests.downtime import interruption, page
from ansible_collections.pyweb.deploy.tests.downtime.client import Client, Counts, Target
from ansible_collections.pyweb.deploy.tests.downtime.measure import CHANGES, WORKER_CLASSES, Measurement, Row
from ansible_collections.pyweb.deploy.tests.rig import RELEASES

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngood 1\n.."


async def asked(reader: asyncio.StreamReader) -> bytes:
    """Read one request; nothing where the client has closed."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except EOFError:
        return b""


async def good(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while request := await asked(reader):
        if b"/slow" in request:
            await asyncio.sleep(0.1)
        writer.write(OK)
        if b"Connection: close" in request:
            break


def says(answer: bytes) -> Handler:
    """Give a server that answers the first request of a connection with these bytes and then closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked(reader)
        writer.write(answer)

    return handler


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asked(reader)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def truncates_and_resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asked(reader)
    writer.write(OK[:-3])
    await asyncio.sleep(0.02)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


async def hangs(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await asked(reader):
        await asyncio.sleep(60)


async def closes_idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer once, promise to stay, and close while nothing is under way."""
    await asked(reader)
    writer.write(OK)


async def closes_on_the_second_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer once, promise to stay, and close when the next request comes, without a byte."""
    await asked(reader)
    writer.write(OK)
    await asked(reader)


async def closes_while_it_works(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer once, promise to stay, take the next request, and close without a byte some time later."""
    await asked(reader)
    writer.write(OK)
    await asked(reader)
    await asyncio.sleep(0.6)


async def truncates_the_second_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asked(reader)
    writer.write(OK)
    await asked(reader)
    writer.write(b"H")


def measure(
    handler: Handler | None, seconds: float = 0.3, timeout: float = 5.0, slow_interval: float = 0.1
) -> dict[str, Counts]:
    """Let a client with one connection of each kind ask a server that behaves so. None: there is no server."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert handler
        await handler(reader, writer)
        writer.close()

    async def run() -> dict[str, Counts]:
        server = await asyncio.start_server(closing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        if not handler:
            server.close()
        accept = frozenset({"good"})
        target = Target("127.0.0.1", port, accept, interval=0.02, slow_interval=slow_interval, timeout=timeout)
        client = Client(target, connections=1)
        await client.run(seconds)
        server.close()
        return client.counts

    return asyncio.run(run())


def test_a_good_server_fails_nobody() -> None:
    counts = measure(good, seconds=0.5)
    for kind in ("kept", "fresh"):
        assert counts[kind].failures == []
        assert counts[kind].retries == counts[kind].idle_closed == 0
        assert counts[kind].requests == counts[kind].answers["good 1"].count >= 5
        assert counts[kind].slow >= 1
        assert counts[kind].longest_gap >= 0.1, "a slow request is a gap where there is one connection only"
    assert counts["kept"].connections == 1
    assert counts["fresh"].connections == counts["fresh"].requests


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (None, "refused"),
        (resets, "reset"),
        (says(b""), "closed without an answer"),
        (says(OK[:1]), "truncated"),
        (says(OK[:20]), "truncated"),
        (says(OK[:-1]), "truncated"),
        (truncates_and_resets, "truncated"),
        (says(OK.replace(b"200 OK", b"500 Oh")), "status 500"),
        (says(OK.replace(b"200 OK", b"302 Go")), "status 302"),
        (says(OK.replace(b"good", b"evil")), "wrong body 'evil 1'"),
        (says(OK.replace(b"..", b".!")), "wrong body 'good 1'"),
        (says(b"SSH-2.0-OpenSSH\r\n\r\n"), "not HTTP"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n"), "not HTTP"),
    ],
)
def test_each_failure_is_counted_by_its_kind(handler: Handler | None, reason: str) -> None:
    counts = measure(handler, slow_interval=60)
    for kind in ("kept", "fresh"):
        assert counts[kind].requests > 3
        assert counts[kind].failed == {reason: counts[kind].requests}
        assert counts[kind].answers == {}
        assert counts[kind].retries == 0, "nothing is sent twice on a fresh connection"


def test_a_server_that_hangs_times_out() -> None:
    counts = measure(hangs, timeout=0.05)
    for kind in ("kept", "fresh"):
        assert counts[kind].failed == {"timeout": counts[kind].requests}
        assert counts[kind].longest_gap >= 0.29


def test_an_address_that_does_not_exist_is_a_failure() -> None:
    async def run() -> Counts:
        client = Client(Target("host.invalid", 1, frozenset(), interval=0.02), connections=1)
        await client.run(0.1)
        return client.counts["fresh"]

    counts = asyncio.run(run())
    assert counts.requests == len(counts.failures) > 0
    assert all(reason.startswith("no connection: gaierror") for _moment, reason in counts.failures)


def test_closed_idle_connections_are_not_failures_and_are_counted() -> None:
    counts = measure(closes_idle)
    assert counts["kept"].failures == counts["fresh"].failures == []
    assert counts["kept"].idle_closed == counts["kept"].requests - 1
    assert counts["kept"].retries == 0
    assert counts["fresh"].idle_closed == 0


def test_a_request_that_crosses_a_close_is_sent_once_more_and_counted() -> None:
    counts = measure(closes_on_the_second_request)
    assert counts["kept"].failures == counts["fresh"].failures == []
    assert counts["kept"].retries >= counts["kept"].requests // 2 - 1 > 1
    assert counts["kept"].idle_closed == 0
    assert counts["fresh"].retries == 0


def test_a_request_that_was_under_way_is_not_sent_again() -> None:
    counts = measure(closes_while_it_works, seconds=1.5, slow_interval=60)
    assert counts["kept"].failed == {"closed without an answer": counts["kept"].requests // 2}
    assert counts["kept"].retries == 0


def test_once_a_byte_has_come_nothing_is_sent_again() -> None:
    counts = measure(truncates_the_second_answer)
    assert set(counts["kept"].failed) == {"truncated"}
    assert counts["kept"].failed["truncated"] >= counts["kept"].requests // 2 - 1
    assert counts["kept"].retries == 0


def test_a_gap_is_measured_up_to_the_end() -> None:
    answered = 0

    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        await asked(reader)
        answered += 1
        if answered > 4:
            await asyncio.sleep(0.4)
        writer.write(OK)

    counts = measure(dies, seconds=0.5, slow_interval=60)
    assert counts["fresh"].longest_gap >= 0.3


@pytest.fixture
def good_port() -> Iterator[int]:
    """Give the port of a good server in a process of its own."""
    code = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "9")
        self.end_headers()
        self.wfile.write(b"good 1\\n..")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield int(server.stdout.readline())
        server.terminate()


def test_as_a_process_it_takes_orders_and_reports(good_port: int) -> None:
    client = Path(__file__).parents[1] / "downtime" / "client.py"
    command = [sys.executable, str(client), "--port", str(good_port), "--accept", "good", "127.0.0.1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("address 127.0.0.2\n")
        process.stdin.flush()
        time.sleep(0.3)
        out, _err = process.communicate(timeout=10)
    assert process.returncode == 0
    counts = {kind: Counts.read(values) for kind, values in json.loads(out).items()}
    assert set(counts) == {"kept", "fresh"}
    for each in counts.values():
        assert each.failures, "nobody listens there"
        assert each.answers["good 1"].count + len(each.failures) == each.requests


@pytest.mark.parametrize(
    ("gap", "failures", "noticed"),
    [
        (0.49, [], []),
        (0.5, [], ["kept, at 2.0 s: no answer for 0.50 s, limit 0.50 s"]),
        (0.1, [(12.5, "reset")], ["kept, at 2.5 s: reset"]),
    ],
)
def test_a_gap_like_that_of_a_restart_is_noticed(
    gap: float, failures: list[tuple[float, str]], noticed: list[str]
) -> None:
    counts = {"kept": Counts(longest_gap=gap, longest_gap_at=12.0, failures=failures), "fresh": Counts()}
    done = Measurement([], counts, 10.0, 20.0, "", "", limit=0.5)
    assert done.noticed() == noticed


def row(release: str, worker_class: str, change: str, group: str = "changes", requests: int = 1) -> Row:
    return Row(release, worker_class, change, "kept", requests, {}, 0, 0, 0.1, 0.1, 9.0, group)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(page, "KEPT", tmp_path / "kept")
    return tmp_path / "kept"


@pytest.mark.usefixtures("kept")
def test_pieces_of_a_full_run_make_a_whole() -> None:
    parts = {"broken": "import error", "killed": "killed during the watch", "reboot": "reboot"}
    for release in RELEASES:
        for worker_class in WORKER_CLASSES:
            rows = [row(release, worker_class, change) for change in CHANGES]
            if worker_class == WORKER_CLASSES[0]:
                rows += [row(release, worker_class, change, group) for group, change in parts.items()]
            assert page.Record.kept().missing()
            page.Record(rows, {release: "a server"}).keep()
    whole = page.Record.kept()
    assert whole.missing() == []
    assert whole.servers == dict.fromkeys(RELEASES, "a server")
    assert whole.requests() == len(RELEASES) * (len(WORKER_CLASSES) * len(CHANGES) + len(parts))


@pytest.mark.usefixtures("kept")
def test_what_was_measured_twice_counts_once_and_what_is_gone_not_at_all() -> None:
    page.Record([row(RELEASES[0], "sync", "code", requests=1)]).keep()
    page.Record([row(RELEASES[0], "sync", "code", requests=2)] * 2).keep()
    page.Record([row(RELEASES[0], "sync", "setting", requests=4)], digest="of another role").keep()
    page.Record([row("debian1", "sync", "setting", requests=8)]).keep()
    assert [(each.change, each.requests) for each in page.Record.kept().rows] == [("code", 2), ("code", 2)]


def test_a_connection_breaks_in_the_middle_of_long_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "LONGEST", 1)
    lines = [{"number": number, "time": at, "name": f"task {number}"} for number, at in enumerate((0, 1, 4, 5, 6))]
    log = tmp_path / "log"
    log.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"number": 4, "time": 7, "outcome": "ok"}]))
    assert [(cut.number, cut.after) for cut in interruption.read_cuts(log)] == [(1, 1.5)]
