"""The page with the figures, docs/zero-downtime.md: written once a full run, or all pieces of one, have measured them.

Each session keeps its figures in .cache/downtime. Those of the same role and client count together.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version

from ansible_collections.pyweb.deploy.tests.rig import RELEASES, ROOT

from .client import KINDS
from .measure import CHANGES, GUNICORN, PART, WORKER_CLASSES, Row

PAGE = ROOT / "docs" / "zero-downtime.md"
KEPT = ROOT / ".cache" / "downtime"
MEASURED = ("roles", "plugins", "playbooks", "tests/downtime/applications", "tests/downtime/client.py")
LEAST = 100_000  # requests

TEXT = """# Zero downtime

Figures, not a promise: what clients of a site noticed while it was deployed. This page is written by the run that
measured it, or the last one of several, and only where they are complete and nothing failed. Don't edit it.

| | |
|---|---|
| Requests | {requests:,} |
| Failed | {failed} |
| Date | {date} |
| Servers | {servers} |
| Gunicorn | {gunicorn}, and the same packed as the next release for the upgrade |
| ansible-core | {core} |
| Machine | {cores} cores, for clients, servers and Ansible together |
| Command | `make test-full PYWEB_RELEASES="{releases}"` |

## What is measured

A client (`tests/downtime/client.py`) asks the site from a second before the play to a second and a half after it. It
has eight connections that it keeps, and at the same time opens a fresh one for each request of eight others. A quarter
of them ask once a second, the rest 17 times. About two requests in a hundred take a second to answer (with Tornado,
which a WSGI application keeps waiting meanwhile, 0.2 s), so that there are always some under way.

A request has failed when the answer is anything but complete, with status 200, and from a release that may serve:
the connection was refused or reset, it was closed without an answer or in the middle of one, the answer took longer
than ten seconds, had another status or another text. Nothing that failed is tried again. There is one exception, which
HTTP allows and every client makes (RFC 9110, 9.2.2): where a *reused* connection turns out to be closed at once, before
a byte of the answer has come, the request is sent once more. The column *sent again* counts these.

The longest gap is the longest time between two answers, over all connections of a kind. For comparison, the service of
each site was once restarted under load, which makes clients wait. The longest gap of a deploy has to be less than
1/{part} of the longest one then. *Kept* and *fresh* are the two kinds of connections.

Before the play only the old release may answer, after it only the new one.

## Changes

{changes}

For comparison, a restart (`systemctl restart`) instead of a deploy:

{restart}

## Broken releases

Each play failed, and said why. The old release served on. Where a release passed its check and was found out beside
the old one, it answered too until then. *Fixed* is the next good deploy.

{broken}

A process that is killed takes along the requests that it is answering, whoever starts or stops it. For a release that
was killed a second after it had begun to serve, that was:

{killed}

## A reboot

The server restarted under load. Connections that fail while it is down can't be avoided and are counted apart, as
*down*. From the first answer on, none failed, and only the release that was active answered.

{reboot}
"""

INTERRUPTED = """
## Interrupted runs

An update of code and a setting was cut off in each state that it brings the server into, and in the middle of what
takes longest, by killing Ansible or by breaking the connection. Then it was run again. A third run changed nothing.

