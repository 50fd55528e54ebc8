"""The code on its way to the host: what the action refuses and packs, and what the host makes of it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.playbook.task import Task
from ansible_collections.pyweb.deploy.plugins.action import gunicorn_code as action
from ansible_collections.pyweb.deploy.plugins.module_utils import (
    accounts,
    code_diff,
    package_list,
    secret_files,
    source,
)
from ansible_collections.pyweb.deploy.plugins.module_utils.code_stage import CodeStage
from ansible_collections.pyweb.deploy.plugins.module_utils.files import Files
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import LAYOUT, OWNED, Layout, is_free
from ansible_collections.pyweb.deploy.plugins.module_utils.release_stage import ReleaseStage
from ansible_collections.pyweb.deploy.plugins.module_utils.serving import Serving
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError, Steps
from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Check, Host
from ansible_collections.pyweb.deploy.plugins.plugin_utils import archive
from ansible_collections.pyweb.deploy.tests.unit.machine import Faulty, Killed

Data = dict[str, Any]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app/tests").mkdir(parents=True)
    (tmp_path / "app/wsgi.py").write_text("app = 1\n")
    (tmp_path / "app/start").write_text("#!/bin/sh\n")
    (tmp_path / "app/start").chmod(0o700)
    (tmp_path / "app/latest").symlink_to("wsgi.py")
    (tmp_path / "app/tests/test_app.py").write_text("")
    return tmp_path / "app"


# On the controller

Pack = Callable[..., Data]


@pytest.fixture
def sent() -> list[str]:
    """Places of the files that were sent ahead."""
    return []


@pytest.fixture
def pack(tmp_path: Path, sent: list[str], monkeypatch: pytest.MonkeyPatch) -> Pack:
    """Run the action; gives what its module gets, or the problem."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setattr(action.ActionModule, "_transfer_file", lambda _self, _local, place: sent.append(place))
    monkeypatch.setattr(action.ActionModule, "_fixup_perms2", lambda _self, _paths: None)
    monkeypatch.setattr(action.ActionModule, "_execute_module", lambda _self, module_args, **_rest: module_args)

    def run(check_mode: bool = False, diff: bool = False, **arguments: Any) -> Data:
        said = {"check_mode": check_mode, "diff": diff}
        task = Task.load({"name": "Code", "pyweb.deploy.gunicorn_code": arguments, **said})
        shell = SimpleNamespace(tmpdir="/tmp/there", join_path=lambda *parts: "/".join(parts))
        plugin = action.ActionModule(task, SimpleNamespace(_shell=shell, become=None), SimpleNamespace(), *[None] * 3)
        try:
            found: Data = plugin.run(task_vars={"__gunicorn_plan": {"stages": ["code", "venv"], "token": "t"}})
        finally:
            assert list(scratch.iterdir()) == []
        return found

    return run


def arguments(app: Path, *exclude: str) -> Data:
    return {"name": "shop", "src": str(app), "digest": source.digest(str(app), exclude), "exclude": list(exclude)}


def test_it_packs_what_the_digest_is_of(pack: Pack, app: Path, tmp_path: Path, sent: list[str]) -> None:
    found = pack(**arguments(app, "tests"))
    archive.write(str(app), ["tests"], str(tmp_path / "wanted.tar.gz"), ".")
    assert base64.b64decode(found["archive"]) == (tmp_path / "wanted.tar.gz").read_bytes()
    assert not {"src", "exclude"} & set(found), "these are about the controller"
    assert sent == []


def test_a_large_archive_is_sent_ahead(pack: Pack, app: Path, sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action, "INLINE", 10)
    assert pack(**arguments(app))["archive_file"] == "/tmp/there/code.tar.gz"
    assert sent == ["/tmp/there/code.tar.gz"]
    assert "archive_file" not in pack(check_mode=True, **arguments(app))
    assert len(sent) == 1
    assert pack(check_mode=True, diff=True, **arguments(app))["archive_file"] == sent[1], "--diff looks into it"


@pytest.mark.parametrize("given", [{"digest": ""}, {"src": ""}])
def test_there_may_be_nothing_to_pack(pack: Pack, app: Path, given: Data) -> None:
    assert "archive" not in pack(**{**arguments(app), **given})


@pytest.mark.parametrize("check_mode", [False, True])
def test_it_refuses_what_changed_since_it_was_planned(pack: Pack, app: Path, check_mode: bool) -> None:
    planned = arguments(app)
    (app / "wsgi.py").write_text("app = 2\n")
    problem = pack(check_mode, **planned)["problem"]
    assert "changed while the play ran" in problem
    assert planned["digest"] in problem
    assert source.digest(str(app)) in problem


