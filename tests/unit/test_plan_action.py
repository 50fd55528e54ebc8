"""The action gunicorn_plan: what it reads, asks and hands on, and what a user reads where a run can't work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible._internal._templating._utils import Omit
from ansible.errors import AnsibleAction, AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import EncryptedString, VaultLib, VaultSecret, VaultSecretsContext
from ansible.playbook.task import Task
from ansible.template import Templar, trust_as_template
from ansible_collections.pyweb.deploy.plugins.action import gunicorn_plan as action
from ansible_collections.pyweb.deploy.plugins.module_utils import ufw
from ansible_collections.pyweb.deploy.plugins.module_utils.source import nothing
from ansible_collections.pyweb.deploy.plugins.plugin_utils import application
from ansible_collections.pyweb.deploy.plugins.plugin_utils.variables import defaults, read, untagged
from ansible_collections.pyweb.deploy.tests.unit.deploying import OBSERVED

Data = dict[str, Any]

BROKEN = trust_as_template("{{ lookup('ansible.builtin.pipe', 'exit 7') }}")
UNDEFINED = trust_as_template("{{ vault_password }}")


class Run:
    """Runs of the action in a project, whose module answers this."""

    def __init__(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        self.answer: Data = {
            "gunicorn": {**OBSERVED, "runtime_status": {"shop": {}}},
            "invocation": {"module_args": {}},
        }
        self.unreachable = False
        self.check = False
        self.asked: list[Data] = []
        self.later: Data = {}
        """What the module answers from the second time on, where it is something else."""
        self.others: list[Data] = []
        """What other modules answer, and what they were asked."""
        self.asked_of_others: list[Data] = []
        self.known: Data = {}
        """Variables that are not the role's."""
        monkeypatch.setattr(action.ActionModule, "_execute_module", self.execute)

    def execute(self, module_name: str, module_args: Data, task_vars: Data) -> Data:
        assert task_vars
        if module_name != "pyweb.deploy.gunicorn_info":
            self.asked_of_others.append(module_args)
            return self.others.pop(0)
        self.asked.append(module_args)
        if self.unreachable:
            raise AnsibleConnectionFailure("Connection refused")
        return dict(self.later if self.later and len(self.asked) > 1 else self.answer)

    def __call__(self, options: Data | None = None, **variables: Any) -> Data:
        task = Task.load({"name": "Plan", "pyweb.deploy.gunicorn_plan": options or {}})
        task.check_mode = self.check
        given = {"gunicorn_name": "shop", "gunicorn_source": {"directory": "app"}, **variables}
        known = {"playbook_dir": str(self.project), "inventory_hostname": "web1", "omit": Omit, **self.known}
        self.task_vars = task_vars = {**defaults(), **known, **given}
        self.templar = templar = Templar(DataLoader(), variables=task_vars)
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/tmp/there"))
        plugin = action.ActionModule(task, connection, SimpleNamespace(), None, templar, None)
        try:
            result: Data = plugin.run(task_vars=task_vars)
        except AnsibleAction as problem:  # as Ansible does; what it prints first is `_reason`
            return {"changed": False, **problem.result, "failed": True, "_reason": str(problem)}
        return result


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/wsgi.py").write_text("app = 1\n")
    config = SimpleNamespace(get_config_value=lambda _name: str(tmp_path / "home"))
    monkeypatch.setattr(application, "constants", SimpleNamespace(config=config))
    return tmp_path


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(project, monkeypatch)


@pytest.fixture
def runtime_status(run: Run) -> Any:
    """Look at the status in place of a plan."""
    return lambda **variables: run({"runtime_status": True}, **variables)


def vaulted(text: str) -> EncryptedString:
    secrets = [("default", VaultSecret(b"sesame"))]
    if not VaultSecretsContext.current(optional=True):
        VaultSecretsContext.initialize(VaultSecretsContext(secrets))
    return EncryptedString(ciphertext=VaultLib(secrets).encrypt(text.encode()).decode())


# What it reads


