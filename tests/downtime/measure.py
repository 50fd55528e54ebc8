"""What is measured: a site under load, and the figures that come of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import ROOT, Controller, Play, Server

from .client import KINDS, Counts

WORKER_CLASSES = ("gthread", "sync", "gevent", "tornado", "asgi")  # tests with one site only ask for the first
CHANGES = ("code", "setting", "requirement", "environment", "Gunicorn", "rollback", "ten deploys")
GUNICORN = "27.0.1"
NEWER_GUNICORN = "27.0.2"
PLAYBOOKS = ROOT / "playbooks"
PART = 3  # the longest gap of a deploy is less than that of a restart of the same site, divided by this

Variables = dict[str, Any]


def in_full(values: Sequence[str], *short: str) -> list[Any]:
    """Give parameters of which the short form takes only some."""
    return [pytest.param(value, marks=() if value in short else pytest.mark.full) for value in values]


@dataclass
class Load:
    """The client at work, in a process of its own."""

    process: subprocess.Popen[str]
    counts: dict[str, Counts] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def on(cls, address: str, port: int, accept: set[str], timeout: float = 10.0) -> Iterator[Load]:
        """Ask from now on; what was counted is there afterwards."""
        client = Path(__file__).with_name("client.py")
        command = [sys.executable, str(client), "--port", str(port), "--timeout", str(timeout), address]
        for mark in sorted(accept):
            command += ["--accept", mark]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            load = cls(process)
            ready = load._stream(process.stdout).readline()
            try:
                yield load
            finally:
                out, _err = process.communicate(timeout=60)
            assert ready == "ready\n", "the client never started"
            load.counts = {kind: Counts.read(values) for kind, values in json.loads(out).items()}

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        assert stream
        return stream

    def go_to(self, address: str) -> None:
        """Ask another address from now on."""
        stdin = self._stream(self.process.stdin)
        stdin.write(f"address {address}\n")
        stdin.flush()


@dataclass(frozen=True)
class Row:
    """The figures of one kind of connection during one change."""

    release: str
    worker_class: str
    change: str
    kind: str
    requests: int
    failures: dict[str, int]
    retries: int
    idle_closed: int
    longest_gap: float
    baseline: float
    seconds: float
    group: str = "changes"

    @property
    def cell(self) -> tuple[str, str, str, str]:
        """What was measured."""
        return self.release, self.worker_class, self.group, self.change

    def __str__(self) -> str:
        failures = ", ".join(f"{count} {reason}" for reason, count in self.failures.items())
        return (
            f"{self.release:10} {self.worker_class:8} {self.kind:5} {self.change:28} {self.requests:6} requests  "
            f"failures: {failures or 'none'}  retries of idle connections: {self.retries}  "
            f"idle connections closed: {self.idle_closed}  "
            f"longest gap {self.longest_gap:.2f} s (without a deploy {self.baseline:.2f} s)  play {self.seconds:.1f} s"
        )


@dataclass
class Measurement:
    """A change of a site under load."""

    plays: list[Play]
    counts: dict[str, Counts]
    started: float
    ended: float
    before: str
    after: str
    limit: float

    @property
    def play(self) -> Play:
        """The only play, or the last one."""
        return self.plays[-1]

    @property
    def output(self) -> str:
        """What the plays wrote."""
        return "\n".join(play.output for play in self.plays)

    def noticed(self) -> list[str]:
        """Say which requests failed, and where a gap is nearly as long as that of a restart."""
        found = []
        for kind, counts in self.counts.items():
            found += [f"{kind}, at {moment - self.started:.1f} s: {reason}" for moment, reason in counts.failures[:5]]
            if counts.longest_gap >= self.limit:
                at = f"at {counts.longest_gap_at - self.started:.1f} s"
                found.append(f"{kind}, {at}: no answer for {counts.longest_gap:.2f} s, limit {self.limit:.2f} s")
        return found

    def nobody_noticed(self) -> None:
        """Hold that no request failed and that no client had to wait as it does for a restart."""
        assert self.noticed() == [], f"the play took {self.ended - self.started:.1f} s"

    def only_the_old_one_answered(self) -> None:
        """Hold that the change reached nobody."""
        assert self.after == self.before
        for kind in KINDS:
            assert set(self.counts[kind].answers) == {self.before}

    def the_new_one_was_tried(self) -> None:
        """Hold that the change reached nobody for long: the old release answered before, meanwhile and after."""
        assert self.after == self.before
        for kind in KINDS:
            for text, seen in self.counts[kind].answers.items():
                assert text == self.before or self.started < seen.first <= seen.asked < self.ended

    def the_new_one_took_over(self) -> None:
        """Hold that the old release answered before and the new one after, and nothing else ever."""
        assert self.after != self.before
        for kind in KINDS:
            answers = self.counts[kind].answers
            assert set(answers) == {self.before, self.after}
            assert answers[self.after].first > self.started
            assert answers[self.before].asked < self.ended, "the old release answers nobody after the play"


@dataclass
class Site:
    """An application on a server, as its owner sees it."""

    controller: Controller
    server: Server
    release: str
    worker_class: str
    name: str
    port: int
    directory: Path
    variables: Variables
    rows: list[Row]
    baseline: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    limit: float = 0.0

    @property
    def code(self) -> Path:
        """The application's only module."""
        return self.directory / ("asgi.py" if self.worker_class == "asgi" else "wsgi.py")

    @property
    def mark(self) -> str:
        """The word in the code that stands in each answer."""
        return self.code.read_text().split('\nMARK = "')[1].split('"')[0]

    @mark.setter
    def mark(self, mark: str) -> None:
        self.code.write_text(re.sub(r'^MARK = ".*"', f'MARK = "{mark}"', self.code.read_text(), flags=re.MULTILINE))

    def deploy(
        self,
        *arguments: str,
        playbook: Path = PLAYBOOKS / "site.yml",
        environment: dict[str, str] | None = None,
        **change: Any,
    ) -> Play:
        """Run a play, with these variables besides the site's own."""
        variables = {**self.variables, **change}
        return self.controller.play(self.server, variables, *arguments, playbook=str(playbook), environment=environment)

    def stop(self) -> None:
        """Leave the processor to other sites."""
        self.server.run(f"systemctl disable --now {self.name}.socket; systemctl stop '{self.name}*'", check=False)

    def answer(self) -> str:
        """The mark and the release that serve, by the answer of the site itself."""
        return self.server.get(port=self.port).split("\n", 1)[0]

    def answers(self) -> bool:
        """Whether anybody answers at all."""
        try:
            return bool(self.answer())
        except OSError:
            return False

    def shell(self, command: str) -> str:
        """Run a command on the server, below the application's directory."""
        return self.server.run(f"cd /opt/{self.name} && {command}", check=False)

    @contextmanager
    def load(self, *accept: str) -> Iterator[Load]:
        """Ask the site meanwhile; answers with these marks are right."""
        with Load.on(self.server.address, self.port, {self.mark, *accept}) as load:
            yield load

    def measure_baseline(self) -> None:
        """Measure how long the gaps are when nothing happens, and, as the control, when the service restarts."""
        with self.load() as load:
            time.sleep(5)
        self.baseline = {kind: counts.longest_gap for kind, counts in load.counts.items()}
        with self.load() as control:
            time.sleep(1)
            started = time.monotonic()
            self.shell(f"systemctl restart {self.name}.service")
            self.answer()
            ended = time.monotonic()
            time.sleep(0.5)
        # Clients that keep connections are served a little longer, but all wait for the same boot.
        self.limit = max(counts.longest_gap for counts in control.counts.values()) / PART
        self.note("none", load, seconds=0.0)
        self.note("restart", control, ended - started, group="restart")
        for kind in KINDS:
            assert load.counts[kind].failed == {}, "without a deploy nothing fails"
            assert control.counts[kind].failed == {}, "a restart fails nobody, it makes them wait"
            assert self.baseline[kind] < self.limit, "the control tells a restart from nothing"

    def measure(self, change: str, *steps: Callable[[], Play], accept: set[str], group: str = "changes") -> Measurement:
        """Change the site under load."""
        before = self.answer()
        with Load.on(self.server.address, self.port, accept) as load:
            time.sleep(1)
            started = time.monotonic()
            plays = [step() for step in steps]
            ended = time.monotonic()
            time.sleep(1.5)
        self.note(change, load, ended - started, group=group)
        return Measurement(plays, load.counts, started, ended, before, self.answer(), self.limit)

    def note(self, change: str, load: Load, seconds: float, *, group: str = "changes") -> None:
        """Keep and print the figures."""
        for kind, counts in load.counts.items():
            row = Row(
                release=self.release,
                worker_class=self.worker_class,
                change=change,
                kind=kind,
                requests=counts.requests,
                failures=counts.failed,
                retries=counts.retries,
                idle_closed=counts.idle_closed,
                longest_gap=counts.longest_gap,
                baseline=self.baseline[kind],
                seconds=seconds,
                group=group,
            )
            self.rows.append(row)
            print(f"\n{row}", end="", flush=True)


def deployed(site: Site) -> Iterator[Site]:
    """Deploy the site and measure it undisturbed; stop it afterwards."""
    try:
        play = site.deploy()
        assert play, play.output
        site.measure_baseline()
        yield site
    finally:
        site.stop()
