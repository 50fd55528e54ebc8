"""Servers and sites for the tests that measure what a deploy costs the users of a site."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, SSH_CONFIG, Controller, Server, fresh_server, rig

from .measure import GUNICORN, NEWER_GUNICORN, WORKER_CLASSES, Site, Variables, deployed, in_full
from .page import LEAST, PAGE, Record
from .wheels import next_gunicorn

APPLICATIONS = Path(__file__).parent / "applications"
# The client has at most four slow requests under way. These classes get enough workers or threads, so that a request
# doesn't wait behind slow ones, deploy or not: such a wait would be taken for a gap. A WSGI application keeps Tornado's
# event loop, and all the connections of a worker, waiting: there a slow request takes less.
SETTINGS: dict[str, Variables] = {"sync": {"workers": 8}, "gthread": {"threads": 8}, "tornado": {"workers": 8}}
ENVIRONMENT = {"tornado": {"SLOW": "0.2"}}


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether this is the full form, or a piece of it."""
    return "not full" not in pytestconfig.getoption("markexpr")


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """Run plays from a directory that is nobody's project."""
    return Controller(tmp_path_factory.mktemp("controller"), SSH_CONFIG)


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest, full: bool) -> Iterator[Record]:
    """Collect the figures of the session. Where the full form, or all its pieces, are green, they become the page."""
    record = Record()
    yield record
    failed = request.session.testsfailed
    print(f"\n{record.requests():,} requests, {record.failed()} failed, and {failed} tests")
    if not full or failed:
        return
    record.keep()
    whole = Record.kept()
    missing = whole.missing()
    if missing:
        print(f"{PAGE.name} is left as it is, {len(missing)} figures are still missing: {', '.join(missing[:3])} ...")
        return
    assert whole.requests() >= LEAST, "too few requests to say anything"
    whole.write()
    print(f"{PAGE} is written")


@pytest.fixture(scope="session", params=in_full(RELEASES, RELEASES[0]))
def release(request: pytest.FixtureRequest) -> str:
    """Give each release that is measured."""
    return str(request.param)


@pytest.fixture(scope="session")
def server(release: str, record: Record) -> Iterator[Server]:
    """Give the server of all sites."""
    for server in fresh_server(f"dt-{release}", release):
        describe = (
            ". /etc/os-release; echo $PRETTY_NAME, systemd $(systemctl --version | sed -n '1s/[^(]*(//; 1s/).*//p')"
        )
        record.servers[release] = server.run(describe)
        yield server


@pytest.fixture(scope="session")
def make_site(
    controller: Controller,
    server: Server,
    release: str,
    record: Record,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Site]:
    """Give a function that prepares a site, without deploying it."""
    numbers = itertools.count()

    def make(worker_class: str = "gthread", prefix: str = "site") -> Site:
        number = next(numbers)
        name, port = f"{prefix}-{worker_class}-{number}", 8100 + number
        directory = tmp_path_factory.mktemp(name)
        module = "asgi" if worker_class == "asgi" else "wsgi"
        shutil.copy(APPLICATIONS / f"{module}.py", directory)
        variables: Variables = {
            "gunicorn_name": name,
            "gunicorn_source": {"directory": str(directory)},
            "gunicorn_wsgi_app": f"{module}:app",
            "gunicorn_bind": [f"0.0.0.0:{port}"],
            "gunicorn_health": {"path": "/healthz"},
            "gunicorn_environment": ENVIRONMENT.get(worker_class, {}),
            "gunicorn_settings": {"worker_class": worker_class, **SETTINGS.get(worker_class, {})},
        }
        now = Server(server.name, rig("address", server.name))  # a reboot may have changed it
        return Site(controller, now, release, worker_class, name, port, directory, variables, record.rows)

    return make


@pytest.fixture(scope="session", params=in_full(WORKER_CLASSES, WORKER_CLASSES[0]))
def site(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Iterator[Site]:
    """Give a site of each worker class, as the test before left it."""
    yield from deployed(make_site(request.param))


@pytest.fixture(scope="session")
def newer_gunicorn(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a playbook with which the server finds a newer Gunicorn than the one that is published."""
    directory = tmp_path_factory.mktemp("wheels")
    wheel = next_gunicorn(directory, GUNICORN, NEWER_GUNICORN)
    server.run("mkdir -p /srv/wheels")
    copy = ["docker", "cp", str(wheel), f"pyweb-{server.name}:/srv/wheels/"]
    subprocess.run(copy, check=True, capture_output=True)
    playbook = directory / "newer.yml"
    playbook.write_text(
        """
- hosts: gunicorn
  gather_facts: false
  become: true
  environment: {PIP_FIND_LINKS: /srv/wheels}
  roles: [pyweb.deploy.gunicorn]
"""
    )
    return playbook
