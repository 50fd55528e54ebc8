"""What the module gunicorn_info makes of a host."""

from __future__ import annotations

import glob
import grp
import hashlib
import json
import os
import platform
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.pyweb.deploy.plugins.module_utils import build_unit, lock, runtime_status
from ansible_collections.pyweb.deploy.plugins.module_utils.files import temporary
from ansible_collections.pyweb.deploy.plugins.module_utils.reading import read
from ansible_collections.pyweb.deploy.plugins.module_utils.source import digest
from ansible_collections.pyweb.deploy.plugins.modules import gunicorn_info
from ansible_collections.pyweb.deploy.plugins.modules.gunicorn_info import (
    Host,
    merge_rules,
    option_lines,
    parse_assignments,
    parse_rules,
    parse_sockets,
    parse_unix_sockets,
    parse_verification,
    rules_of,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

Commands = dict[str, Callable[..., str]]


class Module:
    """Stands for AnsibleModule. Knows the commands that a test names, and the interpreters of this machine."""

    def __init__(self, commands: Commands, **params: Any) -> None:
        self.commands = commands
        defaults: dict[str, Any] = {
            "name": "shop",
            "user": "shop",
            "python": "python3",
            "packages": [],
            "needed": [],
            "service_options": {},
            "runtime_status": False,
            "source": None,
        }
        self.params = {**defaults, **params}

    def get_bin_path(self, name: str, opt_dirs: Any = None) -> str | None:
        assert opt_dirs is None or all(path.startswith("/") for path in opt_dirs)
        if name in self.commands or os.path.isabs(name):
            return name
        return None

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        if command[0] in self.commands:
            return 0, self.commands[command[0]](*command[1:]), ""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Host]:
    """Make a host whose files lie below tmp_path: opt/shop and units."""
    (tmp_path / "units").mkdir()
    (tmp_path / "opt").mkdir()
    monkeypatch.setattr(gunicorn_info, "ROOTS", str(tmp_path / "opt"))
    monkeypatch.setattr(gunicorn_info, "UNIT_DIRECTORY", str(tmp_path / "units"))
    monkeypatch.setattr(gunicorn_info, "LOG_ROTATION", str(tmp_path / "logrotate-"))
    monkeypatch.setattr(gunicorn_info, "OTHER_UNIT_DIRECTORIES", (str(tmp_path / "package-units"),))

    def make(commands: Commands | None = None, **params: Any) -> Host:
        return Host(Module(commands or {}, **params))

    return make


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# The parsers

SAMPLES = Path(__file__).parent / "samples"
"""Files of a server: /proc/net/tcp and tcp6, ufw's user.rules and user6.rules."""

TCP, TCP6, RULES, RULES6 = ((SAMPLES / name).read_text() for name in ("tcp", "tcp6", "user.rules", "user6.rules"))
COMMENT = "pyweb.deploy shop"


def test_listening_sockets_of_ipv4() -> None:
    assert parse_sockets(TCP, 4) == [
        {"address": "0.0.0.0", "port": 8000, "inode": "85645"},
        {"address": "127.0.0.11", "port": 38161, "inode": "73589"},
    ]


def test_listening_sockets_of_ipv6() -> None:
    assert parse_sockets(TCP6, 6) == [
        {"address": "::", "port": 22, "inode": "75870"},
        {"address": "::1", "port": 8000, "inode": "75871"},
        {"address": "2001:db8::5", "port": 8080, "inode": "75872"},
    ]


@pytest.mark.parametrize("text", ["", TCP.splitlines()[0] + "\n"])
def test_no_sockets(text: str) -> None:
    assert parse_sockets(text, 4) == []


UNIX = """\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 3629546 /run/shop.sock
0000000000000000: 00000002 00000000 00010000 0001 01 3629550 /run/gunicorn/a b.sock
0000000000000000: 00000003 00000000 00000000 0001 03 3629547 /run/connected.sock
0000000000000000: 00000002 00000000 00000000 0002 01 3631391 /run/datagrams.sock
0000000000000000: 00000003 00000000 00000000 0001 03 3613419
0000000000000000: 00000002 00000000 00010000 0005 01 3613420 @abstract
0000000000000000: 00000002 00000000 00010000 0001 01 3629551 /run/shop.sock
"""


def test_listening_unix_sockets() -> None:
    assert parse_unix_sockets(UNIX) == ["/run/gunicorn/a b.sock", "/run/shop.sock", "@abstract"]
    assert parse_unix_sockets("") == []


@linux
def test_unix_sockets_of_this_machine() -> None:
    with tempfile.TemporaryDirectory() as directory:  # pytest's own can be too long for a Unix socket
        with socket.socket(socket.AF_UNIX) as bound, socket.socket(socket.AF_UNIX) as listening:
            bound.bind(f"{directory}/bound")
            listening.bind(f"{directory}/listening")
            listening.listen()
            found = parse_unix_sockets(Path("/proc/net/unix").read_text())
        assert [path for path in found if path.startswith(directory)] == [f"{directory}/listening"]


def let_in(
    port: int, source: str = "any", destination: str = "any", interface: str = "", action: str = "allow"
) -> dict[str, Any]:
    return {"port": port, "source": source, "destination": destination, "interface": interface, "action": action}


def test_rules_of_ipv4() -> None:
    assert rules_of(parse_rules(RULES), COMMENT) == [
        let_in(8000),
        let_in(8001, "198.51.100.0/24", "192.0.2.5"),
        let_in(8005, interface="eth0"),
    ]


def test_rules_of_ipv6() -> None:
    assert rules_of(parse_rules(RULES6), COMMENT) == [let_in(8000), let_in(8001, "2001:db8::/32")]


def test_rules_of_another_application() -> None:
    assert [rule["port"] for rule in rules_of(parse_rules(RULES), "pyweb.deploy shop2")] == [8002]