def test_a_directory_that_is_missing(pack: Pack, app: Path) -> None:
    assert "nowhere" in pack(**{**arguments(app), "src": f"{app}/nowhere"})["problem"]


def test_a_failure_to_pack(pack: Pack, app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, os.strerror(28))

    planned = arguments(app)
    monkeypatch.setattr(archive, "write", full)
    assert "No space left on device" in pack(**planned)["problem"]


# On the host


class Machine(Faulty):
    """A host without the application."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout = Layout("shop", str(root))
        self.users: list[str] = []
        self.packages = ["adduser", "apt"]
        os.makedirs(root / "opt")
        os.makedirs(root / "var/lib")
        monkeypatch.setattr(accounts, "exists", lambda name: name in self.users)
        for name in ("directory", "content", "link", "remove", "replace", "tree"):
            monkeypatch.setattr(Files, name, self.faulty(getattr(Files, name)))
        monkeypatch.setattr(Files, "set_attributes", lambda *_arguments: None)

    def faulty(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            return self.call(lambda: original(*arguments, **named), OSError(28, "No space left on device", "/opt"))

        return call

    def run(self, command: list[str]) -> tuple[int, str, str]:
        def act() -> tuple[int, str, str]:
            if command[0] == "useradd":
                self.users.append(command[-1])
            listed = "".join(f"installed {name}\n" for name in self.packages)
            return 0, listed if command[0] == "dpkg-query" else "", ""

        if self.fault[1] == "fails" and self.calls == self.fault[0]:
            self.calls += 1
            return 1, "", "it failed"
        found: tuple[int, str, str] = self.call(act, OSError())
        return found

    def deploy(self, plan: Data, check: bool = False) -> Host:
        """Run the stage."""
        host = Host(self.layout, None, Files(check), Steps(check), None)  # type: ignore[arg-type] # it uses neither
        CodeStage(host, plan, self.run).run()
        return host

    def state(self) -> dict[str, str | None]:
        """Everything on it."""
        found: dict[str, str | None] = {}
        for directory, names, files in os.walk(self.layout.home):
            for name in (*names, *files):
                path = Path(directory, name)
                text = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else None
                found[str(path.relative_to(self.layout.home))] = text
        return found


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path / "host", monkeypatch)


@pytest.fixture
def plan(pack: Pack, app: Path) -> Data:
    comment = "Gunicorn application shop (pyweb.deploy)"
    given = pack(**arguments(app), user_comment=comment, group="shop", check_config="import sys\n")
    return {"archive": "", "archive_file": "", "installs_packages": True, "serving": "", **given}


def changes(host: Host) -> list[str]:
    """What a run told: paths that it wrote, and steps."""
    steps = [step["step"] for step in host.steps.entries if step["changed"]]
    return [*steps, *host.files.written]


def test_a_first_deploy(machine: Machine, plan: Data) -> None:
    predicted = changes(machine.deploy(plan, check=True))
    assert machine.state() == {}
    assert machine.users == []
    assert changes(machine.deploy(plan)) == predicted
    code = machine.layout.code(plan["digest"])
    assert Path(code, "wsgi.py").read_text() == "app = 1\n"
    modes = {name: os.stat(os.path.join(code, name)).st_mode & 0o777 for name in ("", "wsgi.py", "start", "tests")}
    assert modes == {"": 0o755, "wsgi.py": 0o644, "start": 0o755, "tests": 0o755}
    assert os.readlink(os.path.join(code, "latest")) == "wsgi.py"
    assert os.path.exists(os.path.join(code, ".complete"))
    assert machine.users == ["shop"]
    assert Path(machine.layout.home, ".pyweb.deploy").read_text() == f"layout: {LAYOUT}\n"
    assert Path(machine.layout.home, "check_config.py").read_text() == "import sys\n"
    assert Path(machine.layout.packages_before).read_text() == "adduser\napt\n"
    again = machine.deploy({**plan, "installs_packages": False})
    assert changes(again) == []


def test_code_in_a_file_on_the_host(machine: Machine, plan: Data, tmp_path: Path) -> None:
    (tmp_path / "code.tar.gz").write_bytes(base64.b64decode(plan["archive"]))
    machine.deploy({**plan, "archive": "", "archive_file": str(tmp_path / "code.tar.gz")})
    assert Path(machine.layout.code(plan["digest"]), "wsgi.py").exists()


def test_a_package_that_pip_finds_has_no_code(machine: Machine, plan: Data) -> None:
    machine.deploy({**plan, "archive": ""})
    assert os.listdir(machine.layout.code(plan["digest"])) == [".complete"]


def test_an_application_that_others_keep_on_the_host(machine: Machine, plan: Data) -> None:
    machine.deploy({**plan, "digest": "", "user_comment": ""})
    assert os.listdir(os.path.join(machine.layout.home, "code")) == []
    assert machine.users == []


def test_files_that_were_changed_are_written_again(machine: Machine, plan: Data) -> None:
    machine.deploy(plan)
    good = machine.state()
    code = Path(machine.layout.code(plan["digest"]))
    (code / "wsgi.py").write_text("app = evil\n")
    (code / "start").unlink()
    wanted = [str(code / "start"), str(code / "wsgi.py")]
    assert machine.deploy(plan, check=True).files.written == wanted
    assert machine.deploy(plan).files.written == wanted
    assert machine.state() == good


def test_a_disk_that_is_full(machine: Machine, plan: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=5 << 20))
    with pytest.raises(StageError, match=r"can't bring the code to .*/opt/shop: .* only 5 MiB are\. Make room"):
        machine.deploy(plan)
    assert os.listdir(os.path.join(machine.layout.home, "code")) == []


def test_what_an_interrupted_run_left_is_removed(machine: Machine, plan: Data) -> None:
    place = Path(machine.layout.code(plan["digest"]))
    place.mkdir(parents=True)
    (place / "half").touch()
    predicted = changes(machine.deploy(plan, check=True))
    assert changes(machine.deploy(plan)) == predicted
    assert not (place / "half").exists()


# What --diff shows


def shown(diff: list[Data], home: str = "/opt/nothing") -> list[str]:
    """Lines that ``--diff`` shows, without the path of `home`; of a text, its paths and the lines that differ."""
    lines = []
    for part in diff:
        if "prepared" in part:
            lines.append(part["prepared"].rstrip("\n"))
            continue
        old, new = (part[key].splitlines() for key in ("before", "after"))
        lines.append(f"{part['before_header']} -> {part['after_header']}")
        lines += [f"-{line}" for line in old if line not in new] + [f"+{line}" for line in new if line not in old]
    return [line.replace(os.path.join(home, ""), "") for line in lines]


@pytest.fixture
def serve(machine: Machine) -> Callable[..., None]:
    """Record that a release serves; give what the stage needs to know of it."""

    def record(identity: str = "r0", **rest: Any) -> None:
        files = {"gunicorn.conf.py": rest.pop("conf", ""), "environment": rest.pop("environment", "")}
        place = Path(machine.layout.release(identity))
        place.mkdir(parents=True)
        for name, text in files.items():
            (place / name).write_text(text)
        (place / "release.json").write_text(json.dumps({"id": identity, "existing": "", **rest}))

    return record


Edit = Callable[[Path], Any]
Show = Callable[..., list[str]]


@pytest.fixture
def show(machine: Machine, plan: Data, pack: Pack, app: Path, serve: Callable[..., None]) -> Show:
    """Deploy the code, change it and tell what ``--diff`` shows of the second deploy: the same in check mode."""

    def run(edit: Edit, *exclude: str, **record: Any) -> list[str]:
        machine.deploy(plan)
        serve(**{"code": plan["digest"], **record})
        edit(app)
        wanted = {**plan, "serving": "r0", **pack(**arguments(app, *exclude))}
        predicted, real = machine.deploy(wanted, check=True).files, machine.deploy(wanted).files
        assert real.diff == predicted.diff
        lines = shown(real.diff, machine.layout.code(""))
        return [line.replace(plan["digest"], "OLD").replace(wanted["digest"], "NEW") for line in lines]

    return run


def test_of_a_first_deploy_the_size(machine: Machine, plan: Data) -> None:
    for check in (True, False):
        found = machine.deploy(plan, check=check).files
        assert shown(found.diff, machine.layout.home) == [f"code/{plan['digest']}: new, 3 files, 18 bytes"]


def test_of_changed_code_the_lines(show: Show) -> None:
    assert show(lambda app: (app / "wsgi.py").write_text("app = 2\n")) == [
        "OLD/wsgi.py -> NEW/wsgi.py",
        "-app = 1",
        "+app = 2",
    ]


def test_of_other_files_their_names(show: Show) -> None:
    def edit(app: Path) -> None:
        (app / "logo.png").write_bytes(b"\x89PNG\0")
        (app / "start").chmod(0o644)
        (app / "latest").unlink()
        (app / "latest").symlink_to("start")
        (app / "another").symlink_to("start")
        (app / "tests/test_app.py").unlink()

    assert show(edit) == [
        "NEW/another: new, link to start",
        "NEW/latest: link to wsgi.py -> link to start",
        "NEW/logo.png: new, 5 bytes",
        "NEW/start: mode 0755 -> 0644",
        "OLD/tests/test_app.py: removed, 0 bytes",
    ]


def test_what_is_excluded_is_not_shown(show: Show) -> None:
    def edit(app: Path) -> None:
        (app / "start").write_text("PASSWORD=hush\n")
        (app / "tests/test_app.py").write_text("PASSWORD = 'hush'\n")

    assert show(edit, "tests", "start") == [
        "OLD/start: removed, 10 bytes",
        "OLD/tests/test_app.py: removed, 0 bytes",
    ], "what was there before is named"


@pytest.mark.parametrize("record", [{"existing": "/srv/app"}, {"code": "gone"}])
def test_code_that_is_not_there_to_compare(show: Show, record: Data) -> None:
    assert show(lambda app: (app / "wsgi.py").write_text("app = 2\n"), **record) == ["NEW: new, 3 files, 18 bytes"]


def test_of_many_changes_the_first(show: Show, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_diff, "MOST_LINES", 3)
    monkeypatch.setattr(code_diff, "MOST_NAMES", 3)

    def edit(app: Path) -> None:
        (app / "start").write_text("#!/bin/bash\n")
        (app / "wsgi.py").write_text("app = 2\n")
        for name in "xyz":
            (app / name).write_text("")

    assert show(edit) == [
        "OLD/start -> NEW/start",
        "-#!/bin/sh",
        "+#!/bin/bash",
        "NEW/wsgi.py: 8 bytes -> 8 bytes, not shown: more than 3 changed lines or 1 MiB in all",
        "NEW/x: new, 0 bytes",
        "NEW/y: new, 0 bytes",
        "and 1 more of which nothing is shown",
    ]


def test_nobody_looks_where_nothing_is_shown(machine: Machine, plan: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_diff, "compare", lambda *_arguments: pytest.fail("nobody asked"))
    host = Host(machine.layout, None, Files(False, shows=False), Steps(False), None)  # type: ignore[arg-type]
    CodeStage(host, plan, machine.run).run()
    assert host.files.written


FAULTS = ("fails", "before", "after")


def test_whatever_breaks_off_the_next_run_completes(
    plan: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call fails, or is the last one: code is never there in part, and the second run after it changes nothing."""
    with monkeypatch.context() as patch:
        healthy = Machine(tmp_path / "healthy", patch)
        healthy.deploy(plan)
        wanted, calls = healthy.state(), healthy.calls
    assert calls > 10
    for number in range(calls):
        for what in FAULTS:
            with monkeypatch.context() as patch:
                machine = Machine(tmp_path / f"{number}-{what}", patch)
                machine.fault = (number, what)
                with pytest.raises((OSError, StageError, Killed)):
                    machine.deploy(plan)
                machine.fault = (-1, "")
                names = os.listdir(machine.layout.home) if os.path.exists(machine.layout.home) else []
                assert OWNED in names or is_free(names), (number, what)
                code = machine.layout.code(plan["digest"])
                assert not os.path.exists(code) or os.listdir(code) == os.listdir(healthy.layout.code(plan["digest"]))
                machine.deploy(plan)
                assert machine.state() == wanted, (number, what)
                assert changes(machine.deploy(plan)) == [], (number, what)