def test_each_variable_that_is_undefined_is_named(run: Run) -> None:
    result = run(gunicorn_environment={"A": UNDEFINED}, gunicorn_secrets=UNDEFINED, gunicorn_user=BROKEN)
    assert result["failed"]
    first, second, third = result["msg"].splitlines()
    undefined = "'vault_password' is undefined. It accepts a dictionary of names"
    assert first.startswith(f"gunicorn_environment: {undefined}")
    assert second.startswith(f"gunicorn_secrets: {undefined}")
    assert third.startswith("gunicorn_user: The lookup plugin 'ansible.builtin.pipe' failed: ")
    assert all("Example: gunicorn_" in line for line in (first, second, third))
    assert run.asked == [], "the host was not looked at"


def test_a_variable_that_is_undefined_before_it_is_known_what_counts(run: Run) -> None:
    assert run(gunicorn_release=UNDEFINED)["msg"].startswith("gunicorn_release: 'vault_password' is undefined. ")


def test_what_is_omitted_has_its_default(run: Run) -> None:
    omitted = {name: trust_as_template("{{ nothing | default(omit) }}") for name in defaults()}
    for name in ("gunicorn_name", "gunicorn_source"):
        omitted.pop(name)
    assert run(**omitted)["id"] == run()["id"]


def test_values_of_a_vault_count_as_what_they_say(run: Run) -> None:
    """As they are, in a dictionary, and by a template."""
    run.known["password"] = vaulted("wsgi:app")
    plain = run(gunicorn_environment={"A": "wsgi:app", "B": "wsgi:app"})
    given = {"A": vaulted("wsgi:app"), "B": trust_as_template("{{ password }}")}
    found = run(gunicorn_wsgi_app=vaulted("wsgi:app"), gunicorn_environment=given)
    assert {**found, "token": ""} == {**plain, "token": ""}
    assert plain["record"]["environment"] == ["A", "B"]
    found = read("gunicorn_environment", run.templar, run.task_vars)
    assert [type(value) for value in (found, *found, *found.values())] == [dict, *[str] * 4]


def test_what_the_role_ignores_is_named(run: Run) -> None:
    assert run()["warnings"] == []
    run.answer["warnings"] = ["The interpreter may move"]
    result = run(gunicorn_vhost=BROKEN, gunicorn_memory=UNDEFINED, __gunicorn_x=1, web_port=1)
    assert "failed" not in result
    said = "gunicorn_memory, gunicorn_vhost: variables of your own? The role gunicorn has none of that name, and "
    assert result["warnings"] == ["The interpreter may move", f"{said}ignores them."]


def test_what_a_variable_of_the_role_refers_to_is_the_users_own(run: Run) -> None:
    """Whatever it is called, and wherever in a value it stands."""
    bind = [trust_as_template("0.0.0.0:{{ gunicorn_port }}")]
    health = {"path": trust_as_template("{{ gunicorn_healthpath }}")}
    own: Data = {"gunicorn_port": 8000, "gunicorn_healthpath": "/", "gunicorn_environments": {}}
    result = run(gunicorn_bind=bind, gunicorn_health=health, gunicorn_user=vaulted("app"), **own)
    (message,) = result["msg"].splitlines()
    assert message.startswith("gunicorn_environments: the role has no such variable; did you mean gunicorn_env")
    environment = trust_as_template("{{ gunicorn_environments }}")
    result = run(gunicorn_bind=bind, gunicorn_health=health, gunicorn_environment=environment, **own)
    assert result["warnings"] == []


def test_a_word_of_others_counts_where_the_variable_was_left_alone(run: Run) -> None:
    message = "gunicorn_port: the role has no such variable; did you mean gunicorn_bind? Example: gunicorn_bind: ["
    assert run(gunicorn_port=9000)["msg"].startswith(message)
    assert "failed" not in run(gunicorn_port=9000, gunicorn_bind=["127.0.0.1:8000"])


