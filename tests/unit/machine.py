"""A host whose systemd is played: what systemd does with sockets and slots, as far as a switch depends on it.

What it does was recorded on servers (tests/record_systemd.py); docs/architecture.md tells the why of it. Files are real
ones, in a directory of the test. Any call can be made to fail, or to be the last one of a module that is killed.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils.files import MARKS, Attributes, Files
from ansible_collections.pyweb.deploy.plugins.module_utils.health import UnhealthyError
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import LAYOUT, OWNED, SLOTS, Layout, is_free
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import Steps
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError
from ansible_collections.pyweb.deploy.tests.unit.observed import NEW_SERVER

Data = dict[str, Any]


class Killed(BaseException):
    """The module was killed: nothing of it runs any more."""


def port(address: str) -> str:
    """Port of an address."""
    return address.rpartition(":")[2]


class Faulty:
    """A host on which one call fails, or is the last one of a module that is killed."""

    calls = 0
    fault: tuple[int, str] = (-1, "")
    """Number of a call and its fate: it ``fails``, or the module is killed ``before`` or ``after`` it."""

    def call(self, act: Callable[[], Any], error: Exception) -> Any:
        """Do what a module asks for, unless this is the call with the fault."""
        number, what = self.fault
        self.calls += 1
        if self.calls - 1 != number:
            return act()
        if what == "fails":
            raise error
        if what == "after":
            act()
        raise Killed


class Machine(Faulty):
    """The host: what runs, what listens, and what systemd has read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout("shop", str(root))
        for directory in (self.layout.units, os.path.join(self.layout.home, "releases")):
            os.makedirs(directory)
        self.read: dict[str, str] = {}
        self.running: dict[str, str] = {}
        """Release by slot."""
        self.holds: dict[str, set[str]] = {}
        """Addresses that a slot's process has open, by slot."""
        self.open: set[str] | None = None
        """Addresses that systemd has open itself; ``None`` where the socket isn't active."""
        self.unhealthy: dict[str, str] = {}
        """Releases that fail, with where they do: in the ``check``, or only in the ``slot``."""
        self.answers_at: dict[str, set[str]] = {}
        """Paths of the health check that a release answers, where it doesn't answer any."""
        self.failed: set[str] = set()
        """Units that systemd lists as failed."""
        self.commands = False
        """Whether the check runs commands right now, which nobody may cut off."""
        self.users: dict[str, str] = {}
        """Comment by name."""
        self.written: set[str] = set()
        """Directories in which something is the application's user's."""
        self.packages: dict[str, str] = {}
        """Debian packages, each with the one that needs it, or nothing."""

    # What systemd does

    def reload(self) -> None:
        units = Path(self.layout.units)
        self.read = {
            path.name: path.read_text() for path in units.iterdir() if path.is_file() and not path.is_symlink()
        }
        if self.open is not None:
            self.open &= self.wanted()  # it closes what isn't in the unit any more, and opens nothing

    def text(self, unit: str) -> str:
        path = Path(self.layout.units, unit)
        if unit not in self.read and path.exists():
            self.read[unit] = path.read_text()
        return self.read.get(unit, "")

    def wanted(self) -> set[str]:
        return set(re.findall(r"^ListenStream=(.+)$", self.text(self.layout.socket), re.MULTILINE))

    def open_socket(self) -> None:
        """Bind what the unit wants; a process that still has an address open keeps it from being bound anew."""
        if self.open is not None:
            return
        if not self.text(self.layout.socket):
            raise SystemdError("Unit shop.socket not found.")
        if not self.layout.live() or self.layout.live() in self.running:
            raise SystemdError("Socket service shop.service not loaded or already active, refusing.")
        taken = {port(address) for slot in self.running for address in self.holds[slot]}
        if taken & {port(address) for address in self.wanted()}:
            self.failed.add(self.layout.socket)
            raise SystemdError("Failed to create listening socket: Address already in use")
        self.open = self.wanted()
        self.failed.discard(self.layout.socket)

    def start_slot(self, slot: str) -> None:
        if slot in self.running:
            return
        if slot != "check":
            with contextlib.suppress(SystemdError):
                self.open_socket()  # Wants=: the service starts all the same
        match = re.search(r"GUNICORN_RELEASE=(\w+)", self.text(self.layout.slot(slot)))
        if not match:
            raise SystemdError(f"Unit {self.layout.slot(slot)} not found.")
        self.running[slot] = match[1]
        self.holds[slot] = set(self.open or ()) if slot != "check" else set()

    def is_busy(self, unit: str) -> bool:
        if unit == self.layout.socket:
            return self.open is not None
        return re.sub(r"^shop-|\.\w+$", "", unit) in self.running

    def state(self, unit: str) -> str:
        """ActiveState of a unit."""
        return "active" if self.is_busy(unit) else "failed" if unit in self.failed else "inactive"

    def stop_unit(self, unit: str) -> None:
        if unit == self.layout.socket:
            self.open = None
        if unit.endswith(".socket"):
            (self.root / "run/gunicorn" / unit.replace(".socket", ".sock")).unlink(missing_ok=True)  # RemoveOnStop=
            return
        slot = unit[len("shop-") : -len(".service")]
        assert not (slot == "check" and self.commands), "a command was cut off"
        self.running.pop(slot, None)
        self.holds.pop(slot, None)
        if self.layout.live() == slot:
            self.open = None  # ExecStopPost= of the slot that has the service's name

    def start_unit(self, unit: str) -> None:
        if unit == self.layout.socket:
            try:
                self.open_socket()
            finally:
                if self.layout.live():
                    self.start_slot(self.layout.live())  # Wants=
        else:
            self.start_slot(unit[len("shop-") : -len(".service")])

    def enable_unit(self, unit: str) -> None:
        if not Path(self.layout.units, unit).exists():
            raise SystemdError(f"Failed to enable unit: Unit {unit} does not exist")
        link = self.link_of(unit)
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(self.layout.units, unit))
        self.reload()

    def link_of(self, unit: str) -> Path:
        """Link that [Install] of a unit asks for."""
        if unit == self.layout.socket:
            return Path(self.layout.units, "sockets.target.wants", unit)
        return Path(self.layout.alias)

    def disable_unit(self, unit: str) -> None:
        if not Path(self.layout.units, unit).exists():
            raise SystemdError(f"Failed to disable unit: Unit file {unit} does not exist.")
        link = self.link_of(unit)
        if link.is_symlink() and link.readlink().name == unit:
            link.unlink()
        self.reload()

    def answers(self, address: str) -> set[str]:
        """Releases that may answer a request there: those whose processes listen, or the one that systemd wakes."""
        found = {self.running[slot] for slot in self.running if slot != "check" and address in self.holds[slot]}
        if found or self.open is None or address not in self.open or not self.layout.live():
            return found
        return set(re.findall(r"GUNICORN_RELEASE=(\w+)", self.text(self.layout.slot(self.layout.live()))))

    # What modules see

    def run(self, command: list[str]) -> tuple[int, str, str]:
        """Run a program of the host."""
        error = SystemdError("")
        try:
            return self.call(lambda: self.program(*command), error)  # type: ignore[no-any-return]
        except SystemdError:
            return 1, "", f"{command[0]}: it fails"

    def program(self, program: str, *arguments: str) -> tuple[int, str, str]:
        if program == "userdel":
            user = arguments[0]
            slots = {"build"} if user == "shop-build" else {*SLOTS, "check"}
            if slots & self.running.keys():
                return 8, "", f"userdel: user {user} is currently used by process 1"
            own = [*self.written, self.layout.home]
            assert not any(map(os.path.exists, own)), "whoever gets the number next gets what it wrote"
            self.users.pop(user)
        elif program == "find":
            return 0, "".join(path for path in self.written if path == arguments[0]), ""
        elif program == "chown":
            self.written.remove(arguments[-1])
        elif program == "dpkg-query":
            return 0, "".join(f"installed {name}\n" for name in self.packages), ""
        else:
            assert (program, *arguments[:2]) == ("apt-get", "--simulate", "purge")
            assert self.packages.keys() >= set(arguments[2:])
            going = [*arguments[2:], *(self.packages[name] for name in arguments[2:] if self.packages[name])]
            return 0, "".join(f"Purg {name} [1.2]\n" for name in going), ""
        return 0, "", ""

    def look(self) -> Data:
        """What gunicorn_info would tell, as far as a removal depends on it."""
        found = copy.deepcopy(NEW_SERVER)
        home, opt = Path(self.layout.home), self.root / "opt"
        units = [path for path in Path(self.layout.units).iterdir() if path.is_file() and not path.is_symlink()]
        build = self.root / "run/systemd/system/shop-build.service"
        rotation = self.root / "etc/logrotate.d/pyweb.deploy-shop"
        names = os.listdir(home) if home.exists() else []
        found.update(
            root=home.exists(),
            unmanaged=["/opt/shop"] if OWNED not in names and not is_free(names) else [],
            applications=[path.name for path in opt.iterdir() if (path / OWNED).exists() and path != home],
            live=self.layout.live(),
            files={f"/{path.relative_to(self.root)}": {} for path in [*units, rotation] if path.exists()},
            unfinished=["/run/systemd/system/shop-build.service"] if build.exists() else [],
            user={"gecos": self.users.get("shop")},
            build_user={"gecos": self.users.get("shop-build")},
        )
        for path in ("/run/gunicorn", "/var/lib/gunicorn", "/var/log/gunicorn"):
            if Path(f"{self.root}{path}").exists():
                found["shared"][path] = sorted(os.listdir(f"{self.root}{path}"))
        return found

    def host(self, check: bool = False, health: Data | None = None) -> Host:
        """Seams of a module that starts now."""

        def service(slot: str) -> Any:
            return PlayedService(self, slot, health or {})

        return Host(self.layout, PlayedSystemd(self), PlayedFiles(self, check), Steps(check), service)

    def observe(self, desired: Data, releases: dict[str, Data]) -> Data:
        """What gunicorn_info would tell, where everything is there that a switch needs."""
        found = copy.deepcopy(NEW_SERVER)
        home = Path(self.layout.home)

        def link(name: str) -> str:
            path = home / name
            return path.readlink().name if path.is_symlink() else ""

        complete = {}
        for identity, record in releases.items():
            directory = home / "releases" / identity
            passed = read_json(directory / "served")
            marks = {"served": bool(passed), "passed": passed, "failed": (directory / "failed").exists()}
            complete[identity] = {**record, "created": "2026-06-01T00:00:00Z", **marks}
        found.update(
            python={"path": "/usr/bin/python3", "file": "/usr/bin/python3.11", "version": "3.11.2", "venv": True},
            packages=list(desired["packages"]),
            user={"uid": 998, "gid": 998, "group": "shop", "gecos": "Gunicorn application shop (pyweb.deploy)"},
            layout=LAYOUT,
            missing_directories=[],
            live=self.layout.live(),
            releases=complete,
            policy=read_json(home / "policy.json"),
            code=[record["code"] for record in releases.values()],
            venvs=[desired["venv"]],
            current=link("current"),
            previous=link("previous"),
            listening_paths=[],
        )
        for slot in SLOTS:
            unit = re.search(r"GUNICORN_RELEASE=(\w+)", self.text(self.layout.slot(slot)))
            state = {"active": slot in self.running, "state": "active" if slot in self.running else "inactive"}
            release = self.running.get(slot, unit[1] if unit else "")
            found["slots"][slot] = {**state, "release": release}
        found["units"]["shop.socket"] = {
            "LoadState": "loaded",
            "ActiveState": self.state("shop.socket"),
            "Listen": sorted(self.open or ()),
        }
        held = {address for slot in self.running for address in self.holds[slot]} | (self.open or set())
        for address in sorted(held):
            host, _colon, port = address.rpartition(":")
            listener = {"address": host, "port": int(port), "process": "gunicorn", "unit": "shop-blue.service"}
            found["listening"].append({**listener, "systemd": self.open is not None and address in self.open})
        texts = {"/opt/shop/check_config.py": desired["check_config"].encode()}
        for path in Path(self.layout.units).iterdir():
            if path.is_file() and not path.is_symlink():
                texts[f"/etc/systemd/system/{path.name}"] = path.read_bytes()
        for name, text in texts.items():
            managed = {"sha256": hashlib.sha256(text).hexdigest(), "owner": "root", "group": "root", "mode": "0644"}
            found["files"][name] = managed
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]


