"""Secrets on their way: what tells that they have changed, the action that brings them, the module that writes them."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible_collections.pyweb.deploy.plugins.action import ship_secrets as action
from ansible_collections.pyweb.deploy.plugins.modules import ship_secrets
from ansible_collections.pyweb.deploy.plugins.plugin_utils.secret_values import digest
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


# The action that brings them


class Connection(SimpleNamespace):
    """Stands for a connection plugin."""

    def get_option(self, name: str) -> Any:
        return self.options[name]

    def set_option(self, name: str, value: Any) -> None:
        self.options[name] = value

    def is_pipelining_enabled(self, _wrap_async: bool) -> bool:
        return bool(self.options.get("pipelining", self._play_context.pipelining)) and self.able


Bring = Callable[..., Data]


@pytest.fixture
def bring(monkeypatch: pytest.MonkeyPatch) -> Bring:
    """Run the action over a connection that has these options, and can pipeline or not."""

    def run(able: bool = True, become: str = "", **options: Any) -> Data:
        context = PlayContext()
        context.pipelining = False
        plugin = SimpleNamespace(name=become) if become else None
        connection = Connection(
            transport="ssh",
            become=plugin,
            options=options,
            able=able,
            _play_context=context,
            _shell=SimpleNamespace(tmpdir=None),
        )
        task = Task()
        task.args = {"path": "/opt/shop/secrets", "secrets": SECRETS}
        found = action.ActionModule(task, connection, context, None, None, None)
        monkeypatch.setattr(found, "_execute_module", lambda **arguments: {"sent": arguments["module_args"]})
        return found.run(task_vars={})

    return run


@pytest.mark.parametrize("options", [{"pipelining": False}, {"pipelining": True}, {}], ids=["off", "on", "no option"])
def test_secrets_travel_through_a_pipe(bring: Bring, options: Data) -> None:
    assert bring(**options)["sent"]["secrets"] == SECRETS


@pytest.mark.parametrize(
    ("become", "words"), [("su", "connection: ssh with become_method: su"), ("", "connection: ssh Ans")]
)
def test_or_not_at_all(bring: Bring, become: str, words: str) -> None:
    with pytest.raises(AnsibleActionFail) as refused:
        bring(able=False, become=become, pipelining=False)
    message = str(refused.value)
    assert words in message
    assert "Example: ansible_connection: ssh" in message
    assert not any(value.strip() in message for value in SECRETS.values())


# The module that writes them

TOOL = """\
#!/bin/sh
# Encrypts by putting the name in front of what it reads.
case "$1 $2" in
    *=BAD) cat >/dev/null; echo 'no key' >&2; exit 1 ;;
    encrypt*) [ "$3 $4 $5" = '--with-key=host - -' ] || exit 2; printf '%s\\n' "$2"; cat ;;
    decrypt*) [ "$3 $4" = '- -' ] || exit 2; read -r name; [ "$name" = "$2" ] || exit 3; cat ;;
esac
"""

Ship = Callable[..., Data]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the secrets go; the user who runs the tests stands for root."""
    monkeypatch.setattr(ship_secrets, "OWNER", (os.getuid(), os.getgid()))
    tool = tmp_path / "bin/systemd-creds"
    tool.parent.mkdir()
    tool.write_text(TOOL)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return tmp_path / "generation/secrets"


@pytest.fixture
def ship(directory: Path, capsys: pytest.CaptureFixture[str]) -> Ship:
    """Run the module."""

    def run(**arguments: Any) -> Data:
        arguments = {"path": str(directory), "secrets": SECRETS, **arguments}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            ship_secrets.main()
        told = capsys.readouterr().out
        assert not any(value.strip() in told for value in arguments["secrets"].values())
        found: Data = json.loads(told)
        return found

    return run


def held(directory: Path) -> dict[str, str]:
    return {path.name: path.read_bytes().decode() for path in directory.iterdir()}


@pytest.mark.parametrize("encrypt", [False, True])
def test_they_are_written_once(ship: Ship, directory: Path, encrypt: bool) -> None:
    before = os.umask(0)
    try:
        first = ship(encrypt=encrypt)
    finally:
        os.umask(before)
    assert (first["changed"], first["written"], first["removed"]) == (True, ["KEY", "TOKEN"], [])
    front = "--name={}\n" if encrypt else ""
    assert held(directory) == {name: front.format(name) + value for name, value in SECRETS.items()}
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    stamps = {path: path.stat().st_ino for path in directory.iterdir()}
    again = ship(encrypt=encrypt)
    assert (again["changed"], again["written"], again["removed"]) == (False, [], [])
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
def test_what_is_amiss_is_mended(ship: Ship, directory: Path, harm: Callable[[Path], object], encrypt: bool) -> None:
    ship(encrypt=encrypt)
    good = held(directory)
    harm(directory)
    bad = held(directory)
    predicted = ship(encrypt=encrypt, _ansible_check_mode=True)
    assert (predicted["changed"], predicted["written"]) == (True, ["KEY"])
    assert held(directory) == bad
    mended = ship(encrypt=encrypt)
    assert {key: mended[key] for key in ("changed", "written", "removed")} == {
        key: predicted[key] for key in ("changed", "written", "removed")
    }
    assert held(directory) == good
    assert not (directory / "KEY").is_symlink()
    assert (directory / "KEY").stat().st_mode & 0o777 == 0o600


def test_what_is_no_secret_is_removed(ship: Ship, directory: Path) -> None:
    ship()
    (directory / ".KEY.new").write_text("what an interrupted run left")
    (directory / "directory").mkdir()
    (directory / "directory/file").touch()
    found = ship(secrets={"KEY": SECRETS["KEY"]})
    assert (found["changed"], found["written"]) == (True, [])
    assert found["removed"] == [".KEY.new", "TOKEN", "directory"]
    assert held(directory) == {"KEY": SECRETS["KEY"]}


def test_a_directory_that_others_may_enter(ship: Ship, directory: Path) -> None:
    ship()
    directory.chmod(0o755)
    assert ship(_ansible_check_mode=True)["changed"] is True
    found = ship()
    assert (found["changed"], found["written"]) == (True, [])
    assert directory.stat().st_mode & 0o777 == 0o700


def test_check_mode_of_a_first_run(ship: Ship, directory: Path) -> None:
    for encrypt in (False, True):
        found = ship(encrypt=encrypt, _ansible_check_mode=True)
        assert (found["changed"], found["written"]) == (True, ["KEY", "TOKEN"])
        assert not directory.parent.exists()


def test_what_cannot_be_encrypted(ship: Ship, directory: Path) -> None:
    found = ship(secrets={"BAD": "Zq7hunter2"}, encrypt=True)
    assert found["failed"] is True
    assert found["msg"] == "systemd-creds could not encrypt BAD: no key"
    assert list(directory.iterdir()) == []


def test_what_cannot_be_written(ship: Ship, directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("a file")
    found = ship()
    assert found["failed"] is True
    assert found["msg"] == f"can't write to {directory}: File exists"


@settings(max_examples=30)
@given(values=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=5))
def test_every_byte_is_kept(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    directory = tmp_path_factory.mktemp("secrets")
    secrets = {f"S{number}": value for number, value in zip(itertools.count(), values, strict=False)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ship_secrets, "OWNER", (os.getuid(), os.getgid()))
        patch.setattr(AnsibleModule, "exit_json", lambda _self, **_result: None)
        with patch_module_args({"path": str(directory), "secrets": secrets}):
            ship_secrets.main()
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == {
        name: value.encode() for name, value in secrets.items()
    }