def test_a_rule_of_both_families_counts_once() -> None:
    rules = rules_of(merge_rules(parse_rules(RULES), parse_rules(RULES6)), COMMENT)
    assert [(rule["port"], rule["source"]) for rule in rules] == [
        (8000, "any"),
        (8001, "198.51.100.0/24"),
        (8005, "any"),
        (8001, "2001:db8::/32"),
    ]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("limit tcp 8002 ::/0 any ::/0 in_eth0", ("limit", "tcp", "8002", "any", "eth0")),
        ("allow any 22 0.0.0.0/0 any 10.0.0.0/8 in", ("allow", "any", "22", "10.0.0.0/8", "")),
        ("allow tcp 80,443,3000:3010 0.0.0.0/0 any 0.0.0.0/0 in", ("allow", "tcp", "80,443,3000:3010", "any", "")),
        ("allow_log tcp 99 0.0.0.0/0 any 0.0.0.0/0 in", ("allow", "tcp", "99", "any", "")),
        ("deny_log-all tcp 99 0.0.0.0/0 any 0.0.0.0/0 in", ("deny", "tcp", "99", "any", "")),
        ("allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in", ("allow", "tcp", "22", "any", "")),
        ("allow any any 0.0.0.0/0 any 0.0.0.0/0 in_eth0", ("allow", "any", "any", "any", "eth0")),
        ("allow tcp 66 0.0.0.0/0 55 0.0.0.0/0 in", None),
        ("deny tcp 25 0.0.0.0/0 any 0.0.0.0/0 out", None),
        ("route:allow tcp 77 0.0.0.0/0 any 0.0.0.0/0 in_eth0", None),
    ],
)
def test_rules_of_others(line: str, found: tuple[str, ...] | None) -> None:
    """As ufw 0.36 writes them."""
    keys = ("action", "protocol", "port", "source", "interface")
    parsed = [tuple(rule[key] for key in keys) for rule in parse_rules(f"### tuple ### {line}\n")]
    assert parsed == ([found] if found else [])


def test_assignments() -> None:
    text = "# comment=1\nID=debian\nNAME=\"Debian GNU/Linux\"\nEMPTY=\nURL='a=b'\nno assignment\n"
    assert parse_assignments(text) == {"ID": "debian", "NAME": "Debian GNU/Linux", "EMPTY": "", "URL": "a=b"}


# Units, slots, releases

UNITS_SHOWN = """\
Listen=0.0.0.0:8000 (Stream)
Listen=[::]:8000 (Stream)
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/etc/systemd/system/shop.socket

MainPID=0
LoadState=not-found
ActiveState=inactive
SubState=dead
FragmentPath=

MainPID=77
LoadState=loaded
ActiveState=active
SubState=running
FragmentPath=/etc/systemd/system/shop-green.service

MainPID=0
LoadState=loaded
ActiveState=activating
SubState=start-pre
FragmentPath=/etc/systemd/system/shop-check.service
"""

SHOWN = ["shop.socket", "shop-blue.service", "shop-green.service", "shop-check.service"]


def test_units_are_asked_for_in_one_go(host: Callable[..., Host]) -> None:
    asked: list[tuple[str, ...]] = []

    def systemctl(*arguments: str) -> str:
        asked.append(arguments)
        return UNITS_SHOWN

    states = host({"systemctl": systemctl}).unit_states()
    assert len(asked) == 1
    assert asked[0][:2] == ("show", "--property")
    assert {"ActiveState", "SubState", "MainPID", "Listen"} <= set(asked[0][2].split(","))
    assert list(asked[0][3:]) == list(states) == SHOWN
    assert [states[unit]["SubState"] for unit in SHOWN] == ["running", "dead", "running", "start-pre"]
    assert states["shop.socket"]["Listen"] == ["0.0.0.0:8000", "[::]:8000"]
    assert states["shop.socket"]["ActiveState"] == "active"
    assert states["shop-blue.service"]["ActiveState"] == "inactive"
    assert states["shop-blue.service"]["Listen"] == []


def test_units_of_others_are_asked_for_along(host: Callable[..., Host]) -> None:
    shown = "\n\n".join([*["ActiveState=inactive\n"] * 4, "ActiveState=active\nListen=[::]:22 (Stream)\n"])
    states = host({"systemctl": lambda *_arguments: shown}).unit_states("ssh.socket", "nftables.service")
    assert list(states) == [*SHOWN, "ssh.socket", "nftables.service"]
    assert (states["ssh.socket"]["ActiveState"], states["ssh.socket"]["Listen"]) == ("active", ["[::]:22"])
    assert states["nftables.service"]["ActiveState"] == "inactive"


def test_an_application_with_the_name_of_another_unit(host: Callable[..., Host]) -> None:
    found = host(name="ssh")
    assert set(found.observe()["units"]) == {"ssh.socket", "ssh-blue.service", "ssh-green.service", "ssh-check.service"}


