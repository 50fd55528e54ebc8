"""What Ansible itself makes of the role's variables: configurations that Gunicorn loads, units without contradictions.

One run of ansible-playbook plays the role's own validate.yml and plan.yml for many imaginary servers, one for each
case, in a role that shares everything but its tasks with the real one. No task changes this machine, apart from a few
files in a temporary directory that hold what came out.
"""

from __future__ import annotations

import io
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.pyweb.deploy.tests.unit.systemd import read_environment, read_unit
from gunicorn.config import Config

Data = dict[str, Any]

NASTY = 'it\'s "quoted" \\ {a} {{ no jinja }} {% nor this %} {# nor that #} 100% %(h)s $HOME `id` ü€\nsecond line\t'
HOOK = 'def on_starting(server):\n    return "%s {{ braces }} it\'s \\"up\\"" % {"a": {"b": 1}}\n'

TASKS = """\
- name: Ask the role
  block:
    - name: Validate
      ansible.builtin.import_tasks: ROLE/tasks/validate.yml

    - name: Plan
      ansible.builtin.import_tasks: ROLE/tasks/plan.yml

    - name: Keep what came out
      ansible.builtin.set_fact:
        outcome:
          desired: "{{ __gunicorn_desired }}"
          plan: "{{ __gunicorn_plan }}"
          check_unit: >-
            {{ lookup('ansible.builtin.template', 'slot.service.j2',
                      template_vars={'__gunicorn_slot': 'check', '__gunicorn_id': '0a1b2c'}) }}
  rescue:
    - name: Keep what went wrong
      ansible.builtin.set_fact:
        outcome:
          refused: "{{ ansible_failed_result.msg }}"

- name: Write the templates as the role does
  ansible.builtin.template:
    src: "{{ item }}.j2"
    dest: "WRITTEN/{{ item }}"
    mode: "0600"
  loop: [gunicorn.conf.py, environment, public.socket]
  when: inventory_hostname == 'nasty'

- name: Tell
  ansible.builtin.copy:
    content: "{{ dict(cases | zip(cases | map('extract', hostvars, 'outcome'))) | to_json }}"
    dest: WRITTEN/outcomes.json
    mode: "0600"
  run_once: true
  vars:
    cases: "{{ ansible_play_hosts_all }}"
"""

