"""Compare ways to deploy, interleaved, on servers of the rig, and write docs/performance.md (see `make bench`)."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ansible_collections.pyweb.deploy.bench import contenders, measuring
from ansible_collections.pyweb.deploy.bench.contenders import Contender, Job, Site
from ansible_collections.pyweb.deploy.bench.measuring import RELEASE
from ansible_collections.pyweb.deploy.tests.rig import ROOT, Server, fresh_server

APPLICATION = ROOT / "examples" / "flask_hello"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
SIXTY = Path(__file__).parent / "sixty.txt"
"""Requirements that come to about sixty packages."""
SMALL = ("toml==0.10.2", "pytz==2025.2", "toolz==1.0.0", "tabulate==0.9.0", "xmltodict==0.15.0", "zipp==3.23.0")
"""What is required in addition, one after the other: no release of a package is installed twice."""


@dataclass
class Bench:
    """The servers, and what was measured on them."""

    servers: Sequence[Server]
    work: Path
    results: dict[str, dict[str, measuring.Costs]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def source(self, contender: Contender, kind: str) -> Path:
        """Directory of the contender's copy of the application; made where it isn't there."""
        path = self.work / f"{contender.name.replace(' ', '-').replace(',', '')}-{kind}"
        if not path.exists():
            shutil.copytree(APPLICATION, path)
        return path

    def once(self, contender: Contender, site: Site, servers: Sequence[Server], back: bool = False) -> measuring.Cost:
        """Let a contender work."""
        number = next(self.numbers)
        directory = self.work / f"job-{number}"
        directory.mkdir()
        command = contender.command(Job(site, servers, directory, back))
        return measuring.run(command, contender.environment, directory, directory / "output")

    def prepare(self, jobs: Sequence[tuple[Contender, Site, Sequence[Server]]]) -> None:
        """Let contenders deploy what is measured later: one brings the Debian packages, then two beside each other."""
        self.once(*jobs[0])
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda job: self.once(*job), jobs[1:]))

    def time(
        self, workload: str, contender: Contender, site: Site, servers: Sequence[Server], back: bool = False
    ) -> None:
        """Let a contender work, and keep what it cost."""
        cost = self.once(contender, site, servers, back)
        self.results.setdefault(workload, {}).setdefault(contender.name, measuring.Costs()).runs.append(cost)
        print(f"  {workload:34} {contender.name:24} {cost.seconds:6.1f} s  {cost.cpu:6.1f} s CPU", flush=True)


def edit(source: Path, mark: object) -> None:
    """Change the code."""
    with (source / "wsgi.py").open("a") as file:
        file.write(f"# {mark}\n")


def first_deploy(bench: Bench, who: Sequence[Contender], once: Sequence[Contender], repeat: int) -> None:
    """Deploy to a server that is as it was installed. Those of `once` do so in the first turn only."""
    for turn in range(repeat):
        for contender in (*who, *(() if turn else once)):
            with contextlib.contextmanager(fresh_server)(f"bench-first-{turn}", RELEASE) as server:
                bench.time("first deploy", contender, contender.site(bench.source(contender, "one")), [server])


def changes(
    bench: Bench, who: Sequence[Contender], still: Sequence[Contender], floor: Sequence[Contender], repeat: int
) -> None:
    """Do nothing, then change one thing after the other, on one server. Those of `still` only do nothing.

    What no goal is about is measured once less.
    """
    server = bench.servers[:1]
    sites = {contender.name: contender.site(bench.source(contender, "one")) for contender in (*who, *still)}
    for contender in (*who, *still):
        bench.once(contender, sites[contender.name], server)
    for turn in range(repeat):
        less = turn > 0 and turn == repeat - 1
        for contender in (*floor, *who, *(() if less else still)):
            bench.time("nothing to do", contender, sites.get(contender.name, contender.site(Path())), server)
        for contender in who:
            edit(sites[contender.name].source, turn)
            bench.time("new code", contender, sites[contender.name], server)
        if less:
            break
        for contender in who:
            bench.time("another setting", contender, replace(sites[contender.name], threads=3 + turn), server)
        for contender in who:
            # Going back is a deploy of what was there before, where a tool has no word for it.
            bench.time("going back", contender, sites[contender.name], server, back=True)


def requirements(bench: Bench, who: Sequence[Contender], repeat: int) -> None:
    """Require one package more, of an application with sixty."""
    sites = {}
    for contender in who:
        source = bench.source(contender, "sixty")
        shutil.copy(SIXTY, source / "requirements.txt")
        sites[contender.name] = replace(contender.site(source), name=f"{contender.prefix}60", port=contender.port + 50)
    bench.prepare([(contender, sites[contender.name], bench.servers[:1]) for contender in who])
    for package, contender in itertools.product(SMALL[:repeat], who):
        with (sites[contender.name].source / "requirements.txt").open("a") as file:
            file.write(f"{package}\n")
        bench.time("one requirement more, of 60", contender, sites[contender.name], bench.servers[:1])


def many_applications(bench: Bench, who: Sequence[Contender], counts: Sequence[int], repeat: int) -> None:
    """Do nothing, for several applications on one server.

    They have to be there first, which takes less time with uv, and two runs beside each other.
    """
    last = bench.servers[-1:]
    sites = {}
    for contender, count in itertools.product(who, counts):
        site = replace(contender.site(bench.source(contender, "many")), applications=count)
        sites[contender.name, count] = replace(site, name=f"{contender.prefix}n", port=contender.port + 60)
    for contender in who:
        every = sites[contender.name, max(counts)]
        each = [replace(every, name=name, port=port, applications=1) for name, port in every.each()]
        bench.prepare([(contender, site, last) for site in each])
    for _turn, contender, count in itertools.product(range(repeat), who, counts):
        site = sites[contender.name, count]
        # One application is the first of the several.
        site = site if count > 1 else replace(site, name=f"{site.name}0")
        bench.time(f"nothing to do, {count} application{'s' if count > 1 else ''}", contender, site, last)


def many_servers(
    bench: Bench, who: Sequence[Contender], floor: Sequence[Contender], counts: Sequence[int], repeat: int
) -> None:
    """Do nothing, and change the code, on several servers."""
    sites = {contender.name: contender.site(bench.source(contender, "fleet")) for contender in who}
    sites = {name: replace(site, name=f"{site.name}f", port=site.port + 90) for name, site in sites.items()}
    first, *others = who
    bench.time(f"first deploy, {len(bench.servers)} servers", first, sites[first.name], bench.servers)
    for contender in others:  # which finds the Debian packages there, so it is not the same job
        bench.once(contender, sites[contender.name], bench.servers)
    for _turn, count in itertools.product(range(repeat), counts):
        for contender in (*floor, *who):
            site = sites.get(contender.name, contender.site(Path()))
            bench.time(f"nothing to do, {count} servers", contender, site, bench.servers[:count])
    for contender in who:  # once, since it takes long
        edit(sites[contender.name].source, "new")
        bench.time(f"new code, {len(bench.servers)} servers", contender, sites[contender.name], bench.servers)


def versions() -> dict[str, str]:
    """Tell what was measured with."""
    ansible = subprocess.run(["ansible", "--version"], check=True, capture_output=True, text=True).stdout
    pinned = dict(line.partition("==")[::2] for line in REQUIREMENTS.read_text().splitlines() if "==" in line)
    ansible = ansible.splitlines()[0].replace("[", "").replace("]", "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB",
        "controller": f"Python {platform.python_version()}, {ansible}",
        "servers": f"{RELEASE}, containers on the same machine, over SSH with pipelining",
        "pyinfra": pinned["pyinfra"],
        "DebOps": pinned["debops"],
        "Gunicorn": contenders.GUNICORN,
    }


def main() -> int:
    """Measure, and keep the figures for the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, help="runs of each (default: 1 to 3, fewer of what takes long)")
    parser.add_argument("--servers", type=int, nargs="+", default=[4, 12], help="numbers of servers")
    parser.add_argument("--applications", type=int, nargs="+", default=[1, 4, 16], help="numbers of applications")
    parser.add_argument("--only", nargs="+", help="first, changes, requirements, applications, servers (default: all)")
    parser.add_argument("--alone", action="store_true", help="several servers: only the role and the ping")
    arguments = parser.parse_args()

    every = [contenders.ROLE, contenders.HANDWRITTEN, contenders.WITH_PYINFRA]
    floor = [contenders.EMPTY, contenders.PING]
    on_fleet = [contenders.ROLE]
    on_fleet += [] if arguments.alone else [contenders.ROLE_IN_BATCHES, contenders.HANDWRITTEN]
    often, seldom, once = (arguments.repeat or number for number in (3, 2, 1))
    parts: dict[str, Callable[[Bench], None]] = {
        "first": lambda bench: first_deploy(bench, every, [contenders.DEBOPS], seldom),
        "changes": lambda bench: changes(
            bench, [every[0], contenders.ROLE_UNWATCHED, *every[1:]], [contenders.DEBOPS], floor, often
        ),
        "requirements": lambda bench: requirements(
            bench, [contenders.ROLE, contenders.ROLE_UV, contenders.HANDWRITTEN], seldom
        ),
        "applications": lambda bench: many_applications(bench, [contenders.ROLE_UV], arguments.applications, once),
        "servers": lambda bench: many_servers(bench, on_fleet, [contenders.PING], sorted(arguments.servers), once),
    }
    chosen = arguments.only or list(parts)
    count = max(arguments.servers) if "servers" in chosen else 1
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyweb-bench-")))
        start = contextlib.contextmanager(fresh_server)
        servers = [stack.enter_context(start(f"bench-{number}", RELEASE)) for number in range(count)]
        bench = Bench(servers, work)
        made_with = versions()
        try:
            for name in chosen:
                print(name, flush=True)
                parts[name](bench)
                save(bench, made_with)
        except measuring.CommandFailedError as problem:
            print(f"bench: {problem}", file=sys.stderr)
            print(Path(str(problem).rpartition("see ")[2]).read_text()[-3000:], file=sys.stderr)
            return 1
    return 0


def save(bench: Bench, made_with: dict[str, str]) -> None:
    """Add the figures to those that are there: each part can be measured by itself."""
    data = measuring.stored()
    data["with"] = made_with
    for workload, found in bench.results.items():
        data["results"][workload] = {name: [asdict(run) for run in costs.runs] for name, costs in found.items()}
    measuring.store(data)


if __name__ == "__main__":
    sys.exit(main())