def test_units_of_a_host_without_systemd(host: Callable[..., Host]) -> None:
    states = host().unit_states()
    assert list(states) == SHOWN
    unknown = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "Listen": []}
    assert all(state == unknown for state in states.values())


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that was started as release 0a1b2c."""
    environment = {"A": "1", "GUNICORN_RELEASE": "0a1b2c", "Z": "2"}
    command = ["/bin/sh", "-c", "echo up; read end"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"up\n"
        yield started
        started.kill()


@linux
def test_a_slot_runs_what_its_process_says(
    host: Callable[..., Host], tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    unit = write(tmp_path / "units/shop-blue.service", "[Service]\nEnvironment=GUNICORN_RELEASE=ffffff\n")
    state = {"MainPID": str(process.pid), "ActiveState": "active", "FragmentPath": str(unit)}
    assert host().slot(state) == {"active": True, "state": "active", "release": "0a1b2c"}


@pytest.mark.parametrize(
    ("state", "active"), [("active", True), ("reloading", True), ("activating", False), ("failed", False)]
)
def test_a_slot_without_process_is_what_its_unit_says(
    host: Callable[..., Host], tmp_path: Path, state: str, active: bool
) -> None:
    unit = write(tmp_path / "units/shop-blue.service", "[Service]\nEnvironment=GUNICORN_RELEASE=ffffff\n")
    found = host().slot({"MainPID": "0", "ActiveState": state, "FragmentPath": str(unit)})
    assert found == {"active": active, "state": state, "release": "ffffff"}


def test_a_slot_that_was_never_used(host: Callable[..., Host]) -> None:
    found = host().slot({"LoadState": "not-found", "ActiveState": "inactive", "FragmentPath": ""})
    assert found == {"active": False, "state": "inactive", "release": ""}


@pytest.mark.parametrize(
    ("target", "live"),
    [
        ("/etc/systemd/system/shop-blue.service", "blue"),
        ("shop-green.service", "green"),
        ("shop-check.service", ""),
        ("shop2-blue.service", ""),
        ("/dev/null", ""),
        (None, ""),
    ],
)
def test_the_live_slot_bears_the_name(host: Callable[..., Host], tmp_path: Path, target: str | None, live: str) -> None:
    if target:
        (tmp_path / "units/shop.service").symlink_to(target)
    assert host().live() == live


def test_a_file_of_that_name_is_no_live_slot(host: Callable[..., Host], tmp_path: Path) -> None:
    write(tmp_path / "units/shop.service", "[Service]\n")
    assert host().live() == ""


def test_releases(host: Callable[..., Host], tmp_path: Path) -> None:
    records = tmp_path / "opt/shop/releases"
    record = {"code": "r", "venv": "v", "created": "2026-06-01T00:00:00Z"}
    write(records / "aaa/release.json", json.dumps(record))
    write(records / "bbb/release.json", '{"code": ')
    write(records / "ccc/gunicorn.conf.py", "")
    for name, marks in {"ddd": ("failed",), "eee": ("served",), "fff": ("served", "failed")}.items():
        write(records / name / "release.json", json.dumps({**record, "served": "no", "failed": "no"}))
        for mark in marks:
            write(records / name / mark, '{"path": "/healthz"}')
    write(records / "ggg/release.json", json.dumps(record))
    write(records / "ggg/served", '{"path')  # a mark that says nothing is none
    passed = {"path": "/healthz"}
    complete = {
        "aaa": {**record, "served": False, "passed": {}, "failed": False},
        "ddd": {**record, "served": False, "passed": {}, "failed": True},
        "eee": {**record, "served": True, "passed": passed, "failed": False},
        "fff": {**record, "served": True, "passed": passed, "failed": True},
        "ggg": {**record, "served": False, "passed": {}, "failed": False},
    }
    assert host().releases() == (complete, [str(records / "bbb"), str(records / "ccc")])


def test_no_releases(host: Callable[..., Host]) -> None:
    assert host().releases() == ({}, [])


def test_finished_code(host: Callable[..., Host], tmp_path: Path) -> None:
    code = tmp_path / "opt/shop/code"
    write(code / "aaa/.complete")
    write(code / "bbb/wsgi.py")
    assert host().finished("code") == (["aaa"], [str(code / "bbb")])
    assert host().finished("venvs") == ([], [])


def test_links(host: Callable[..., Host], tmp_path: Path) -> None:
    (tmp_path / "opt/shop").mkdir()
    (tmp_path / "opt/shop/current").symlink_to("releases/aaa")
    assert (host().link("current"), host().link("previous")) == ("aaa", "")


def test_a_managed_file(host: Callable[..., Host], tmp_path: Path) -> None:
    path = write(tmp_path / "file", "text\n")
    path.chmod(0o640)
    assert host().file(str(path)) == {
        "sha256": hashlib.sha256(b"text\n").hexdigest(),
        "owner": pwd.getpwuid(os.getuid()).pw_name,
        "group": grp.getgrgid(path.stat().st_gid).gr_name,
        "mode": "0640",
    }


def test_a_file_of_nobody(host: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "file")

    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    found = host().file(str(path))
    assert (found["owner"], found["group"]) == (str(path.stat().st_uid), str(path.stat().st_gid))


def test_which_files_are_managed(host: Callable[..., Host], tmp_path: Path) -> None:
    release = tmp_path / "opt/shop/releases/aaa"
    wanted = [
        write(tmp_path / "units/shop.socket"),
        write(tmp_path / "units/shop-green.service"),
        write(tmp_path / "opt/shop/check_config.py"),
        write(tmp_path / "logrotate-shop"),
        write(release / "environment"),
        write(release / "gunicorn.conf.py"),
    ]
    (release / "code").symlink_to(tmp_path)
    (release / "python").symlink_to(write(tmp_path / "python"))
    (tmp_path / "units/shop.service").symlink_to("shop-green.service")
    write(tmp_path / "units/other.service")
    write(tmp_path / "logrotate-other")
    write(tmp_path / "opt/shop/releases/bbb/environment")
    assert set(host().files({"aaa": {}})) == {str(path) for path in wanted}


def test_who_may_read_secrets(host: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_info, "ROOT", (os.getuid(), os.getgid()))
    release = tmp_path / "opt/shop/releases/aaa"
    directory = release / "secrets"
    assert host().secrets("aaa") == []
    for name, mode in {"KEY": 0o600, "TOKEN": 0o600, "OPEN": 0o640}.items():
        write(directory / name, "hunter2").chmod(mode)
    directory.chmod(0o700)
    (directory / "LINK").symlink_to("KEY")
    (directory / "DIRECTORY").mkdir(0o600)
    assert host().secrets("aaa") == ["KEY", "TOKEN"]
    assert host().files({"aaa": {}}) == {}, "there is no digest of a secret"
    directory.chmod(0o750)
    assert host().secrets("aaa") == []
    directory.chmod(0o700)
    monkeypatch.setattr(gunicorn_info, "ROOT", (os.getuid() + 1, os.getgid()))
    assert host().secrets("aaa") == []


def test_whether_systemd_encrypts(host: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    able = host({"systemd-creds": lambda *_arguments: ""})
    monkeypatch.setattr(gunicorn_info, "HOST_KEY", str(tmp_path / "key"))
    assert (host().encrypts(), able.encrypts()) == (False, True), "it makes the key"
    monkeypatch.setattr(gunicorn_info, "HOST_KEY", str(tmp_path / "nowhere/key"))
    assert able.encrypts() is False


# What others made


def test_nothing_unmanaged_on_a_new_host(host: Callable[..., Host]) -> None:
    assert host().unmanaged() == []


def test_our_own_things_are_not_unmanaged(host: Callable[..., Host], tmp_path: Path) -> None:
    write(tmp_path / "units/shop.socket", "# Written by the Ansible role pyweb.deploy.gunicorn.\n")
    write(tmp_path / "units/shop-blue.service", "# Written by the Ansible role pyweb.deploy.gunicorn.\n")
    (tmp_path / "units/shop.service").symlink_to("shop-blue.service")
    (tmp_path / "opt/shop/.pyweb.deploy").mkdir(parents=True)
    assert host().unmanaged() == []


def test_a_package_that_is_in_the_shadow_of_ours_is_left_alone(host: Callable[..., Host], tmp_path: Path) -> None:
    (tmp_path / "units/shop.service").symlink_to("shop-blue.service")
    write(tmp_path / "package-units/shop.service", "[Service]\n")
    assert host().unmanaged() == []


def test_an_empty_directory_is_free(host: Callable[..., Host], tmp_path: Path) -> None:
    (tmp_path / "opt/shop").mkdir()
    assert host().unmanaged() == []


def test_half_of_a_mark_is_what_a_killed_run_left(host: Callable[..., Host], tmp_path: Path) -> None:
    half = write(Path(temporary(str(tmp_path / "opt/shop/.pyweb.deploy"))), "lay")
    assert host().unmanaged() == []
    write(half.parent / "index.html")
    assert host().unmanaged() == [str(half.parent)]


@pytest.mark.parametrize(
    ("mark", "layout"), [("layout: 2\n", 2), ("# more\nlayout: 13\nmore: 4\n", 13), ("", 1), (None, 1)]
)
def test_the_layout_of_the_directory(host: Callable[..., Host], tmp_path: Path, mark: str | None, layout: int) -> None:
    assert host().layout() == 0
    path = tmp_path / "opt/shop/.pyweb.deploy"
    if mark is None:
        path.mkdir(parents=True)  # as the first versions made it
    else:
        write(path, mark)
    assert host().layout() == layout
    assert host().unmanaged() == []


@pytest.mark.parametrize(
    "path", ["units/shop.service", "units/shop.socket", "units/shop-build.service", "package-units/shop.service"]
)
def test_units_of_others(host: Callable[..., Host], tmp_path: Path, path: str) -> None:
    write(tmp_path / path, "[Unit]\nDescription=The shop\n")
    assert host().unmanaged() == [str(tmp_path / path)]


def test_a_masked_unit_is_unmanaged(host: Callable[..., Host], tmp_path: Path) -> None:
    (tmp_path / "units/shop.service").symlink_to("/dev/null")
    assert host().unmanaged() == [str(tmp_path / "units/shop.service")]


def test_a_directory_or_file_of_others(host: Callable[..., Host], tmp_path: Path) -> None:
    path = write(tmp_path / "opt/shop", "a file")
    assert host().unmanaged() == [str(path)]
    path.unlink()
    write(tmp_path / "opt/shop/index.html")
    assert host().unmanaged() == [str(tmp_path / "opt/shop")]


# The host itself


def test_os_release(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
    monkeypatch.setattr(gunicorn_info, "read", {"/etc/os-release": text}.__getitem__)
    assert host().os_release() == {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}


def test_no_os_release(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_info, "read", lambda _path: "")
    assert host().os_release() == {"ID": "", "VERSION_ID": "", "PRETTY_NAME": ""}


def test_the_interpreter_that_runs_the_module(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_unit, "SYSTEM_PYTHON", "/usr/bin/env")  # tests may run with the distribution's own
    assert host(python=sys.executable).python() == {
        "path": os.path.join(os.path.realpath(os.path.dirname(sys.executable)), os.path.basename(sys.executable)),
        "file": os.path.realpath(sys.executable),
        "system": False,
        "version": platform.python_version(),
        "venv": True,
    }


def test_the_interpreter_of_the_distribution(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_unit, "SYSTEM_PYTHON", "/usr/bin/env")
    assert host(python="/usr/bin/env").python()["system"] is True
    assert host(python="/bin/sh").python()["system"] is False


def test_what_is_left_of_a_build(host: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_unit, "UNITS", str(tmp_path / "run"))
    assert host().build_remains() == []
    (tmp_path / "opt/shop/build").mkdir(parents=True)
    unit = write(tmp_path / "run/shop-build.service", "")
    assert host().build_remains() == [str(tmp_path / "opt/shop/build"), str(unit)]


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_another_interpreter(host: Callable[..., Host], tmp_path: Path) -> None:
    other = program(tmp_path / "real/python3.12", f'exec {sys.executable} "$@"')
    (tmp_path / "bin").symlink_to("real")
    (tmp_path / "real/python3").symlink_to("python3.12")
    found = host(python=str(tmp_path / "bin/python3")).python()
    version = {"version": platform.python_version(), "venv": True, "system": False}
    assert found == {"path": f"{tmp_path}/real/python3", "file": str(other), **version}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("echo first; echo 'Unknown option: -I' >&2; echo >&2; exit 2", "Unknown option: -I"),
        ("exit 1", "it says nothing"),
        ("echo hello", "it is another program"),
        ("echo 7", "it is another program"),
    ],
)
def test_an_interpreter_that_does_not_run(host: Callable[..., Host], tmp_path: Path, text: str, problem: str) -> None:
    path = str(program(tmp_path / "python", text))
    assert host(python=path).python() == {"path": path, "file": path, "system": False, "problem": problem}


def test_no_interpreter(host: Callable[..., Host]) -> None:
    assert host(python="python3.99").python() == {}


def test_the_interpreters_of_the_host(
    host: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian = program(tmp_path / "usr/bin/python3.11", "")
    (tmp_path / "usr/bin/python3").symlink_to("python3.11")
    program(tmp_path / "usr/bin/python3-config", "")
    program(tmp_path / "usr/bin/python3.9", "").chmod(0o644)
    wrapper = program(tmp_path / "opt/mine/bin/python3", "")
    monkeypatch.setenv("PATH", f"{tmp_path}/usr/bin:{tmp_path}/nowhere")
    monkeypatch.setattr(gunicorn_info, "PYTHON_DIRECTORIES", (f"{tmp_path}/opt/*/bin", f"{tmp_path}/usr/bin"))
    assert host().interpreters() == [str(wrapper), str(debian)]


def test_venvs_whose_interpreter_is_gone(host: Callable[..., Host], tmp_path: Path) -> None:
    for name, interpreter in {"good": sys.executable, "dead": "/nowhere/bin/python3.12"}.items():
        directory = tmp_path / "opt/shop/venvs" / name / "bin"
        directory.mkdir(parents=True)
        (directory / "python").symlink_to(interpreter)
    assert host().dead_venvs(["dead", "good"]) == {"dead": "/nowhere/bin/python3.12"}
    assert host().dead_venvs([]) == {}


def test_other_applications(host: Callable[..., Host], tmp_path: Path) -> None:
    ours = (
        "# Written by the Ansible role pyweb.deploy.gunicorn.\n[Socket]\nListenStream={}\nListenStream=/run/{}.sock\n"
    )
    wants = tmp_path / "units/sockets.target.wants"
    assert host().other_apps() == {}
    wants.mkdir()
    for name, text in {"shop": ours, "blog": ours, "stopped": ours, "ssh": "[Socket]\nListenStream=22\n"}.items():
        unit = write(tmp_path / f"units/{name}.socket", text.format("127.0.0.1:8001", name))
        if name != "stopped":
            (wants / unit.name).symlink_to(unit)
    assert host().other_apps() == {"blog": ["127.0.0.1:8001", "/run/blog.sock"]}


def test_what_there_is_to_remove(host: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = (str(tmp_path / "run/gunicorn"), str(tmp_path / "lib/gunicorn"))
    monkeypatch.setattr(gunicorn_info, "SHARED", shared)
    monkeypatch.setattr(gunicorn_info, "INSTALLED_BY_ROLE", str(tmp_path / "packages"))
    nothing = host().observe()
    assert (nothing["root"], nothing["applications"], nothing["installed_by_role"], nothing["shared"]) == (
        False,
        [],
        [],
        {},
    )
    for name in ("shop", "blog"):
        (tmp_path / "opt" / name / ".pyweb.deploy").mkdir(parents=True)
    (tmp_path / "opt/shop/venvs").mkdir()
    (tmp_path / "opt/somebodys").mkdir()
    (tmp_path / "run/gunicorn/shop-blue").mkdir(parents=True)
    write(tmp_path / "packages", "procps\nufw\n")
    found = host().observe()
    assert (found["root"], found["applications"], found["installed_by_role"]) == (True, ["blog"], ["procps", "ufw"])
    assert found["shared"] == {shared[0]: ["shop-blue"]}
    assert nothing["missing_directories"] == ["code", "venvs", "releases"]
    assert found["missing_directories"] == ["code", "releases"]


# The runtime status

RUNNING = """\
ActiveState=active
SubState=running