OBSERVED: Data = {
    "os": {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"},
    "systemd": True,
    "python": {"path": "/usr/bin/python3.11", "version": "3.11.2", "venv": True},
    "packages": [],
    "user": {"uid": 33, "gid": 33, "group": "www-data", "gecos": "Gunicorn application shop (pyweb.deploy)"},
    "units": {"shop.socket": {"ActiveState": "inactive", "Listen": []}},
    "live": "",
    "slots": {slot: {"active": False, "state": "inactive", "generation": ""} for slot in ("blue", "green")},
    "generations": {},
    "unfinished": [],
    "releases": [],
    "venvs": [],
    "current": "",
    "previous": "",
    "files": {},
    "foreign": [],
    "listening": [],
    "ssh_ports": [22],
    "firewall": {"installed": False, "enabled": False, "rules": []},
}
"""What gunicorn_info would return for a new server."""

SANDBOXED = "ProtectSystem", "NoNewPrivileges", "SystemCallFilter", "CapabilityBoundingSet"
OVERRIDES: Data = {
    "ProtectHome": "read-only",
    "PrivateTmp": False,
    "TimeoutStopSec": 99,
    "UMask": "0022",
    "SystemCallFilter": [],
    "ReadWritePaths": ["/srv/a", "/srv/b c"],
    "MemoryMax": "512M",
}

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
    },
    "asgi": {"gunicorn_settings": {"worker_class": "asgi"}},
    "asgi_keepalive": {"gunicorn_settings": {"worker_class": "asgi", "keepalive": 5}},
    "sync": {"gunicorn_settings": {"worker_class": "sync"}},
    "gevent": {"gunicorn_settings": {"worker_class": "gevent"}},
    "sized": {"gunicorn_settings": {"workers": 4, "backlog": 77, "graceful_timeout": "90"}},
    "binds": {
        "gunicorn_bind": ["192.0.2.5:8000", "[2001:db8::5]:8000", "127.0.0.1:8001", "unix:/run/shop.sock"],
        "gunicorn_firewall_sources": ["198.51.100.7/32", "2001:db8:1::/48"],
    },
    "soft": {"gunicorn_hardening": False},
    "overridden": {"gunicorn_service_options": OVERRIDES},
    "own_user": {"gunicorn_user": "www-data"},
    "texts": {
        "gunicorn_hardening": "no",
        "gunicorn_firewall": "no",
        "gunicorn_keep_releases": "5",
        "gunicorn_force": "yes",
        "gunicorn_health": {"timeout": "5"},
    },
}
REFUSED: dict[str, Data] = {
    "wrong": {
        "gunicorn_name": "Shop",
        "gunicorn_wsgi_app": ["wsgi:app"],
        "gunicorn_packages": "flask",
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
    "no_source": {"gunicorn_source": {}},
}


class Literal(str):
    """A string that Ansible must not take for a template."""

    __slots__ = ()


class Dumper(yaml.SafeDumper):
    """Writes literals as such."""


Dumper.add_representer(Literal, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def literal(value: Any) -> Any:
    """Turn the strings inside a value that look like a template into literals."""
    if isinstance(value, str):
        return Literal(value) if "{" in value else value
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    return [literal(item) for item in value] if isinstance(value, list) else value


@pytest.fixture(scope="session")
def played(role: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with what came out of the run."""
    directory = tmp_path_factory.mktemp("played")
    for name in ("roles/probe/tasks", "app", "written"):
        (directory / name).mkdir(parents=True)
    for name in ("defaults", "files", "meta", "templates", "vars"):
        (directory / "roles/probe" / name).symlink_to(role / name)
    tasks = TASKS.replace("ROLE", str(role)).replace("WRITTEN", str(directory / "written"))
    (directory / "roles/probe/tasks/main.yml").write_text(tasks)
    (directory / "app/wsgi.py").write_text("app = 1\n")
    (directory / "app/requirements.txt").write_text("flask==3.1.3\n")
    play = {"name": "Ask", "hosts": "all", "gather_facts": False, "roles": ["probe"]}
    (directory / "play.yml").write_text(yaml.safe_dump([play]))
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_remote_tmp": str(directory / "tmp"),
        "gunicorn_name": "shop",
        "gunicorn_source": {"directory": "app"},
        "__gunicorn_observed": {"gunicorn": OBSERVED},
    }
    hosts = {name: literal({**common, **variables}) for name, variables in {**CASES, **REFUSED}.items()}
    (directory / "inventory.yml").write_text(yaml.dump({"all": {"hosts": hosts}}, Dumper=Dumper, allow_unicode=True))
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "inventory.yml", "play.yml"],
        cwd=directory,
        env={**os.environ, "ANSIBLE_CONFIG": str(root / "ansible.cfg"), "ANSIBLE_FORKS": str(os.cpu_count())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory / "written"


@pytest.fixture(scope="session")
def outcomes(played: Path) -> Data:
    """What came out, by case."""
    found: Data = json.loads((played / "outcomes.json").read_text())
    assert set(found) == {*CASES, *REFUSED}
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
        path.write_text(outcome(case)["desired"]["generation_files"]["gunicorn.conf.py"])
        return runpy.run_path(str(path), names)

    return execute


def load(names: Data, directory: Path) -> Config:
    """Load what a configuration defines as Gunicorn does; the directory stands for that of the release."""
    config = Config()
    for name, value in {**names, "chdir": str(directory)}.items():
        if name in config.settings:
            config.set(name, value)
        else:
            assert name.startswith("__") or callable(value) or isinstance(value, ModuleType), f"{name} is no setting"
    return config


@pytest.mark.parametrize("case", CASES)
def test_gunicorn_loads_the_configuration(run: Run, tmp_path: Path, case: str) -> None:
    names = run(case)
    config = load(names, tmp_path)
    for name, value in CASES[case].get("gunicorn_settings", {}).items():
        assert names[name] == value
    assert config.address
    assert names["chdir"].startswith("/opt/shop/releases/")
    assert config.control_socket == "/run/gunicorn/shop-blue/control.sock"
    assert config.worker_tmp_dir == "/run/gunicorn/shop-blue"


def test_defaults_of_the_configuration(run: Run, tmp_path: Path) -> None:
    config = load(run("plain"), tmp_path)
    assert (config.bind, config.wsgi_app, config.proc_name) == (["0.0.0.0:8000"], "wsgi:app", "shop")
    assert (config.worker_class_str, config.threads, config.loglevel) == ("gthread", 2, "info")
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
    assert "available_cpus" not in names


# The environment


@pytest.mark.parametrize("case", CASES)
def test_the_environment(outcome: Outcome, case: str) -> None:
    text = outcome(case)["desired"]["generation_files"]["environment"]
    wanted = {"NASTY": NASTY, "EMPTY": "", "NUMBER": "1", "FLAG": "true"} if case == "nasty" else {}
    assert read_environment(text) == wanted


# Units

SEVERAL = {"Environment", "ExecReload", "ListenStream", "ReadWritePaths", "SystemCallFilter"}
"""Directives that may stand in a unit more than once."""

UNITS = {
    "slot": lambda found: found["desired"]["slot_unit"],
    "check": lambda found: found["check_unit"],
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
    assert unit["Service"]["TimeoutStopSec"] == ["35"]
    assert unit["Service"]["Restart"] == ["always"]
    assert unit["Service"]["EnvironmentFile"] == ["/opt/shop/generations/@generation@/environment"]
    assert "GUNICORN_GENERATION=@generation@" in unit["Service"]["Environment"]
    assert unit["Install"]["Alias"] == ["shop.service"]
    assert unit["Unit"]["StartLimitIntervalSec"] == ["0"]


def test_the_unit_of_the_preflight(outcome: Outcome) -> None:
    unit = read_unit(UNITS["check"](outcome("plain")))
    assert unit["Service"]["Sockets"] == ["shop-check.socket"]
    assert unit["Service"]["Restart"] == ["no"]
    assert "check_config.py" in unit["Service"]["ExecStartPre"][0]
    assert "Install" not in unit


def test_the_time_to_stop_follows_gunicorn(outcome: Outcome) -> None:
    assert service(outcome, "sized")["TimeoutStopSec"] == ["95"]


def test_an_existing_user(outcome: Outcome) -> None:
    found = service(outcome, "own_user")
    assert (found["User"], found["Group"]) == (["www-data"], ["www-data"])
    assert outcome("own_user")["plan"]["create_user"] is False


@pytest.mark.parametrize("unit", ["slot", "check"])
def test_hardening(outcome: Outcome, unit: str) -> None:
    for directive in SANDBOXED:
        assert directive in service(outcome, "plain", unit)
        assert directive not in service(outcome, "soft", unit)
        assert directive not in service(outcome, "texts", unit)


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


def test_the_template_module_writes_what_is_planned_with(outcome: Outcome, played: Path) -> None:
    desired = outcome("nasty")["desired"]
    for name, text in {**desired["generation_files"], "public.socket": desired["public_socket"]}.items():
        assert (played / name).read_text() == text


def test_the_plan_of_a_first_deploy(outcome: Outcome) -> None:
    plan = outcome("plain")["plan"]
    assert (plan["problems"], plan["slot"], plan["old_slot"], plan["switch"]) == ([], "blue", "", True)
    assert all(plan[stage] for stage in ("build", "configure", "activate", "firewall"))
    assert plan["rules"] == [{"port": 8000, "source": "any", "destination": "any"}]


def test_rules_for_public_addresses_and_their_sources(outcome: Outcome) -> None:
    assert outcome("binds")["plan"]["rules"] == [
        {"port": 8000, "source": "198.51.100.7", "destination": "192.0.2.5"},
        {"port": 8000, "source": "2001:db8:1::/48", "destination": "2001:db8::5"},
    ]


def test_texts_count_as_what_they_say(outcome: Outcome) -> None:
    desired = outcome("texts")["desired"]
    assert (desired["rules"], desired["keep"], desired["force"]) == (None, 5, True)
    assert "ufw" not in desired["packages"]
    assert outcome("texts")["plan"]["firewall"] is False
    assert service(outcome, "texts")["TimeoutStartSec"] == ["35"]


def test_what_makes_another_generation(outcome: Outcome) -> None:
    ids = {case: outcome(case)["plan"]["id"] for case in CASES}
    assert len(set(ids.values())) == len(CASES)


def test_what_makes_another_venv(outcome: Outcome) -> None:
    venvs = {case: outcome(case)["desired"]["venv"] for case in CASES}
    assert {case for case in CASES if venvs[case] != venvs["plain"]} == {"gevent"}


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
