"""Runs that are cut off in each state of the server, or that run into a full disk: the next run finishes the work.

A run is written down first, with the state of the server between any two tasks. It is cut off wherever that changed,
and in the middle of what took longest: about 20 and 5 cuts, at half a minute each. What no moment between two tasks
shows is waited for on the server.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.tests.rig import Play, Server, fresh_server

from .interruption import (
    BESIDE,
    MOMENTS,
    UNFINISHED,
    Cut,
    cut_at,
    cut_during,
    leftovers,
    logged,
    read_cuts,
)
from .measure import Site, deployed

pytestmark = pytest.mark.full

HANG_UP = "docker exec pyweb-{name} sh -c 'kill -9 $(ps -C sshd,sshd-session -o pid=,user= | sed -n s/deploy//p)'"


@pytest.fixture(scope="module")
def updated(make_site: Callable[..., Site]) -> Iterator[Site]:
    """Give a site that is changed again and again."""
    yield from deployed(make_site(prefix="cut"))


def change(site: Site, number: int | str) -> None:
    """Change the code and a setting, and have a command to run before it serves."""
    site.mark = f"cut-{number}"
    threads = 9 - site.variables["gunicorn_settings"].get("threads", 8) % 2
    site.variables["gunicorn_settings"] = {**site.variables["gunicorn_settings"], "threads": threads}
    site.variables["gunicorn_before_activate"] = [f": {number}; sleep 1"]


def require(site: Site, number: int) -> None:
    """Change the requirements, so that a venv has to be built."""
    (site.directory / "requirements.txt").write_text(f"iniconfig==2.1.0; python_version > '3.{number}'\n")


def finish(site: Site) -> list[str]:
    """Run the play to its end, and once more; say what is wrong then."""
    play = site.deploy()
    if not play:
        return [f"the next run failed: {play.output}"]
    third = site.deploy()
    problems = leftovers(site)
    if third.rc or third.changed:
        problems.append(f"the third run ended with {third.rc} and changed {third.changed}: {third.output}")
    return problems


def cut_under_load(site: Site, cut: Cut, command: str = "") -> list[str]:
    """Change the site, cut the run off, and run it again, all under load; say what went wrong."""
    old = site.mark
    change(site, f"{cut.number}-{cut.after}")
    steps = [lambda: site.deploy(environment=cut_at(cut, command)), site.deploy]
    done = site.measure(f"cut at {cut}", *steps, accept={old, site.mark}, group="interrupted")
    problems = done.noticed()
    if done.plays[0].rc != -9 and not command:
        problems.append("the run was not cut off")
    if not done.play:
        problems.append(f"the next run failed: {done.play.output}")
    return problems + finish(site)


def find_cuts(log: Path, *moments: str) -> list[Cut]:
    """Give the cuts of a run that was written down; these moments are among them."""
    cuts = read_cuts(log)
    missing = set(moments).difference(*[cut.moments for cut in cuts])
    assert not missing, f"{missing} at none of: {', '.join(map(str, cuts))}"
    print(f"\n{len(cuts)} cuts", end="", flush=True)
    return cuts


def report(problems: dict[str, list[str]]) -> None:
    """Fail where there are any, with all of them."""
    assert not any(problems.values()), "\n".join(
        f"{cut}: {problem}" for cut, each in problems.items() for problem in each
    )


def test_an_update_that_is_killed_in_each_state(updated: Site, tmp_path: Path) -> None:
    log = tmp_path / "log"
    change(updated, "whole")
    play = updated.deploy(environment=logged(log, updated, MOMENTS | BESIDE))
    assert play, play.output
    cuts = find_cuts(log, *BESIDE, *MOMENTS)
    report({str(cut): cut_under_load(updated, cut) for cut in cuts})


def test_a_connection_that_breaks(updated: Site, tmp_path: Path) -> None:
    """Between two modules Ansible connects anew, and goes on. Within one the run fails, and the module may go on."""
    log = tmp_path / "log"
    change(updated, "again")
    require(updated, 0)
    play = updated.deploy(environment=logged(log, updated, MOMENTS))
    assert play, play.output
    hang_up = HANG_UP.format(name=updated.server.name)
    problems = {}
    for number, cut in enumerate([cut for cut in read_cuts(log) if cut.after], 1):
        require(updated, number % 10)
        problems[str(cut)] = cut_under_load(updated, cut, hang_up)
    report(problems)


def test_a_first_deploy_that_is_killed_in_each_state(make_site: Callable[..., Site], tmp_path: Path) -> None:
    log = tmp_path / "log"
    whole = make_site(prefix="first")
    play = whole.deploy(environment=logged(log, whole, MOMENTS))
    assert play, play.output
    whole.stop()
    problems = {}
    for cut in find_cuts(log, *MOMENTS):
        site = make_site(prefix="first")
        started = time.monotonic()
        cut_off = site.deploy(environment=cut_at(cut))
        there = site.answers()
        problems[str(cut)] = finish(site)
        if cut_off.rc != -9:
            problems[str(cut)].append("the run was not cut off")
        print(f"\n{site.release:10} first deploy, cut at {cut}: {'serves' if there else 'nothing there'}, ", end="")
        print(f"{problems[str(cut)] or 'then finished'}, {time.monotonic() - started:.0f} s", end="", flush=True)
        site.stop()
    report(problems)


def test_an_update_that_is_killed_while_code_arrives(updated: Site) -> None:
    """What unpacks the code on the server is killed too, so that half of it stays."""
    many = updated.directory / "many"
    many.mkdir()
    for number in range(5000):
        (many / f"{number}.py").write_text(f"# {number}\n")
    half = UNFINISHED.format(parts="{name}/releases", mark=".complete")
    old, updated.mark = updated.mark, "cut-code"
    environment = cut_during(updated, half, "pkill -KILL tar")
    there: list[str] = []

    def cut_off() -> Play:
        play = updated.deploy(environment=environment)
        there.append(updated.shell(f"cd ..; ({half.replace('{name}', updated.name)}) && echo half"))
        return play

    done = updated.measure("cut while code arrives", cut_off, updated.deploy, accept={old, "cut-code"})
    assert done.plays[0].rc == -9, done.plays[0].output
    assert there == ["half"], "a release without its mark"
    assert done.play, done.play.output
    done.the_new_one_took_over()
    done.nobody_noticed()
    shutil.rmtree(many)
    assert finish(updated) == []


@pytest.fixture
def bare(release: str) -> Iterator[Server]:
    """Give a server that nothing was deployed to."""
    yield from fresh_server(f"dt-bare-{release}", release, bare=True)


def test_a_new_server_that_is_killed_while_packages_are_installed(make_site: Callable[..., Site], bare: Server) -> None:
    site = make_site(prefix="bare")
    site.server = bare
    cut_off = site.deploy(environment=cut_during(site, "pgrep --full '[d]pkg --status-fd'"))
    assert cut_off.rc == -9, cut_off.output
    assert not site.answers()
    assert finish(site) == []


def test_a_disk_that_is_full(make_site: Callable[..., Site]) -> None:
    site = make_site(prefix="full")
    place = f"/opt/{site.name}"
    site.server.run(f"mkdir {place} && mount -t tmpfs -o size=1g,mode=755 tmpfs {place}")
    play = site.deploy()
    assert play, play.output
    used = int(site.shell(f"df --output=used -k {place} | tail -1"))
    site.server.run(f"mount -o remount,size={used + 2048}k {place}")
    site.measure_baseline()

    (site.directory / "requirements.txt").write_text("iniconfig==2.1.0\n")
    old, site.mark = site.mark, "roomy"
    done = site.measure("disk full", site.deploy, accept={old}, group="broken")
    assert not done.play
    left = re.search(rf"Space left on the disk of {place}: (\S+?)\.\s", done.output)
    assert left, done.output
    assert left[1][-1] in "0KM", f"{left[1]}: the message shows what is short"
    done.only_the_old_one_answered()
    done.nobody_noticed()

    site.server.run(f"mount -o remount,size=1g {place}")
    done = site.measure("disk full: mended", site.deploy, accept={old, site.mark}, group="broken")
    assert done.play, done.output
    done.the_new_one_took_over()
    done.nobody_noticed()
    assert finish(site) == []
    site.stop()
    site.server.run(f"umount --lazy {place}")
