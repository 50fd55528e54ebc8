"""A server of the rig, plays against it over SSH, and a client that counts what a deploy costs its users."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pyweb.deploy.tests.rig import (
    KILL_MODULE,
    RELEASES,
    ROOT,
    SSH_CONFIG,
    Controller,
    Play,
    Server,
    fresh_server,
)

__all__ = [
    "KILL_MODULE",
    "ROOT",
    "Controller",
    "Load",
    "Server",
    "connect",
    "costs",
    "eventually",
    "main_pid",
    "slot",
    "workers",
]


def pytest_configure() -> None:
    """Keep what Hypothesis writes in the cache; it reads this while it is imported."""
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".cache" / "hypothesis"))


LONGEST = ("deploy", "check_mode", "requirements", "sources", "failure", "firewall", "remove", "secrets", "collection")
"""Files that take longest, in this order: begun last, one of them would keep a single worker busy at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest."""
    order = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


APPLICATION = ROOT / "examples" / "flask_hello"
BUDGET: dict[str, dict[str, int]] = yaml.safe_load(Path(__file__).with_name("budget.yml").read_text())
EACH_RELEASE = [RELEASES[-1], *(pytest.param(each, marks=pytest.mark.full) for each in RELEASES[:-1])]
"""Parameters for a test: the last release in the short form, each of them in the full one."""


def slot(server: Server) -> str:
    """Name the unit that serves the application hello; `none` where none does."""
    return server.run("basename $(readlink /etc/systemd/system/hello.service || echo none)")


def eventually(condition: Callable[[], bool], seconds: float = 15) -> bool:
    """Tell whether a condition comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


def main_pid(server: Server) -> int:
    """Give the process of Gunicorn's master."""
    return int(server.run("systemctl show --property MainPID --value hello"))


def workers(server: Server) -> list[str]:
    """Give the processes of Gunicorn's workers."""
    main = main_pid(server)
    return server.run(f"cat /proc/{main}/task/{main}/children").split()


def costs(what: str, play: Play) -> None:
    """Compare what a run with ``-vvv`` tells with the budget."""
    assert play, play.output
    words = {"tasks": "\nTASK [", "modules": "Using module file ", "executions": " SSH: EXEC "}
    found = {name: play.output.count(word) for name, word in words.items()}
    assert found == BUDGET[what], f"{what} costs more or less than tests/integration/budget.yml says"


def connect(address: str, port: int, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    """Prepare a connection, over TLS where there is a context for it."""
    if tls:
        return http.client.HTTPSConnection(address, port, timeout=20, context=tls)
    return http.client.HTTPConnection(address, port, timeout=20)


@dataclass
class Load:
    """A client that asks 50 times a second, each time on a new connection, and counts what goes wrong."""

    address: str
    port: int = 8000
    rate: float = 50
    tls: ssl.SSLContext | None = None
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Load:
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(5)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        print(f"\n{len(self.answers)} requests, {len(self.failures)} failures, longest gap {self.longest_gap:.2f} s")

    def _ask(self, number: int) -> None:
        pause = len(self.threads) / self.rate
        for turn in itertools.count():
            due = self.started + (turn + number / len(self.threads)) * pause
            if self.stop.wait(max(0.0, due - time.monotonic())):
                return
            try:
                connection = connect(self.address, self.port, self.tls)
                connection.request("GET", self.path, headers={"Connection": "close", **self.headers})
                answer = connection.getresponse()
                body = answer.read().decode()
                if answer.status != 200:
                    self.failures.append(f"status {answer.status}")
                self.answers.append((time.monotonic(), body))
            except (OSError, http.client.HTTPException) as problem:
                self.failures.append(repr(problem))

    started: float = field(default_factory=time.monotonic)

    def restarted(self, server: Server, name: str = "hello") -> Load:
        """Ask the same while the service restarts: how long clients wait then is the control for `longest_gap`."""
        control = Load(self.address, self.port, self.rate, self.tls, self.path, self.headers)
        with control:
            server.run(f"systemctl restart {name}")
            time.sleep(0.5)
        assert control.failures == [], "a restart loses no request either, it makes them wait"
        return control

    @property
    def bodies(self) -> set[str]:
        """All different answers."""
        return {body for _moment, body in self.answers}

    @property
    def longest_gap(self) -> float:
        """Seconds between two answers at the most. Compare it with that of `restarted`, not with a number."""
        times = sorted(moment for moment, _body in self.answers)
        return max((late - early for early, late in itertools.pairwise(times)), default=0.0)


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """Run plays from a directory that is nobody's project."""
    return Controller(tmp_path_factory.mktemp("controller"), SSH_CONFIG)


@pytest.fixture(scope="session")
def fresh() -> Iterator[Server]:
    """Give a server on which no play may ever succeed in changing anything."""
    yield from fresh_server("it-fresh", RELEASES[0])


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Give the server that the tests deploy to; each leaves it with a site that works."""
    yield from fresh_server("it-server", RELEASES[-1])


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """Give a copy of the example application, to be changed at will."""
    return Path(shutil.copytree(APPLICATION, tmp_path / "application"))


@pytest.fixture
def variables(application: Path) -> dict[str, Any]:
    """Give what a user sets for the example application."""
    return {
        "gunicorn_name": "hello",
        "gunicorn_source": {"directory": str(application)},
        "gunicorn_health": {"path": "/healthz", "watch": 0},
        "gunicorn_settings": {"workers": 2},  # each of them costs the test time to start
        "gunicorn_firewall_enable": True,
    }


@pytest.fixture
def deployed(controller: Controller, server: Server, variables: dict[str, Any]) -> Server:
    """Give the server with the application's code of the repository, with the settings that the last test gave it."""
    body = ""
    with contextlib.suppress(OSError, http.client.HTTPException):
        body = server.get()
    if body != "Hello, World!":
        play = controller.play(server, variables)
        assert play, play.output
    return server


@pytest.fixture
def site(controller: Controller, server: Server, variables: dict[str, Any]) -> Server:
    """Give the server with the application as it is in the repository, and with the settings of `variables`."""
    play = controller.play(server, variables)
    assert play, play.output
    return server