ActiveState=inactive
SubState=dead
MainPID=0

ActiveState=active
SubState=running
Result=success
MainPID={pid}
ActiveEnterTimestampMonotonic=1000000
MemoryCurrent={memory}

ActiveState=inactive
SubState=dead
MainPID=0
"""


@linux
def test_the_runtime_status(
    host: Callable[..., Host], tmp_path: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"path": "/", "timeout": 30}
    record = {"gunicorn": "27.0.1", "python": "3.11.2", "tls": True}
    write(tmp_path / "opt/shop/policy.json", json.dumps({"health": wanted}))
    write(tmp_path / "opt/shop/releases/0a1b2c/release.json", json.dumps(record))
    (tmp_path / "opt/shop/.pyweb.deploy").mkdir()
    write(tmp_path / "opt/other/file")
    (tmp_path / "units/shop.service").symlink_to("shop-blue.service")
    asked: list[Any] = []
    monkeypatch.setattr(runtime_status, "health", lambda *arguments: asked.append(arguments))
    shown = {"systemctl": lambda *_arguments: RUNNING.format(pid=process.pid, memory=4096)}
    assert list(host(shown).runtime_statuses()) == ["shop"]
    found = host(shown, name="shop").runtime_status()
    assert asked[-1] == ("/run/gunicorn/shop-green.sock", {**wanted, "tls": True}), (
        "the slot that runs, whoever bears the name"
    )
    seen = (found["release"], found["state"], found["socket"], found["gunicorn"], found["python"], found["memory"])
    assert seen == ("0a1b2c", "active", "active", "27.0.1", "3.11.2", 4096)
    assert found["up"] > 0
    assert found["since"].endswith("Z")
    uncounted = {"systemctl": lambda *_arguments: RUNNING.format(pid=process.pid, memory="[not set]")}
    assert 0 < host(uncounted).runtime_status()["memory"] < 2**30
    asked.clear()
    stopped = host({"systemctl": lambda *_arguments: "ActiveState=inactive\nSubState=dead\n"}).runtime_status()
    assert (stopped["memory"], stopped["health"], asked) == (None, None, []), "a question would start it"


@linux
def test_workers_and_memory(tmp_path: Path) -> None:
    """A master with two workers, which are copies of itself, and another program."""
    master = write(
        tmp_path / "master.py",
        "import os, subprocess, sys, time\n"
        "other = subprocess.Popen(['sleep', '60'])\n"
        "children = [os.fork() for _ in range(1)] if os.getpid() else []\n"
        "if 0 in children: time.sleep(60)\n"
        "second = os.fork()\n"
        "if not second: time.sleep(60)\n"
        "print('up', flush=True); sys.stdin.read()\n"
        "other.kill(); [os.kill(child, 9) for child in (*children, second)]\n",
    )
    command = [sys.executable, str(master)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        started.stdout.readline()
        found = runtime_status.processes(str(started.pid))
        started.communicate(b"")
    assert found["workers"] == 2
    assert found["memory"] > 2**20


def test_debian_packages(host: Callable[..., Host]) -> None:
    def dpkg_query(*arguments: str) -> str:
        assert arguments[-3:] == ("ufw", "tar", "procps")
        return "ufw config-files\ntar installed\nprocps not-installed\n"

    assert host({"dpkg-query": dpkg_query}, packages=["ufw", "tar", "procps"]).packages() == ["tar"]


def test_no_debian_packages(host: Callable[..., Host]) -> None:
    assert host(packages=["tar"]).packages() == []
    assert host({"dpkg-query": lambda *_arguments: "x installed"}).packages() == []


def test_the_user(host: Callable[..., Host]) -> None:
    me = pwd.getpwuid(os.getuid())
    found = host().user(me.pw_name)
    assert (found["uid"], found["gecos"], found["group"]) == (me.pw_uid, me.pw_gecos, grp.getgrgid(me.pw_gid).gr_name)
    assert host().user("no-such-user") == {}


@linux
def test_who_listens(host: Callable[..., Host]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = [item for item in host().listening() if item["port"] == port]
    comm = Path("/proc/self/comm").read_text().strip()
    assert (found["address"], found["process"]) == ("127.0.0.1", comm)
    assert found["systemd"] is False
    assert set(found) == {"address", "port", "process", "unit", "systemd"}


def test_a_listener_without_a_process(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another container that shares the network, for example."""
    monkeypatch.setattr(gunicorn_info, "read", {"/proc/net/tcp": TCP, "/proc/net/tcp6": ""}.__getitem__)
    monkeypatch.setattr(glob, "iglob", lambda _pattern: [])
    nobody = {"process": "", "unit": "", "systemd": False}
    assert host().listening() == [
        {"address": "0.0.0.0", "port": 8000, **nobody},
        {"address": "127.0.0.11", "port": 38161, **nobody},
    ]