{interrupted}
"""


def digest() -> str:
    """Give a digest of what is measured, and of the client that measures it."""
    found = hashlib.sha256()
    for part in MEASURED:
        for path in sorted([ROOT / part, *(ROOT / part).rglob("*")]):
            if path.is_file() and path.suffix != ".pyc":
                found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


@dataclass
class Record:
    """What a session has measured, and where; or several together."""

    rows: list[Row] = field(default_factory=list)
    servers: dict[str, str] = field(default_factory=dict)
    digest: str = field(default_factory=digest)

    def keep(self) -> None:
        """Keep it for the sessions that measure the rest."""
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{time.time_ns()}.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def kept(cls) -> Record:
        """Give the figures of all sessions that measured what is there now; of the same cell the last ones."""
        whole = cls()
        cells: dict[tuple[str, ...], list[Row]] = {}
        for path in sorted(KEPT.glob("*.json")):
            piece = json.loads(path.read_text())
            if piece["digest"] == whole.digest:
                rows = [Row(**values) for values in piece["rows"] if values["release"] in RELEASES]
                cells |= {row.cell: [each for each in rows if each.cell == row.cell] for row in rows}
                whole.servers |= piece["servers"]
        whole.rows = [row for cell in cells.values() for row in cell]
        whole.rows.sort(key=lambda row: (RELEASES.index(row.release), WORKER_CLASSES.index(row.worker_class)))
        return whole

    def missing(self) -> list[str]:
        """Say what a complete run has and this record hasn't."""
        there = {(row.release, row.worker_class, row.change) for row in self.rows}
        cells = [(release, each, change) for release in RELEASES for each in WORKER_CLASSES for change in CHANGES]
        groups = {(row.release, row.group) for row in self.rows}
        parts = [(release, part) for release in RELEASES for part in ("broken", "killed", "reboot")]
        return [str(cell) for cell in cells if cell not in there] + [str(part) for part in parts if part not in groups]

    def requests(self) -> int:
        """How many requests there were."""
        return sum(row.requests for row in self.rows)

    def failed(self) -> int:
        """How many requests failed, apart from those to a server that was down or a process that was killed."""
        return sum(sum(row.failures.values()) for row in self.rows if row.group not in ("reboot", "killed"))

    def write(self) -> None:
        """Write the page; of interrupted runs only what was measured, since they take hours."""
        interrupted = any(row.group == "interrupted" for row in self.rows)
        PAGE.write_text(
            TEXT.format(
                requests=self.requests(),
                failed=self.failed(),
                date=datetime.datetime.now(tz=datetime.UTC).date(),
                servers="; ".join(self.servers[release] for release in RELEASES),
                gunicorn=GUNICORN,
                core=version("ansible-core"),
                cores=os.cpu_count(),
                releases=" ".join(RELEASES),
                part=PART,
                changes=self._table("changes", by_change=True),
                restart=self._table("restart", by_change=True),
                broken=self._table("broken", by_change=True),
                killed=self._table("killed", by_change=False),
                reboot=self._table("reboot", by_change=False),
            )
            + (INTERRUPTED.format(interrupted=self._table("interrupted", by_change=False)) if interrupted else "")
        )

    def _table(self, group: str, *, by_change: bool) -> str:
        """Give the rows of a group, those of both kinds of connections in one line; or one line for each server."""
        lines: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in self.rows:
            if row.group == group and row.change != "none":
                lines[(row.release, row.worker_class, row.change) if by_change else (row.release,)].append(row)
        failed = "Down" if group == "reboot" else "Failed"
        what = ["Server", "Worker class", "Change"] if by_change else ["Server", "Runs"]
        head = [*what, "Requests", failed, "Sent again", "Gap, kept", "Gap, fresh", "Play"]
        if by_change:
            head[-1:] = ["without, kept", "without, fresh", "Play"]
        table = [head, ["---"] * len(what) + ["---:"] * (len(head) - len(what))]
        for names, rows in lines.items():
            gaps = [seconds(row.longest_gap for row in rows if row.kind == kind) for kind in KINDS]
            usual = [seconds(row.baseline for row in rows if row.kind == kind) for kind in KINDS] if by_change else []
            runs = [] if by_change else [str(len(rows) // len(KINDS))]
            numbers = [sum(row.requests for row in rows), sum(sum(row.failures.values()) for row in rows)]
            again = sum(row.retries for row in rows)
            plays = f"{max(row.seconds for row in rows):.0f} s"
            table.append([*names, *runs, *[f"{number:,}" for number in numbers], str(again), *gaps, *usual, plays])
        return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def seconds(values: Iterable[float]) -> str:
    """Give the largest one."""
    return f"{max(values):.2f} s"
