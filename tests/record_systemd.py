"""What systemd does with the role's units, step by step: played on a real one, and recorded for the fake in tests/unit.

tests/unit/test_machine.py holds the fake against the recording, tests/integration/test_systemd.py the recording against
a server of each release. After a change of the steps, or of what systemd has to do with the units, record again:

    PYTHONPATH=.collections python -m ansible_collections.pyweb.deploy.tests.record_systemd
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError
from ansible_collections.pyweb.deploy.plugins.plugin_utils import rendering
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import Application, Release
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, Server, fresh_server
from ansible_collections.pyweb.deploy.tests.unit import deploying

RECORDING = Path(__file__).parent / "unit" / "systemd.json"
NAMES = {"socket": "shop.socket", **{slot: f"shop-{slot}.service" for slot in ("blue", "green", "check")}}
UNITS = [*NAMES.values(), *(f"shop-{slot}.socket" for slot in ("blue", "green", "check"))]
DIRECTORY = "/etc/systemd/system"
LOOK = f"""
    until systemctl list-jobs | grep -q '^No jobs'; do sleep 0.1; done
    systemctl show --value --property LoadState,ActiveState {" ".join(UNITS)}; echo --
    ss -Hltnp; echo --
    readlink {DIRECTORY}/shop.service; echo --
    readlink {DIRECTORY}/sockets.target.wants/shop.socket
"""

Data = dict[str, Any]
Write = Callable[[str, str], None]
OPENS = "enable blue, enable socket, restart socket"
SERVES = f"write 8000, daemon_reload, {OPENS}, start blue"
STEPS = {
    "no unit": "start blue, restart blue, stop blue, reset_failed blue, disable blue",
    "no unit to enable": "enable blue, start socket",
    "no name": f"write 8000, start blue, start socket, stop blue, {OPENS}",
    "check": "write 8000, start check, restart check, stop check",
    "switch": f"{SERVES}, start green, enable green, stop blue, disable blue, restart green, start green",
    "stop": f"{SERVES}, stop blue, start socket, stop socket, start blue",
    "socket of what serves": f"{SERVES}, stop socket, start socket, restart blue",
    "one more address": (
        f"{SERVES}, write 8000 8001, daemon_reload, enable green, restart socket, start green, stop blue"
    ),
    "one address less": f"write 8000 8001, {OPENS}, write 8000, daemon_reload, start green, enable green, stop blue",
    "another port": (
        f"{SERVES}, write 8001, daemon_reload, restart socket, enable green, restart socket, start green, stop blue"
    ),
    "the same port": (
        f"{SERVES}, write 127.0.0.1:8000, enable green, restart socket, stop blue, start green, stop socket, "
        "reset_failed socket, restart socket, start green"
    ),
    "removal": f"{SERVES}, stop socket, stop blue, disable socket blue green, remove",
}


def unit_texts(ports: list[str]) -> Iterator[tuple[str, str]]:
    """The role's units for these ports, as far as they tell systemd when to start and to stop something."""
    kept = re.compile(r"(Environment=GUNICORN_|ExecStopPost|Sockets|NonBlocking|KillMode|Restart)")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "wsgi.py").touch()
        bind = [port if ":" in port else f"0.0.0.0:{port}" for port in ports]
        wanted = deploying.read(Path(directory), {"gunicorn_source": {"directory": directory}, "gunicorn_bind": bind})
        assert isinstance(wanted, Application)
        texts = rendering.render(Release(wanted, wanted.look(deploying.OBSERVED), deploying.OBSERVED))
    yield "shop.socket", texts.public_socket
    for slot, text in {"blue": texts.slot_unit, "green": texts.slot_unit, "check": texts.check_unit}.items():
        head, service, rest = re.split(r"(?s)(?<=\[Service\]\n)(.*?)(?=\n\[Install\]|\Z)", text, maxsplit=1)
        lines = [line for line in service.splitlines() if kept.match(line)]
        played = "\n".join(["Type=exec", "ExecStart=/bin/sleep infinity", *lines, ""])  # it has its sockets open
        for kind, content in (("service", head + played + rest), ("socket", texts.private_socket)):
            yield f"shop-{slot}.{kind}", content.replace("@slot@", slot).replace("@release@", slot[0] * 12)


def seen(states: Iterable[str]) -> dict[str, str]:
    """LoadState and ActiveState of those units of which there is something to tell."""
    return {unit: state for unit, state in zip(UNITS, states, strict=True) if state != "loaded inactive"}


def play(systemd: Systemd, steps: str, write: Write, remove: Callable[[], None], look: Any) -> list[Data]:
    """Take these steps, and tell of each whether systemd refused it, and what was to be seen then."""
    told = []
    for step in steps.split(", "):
        order, *arguments = step.split()
        refused = False
        try:
            if order == "write":
                for unit, text in unit_texts(arguments):
                    write(unit, text)
            elif order == "remove":
                remove()
                systemd.daemon_reload()
            else:
                getattr(systemd, order)(*map(NAMES.__getitem__, arguments))
        except SystemdError:
            refused = True
        told.append({"step": step, "refused": refused, **look()})
    return told


def record(server: Server) -> tuple[str, dict[str, list[Data]]]:
    """Play it on a server: version of systemd, and what was seen of each sequence of steps."""

    def run(command: list[str], text: str = "") -> tuple[int, str, str]:
        docker = ["docker", "exec", "--interactive", f"pyweb-{server.name}", *command]
        done = subprocess.run(docker, check=False, capture_output=True, text=True, input=text)
        return done.returncode, done.stdout, done.stderr

    systemd = Systemd(run)

    def look() -> Data:
        states, sockets, alias, link = server.run(LOOK, check=False).split("--")
        listening = re.findall(r"^LISTEN .* (\S+:800\d) .*?(users:.*)", sockets, re.MULTILINE)
        return {
            "states": seen(map(" ".join, map(str.split, states.split("\n\n")))),
            "systemd listens": sorted(address for address, users in listening if '"systemd"' in users),
            "slots listen": sorted(address for address, users in listening if '"sleep"' in users),
            "alias": Path(alias.strip()).name,
            "socket enabled": bool(link),
        }

    def remove() -> None:
        run(["sh", "-c", f"rm -f {DIRECTORY}/shop*"])

    def write(unit: str, text: str) -> None:
        run(["tee", f"{DIRECTORY}/{unit}"], text)

    found = {}
    for name, steps in STEPS.items():
        found[name] = play(systemd, steps, write, remove, look)
        units = " ".join(UNITS)
        server.run(f"systemctl stop {units}; systemctl disable {units}; rm -f {DIRECTORY}/shop*", check=False)
        server.run(f"rm -f {DIRECTORY}/sockets.target.wants/shop*; systemctl daemon-reload; systemctl reset-failed")
    return server.run("systemctl --version").split()[1], found


if __name__ == "__main__":
    recording: dict[str, Any] = {}
    for debian in RELEASES:
        for each in fresh_server("systemd", debian):
            version, found = record(each)
            recording[version] = found
    # A step a line.
    RECORDING.write_text(re.sub(r"\n(    +|   (?=}))", " ", json.dumps(recording, indent=1)) + "\n")
