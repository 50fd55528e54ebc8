"""A server of the rig, plays against it over SSH, and a client that counts what a deploy costs its users."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RELEASES = os.environ.get("PYWEB_RELEASES", "debian12 debian13").split()
APPLICATION = ROOT / "examples" / "flask_hello"


def rig(*arguments: str) -> str:
    """Call rig/server; its output."""
    command = [str(ROOT / "rig" / "server"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Server:
    """A server of the rig."""

    name: str
    address: str

    def run(self, command: str, check: bool = True) -> str:
        """Output of a shell command, run as root."""
        docker = ["docker", "exec", f"pyweb-{self.name}", "sh", "-c", command]
        return subprocess.run(docker, check=check, capture_output=True, text=True).stdout.strip()

    def get(self, path: str = "/", port: int = 8000) -> str:
        """Body of an answer over HTTP."""
        connection = http.client.HTTPConnection(self.address, port, timeout=10)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def state(self) -> str:
        """What a play may change: files with mode, owner and content, units, users, packages."""
        places = "/etc /opt /var/lib/gunicorn /var/log/gunicorn /run/gunicorn /usr/local"
        return self.run(
            f"find {places} ! -path '/etc/resolv.conf' -printf '%p %m %u %g %s %l\\n' 2>/dev/null | sort;"
            f"find {places} -type f ! -path '*/venvs/*' 2>/dev/null | sort | xargs -d '\\n' sha256sum;"
            "dpkg-query --show; getent passwd; systemctl list-units --all --plain --no-legend 'hello*' | sort"
        )


@dataclass(frozen=True)
class Play:
    """Outcome of a run of ansible-playbook."""

    rc: int
    output: str
    seconds: float
    command: str

    @property
    def changed(self) -> int:
        """Changed tasks over all hosts."""
        return sum(map(int, re.findall(r"changed=(\d+)", self.output)))

    def __bool__(self) -> bool:
        return self.rc == 0


@dataclass
class Controller:
    """Somebody's machine with the repository checked out."""

    directory: Path
    ssh_config: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def play(
        self,
        server: Server,
        variables: dict[str, Any],
        *arguments: str,
        playbook: str = str(ROOT / "playbooks" / "site.yml"),
        environment: dict[str, str] | None = None,
    ) -> Play:
        """Run a playbook against one server with these variables."""
        inventory = self.directory / f"inventory-{next(self.numbers)}.json"
        common = f"-F '{self.ssh_config}'"
        hosts = {server.name: {"ansible_ssh_common_args": common}}
        inventory.write_text(json.dumps({"gunicorn": {"hosts": hosts, "vars": variables}}))
        command = ["ansible-playbook", "-i", str(inventory), playbook, *arguments]
        started = time.monotonic()
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.directory,
            start_new_session=True,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1", **(environment or {})},
        )
        seconds = time.monotonic() - started
        return Play(done.returncode, done.stdout + done.stderr, seconds, " ".join(command))


@dataclass
class Load:
    """A client that asks 50 times a second, each time on a new connection, and counts what goes wrong."""

    address: str
    port: int = 8000
    rate: float = 50
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
                connection = http.client.HTTPConnection(self.address, self.port, timeout=20)
                connection.request("GET", "/", headers={"Connection": "close"})
                answer = connection.getresponse()
                body = answer.read().decode()
                if answer.status != 200:
                    self.failures.append(f"status {answer.status}")
                self.answers.append((time.monotonic(), body))
            except (OSError, http.client.HTTPException) as problem:
                self.failures.append(repr(problem))

    started: float = field(default_factory=time.monotonic)

    @property
    def bodies(self) -> set[str]:
        """All different answers."""
        return {body for _moment, body in self.answers}

    @property
    def longest_gap(self) -> float:
        """Seconds between two answers at the most."""
        times = sorted(moment for moment, _body in self.answers)
        return max((late - early for early, late in itertools.pairwise(times)), default=0.0)


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """Run plays from a directory that is nobody's project."""
    state = Path(os.environ.get("RIG_STATE", ROOT / ".cache" / "rig"))
    return Controller(tmp_path_factory.mktemp("controller"), state / "ssh_config")


def fresh_server(name: str, release: str) -> Iterator[Server]:
    """Start a server that nothing was deployed to; remove it afterwards."""
    rig("down", name)
    rig("up", name, release)
    try:
        yield Server(name, rig("address", name))
    finally:
        rig("down", name)


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
        "gunicorn_health": {"path": "/healthz"},
        "gunicorn_firewall_enable": True,
    }


@pytest.fixture
def site(controller: Controller, server: Server, variables: dict[str, Any]) -> Server:
    """Give the server with the example application as it is in the repository."""
    play = controller.play(server, variables)
    assert play, play.output
    return server
