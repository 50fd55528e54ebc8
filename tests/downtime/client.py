"""A client that counts everything that goes wrong between it and a site.

It asks over two kinds of connections at the same time, and counts them apart: `fresh` ones, which carry one request
each, and `kept` ones, which carry as many as the server lets them. A quarter of them ask once a second only, and are
idle in between. Now and then a request is for /slow, so that there are always some under way that take a while.

Every request counts as failed that isn't answered completely, with status 200 and the expected body, within the time
limit. There is one exception, which RFC 9110 (9.2.2) allows and every HTTP client makes: a server may close a kept
connection that is idle, and the close may cross a request. Where a *reused* connection ends at once, before a single
byte of the answer came, the request is sent once more, on a fresh connection. These are counted as `retries`. Nothing
else is sent twice.

It runs as a process of its own: python client.py --port 8000 --accept NAME ADDRESS. It writes "ready" after the first
answer, reads lines "address ADDRESS" from its standard input, and stops when that ends. Then it writes its counts as
JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

KINDS = ("kept", "fresh")
CONNECTIONS = 8  # of each kind
AT_ONCE = 0.5  # seconds; where a close comes later, the server may have worked on the request


class AnswerError(Exception):
    """A request without a proper answer."""


class IdleClosedError(Exception):
    """The server closed a reused connection before it answered anything."""


@dataclass
class Seen:
    """When a text was the answer: the first time it came, the last time it came, the last time it was asked for."""

    first: float
    last: float
    asked: float
    count: int = 1


@dataclass
class Counts:
    """What one kind of connection went through. Moments are those of time.monotonic(), the same in every process."""

    requests: int = 0
    slow: int = 0
    connections: int = 0
    idle_closed: int = 0
    retries: int = 0
    longest_gap: float = 0.0
    longest_gap_at: float = 0.0
    failures: list[tuple[float, str]] = field(default_factory=list)
    answers: dict[str, Seen] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, int]:
        """How many requests failed, by what became of them."""
        reasons = [reason for _moment, reason in self.failures]
        return {reason: reasons.count(reason) for reason in sorted(set(reasons))}

    @classmethod
    def read(cls, values: dict[str, Any]) -> Counts:
        """Read what a client wrote."""
        answers = {text: Seen(**seen) for text, seen in values.pop("answers").items()}
        failures: list[tuple[float, str]] = [tuple(each) for each in values.pop("failures")]
        return cls(**values, answers=answers, failures=failures)


@dataclass
class Target:
    """Whom to ask and what may come back."""

    address: str
    port: int
    accept: frozenset[str]
    interval: float = 0.06
    idle: float = 1.0
    slow_interval: float = 0.6
    timeout: float = 10.0


class Connection:
    """One connection to the server, from which answers are read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.reused = False

    @property
    def closed(self) -> bool:
        """Whether the server has closed it, as far as this side knows."""
        return self.reader.at_eof() or self.reader.exception() is not None or self.writer.is_closing()

    async def ask(self, path: str, keep: bool) -> tuple[int, bytes, bool]:
        """Send a request: status, body and whether the server keeps the connection open."""
        choice = "keep-alive" if keep else "close"
        asked = time.monotonic()
        first, reason = b"", "closed without an answer"
        try:
            self.writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {choice}\r\n\r\n".encode())
            first = await self.reader.read(1)
        except OSError as problem:
            reason = "reset" if isinstance(problem, ConnectionError) else type(problem).__name__
        if not first:
            if self.reused and time.monotonic() - asked < AT_ONCE:
                raise IdleClosedError
            raise AnswerError(reason)
        self.reused = True
        try:
            return await self._read_answer(first)
        except (OSError, EOFError):
            raise AnswerError("truncated") from None
        except (ValueError, IndexError):
            raise AnswerError("not HTTP") from None

    async def _read_answer(self, first: bytes) -> tuple[int, bytes, bool]:
        head = first + await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        version, status = status_line.split()[:2]
        if not version.startswith("HTTP/1."):
            raise ValueError(version)
        headers = {
            name.strip().lower(): value.strip() for name, _colon, value in (line.partition(":") for line in lines)
        }
        body = await self.reader.readexactly(int(headers.get("content-length", "")))
        return int(status), body, headers.get("connection", "").lower() != "close"

    def close(self) -> None:
        """Close it, whatever state it is in."""
        self.writer.close()


