"""What comes of the role's variables: configurations that Gunicorn loads, units without contradictions, a plan.

Each case goes from variables to texts and a plan for an imaginary server, all in this process; nothing changes this
machine. tests/integration plays the role itself.
"""

from __future__ import annotations

import ast
import asyncio
import io
import json
import os
import re
import runpy
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.pyweb.deploy.plugins.action.gunicorn_plan import decide
from ansible_collections.pyweb.deploy.plugins.module_utils.source import nothing
from ansible_collections.pyweb.deploy.plugins.module_utils.venv import Request
from ansible_collections.pyweb.deploy.plugins.modules.gunicorn_venv import ARGUMENTS, make_request
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import Application, Removal
from ansible_collections.pyweb.deploy.plugins.plugin_utils.plan import make_plan
from ansible_collections.pyweb.deploy.plugins.plugin_utils.variables import VariableError, defaults
from ansible_collections.pyweb.deploy.tests.unit.deploying import OBSERVED, plan, read
from ansible_collections.pyweb.deploy.tests.unit.observed import NEW_SERVER
from ansible_collections.pyweb.deploy.tests.unit.systemd import read_environment, read_unit
from gunicorn.config import Config
from gunicorn.instrument.statsd import Statsd

Data = dict[str, Any]

NASTY = 'it\'s "quoted" \\ {a} {{ no jinja }} {% nor this %} {# nor that #} 100% %(h)s $HOME `id` ü€\nsecond line\t'
HOOK = 'def on_starting(server):\n    return "%s {{ braces }} it\'s \\"up\\"" % {"a": {"b": 1}}\n'

COMMANDS = [
    """printf '%s|' "it's" '{{ no jinja }} {% nor this %}' "$((6 * 7))"; echo""",
    "for each in 1 2\ndo echo $each\ndone",
    NASTY.replace("\n", " ").join(("echo '", "'")).replace("it's", "its"),
]
OWN_HOOKS = """
def when_ready(server):
    server.own.append("when_ready")


def post_worker_init(worker):
    worker.own.append("post_worker_init")
"""
TLS: Data = {"certfile": "/root/shop.pem", "keyfile": "/root/shop key.pem", "ciphers": "ECDHE+AESGCM"}
OVERRIDES: Data = {
    "ProtectHome": "read-only",
    "PrivateTmp": False,
    "TimeoutStopSec": 99,
    "UMask": "0022",
    "SystemCallFilter": [],
    "ReadWritePaths": ["/srv/a", "/srv/b c"],
    "MemoryMax": "512M",
}

LOGS = "/var/log/gunicorn/shop"
SAME_CODE = "git", "archive"
"""Cases whose code is that of the case plain, from somewhere else."""

THERE: Data = {
    "digest": "eeeeeeeeeeee",
    "requirements_files": ["requirements.txt"],
    "requirements": ["flask==3.1.3"],
    "has_module": True,
}
"""What gunicorn_info would return for an application that is on the host."""

UV = (Path(__file__).parents[2] / "roles/gunicorn/files/uv.txt").read_text().split()[0].replace("==", "-")
"""What the role calls the uv that it installs."""

HASHED = "gunicorn==27.0.1 --hash=sha256:ab\n"