def test_a_configuration_file_that_is_not_read(run: Run, project: Path) -> None:
    """It is told with a change, and an address that differs from the role's own stands out."""
    (project / "app/gunicorn.conf.py").write_text("bind = '127.0.0.1:8000'\nworkers = 4\n")
    result = run()
    first, bind, workers = result["summary"][-3:]
    assert first.startswith("gunicorn.conf.py of the source is not read. ")
    assert (bind.split("`")[1], workers.split("`")[1]) == ("bind = '127.0.0.1:8000'", "workers = 4")
    (warning,) = result["warnings"]
    assert warning.startswith("shop listens on 0.0.0.0:8000, not where gunicorn.conf.py of its source says")
    assert run(gunicorn_bind=["0.0.0.0:9000"])["warnings"] == [], "somebody has chosen that"
    for source in ({"exclude": ["gunicorn.conf.py"]}, {}):
        included: Data = (
            {} if source else {"gunicorn_conf_file": "gunicorn.conf.py", "gunicorn_bind": ["127.0.0.1:8000"]}
        )
        result = run(gunicorn_source={"directory": "app", **source}, **included)
        assert ("not read" in str(result["summary"]), result["warnings"]) == (False, [])
    (project / "app/gunicorn.conf.py").unlink()
    assert "gunicorn.conf.py" not in str(run()["summary"])


def test_where_nothing_changes_nothing_is_told(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "app/gunicorn.conf.py").write_text("bind = '127.0.0.1:8000'\n")
    monkeypatch.setattr(action, "make_plan", lambda *_arguments: {**nothing_to_do(), "problems": []})
    result = run()
    assert (result["summary"], result["warnings"]) == ([], [])


def nothing_to_do() -> Data:
    """A plan without work."""
    empty = {"work": False, "stages": [], "summary": [], "check_mode_limits": [], "bring_code": False, "ask_ufw": False}
    return {**empty, "name": "shop", "serving": "", "id": "0" * 12}


def test_the_file_of_the_configuration_makes_another_release(run: Run, project: Path) -> None:
    (project / "app/gunicorn.conf.py").write_text("workers = 4\n")
    without = run()
    with_it = run(gunicorn_conf_file="gunicorn.conf.py")
    assert with_it["id"] != without["id"]
    assert with_it["record"]["settings"]["workers"] == 4
    assert "s3cret" not in str(with_it)
    (project / "app/gunicorn.conf.py").write_text("raw_env = ['A=s3cret']\nSECRET = _secret = 's3cret'\n")
    changed = run(gunicorn_conf_file="gunicorn.conf.py")
    assert changed["id"] not in (with_it["id"], without["id"])
    assert "s3cret" not in str(changed)


class Text(str):
    """As Ansible has its own, which remember where they came from."""

    __slots__ = ()


@pytest.mark.parametrize("value", [Text("a"), {Text("a"): [Text("b")]}, (1, True, 2.5, None), "", []])
def test_what_is_read_is_of_pythons_own_types(value: Any) -> None:
    found = untagged(value)
    assert repr(found) == repr(list(value) if isinstance(value, tuple) else value)
    assert type(found) in (str, dict, list)
    assert {type(each) for each in found} <= {str} or found == [1, True, 2.5, None]


def test_secrets_are_asked_for_once(run: Run, project: Path) -> None:
    """They may come from far away, and each time be others."""
    log = project / "log"
    lookup = trust_as_template(f"{{{{ lookup('ansible.builtin.pipe', 'echo asked >> {log}; echo s3cret') }}}}")
    result = run(gunicorn_secrets={"TOKEN": lookup}, gunicorn_secrets_environment=True)
    assert log.read_text() == "asked\n"
    assert result["record"]["secrets"] == ["TOKEN"]
    assert "s3cret" not in json.dumps(result)


@pytest.mark.parametrize(
    "variables",
    [{"gunicorn_state": "absent"}, {"gunicorn_release": "previous"}],
    ids=["removal", "return"],
)
def test_nobody_asks_for_what_does_not_count(run: Run, variables: Data) -> None:
    others = dict.fromkeys(("gunicorn_secrets", "gunicorn_source", "gunicorn_settings", "gunicorn_user"), BROKEN)
    result = run(**others, **variables)
    assert "lookup" not in result.get("msg", "")
    assert run.asked == [{"name": "shop", "user": "shop"}]


