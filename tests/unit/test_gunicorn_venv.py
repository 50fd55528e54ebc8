"""The stage that builds a venv: what the installer is called with, and a host on which anything may fail or stop."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import shutil
import stat
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.pyweb.deploy.plugins.module_utils import build_unit, disk, lock, venv
from ansible_collections.pyweb.deploy.plugins.module_utils.build_unit import BuildError, BuildUnit, Mount
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd, SystemdError
from ansible_collections.pyweb.deploy.plugins.module_utils.venv import InstallFailedError, Pip, Request, VenvStage
from ansible_collections.pyweb.deploy.plugins.modules import gunicorn_venv
from ansible_collections.pyweb.deploy.tests.unit.systemd import read_environment, read_unit

Data = dict[str, Any]

LEASE = {"holder": {"run": "a"}, "last_run": "", "dead": "", "seconds": 60, "then": 0}

WHEEL = Pip(("--without-pip",), "/w/pip-1.whl")
VENV, BUILD = "/opt/shop/venvs/v1", "/opt/shop/build"
WORK = f"{BUILD}/work"
OPTIONS = "--disable-pip-version-check --no-input --no-cache-dir"
FILES = "--requirement /opt/shop/code/c1/a.txt --requirement /opt/shop/code/c1/b.txt"


def request(**changes: Any) -> Request:
    defaults = {name: spec.get("default") for name, spec in gunicorn_venv.ARGUMENTS.items()}
    given = {"name": "shop", "venv": "v1", "python": "/usr/bin/python3", "code": "/opt/shop/code/c1"}
    netrc = changes.pop("netrc", "")
    payload = base64.b64encode(json.dumps({"netrc": netrc}).encode()).decode() if netrc else ""
    return gunicorn_venv.make_request({**defaults, **given, "payload": payload, **changes})


# What is called


def test_what_pip_is_asked() -> None:
    found = request(specifiers=["gunicorn==27.0.1", "it's a<9"], requirements_files=["a.txt", "b.txt"])
    assert venv.pip_script(found, WHEEL).splitlines() == [
        "set -e",
        f"cd {WORK}",
        f"/usr/bin/python3 -I -m venv --without-pip {VENV}",
        f"{VENV}/bin/python /w/pip-1.whl/pip install {OPTIONS} {FILES} -- gunicorn==27.0.1 'it'\"'\"'s a<9'",
    ]


def test_another_python_brings_its_own_pip() -> None:
    lines = venv.pip_script(request(python="/opt/python/bin/python3"), Pip((), "")).splitlines()
    assert lines[2] == f"/opt/python/bin/python3 -I -m venv {VENV}"
    assert lines[3].startswith(f"{VENV}/bin/pip install ")


def test_which_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python3"
    python.symlink_to(sys.executable)
    monkeypatch.setattr(venv, "SYSTEM_PYTHON", str(python))
    monkeypatch.setattr(venv, "PIP_WHEELS", str(tmp_path / "pip-*.whl"))
    assert venv.find_pip(sys.executable) == Pip((), ""), "there is no wheel"
    (tmp_path / "pip-1.whl").touch()
    assert venv.find_pip(sys.executable) == Pip(("--without-pip",), str(tmp_path / "pip-1.whl"))
    assert venv.find_pip("/bin/sh") == Pip((), "")


def test_the_source_is_where_it_is_built() -> None:
    assert "\ncd /opt/shop/code/c1\n" in venv.pip_script(request(needs_source=True), WHEEL)
    elsewhere = request(needs_source=True, existing=True, code="/srv/shop", requirements_files=["a.txt"])
    assert f"\ncd {BUILD}/source\n" in venv.pip_script(elsewhere, WHEEL)
    assert f" {BUILD}/source/a.txt " in venv.pip_script(elsewhere, WHEEL)
    assert elsewhere._replace(editable=True).source == "/srv/shop", "the venv refers to it"


def test_hashes() -> None:
    found = request(require_hashes=True, requirements_files=["a.txt"], tool="uv-1.2")
    assert " --require-hashes --requirement " in venv.pip_script(found, WHEEL)
    assert " --require-hashes --requirement " in venv.uv_script(found)
    assert "--require-hashes" not in venv.pip_script(request(), WHEEL) + venv.uv_script(request())


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, ""),
        ({"index_url": "https://a/simple"}, "--index-url https://a/simple"),
        ({"extra_index_urls": ["https://b", "https://c"]}, "--extra-index-url https://b --extra-index-url https://c"),
        (
            {"index_url": "https://a", "extra_index_urls": ["https://b"]},
            "--index-url https://a --extra-index-url https://b",
        ),
        ({"wheels": "/tmp/wheels.tar.gz"}, f"--no-index --find-links {BUILD}/wheels"),
    ],
)
def test_where_it_comes_from(given: Data, options: str) -> None:
    found = request(**given, tool="uv-1.2")
    assert found.sources == options.split()
    for script in (venv.pip_script(found, WHEEL), venv.uv_script(found), venv.tool_script(found, WHEEL)):
        assert options in script


def test_uv_is_installed_by_its_hashes() -> None:
    lines = venv.tool_script(request(tool="uv-1.2"), WHEEL).splitlines()
    assert lines[2] == "/usr/bin/python3 -I -m venv --without-pip /opt/shop/venvs/uv-1.2"
    assert lines[3].endswith(f" --only-binary uv --no-deps --requirement {BUILD}/uv.txt")


UV = f"/opt/shop/venvs/uv-1.2/bin/uv --system-certs --no-progress --no-python-downloads --cache-dir {WORK}/cache"
INSTALL = f"{UV} pip install --python {VENV} --compile-bytecode --link-mode copy"


def test_what_uv_is_asked() -> None:
    found = request(installer="uv", tool="uv-1.2", specifiers=["a"], requirements_files=["requirements.txt"])
    assert venv.uv_script(found).splitlines() == [
        "set -e",
        f"cd {WORK}",
        f"{UV} venv --no-project --python /usr/bin/python3 --allow-existing {VENV}",
        f"{INSTALL} --requirement /opt/shop/code/c1/requirements.txt -- a",
    ]


def test_uv_reads_its_lock_file_first() -> None:
    found = request(installer="uv", tool="uv-1.2", requirements_files=["uv.lock"])
    export = "export --quiet --frozen --no-dev --no-emit-project --python /usr/bin/python3"
    assert venv.uv_script(found).splitlines()[3:] == [
        f"{UV} {export} --project /opt/shop/code/c1 --output-file {WORK}/uv.lock.txt",
        f"{INSTALL} --requirement {WORK}/uv.lock.txt --",
    ]


def test_what_of_the_environment_arrives() -> None:
    passed = ("http_proxy", "HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "UV_INDEX")
    given = {**dict.fromkeys(passed, "x"), "HOME": "/root", "LD_PRELOAD": "x", "PYTHONPATH": "x", "PATH": "/tmp"}
    found = venv.pass_on(given)
    assert set(found) == {*passed, "PATH", "LANG"}
    assert found["PATH"].startswith("/usr/local/sbin:")


# The unit


def unit(mounts: tuple[Mount, ...] = (), others: tuple[str, ...] = ()) -> dict[str, list[str]]:
    return read_unit(build_unit.unit_text("shop", mounts, others, 1800))["Service"]


def test_the_sandbox_of_a_build() -> None:
    found = unit(others=("/opt/blog",))
    expected = {
        "User": ["shop-build"],
        "UMask": ["0022"],
        "CapabilityBoundingSet": [""],
        "NoNewPrivileges": ["yes"],
        "ProtectSystem": ["strict"],
        "PrivateTmp": ["yes"],
        "PrivateDevices": ["yes"],
        "ProtectHome": ["tmpfs"],
        "TemporaryFileSystem": ["/opt/shop:ro"],
        "TimeoutStartSec": ["1800"],
    }
    assert {name: found[name] for name in expected} == expected
    hidden = ("/var/lib/gunicorn", "/var/log/gunicorn", "/run/gunicorn", "/opt/blog")
    assert {f'-"{path}"' for path in hidden} <= set(found["InaccessiblePaths"])
    assert not set(found) & {"ReadWritePaths", "BindPaths", "SupplementaryGroups", "AmbientCapabilities"}


def test_what_a_build_sees() -> None:
    found = unit((Mount("/a", "/b", writable=True), Mount('/c "d', "/100%")))
    assert (found["BindPaths"], found["ReadWritePaths"]) == (['"/a":"/b"'], ['"/b"'])
    assert found["BindReadOnlyPaths"] == ['"/c \\"d":"/100%%"']


def test_the_environment_arrives_as_it_is() -> None:
    given = {"PIP_CERT": "/a b", "http_proxy": 'http://a"b\\c$d`e%f', "X": "two\nlines"}
    assert read_environment(build_unit.environment_file(given)) == given


# A host


class Stopped(BaseException):
    """The module was killed."""


class Host(Systemd):
    """A host with a systemd that builds what the script would, and that fails at one of the calls."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []
        self.fails_at = -1
        self.dies_at = -1
        self.output = ""
        self.result = {"Result": "success", "ExecMainStatus": "0"}
        self.running = ""
        self.failed = False
        self.seen: list[str] = []
        self.scripts: list[str] = []
        self.plants: Callable[[Path], None] = lambda _path: None

    def call(self, name: str) -> None:
        number = len(self.calls)
        self.calls.append(name)
        if number == self.dies_at:
            raise Stopped
        if number == self.fails_at:
            raise SystemdError("systemctl failed")

    # systemd

    def show(self, unit: str, *_properties: str) -> dict[str, str]:
        self.call(f"show {unit}")
        return {"ActiveState": "failed" if self.failed else "inactive", "LoadState": "loaded", **self.result}

    def daemon_reload(self) -> None:
        self.call("daemon-reload")

    def reset_failed(self, unit: str) -> None:
        self.call(f"reset-failed {unit}")
        self.failed = False

    def start(self, *units: str, **_options: bool) -> None:
        assert not self.running, "builds never overlap"
        text = read_unit((self.root / "units/shop-build.service").read_text())["Service"]
        self.running = units[0]
        self.scripts.append((self.root / "opt/shop/build/run").read_text())
        mounts = [tuple(re.findall(r'"([^"]*)"', each)) for each in text["BindPaths"]]
        (private,) = [source for source, target in mounts if "/venvs/" in target]
        (Path(private) / "bin").mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (Path(private) / "bin/python").symlink_to(sys.executable)
        (Path(private) / "bin/gunicorn").write_text("#!")
        self.plants(Path(private))
        for name in ("netrc", "environment"):
            path = self.root / "opt/shop/build" / name
            if path.exists():
                self.seen.append(f"{name} {stat.S_IMODE(path.stat().st_mode):o}")
        with (self.root / "opt/shop/build/log").open("a") as log:
            log.write(self.output)
        self.call("start")
        if self.result["Result"] != "success":
            self.failed = True
            self.running = ""
            raise SystemdError("Job failed")

    def stop(self, *_units: str, **_options: bool) -> None:
        self.call("stop")
        self.running = ""

    # Commands

    def run(self, command: list[str]) -> tuple[int, str, str]:
        self.call(command[0])
        if command[0] == "useradd":
            (self.root / "user").write_text(command[command.index("--comment") + 1])
        return 0, "", ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    for directory in ("opt/shop/venvs", "opt/shop/code/c1", "opt/blog", "units", "run"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "opt/blog/.pyweb.deploy").mkdir()
    (tmp_path / "opt/shop/code/c1/requirements.txt").write_text("-r more.txt\nFlask\n")
    (tmp_path / "opt/shop/code/c1/more.txt").write_text("six\n")
    (tmp_path / "opt/shop/code/c1/secret.txt").write_text("not for the build")

    def getpwnam(_name: str) -> SimpleNamespace:
        if not (tmp_path / "user").exists():
            raise KeyError
        return SimpleNamespace(
            pw_name="shop-build", pw_uid=os.getuid(), pw_gid=os.getgid(), pw_gecos=(tmp_path / "user").read_text()
        )

    monkeypatch.setattr(build_unit, "pwd", SimpleNamespace(getpwnam=getpwnam))
    for module in (build_unit, venv):
        monkeypatch.setattr(module, "ROOTS", str(tmp_path / "opt"))
    monkeypatch.setattr(build_unit, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(venv, "CONFIGURATION", (str(tmp_path / "pip.conf"),))
    return Host(tmp_path)


def stage(host: Host, **changes: Any) -> VenvStage:
    given = request(**{"code": str(host.root / "opt/shop/code/c1"), **changes})
    return VenvStage(given, BuildUnit("shop", host, host.run), host.run, {"PIP_RETRIES": "0"})


def remains(host: Host) -> list[str]:
    """What a build leaves besides venvs."""
    found = [*(host.root / "units").iterdir(), *(host.root / "opt/shop").glob("build*")]
    return [str(path) for path in found] + ([host.running] if host.running else [])


def test_a_venv_is_built(host: Host) -> None:
    steps = stage(host, requirements_files=["requirements.txt"], netrc="machine a password b\n").run(check=False)
    place = host.root / "opt/shop/venvs/v1"
    assert (place / ".complete").read_bytes() == b"bin/gunicorn\0bin/python"
    assert os.readlink(place / "bin/python") == sys.executable
    assert [(step["step"], step["changed"]) for step in steps.entries] == [
        ("create the build user", True),
        ("install the packages", True),
    ]
    assert steps.changed
    assert remains(host) == []
    assert host.seen == ["netrc 400", "environment 600"]
    assert (host.root / "user").read_text() == "Builds packages of shop (pyweb.deploy)"
    assert "sync" in host.calls


def test_the_mark_comes_last(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it speaks for is on the disk by then."""
    seen: list[tuple[str, bool]] = []

    def run(command: list[str]) -> tuple[int, str, str]:
        seen.append((command[0], bool(list(host.root.rglob(".complete")))))
        return Host.run(host, command)

    monkeypatch.setattr(host, "run", run)
    stage(host).run(check=False)
    assert seen == [("useradd", False), ("sync", False), ("sync", True)]


def test_the_build_sees_what_names_packages_and_no_more(host: Host) -> None:
    found: list[str] = []
    host.plants = lambda _path: found.extend(os.listdir(host.root / "opt/shop/build/source"))
    stage(host, requirements_files=["requirements.txt"]).run(check=False)
    assert sorted(found) == ["more.txt", "requirements.txt"]
    stage(host, venv="v2", requirements_files=["requirements.txt"], needs_source=True).run(check=False)
    assert sorted(found[2:]) == ["more.txt", "requirements.txt", "secret.txt"]


def test_a_requirements_file_elsewhere_is_refused(host: Host) -> None:
    (host.root / "opt/shop/code/c1/more.txt").unlink()
    (host.root / "opt/shop/code/c1/more.txt").symlink_to("/etc/passwd")
    with pytest.raises(BuildError, match=r"more\.txt leads out of "):
        stage(host, requirements_files=["requirements.txt"]).run(check=False)
    assert remains(host) == []


def test_what_is_built_in_an_editable_source_comes_along(host: Host) -> None:
    """Compiled modules, for example. Nothing that is there is replaced."""

    def build(_path: Path) -> None:
        source = host.root / "opt/shop/build/source"
        (source / "module.so").write_text("compiled")
        (source / "more.txt").write_text("changed")

    host.plants = build
    stage(host, needs_source=True, editable=True).run(check=False)
    code = host.root / "opt/shop/code/c1"
    assert ((code / "module.so").read_text(), (code / "more.txt").read_text()) == ("compiled", "six\n")
    stage(host, venv="v2", needs_source=True, editable=True, existing=True).run(check=False)
    assert (code / "module.so").exists()


def test_nothing_is_written_to_a_source_of_somebody_else(host: Host) -> None:
    host.plants = lambda _path: (host.root / "opt/shop/build/source/new").touch()
    stage(host, needs_source=True, editable=True, existing=True).run(check=False)
    assert not (host.root / "opt/shop/code/c1/new").exists()


def test_uv_is_built_first_and_once(host: Host) -> None:
    uv = {"installer": "uv", "tool": "uv-1.2", "tool_requirements": "uv==1.2 --hash=sha256:ab\n"}
    steps = stage(host, **uv).run(check=False)
    assert [step["changed"] for step in steps.entries] == [True, True, True]
    assert sorted(os.listdir(host.root / "opt/shop/venvs")) == ["uv-1.2", "v1"]
    assert [step["changed"] for step in stage(host, venv="v2", **uv).run(check=False).entries] == [False, False, True]
    assert host.calls.count("start") == 3


def test_what_is_complete_never_changes(host: Host) -> None:
    stage(host).run(check=False)
    before = (host.root / "opt/shop/venvs/v1/bin/gunicorn").stat().st_ino
    starts = host.calls.count("start")
    assert not stage(host).run(check=False).changed
    assert host.calls.count("start") == starts
    assert (host.root / "opt/shop/venvs/v1/bin/gunicorn").stat().st_ino == before


@pytest.mark.parametrize("lost", [".complete", "bin/python", "bin/gunicorn"])
def test_what_is_not_complete_is_built_anew(host: Host, lost: str) -> None:
    stage(host).run(check=False)
    (host.root / "opt/shop/venvs/v1" / lost).unlink()
    (host.root / "opt/shop/venvs/v1/stray").touch()
    assert stage(host).run(check=False).changed
    assert not (host.root / "opt/shop/venvs/v1/stray").exists()


def test_one_of_an_earlier_release_of_the_role_is_complete(host: Host) -> None:
    """Its mark names nothing."""
    stage(host).run(check=False)
    (host.root / "opt/shop/venvs/v1/.complete").write_text("")
    assert not stage(host).run(check=False).changed


def test_check_mode_predicts_and_touches_nothing(host: Host) -> None:
    predicted = stage(host).run(check=True)
    assert host.calls == []
    assert list((host.root / "opt/shop/venvs").iterdir()) == []
    real = stage(host).run(check=False)
    assert [step["changed"] for step in predicted.entries] == [step["changed"] for step in real.entries]
    assert predicted.diff == real.diff
    assert predicted.things == real.things == ["user shop-build", str(host.root / "opt/shop/venvs/v1")]
    assert not stage(host).run(check=True).changed


@pytest.mark.parametrize(("free", "fits"), [(venv.SPACE + disk.SPARE, True), (venv.SPACE + disk.SPARE - 1, False)])
def test_a_disk_that_is_full(host: Host, monkeypatch: pytest.MonkeyPatch, free: int, fits: bool) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    said = r"no room in .*/opt/shop: it needs 128 MiB, and 16 MiB have to stay free, but only 143 MiB are\. Make room"
    with contextlib.nullcontext() if fits else pytest.raises(BuildError, match=said):
        stage(host).run(check=False)
    assert (host.root / "opt/shop/venvs/v1").exists() is (host.root / "user").exists() is fits
    assert remains(host) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    assert stage(host, venv="v2").run(check=True).changed, "check mode doesn't look: it writes nothing"
    if fits:
        assert not stage(host).run(check=False).changed, "nothing is built"


def test_a_user_of_somebody_else_is_refused(host: Host) -> None:
    (host.root / "user").write_text("Jenkins")
    with pytest.raises(BuildError, match="that the role did not create"):
        stage(host).run(check=False)


def test_what_a_build_planted_is_refused(host: Host) -> None:
    host.plants = lambda path: os.mkfifo(path / "pipe")
    with pytest.raises(Exception, match="is neither a file, a directory nor a symbolic link"):
        stage(host).run(check=False)
    assert remains(host) == []
    assert not (host.root / "opt/shop/venvs/v1").exists()


def test_a_build_can_not_mark_itself(host: Host) -> None:
    host.plants = lambda path: (path / ".complete").symlink_to("/etc/planted")
    with pytest.raises(FileExistsError):
        stage(host).run(check=False)


def test_a_configuration_for_root_only_is_lent(host: Host) -> None:
    (host.root / "pip.conf").write_text("[global]\n")
    (host.root / "pip.conf").chmod(0o600)
    seen: list[str] = []
    host.plants = lambda _path: seen.append((host.root / "units/shop-build.service").read_text())
    stage(host).run(check=False)
    assert f'build/pip.conf":"{host.root}/pip.conf"' in seen[0]
    (host.root / "pip.conf").chmod(0o644)
    stage(host, venv="v2").run(check=False)
    assert "pip.conf" not in seen[1]


def wheels(path: Path) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name in ("wheels/a.whl", "wheels/more/b.whl", "wheels/../../../evil", "wheels/.complete"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    return str(path)


def test_wheels_are_unpacked(host: Host) -> None:
    found: list[str] = []
    place = host.root / "opt/shop/build/wheels"
    host.plants = lambda _path: found.extend(str(path.relative_to(place)) for path in place.rglob("*.whl"))
    stage(host, wheels=wheels(host.root / "wheels.tar.gz")).run(check=False)
    assert sorted(found) == ["a.whl", "more/b.whl"]
    assert not list(host.root.rglob("evil"))


# What fails


def failure(host: Host, **changes: Any) -> Data:
    with pytest.raises(InstallFailedError) as raised:
        stage(host, **changes).run(check=False)
    assert remains(host) == []
    assert not (host.root / "opt/shop/venvs/v1").exists()
    return raised.value.details


def test_pip_fails(host: Host) -> None:
    host.result = {"Result": "exit-code", "ExecMainStatus": "1"}
    host.output = "ERROR: No matching distribution found for Flask==99\n"
    told = failure(host, index_url="https://a/simple")
    assert (told["installer"], told["output"]) == ("pip", host.output)
    assert told["asked"] == host.output, "this systemd says it to everybody"
    assert told["free"] > 0
    assert " index versions --index-url https://a/simple Flask\n" in host.scripts[1]
    assert not host.failed, "no failed unit is left"


def test_nobody_is_asked_about_wheels(host: Host) -> None:
    host.result = {"Result": "exit-code", "ExecMainStatus": "1"}
    host.output = "ERROR: No matching distribution found for Flask==99\n"
    assert failure(host, wheels=wheels(host.root / "wheels.tar.gz"))["asked"] == ""
    assert len(host.scripts) == 1


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("exit-code", "shop-build.service failed: exit-code, status 1"),
        ("timeout", "it took longer than 30 minutes, and was ended"),
        ("oom-kill", "the host ran out of memory, and it was ended"),
    ],
)
def test_why_a_build_ended(host: Host, result: str, reason: str) -> None:
    host.result = {"Result": result, "ExecMainStatus": "1"}
    assert failure(host)["reason"] == reason


def test_a_build_that_somebody_stopped(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def canceled(*_units: str) -> None:
        raise SystemdError("Job for shop-build.service canceled.")

    monkeypatch.setattr(host, "start", canceled)
    assert failure(host)["reason"] == "it was stopped (Job for shop-build.service canceled.)"


def calls_of(host: Host) -> int:
    """How many calls a first run makes; the host is a new one again afterwards."""
    stage(host, **EVERYTHING).run(check=False)
    number = len(host.calls)
    renew(host)
    return number


EVERYTHING: Data = {
    "installer": "uv",
    "tool": "uv-1.2",
    "tool_requirements": "uv==1.2\n",
    "requirements_files": ["requirements.txt"],
    "netrc": "machine a password b\n",
}


def renew(host: Host) -> None:
    shutil.rmtree(host.root / "opt/shop/venvs")
    (host.root / "opt/shop/venvs").mkdir()
    shutil.rmtree(host.root / "opt/shop/build", ignore_errors=True)
    (host.root / "user").unlink(missing_ok=True)
    (host.root / "units/shop-build.service").unlink(missing_ok=True)
    host.calls.clear()
    host.fails_at = host.dies_at = -1
    host.running = ""


def is_whole(host: Host) -> bool:
    """Each venv that is there is complete."""
    return all(
        (path / ".complete").exists() and (path / "bin/gunicorn").exists()
        for path in (host.root / "opt/shop/venvs").iterdir()
    )


def test_any_call_fails(host: Host) -> None:
    for number in range(calls_of(host)):
        host.fails_at = number
        with contextlib.suppress(SystemdError, BuildError, InstallFailedError):
            stage(host, **EVERYTHING).run(check=False)
        assert is_whole(host), number
        converges(host, number)
        renew(host)


def test_the_module_is_killed_at_any_call(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    number_of_calls = calls_of(host)
    clear = BuildUnit.clear
    dead: list[int] = []
    # Whoever is killed cleans nothing up.
    monkeypatch.setattr(BuildUnit, "clear", lambda self: None if dead else clear(self))
    for number in range(number_of_calls):
        host.dies_at = number
        call = Host.call

        def noted(self: Host, name: str, call: Any = call) -> None:
            if dead:
                raise Stopped
            try:
                call(self, name)
            except Stopped:
                dead.append(1)
                raise

        monkeypatch.setattr(Host, "call", noted)
        with pytest.raises(Stopped):
            stage(host, **EVERYTHING).run(check=False)
        monkeypatch.setattr(Host, "call", call)
        dead.clear()
        assert is_whole(host), number
        converges(host, number)
        renew(host)


def converges(host: Host, number: int) -> None:
    """The run after it does the rest, the one after that nothing."""
    host.fails_at = host.dies_at = -1
    stage(host, **EVERYTHING).run(check=False)
    assert is_whole(host), number
    assert sorted(os.listdir(host.root / "opt/shop/venvs")) == ["uv-1.2", "v1"], number
    assert remains(host) == [], number
    assert not stage(host, **EVERYTHING).run(check=False).changed, number


# The module


@pytest.fixture
def module(host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Data]:
    monkeypatch.setattr(lock, "DIRECTORY", str(host.root / "run"))
    monkeypatch.setattr(gunicorn_venv, "Systemd", lambda _run: host)
    monkeypatch.setattr(basic.AnsibleModule, "run_command", lambda _self, command: host.run(command))

    def run(**arguments: Any) -> Data:
        given = {"name": "shop", "venv": "v1", "python": "/usr/bin/python3", "lease": LEASE, **arguments}
        given.setdefault("code", str(host.root / "opt/shop/code/c1"))
        output = io.StringIO()
        with patch_module_args(given), contextlib.redirect_stdout(output), pytest.raises(SystemExit):
            gunicorn_venv.main()
        result: Data = json.loads(output.getvalue())
        return result

    return run


def acquire(host: Host, run: str) -> None:
    found = {"user": "alice", "controller": "laptop", "pid": 1, "since": "noon", "until": 0, "name": "shop"}
    (host.root / "run/shop.lock").write_text(json.dumps({"run": run, **found}))


def test_the_module(host: Host, module: Callable[..., Data]) -> None:
    acquire(host, "a")
    result = module(_ansible_diff=True)
    assert result["path"] == str(host.root / "opt/shop/venvs/v1")
    assert result["changed"] is True
    assert [step["step"] for step in result["steps"]] == ["create the build user", "install the packages"]
    assert len(result["diff"]) == 2
    assert module()["changed"] is False


def test_it_works_for_the_run_that_has_the_lock(host: Host, module: Callable[..., Data]) -> None:
    acquire(host, "b")
    result = module()
    assert result["failed"]
    assert "another run has changed it since this one looked" in result["msg"]
    assert host.calls == []


def test_check_mode_needs_no_lock(host: Host, module: Callable[..., Data]) -> None:
    assert module(_ansible_check_mode=True)["changed"] is True
    assert host.calls == []
    assert not (host.root / "run/shop.lock").exists()


def test_a_failure_is_told_to_the_action(host: Host, module: Callable[..., Data]) -> None:
    acquire(host, "a")
    host.result, host.output = {"Result": "exit-code", "ExecMainStatus": "1"}, "ERROR: no\n"
    result = module()
    assert (result["failed"], result["failure"]["output"]) == (True, "ERROR: no\n")


@pytest.mark.parametrize("fails_at", [0, 3])
def test_systemd_fails(host: Host, module: Callable[..., Data], fails_at: int) -> None:
    acquire(host, "a")
    host.fails_at = fails_at
    assert module()["msg"] == "shop: can't build the virtual environment: systemctl failed"


@pytest.mark.parametrize("task", yaml.safe_load(gunicorn_venv.EXAMPLES), ids=lambda task: task["name"])
def test_the_examples_are_accepted(module: Callable[..., Data], task: Data) -> None:
    assert "failed" not in module(**task["pyweb.deploy.gunicorn_venv"], _ansible_check_mode=True)