# The release

PAYLOAD: Data = {
    "files": {"gunicorn.conf.py": "workers = 2\n", "environment": "A=1\n"},
    "secrets": {},
    "record": '{"id": "r1"}\n',
}
RELEASE: Data = {
    "release": "r1",
    "group": "shop",
    "links": {"code": "../../code/c1"},
    "encrypt": False,
    "serving": "",
    "names": {"id": "r1", "code": "c1", "venv": "v1"},
}


def write_release(machine: Machine, check: bool = False, payload: Data = PAYLOAD, **other: Any) -> Host:
    """Run the stage that writes it."""
    host = Host(machine.layout, None, Files(check), Steps(check), None)  # type: ignore[arg-type] # it uses neither
    ReleaseStage(host, {**RELEASE, **other}, payload, machine.run).run()
    return host


def test_a_release_is_written_once(machine: Machine) -> None:
    os.makedirs(machine.layout.release(""))
    predicted = changes(write_release(machine, check=True))
    assert os.listdir(machine.layout.release("")) == []
    assert changes(write_release(machine)) == predicted
    place = Path(machine.layout.release("r1"))
    assert {path.name for path in place.iterdir()} == {"gunicorn.conf.py", "environment", "code", "release.json"}
    assert changes(write_release(machine)) == []


