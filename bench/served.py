"""Compare settings of Gunicorn under load, interleaved, as the role deploys them."""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.pyweb.deploy.bench import measuring
from ansible_collections.pyweb.deploy.bench.measuring import RELEASE
from ansible_collections.pyweb.deploy.tests.rig import SSH_CONFIG, Controller, Server, fresh_server

APPLICATION = Path(__file__).parent / "served_application"
PORT = 8000

DEFAULT = "the role's default"


def tuned(worker_class: str, workers: int, **settings: Any) -> dict[str, Any]:
    """Give the role's variables of a configuration that somebody wrote by hand."""
    return {"gunicorn_settings": {"worker_class": worker_class, "workers": workers, **settings}}


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "sync, 2n + 1 workers": tuned("sync", 5),
    "gthread, 2n + 1 workers, 2 threads": tuned("gthread", 5, threads=2),
    "gthread, 2n + 1 workers, 8 threads": tuned("gthread", 5, threads=8),
    "gthread, 2n + 1 workers, 16 threads": tuned("gthread", 5, threads=16),
    "gthread, n workers, 32 threads": tuned("gthread", 2, threads=32),
    "gevent, n workers": {**tuned("gevent", 2), "gunicorn_packages": ["gevent"]},
}
"""For a server with two cores, n of the names."""

VARIANTS: dict[str, dict[str, Any]] = {
    "worker_tmp_dir on a disk": {"gunicorn_conf_extra": "globals()['worker_tmp_dir'] = os.environ['STATE_DIRECTORY']"},
    "backlog of 128": {"gunicorn_settings": {"backlog": 128}},
    "http_parser: fast": {"gunicorn_settings": {"http_parser": "fast"}},
}
"""The default with one thing changed; what can't be installed is left out."""


@dataclass(frozen=True)
class Kind:
    """A kind of load."""

    name: str
    path: str
    connections: int
    slow: int = 0
    """Connections beside it that never finish their request."""


LOADS = (
    Kind("hello-world", "/", 32),
    Kind("20 ms wait", "/wait", 64),
    Kind("1 MiB answer", "/big", 16),
    Kind("200 keep-alive connections", "/", 200),
    Kind("slow clients", "/", 32, slow=8),
)
FEWER_LOADS = tuple(kind for kind in LOADS if kind.name in ("hello-world", "200 keep-alive connections"))
"""Those that would show what the variants are about."""


@dataclass(frozen=True)
class Answer:
    """What wrk tells."""

    rate: float
    p50: float
    p99: float
    errors: int


def milliseconds(text: str) -> float:
    """Read a time as wrk writes it."""
    for unit, factor in (("us", 0.001), ("ms", 1), ("s", 1000), ("m", 60000)):
        if re.fullmatch(rf"[\d.]+{unit}", text):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(f"wrk told the time {text!r}")


def answer(output: str) -> Answer:
    """Read the report of wrk."""
    rate = float(re.findall(r"Requests/sec: +([\d.]+)", output)[0])
    (p50,), (p99,) = (re.findall(rf"^ +{part}% +(\S+)", output, re.MULTILINE) for part in (50, 99))
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", output)))
    errors += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", output)))
    return Answer(rate, milliseconds(p50), milliseconds(p99), errors)


@contextlib.contextmanager
def slow_clients(address: str, count: int) -> Iterator[None]:
    """Hold connections on which a request comes in, a header a second."""
    stop = threading.Event()

    def crawl() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection((address, PORT), timeout=5) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
                while not stop.wait(1):
                    connection.sendall(b"X-Slow: 1\r\n")

    threads = [threading.Thread(target=crawl) for _number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def memory(server: Server) -> float:
    """Proportional set size of the application's processes together, in MiB."""
    return float(
        server.run(
            "slice=$(systemctl show --property ControlGroup --value bench.service); "
            "for pid in $(cat /sys/fs/cgroup$slice/cgroup.procs); do cat /proc/$pid/smaps_rollup; done "
            "| awk '/^Pss:/ {kib += $2} END {print kib / 1024}'"
        )
    )


def measure(server: Server, client: Server, kind: Kind, seconds: int) -> Answer:
    """Ask for some seconds."""
    url = f"http://{server.address}:{PORT}{kind.path}"
    with slow_clients(server.address, kind.slow):
        time.sleep(0.5)
        command = f"wrk --threads 2 --connections {kind.connections} --duration {seconds}s --timeout 5s --latency {url}"
        return answer(client.run(command))


def rounds(
    controller: Controller, server: Server, client: Server, repeat: int, seconds: int, chosen: Sequence[str]
) -> dict[tuple[str, str], list[tuple[Answer, float]]]:
    """Measure each configuration with each load, again and again."""
    found: dict[tuple[str, str], list[tuple[Answer, float]]] = {}
    for _turn in range(repeat):
        for name in chosen:
            play = controller.play(
                server,
                {
                    "gunicorn_name": "bench",
                    "gunicorn_source": {"directory": str(APPLICATION)},
                    "gunicorn_health": {"watch": 0},
                    **{**CONFIGURATIONS, **VARIANTS}[name],
                },
            )
            if not play and name in VARIANTS:
                print(f"  {name}: left out, since it could not be deployed", flush=True)
                continue
            if not play:
                raise SystemExit(play.output)
            for kind in LOADS if name in CONFIGURATIONS else FEWER_LOADS:
                told = measure(server, client, kind, seconds)
                found.setdefault((kind.name, name), []).append((told, memory(server)))
                print(
                    f"  {kind.name:28} {name:38} {told.rate:8.0f}/s  p99 {told.p99:8.1f} ms  {told.errors}", flush=True
                )
    return found


def main() -> int:
    """Measure, and keep the figures for the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1, help="runs of each (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="of each run (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[*CONFIGURATIONS, *VARIANTS], help="configurations")
    arguments = parser.parse_args()
    start = contextlib.contextmanager(fresh_server)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(start("bench-served", RELEASE))
        client = stack.enter_context(start("bench-load", RELEASE))
        client.run("apt-get update -q && apt-get install -qy --no-install-recommends wrk")
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pyweb-bench-")))
        controller = Controller(directory, SSH_CONFIG)
        found = rounds(controller, server, client, arguments.repeat, arguments.seconds, arguments.only)
    data = measuring.stored()
    data["served"] = [
        {
            "load": load,
            "configuration": name,
            "rate": round(statistics.median(each.rate for each, _memory in runs)),
            "rates": sorted(round(each.rate) for each, _memory in runs),
            "p50": round(statistics.median(each.p50 for each, _memory in runs), 1),
            "p99": round(statistics.median(each.p99 for each, _memory in runs), 1),
            "errors": sum(each.errors for each, _memory in runs),
            "memory": round(statistics.median(memory for _each, memory in runs)),
        }
        for (load, name), runs in found.items()
    ]
    measuring.store(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