class Client:
    """Asks with several connections of each kind until it is told to stop."""

    def __init__(self, target: Target, connections: int = CONNECTIONS) -> None:
        self.target = target
        self.connections = connections
        self.counts = {kind: Counts() for kind in KINDS}
        self.stopping = asyncio.Event()
        self.answered = asyncio.Event()
        self.ended = False
        self.latest = dict.fromkeys(KINDS, 0.0)
        self.slow_due = dict.fromkeys(KINDS, 0.0)

    async def run(self, seconds: float) -> None:
        """Ask until `stopping` is set, or for so many seconds."""
        started = time.monotonic()
        self.latest = dict.fromkeys(KINDS, started)
        self.slow_due = dict.fromkeys(KINDS, started + self.target.slow_interval)
        limit = asyncio.get_running_loop().call_later(seconds, self.stopping.set)
        async with asyncio.TaskGroup() as group:
            for kind in KINDS:
                for number in range(self.connections):
                    group.create_task(self._ask_often(kind, number))
            await self.stopping.wait()
            for kind in KINDS:
                self._note_gap(kind)
            self.ended = True
        limit.cancel()

    async def _ask_often(self, kind: str, number: int) -> None:
        """Ask again and again, at even intervals; what comes late is not made up for."""
        interval = self.target.idle if number % 4 == 3 else self.target.interval
        due = time.monotonic() + interval * number / self.connections
        connection: Connection | None = None
        while not await self._stopped_before(due):
            connection = await self._ask_once(kind, connection, slow=self._is_slow_due(kind))
            due = max(due + interval, time.monotonic())
        if connection:
            connection.close()

    def _is_slow_due(self, kind: str) -> bool:
        """Say whether the next request shall be a slow one: evenly spread, so that few are under way at a time."""
        now = time.monotonic()
        if now < self.slow_due[kind]:
            return False
        self.slow_due[kind] = now + self.target.slow_interval
        return True

    async def _stopped_before(self, due: float) -> bool:
        delay = due - time.monotonic()
        if delay > 0 and not self.stopping.is_set():
            try:
                await asyncio.wait_for(self.stopping.wait(), delay)
            except TimeoutError:
                return False
        return self.stopping.is_set()

    async def _ask_once(self, kind: str, connection: Connection | None, slow: bool) -> Connection | None:
        """Ask and count; the connection, where it can be used again."""
        counts = self.counts[kind]
        counts.requests += 1
        counts.slow += slow
        if connection and connection.closed:
            counts.idle_closed += 1
            connection.close()
            connection = None
        asked = time.monotonic()
        attempt = Attempt(self.target, counts, connection)
        task = asyncio.create_task(attempt.run("/slow" if slow else "/", keep=kind == "kept"))
        await asyncio.wait([task], timeout=self.target.timeout)
        reason, keep = "timeout", False
        if task.done():
            reason, keep = self._judge(kind, asked, task)
        task.cancel()
        if reason:
            counts.failures.append((time.monotonic(), reason))
        if keep and kind == "kept":
            return attempt.connection
        if attempt.connection:
            attempt.connection.close()
        return None

    def _judge(self, kind: str, asked: float, task: asyncio.Task[tuple[int, bytes, bool]]) -> tuple[str, bool]:
        """Note the answer. What is wrong with it, if anything, and whether its connection can be used again."""
        problem = task.exception()
        if problem:
            return (str(problem) if isinstance(problem, AnswerError) else repr(problem)), False
        status, body, keep = task.result()
        if status != 200:
            return f"status {status}", keep
        text, _newline, padding = body.decode("latin-1").partition("\n")
        if text.split(" ")[0] not in self.target.accept or padding.strip("."):
            return f"wrong body {text[:40]!r}", keep
        self._note_gap(kind)
        self.answered.set()
        now = time.monotonic()
        seen = self.counts[kind].answers.setdefault(text, Seen(now, now, asked, 0))
        seen.last, seen.asked, seen.count = now, max(seen.asked, asked), seen.count + 1
        return "", keep

    def _note_gap(self, kind: str) -> None:
        """Measure the time since the last good answer. After the end only stragglers come, which tell nothing."""
        counts, now = self.counts[kind], time.monotonic()
        gap = now - self.latest[kind]
        self.latest[kind] = now
        if gap > counts.longest_gap and not self.ended:
            counts.longest_gap, counts.longest_gap_at = gap, now


class Attempt:
    """One request, sent once more where a reused connection turned out to be closed."""

    def __init__(self, target: Target, counts: Counts, connection: Connection | None) -> None:
        self.target = target
        self.counts = counts
        self.connection = connection

    async def run(self, path: str, keep: bool) -> tuple[int, bytes, bool]:
        """Send it: status, body and whether the server keeps the connection open."""
        if self.connection:
            try:
                return await self.connection.ask(path, keep)
            except IdleClosedError:
                self.counts.retries += 1
                self.connection.close()
                self.connection = None
        self.connection = await self._connect()
        return await self.connection.ask(path, keep)

    async def _connect(self) -> Connection:
        self.counts.connections += 1
        try:
            async with asyncio.timeout(self.target.timeout / 2):
                return Connection(*await asyncio.open_connection(self.target.address, self.target.port))
        except ConnectionRefusedError:
            raise AnswerError("refused") from None
        except TimeoutError:
            raise AnswerError("no connection: timeout") from None
        except OSError as problem:
            raise AnswerError(f"no connection: {type(problem).__name__} {problem.errno}") from None


async def read_orders(client: Client) -> None:
    """Do what standard input says, until it ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).decode().split():
        order, value = line
        if order == "address":
            client.target.address = value
    client.stopping.set()


async def serve_orders(client: Client, seconds: float) -> None:
    """Run the client, say when the first answer came, and stop when standard input ends."""
    orders = asyncio.create_task(read_orders(client))
    run = asyncio.create_task(client.run(seconds))
    await asyncio.wait([run, asyncio.create_task(client.answered.wait())], return_when=asyncio.FIRST_COMPLETED)
    print("ready", flush=True)
    await run
    orders.cancel()


def main(arguments: Iterable[str]) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Ask a site until standard input ends, and count.")
    parser.add_argument("address")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--accept", action="append", required=True, help="first word of an answer that is right")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="of each kind")
    parser.add_argument("--interval", type=float, default=0.06, help="seconds between the requests of a connection")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds that an answer may take")
    parser.add_argument("--seconds", type=float, default=600.0, help="stop after so long in any case")
    options = parser.parse_args(list(arguments))
    target = Target(
        options.address, options.port, frozenset(options.accept), interval=options.interval, timeout=options.timeout
    )

    async def run() -> dict[str, Any]:
        client = Client(target, options.connections)
        await serve_orders(client, options.seconds)
        return {kind: asdict(counts) for kind, counts in client.counts.items()}

    json.dump(asyncio.run(run()), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