def test_of_a_first_configuration_all_is_shown(machine: Machine) -> None:
    os.makedirs(machine.layout.release(""))
    lines = shown(write_release(machine).files.diff, machine.layout.release(""))
    assert lines == ["/dev/null -> r1/gunicorn.conf.py", "+workers = 2", "/dev/null -> r1/environment", "+A=1"]


CONF = "chdir = '/opt/shop/code/{code}'\nPATH=/opt/shop/venvs/{venv}\nworkers = {workers}\n"


def test_a_configuration_is_shown_beside_that_which_serves(machine: Machine, serve: Callable[..., None]) -> None:
    """Digests differ in each release: that says nothing."""
    serve(code="c0", venv="v0", conf=CONF.format(code="c0", venv="v0", workers=1), environment='A="1"\n')
    payload = {
        **PAYLOAD,
        "files": {"gunicorn.conf.py": CONF.format(code="c1", venv="v1", workers=2), "environment": 'A="1"\n'},
    }
    for check in (True, False):
        found = write_release(machine, check, payload, serving="r0").files
        assert shown(found.diff, machine.layout.release("")) == [
            "r0/gunicorn.conf.py -> r1/gunicorn.conf.py",
            "-workers = 1",
            "+workers = 2",
        ]
        assert len(found.written) == 5
    path = Path(machine.layout.release("r1"), "gunicorn.conf.py")
    path.write_text("by hand\n")
    found = write_release(machine, payload=payload, serving="r0").files
    lines = shown(found.diff, machine.layout.release(""))
    assert lines[:2] == ["r1/gunicorn.conf.py -> r1/gunicorn.conf.py", "-by hand"]