CASES: dict[str, Data] = {
    "plain": {},
    "nasty": {
        "gunicorn_wsgi_app": "wsgi:create_app('it', 1)",
        "gunicorn_settings": {
            "proc_name": NASTY,
            "access_log_format": NASTY,
            "raw_env": [f"A={NASTY}"],
            "secure_scheme_headers": {"X-FORWARDED-PROTO": "https", "X-'": '"'},
            "preload_app": True,
            "statsd_host": None,
        },
        "gunicorn_environment": {"NASTY": NASTY, "EMPTY": "", "NUMBER": 1, "FLAG": True},
        "gunicorn_conf_extra": HOOK,
        "gunicorn_before_activate": COMMANDS,
    },
    "asgi": {"gunicorn_settings": {"worker_class": "asgi"}},
    "asgi_keepalive": {"gunicorn_settings": {"worker_class": "asgi", "keepalive": 5}},
    "asgi_hooks": {
        "gunicorn_settings": {"worker_class": "asgi", "backlog": 77},
        "gunicorn_conf_extra": OWN_HOOKS,
    },
    "hooks": {"gunicorn_conf_extra": OWN_HOOKS},
    "tls": {"gunicorn_settings": TLS, "gunicorn_service_options": {"LoadCredential": "token:/root/token"}},
    "tornado": {"gunicorn_settings": {"worker_class": "tornado"}, "gunicorn_conf_extra": OWN_HOOKS},
    "tornado_keepalive": {"gunicorn_settings": {"worker_class": "tornado", "keepalive": 5}},
    "commands": {"gunicorn_before_activate": ["flask --app shop db upgrade"]},
    "long_commands": {
        "gunicorn_before_activate": ["sleep 1000"],
        "gunicorn_before_activate_timeout": "1800",
        "gunicorn_health": {"timeout": 100},
    },
    "sync": {"gunicorn_settings": {"worker_class": "sync"}},
    "gevent": {"gunicorn_settings": {"worker_class": "gevent"}},
    "sized": {"gunicorn_settings": {"workers": 4, "backlog": "77", "graceful_timeout": "90"}},
    "sized_there": {
        "gunicorn_settings": {"workers": 4},
        "gunicorn_conf_extra": "threads = min(available_cpus(), available_memory() // 2**30)\n",
    },
    "binds": {
        "gunicorn_bind": ["192.0.2.5:8000", "[2001:db8::5]:8000", "127.0.0.1:8001", "unix:/run/shop.sock"],
        "gunicorn_firewall_sources": ["198.51.100.7/32", "2001:db8:1::/48"],
        "gunicorn_firewall_interface": "wg0",
        "gunicorn_firewall_limit": "yes",
    },
    "soft": {"gunicorn_hardening": False},
    "files": {"gunicorn_logs": "files"},
    "own_files": {"gunicorn_settings": {"accesslog": None, "errorlog": "/srv/error.log"}},
    "json": {"gunicorn_access_log": "json", "gunicorn_settings": {"statsd_host": "127.0.0.1:8125"}},
    "more_requirements": {"gunicorn_requirements": ["requirements.txt", "more.txt"]},
    "hashes": {"gunicorn_require_hashes": "yes", "gunicorn_requirements": "hashed.txt"},
    "more_packages": {"gunicorn_packages": ["redis==7.0"]},
    "itself": {"gunicorn_packages": [".[web]"]},
    "itself_changed": {
        "gunicorn_packages": [".[web]"],
        "gunicorn_source": {"directory": "app", "exclude": ["more.txt"]},
    },
    "editable": {"gunicorn_requirements": "editable.txt"},
    "wheelhouse": {"gunicorn_wheelhouse": "wheels"},
    "uv": {"gunicorn_installer": "uv", "gunicorn_packages": ["it's a<9"]},
    "uv_lock": {"gunicorn_installer": "uv", "gunicorn_requirements": "uv.lock"},
    "pylock": {"gunicorn_installer": "uv", "gunicorn_requirements": "pylock.toml"},
    "uv_hashes": {"gunicorn_installer": "uv", "gunicorn_require_hashes": "yes", "gunicorn_requirements": "hashed.txt"},
    "overridden": {"gunicorn_service_options": OVERRIDES},
    "own_user": {"gunicorn_user": "www-data"},
    "git": {"gunicorn_source": {"git": "https://git.example.org/shop.git", "version": "v1"}},
    "archive": {"gunicorn_source": {"archive": "shop-1.2.tar.gz"}},
    "package": {"gunicorn_source": {"package": "shop==1.2"}},
    "wheel": {"gunicorn_source": {"package": "shop-1.2-py3-none-any.whl"}},
    "existing": {
        "gunicorn_source": {"existing": "/srv/shop", "marker": "REVISION"},
        "observed": {**OBSERVED, "source": {**nothing("/srv/shop", ""), **THERE}},
    },
    "texts": {
        "gunicorn_hardening": "no",
        "gunicorn_firewall": "no",
        "gunicorn_keep_releases": "5",
        "gunicorn_force": "yes",
        "gunicorn_health": {"timeout": "5", "watch": "11"},
    },
}
HIDDEN = "s3cret"
SECRETS = {"TOKEN": f"{HIDDEN} {NASTY}\n\n", "KEY": f"-----{HIDDEN}-----\n", "_A": "\u0081\u0085\u0088" + HIDDEN}
OLD_SYSTEMD = {**OBSERVED, "encrypts": False}
CASES.update(
    {
        "secrets": {"gunicorn_secrets": SECRETS},
        "secrets_rotated": {"gunicorn_secrets": {**SECRETS, "KEY": "another"}},
        "secrets_as_files": {
            "gunicorn_secrets": SECRETS,
            "gunicorn_before_activate": ["true"],
            "observed": OLD_SYSTEMD,
        },
        "secrets_environment": {
            "gunicorn_secrets": SECRETS,
            "gunicorn_secrets_environment": "yes",
            "gunicorn_before_activate": [f"{shlex.quote(sys.executable)} -c 'import os; print(dict(os.environb))'"],
        },
    }
)
SAME: dict[str, Data] = {
    "index": {"gunicorn_index_url": f"https://joe:{HIDDEN}@a.example/simple"},
    "more_indexes": {
        "gunicorn_extra_index_urls": ["https://a.example/simple", f"http://:{HIDDEN}@127.0.0.1:8080/simple"],
    },
    "all_indexes": {
        "gunicorn_index_url": "https://a.example/simple",
        "gunicorn_extra_index_urls": ["https://b.example/simple", "https://c.example/simple"],
    },
    "system_packages": {"gunicorn_system_packages": ["libpq-dev", "gcc"]},
}
"""Cases that install the same release as `plain`."""
RECORD: Data = {
    "id": "3fa92c1b0d4e",
    "created": "2026-06-01T00:00:00Z",
    "code": "aaaaaaaaaaaa",
    "existing": "",
    "venv": "bbbbbbbbbbbb",
    "user": "shop",
    "addresses": [
        {
            "host": "0.0.0.0",
            "port": 9000,
            "path": "",
            "listen_stream": "0.0.0.0:9000",
            "needs_rule": True,
            "destination": "any",
        }
    ],
    "tls": False,
    "passed": {"path": "/alive", "watch": 9},
    "slot_unit": "# @release@ in @slot@\n",
    "check_unit": "# @release@ in private\n",
    "private_socket": "# @slot@\n",
    "public_socket": "ListenStream=0.0.0.0:9000\n",
    "log_rotation": "",
    "secrets": [],
    "settings": {},
    "environment": [],
    "served": True,
    "failed": False,
}
WITH_HISTORY = {
    **OBSERVED,
    "releases": {"3fa92c1b0d4e": RECORD},
    "policy": {
        "health": {"path": "/healthz", "watch": 9},
        "firewall": {"sources": [], "interface": "", "action": "allow"},
        "keep": 3,
    },
    "missing_directories": [],
    "code": ["aaaaaaaaaaaa"],
    "venvs": ["bbbbbbbbbbbb"],
    "previous": "3fa92c1b0d4e",
}
UNUSABLE = {
    "gunicorn_source": {},
    "gunicorn_bind": "x",
    "gunicorn_health": 5,
    "gunicorn_settings": [],
    "gunicorn_force": 7,
    "gunicorn_requirements": 7,
    "gunicorn_index_url": ["x"],
    "gunicorn_wheelhouse": "nowhere",
    "gunicorn_system_packages": 7,
}
RETURNS: dict[str, Data] = {
    "previous": {"gunicorn_release": "previous", "observed": WITH_HISTORY, **UNUSABLE},
    "by_id": {"gunicorn_release": "3fa92c1b0d4e", "observed": WITH_HISTORY, **UNUSABLE},
}
REFUSED: dict[str, Data] = {
    "wrong": {
        "gunicorn_name": "Shop",
        "gunicorn_wsgi_app": ["wsgi:app"],
        "gunicorn_packages": "flask",
        "gunicorn_index_url": ["https://joe:s3cret@a.example/simple"],
        "gunicorn_extra_index_urls": "https://joe:s3cret@a.example/simple",
        "gunicorn_version": 26,
        "gunicorn_bind": ["localhost:8000"],
        "gunicorn_settings": {"bind": NASTY},
        "gunicorn_conf_extra": {"a": 1},
        "gunicorn_environment": {"TOKEN": ["s3cret"]},
        "gunicorn_health": 5,
        "gunicorn_firewall": "perhaps",
        "gunicorn_enviroment": {},
    },
    "nowhere": {"gunicorn_source": {"directory": "nowhere"}},
    "not_on_the_host": {
        "gunicorn_source": {"existing": "/srv/shop"},
        "observed": {**OBSERVED, "source": nothing("/srv/shop", "it is not there")},
    },
    "no_source": {"gunicorn_source": {}},
    "no_way_back": {"gunicorn_release": "000000000000", "observed": WITH_HISTORY, **UNUSABLE},
}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a playbook, with everything that the cases name."""
    directory = tmp_path_factory.mktemp("project")
    (directory / "app").mkdir()
    (directory / "app/wsgi.py").write_text("app = 1\ndef create_app(*_): ...\n")
    (directory / "app/requirements.txt").write_text("flask==3.1.3\n")
    (directory / "app/more.txt").write_text("redis==7.0\n")
    (directory / "app/hashed.txt").write_text(HASHED)
    (directory / "app/editable.txt").write_text("-e .\n")
    (directory / "app/uv.lock").write_text("version = 1\n")
    (directory / "app/pyproject.toml").write_text("")
    (directory / "app/pylock.toml").write_text('[[packages]]\nname = "gunicorn"\nversion = "27.0.1"\n')
    shutil.make_archive(str(directory / "shop-1.2"), "gztar", directory, "app")
    (directory / "shop-1.2-py3-none-any.whl").write_text("a wheel")
    (directory / "wheels").mkdir()
    (directory / "wheels/gunicorn-27.0.1-py3-none-any.whl").write_text("")
    return directory


def fetch(project: Path, to: str) -> None:
    """Do what tasks/fetch.yml does with a repository."""
    shutil.copytree(project / "app", to)
    identity = ["-c", "user.name=Me", "-c", "user.email=me@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "First"]):
        subprocess.run(["git", *command], cwd=to, check=True)


def installer(role: Path, given: Data, result: Data) -> Data:
    """What tasks/deploy.yml asks of the module gunicorn_venv, when the plan is registered."""
    loader = DataLoader()
    stages, internal = (
        loader.load_from_file(str(role / name), trusted_as_template=True)
        for name in ("tasks/deploy.yml", "vars/main.yml")
    )
    (asked,) = [stage["pyweb.deploy.gunicorn_venv"] for stage in stages if "pyweb.deploy.gunicorn_venv" in stage]
    known = {**defaults(), "gunicorn_name": "shop", **given, **internal, "__gunicorn_plan": result}
    found: Data = Templar(loader, variables={**known, "ansible_search_path": [str(role)]}).template(asked)
    return found


@pytest.fixture(scope="session")
def outcomes(project: Path, role: Path) -> Data:
    """What came out, by case."""
    found: Data = {}
    for case, given in {**CASES, **SAME, **RETURNS, **REFUSED}.items():
        known = {"gunicorn_source": {"directory": "app"}, **given}
        observed = known.pop("observed", OBSERVED)
        try:
            wanted = read(project, known)
            if isinstance(wanted, Application) and wanted.source.fetch:
                fetch(project, wanted.source.path)
            found[case] = plan(wanted, observed)
            if case in {**CASES, **SAME}:
                found[case]["installer"] = installer(role, known, found[case]["plan"])
        except VariableError as problem:
            found[case] = {"refused": str(problem)}
    return found


Outcome = Callable[[str], Data]


@pytest.fixture
def outcome(outcomes: Data) -> Outcome:
    """Give what came out for a case that was not refused."""

    def find(case: str) -> Data:
        assert "refused" not in outcomes[case]
        found: Data = outcomes[case]
        return found

    return find


# gunicorn.conf.py

Run = Callable[..., Data]


@pytest.fixture
def run(outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the configuration of a case, with some names given: the names that it defines."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/gunicorn/shop-blue")

    def execute(case: str, **names: Any) -> Data:
        path = tmp_path / "gunicorn.conf.py"
        path.write_text(outcome(case)["desired"]["release_files"]["gunicorn.conf.py"])
        return runpy.run_path(str(path), names)

    return execute


def load(names: Data, directory: Path) -> Config:
    """Load what a configuration defines as Gunicorn does; the directory stands for that of the code."""
    config = Config()
    for name, value in {**names, "chdir": str(directory)}.items():
        if name in config.settings:
            config.set(name, value)
        else:
            assert name.startswith("_") or callable(value) or isinstance(value, ModuleType), f"{name} is no setting"
    return config


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for systemd's directory; what becomes of the environment stays in the test."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    for name, value in SECRETS.items():
        (directory / name).write_bytes(value.encode())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    monkeypatch.setattr(os, "environb", {})
    return directory


@pytest.mark.parametrize("case", CASES)
def test_gunicorn_loads_the_configuration(
    run: Run, outcome: Outcome, tmp_path: Path, request: pytest.FixtureRequest, case: str
) -> None:
    if case == "secrets_environment":
        request.getfixturevalue("credentials")
    desired = outcome(case)["desired"]
    names = run(case)
    config = load(names, tmp_path)
    for name, value in CASES[case].get("gunicorn_settings", {}).items():
        assert names[name] == (value if name not in CREDENTIALS else name)
    assert config.address
    assert names["chdir"] == (desired["existing"] or f"/opt/shop/code/{desired['code']}")
    assert config.control_socket == "/run/gunicorn/shop-blue/control.sock"
    assert config.worker_tmp_dir == "/run/gunicorn/shop-blue"


CREDENTIALS = ("certfile", "keyfile", "ca_certs")


@pytest.mark.parametrize("unit", ["slot", "check"])
def test_systemd_hands_the_certificate_to_the_service(
    run: Run, outcome: Outcome, monkeypatch: pytest.MonkeyPatch, unit: str
) -> None:
    found = service(outcome, "tls", unit)["LoadCredential"]
    assert found == ["certfile:/root/shop.pem", "keyfile:/root/shop key.pem", "token:/root/token"]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/shop-blue.service")
    names = run("tls")
    assert names["keyfile"] == "/run/credentials/shop-blue.service/keyfile"
    assert names["_credentials"] == {"certfile": "/root/shop.pem", "keyfile": "/root/shop key.pem"}


@pytest.mark.parametrize("unit", ["slot", "check"])
@pytest.mark.parametrize(
    ("case", "directive"), [("secrets", "LoadCredentialEncrypted"), ("secrets_as_files", "LoadCredential")]
)
def test_systemd_hands_secrets_to_the_service(outcome: Outcome, case: str, directive: str, unit: str) -> None:
    found = service(outcome, case, unit)
    directory = "/opt/shop/releases/@release@/secrets"
    assert found[directive] == [f"{name}:{directory}/{name}" for name in sorted(SECRETS)]
    assert {"LoadCredential", "LoadCredentialEncrypted"} & set(found) == {directive}
    assert outcome(case)["plan"]["record"]["secrets"] == sorted(SECRETS)


def test_what_runs_before_the_service_sees_them_where_systemd_shows_it_none(
    outcome: Outcome, credentials: Path, tmp_path: Path
) -> None:
    """As systemd 249, of Ubuntu 22.04. Root makes the copies, so the test leaves the owner out."""
    copy, check, commands = service(outcome, "secrets_as_files", "check")["ExecStartPre"]
    assert copy.startswith("+/bin/sh -c ")
    copies, release = "/run/gunicorn/shop-check.credentials", "/opt/shop/releases/@release@"
    owners = {" -o shop -g www-data": "", " -g www-data": ""}
    places = {copies: str(tmp_path / "copies"), release: str(tmp_path), **owners}
    (tmp_path / "secrets").symlink_to(credentials)
    (tmp_path / "before_activate").write_text('cat "$CREDENTIALS_DIRECTORY/KEY"\n')
    for old, new in places.items():
        assert old in copy
        copy, commands = copy.replace(old, new), commands.replace(old, new)
    subprocess.run(shlex.split(copy.removeprefix("+")), check=True)
    made = {path.name: path for path in (tmp_path / "copies").iterdir()}
    assert {name: path.read_bytes().decode() for name, path in made.items()} == SECRETS
    assert {path.stat().st_mode & 0o777 for path in made.values()} == {0o400}
    assert (tmp_path / "copies").stat().st_mode & 0o777 == 0o750, "root's own, or the service could put a link there"
    assert service(outcome, "secrets_as_files", "check")["ExecStopPost"] == [f"+/bin/rm -rf {copies}"]
    done = subprocess.run(shlex.split(commands), capture_output=True, text=True, check=True)
    assert done.stdout == SECRETS["KEY"]
    assert check.startswith(f"/bin/sh -c 'CREDENTIALS_DIRECTORY={copies} exec /opt/shop/venvs/")
    assert len(service(outcome, "secrets_environment", "check")["ExecStartPre"]) == 2, "where it shows them, no copy"


def test_the_check_before_a_reload_sees_them_too(outcome: Outcome) -> None:
    """It is run by a shell, with the process that is to be reloaded in $MAINPID."""
    command, kill = service(outcome, "secrets", "slot")["ExecReload"]
    shell, option, script = shlex.split(command)
    check = script.partition("exec ")[2]
    ask = script.replace(check, "sh -c 'echo $CREDENTIALS_DIRECTORY'")
    done = subprocess.run([shell, option, ask], env={"MAINPID": "83"}, capture_output=True, text=True, check=True)
    assert done.stdout == "/proc/83/root/run/credentials/shop-@slot@.service\n"
    assert check.split()[1:3] == ["/opt/shop/check_config.py", "--app"]
    assert service(outcome, "plain", "slot")["ExecReload"] == [
        check.replace(*(outcome(case)["desired"]["venv"] for case in ("secrets", "plain"))),
        kill,
    ]


def test_secrets_become_environment_variables(run: Run, credentials: Path) -> None:
    run("secrets")
    assert os.environb == {}, "unless they are to be files alone"
    run("secrets_environment")
    assert os.environb == {name.encode(): value.encode() for name, value in SECRETS.items()}
    shutil.rmtree(credentials)
    with pytest.raises(FileNotFoundError):
        run("secrets_environment")


def test_secrets_become_environment_variables_of_the_commands(
    outcome: Outcome, credentials: Path, tmp_path: Path
) -> None:
    done = before_activate(outcome, "secrets_environment", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    printed = ast.literal_eval(done.stdout.splitlines()[1])
    wanted = {name.encode(): value.encode() for name, value in SECRETS.items()}
    assert {name: printed.get(name) for name in wanted} == wanted
    assert b"__secret" not in printed
    (credentials / "KEY").unlink()
    assert before_activate(outcome, "secrets_environment", tmp_path).returncode != 0
    assert "CREDENTIALS" not in outcome("commands")["desired"]["release_files"]["before_activate"]


def test_it_does_not_start_with_a_certificate_that_is_broken(run: Run) -> None:
    """Gunicorn would: asgi without TLS, sync and gthread without ever ending a handshake."""
    server = SimpleNamespace(LISTENERS=[], cfg=Config())
    server.cfg.set("certfile", os.devnull)
    with pytest.raises(ssl.SSLError):
        run("tls")["when_ready"](server)
    run("plain")["when_ready"](server)


def test_defaults_of_the_configuration(run: Run, tmp_path: Path) -> None:
    config = load(run("plain"), tmp_path)
    assert (config.bind, config.wsgi_app, config.proc_name) == (["0.0.0.0:8000"], "wsgi:app", "shop")
    assert (config.worker_class_str, config.threads, config.loglevel) == ("gthread", 16, "info")
    assert (config.accesslog, config.errorlog) == ("-", "-")
    assert "keepalive" not in run("plain")


def test_sync_stays_sync(run: Run, tmp_path: Path) -> None:
    assert load(run("sync"), tmp_path).worker_class_str == "sync", "with threads, Gunicorn would make it gthread"


def test_hooks_arrive_as_they_are(run: Run, tmp_path: Path) -> None:
    names = run("nasty")
    assert names["on_starting"](None) == """{'a': {'b': 1}} {{ braces }} it's "up\""""
    assert load(names, tmp_path).on_starting is names["on_starting"]
    assert names["wsgi_app"] == "wsgi:create_app('it', 1)"


