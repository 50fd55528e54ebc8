"""Secrets: every byte of them reaches the application, and nothing else ever holds one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, SSH_CONFIG, Play, fresh_server
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from .conftest import Controller, Server, slot

Variables = dict[str, Any]

ON_LAST = pytest.mark.parametrize("server", RELEASES[-1:], indirect=True)

CODE = """\
import hashlib
import json
import os
import subprocess
from pathlib import Path


def digests(values):
    return {os.fsdecode(name): hashlib.sha256(value).hexdigest() for name, value in values.items()}


# Without its secrets, it can't even be imported.
FILES = {path.name: path.read_bytes() for path in Path(os.environ["CREDENTIALS_DIRECTORY"]).iterdir()}
TOKEN = FILES["TOKEN"]


def keep():
    seen = {**digests(os.environb), "from": os.environ["CREDENTIALS_DIRECTORY"]}
    Path(os.environ["STATE_DIRECTORY"], "commands.json").write_text(json.dumps(seen))


def names(environment):
    return [line.partition(b"=")[0].decode() for line in environment.split(b"\\0")]


def app(environ, start_response):
    child = subprocess.run(["cat", "/proc/self/environ"], stdout=subprocess.PIPE, check=True).stdout
    answer = {
        "files": digests(FILES),
        "environment": digests(os.environb),
        "proc": names(Path("/proc/self/environ").read_bytes()),
        "child": names(child),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
"""
COMMAND = "python -c 'import wsgi; wsgi.keep()'"
PIECES = (
    *("'", '"', "'''", "\\", "\\\\", "\\n", "\n", "\n\n", "\r\n", "\r", "\t", "\v", "\x01", "\x1b", "\x7f", " ", "  "),
    *(
        "$",
        "$$",
        "$HOME",
        "${HOME}",
        "$(id)",
        "`id`",
        "!",
        "!!",
        "%",
        "%%",
        "%h",
        "%(h)s",
        "#",
        ";",
        "&",
        "|",
        "*",
        "?",
    ),
    *(
        "{{",
        "}}",
        "{{ 1 }}",
        "{% if %}",
        "{#",
        "#}",
        "{{ lookup('pipe', 'id') }}",
        "!vault",
        "!unsafe",
        "---",
        ": ",
        "=",
    ),
    *(
        "é",
        "ü",
        "€",
        "𝄞",
        "\u0081",
        "\u0088",
        "\u2028",
        "\ufeff",
        "\ufffd",
        "ÁÂÃÄÅÆÇÈ",
        "-n",
        "-e",
        "true",
        "0",
        "0x1F",
    ),
)
VAULT_WORD = "a vault's password"


def generated() -> list[str]:
    """Texts of what could go wrong and of anything else, the same in each run."""
    found: list[str] = []
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    texts = st.lists(st.sampled_from(PIECES) | st.text(letters, max_size=5), min_size=1, max_size=8).map("".join)

    @settings(max_examples=60, derandomize=True, database=None, phases=[Phase.generate])
    @given(texts.filter(len))
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return found


def round_trip() -> dict[str, str]:
    """Names and values of all secrets to send there and back."""
    lines = "-----BEGIN KEY-----\nabc\n-----END KEY-----\n"
    mixed = ("".join(PIECES) * 400).encode()[: 2**16].decode(errors="ignore")
    largest = "$" * (128 * 2**10 - len("LARGEST") - 2)
    numbered = {f"VALUE_{number}": value for number, value in enumerate([*PIECES, *generated()])}
    return {"TOKEN": "plain", "LINES": lines, "MIXED": mixed, "KIB_64": "x" * 2**16, "LARGEST": largest, **numbered}


def digests(values: dict[str, str]) -> dict[str, str]:
    return {name: hashlib.sha256(value.encode()).hexdigest() for name, value in values.items()}


def current(server: Server) -> str:
    return server.run("basename $(readlink /opt/hello/current)")


@pytest.fixture(
    scope="module",
    params=[*(pytest.param(release, marks=pytest.mark.full) for release in RELEASES[:-1]), RELEASES[-1]],
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Give a server of this module's own, since all of its disk is searched."""
    yield from fresh_server(f"it-secrets-{request.param}", request.param)


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """Run plays from a directory of this module's own, since all of it is searched."""
    return Controller(tmp_path_factory.mktemp("secrets"), SSH_CONFIG)


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """Give an application that reports digests of what reached it."""
    directory = tmp_path / "application"
    directory.mkdir()
    (directory / "wsgi.py").write_text(CODE)
    return directory


@pytest.fixture
def variables(application: Path) -> Variables:
    """Give what a user sets, but for the secrets."""
    return {
        "gunicorn_name": "hello",
        "gunicorn_source": {"directory": str(application)},
        "gunicorn_settings": {"workers": 1},
        "gunicorn_health": {"watch": 0},
        "gunicorn_firewall": False,
        "gunicorn_keep_releases": 2,
    }


@pytest.fixture(scope="module")
def vaulted(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Give the arguments with which a play finds all secrets: in a file, in a vault, one encrypted in place."""
    values = round_trip()
    directory = tmp_path_factory.mktemp("vault")
    word, vault, inline, file = (directory / name for name in ("word", "vault.json", "inline.yml", "values.json"))
    word.write_text(VAULT_WORD)
    vault.write_text(json.dumps({"vault_lines": values.pop("LINES")}))
    file.write_text(json.dumps(values))
    encrypt = ["ansible-vault", "encrypt", "--vault-password-file", str(word)]
    subprocess.run([*encrypt, str(vault)], check=True, capture_output=True)
    token = ["ansible-vault", "encrypt_string", "--vault-password-file", str(word), values["TOKEN"], "--name", "inline"]
    done = subprocess.run(token, check=True, capture_output=True, text=True)
    secrets = f"{{{{ lookup('ansible.builtin.file', '{file}') | from_json | combine(more) }}}}"
    more = '{LINES: "{{ vault_lines }}", TOKEN: "{{ inline }}"}'
    inline.write_text(f'{done.stdout}\nmore: {more}\ngunicorn_secrets: "{secrets}"\n')
    return ["--vault-password-file", str(word), "-e", f"@{vault}", "-e", f"@{inline}"]


@pytest.fixture
def everything(variables: Variables) -> Variables:
    """Give what a user sets, for secrets that reach all that can have them."""
    return {**variables, "gunicorn_secrets_environment": True, "gunicorn_before_activate": [COMMAND]}


def test_secrets_arrive_byte_for_byte(
    controller: Controller, server: Server, everything: Variables, vaulted: list[str]
) -> None:
    play = controller.play(server, everything, *vaulted)
    assert play, play.output
    all_arrived(server, "/run/credentials/hello-check.service")
    assert server.run(f"grep -rl plain {directory(server)}; true") == "", "they are encrypted"
    credential = f"/run/credentials/{slot(server)}/TOKEN"
    assert server.run(f"runuser -u hello cat {credential}") == "plain"
    assert server.run(f"runuser -u nobody cat {credential} 2>/dev/null", check=False) == ""


def all_arrived(server: Server, seen_by_commands: str) -> None:
    """Whatever can have the secrets has every byte of them, and on the disk they are root's alone."""
    wanted = digests(round_trip())
    assert len(wanted) > 120
    found = json.loads(server.get())
    commands = json.loads(server.run("cat /var/lib/gunicorn/hello/commands.json"))
    assert found["files"] == wanted
    assert {name: found["environment"].get(name) for name in wanted} == wanted
    assert {name: commands.get(name) for name in wanted} == wanted
    assert commands["from"] == seen_by_commands
    assert not set(wanted) & set(found["proc"]), "nobody finds them in the process itself"
    assert set(wanted) <= set(found["child"]), "but in what it starts"
    assert server.run(f"stat -c '%a %U %G' {directory(server)}") == "700 root root"
    assert server.run(f"find {directory(server)} -type f -printf '%m %u %g\\n' | sort -u") == "600 root root"
    server.run("systemctl reload hello")


def directory(server: Server) -> str:
    return f"/opt/hello/releases/{current(server)}/secrets"


@pytest.mark.full
@pytest.mark.parametrize("server", RELEASES[:1], indirect=True)
def test_a_host_that_cannot_encrypt(
    controller: Controller, server: Server, everything: Variables, vaulted: list[str]
) -> None:
    """As Ubuntu 22.04, whose systemd has no such program, and shows credentials to the service alone."""
    server.run("mv /usr/bin/systemd-creds /root")
    try:
        play = controller.play(server, everything, *vaulted)
        assert play, play.output
        all_arrived(server, "/run/gunicorn/hello-check.credentials")
        assert server.run(f"cat {directory(server)}/TOKEN") == "plain"
        assert server.run("find /run/gunicorn -name '*credentials'") == "", "the copies go with the check"
        again = controller.play(server, everything, *vaulted)
        assert (again.rc, again.changed) == (0, 0), again.output
    finally:
        server.run("mv /root/systemd-creds /usr/bin")


@ON_LAST
def test_a_run_with_nothing_to_do(
    controller: Controller, server: Server, everything: Variables, vaulted: list[str]
) -> None:
    again = controller.play(server, everything, *vaulted, "-vvv")
    assert (again.rc, again.changed) == (0, 0), again.output
    assert again.executions <= 2, again.output


@ON_LAST
def test_a_forced_run_writes_what_was_damaged(
    controller: Controller, server: Server, everything: Variables, vaulted: list[str]
) -> None:
    secrets = directory(server)
    damaged = f"{secrets}/TOKEN"
    server.run(f"echo damaged >{damaged}")
    before = set(server.stamps(secrets).splitlines())
    forced = controller.play(server, {**everything, "gunicorn_force": True}, *vaulted)
    assert (forced.rc, forced.changed) == (0, 1), forced.output
    assert server.run(f"systemd-creds decrypt {damaged} -") == "plain"
    written = {line.split()[0] for line in set(server.stamps(secrets).splitlines()) - before}
    assert written == {secrets, damaged}, "the others are as they were"


class Machine:
    """The user's machine, with places for whatever Ansible leaves behind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        names = {
            "TMPDIR": "tmp",
            "ANSIBLE_LOCAL_TEMP": "local",
            "ANSIBLE_HOME": "home",
            "ANSIBLE_RETRY_FILES_SAVE_PATH": "retry",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": "facts",
        }
        for name in names.values():
            (directory / name).mkdir()
        self.environment = {name: str(directory / place) for name, place in names.items()}
        self.environment["ANSIBLE_LOG_PATH"] = str(directory / "log")
        self.environment.update(ANSIBLE_CACHE_PLUGIN="ansible.builtin.jsonfile", ANSIBLE_RETRY_FILES_ENABLED="true")

    @contextlib.contextmanager
    def searched(self, *needles: str) -> Iterator[set[tuple[str, str]]]:
        """Collect which of these places held which of the texts, at any time."""
        found: set[tuple[str, str]] = set()
        stop = threading.Event()
        command = ["grep", "-rsaoF", "--file=-", "."]

        def search() -> None:
            options: Variables = {"capture_output": True, "text": True, "cwd": self.directory}
            done = subprocess.run(command, check=False, input="\n".join(needles), **options)
            found.update(re.findall(r"^\./(\w+).*:(.+)$", done.stdout, re.MULTILINE))

        def search_again_and_again() -> None:
            while not stop.wait(0.05):
                search()

        thread = threading.Thread(target=search_again_and_again)
        thread.start()
        try:
            yield found
        finally:
            stop.set()
            thread.join()
            search()


CANARIES = ("kanarienvogel-Zq7", "girlitz-Xk4", "zeisig-Wv9", "stieglitz-Pb2")
"""Secrets that are looked for; the environment of the play has them, so that they are in no file."""

MARKER = "everybody-reads-this"
"""What is looked for in the same way, and found."""


def lookup(number: int) -> str:
    return f"{{{{ lookup('ansible.builtin.env', 'CANARY_{number}') }}}}"


def run_unseen(
    controller: Controller, server: Server, variables: Variables, machine: Machine
) -> tuple[Play, list[str], set[tuple[str, str]]]:
    """Run a play that tells all it can; nobody reads a secret in its output or in a file of the user's machine."""
    environment = {**machine.environment, **{f"CANARY_{number}": word for number, word in enumerate(CANARIES)}}
    with machine.searched(*CANARIES, MARKER) as written, server.sampled() as samples:
        play = controller.play(server, variables, "-vvv", "--diff", environment=environment)
    assert [word for _place, word in written if word in CANARIES] == []
    assert [word for word in CANARIES if word in play.output] == []
    assert [line for line in samples if line.startswith("cmdline") and any(word in line for word in CANARIES)] == []
    told = server.run("systemctl show 'hello*'; systemctl cat 'hello*'")
    assert [word for word in CANARIES if word in told] == []
    return play, samples, written


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"))


@pytest.fixture
def as_environment(variables: Variables, tmp_path: Path) -> Variables:
    """Give what a user sets, for the second secret as an environment variable, beside one that is no secret."""
    # A task of the user's own, with a module that writes to the controller's disk.
    hook = tmp_path / "enroll.yml"
    hook.write_text(
        """
- name: Write down what is no secret
  ansible.builtin.copy:
    content: "{{ gunicorn_environment.MARKER }}"
    dest: /srv/marker
    mode: "0600"
"""
    )
    return {
        **variables,
        "gunicorn_secrets": {"TOKEN": lookup(1)},
        "gunicorn_secrets_environment": True,
        "gunicorn_environment": {"MARKER": MARKER},
        "gunicorn_before_activate": [COMMAND, f"python -c 'import time; time.sleep(0.5)' {MARKER}"],
        "gunicorn_enroll_tasks": str(hook),
    }


# A secret is rotated and nobody else ever reads it: each test goes on from what the one before left.


@ON_LAST
def test_a_name_that_is_refused(controller: Controller, server: Server, variables: Variables, machine: Machine) -> None:
    bad = {"gunicorn_secrets": {"TOKEN": lookup(0), "1TOKEN": lookup(1)}}
    play, *_unused = run_unseen(controller, server, {**variables, **bad}, machine)
    assert not play
    assert "gunicorn_secrets: name 2 is not one for an environment variable" in play.output


@ON_LAST
def test_a_secret_in_a_file(controller: Controller, server: Server, variables: Variables, machine: Machine) -> None:
    variables["gunicorn_secrets"] = {"TOKEN": lookup(0)}
    play, samples, _written = run_unseen(controller, server, variables, machine)
    assert play, play.output
    assert token(server) == CANARIES[0]
    assert [line for line in samples if CANARIES[0] in line] == []


@ON_LAST
def test_the_next_secret_in_the_environment(
    controller: Controller, server: Server, as_environment: Variables, machine: Machine
) -> None:
    first = current(server)
    play, samples, written = run_unseen(controller, server, as_environment, machine)
    assert play, play.output
    assert token(server) == CANARIES[1]
    second = current(server)
    assert sorted(server.run("ls /opt/hello/releases").split()) == sorted([first, second]), "older secrets are gone"
    assert any(CANARIES[1] in line for line in samples), "what the application starts has it in its environment"
    nobody_else_has(server, CANARIES[:2])

    # What is no secret is found in the same ways.
    assert ("local", MARKER) in written
    assert MARKER in play.output
    assert {line.split()[0] for line in samples if MARKER in line} == {"cmdline", "environ"}
    holding = server.holding(MARKER)
    assert f"/opt/hello/releases/{second}/environment" in holding
    assert [line for line in holding.splitlines() if "Invoked with" in line] == []
    assert f"MESSAGE=gunicorn_before_activate: python -c 'import time; time.sleep(0.5)' {MARKER}" in holding


@ON_LAST
def test_a_release_that_fails(
    controller: Controller, server: Server, as_environment: Variables, machine: Machine, application: Path
) -> None:
    before = current(server)
    (application / "wsgi.py").write_text(CODE + "raise RuntimeError('not today')\n")
    change = {"gunicorn_secrets": {"TOKEN": lookup(2)}, "gunicorn_no_log": False}
    play, *_unused = run_unseen(controller, server, {**as_environment, **change}, machine)
    assert not play
    assert "RuntimeError: not today" in play.output
    assert "written:" in play.output, "without no_log the task shows its result"
    nobody_else_has(server, CANARIES)
    assert current(server) == before


@ON_LAST
def test_back_to_the_secret_before(controller: Controller, server: Server, machine: Machine) -> None:
    second = current(server)
    back = {"gunicorn_name": "hello", "gunicorn_release": "previous", "gunicorn_keep_releases": 2}
    play, *_unused = run_unseen(controller, server, back, machine)
    assert play, play.output
    assert token(server) == CANARIES[0]
    first = current(server)
    assert first != second
    assert sorted(server.run("ls /opt/hello/releases").split()) == sorted([first, second])


def token(server: Server) -> str:
    """Which secret the application has."""
    known = {digest: word for word, digest in digests(dict(zip(CANARIES, CANARIES, strict=True))).items()}
    return known[json.loads(server.get())["files"]["TOKEN"]]


def nobody_else_has(server: Server, secrets: tuple[str, ...]) -> None:
    """No file has one and no line of the journal, but for what systemd keeps in memory for the service."""
    assert set(server.holding(*secrets).splitlines()) <= {f"/run/credentials/{slot(server)}/TOKEN"}
