"""What an application that was taken over can't do, and what an ordinary one can: from inside the running service."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, Controller, Server, fresh_server

from .conftest import EACH_RELEASE

HOSTILE = Path(__file__).parent / "applications/hostile.py"
NEIGHBOUR = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'neighbour']\n"
ASGI = ("asgi", "uvicorn_worker.UvicornWorker")
WORKERS = [
    *(pytest.param(RELEASES[-1], each, marks=pytest.mark.full) for each in ("sync", "gevent", "tornado", *ASGI)),
    *(pytest.param(release, "gthread", marks=pytest.mark.full) for release in RELEASES[:-1]),
    (RELEASES[-1], "gthread"),
]
"""The last one of each release is what the other tests look at."""

EXPOSURE = 12
"""What systemd-analyze may say of the service at most, in tenths."""

NOT_EVEN_ROOT = {
    "load a module",
    "load another kernel",
    "open /dev/kmsg",
    "open a socket of the kernel's cryptography",
    "read the kernel's log",
    "read the kernel's symbols",
    "restart the machine",
    "run a program from /dev/shm",
    "run in real time",
    "set the clock",
    "take priority over others",
    "write /proc/sys",
    "write /sys",
}
"""What may fail without the sandbox too, even as root: the rig's servers are containers. All else must get through."""

ONLY_THE_SANDBOX = {
    "change its personality",
    "create a user namespace",
    "enter a home directory",
    "make a set-uid program",
    "make memory executable",
    "map memory writable and executable",
    "open a netlink socket",
    "read the memory of another process",
    "run a program from /tmp",
    "run a program from its state directory",
    "run a set-uid program",
    "see processes of other users",
    "speak with D-Bus",
    "trace another process",
    "write /run/lock, where everybody may",
    "write a directory where everybody may",
}
"""What no permission of a file stops: the service's own user does it where nothing but the sandbox is missing."""


def ask(server: Server, path: str) -> Any:
    connection = http.client.HTTPConnection(server.address, 80, timeout=60)
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


def not_refused(outcomes: dict[str, str]) -> dict[str, str]:
    return {name: outcome for name, outcome in outcomes.items() if not outcome.startswith("refused: ")}


def failing(outcomes: dict[str, str]) -> dict[str, str]:
    return {name: outcome for name, outcome in outcomes.items() if outcome != "works"}


ACCOUNTS = (
    "grep -hv ^neighbour-build: /etc/passwd /etc/shadow /etc/group /etc/gshadow;"  # who builds its packages
    "find /home/keeper -printf '%p %m %u %g %t\\n'"
)


@dataclass
class Host:
    """A server with another application, as an existing user, and with what an attacker would like to find."""

    controller: Controller
    server: Server
    accounts: str
    """The users and the home of the existing one, before the first play."""
    directory: Path
    deployed: Any = None

    def deploy(self, worker_class: str = "gthread", **options: Any) -> Server:
        """Deploy the hostile application, unless it is there, on a port that only root may open."""
        if self.deployed == (worker_class, options):
            return self.server
        variables = {
            "gunicorn_name": "hostile",
            "gunicorn_source": {"directory": str(self.directory)},
            "gunicorn_wsgi_app": "hostile:asgi_app" if worker_class in ASGI else "hostile:app",
            "gunicorn_packages": ["cffi"],
            "gunicorn_bind": ["0.0.0.0:80"],
            "gunicorn_settings": {"worker_class": worker_class, "workers": 1},
            "gunicorn_environment": {"DATABASE_HOST": f"pyweb-{self.server.name}"},
            "gunicorn_firewall": False,
            "gunicorn_health": {"watch": 0},
            "gunicorn_service_options": options,
        }
        play = self.controller.play(self.server, variables)
        assert play, play.output
        self.deployed = (worker_class, options)
        return self.server


def prepare(server: Server, controller: Controller, directory: Path) -> Host:
    for name in ("neighbour", "hostile"):
        (directory / name).mkdir()
    (directory / "neighbour/wsgi.py").write_text(NEIGHBOUR)
    shutil.copy(HOSTILE, directory / "hostile")
    server.run(
        "useradd --create-home --shell /bin/bash --password '$6$salt$hash' keeper; chmod 755 /home/keeper;"
        "install -m 4755 /usr/bin/id /usr/local/bin/set-uid-id; install -d -m 1777 /srv/everybodys"
    )
    before = server.run(ACCOUNTS)
    variables = {
        "gunicorn_name": "neighbour",
        "gunicorn_source": {"directory": str(directory / "neighbour")},
        "gunicorn_environment": {"TOKEN": "the neighbour's"},
        "gunicorn_user": "keeper",
        "gunicorn_firewall": False,
        "gunicorn_health": {"watch": 0},
    }
    play = controller.play(server, variables)
    assert play, play.output
    return Host(controller, server, before, directory / "hostile")