@pytest.mark.parametrize(("case", "keepalive"), [("asgi", 0), ("asgi_keepalive", 5), ("gevent", None)])
def test_asgi_keeps_no_connection_alive(run: Run, case: str, keepalive: int | None) -> None:
    assert run(case).get("keepalive") == keepalive


BACKLOGS = {"plain": 2048, "sized": 77, "hooks": 2048, "asgi": 2048, "asgi_hooks": 77, "gevent": 2048}


@pytest.mark.parametrize(("case", "backlog"), BACKLOGS.items())
def test_the_backlog_is_applied_to_every_socket(run: Run, tmp_path: Path, case: str, backlog: int) -> None:
    config = load(run(case), tmp_path)
    applied: list[tuple[int, int]] = []
    sockets = [SimpleNamespace(listen=lambda size, each=each: applied.append((each, size))) for each in range(2)]
    server = SimpleNamespace(cfg=config, LISTENERS=[SimpleNamespace(sock=each) for each in sockets], own=[])
    config.when_ready(server)
    assert applied == [(0, backlog), (1, backlog)]
    assert server.own == (["when_ready"] if "hooks" in case else [])


class ListeningSocket(socket.socket):
    """Remembers how it was told to listen."""

    backlogs: list[int]

    def listen(self, backlog: int = 0, /) -> None:
        self.backlogs.append(backlog)
        super().listen(backlog)


