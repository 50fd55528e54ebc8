"""Modules that are killed at each of their steps, connections that break, a full disk: the next run finishes the work.

A run is counted first, step by step. Then it is repeated, and each time a module is killed before another step: alone,
so that what it has started goes on, or with that.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.tests.rig import KILL_MODULE, Play, Server, fresh_server

from .interruption import Cut, Steps, call_at, cut_during, leftovers, logged, read_cuts
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
    return settled(site) if play else [f"the next run failed: {play.output}"]


def settled(site: Site) -> list[str]:
    """Run the play again, which has nothing to do; say what is wrong then."""
    third = site.deploy()
    problems = leftovers(site)
    if third.rc or third.changed:
        problems.append(f"the third run ended with {third.rc} and changed {third.changed}: {third.output}")
    return problems


def under_load(site: Site, what: str, *steps: Callable[[], Play]) -> tuple[list[str], list[Play]]:
    """Change the site, with a run that breaks off and one that doesn't, under load; say what went wrong."""
    old = site.mark
    change(site, what)
    done = site.measure(f"cut at {what}", *steps, accept={old, site.mark}, group="interrupted")
    problems = done.noticed()
    if not done.play:
        problems.append(f"the next run failed: {done.play.output}")
    return problems + settled(site), done.plays


def report(problems: dict[str, list[str]]) -> None:
    """Fail where there are any, with all of them."""
    assert not any(problems.values()), "\n".join(
        f"{cut}: {problem}" for cut, each in problems.items() for problem in each
    )


def ways(steps: list[str]) -> list[tuple[int, str, str]]:
    """Give each step with its number and how the module is killed before it: after a command in both ways.

    Of a question that is asked again and again, only the first counts.
    """
    found = []
    for number, (before, step) in enumerate(pairwise(["", *steps])):
        ordered = before.startswith("run") and "'show'" not in before
        if step != before:
            found += [(number, how, f"{number} {how} {step}") for how in ("module", "all")[: 1 + ordered]]
    return found


def test_an_update_whose_module_is_killed_at_each_step(updated: Site) -> None:
    steps = Steps(updated)
    change(updated, "whole")
    problems = {}
    whole = steps.of(updated.deploy)
    assert any("check" in step for step in whole), "the check is among them"
    for number, how, name in ways(whole):

        def killed(number: int = number, how: str = how) -> Play:
            steps.kill_at(number, how)
            play = updated.deploy()
            steps.go_on()
            return play

        problems[name], plays = under_load(updated, f"{number}-{how}", killed, updated.deploy)
        if not plays[0].rc:
            problems[name].append("the run was not cut off")
        print(f"\n{name}: {problems[name] or 'then finished'}", end="", flush=True)
    print(f"\n{len(problems)} steps", end="", flush=True)
    report(problems)


def test_a_connection_that_breaks(updated: Site, tmp_path: Path) -> None:
    """Between two modules Ansible connects anew, and goes on. Within one the run fails, and the module may go on."""
    log = tmp_path / "log"
    change(updated, "again")
    require(updated, 0)
    play = updated.deploy(environment=logged(log))
    assert play, play.output
    hang_up = HANG_UP.format(name=updated.server.name)
    problems = {}
    for number, cut in enumerate(read_cuts(log), 1):
        require(updated, number % 10)

        def broken(cut: Cut = cut) -> Play:
            return updated.deploy(environment=call_at(cut, hang_up))

        problems[str(cut)], _plays = under_load(updated, f"{cut.number}-{cut.after}", broken, updated.deploy)
    report(problems)


def test_a_first_deploy_whose_module_is_killed_at_each_command(make_site: Callable[..., Site]) -> None:
    """Commands and what is put in its place; the small steps between them are those of an update."""
    whole = make_site(prefix="first")
    steps = Steps(whole).of(whole.deploy)
    whole.stop()
    problems = {}
    for number, how, name in ways(steps):
        if not steps[number].startswith(("run", "mkdir")):
            continue
        site = make_site(prefix="first")
        started = time.monotonic()
        faulty = Steps(site)
        faulty.kill_at(number, how)
        cut_off = site.deploy()
        faulty.go_on()
        there = site.answers()
        problems[name] = finish(site)
        if not cut_off.rc:
            problems[name].append("the run was not cut off")
        print(f"\n{site.release:10} first deploy, {name}: {'serves' if there else 'nothing there'}, ", end="")
        print(f"{problems[name] or 'then finished'}, {time.monotonic() - started:.0f} s", end="", flush=True)
        site.stop()
    report(problems)


def test_an_update_that_is_killed_while_code_arrives(updated: Site) -> None:
    """What unpacks the code on the server is killed too, so that half of it stays."""
    many = updated.directory / "many"
    many.mkdir()
    for number in range(5000):
        (many / f"{number}.py").write_text(f"# {number}\n")
    half = "ls -d {name}/code/.*.new"
    old, updated.mark = updated.mark, "cut-code"
    environment = cut_during(updated, half, KILL_MODULE)
    there: list[str] = []

    def cut_off() -> Play:
        play = updated.deploy(environment=environment)
        there.append(updated.shell(f"cd ..; ({half.replace('{name}', updated.name)}) && echo half"))
        return play

    done = updated.measure("cut while code arrives", cut_off, updated.deploy, accept={old, "cut-code"})
    assert done.plays[0].rc == -9, done.plays[0].output
    assert there[0].endswith("half"), "code that isn't in its place yet"
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
    said = rf"can't bring the code to {place}: .* but only [0-2] MiB are\. Make room on that disk"
    assert re.search(said, " ".join(done.output.split())), done.output
    done.only_the_old_one_answered()
    done.nobody_noticed()

    site.server.run(f"mount -o remount,size=1g {place}")
    done = site.measure("disk full: fixed", site.deploy, accept={old, site.mark}, group="broken")
    assert done.play, done.output
    done.the_new_one_took_over()
    done.nobody_noticed()
    assert finish(site) == []
    site.stop()
    site.server.run(f"umount --lazy {place}")
