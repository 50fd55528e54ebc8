"""What the benchmarks make of what they measure; the rest of them is used, not tested."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.bench import measuring, served
from ansible_collections.pyweb.deploy.bench.measuring import Cost, Costs

REPORT = """\
Running 2s test @ http://172.18.0.2:8000/wait
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    89.21ms   12.80ms 130.70ms   70.00%
  Latency Distribution
     50%   89.90ms
     75%   95.00ms
     90%  102.34ms
     99%    1.02s
  1432 requests in 2.00s, 225.10KB read
{trouble}Requests/sec:    715.53
Transfer/sec:    112.48KB
"""


def test_a_report_of_wrk() -> None:
    found = served.answer(REPORT.format(trouble=""))
    assert found == served.Answer(rate=715.53, p50=89.9, p99=1020, errors=0)


def test_everything_that_went_wrong_counts() -> None:
    trouble = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 20\n"
    assert served.answer(REPORT.format(trouble=trouble)).errors == 30


@pytest.mark.parametrize(("text", "wanted"), [("950.00us", 0.95), ("1.50ms", 1.5), ("2s", 2000), ("1.00m", 60000)])
def test_times(text: str, wanted: float) -> None:
    assert served.milliseconds(text) == pytest.approx(wanted)


def test_a_time_of_another_kind() -> None:
    with pytest.raises(ValueError, match="'3h'"):
        served.milliseconds("3h")


def test_several_runs() -> None:
    costs = Costs([Cost(3, 1, 10), Cost(1, 5, 30), Cost(2, 2, 20)])
    assert (costs.median, costs.cpu, costs.memory, costs.range) == (2, 2, 30, (1, 3))


def test_what_a_command_starts_counts(tmp_path: Path) -> None:
    """A child holds the memory and takes the time."""
    child = "import time; x = b'x' * 2**26; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    cost = measuring.run([sys.executable, "-c", parent], {}, tmp_path, tmp_path / "log")
    assert cost.seconds >= 0.5
    assert cost.cpu >= 0.5
    assert cost.memory >= 2**26


def test_a_command_that_fails(tmp_path: Path) -> None:
    with pytest.raises(measuring.CommandFailedError, match="exit status 3"):
        measuring.run([sys.executable, "-c", "raise SystemExit(3)"], {}, tmp_path, tmp_path / "log")


def test_only_descendants_are_looked_at(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, cwd=tmp_path) as other:
        with subprocess.Popen(["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout
            parent.stdout.readline()
            deadline = time.monotonic() + 10
            while len(measuring.below(parent.pid)) < 2 and time.monotonic() < deadline:
                time.sleep(0.05)
            found = measuring.below(parent.pid)
            for pid in found - {parent.pid}:
                subprocess.run(["kill", str(pid)], check=True)
        assert parent.pid in found
        assert len(found) == 2
        assert other.pid not in found
        other.kill()