@pytest.mark.parametrize("case", ["asgi", "asgi_hooks"])
def test_the_backlog_is_applied_to_asyncio(run: Run, tmp_path: Path, case: str) -> None:
    """With the loop and the arguments of Gunicorn's asgi worker."""
    config = load(run(case), tmp_path)
    with ListeningSocket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.backlogs = []
        sock.bind(("127.0.0.1", 0))
        worker = SimpleNamespace(cfg=config, loop=asyncio.new_event_loop(), own=[])
        config.post_worker_init(worker)
        serving = worker.loop.create_server(asyncio.Protocol, sock=sock, reuse_address=True, start_serving=True)
        worker.loop.run_until_complete(serving).close()
        worker.loop.close()
        assert sock.backlogs == [BACKLOGS[case]]
    assert worker.own == (["post_worker_init"] if case == "asgi_hooks" else [])


@pytest.mark.parametrize(("case", "closes"), [("tornado", True), ("tornado_keepalive", False)])
def test_tornado_keeps_no_connection_alive(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, closes: bool
) -> None:
    """With a stand-in for Tornado, which hands the arguments of a server to initialize()."""

    class Server:
        def initialize(self, app: str, no_keep_alive: bool = False) -> None:
            self.got = (app, no_keep_alive)

    module = ModuleType("tornado.httpserver")
    module.HTTPServer = Server  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tornado", ModuleType("tornado"))
    monkeypatch.setitem(sys.modules, "tornado.httpserver", module)
    worker = SimpleNamespace(own=[])
    load(run(case), tmp_path).post_worker_init(worker)
    server = Server()
    server.initialize("app")
    assert server.got == ("app", closes)
    assert worker.own == (["post_worker_init"] if case == "tornado" else [])


def test_other_workers_keep_their_own_hook(run: Run) -> None:
    assert "post_worker_init" not in run("plain")
    worker = SimpleNamespace(own=[])
    run("hooks")["post_worker_init"](worker)
    assert worker.own == ["post_worker_init"]


def test_gunicorn_itself_accepts_the_hooks(outcome: Outcome, role: Path, tmp_path: Path) -> None:
    """check_config.py reads the file with the whole of Gunicorn, as it does on a server."""
    for case in ("plain", "asgi_hooks"):
        text = outcome(case)["desired"]["release_files"]["gunicorn.conf.py"]
        path = tmp_path / "gunicorn.conf.py"
        path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("chdir = ")))
        done = subprocess.run(
            [sys.executable, role / "files/check_config.py", path],
            env={**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


Files = dict[str, str]
GROUP = "/system.slice/shop-blue.service"


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"/proc/self/cgroup": f"0::{GROUP}\n"}, 8),
        ({"/proc/self/cgroup": f"0::{GROUP}\n", f"/sys/fs/cgroup{GROUP}/cpu.max": "max 100000\n"}, 8),
        ({"/proc/self/cgroup": f"0::{GROUP}\n", f"/sys/fs/cgroup{GROUP}/cpu.max": "200000 100000\n"}, 2),
        ({"/proc/self/cgroup": f"0::{GROUP}\n", f"/sys/fs/cgroup{GROUP}/cpu.max": "150000 100000\n"}, 2),
        ({"/proc/self/cgroup": f"0::{GROUP}\n", f"/sys/fs/cgroup{GROUP}/cpu.max": "10000 100000\n"}, 1),
        ({"/proc/self/cgroup": f"0::{GROUP}\n", f"/sys/fs/cgroup{GROUP}/cpu.max": "6400000 100000\n"}, 8),
        (
            {
                "/proc/self/cgroup": f"0::{GROUP}\n",
                f"/sys/fs/cgroup{GROUP}/cpu.max": "500000 100000\n",
                "/sys/fs/cgroup/system.slice/cpu.max": "300000 100000\n",
            },
            3,
        ),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        ({"/proc/self/cgroup": "0::/\n"}, 8),
        ({"/proc/self/cgroup": "12:cpu,cpuacct:/a\n1:name=systemd:/b\n"}, 8),
    ],
)
def test_workers_follow_the_cpus_that_the_service_may_use(
    run: Run, monkeypatch: pytest.MonkeyPatch, files: Files, cpus: int
) -> None:
    def open_file(path: str) -> io.StringIO:
        if path not in files:
            raise FileNotFoundError(path)
        return io.StringIO(files[path])

    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    names = run("plain", open=open_file)
    assert names["available_cpus"]() == cpus
    assert names["workers"] == 2 * cpus + 1