def test_what_a_variable_held_that_is_gone_is_not_shown(machine: Machine, serve: Callable[..., None]) -> None:
    """It may be a secret from now on."""
    serve(code="c1", venv="v1", environment='GONE="hush \\"B=\nhush"\nHI="1"\n')
    payload = {**PAYLOAD, "files": {"environment": 'HI="2"\n'}}
    lines = shown(write_release(machine, payload=payload, serving="r0").files.diff, machine.layout.release(""))
    assert lines == ["r0/environment -> r1/environment", "-GONE=...", '-HI="1"', '+HI="2"']


def test_a_record_that_nobody_can_read_stops_nothing(machine: Machine, serve: Callable[..., None]) -> None:
    serve()
    Path(machine.layout.release("r0"), "release.json").write_text("{")
    assert shown(write_release(machine, serving="r0").files.diff)[0].startswith("/dev/null -> ")


def test_secrets_of_a_new_release_are_not_worth_a_line(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each release has them; it is one when they are put right."""
    monkeypatch.setattr(secret_files, "OWNER", (os.getuid(), os.getgid()))
    os.makedirs(machine.layout.release(""))
    payload, place = {**PAYLOAD, "secrets": {"TOKEN": "hush"}}, os.path.join(machine.layout.release("r1"), "secrets")
    for check in (True, False):
        steps = write_release(machine, check, payload).steps
        assert (steps.things, steps.diff) == ([place], [])
    os.unlink(os.path.join(place, "TOKEN"))
    assert shown(write_release(machine, payload=payload).steps.diff) == [f"{place}: absent -> present"]


# What is there already, as for going back


UNIT = """[Service]
Environment=GUNICORN_RELEASE=@release@
WorkingDirectory=/opt/shop/code/{}
Sockets=shop-@slot@.socket
"""


def test_a_unit_is_shown_beside_that_which_serves(machine: Machine, serve: Callable[..., None]) -> None:
    names = {"id": "r1", "code": "c1", "venv": "v1"}
    serve(code="c0", venv="v1", slot_unit=UNIT.format("c0") + "Nice=1\n", check_unit=UNIT.format("c0"))
    serving = Serving(machine.layout, "r0", names)
    unit = UNIT.format("c1").replace("@release@", "r1").replace("@slot@", "green")
    path, before = serving.unit("green")
    assert (path, before) == (f"{machine.layout.units}/shop-blue.service", f"{unit}Nice=1\n".encode())
    path, before = serving.unit("check")
    assert (path, before) == (f"{machine.layout.units}/shop-check.service", unit.replace("green", "check").encode())
    assert Serving(machine.layout, "", names).unit("green").content is None
    units = {"shop-green.service": unit, "shop-check.service": unit.replace("green", "check"), "shop.socket": "new\n"}
    plan = {"serving": "r0", "names": names, "slot": "green", "units": units, "files": {}}
    for start, wanted in ((True, ["shop-blue.service -> shop-green.service", "-Nice=1"]), (False, [])):
        host = Host(machine.layout, None, Files(True), Steps(True), None)  # type: ignore[arg-type]
        Check(host, {**plan, "start": start}).write()
        lines = shown(host.files.diff, machine.layout.units)
        assert [line for line in lines if "new, " not in line] == wanted, "what is put right is beside what was there"
        assert len(host.files.written) == 3


def test_going_back_shows_what_differs(machine: Machine, plan: Data, pack: Pack, app: Path, serve: Any) -> None:
    """No stage writes it: the check, which comes first then, shows it."""
    os.makedirs(machine.layout.units)
    machine.deploy(plan)
    serve("r1", code=plan["digest"], conf="workers = 1\n", environment='TOKEN="hush"\n')
    (app / "wsgi.py").write_text("app = 2\n")
    newer = {**plan, **pack(**arguments(app))}
    machine.deploy(newer)
    serve("r2", code=newer["digest"], conf="workers = 2\n")
    names = {"id": "r1", "code": plan["digest"], "venv": ""}
    check = {"slot": "blue", "start": True, "serving": "r2", "names": names, "units": {}, "files": {}}
    for compare, wanted in (
        (["code"], ["-app = 2", "+app = 1"]),
        (["configuration"], ["-workers = 2", "+workers = 1", "+TOKEN=..."]),
        ([], []),
    ):
        host = Host(machine.layout, None, Files(True), Steps(True), None)  # type: ignore[arg-type]
        Check(host, {**check, "compare": compare}).compare()
        assert [line for line in shown(host.files.diff) if " -> " not in line] == wanted


def test_a_release_is_complete_when_all_of_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call fails, or is the last one."""
    with monkeypatch.context() as patch:
        healthy = Machine(tmp_path / "healthy", patch)
        os.makedirs(healthy.layout.release(""))
        write_release(healthy)
        wanted, calls = healthy.state(), healthy.calls
    assert calls > 4
    for number in range(calls):
        for what in FAULTS:
            with monkeypatch.context() as patch:
                machine = Machine(tmp_path / f"{number}-{what}", patch)
                os.makedirs(machine.layout.release(""))
                machine.fault = (number, what)
                with pytest.raises((OSError, Killed)):
                    write_release(machine)
                machine.fault = (-1, "")
                if os.path.exists(os.path.join(machine.layout.release("r1"), "release.json")):
                    assert machine.state() == wanted
                write_release(machine)
                assert machine.state() == wanted, (number, what)


# The list of packages


def write_list(machine: Machine, *expected: str, check: bool = False) -> list[str]:
    files = Files(check)
    package_list.write(machine.layout, files, machine.run, expected)
    return files.written


def test_the_list_names_what_came(machine: Machine, plan: Data) -> None:
    machine.deploy(plan)
    assert write_list(machine, "ufw", check=True) == [machine.layout.packages]
    machine.packages += ["ufw", "iptables"]
    assert write_list(machine, "ufw") == [machine.layout.packages]
    assert Path(machine.layout.packages).read_text() == "iptables\nufw\n"
    assert not os.path.exists(machine.layout.packages_before)
    machine.deploy(plan)
    machine.packages += ["logrotate"]
    write_list(machine, "logrotate")
    assert Path(machine.layout.packages).read_text() == "iptables\nlogrotate\nufw\n"


def test_a_run_that_is_cut_off_while_packages_come_is_made_up_for(machine: Machine, plan: Data) -> None:
    machine.deploy(plan)
    machine.packages += ["ufw"]
    machine.deploy(plan)
    assert write_list(machine) == [machine.layout.packages]
    assert Path(machine.layout.packages).read_text() == "ufw\n"
    assert write_list(machine) == []
