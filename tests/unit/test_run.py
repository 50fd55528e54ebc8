from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.pyweb.deploy.tests import run

REPORT = """<testsuites><testsuite>
<testcase classname="tests.unit.test_a" name="test_fine" time="0.5"/>
<testcase classname="tests.unit.test_a" name="test_red" time="2"><failure message="assert 1 == 2&#10;more"/></testcase>
<testcase classname="tests.unit.test_a" name="test_setup" time="0.1"><error message="no server"/></testcase>
<testcase classname="tests.unit.test_a" name="test_out" time="0"><skipped message="no memory controller"/></testcase>
</testsuite></testsuites>"""


def test_what_pytest_reported_is_counted(tmp_path: Path) -> None:
    report = tmp_path / "unit.xml"
    report.write_text(REPORT)
    told = run.summary([run.read(run.Outcome("unit", 1, 61), report), run.Outcome("lint", 0, 30, passed=1)])
    assert told.endswith("\n2 passed, 2 failed, 1 skipped")
    assert "unit: test_a::test_red: assert 1 == 2\n" in told
    assert "unit: test_a::test_setup: no server\n" in told
    assert "   1.5 min  in all" in told


@pytest.mark.parametrize(("code", "last"), [(0, "1 passed, 0 failed, 0 skipped"), (2, "0 passed, 1 failed, 0 skipped")])
def test_a_step_without_a_report_is_one_check(tmp_path: Path, code: int, last: str) -> None:
    told = run.summary([run.read(run.Outcome("lint", code, 1), tmp_path / "lint.xml")])
    assert told.endswith(last)
    assert ("lint: ended with 2; see above" in told) == (code == 2)


def test_a_crash_after_green_tests_is_a_failure(tmp_path: Path) -> None:
    report = tmp_path / "unit.xml"
    report.write_text('<testsuite><testcase classname="a" name="b" time="1"/></testsuite>')
    assert run.read(run.Outcome("unit", 3, 1), report).failures == ["unit: ended with 3; see above"]


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["check_mode"]) == 2
    told = capsys.readouterr().err
    assert "PART: got check_mode; it accepts: full test servers" in told


def test_the_weekly_job_runs_every_part(root: Path) -> None:
    workflow = yaml.safe_load((root / ".github/workflows/ci.yml").read_text())
    parts = workflow["jobs"]["full"]["strategy"]["matrix"]["part"]
    assert ["test", *parts] == list(run.PARTS)


def test_every_file_of_the_long_form_is_in_a_part(root: Path) -> None:
    commands = " ".join(command for steps in run.PARTS.values() for command in steps.values())
    names = {path.stem.removeprefix("test_") for path in (root / "tests/integration").glob("test_*.py")}
    assert set(run.OWN_PART) <= names
    for path in (root / "tests/downtime").glob("test_*.py"):
        assert path.name in commands or "tests/downtime " in f"{commands} "
