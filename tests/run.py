"""Run parts of the test suite one after the other, and say at the end what they cost and what failed.

usage: python tests/run.py PART...        `test` is what `make test` runs, `full` everything

A part goes on after a failure, so that one run shows all of them. The last line is `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / ".cache" / "reports"

PYTEST = "pytest -o cache_dir=.cache/pytest"
TWO = "-n 2 --dist loadfile --no-loadscope-reorder"
APPLICATIONS = ("applications", "infrastructure", "documentation", "collection", "guest")
OWN_PART = (*APPLICATIONS, "check_mode", "ways")
DOWNTIME = {
    "downtime": " ".join(f"tests/downtime/test_{name}.py" for name in ("changes", "broken", "reboot")),
    "interruption": "tests/downtime/test_interruption_everywhere.py",
}


def of_integration(*names: str) -> str:
    """Name the files of integration tests."""
    return " ".join(f"tests/integration/test_{name}.py" for name in names)


PARTS: dict[str, dict[str, str]] = {
    "test": {
        step: f"make --no-print-directory {step}" for step in ("lint", "unit", "molecule", "integration", "downtime")
    },
    "servers": {
        "servers": f"{PYTEST} tests/integration {TWO} "
        + " ".join(f"--ignore {of_integration(name)}" for name in OWN_PART)
    },
    "applications": {"applications": f"{PYTEST} {of_integration(*APPLICATIONS)} {TWO}"},
    "check-mode": {"check-mode": f"{PYTEST} {of_integration('check_mode')}"},
    "ways": {"ways": f"{PYTEST} {of_integration('ways')}"},
    **{
        f"{part}-{release}": {f"{part}-{release}": f"{PYTEST} --capture=no {files} -k {release}"}
        for part, files in DOWNTIME.items()
        for release in os.environ.get("PYWEB_RELEASES", "debian12 debian13").split()
    },
    "fleet": {"fleet": f"{PYTEST} --capture=no tests/downtime/test_rolling.py"},
    "mutants": {"mutants": "python tests/mutants.py"},
}
"""Parts of `make test-full`, each with its steps and their commands; CI runs each in a job of its own."""


@dataclass
class Outcome:
    """What came of a step."""

    step: str
    code: int
    seconds: float
    passed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    durations: list[tuple[float, str]] = field(default_factory=list)


def read(outcome: Outcome, report: Path) -> Outcome:
    """Add what pytest wrote about a step; one without a report is a single check."""
    cases = list(ET.parse(report).iter("testcase")) if report.exists() else []
    for case in cases:
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
        outcome.durations.append((float(case.get("time", "0")), f"{outcome.step}: {name}"))
        problem = next((each for each in (case.find("failure"), case.find("error")) if each is not None), None)
        if problem is not None:
            first = (problem.get("message") or "").strip().split("\n")[0][:200]
            outcome.failures.append(f"{outcome.step}: {name}: {first}")
        elif case.find("skipped") is not None:
            outcome.skipped += 1
        else:
            outcome.passed += 1
    if not cases and outcome.code == 0:
        outcome.passed = 1
    if outcome.code != 0 and not outcome.failures:
        outcome.failures.append(f"{outcome.step}: ended with {outcome.code}; see above")
    return outcome


def run(step: str, command: str) -> Outcome:
    """Run a step; what it prints is for the reader, what it counted comes from pytest's report."""
    report = REPORTS / f"{step}.xml"
    report.unlink(missing_ok=True)
    print(f"\n==> {step}: {command}", flush=True)
    environment = dict(os.environ)
    if not command.startswith("python "):  # what calls pytest by itself, again and again, is a single check
        environment["PYTEST_ADDOPTS"] = f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={report}"
    started = time.monotonic()
    done = subprocess.run(command.split(), cwd=ROOT, check=False, env=environment)
    return read(Outcome(step, done.returncode, time.monotonic() - started), report)


def summary(outcomes: list[Outcome]) -> str:
    """Say what each step cost, which tests took longest, what failed, and the numbers of all of them."""
    lines = ["", "==> what it cost"]
    for each in outcomes:
        counts = f"{each.passed} passed, {len(each.failures)} failed, {each.skipped} skipped"
        lines.append(f"{each.seconds / 60:6.1f} min  {each.step:14} {counts}")
    lines.append(f"{sum(each.seconds for each in outcomes) / 60:6.1f} min  in all")
    slowest = sorted((duration for each in outcomes for duration in each.durations), reverse=True)[:10]
    lines += ["", "==> the slowest", *(f"{seconds:6.1f} s    {name}" for seconds, name in slowest)]
    failures = [failure for each in outcomes for failure in each.failures]
    if failures:
        lines += ["", "==> what failed", *failures]
    passed, skipped = (sum(getattr(each, what) for each in outcomes) for what in ("passed", "skipped"))
    return "\n".join([*lines, "", f"{passed} passed, {len(failures)} failed, {skipped} skipped"])


def main(names: list[str]) -> int:
    """Run the parts of these names."""
    if names == ["full"]:
        names = list(PARTS)
    unknown = sorted(set(names) - set(PARTS))
    if unknown or not names:
        print(f"run: PART: got {' '.join(unknown) or 'nothing'}; it accepts: full {' '.join(PARTS)}", file=sys.stderr)
        return 2
    REPORTS.mkdir(parents=True, exist_ok=True)
    outcomes = [run(step, command) for name in names for step, command in PARTS[name].items()]
    print(summary(outcomes))
    return int(any(each.failures for each in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