# What it says of what can't work


def test_all_that_is_wrong_comes_at_once_and_before_anything_else(run: Run) -> None:
    result = run(
        gunicorn_bind=["0.0.0.0:99999"],
        gunicorn_source={"git": "-x"},
        gunicorn_drain_tasks="nowhere.yml",
        gunicorn_wheelhouse="nowhere",
        gunicorn_enviroment={},
    )
    names = [line.split(":")[0] for line in result["msg"].splitlines() if line.startswith("gunicorn_")]
    wrong = ["gunicorn_source", "gunicorn_bind", "gunicorn_drain_tasks", "gunicorn_wheelhouse", "gunicorn_enviroment"]
    assert names == wrong
    assert f"{run.project}/nowhere.yml is not a file" in result["msg"]
    assert run.asked == []


def test_what_only_the_host_and_the_source_show_comes_together(run: Run) -> None:
    run.answer["gunicorn"] = {**run.answer["gunicorn"], "systemd": False}
    result = run(gunicorn_wsgi_app="other:app")
    first, second = result.pop("msg").splitlines()
    assert result["_reason"] == f"{first} […]"
    assert first.startswith("gunicorn_wsgi_app: got 'other:app': there is no other.py in ")
    assert second.startswith("The host isn't run by systemd.")
    shown = {name: value for name, value in result.items() if not name.startswith("_")}
    assert set(shown) == {"changed", "failed", "name", "serving", "id"}, "all else would hide the message"


@pytest.mark.parametrize("variables", [{}, {"gunicorn_release": "previous"}])
def test_a_host_of_an_earlier_version_of_the_role(run: Run, variables: Data) -> None:
    run.answer["gunicorn"]["layout"] = 1
    result = run(**variables)
    assert (result["failed"], len(run.asked)) == (True, 1)
    assert result["msg"].startswith("gunicorn_name: got 'shop', but /opt/shop on the host has layout 1, which another ")
    assert not run(gunicorn_state="absent", gunicorn_source={}).get("failed"), "it can be removed"


def test_the_module_says_why_it_could_not_look(run: Run) -> None:
    run.answer = {"failed": True, "msg": "gunicorn_info needs root", "invocation": {"module_args": {}}}
    result = run()
    assert (result["failed"], result["msg"]) == (True, "gunicorn_info needs root")
    assert "invocation" not in result


def test_a_host_that_does_not_answer(run: Run) -> None:
    run.unreachable = True
    with pytest.raises(AnsibleConnectionFailure):
        run()


# What it hands on


def test_the_plan(run: Run) -> None:
    result = run()
    assert (result["changed"], result["work"], result["slot"], result["fetch"]) == (False, True, "blue", {})
    assert result["summary"][0].startswith(f"shop: release {result['id']} starts in slot blue")
    assert result["observed"] == run.answer["gunicorn"]
    assert len(run.asked) == 1, "one look at the host"
    assert "invocation" not in result
    json.dumps(result)


def test_what_a_run_has_no_need_to_find_out_again(run: Run) -> None:
    run.answer["ansible_facts"] = {"discovered_interpreter_python": "/usr/bin/python3.13"}
    assert run()["ansible_facts"] == {"discovered_interpreter_python": "/usr/bin/python3.13"}
    assert "ansible_facts" not in run.answer["gunicorn"]


def test_check_mode_says_what_it_cannot_tell(run: Run) -> None:
    assert not any("can't tell" in line for line in run()["summary"])
    run.check = True
    result = run()
    assert "check mode can't tell which other Debian packages come along" in result["summary"]


def test_an_application_that_is_on_the_host_is_looked_at_there(run: Run) -> None:
    found = {**nothing("/srv/shop", ""), "digest": "eeeeeeeeeeee", "has_module": True}
    run.answer["gunicorn"] = {**run.answer["gunicorn"], "source": found}
    result = run(gunicorn_source={"existing": "/srv/shop", "exclude": ["tests"], "marker": "REVISION"})
    assert run.asked[0]["source"] == {
        "path": "/srv/shop",
        "exclude": ["tests"],
        "requirements": "requirements.txt",
        "module": "wsgi",
        "marker": "REVISION",
        "conf_file": "",
    }
    assert (result["source"]["digest"], result["code"]["digest"]) == ("eeeeeeeeeeee", "")