def test_workers_that_the_user_sets(run: Run) -> None:
    names = run("sized")
    assert names["workers"] == 4
    assert not names.keys() & {"available_cpus", "available_memory", "_limits", "math"}


@pytest.mark.parametrize(
    ("files", "threads"),
    [
        ({}, 8),
        ({f"/sys/fs/cgroup{GROUP}/memory.max": "max\n"}, 8),
        ({f"/sys/fs/cgroup{GROUP}/memory.max": f"{5 * 2**30}\n"}, 5),
        ({f"/sys/fs/cgroup{GROUP}/cpu.max": "200000 100000\n", "/sys/fs/cgroup/memory.max": f"{3 * 2**30}\n"}, 2),
        ({f"/sys/fs/cgroup{GROUP}/memory.max": f"{5 * 2**30}\n", "/sys/fs/cgroup/memory.max": f"{3 * 2**30}\n"}, 3),
        ({f"/sys/fs/cgroup{GROUP}/memory.max": f"{64 * 2**30}\n"}, 8),
    ],
)
def test_gunicorn_conf_extra_can_ask_for_cpus_and_memory(
    run: Run, monkeypatch: pytest.MonkeyPatch, files: Files, threads: int
) -> None:
    """With a machine of 12 CPUs and 8 GiB, and what its control groups allow."""
    files = {"/proc/self/cgroup": f"0::{GROUP}\n", **files}

    def open_file(path: str) -> io.StringIO:
        if path not in files:
            raise FileNotFoundError(path)
        return io.StringIO(files[path])

    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(12)), raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 8 * 2**30 // 4096}.__getitem__)
    names = run("sized_there", open=open_file)
    assert (names["workers"], names["threads"]) == (4, threads)


# The environment


@pytest.mark.parametrize("case", CASES)
def test_the_environment(outcome: Outcome, case: str) -> None:
    text = outcome(case)["desired"]["release_files"]["environment"]
    wanted = {"NASTY": NASTY, "EMPTY": "", "NUMBER": "1", "FLAG": "true"} if case == "nasty" else {}
    assert read_environment(text) == wanted


# What runs before it takes traffic


def before_activate(outcome: Outcome, case: str, tmp_path: Path, *change: str) -> subprocess.CompletedProcess[str]:
    """Run the commands of a case as the unit does, with a change of their text."""
    path = tmp_path / "before_activate"
    path.write_text(outcome(case)["desired"]["release_files"]["before_activate"].replace(*(change or ("", ""))))
    return subprocess.run(["/bin/sh", "-e", path], capture_output=True, text=True, check=False)


MARK = "gunicorn_before_activate: "


def test_the_commands_run_one_after_the_other(outcome: Outcome, tmp_path: Path) -> None:
    done = before_activate(outcome, "nasty", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "\n".join(
        [
            MARK + COMMANDS[0],
            "it's|{{ no jinja }} {% nor this %}|42|",
            MARK + COMMANDS[1],
            "1",
            "2",
            MARK + COMMANDS[2],
            COMMANDS[2].removeprefix("echo '").removesuffix("'"),
            MARK + "done",
            "",
        ]
    )


def test_the_first_command_that_fails_ends_them(outcome: Outcome, tmp_path: Path) -> None:
    done = before_activate(outcome, "nasty", tmp_path, "for each", "false\nfor each")
    assert done.returncode != 0
    assert [line for line in done.stdout.splitlines() if line.startswith(MARK)] == [
        MARK + COMMANDS[0],
        MARK + "false",
    ]


def test_without_commands_nothing_runs(outcome: Outcome, tmp_path: Path) -> None:
    assert before_activate(outcome, "plain", tmp_path).returncode == 0
    assert not any("before_activate" in line for line in service(outcome, "plain", "check")["ExecStartPre"])


@pytest.mark.parametrize(("served", "runs"), [(False, True), (True, False)])
def test_the_check_runs_them_once(outcome: Outcome, tmp_path: Path, served: bool, runs: bool) -> None:
    check_config, commands = service(outcome, "commands", "check")["ExecStartPre"]
    assert "check_config.py" in check_config
    (tmp_path / "before_activate").write_text("echo ran\nfalse\necho went on\n")
    if served:
        (tmp_path / "served").touch()
    release = "/opt/shop/releases/@release@"
    assert release in commands
    done = subprocess.run(
        shlex.split(commands.replace(release, str(tmp_path))), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == ((1, "ran\n") if runs else (0, ""))


def test_a_slot_runs_no_commands(outcome: Outcome) -> None:
    assert "ExecStartPre" not in service(outcome, "commands")


@pytest.mark.parametrize(
    ("case", "slot", "check"),
    [
        ("plain", "60", "60"),
        ("commands", "60", "600"),
        ("long_commands", "130", "1800"),
        ("texts", "35", "35"),
    ],
)
def test_the_time_to_start(outcome: Outcome, case: str, slot: str, check: str) -> None:
    assert service(outcome, case)["TimeoutStartSec"] == [slot]
    assert service(outcome, case, "check")["TimeoutStartSec"] == [check]


# Units

SEVERAL = {
    "Environment",
    "ExecReload",
    "ExecStartPre",
    "ListenStream",
    "LoadCredential",
    "LoadCredentialEncrypted",
    "ReadWritePaths",
    "SystemCallFilter",
}
"""Directives that may stand in a unit more than once."""

UNITS = {
    "slot": lambda found: found["desired"]["slot_unit"],
    "check": lambda found: found["desired"]["check_unit"],
    "public": lambda found: found["desired"]["public_socket"],
    "private": lambda found: found["desired"]["private_socket"],
}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("case", CASES)
def test_no_directive_contradicts_another(outcome: Outcome, case: str, unit: str) -> None:
    for section, directives in read_unit(UNITS[unit](outcome(case))).items():
        for name, values in directives.items():
            assert len(values) == 1 or name in SEVERAL, f"[{section}] {name} stands there {len(values)} times"
            assert len(set(values)) == len(values)


def service(outcome: Outcome, case: str, unit: str = "slot") -> dict[str, list[str]]:
    """Directives of the service."""
    return read_unit(UNITS[unit](outcome(case)))["Service"]


def test_the_unit_of_a_slot(outcome: Outcome) -> None:
    unit = read_unit(UNITS["slot"](outcome("plain")))
    assert unit["Service"]["User"] == ["shop"]
    assert unit["Service"]["Group"] == ["www-data"]
    assert unit["Service"]["Sockets"] == ["shop.socket shop-@slot@.socket"]
    assert unit["Service"]["NonBlocking"] == ["yes"], "else each start makes the sockets of the other slot block"
    assert unit["Service"]["TimeoutStopSec"] == ["35"]
    assert unit["Service"]["Restart"] == ["always"]
    assert unit["Service"]["EnvironmentFile"] == ["/opt/shop/releases/@release@/environment"]
    assert "GUNICORN_RELEASE=@release@" in unit["Service"]["Environment"]
    assert unit["Install"]["Alias"] == ["shop.service"]
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert unit["Service"]["SyslogIdentifier"] == ["shop"]


@pytest.mark.parametrize("unit", ["slot", "check"])
def test_commands_are_looked_for_in_the_venv_first(outcome: Outcome, unit: str) -> None:
    (path,) = [item for item in service(outcome, "plain", unit)["Environment"] if item.startswith("PATH=")]
    venv, *others = path.removeprefix("PATH=").split(":")
    assert venv == f"/opt/shop/venvs/{outcome('plain')['desired']['venv']}/bin"
    assert {"/usr/local/bin", "/usr/bin", "/bin"} <= set(others)


@pytest.mark.parametrize(("unit", "wanted"), [("slot", []), ("check", ["--workers", "1", "--graceful-timeout", "1"])])
def test_nothing_wins_over_the_configuration_but_in_the_check(outcome: Outcome, unit: str, wanted: list[str]) -> None:
    """Gunicorn reads its command line and GUNICORN_CMD_ARGS last."""
    found = service(outcome, "sized", unit)
    (command,) = found["ExecStart"]
    venv, _gunicorn, options = command.partition("/bin/gunicorn ")
    assert venv == f"/opt/shop/venvs/{outcome('sized')['desired']['venv']}"
    assert options == "--config /opt/shop/releases/@release@/gunicorn.conf.py"
    given = dict(shlex.split(line)[0].split("=", 1) for line in found["Environment"])
    assert shlex.split(given.get("GUNICORN_CMD_ARGS", "")) == wanted


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("files", ["--access-logfile", "-", "--error-logfile", "-"]),
        ("own_files", ["--error-logfile", "-"]),
        ("json", []),
    ],
)
def test_the_check_logs_to_the_journal(outcome: Outcome, case: str, options: list[str]) -> None:
    """The check reads there why a release failed."""
    given = dict(shlex.split(line)[0].split("=", 1) for line in service(outcome, case, "check")["Environment"])
    assert shlex.split(given["GUNICORN_CMD_ARGS"])[4:] == options
    assert "GUNICORN_CMD_ARGS" not in str(service(outcome, case)["Environment"])
    assert service(outcome, case)["LogRateLimitBurst"] == ["4294967295"]


