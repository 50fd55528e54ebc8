"""Secrets on their way: what tells that they have changed, the action that sends them, how the host keeps them."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.template import Templar, trust_as_template
from ansible_collections.pyweb.deploy.plugins.action import gunicorn_release as action
from ansible_collections.pyweb.deploy.plugins.action.gunicorn_plan import decide
from ansible_collections.pyweb.deploy.plugins.module_utils import secret_files
from ansible_collections.pyweb.deploy.plugins.module_utils.secret_files import SecretFiles
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import StageError
from ansible_collections.pyweb.deploy.plugins.plugin_utils.secret_values import digest
from ansible_collections.pyweb.deploy.plugins.plugin_utils.variables import defaults
from ansible_collections.pyweb.deploy.tests.unit.deploying import OBSERVED, read
from hypothesis import given, settings
from hypothesis import strategies as st

Data = dict[str, Any]

SECRETS = {"TOKEN": 'it\'s "$HOME" \\ %h ü€\n\n', "KEY": "-----BEGIN-----\nabc\n"}


# What tells that they have changed


def test_the_digest_of_the_same_secrets_is_the_same() -> None:
    assert digest(SECRETS, "shop") == digest(dict(reversed(SECRETS.items())), "shop")
    assert re.fullmatch(r"[0-9a-f]{64}", digest(SECRETS, "shop"))
    assert digest({}, "shop") == ""


def test_whatever_differs_gives_another_digest() -> None:
    several = [{"A": "bc"}, {"AB": "c"}, {"A": "b", "C": ""}, {"A": "bc", "C": ""}, {"A": "b"}, {"A": "bc\n"}]
    assert len({digest(secrets, name) for secrets in several for name in ("shop", "blog")}) == 2 * len(several)


def test_nobody_finds_a_secret_by_trying_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the digest costs is the work of whoever tries: 16 MiB and 2 ** 14 rounds for each guess."""
    asked: list[Data] = []

    def scrypt(_told: bytes, **options: Any) -> bytes:
        asked.append(options)
        return b""

    monkeypatch.setattr(hashlib, "scrypt", scrypt)
    digest(SECRETS, "shop")
    (options,) = asked
    assert 128 * options["n"] * options["r"] >= 16 * 2**20
    assert b"shop" in options["salt"]


# The action that sends them


class Connection(SimpleNamespace):
    """Stands for a connection plugin."""

    def get_option(self, name: str) -> Any:
        return self.options[name]

    def set_option(self, name: str, value: Any) -> None:
        self.options[name] = value

    def is_pipelining_enabled(self, _wrap_async: bool) -> bool:
        return bool(self.options.get("pipelining", self._play_context.pipelining)) and self.able


Send = Callable[..., Data]


@pytest.fixture
def send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Plan, and run the action over a connection that has these options, and can pipeline or not."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/wsgi.py").write_text("app = 1\n")

    def run(able: bool = True, become: str = "", options: Data | None = None, **variables: Any) -> Data:
        context = PlayContext()
        context.pipelining = False
        plugin = SimpleNamespace(name=become) if become else None
        connection = Connection(
            transport="ssh",
            become=plugin,
            options={} if options is None else options,
            able=able,
            _play_context=context,
            _shell=SimpleNamespace(tmpdir=None),
        )
        planned = {"gunicorn_source": {"directory": "app"}, "gunicorn_secrets": SECRETS, **variables.pop("planned", {})}
        known = {**defaults(), "gunicorn_name": "shop", "gunicorn_no_log": True, **planned, **variables}
        known.update(playbook_dir=str(tmp_path), inventory_hostname="web1")
        known["__gunicorn_plan"] = decide(read(tmp_path, planned), OBSERVED)
        task = Task()
        task.action = "pyweb.deploy.gunicorn_release"
        task.args = {"name": "shop", "release": known["__gunicorn_plan"]["id"]}
        found = action.ActionModule(task, connection, context, None, Templar(DataLoader(), known), None)

        def execute(module_name: str, module_args: Data, task_vars: Any) -> Data:
            assert (module_name, bool(task_vars)) == ("pyweb.deploy.gunicorn_release", True)
            payload = json.loads(base64.b64decode(module_args.pop("payload")))
            return {"sent": module_args, "payload": payload, "written": ["KEY"], "invocation": {}}

        monkeypatch.setattr(found, "_execute_module", execute)
        result: Data = found.run(task_vars=known)
        return result

    return run


@pytest.mark.parametrize("options", [{"pipelining": False}, {"pipelining": True}, {}], ids=["off", "on", "no option"])
def test_secrets_travel_through_a_pipe_in_one_argument(send: Send, options: Data) -> None:
    found = send(options=options, planned={"gunicorn_environment": {"A": "1"}})
    assert found["payload"]["secrets"] == SECRETS
    assert set(found["payload"]["files"]) == {"gunicorn.conf.py", "environment", "before_activate"}
    assert found["payload"]["files"]["environment"].endswith('A="1"\n')
    record = json.loads(found["payload"]["record"])
    assert (record["secrets"], record["gunicorn"], record["source"]) == (
        sorted(SECRETS),
        "27.0.1",
        {"directory": "app"},
    )
    assert set(found["sent"]) == {"name", "release", "lease"}, "every other argument is written to the host's journal"
    assert not {"written", "invocation"} & set(found)


def test_only_names_are_shown_where_somebody_asks(send: Send) -> None:
    assert send(gunicorn_no_log=False)["written"] == ["KEY"]


