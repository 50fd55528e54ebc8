"""Servers and sites for the tests that measure what a deploy costs the users of a site."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, SSH_CONFIG, Controller, Server, fresh_server, rig

from .measure import FULL, WORKER_CLASSES, Row, Site, Variables

APPLICATIONS = Path(__file__).parent / "applications"
# The client has at most four slow requests under way. These classes get enough workers or threads, so that a request
# doesn't wait behind slow ones, deploy or not: such a wait would be taken for a gap.
SETTINGS: dict[str, Variables] = {"sync": {"workers": 8}, "gthread": {"threads": 8}, "tornado": {"workers": 8}}


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker for tests of the full form."""
    config.addinivalue_line("markers", "full: only with PYWEB_DOWNTIME=full, as make test-downtime sets it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, in the short form, what belongs to the full one."""
    out = [] if FULL else [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """Run plays from a directory that is nobody's project."""
    return Controller(tmp_path_factory.mktemp("controller"), SSH_CONFIG)


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    """Collect the figures of the session."""
    return []


@pytest.fixture(scope="session", params=RELEASES if FULL else RELEASES[:1])
def release(request: pytest.FixtureRequest) -> str:
    """Give each release that is measured."""
    return str(request.param)


@pytest.fixture(scope="session")
def server(release: str) -> Iterator[Server]:
    """Give the server of all sites."""
    yield from fresh_server(f"dt-{release}", release)


@pytest.fixture(scope="session")
def make_site(
    controller: Controller,
    server: Server,
    release: str,
    rows: list[Row],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Site]:
    """Give a function that prepares a site, without deploying it."""
    numbers = iter(range(100))

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
            "gunicorn_settings": {"worker_class": worker_class, **SETTINGS.get(worker_class, {})},
        }
        now = Server(server.name, rig("address", server.name))  # a reboot may have changed it
        return Site(controller, now, release, worker_class, name, port, directory, variables, rows)

    return make


def deployed(site: Site) -> Iterator[Site]:
    """Deploy the site and measure it undisturbed; stop it afterwards."""
    play = site.deploy()
    assert play, play.output
    site.measure_baseline(10 if FULL else 5)
    yield site
    site.server.run(f"systemctl disable --now {site.name}.socket; systemctl stop '{site.name}*'")


@pytest.fixture(scope="session", params=WORKER_CLASSES)
def site(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Iterator[Site]:
    """Give a site of each worker class, as the test before left it."""
    yield from deployed(make_site(request.param))