def test_the_logs_of_a_configuration(outcome: Outcome, run: Run, tmp_path: Path) -> None:
    config = load(run("files"), tmp_path)
    assert (config.accesslog, config.errorlog) == (f"{LOGS}/access.log", f"{LOGS}/error.log")
    assert len({outcome(case)["plan"]["id"] for case in ("plain", "files", "json")}) == 3
    config = load(run("json"), tmp_path)
    assert (config.accesslog, config.access_log_format) == ("-", "%(json)s")
    assert issubclass(config.logger_class, Statsd)
    assert ["logrotate" in outcome(case)["desired"]["packages"] for case in ("plain", "files")] == [False, True]
    assert [outcome(case)["plan"]["log_rotation"] for case in ("plain", "json")] == [{}, {}]


IS_ACTIVE = """#!/bin/sh
echo "$@" >>"$CALLS"
case $1 in is-active) case $3 in $RUNS) exit 0 ;; esac; exit 3 ;; esac
"""


@pytest.mark.parametrize(
    ("runs", "told"), [("none", []), ("shop-green.service", ["green"]), ("shop-*", ["blue", "green"])]
)
def test_who_is_told_of_a_rotation(outcome: Outcome, tmp_path: Path, runs: str, told: list[str]) -> None:
    ((path, text),) = outcome("files")["plan"]["log_rotation"].items()
    assert path == "/etc/logrotate.d/pyweb.deploy-shop"
    assert f"\n{LOGS}/access.log {LOGS}/error.log {{\n" in text
    assert "    su shop www-data\n" in text
    script = text.partition("postrotate\n")[2].partition("endscript")[0]
    (tmp_path / "systemctl").write_text(IS_ACTIVE)
    (tmp_path / "systemctl").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls"), "RUNS": runs}
    subprocess.run(["/bin/sh", "-c", script], check=True, env=environment)
    calls = [line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith("kill")]
    assert calls == [f"kill --kill-who=main --signal=USR1 shop-{slot}.service" for slot in told]


SYSTEMCTL = """#!/bin/sh
echo "$@" >>"$CALLS"
case $1 in list-jobs) echo "4711 $3 $JOB waiting" ;; esac
"""


@pytest.mark.parametrize(
    ("alias", "job", "closes"),
    [
        ("shop-@slot@.service", "stop", True),
        ("shop-@slot@.service", "restart", False),
        ("shop-@slot@.service", "start", False),
        ("shop-other.service", "stop", False),
        ("", "stop", False),
    ],
)
def test_stopping_the_live_slot_closes_the_port(
    outcome: Outcome, tmp_path: Path, alias: str, job: str, closes: bool
) -> None:
    (command,) = service(outcome, "plain")["ExecStopPost"]
    assert command.startswith("-+/bin/sh "), "as root, and whatever comes of it"
    for unit in ("shop-@slot@.service", "shop-other.service"):
        (tmp_path / unit).touch()
    if alias:
        (tmp_path / "shop.service").symlink_to(alias)
    (tmp_path / "systemctl").write_text(SYSTEMCTL)
    (tmp_path / "systemctl").chmod(0o755)
    calls = tmp_path / "calls"
    (tmp_path / "venv").mkdir()
    for program in ("systemctl", "grep", "["):
        (tmp_path / "venv" / program).write_text(f"#!/bin/sh\ntouch {tmp_path}/venv/ran-as-root\n")
        (tmp_path / "venv" / program).chmod(0o755)
    environment = {"PATH": f"{tmp_path}/venv:{os.environ['PATH']}", "CALLS": str(calls), "JOB": job}
    command = command.removeprefix("-+").replace("/etc/systemd/system", str(tmp_path))
    arguments = shlex.split(command.replace("PATH=/usr/bin:/bin;", f"PATH={tmp_path}:/usr/bin:/bin;"))
    subprocess.run(arguments, env=environment, check=False)
    assert not (tmp_path / "venv/ran-as-root").exists(), "a program that a package of the application brings"
    said = calls.read_text().splitlines() if calls.exists() else []
    assert ("stop --no-block shop.socket" in said) is closes
    assert all("shop-@slot@.service" in line for line in said if line.startswith("list-jobs"))


def test_the_unit_of_the_check(outcome: Outcome) -> None:
    unit = read_unit(UNITS["check"](outcome("plain")))
    assert unit["Service"]["Sockets"] == ["shop-check.socket"]
    assert unit["Service"]["Restart"] == ["no"]
    assert len(unit["Service"]["ExecStartPre"]) == 1
    assert "check_config.py" in unit["Service"]["ExecStartPre"][0]
    assert unit["Service"]["SyslogIdentifier"] == ["shop-check"]
    assert "GUNICORN_RELEASE=@release@" in unit["Service"]["Environment"]
    assert "ExecStopPost" not in unit["Service"]
    assert "Install" not in unit


def test_the_time_to_stop_follows_gunicorn(outcome: Outcome) -> None:
    assert service(outcome, "sized")["TimeoutStopSec"] == ["95"]


def test_an_existing_user(outcome: Outcome) -> None:
    found = service(outcome, "own_user")
    assert (found["User"], found["Group"]) == (["www-data"], ["www-data"])
    assert outcome("own_user")["plan"]["create_user"] is False


@pytest.mark.parametrize("unit", ["slot", "check"])
def test_hardening(outcome: Outcome, root: Path, unit: str) -> None:
    """The sandbox is what docs/hardening.md lists."""
    page = (root / "docs/hardening.md").read_text()
    rows = page.partition("\n| In the sandbox | Why |\n|---|---|\n")[2].partition("\n\n")[0]
    listed = [part for row in rows.splitlines() for part in re.findall("`([^`]+)`", row.split("|")[1])]
    wanted = {name: value for name, _equals, value in (part.partition("=") for part in listed)}
    found = service(outcome, "plain", unit)
    assert set(wanted) == set(found) - set(service(outcome, "soft", unit))
    assert {name: value for name, value in wanted.items() if value not in " ".join(found[name])} == {}
    assert [name for name in wanted if found[name] == ["no"]] == []
    assert not set(wanted) & set(service(outcome, "texts", unit))