@linux
def test_a_holder_in_its_unit(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where systemd passed a socket on, the service holds it; systemd still has it open or not."""
    files = {"/proc/1/comm": "systemd\n", "/proc/1/cgroup": "0::/init.scope\n"}
    files |= {"/proc/77/comm": "gunicorn\n", "/proc/77/cgroup": "0::/system.slice/shop-blue.service\n"}
    links = {
        "/proc/1/fd/9": "socket:[5]",
        "/proc/1/fd/10": "socket:[8]",
        "/proc/77/fd/4": "socket:[7]",
        "/proc/77/fd/1": "/dev/null",
        "/proc/77/fd/2": "",
        "/proc/77/fd/3": "socket:[5]",
    }

    def readlink(path: str) -> str:
        if not links[path]:
            raise FileNotFoundError  # closed since the directory was listed
        return links[path]

    monkeypatch.setattr(gunicorn_info, "read", lambda path: files.get(path, ""))
    monkeypatch.setattr(os, "listdir", lambda path: [link.rsplit("/", 1)[1] for link in links if link.startswith(path)])
    monkeypatch.setattr(os, "readlink", readlink)
    for order in (("1", "77"), ("77", "1")):
        monkeypatch.setattr(glob, "iglob", lambda _pattern, order=order: [f"/proc/{pid}/fd" for pid in order])
        slot = {"process": "gunicorn", "unit": "shop-blue.service"}
        assert host().holders({"5", "7", "8"}) == {
            "5": {**slot, "systemd": True},
            "7": {**slot, "systemd": False},
            "8": {"process": "systemd", "unit": "init.scope", "systemd": True},
        }
    assert host().holders({"6"}) == {}


def test_the_run_that_changed_it_last(
    host: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gunicorn_info.LOCK_DIRECTORY == lock.DIRECTORY
    monkeypatch.setattr(gunicorn_info, "LOCK_DIRECTORY", str(tmp_path))
    assert host().last_run() == ""
    for text, run in {'{"run": "boot 7 1", "until": 0}': "boot 7 1", "{}": "", "[]": "", '{"run"': "", "": ""}.items():
        write(tmp_path / "shop.lock", text)
        assert host().last_run() == run


def listener(port: int, process: str) -> dict[str, Any]:
    return {"address": "0.0.0.0", "port": port, "process": process, "unit": ""}


CLOSED: dict[str, Any] = {"ActiveState": "inactive", "Listen": ["[::]:22"]}
"""State of ssh.socket where it is not used."""


def test_ports_of_the_ssh_server() -> None:
    listening = [listener(2222, "sshd"), listener(22, "sshd"), listener(22, "sshd"), listener(8000, "gunicorn")]
    assert Host.ssh_ports(listening, CLOSED) == [22, 2222]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_what_ssh_forwards_is_no_port_of_the_ssh_server(address: str) -> None:
    listening = [listener(22, "sshd"), {**listener(6010, "sshd"), "address": address}]
    assert Host.ssh_ports(listening, CLOSED) == [22]


@pytest.mark.parametrize(
    ("state", "listen", "ports"),
    [
        ("active", ["0.0.0.0:22", "[::]:22"], [22]),
        ("active", ["[::]:22", "[::]:2222", "0.0.0.0:2022"], [22, 2022, 2222]),
        ("active", ["2222"], [2222]),
        ("active", ["127.0.0.1:2222", "[::1]:2222", "/run/ssh.sock", "192.0.2.5:22"], [22]),
        ("inactive", ["[::]:22"], []),
        ("inactive", [], []),
    ],
)
def test_ports_of_an_ssh_server_that_systemd_starts(state: str, listen: list[str], ports: list[int]) -> None:
    assert Host.ssh_ports([listener(22, "systemd")], {"ActiveState": state, "Listen": listen}) == ports


SUDO = {
    "/proc/self/environ": "PATH=/bin\0SUDO_USER=deploy\0",
    "/proc/self/stat": "30 (python3) S 20 30 30 0",
    "/proc/20/environ": "",
    "/proc/20/stat": "20 (sudo) S 7) R 10 20 20 0",
    "/proc/10/environ": "OLD_SSH_CONNECTION=1.1.1.1 1 1.1.1.1 1\0SSH_CONNECTION=CLIENT 60520 198.51.100.2 2222\0A=b\0",
    "/proc/10/stat": "10 (sh) S 9 10 10 0",
}
"""A process, its parent with a strange name, and the one that SSH started."""


@pytest.mark.parametrize(("client", "told"), [("192.0.2.5", "192.0.2.5"), ("fe80::1%eth0", "fe80::1")])
def test_the_connection_that_it_came_by(monkeypatch: pytest.MonkeyPatch, client: str, told: str) -> None:
    files = {path: text.replace("CLIENT", client) for path, text in SUDO.items()}
    monkeypatch.setattr(gunicorn_info, "read", files.__getitem__)
    assert Host.ssh_connection() == {"client": told, "port": 2222}


@pytest.mark.parametrize("last", ["10 (sh) S 0 10 10 0", ""])
def test_no_connection(monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    files = {**SUDO, "/proc/10/environ": "TERM=xterm\0", "/proc/10/stat": last}
    monkeypatch.setattr(gunicorn_info, "read", files.__getitem__)
    assert Host.ssh_connection() == {}


@linux
def test_the_connection_of_a_child(tmp_path: Path) -> None:
    """Through the real /proc: the child has forgotten where it came from, its parent has not."""
    child = (
        "from ansible_collections.pyweb.deploy.plugins.modules.gunicorn_info import Host; print(Host.ssh_connection())"
    )
    shell = subprocess.run(
        ["sh", "-c", f"env -u SSH_CONNECTION {sys.executable} {write(tmp_path / 'child.py', child)}; true"],
        env={
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PATH": os.environ["PATH"],
            "SSH_CONNECTION": "192.0.2.5 4711 192.0.2.6 22",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout == "{'client': '192.0.2.5', 'port': 22}\n", shell.stderr


OTHERS: dict[str, dict[str, Any]] = {unit: {"ActiveState": "inactive"} for unit in gunicorn_info.OTHER_FIREWALLS}
"""States of the services that run another firewall."""

NOTHING: dict[str, Any] = {"rules": [], "unmanaged": [], "others": [], "on_trial": False, "ipv6": True}


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep this machine's Docker and ufw out; the path of the mark of a trial."""
    monkeypatch.setattr(os.path, "isdir", lambda _path: False)
    monkeypatch.setattr(gunicorn_info, "TRIAL", str(tmp_path / "trial"))
    return tmp_path / "trial"


def reading(monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    """Have the module read these files below /etc, and no others."""
    monkeypatch.setattr(gunicorn_info, "read", lambda path: files.get(path[len("/etc/") :], ""))


OUR_FILES = {"ufw/user.rules": RULES, "ufw/user6.rules": RULES6, "ufw/ufw.conf": "# x\nENABLED=yes\n"}


@pytest.mark.usefixtures("no_docker")
def test_firewall(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    reading(monkeypatch, OUR_FILES)
    found = host({"ufw": str}).firewall(OTHERS)
    assert (found["installed"], found["enabled"], len(found["rules"]), len(found["unmanaged"])) == (True, True, 4, 2)
    assert [(rule["port"], rule["comment"]) for rule in found["unmanaged"]] == [("22", "ssh"), ("8006", "")]
    assert let_in(8001, "2001:db8::/32") in found["rules"]


@pytest.mark.usefixtures("no_docker")
def test_a_firewall_without_ipv6(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    reading(monkeypatch, {**OUR_FILES, "default/ufw": "# x\nIPV6=no\n"})
    found = host({"ufw": str}).firewall(OTHERS)
    assert found["ipv6"] is False
    assert not any(":" in rule["source"] for rule in found["rules"]), "ufw doesn't touch what is left of them"


def test_a_firewall_that_is_off(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, no_docker: Path) -> None:
    reading(monkeypatch, {"ufw/ufw.conf": "ENABLED=no\n", "default/ufw": "IPV6=yes\n"})
    off = {**NOTHING, "installed": True, "enabled": False, "docker": False}
    assert host({"ufw": str}).firewall(OTHERS) == off
    no_docker.touch()
    assert host({"ufw": str}).firewall(OTHERS) == {**off, "on_trial": True}


def test_no_firewall(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, no_docker: Path) -> None:
    reading(monkeypatch, {})
    assert not no_docker.exists()
    assert host().firewall(OTHERS) == {**NOTHING, "installed": False, "enabled": False, "docker": False}


@pytest.mark.usefixtures("no_docker")
def test_other_firewalls_and_docker(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    reading(monkeypatch, {})
    monkeypatch.setattr(os.path, "isdir", lambda path: path == "/sys/class/net/docker0")
    for name in ("firewalld", "nftables"):
        found = host().firewall({**OTHERS, f"{name}.service": {"ActiveState": "active"}})
        assert (found["others"], found["docker"]) == ([name], True)


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\xffb")
    assert read(str(path)) == "a\ufffdb"
    assert read(str(tmp_path / "missing")) == ""
    assert read(str(tmp_path)) == ""
    assert read("") == ""


# The module


def run_main(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        gunicorn_info.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def test_it_needs_root(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = run_main(capsys, name="shop", user="shop")
    assert result["failed"] is True
    assert "become: true" in result["msg"]


@linux
def test_it_returns_what_its_documentation_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    result = run_main(capsys, name="no-such-application", user="no-such-user")
    assert result["changed"] is False
    documented = yaml.safe_load(gunicorn_info.RETURN)["gunicorn"]["contains"]
    assert set(result["gunicorn"]) == set(documented)
    assert set(result["gunicorn"]["units"]) == {unit.replace("shop", "no-such-application") for unit in SHOWN}
    assert (result["gunicorn"]["live"], result["gunicorn"]["files"], result["gunicorn"]["unmanaged"]) == ("", {}, [])


@linux
def test_files_that_are_needed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    write(tmp_path / "there")
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "broken").symlink_to("nowhere")
    names = ("there", "link", "broken", "nowhere", ".")
    result = run_main(capsys, name="shop", user="shop", needed=[str(tmp_path / name) for name in names])
    assert result["gunicorn"]["missing"] == [str(tmp_path / name) for name in ("broken", "nowhere", ".")]


# What the host's systemd understands

OPTIONS = {
    "MemoryMx": "1G",
    "MemoryMax": "lots",
    "After": "postgresql.service",
    "ReadWritePaths": ["/srv", "srv"],
    "CPUQuota": 150,
    "PrivateTmp": False,
    "MemoryLimit": "1G",
    "LimitNOFILE": "many",
}
VERIFIED = {
    "systemd 252": """\
PATH:3: Unknown key 'MemoryMx' in section [Service], ignoring.
PATH:4: Invalid memory limit 'lots', ignoring: Invalid argument
PATH:5: Unknown key 'After' in section [Service], ignoring.
PATH:7: ReadWritePaths= path is not absolute, ignoring: srv
PATH:8: Invalid CPU quota '150', ignoring.
PATH:10: Unit uses MemoryLimit=; please use MemoryMax= instead. Support for MemoryLimit= will be removed soon.
PATH:11: Failed to parse resource value, ignoring: many
/lib/systemd/system/other.service:3: Unknown key 'Foo' in section [Service], ignoring.
""",
    "systemd 257": """\
PATH:3: Unknown key 'MemoryMx' in section [Service], ignoring.
PATH:4: Invalid memory limit 'lots', ignoring: Invalid argument
PATH:5: Unknown key 'After' in section [Service], ignoring.
PATH:7: ReadWritePaths= path is not absolute, ignoring: srv
PATH:8: Invalid CPU quota '150', ignoring.
PATH:10: Unit uses MemoryLimit=; please use MemoryMax= instead. Support for MemoryLimit= will be removed soon.
PATH:11: Failed to parse LimitNOFILE=many, ignoring: Invalid argument
""",
}
"""What systemd-analyze verify wrote on Debian 12 and 13 of a unit with OPTIONS."""
DUMP = "[Unit]\nAfter=UNIT\nMemoryMy=X\n\n[Service]\nMemoryMax=LIMIT\nMemoryMin=LIMIT\nType=T\n\n[Socket]\nMemoryMz=X\n"


def test_directives_as_the_unit_has_them() -> None:
    assert option_lines({"A": ["x", True], "B": [], "C": 5, "D": False}) == [
        ("A", "x"),
        ("A", "yes"),
        ("C", "5"),
        ("D", "no"),
    ]


@pytest.mark.parametrize("said", VERIFIED.values(), ids=VERIFIED)
def test_directives_that_systemd_ignores(said: str) -> None:
    found = parse_verification(said.replace("PATH", "/tmp/x.service"), "/tmp/x.service", option_lines(OPTIONS), 3)
    assert [(item["directive"], item["value"], item["problem"]) for item in found[:5]] == [
        ("MemoryMx", "1G", "Unknown key 'MemoryMx' in section [Service]"),
        ("MemoryMax", "lots", "Invalid memory limit 'lots'"),
        ("After", "postgresql.service", "Unknown key 'After' in section [Service]"),
        ("ReadWritePaths", "srv", "ReadWritePaths= path is not absolute"),
        ("CPUQuota", "150", "Invalid CPU quota '150'"),
    ]
    assert [(item["directive"], item["value"]) for item in found[5:]] == [("LimitNOFILE", "many")]


def test_systemd_is_asked_only_about_options_that_there_are(host: Callable[..., Host]) -> None:
    def asked(*_arguments: str) -> str:
        raise AssertionError("asked")

    assert host({"systemd-analyze": asked}).refused_options() == []
    assert host(service_options={"MemoryMx": "1G"}).refused_options() == [], "no systemd, no answer"


def test_a_misspelt_directive_has_a_nearest_name(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    looking = host({"systemd-analyze": lambda *_arguments: ""}, service_options=OPTIONS)
    units = []

    def run(command: list[str]) -> tuple[int, str, str]:
        if command[-1] == "--dump-configuration-items":
            return 0, DUMP, ""
        units.append(Path(command[-1]).read_text())
        return 0, "", VERIFIED["systemd 252"].replace("PATH", command[-1])

    monkeypatch.setattr(looking.module, "run_command", run)
    found = {item["directive"]: item["near"] for item in looking.refused_options()}
    assert found["MemoryMx"] == "MemoryMax"
    assert found["MemoryMax"] == found["After"] == ""
    assert units[0].splitlines()[:4] == ["[Service]", "ExecStart=/bin/true", "MemoryMx=1G", "MemoryMax=lots"]


# An application that is on the host already


def wanted(directory: Path, **options: Any) -> dict[str, Any]:
    return {
        "path": str(directory),
        "exclude": [],
        "requirements": "requirements.txt",
        "module": "wsgi",
        "marker": "",
        "conf_file": "",
        **options,
    }


def test_no_source_is_looked_at(host: Callable[..., Host]) -> None:
    assert host().source() == {}


def test_a_source_on_the_host_is_like_one_on_the_controller(host: Callable[..., Host], tmp_path: Path) -> None:
    write(tmp_path / "srv/wsgi.py")
    write(tmp_path / "srv/requirements.txt", "flask\n")
    write(tmp_path / "srv/data.db")
    found = host(source=wanted(tmp_path / "srv", exclude=["*.db"])).source()
    assert found["digest"] == digest(str(tmp_path / "srv"), ["*.db"])
    assert (found["requirements"], found["has_module"], found["problem"]) == (["flask"], True, "")


def test_a_configuration_file_of_a_source_on_the_host_is_read(host: Callable[..., Host], tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("workers = 4\n")
    (tmp_path / "own.py").write_text("workers = 5\n")
    for given, path, value in (("", "gunicorn.conf.py", 4), ("own.py", "own.py", 5)):
        found = host(source=wanted(tmp_path, conf_file=given)).source()
        assert (found["conf_file"], [each["value"] for each in found["conf"]]) == (path, [value])


def test_a_marker_alone_tells_whether_the_code_changed(host: Callable[..., Host], tmp_path: Path) -> None:
    looking = host(source=wanted(tmp_path / "srv", marker="REVISION"))
    write(tmp_path / "srv/REVISION", "1")
    before = looking.source()["digest"]
    write(tmp_path / "srv/wsgi.py")
    assert looking.source()["digest"] == before
    write(tmp_path / "srv/REVISION", "2")
    assert looking.source()["digest"] != before


def test_a_source_that_is_not_there(host: Callable[..., Host], tmp_path: Path) -> None:
    assert host(source=wanted(tmp_path / "srv")).source()["problem"] == f"{tmp_path}/srv is not a directory on the host"
    write(tmp_path / "srv/wsgi.py")
    assert "REVISION" in host(source=wanted(tmp_path / "srv", marker="REVISION")).source()["problem"]