@pytest.fixture(scope="module")
def on(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Host]]:
    """Give the server with a release, made when the first test asks for it."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def host(release: str) -> Host:
            server = stack.enter_context(contextlib.contextmanager(fresh_server)(f"it-sandbox-{release}", release))
            return prepare(server, controller, tmp_path_factory.mktemp(release))

        yield host


@pytest.mark.parametrize("release", EACH_RELEASE)
def test_an_existing_user_is_used_as_it_is(on: Callable[[str], Host], release: str) -> None:
    server = on(release).server
    assert server.run(ACCOUNTS) == on(release).accounts
    assert server.run("ps -o user= -p $(systemctl show --property MainPID --value neighbour)") == "keeper"
    assert server.run("stat -c '%U %a' /var/lib/gunicorn/neighbour") == "keeper 711"


@pytest.mark.parametrize(("release", "worker_class"), WORKERS)
def test_an_application_that_was_taken_over(on: Callable[[str], Host], release: str, worker_class: str) -> None:
    server = on(release).deploy(worker_class)
    attempts = ask(server, "/attempts")
    assert len(attempts) >= 20
    assert not_refused(attempts) == {}
    there = [name for name in attempts if "another application" in name]
    assert {attempts[name] for name in there} == {"refused: EACCES"}, "not because it isn't there"
    assert failing(ask(server, "/ordinary")) == {}


@pytest.mark.parametrize("release", EACH_RELEASE)
def test_the_attempts_get_through_without_the_sandbox(on: Callable[[str], Host], release: str) -> None:
    server = on(release).deploy()
    program = "/opt/hostile/current/venv/bin/python /opt/hostile/current/code/hostile.py"
    environment = "--setenv=STATE_DIRECTORY=/var/lib/gunicorn/hostile --setenv=PYTHONDONTWRITEBYTECODE=1"
    run = f"systemd-run --quiet --wait --pipe --collect {environment}"
    as_root = not_refused(json.loads(server.run(f"{run} {program}")))
    assert set(ask(server, "/attempts")) - set(as_root) <= NOT_EVEN_ROOT
    as_the_user = not_refused(json.loads(server.run(f"{run} --uid=hostile {program}")))
    assert set(as_the_user) >= ONLY_THE_SANDBOX
    unclear = {name: outcome for name, outcome in {**as_root, **as_the_user}.items() if "GOT THROUGH" not in outcome}
    assert unclear == {}


@pytest.mark.parametrize("release", EACH_RELEASE)
def test_what_the_service_can_write(on: Callable[[str], Host], release: str) -> None:
    server = on(release).deploy()
    slot = server.run("basename -s .service $(readlink /etc/systemd/system/hostile.service)")
    own = ("/var/lib/gunicorn/hostile", "/var/log/gunicorn/hostile", f"/run/gunicorn/{slot}")
    private = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")
    writable = ask(server, "/writable")
    assert set(own) <= set(writable)
    assert [path for path in writable if path not in private and not path.startswith(own)] == []
    server.run("touch /dev/shm/of-the-host /tmp/of-the-host; chmod 666 /dev/shm/of-the-host /tmp/of-the-host")
    assert not [path for path in ask(server, "/writable") if "of-the-host" in path], "these are its own"
    modes = server.run(f"stat -c '%U %a' {' '.join(own)}").splitlines()
    assert modes == ["hostile 711", "hostile 700", "hostile 700"]
    assert server.run("stat -c %a /var/lib/gunicorn/hostile/shop.db") == "600", "what nobody opened to others"


@pytest.mark.parametrize("release", EACH_RELEASE)
def test_the_exposure(on: Callable[[str], Host], release: str) -> None:
    server = on(release).deploy()
    slot = server.run("basename $(readlink /etc/systemd/system/hostile.service)")
    for unit in (slot, "hostile-check.service"):
        said = server.run(f"systemd-analyze security --no-pager --threshold={EXPOSURE} {unit} || echo TOO MUCH")
        assert "Overall exposure level" in said
        assert "TOO MUCH" not in said, said


@pytest.mark.parametrize("release", EACH_RELEASE)
def test_a_directive_that_systemd_does_not_know(on: Callable[[str], Host], release: str, tmp_path: Path) -> None:
    (tmp_path / "wsgi.py").write_text(NEIGHBOUR)
    variables = {
        "gunicorn_name": "misspelt",
        "gunicorn_source": {"directory": str(tmp_path)},
        "gunicorn_bind": ["0.0.0.0:8001"],
        "gunicorn_service_options": {"MemoryMx": "1G", "CPUQuota": "150", "After": "x.service", "TasksMax": 100},
    }
    play = on(release).controller.play(on(release).server, variables)
    assert not play
    assert "got MemoryMx: '1G', which systemd on the host would ignore: Unknown key" in play.output
    assert "did you mean 'MemoryMax'?" in play.output
    assert "got CPUQuota: '150', which systemd on the host would ignore: Invalid CPU quota" in play.output
    assert "got After: 'x.service', which systemd" in play.output
    assert "TasksMax" not in play.output
    assert play.changed == 0


def test_each_relaxation_is_one_variable(on: Callable[[str], Host]) -> None:
    server = on(RELEASES[-1]).deploy(
        MemoryDenyWriteExecute=False,
        NoExecPaths=[],
        ReadWritePaths=["/srv/everybodys"],
        ProcSubset="all",
        ProtectHome="read-only",
        InaccessiblePaths=[],
        IPAddressDeny="any",
        IPAddressAllow="localhost",
        MemoryMax="1G",
        TasksMax=200,
        CPUQuota="300%",
        LimitNOFILE=8192,
    )
    assert set(not_refused(ask(server, "/attempts"))) - {"read the kernel's symbols"} == {
        "map memory writable and executable",
        "make memory executable",
        "run a program from its state directory",
        "run a program from /tmp",
        "write a directory where everybody may",
        "enter a home directory",
        "speak with D-Bus",
    }
    assert list(failing(ask(server, "/ordinary"))) == ["TCP to another address"], "who asks from outside is answered"
    limits = server.run("systemctl show --property MemoryMax,TasksMax,CPUQuotaPerSecUSec,LimitNOFILE hostile").split()
    assert set(limits) == {"MemoryMax=1073741824", "TasksMax=200", "CPUQuotaPerSecUSec=3s", "LimitNOFILE=8192"}
