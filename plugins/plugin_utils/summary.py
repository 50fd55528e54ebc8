# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a run did with each host, put together from what it reports on the way, as a table.

Without Ansible, so that each word of the table can be tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

HEADINGS = ("host", "application", "from", "to", "seconds", "result")

LONGEST = 72
"""Characters of a reason that the table has at the most."""


def shortened(reason: str) -> str:
    """Give the few words of a reason that a table has room for."""
    words = reason.removeprefix("the application failed to start: ")
    return words if len(words) <= LONGEST else words[: LONGEST - 1].rstrip() + "…"


@dataclass
class Row:
    """One application on one host."""

    started: float
    ended: float
    plan: Mapping[str, Any] = field(default_factory=dict)
    check: bool = False
    switched: bool = False
    failed: bool = False
    reason: str = ""
    unreachable: bool = False
    done: bool = False

    @property
    def result(self) -> str:
        """What became of it, in words."""
        if self.unreachable:
            return "unreachable"
        if self.failed and not self.done:
            return f"{self._failure()}: {shortened(self.reason)}" if self.reason else self._failure()
        if not self.plan:
            return "not reached"
        if not self.plan["work"]:
            return "unchanged"
        if not self.done:
            return "not finished"
        return ("would " if self.check else "") + self._work()[self.check]

    def _failure(self) -> str:
        serves = self.plan.get("id" if self.switched else "serving", "")
        if not self.plan or not self.plan["work"]:
            return "failed, nothing was changed"
        if self.plan["remove"]:
            return "failed, run again to remove the rest"
        return f"failed, {serves} serves on" if serves else "failed, nothing serves"

    def _work(self) -> tuple[str, str]:
        """What was done, and what would be."""
        if self.plan["remove"]:
            return "removed", "remove"
        if not self.plan["switch"]:
            return "adjusted", "adjust"
        if self.plan["serving"] == self.plan["id"]:
            return "started again", "start again"
        return ("gone back", "go back") if self.plan["restore"] else ("deployed", "deploy")

    def cells(self, host: str) -> tuple[str, ...]:
        """Give the row of the table."""
        plan = self.plan
        seconds = f"{self.ended - self.started:.0f}" if plan or self.failed else ""
        return host, plan.get("name", ""), plan.get("serving", ""), plan.get("id", ""), seconds, self.result


class Summary:
    """Hosts in the order of the inventory, each with a row for every application."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}

    def expect(self, hosts: Iterable[str]) -> None:
        """Know hosts that the role is meant for, whether or not the run gets there."""
        for host in hosts:
            self.rows.setdefault(host, [])

    def begin_play(self) -> None:
        """Forget what hosts did that have only been looked at: time counts from the deploy on."""
        for rows in self.rows.values():
            rows[:] = [row for row in rows if row.plan or row.failed or row.unreachable]

    def seen(self, host: str, now: float) -> Row:
        """Note that a task of the role began or ended; the row that it belongs to."""
        rows = self.rows.setdefault(host, [])
        if not rows:
            rows.append(Row(now, now))
        if not rows[-1].done:
            rows[-1].ended = now
        return rows[-1]

    def _another(self, host: str, now: float) -> Row:
        """Begin the row of another application, where the one before is through."""
        row = self.seen(host, now)
        if row.done:
            row = Row(row.ended, now)
            self.rows[host].append(row)
        return row

    def planned(self, host: str, now: float, plan: Mapping[str, Any], check: bool) -> None:
        """Note what is to be done."""
        row = self._another(host, now)
        row.plan, row.check, row.failed, row.reason = plan, check, False, ""
        row.done = not plan["work"] and not plan["problems"]

    def switched(self, host: str, now: float) -> None:
        """Note that the planned release serves."""
        self.seen(host, now).switched = True

    def released(self, host: str, now: float) -> None:
        """Note that the lock was given back: the work is through, unless a failure comes after it."""
        self.seen(host, now).done = True

    def problem(self, host: str, now: float, reason: str) -> None:
        """Note why a stage failed, in one line; the task that fails comes at the end."""
        row = self.seen(host, now)
        row.reason = row.reason or reason

    def failed(self, host: str, now: float, reason: str) -> None:
        """Note a failure, and why in one line. One after the work is that of the work, if that has failed before."""
        row = self.seen(host, now)
        if row.done and not row.failed:
            row = self._another(host, now)
        row.failed, row.done, row.reason = True, False, row.reason or reason

    def unreachable(self, host: str, now: float) -> None:
        """Note that a host didn't answer."""
        self._another(host, now).unreachable = True

    def lines(self) -> list[tuple[str, str]]:
        """Write the table: each line with its result; none where the role had no host."""
        found = [row.cells(host) for host, rows in self.rows.items() for row in rows or [Row(0, 0)]]
        if not found:
            return []
        table = [HEADINGS, *(tuple(cell or "-" for cell in cells) for cells in found)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return [
            ("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip(), cells[-1])
            for cells in table
        ]