@pytest.mark.parametrize("unit", ["slot", "check"])
def test_service_options_replace_directives(outcome: Outcome, unit: str) -> None:
    found = service(outcome, "overridden", unit)
    assert found["ProtectHome"] == ["read-only"]
    assert found["PrivateTmp"] == ["no"]
    assert found["TimeoutStopSec"] == ["99"]
    assert found["UMask"] == ["0022"]
    assert found["ReadWritePaths"] == ["/srv/a", "/srv/b c"]
    assert found["MemoryMax"] == ["512M"]
    assert "SystemCallFilter" not in found
    assert found["ProtectSystem"] == ["strict"]


def test_the_public_socket(outcome: Outcome) -> None:
    plain, binds = (read_unit(UNITS["public"](outcome(case)))["Socket"] for case in ("plain", "binds"))
    assert plain["ListenStream"] == ["0.0.0.0:8000"]
    assert plain["BindIPv6Only"] == ["ipv6-only"]
    assert plain["Service"] == ["shop.service"]
    assert "SocketMode" not in plain
    assert binds["ListenStream"] == ["192.0.2.5:8000", "[2001:db8::5]:8000", "127.0.0.1:8001", "/run/shop.sock"]
    assert binds["SocketUser"] == ["shop"]


def test_the_backlog_is_the_one_of_the_settings(outcome: Outcome) -> None:
    for case, backlog in (("plain", "2048"), ("sized", "77")):
        assert read_unit(UNITS["public"](outcome(case)))["Socket"]["Backlog"] == [backlog]


# What is planned with


STAGES: dict[str, tuple[str, ...]] = {"plain": ("main", "plan", "deploy"), "removal": ("main", "plan", "remove")}
"""Files of tasks by the least that their plan may be about."""


@pytest.mark.parametrize("case", STAGES)
def test_the_role_uses_what_the_plan_holds(outcome: Outcome, role: Path, case: str) -> None:
    held = decide(Removal("shop", "", "", False, False), NEW_SERVER) if case == "removal" else outcome(case)["plan"]
    text = "".join((role / f"tasks/{name}.yml").read_text() for name in STAGES[case])
    used = set(re.findall(r"__gunicorn_plan\.([a-z_]+)", text))
    assert used <= {*held, "run", "fetch"}
    assert {"work", "observed"} <= used
    files = {path.stem for path in role.glob("tasks/*.yml")} - {"fetch", "reach", "status", "status_fetched"}
    assert files == set().union(*STAGES.values())


@pytest.mark.parametrize("case", CASES)
def test_what_was_deployed_can_be_gone_back_to(outcome: Outcome, case: str) -> None:
    """By the record that the role writes, with the keys that it asks with."""
    plan, desired = outcome(case)["plan"], outcome(case)["desired"]
    passed = desired["policy"]["health"]
    marks = {"created": "2026-06-01T00:00:00Z", "served": True, "passed": passed, "failed": False}
    record = {**json.loads(json.dumps(plan["record"])), **marks}
    history = {"releases": {plan["id"]: record}, "code": [desired["code"]], "venvs": [desired["venv"]]}
    history.update(secrets={plan["id"]: desired["secrets"]}, policy=json.loads(json.dumps(plan["policy"])))
    found = make_plan(
        {**outcome("by_id")["desired"], "restore": plan["id"]},
        {**OBSERVED, **history, "firewall": {**OBSERVED["firewall"], "installed": True, "enabled": True}},
    )
    assert found["problems"] == []
    for key in ("id", "slot", "units", "socket", "health", "public", "rules"):
        assert found[key] == plan[key], key
    assert found["watch"] == 1, "watched more briefly: it has served before"


# Sources


def test_the_same_files_are_the_same_code_wherever_they_come_from(outcome: Outcome) -> None:
    plain = outcome("plain")["desired"]
    for case in SAME_CODE:
        assert outcome(case)["desired"]["code"] == plain["code"], case
        assert outcome(case)["desired"]["venv"] == plain["venv"], case
        assert outcome(case)["plan"]["id"] == outcome("plain")["plan"]["id"], case


@pytest.mark.parametrize("case", ["package", "wheel"])
def test_a_package_is_in_the_venv(outcome: Outcome, case: str) -> None:
    desired, plain = outcome(case)["desired"], outcome("plain")["desired"]
    assert desired["venv"] not in ("", plain["venv"])
    assert f"chdir = '/opt/shop/code/{desired['code']}'" in desired["release_files"]["gunicorn.conf.py"]


def test_packages_that_install_the_source_itself(outcome: Outcome) -> None:
    itself, changed = outcome("itself"), outcome("itself_changed")
    assert request(outcome, "itself").specifiers == ["gunicorn==27.0.1", ".[web]"]
    assert request(outcome, "itself").needs_source is True
    assert request(outcome, "more_packages").needs_source is False
    assert itself["desired"]["code"] != changed["desired"]["code"]
    assert itself["desired"]["venv"] != changed["desired"]["venv"], "what is installed from it changes with the source"


def test_the_venv_may_refer_to_the_source(outcome: Outcome) -> None:
    itself, editable = request(outcome, "itself"), request(outcome, "editable")
    assert (itself.needs_source, itself.refers) == (True, False)
    assert (editable.needs_source, editable.refers) == (True, True)
    assert editable.source == code_directory(outcome, "editable")
    assert not request(outcome, "plain").needs_source


def test_a_wheel_counts_by_its_content(outcome: Outcome) -> None:
    assert outcome("wheel")["desired"]["code"] != outcome("package")["desired"]["code"]
    assert outcome("wheel")["desired"]["venv"] != outcome("package")["desired"]["venv"]


def test_an_application_that_is_on_the_host_is_used_where_it_is(outcome: Outcome) -> None:
    desired, plan = outcome("existing")["desired"], outcome("existing")["plan"]
    assert (desired["code"], desired["existing"], plan["bring_code"]) == ("eeeeeeeeeeee", "/srv/shop", False)
    assert desired["venv"] == outcome("plain")["desired"]["venv"], "it asks for the same packages"
    assert "chdir = '/srv/shop'" in desired["release_files"]["gunicorn.conf.py"]
    assert "\nWorkingDirectory=/srv/shop\n" in desired["slot_unit"]


def test_an_application_that_is_not_on_the_host(outcomes: Data) -> None:
    assert outcomes["not_on_the_host"]["refused"].startswith(
        "gunicorn_source: got {'existing': '/srv/shop'}: it is not there. It accepts "
    )


@pytest.mark.parametrize("case", RETURNS)
def test_going_back_takes_everything_from_the_record(outcome: Outcome, case: str) -> None:
    desired, plan = outcome(case)["desired"], outcome(case)["plan"]
    assert desired == {
        "name": "shop",
        "restore": RETURNS[case]["gunicorn_release"],
        "tools": [UV],
        "drain": False,
        "enroll": False,
    }
    assert plan["problems"] == []
    assert (plan["id"], plan["stages"]) == ("3fa92c1b0d4e", ["firewall", "check", "switch"])
    assert plan["units"]["shop-blue.service"] == "# 3fa92c1b0d4e in blue\n"
    assert plan["rules"] == [{"port": 9000, "source": "any", "destination": "any", "interface": "", "action": "allow"}]


def test_no_way_back(outcomes: Data) -> None:
    assert outcomes["no_way_back"]["refused"].startswith(
        "gunicorn_release: got '000000000000', which is not on the host. It accepts "
    )


