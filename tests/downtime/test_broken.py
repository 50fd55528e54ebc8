"""Releases that are broken: the play says why, the site goes on, and the next good run deploys.

In the full form the next good run comes after each of them, in the short one after all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from .client import CONNECTIONS
from .measure import WORKER_CLASSES, Site

# Appended to the application. `good` is the application as it was.
SICK = """
def sick(environ, start_response, good=app):
    if environ["PATH_INFO"] == "/healthz":
        {what}
    return good(environ, start_response)

{when}
"""
ERROR = "start_response('500 Internal Server Error', [('Content-Length', '0')]); return []"
ON_SITE = "import os, signal, threading\nif not os.environ['RUNTIME_DIRECTORY'].endswith('-check'):\n    "


@dataclass(frozen=True)
class Broken:
    """A release that must not get through."""

    name: str
    causes: list[str]
    code: str = ""
    requirements: str = ""
    change: dict[str, Any] = field(default_factory=dict)
    short: bool = False
    watched: bool = False  # it passes the check and is found out beside the old one


BROKEN = [
    Broken(
        "import error",
        ["ModuleNotFoundError: No module named 'a_module_that_nobody_has'", "wsgi.py"],
        code="import a_module_that_nobody_has\n",
        short=True,
    ),
    Broken("syntax error", ["SyntaxError", "wsgi.py"], code="def broken(:\n"),
    Broken("requirement not listed", ["ModuleNotFoundError: No module named 'flask'"], code="import flask\n"),
    Broken("requirement does not exist", ["iniconfig==0.0.999"], requirements="iniconfig==0.0.999\n"),
    Broken(
        "unknown setting",
        ["unknown setting 'worker'; did you mean 'workers'?"],
        change={"gunicorn_conf_extra": "worker = 4"},
    ),
    Broken(
        "health check answers 500",
        ["GET /healthz answered 500, not 200"],
        code=SICK.format(what=ERROR, when="app = sick"),
        change={"gunicorn_health": {"path": "/healthz", "timeout": 5}},
        short=True,
    ),
    Broken(
        "health check hangs",
        ["it wasn't healthy within 3 s"],
        code=SICK.format(what="time.sleep(60)", when="app = sick"),
        change={"gunicorn_health": {"path": "/healthz", "timeout": 3}},
    ),
    Broken(
        "ends during the watch",
        ["goes on serving"],
        code=ON_SITE + "threading.Timer(1, os.kill, [os.getppid(), signal.SIGTERM]).start()\n",
        short=True,
        watched=True,
    ),
    Broken(
        "unhealthy during the watch",
        ["GET /healthz answered 500, not 200", "goes on serving"],
        code=SICK.format(what="if time.time() > sick_from: " + ERROR, when="sick_from = time.time() + 1.5")
        + ON_SITE
        + "app = sick\n",
        watched=True,
    ),
    Broken(
        "gunicorn_before_activate fails",
        ["gunicorn_before_activate", "migrate orders", "no such table: orders"],
        change={"gunicorn_before_activate": [": migrate orders; echo 'no such table: orders' >&2; exit 3"]},
        short=True,
    ),
]


def marked(broken: Broken) -> Any:
    """Give a test's parameter."""
    return pytest.param(broken, id=broken.name, marks=() if broken.short else pytest.mark.full)


@contextmanager
def release(site: Site, mark: str, code: str = "", requirements: str = "") -> Iterator[None]:
    """Change the application for a while."""
    files = {path: path.read_text() for path in (site.code, site.directory / "requirements.txt") if path.exists()}
    site.mark = mark
    site.code.write_text(site.code.read_text() + code)
    (site.directory / "requirements.txt").write_text(requirements)
    try:
        yield
    finally:
        (site.directory / "requirements.txt").unlink()
        for path, text in files.items():
            path.write_text(text)


@pytest.mark.parametrize("site", WORKER_CLASSES[:1], indirect=True)
@pytest.mark.parametrize("broken", [marked(broken) for broken in BROKEN])
def test_a_broken_release_reaches_nobody(site: Site, broken: Broken, full: bool) -> None:
    mark = site.mark
    accept = {mark, "broken"} if broken.watched else {mark}
    with release(site, "broken", broken.code, broken.requirements):
        done = site.measure(broken.name, lambda: site.deploy(**broken.change), accept=accept, group="broken")
    assert not done.play, done.output
    for cause in broken.causes:
        assert cause in done.output, done.output
    if broken.watched:
        done.the_new_one_was_tried()
    else:
        done.only_the_old_one_answered()
    done.nobody_noticed()
    units = " ".join(f"{site.name}-{slot}.service" for slot in ("blue", "green", "check"))
    states = site.shell(f"systemctl is-active {units}").split()
    assert states.count("active") == 1, states
    assert states[2] in ("inactive", "failed"), states
    if full:
        fix(site)


@pytest.mark.parametrize("site", WORKER_CLASSES[:1], indirect=True)
def test_after_broken_releases_a_good_one_deploys(site: Site) -> None:
    fix(site)


def fix(site: Site) -> None:
    """Deploy a good release."""
    old = site.mark
    site.mark = "fixed" if old != "fixed" else "fixed-again"
    done = site.measure("fixed", site.deploy, accept={old, site.mark}, group="broken")
    assert done.play, done.output
    done.the_new_one_took_over()
    done.nobody_noticed()


@pytest.mark.full
@pytest.mark.parametrize("site", WORKER_CLASSES[:1], indirect=True)
def test_a_release_that_takes_its_time_is_not_broken(site: Site) -> None:
    mark, health = site.mark, {"path": "/healthz", "timeout": 60}
    with release(site, "slow", "time.sleep(20)\n"):
        done = site.measure("boots for 20 s", lambda: site.deploy(gunicorn_health=health), accept={mark, "slow"})
    assert done.play, done.output
    done.the_new_one_took_over()
    done.nobody_noticed()
    assert site.deploy()


@pytest.mark.full
@pytest.mark.parametrize("site", WORKER_CLASSES[:1], indirect=True)
def test_a_release_that_is_killed_loses_what_it_was_answering_and_no_more(site: Site) -> None:
    mark = site.mark
    with release(site, "broken", ON_SITE + "threading.Timer(1, os.kill, [os.getppid(), signal.SIGKILL]).start()\n"):
        done = site.measure("killed during the watch", site.deploy, accept={mark, "broken"}, group="killed")
    assert not done.play, done.output
    done.the_new_one_was_tried()
    for kind, counts in done.counts.items():
        assert set(counts.failed) <= {"reset", "closed without an answer", "truncated"}, kind
        moments = [moment for moment, _reason in counts.failures]
        assert len(moments) <= CONNECTIONS, "one on each connection at the most"
        assert not moments or max(moments) - min(moments) < done.limit, "all at once"
        assert counts.longest_gap < done.limit
    fix(site)