def test_what_is_elsewhere_has_to_be_fetched_first(run: Run, project: Path) -> None:
    source = {"archive": "https://files.example.org/shop.zip", "checksum": "sha256:" + "0" * 64}
    first = run(gunicorn_source=source)
    assert (first["work"], first["summary"], run.asked) == (False, [], []), "no host is looked at before"
    packed = Path(first["fetch"]["path"])
    assert packed.parent == project / "home/pyweb.deploy"
    packed.parent.mkdir(parents=True)
    shutil.move(shutil.make_archive(str(project / "shop"), "zip", project / "app"), packed)
    second = run({"fetched": True}, gunicorn_source=source)
    assert "sha256" in second["msg"], "what came is checked"
    assert len(run.asked) == 1


def test_ufw_is_asked_before_anything_is_changed(run: Run) -> None:
    observed = run.answer["gunicorn"]
    run.answer["gunicorn"] = {**observed, "firewall": {**observed["firewall"], "installed": True}}
    run.others = [{"changed": False}]
    assert "failed" not in run()
    (asked,) = run.asked_of_others
    assert (asked.pop("step"), asked["name"]) == ("ask", "shop")
    assert ArgumentSpecValidator(ufw.OPTIONS).validate(asked).error_messages == []
    run.others = [{"failed": True, "msg": "ERROR: no iptables"}]
    result = run()
    assert result["failed"]
    assert result["msg"].startswith("gunicorn_firewall: got True, but ufw doesn't work on the host.")
    assert result["msg"].endswith("ERROR: no iptables")


def test_a_module_of_an_interrupted_run_is_waited_for_and_the_host_observed_again(run: Run) -> None:
    run.answer["gunicorn"] = {**run.answer["gunicorn"], "at_work": True}
    run.others = [{"changed": False}]
    assert run()["work"]
    assert (len(run.asked), run.others) == (2, [])
    run.others = [{"failed": True, "msg": "shop: another run is changing it"}]
    assert run()["msg"] == "shop: another run is changing it"
    run.check = True
    assert "failed" not in run(), "check mode changes nothing, and takes no lock"


def test_the_lock_is_given_back_where_there_is_nothing_left_to_do_after_the_wait(run: Run) -> None:
    before = run.answer["gunicorn"]
    run.answer["gunicorn"] = {**before, "at_work": True}
    run.later = {"gunicorn": {**before, "systemd": False}}
    run.others = [{"changed": False}, {"changed": False}]
    assert run()["failed"]
    assert (len(run.asked), run.others) == (2, [])


# What a run remembers


def test_two_applications_of_one_run_are_told_apart(run: Run) -> None:
    run.known["__gunicorn_run"] = run()["run"]
    assert set(run.known["__gunicorn_run"]) == {"web1"}
    assert run(gunicorn_source={"directory": "."})["msg"].startswith("gunicorn_name: got 'shop': another application")
    other: Data = {"gunicorn_name": "blog", "gunicorn_source": {"git": "https://git.example.org/blog.git"}}
    assert "'shop', another application of this run, listens on '0.0.0.0:8000'" in run(**other)["msg"]
    run.known["ansible_delegated_vars"] = {"web2": {}}
    assert set(run(**other)["run"]) == {"web1", "web2"}, "the other host has no application yet"
    assert run(gunicorn_state="absent")["run"] == run.known["__gunicorn_run"], "what goes is not deployed"


def test_what_is_remembered_may_be_printed(run: Run) -> None:
    source = {"git": "https://git.example.org/shop.git", "key_file": "secret", "version": "main"}
    assert run(gunicorn_source=source, gunicorn_environment={"A": "s3cret"})["run"] == {
        "web1": {
            "shop": {
                "gunicorn_source": {"git": "https://git.example.org/shop.git"},
                "gunicorn_wsgi_app": "wsgi:app",
                "gunicorn_bind": ["0.0.0.0:8000"],
            }
        }
    }