def test_what_a_healthy_answer_is(outcome: Outcome) -> None:
    wanted = {"path": "/", "status": [200], "timeout": 30, "expect": "", "host": "localhost", "tls": False}
    assert (outcome("plain")["plan"]["health"], outcome("plain")["plan"]["watch"]) == (wanted, 3)
    assert (outcome("texts")["plan"]["health"], outcome("texts")["plan"]["watch"]) == ({**wanted, "timeout": 5}, 11)
    assert outcome("tls")["plan"]["health"] == {**wanted, "tls": True}


def test_the_plan_of_a_first_deploy(outcome: Outcome) -> None:
    plan = outcome("plain")["plan"]
    assert (plan["problems"], plan["slot"], plan["old_slot"], plan["switch"]) == ([], "blue", "", True)
    assert plan["stages"] == ["code", "packages", "venv", "release", "firewall", "check", "switch"]
    assert plan["rules"] == [{"port": 8000, "source": "any", "destination": "any", "interface": "", "action": "allow"}]
    assert outcome("plain")["desired"]["firewall_packages"] == ["ufw", "procps"]


def test_rules_for_public_addresses_and_their_sources(outcome: Outcome) -> None:
    assert outcome("binds")["plan"]["rules"] == [
        {"port": 8000, "source": "198.51.100.7", "destination": "192.0.2.5", "interface": "wg0", "action": "limit"},
        {
            "port": 8000,
            "source": "2001:db8:1::/48",
            "destination": "2001:db8::5",
            "interface": "wg0",
            "action": "limit",
        },
    ]


def test_texts_count_as_what_they_say(outcome: Outcome) -> None:
    desired = outcome("texts")["desired"]
    assert (desired["rules"], desired["policy"]["keep"], desired["force"]) == (None, 5, True)
    assert "ufw" not in desired["packages"]
    assert outcome("texts")["plan"]["firewall"] is False


def test_what_makes_another_release(outcome: Outcome) -> None:
    ids = {case: outcome(case)["plan"]["id"] for case in CASES if case not in SAME_CODE}
    assert len(set(ids.values())) == len(CASES) - len(SAME_CODE)


def test_what_makes_another_venv(outcome: Outcome) -> None:
    venvs = {case: outcome(case)["desired"]["venv"] for case in CASES}
    others = {"gevent", "tornado", "tornado_keepalive", "more_requirements", "more_packages", "hashes", "wheelhouse"}
    others |= {"package", "wheel", "nasty", "uv", "uv_lock", "uv_hashes", "pylock"}
    others |= {"itself", "itself_changed", "editable"}
    assert {case for case in CASES if venvs[case] != venvs["plain"]} == others
    assert len({venvs[case] for case in others}) == len(others) - 1, "tornado's two are the same"


@pytest.mark.parametrize("case", SAME)
def test_where_packages_come_from_makes_no_other_release(outcome: Outcome, case: str) -> None:
    assert outcome(case)["desired"]["venv"] == outcome("plain")["desired"]["venv"]
    assert outcome(case)["plan"]["id"] == outcome("plain")["plan"]["id"]


def test_no_credentials_in_the_plan(outcomes: Data) -> None:
    assert HIDDEN not in json.dumps(
        [outcomes[case] for case in (*SAME, *(case for case in CASES if "secrets" in case))]
    )


# What pip is asked


def code_directory(outcome: Outcome, case: str) -> str:
    return "/opt/shop/code/" + str(outcome(case)["desired"]["code"])


def request(outcome: Outcome, case: str) -> Request:
    """What the module gunicorn_venv is asked for."""
    defaults = {name: spec.get("default") for name, spec in ARGUMENTS.items()}
    return make_request({**defaults, **outcome(case)["installer"]})


def test_what_is_installed(outcome: Outcome) -> None:
    plain, more = request(outcome, "plain"), request(outcome, "more_packages")
    assert (plain.installer, plain.tool, plain.python) == ("pip", "", "/usr/bin/python3")
    assert plain.specifiers == ["gunicorn==27.0.1"]
    assert more.specifiers == ["gunicorn==27.0.1", "redis==7.0"]
    assert (plain.code, plain.requirements_files) == (code_directory(outcome, "plain"), ["requirements.txt"])
    assert request(outcome, "more_requirements").requirements_files == ["requirements.txt", "more.txt"]
    assert plain.venv == outcome("plain")["desired"]["venv"]


def test_with_hashes_the_requirements_are_all(outcome: Outcome) -> None:
    for case in ("hashes", "uv_hashes"):
        found = request(outcome, case)
        assert (found.specifiers, found.requirements_files, found.require_hashes) == ([], ["hashed.txt"], True)
    assert request(outcome, "plain").require_hashes is False


def test_nothing_is_installed_beside_a_pylock(outcome: Outcome) -> None:
    assert (request(outcome, "pylock").specifiers, request(outcome, "pylock").requirements_files) == (
        [],
        ["pylock.toml"],
    )


def test_a_wheelhouse_comes_along(outcome: Outcome) -> None:
    found = outcome("wheelhouse")["installer"]
    assert (Path(found["wheelhouse"]).name, len(found["wheelhouse_digest"])) == ("wheels", 12)
    assert outcome("plain")["installer"]["wheelhouse"] == ""


def test_uv_comes_by_its_hashes(outcome: Outcome) -> None:
    found = request(outcome, "uv")
    assert (found.installer, found.tool) == ("uv", UV)
    assert outcome("uv")["desired"]["tools"] == [UV]
    assert found.tool_requirements.startswith(UV.replace("-", "=="))
    assert "--hash=sha256:" in found.tool_requirements


def test_a_package_on_the_controller_is_installed_from_the_code(outcome: Outcome) -> None:
    found = request(outcome, "wheel")
    assert found.specifiers == ["gunicorn==27.0.1", f"{code_directory(outcome, 'wheel')}/shop-1.2-py3-none-any.whl"]
    assert found.needs_source
    assert outcome("package")["installer"]["package"] is True


@pytest.mark.parametrize(("case", "existing"), [("plain", False), ("existing", True)])
def test_who_keeps_the_code(outcome: Outcome, case: str, existing: bool) -> None:
    assert request(outcome, case).existing is existing


def test_pip_needs_no_uv(outcome: Outcome) -> None:
    assert outcome("plain")["desired"]["tools"] == []


def test_debian_packages_for_the_python_packages(outcome: Outcome) -> None:
    packages = outcome("system_packages")["desired"]["packages"]
    assert packages == [*outcome("plain")["desired"]["packages"], "libpq-dev", "gcc"]


# What is refused


def test_all_problems_come_at_once(outcomes: Data) -> None:
    """Ansible's own check of the types must not come before them."""
    messages = outcomes["wrong"]["refused"].split("\ngunicorn_")
    names = ["gunicorn_" + message.removeprefix("gunicorn_").split(":")[0] for message in messages]
    assert sorted(names) == sorted(REFUSED["wrong"])
    assert all("Example: " in message for message in messages)
    assert "s3cret" not in outcomes["wrong"]["refused"]


def test_values_are_shown_as_they_were_given(outcomes: Data) -> None:
    assert f"gunicorn_settings: got {REFUSED['wrong']['gunicorn_settings']!r}: " in outcomes["wrong"]["refused"]
    assert "gunicorn_bind: got ['localhost:8000']: " in outcomes["wrong"]["refused"]


def test_the_misspelt_one_is_told_its_name(outcomes: Data) -> None:
    said = "gunicorn_enviroment: the role has no such variable; did you mean gunicorn_environment?"
    assert said in outcomes["wrong"]["refused"]


def test_a_source_that_is_not_there(outcomes: Data) -> None:
    assert "/nowhere is not a directory on the controller" in outcomes["nowhere"]["refused"]


def test_no_source(outcomes: Data) -> None:
    assert "gunicorn_source: got {}: it says where the code comes from nowhere." in outcomes["no_source"]["refused"]