@pytest.mark.parametrize(
    ("become", "words"), [("su", "connection: ssh with become_method: su"), ("", "connection: ssh Ans")]
)
def test_or_not_at_all(send: Send, become: str, words: str) -> None:
    found = send(able=False, become=become, options={"pipelining": False})
    assert "sent" not in found
    assert words in found["problem"]
    assert "Example: ansible_connection: ssh" in found["problem"]
    assert not any(value.strip() in found["problem"] for value in SECRETS.values())
    assert "sent" in send(able=False, become=become, options={"pipelining": False}, planned={"gunicorn_secrets": {}})


def test_secrets_that_cannot_be_read(send: Send) -> None:
    found = send(gunicorn_secrets=trust_as_template("{{ nowhere }}"))
    assert found["problem"].startswith("gunicorn_secrets: ")
    assert "nowhere" in found["problem"]


@pytest.mark.parametrize(
    "changed", [{"gunicorn_secrets": {"TOKEN": "Zq7hunter3"}}, {"gunicorn_environment": {"A": "2"}}]
)
def test_a_value_that_changes_each_time_is_refused(send: Send, changed: Data) -> None:
    """A lookup may give another password each time that it is asked."""
    found = send(**changed)
    assert "sent" not in found
    assert "the configuration isn't the one that was planned" in found["problem"]
    assert "hunter" not in found["problem"]


# How the host keeps them

TOOL = """\
#!/bin/sh
# Encrypts by putting the name in front of what it reads.
case "$1 $2" in
    *=BAD) cat >/dev/null; echo 'no key' >&2; exit 1 ;;
    encrypt*) [ "$3 $4 $5" = '--with-key=host - -' ] || exit 2; printf '%s\\n' "$2"; cat ;;
    decrypt*) [ "$3 $4" = '- -' ] || exit 2; read -r name; [ "$name" = "$2" ] || exit 3; cat ;;
esac
"""


def run_command(command: list[str], data: bytes, **_options: Any) -> tuple[int, bytes, bytes]:
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the secrets go; the user who runs the tests stands for root."""
    monkeypatch.setattr(secret_files, "OWNER", (os.getuid(), os.getgid()))
    tool = tmp_path / "bin/systemd-creds"
    tool.parent.mkdir()
    tool.write_text(TOOL)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return tmp_path / "release/secrets"


def keep(directory: Path, encrypt: bool = False, secrets: Data | None = None) -> list[str]:
    """Write them where anything is to be done; names of those that were written."""
    files = SecretFiles(run_command, str(directory), secrets or SECRETS, encrypt)
    differing = files.differing()
    if files.need_work(differing):
        files.write(differing)
    assert not files.need_work(files.differing())
    return differing


def held(directory: Path) -> dict[str, str]:
    return {path.name: path.read_bytes().decode() for path in directory.iterdir()}


@pytest.mark.parametrize("encrypt", [False, True])
def test_they_are_written_once(directory: Path, encrypt: bool) -> None:
    before = os.umask(0)
    try:
        assert keep(directory, encrypt) == ["KEY", "TOKEN"]
    finally:
        os.umask(before)
    front = "--name={}\n" if encrypt else ""
    assert held(directory) == {name: front.format(name) + value for name, value in SECRETS.items()}
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    stamps = {path: path.stat().st_ino for path in directory.iterdir()}
    assert keep(directory, encrypt) == []
    assert {path: path.stat().st_ino for path in directory.iterdir()} == stamps


@pytest.mark.parametrize("encrypt", [False, True])
@pytest.mark.parametrize(
    "harm",
    [
        lambda directory: (directory / "KEY").unlink(),
        lambda directory: (directory / "KEY").write_text("other"),
        lambda directory: (directory / "KEY").chmod(0o644),
        lambda directory: os.truncate(directory / "KEY", 3),
        lambda directory: (directory / "KEY").rename(directory / "gone") and (directory / "KEY").symlink_to("gone"),
    ],
    ids=["gone", "other", "open", "cut", "link"],
)
def test_what_is_wrong_is_fixed(directory: Path, harm: Callable[[Path], object], encrypt: bool) -> None:
    keep(directory, encrypt)
    good = held(directory)
    harm(directory)
    assert keep(directory, encrypt) == ["KEY"]
    assert held(directory) == good
    assert not (directory / "KEY").is_symlink()
    assert (directory / "KEY").stat().st_mode & 0o777 == 0o600


def test_what_is_no_secret_is_removed(directory: Path) -> None:
    keep(directory)
    (directory / ".KEY.new").write_text("what an interrupted run left")
    (directory / "directory").mkdir()
    (directory / "directory/file").touch()
    assert keep(directory, secrets={"KEY": SECRETS["KEY"]}) == []
    assert held(directory) == {"KEY": SECRETS["KEY"]}


def test_a_directory_that_others_may_enter(directory: Path) -> None:
    keep(directory)
    directory.chmod(0o755)
    assert keep(directory) == []
    assert directory.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_encrypted(directory: Path) -> None:
    with pytest.raises(StageError, match=r"^systemd-creds could not encrypt BAD: no key$"):
        keep(directory, True, {"BAD": "Zq7hunter2"})
    assert list(directory.iterdir()) == []


def test_what_cannot_be_written(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("a file")
    with pytest.raises(FileExistsError):
        keep(directory)


@settings(max_examples=30)
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5))
def test_every_byte_is_kept(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    directory = tmp_path_factory.mktemp("secrets")
    secrets = {f"S{number}": value for number, value in zip(itertools.count(), values, strict=False)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secret_files, "OWNER", (os.getuid(), os.getgid()))
        keep(directory, secrets=secrets)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == {
        name: value.encode() for name, value in secrets.items()
    }