# A look at the status


def test_a_look_at_the_status_asks_what_a_deploy_asks(run: Run, runtime_status: Any) -> None:
    """Else it would call drift what a deploy doesn't, or the other way round."""
    plan, found = run(), runtime_status()
    assert run.asked[1] == {**run.asked[0], "runtime_status": True}
    assert (found["name"], found["described"], found["reached"], found["problem"]) == ("shop", True, True, "")
    assert found["applications"] == {"shop": {}}
    assert found["plan"] == {key: plan[key] for key in found["plan"]}
    assert {"work", "problems", "summary", "stages"} <= set(found["plan"])
    assert "s3cret" not in json.dumps(runtime_status(gunicorn_environment={"A": "s3cret"}))


@pytest.mark.parametrize(
    ("variables", "unknown"),
    [
        ({"gunicorn_secrets": {"A": BROKEN}}, "gunicorn_secrets: The lookup plugin 'ansible.builtin.pipe' failed: "),
        ({"gunicorn_bind": 5}, "gunicorn_bind: got 5: it is not a list"),
        ({"gunicorn_state": UNDEFINED}, "gunicorn_state: 'vault_password' is undefined"),
    ],
)
def test_what_cannot_be_known_is_no_reason_not_to_look(
    run: Run, runtime_status: Any, variables: Data, unknown: str
) -> None:
    found = runtime_status(**variables)
    assert found["unknown"].startswith(unknown)
    assert (found["plan"], found["applications"]) == ({}, {"shop": {}})
    assert run.asked == [{"name": "shop", "user": "shop", "runtime_status": True}]


@pytest.mark.parametrize("variables", [{"gunicorn_state": "absent"}, {"gunicorn_source": {}}])
def test_an_application_that_nobody_describes(run: Run, runtime_status: Any, variables: Data) -> None:
    found = runtime_status(**variables)
    assert (found["described"], found["unknown"], found["plan"]) == (False, "", {})
    assert run.asked == [{"name": "shop", "user": "shop", "runtime_status": True}]


def test_hosts_that_cannot_be_looked_at(run: Run, runtime_status: Any) -> None:
    run.unreachable = True
    found = runtime_status()
    assert (found["reached"], found["problem"]) == (False, "Connection refused")
    assert "unreachable" not in found, "Ansible would leave the host alone from there on"
    run.unreachable = False
    run.answer = {"failed": True, "msg": "gunicorn_info needs root"}
    found = runtime_status()
    assert (found["reached"], found["problem"]) == (True, "gunicorn_info needs root")
    assert runtime_status(gunicorn_name=UNDEFINED)["problem"].startswith("gunicorn_name: 'vault_password' is undefined")
    assert "failed" not in found


def test_a_look_with_a_source_that_is_elsewhere(run: Run, runtime_status: Any) -> None:
    source = {"git": "https://git.example.org/shop.git"}
    assert runtime_status(gunicorn_source=source)["fetch"]["kind"] == "git"
    assert run.asked == []
    found = run({"runtime_status": True, "unknown": "can't be fetched"}, gunicorn_source=source)
    assert (found["fetch"], found["unknown"], found["plan"]) == ({}, "can't be fetched", {})
    found = run({"runtime_status": True, "fetched": True}, gunicorn_source=source)
    assert "is not a directory on the controller" in found["plan"]["problems"][0]


# In a play

PLAY = """
- name: Deploy what can't be fetched
  hosts: localhost
  gather_facts: false
  roles:
    - role: pyweb.deploy.gunicorn
      gunicorn_source: {git: /nowhere/shop.git, version: v1}
"""


def test_a_repository_that_cannot_be_fetched(root: Path, tmp_path: Path) -> None:
    playbook = tmp_path / "site.yml"
    playbook.write_text(PLAY)
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(playbook)]
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "gunicorn_source: got /nowhere/shop.git at v1, which could not be fetched on the controller." in said, said
    assert "Example: git clone /nowhere/shop.git" in said
    assert "does not appear to be a git repository" in said
