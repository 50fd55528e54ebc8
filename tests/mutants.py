"""Break the product one line at a time, and see that a test fails each time.

usage: python tests/mutants.py [TEXT...]

Each entry of tests/mutants.yml replaces the text `from`, which `file` holds once, with `to`; then `test` has to fail.
With arguments, only mutants count that have one of them in their name or in their test. The checkout is not touched:
copies of it are broken.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import yaml

ROOT = Path(__file__).resolve().parents[1]
LANES = min(2, len(os.sched_getaffinity(0)))
LIMIT = 900
"""Seconds after which a test counts as one that doesn't fail."""

FAILED = 1
"""What pytest exits with where a test failed: other numbers say that none ran."""


@dataclass(frozen=True)
class Mutant:
    """One way to break the product."""

    name: str
    file: str
    before: str
    after: str
    test: str

    def applied(self, text: str) -> str:
        """Give the text of the file, broken. `ValueError` where it is not there, or more than once."""
        if text.count(self.before) != 1:
            raise ValueError(f"{self.name}: {self.file} holds {text.count(self.before)} times: {self.before}")
        return text.replace(self.before, self.after)


def load() -> list[Mutant]:
    """Read the list."""
    found = yaml.safe_load((ROOT / "tests/mutants.yml").read_text())
    return [Mutant(each["name"], each["file"], each["from"], each["to"], each["test"]) for each in found]


@dataclass(frozen=True)
class Copy:
    """A copy of the checkout, in which one test runs at a time."""

    directory: Path
    number: int

    def run(self, *tests: str) -> tuple[int, str]:
        """Run tests: what pytest exits with, and what it says."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not full", *tests]
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self.directory / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.directory / ".cache/ansible"),
            "RIG_STATE": str(ROOT / ".cache/rig"),
            # Part of the names of the servers.
            "PYTEST_XDIST_WORKER": f"{os.environ.get('PYTEST_XDIST_WORKER', '')}mutant{self.number}",
        }
        try:
            done = subprocess.run(
                command, cwd=self.directory, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            return -1, f"not done within {LIMIT} s"
        return done.returncode, done.stdout + done.stderr

    def kills(self, mutant: Mutant) -> tuple[bool, str]:
        """Tell whether the test fails once the file is broken, and what pytest says."""
        file = self.directory / mutant.file
        text = file.read_text()
        file.write_text(mutant.applied(text))
        try:
            code, said = self.run(mutant.test)
        finally:
            file.write_text(text)
        return code == FAILED, said


class Copies:
    """As many copies as tests run at a time."""

    def __init__(self, directory: Path) -> None:
        from ansible_collections.pyweb.deploy.tests.rig import publish

        self.free: SimpleQueue[Copy] = SimpleQueue()
        for number in range(LANES):
            publish(directory / str(number))
            self.free.put(Copy(directory / str(number), number))

    def green(self, tests: tuple[str, ...]) -> tuple[bool, str]:
        """Tell whether tests pass as long as nothing is broken, and what pytest says."""
        copy = self.free.get()
        try:
            code, said = copy.run(*tests)
        finally:
            self.free.put(copy)
        return code == 0, said

    def kills(self, mutant: Mutant) -> tuple[bool, float, str]:
        """Try a mutant: whether its test fails, seconds, what pytest says."""
        copy, started = self.free.get(), time.monotonic()
        try:
            killed, said = copy.kills(mutant)
        finally:
            self.free.put(copy)
        return killed, time.monotonic() - started, said


def main(wanted: list[str]) -> int:
    """Try the mutants."""
    mutants = [
        each for each in load() if not wanted or any(text in part for text in wanted for part in (each.name, each.test))
    ]
    if not mutants:
        print(f"mutants: none has {' or '.join(wanted)} in its name or in its test", file=sys.stderr)
        return 2
    tests = sorted({each.test for each in mutants})
    quick = tuple(test for test in tests if test.startswith("tests/unit/"))
    # Each of the others by itself, as a mutant runs it.
    groups = ([quick] if quick else []) + [(test,) for test in tests if test not in quick]
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(LANES) as pool:
        copies = Copies(Path(directory))
        print(f"{len(tests)} tests, with nothing broken", flush=True)
        for group, (green, said) in zip(groups, pool.map(copies.green, groups), strict=True):
            if not green:
                print(f"{said}\nmutants: {' '.join(group)} must pass before anything is broken", file=sys.stderr)
                return 1
        survived = 0
        for mutant, (killed, seconds, said) in zip(mutants, pool.map(copies.kills, mutants), strict=True):
            print(f"{'killed' if killed else 'SURVIVED':8} {seconds:4.0f} s  {mutant.name} ({mutant.test})", flush=True)
            if not killed:
                survived += 1
                print("    " + (said.strip().splitlines() or ["pytest says nothing"])[-1], flush=True)
    print(f"{len(mutants) - survived} passed, {survived} failed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".collections"))
    sys.exit(main(sys.argv[1:]))