class PlayedSystemd(Systemd):
    """systemctl on the machine."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(lambda _command: (1, "", "nothing is run"))
        self.machine = machine

    def _call(self, act: Callable[[], Any]) -> Any:
        return self.machine.call(act, SystemdError("systemctl failed"))

    def _each(self, units: tuple[str, ...], *acts: Callable[[str], None]) -> None:
        def act() -> None:
            for unit in units:
                for each in acts:
                    each(unit)

        self._call(act)

    def is_busy(self, unit: str) -> bool:
        return bool(self._call(lambda: self.machine.is_busy(unit)))

    def daemon_reload(self) -> None:
        self._call(self.machine.reload)

    def start(self, *units: str, wait: bool = True) -> None:  # noqa: ARG002 - played at once
        self._each(units, self.machine.start_unit)

    def restart(self, *units: str, wait: bool = True) -> None:  # noqa: ARG002 - played at once
        self._each(units, self.machine.stop_unit, self.machine.start_unit)

    def stop(self, *units: str, wait: bool = True) -> None:  # noqa: ARG002 - played at once
        self._each(units, self.machine.stop_unit)

    def enable(self, *units: str) -> None:
        self._each(units, self.machine.enable_unit)

    def disable(self, *units: str) -> None:
        self._each(units, self.machine.disable_unit)

    def reset_failed(self, unit: str) -> None:
        self._call(lambda: self.machine.failed.discard(unit))


class PlayedFiles(Files):
    """Files of the machine, which belong to whoever runs the test."""

    def __init__(self, machine: Machine, check: bool) -> None:
        super().__init__(check)
        self.machine = machine

    def _call(self, act: Callable[[], Any]) -> Any:
        return self.machine.call(act, OSError(28, "No space left on device", "/opt"))

    def file(self, path: str, text: str, wanted: Attributes, force: bool = True, **how: Any) -> bool:
        attributes = Attributes(mode=wanted.mode)
        return bool(self._call(lambda: super(PlayedFiles, self).file(path, text, attributes, force, **how)))

    def link(self, path: str, wanted: str) -> None:
        self._call(lambda: super(PlayedFiles, self).link(path, wanted))

    def drop(self, path: str) -> None:
        def half() -> None:
            """Do what may be done of it when the module is killed in the middle."""
            for place, _directories, names in os.walk(path):
                for name in set(names) - set(MARKS):
                    os.unlink(os.path.join(place, name))

        self._call(half)
        self._call(lambda: super(PlayedFiles, self).drop(path))


def read_json(path: Path) -> Data:
    return dict(json.loads(path.read_text())) if path.exists() else {}


class PlayedService:
    """A service of the machine that is asked."""

    def __init__(self, machine: Machine, slot: str, health: Data) -> None:
        self.machine, self.slot, self.health = machine, slot, health

    def wait_for_commands(self) -> None:
        self.machine.call(lambda: setattr(self.machine, "commands", False), SystemdError("systemctl failed"))

    def wait(self, passed_before: Data | None = None) -> tuple[int, float]:
        self.machine.call(lambda: None, UnhealthyError("no answer", "no answer"))
        release = self.machine.running.get(self.slot)
        if not release or self.machine.unhealthy.get(release) == "check":
            raise UnhealthyError("it ended", "shop-check.service: it ended")
        for health in (self.health, passed_before or self.health):
            self.health = health
            if health["path"] in self.machine.answers_at.get(release, {health["path"]}):
                return 200, 0.1
        problem = f"GET {health['path']} answered 404, not 200"
        raise UnhealthyError(problem, f"shop-{self.slot}.service: {problem}")

    def watch(self, _seconds: float, _public: list[Data], _took: float) -> None:
        self.machine.call(lambda: None, UnhealthyError("a worker died", "a worker died"))
        if self.machine.unhealthy.get(self.machine.running[self.slot]) == "slot":
            raise UnhealthyError("a worker died", "shop-blue.service: a worker died")
