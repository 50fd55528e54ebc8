"""The role's interface says the same wherever it is written down."""

from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pyweb.deploy.plugins.doc_fragments import stage
from ansible_collections.pyweb.deploy.plugins.module_utils.stages import HEALTH
from ansible_collections.pyweb.deploy.plugins.modules import gunicorn_check, gunicorn_switch
from ansible_collections.pyweb.deploy.plugins.plugin_utils import validation
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import (
    DEFAULT_HEALTH,
    Application,
    Removal,
    Return,
)
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import OURS, REGISTERED
from ansible_collections.pyweb.deploy.plugins.plugin_utils.validation import VARIABLES
from ansible_collections.pyweb.deploy.tests import readme_variables

Data = dict[str, Any]

# Found when the tests are collected, so that each file is a test of its own.
ROLE = Path(__file__).resolve().parents[2] / "roles/gunicorn"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def defaults(role: Path) -> Data:
    found: Data = load(role / "defaults/main.yml")
    return found


@pytest.fixture(scope="module")
def main_spec(role: Path) -> Data:
    found: Data = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]
    return found


@pytest.fixture(scope="module")
def internal(role: Path) -> Data:
    found: Data = load(role / "vars/main.yml")
    return found


def test_public_names(defaults: Data) -> None:
    assert all(name.startswith("gunicorn_") for name in defaults)


def test_the_specification_has_the_defaults(defaults: Data, main_spec: Data) -> None:
    assert list(main_spec["options"]) == list(defaults)
    assert {name: option["default"] for name, option in main_spec["options"].items()} == defaults


MORE_THAN_STRINGS = {"gunicorn_requirements"}
"""Variables whose default is a string, and which may be something else."""


def test_the_specification_leaves_the_checks_to_the_role(defaults: Data, main_spec: Data) -> None:
    for name, option in main_spec["options"].items():
        assert set(option) == {"type", "default", "description"}
        string = isinstance(defaults[name], str) and name not in MORE_THAN_STRINGS
        assert option["type"] == ("str" if string else "raw"), name


KINDS = {
    str: ("A string",),
    bool: ("Whether ",),
    int: ("A whole number",),
    list: ("A list of ",),
    dict: ("A dictionary ",),
}


def test_each_description_begins_with_the_type(defaults: Data, main_spec: Data) -> None:
    for name, option in main_spec["options"].items():
        assert option["description"][0].startswith(KINDS[type(defaults[name])]), name


def test_each_description_has_an_example(main_spec: Data) -> None:
    """Of what is no number, neither true nor false, and no word out of a list that the description has."""
    for name, option in main_spec["options"].items():
        plain = option["description"][0].startswith(("Whether ", "A whole number"))
        shown = plain or name in ("gunicorn_state", "gunicorn_installer")
        assert shown or any(text.startswith("Example: ") for text in option["description"]), name


def test_the_specification_asks_for_no_variable_that_may_be_missing(role: Path) -> None:
    """Ansible works out what stands in braces, in descriptions too, before the role begins."""
    text = (role / "meta/argument_specs.yml").read_text()
    assert re.findall(r"{{ *(\w+)", text) == []


def test_each_default_has_a_comment(role: Path, defaults: Data) -> None:
    text = (role / "defaults/main.yml").read_text()
    for name in defaults:
        assert re.search(rf"^# [^\n]+\n{name}:", text, re.MULTILINE), name


def test_every_variable_is_checked(defaults: Data) -> None:
    assert list(VARIABLES) == list(defaults)


ELSEWHERE = {"state", "release", "serial", "max_fail_percentage", "remove_data", "remove_packages"}
"""Variables of other runs than a deploy, and of the playbooks."""

IN_TASKS = {"index_url", "extra_index_urls", "no_log"}
"""Variables of a deploy that only the task looks at which needs them; two of them may hold a password."""


def test_each_variable_has_its_place() -> None:
    """What counts for a removal or a return is what it is made of."""
    deploy, return_, removal = (
        {field.name for field in dataclasses.fields(kind)} for kind in (Application, Return, Removal)
    )
    names = {name.removeprefix("gunicorn_") for name in VARIABLES}
    assert deploy - {"variables", "unsettled"} == names - ELSEWHERE - IN_TASKS
    for fields, counting in ((return_, validation.RETURN_VARIABLES), (removal, validation.REMOVAL_VARIABLES)):
        counted = {name.removeprefix("gunicorn_") for name in counting}
        assert fields == counted - {"state", "serial", "max_fail_percentage"}


def test_booleans_and_numbers_come_as_such(defaults: Data) -> None:
    """By the types of the fields: whoever gives a text gets what it says."""
    types = {"bool": bool, "int": int, "str": str}
    for field in dataclasses.fields(Application):
        default = defaults.get(f"gunicorn_{field.name}")
        if type(default) in types.values() and field.name != "requirements":
            assert types[str(field.type)] is type(default), field.name


def test_internal_names(internal: Data) -> None:
    assert all(name.startswith("__gunicorn_") for name in internal)


def test_documented_defaults_are_the_ones_in_use(defaults: Data) -> None:
    assert defaults["gunicorn_health"].items() <= DEFAULT_HEALTH.items()


def test_the_keys_of_the_health_check_are_the_same_everywhere() -> None:
    keys = set(DEFAULT_HEALTH)
    assert keys == set(validation.HEALTH_KEYS)
    check, switch = (yaml.safe_load(each.DOCUMENTATION) for each in (gunicorn_check, gunicorn_switch))
    health = yaml.safe_load(stage.ModuleDocFragment.HEALTH)["options"]["health"]["suboptions"]
    assert {*keys, "tls"} == {*health, "watch"}, "tls follows from the settings"
    assert set(health) == set(HEALTH["options"])
    for each in (check, switch):
        assert each["extends_documentation_fragment"] == ["pyweb.deploy.stage", "pyweb.deploy.stage.health"]
        assert "health" not in each["options"], "of both it is the same"
    assert set(switch["options"]["public"]["suboptions"]) == {"host", "port", "path"}


# Tasks

TASK_FILES = sorted((ROLE / "tasks").glob("*.yml"))


def tasks(content: list[Data]) -> Iterator[Data]:
    """Every task of a file, those in blocks included."""
    for task in content:
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part, []))


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.name)
def test_every_task_has_a_name(path: Path) -> None:
    for task in tasks(load(path)):
        assert task.get("name"), task


ON_THE_CONTROLLER = "ansible_connection", "ansible_become", "ansible_python_interpreter"
"""What a task may set that runs there: whatever the inventory says of localhost, it must not become root."""


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.name)
def test_what_tasks_set_is_internal(path: Path) -> None:
    for task in tasks(load(path)):
        names = [task["register"]] if "register" in task else []
        names += itertools.chain(task.get("vars", {}), task.get("ansible.builtin.set_fact", {}))
        # In a loop of the role, `item` would be ours, also in a value that the play makes of its own `item`.
        names += [task.get("loop_control", {}).get("loop_var", "item")] if "loop" in task else []
        names += [value for key, value in task.get("loop_control", {}).items() if key == "index_var"]
        if task.get("delegate_to") == "localhost":
            names = [name for name in names if name not in ON_THE_CONTROLLER]
        assert all(name.startswith("__gunicorn_") for name in names), names


def test_every_loop_is_written_as_one() -> None:
    for path in TASK_FILES:
        assert not [key for task in tasks(load(path)) for key in task if key.startswith("with_")], path


def test_no_handler_of_a_play_is_called_or_hurried(role: Path) -> None:
    assert not (role / "handlers").exists()
    for path in TASK_FILES:
        for task in tasks(load(path)):
            assert not {"notify", "meta", "ansible.builtin.meta"} & set(task), task


def test_tags_choose_all_of_it_or_nothing() -> None:
    """What a dynamic include brings has the tags of the block that the include is in."""
    (whole,) = load(ROLE / "tasks/main.yml")
    assert whole["tags"] == ["gunicorn", "gunicorn_config"]
    inner = [task for path in TASK_FILES for task in tasks(load(path)) if task != whole]
    assert len(inner) > 30
    assert not [task for task in inner if "tags" in task or "apply" in str(task.get("ansible.builtin.include_tasks"))]


def test_the_story_is_short(role: Path) -> None:
    assert len((role / "tasks/main.yml").read_text().splitlines()) < 60


def test_a_host_is_drained_before_the_switch_and_enrolled_after_it(role: Path) -> None:
    """What decides whether they run is held on servers, in test_rolling.py."""
    deploy = load(role / "tasks/deploy.yml")
    order = [
        str(task.get("block", [task])[0].get("ansible.builtin.include_tasks", ""))
        or next(key for key in task if key.startswith("pyweb.deploy."))
        for task in deploy
    ]
    hooks = ("{{ __gunicorn_plan.drain_tasks }}", "{{ __gunicorn_plan.enroll_tasks }}")
    kept = ("pyweb.deploy.gunicorn_check", "pyweb.deploy.gunicorn_switch", "pyweb.deploy.gunicorn_result", *hooks)
    assert [each for each in order if each in kept] == [
        "pyweb.deploy.gunicorn_check",
        hooks[0],
        "pyweb.deploy.gunicorn_switch",
        hooks[1],
        "pyweb.deploy.gunicorn_result",
    ]


def test_the_result_of_each_stage_is_looked_at() -> None:
    """A stage whose result is registered under another name would fail, and nobody would know."""
    stages = [
        (key, task.get("register"))
        for path in TASK_FILES
        for task in tasks(load(path))
        for key in task
        if key in {f"pyweb.deploy.gunicorn_{stage}" for stage in (*OURS, "lock", "packages", "firewall")}
    ]
    assert len(stages) > 7
    assert all(str(name).removeprefix("__gunicorn_stage_") in REGISTERED for _key, name in stages), stages


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.name)
def test_no_task_file_is_orphaned(path: Path) -> None:
    others = "".join(other.read_text() for other in TASK_FILES if other != path)
    playbooks = "".join(playbook.read_text() for playbook in ROLE.parents[1].glob("playbooks/*.yml"))
    assert path.name == "main.yml" or f"_tasks: {path.name}" in others or f"tasks_from: {path.stem}\n" in playbooks


# Versions


def newest(pattern: str, text: str) -> str | None:
    """Highest version among those that a pattern finds."""
    found = re.findall(pattern, text, re.MULTILINE)
    return max(found, key=lambda version: tuple(map(int, version.split("."))), default=None)


def test_the_version_is_the_newest_in_the_changelog(root: Path) -> None:
    version = load(root / "galaxy.yml")["version"]
    changelog = root / "changelogs/changelog.yaml"
    if changelog.exists():
        assert max(load(changelog)["releases"], key=lambda item: tuple(map(int, item.split(".")))) == version
    for name in ("CHANGELOG.rst", "CHANGELOG.md"):
        if (root / name).exists():
            found = newest(r"^(?:#+ )?\[?v?(\d+\.\d+\.\d+)\b", (root / name).read_text())
            assert found in (None, version), name


def test_the_readme_names_the_version(root: Path) -> None:
    version = load(root / "galaxy.yml")["version"]
    readme = root / "README.md"
    text = readme.read_text() if readme.exists() else ""
    claims = re.findall(r"pyweb[.-]deploy(?:==|:|@v?|-)(\d+\.\d+\.\d+)", text)
    assert set(claims) <= {version}


def test_what_is_new_is_in_this_version(root: Path) -> None:
    """Plugins say since when they exist; none is from the future."""
    version = tuple(map(int, load(root / "galaxy.yml")["version"].split(".")))
    for path in (root / "plugins").rglob("*.py"):
        for added in re.findall(r'^version_added: "?([0-9.]+)"?$', path.read_text(), re.MULTILINE):
            assert tuple(map(int, added.split("."))) <= version, path


def test_the_tested_floor_is_the_same_everywhere(root: Path, role: Path) -> None:
    floor = load(role / "meta/main.yml")["galaxy_info"]["min_ansible_version"]
    assert load(root / "meta/runtime.yml")["requires_ansible"] == f">={floor}.0"


# The table in the README

SPECS: Data = {
    "argument_specs": {
        "main": {
            "options": {
                "gunicorn_a": {"default": [], "description": ["A list of C(x|y), with\n  V(z).", "More."]},
                "gunicorn_b": {"default": 'say "ü"', "description": ["A string."]},
            }
        }
    }
}
TABLE = r"""| Variable | Default | Meaning |
|---|---|---|
| `gunicorn_a` | `[]` | A list of `x\|y`, with `z`. |
| `gunicorn_b` | `"say \"ü\""` | A string. |"""


def test_the_table() -> None:
    assert readme_variables.table(SPECS) == TABLE


def test_only_what_is_between_the_markers_changes() -> None:
    readme = "# Title\n\n<!-- variables -->\nold\n<!-- /variables -->\n\nEnd\n"
    wanted = f"# Title\n\n<!-- variables -->\n\n{TABLE}\n\n<!-- /variables -->\n\nEnd\n"
    assert readme_variables.current(readme, SPECS) == wanted
    assert readme_variables.current(wanted, SPECS) == wanted


@pytest.mark.parametrize(
    "readme",
    [
        "",
        "<!-- variables -->",
        "<!-- /variables --><!-- variables -->",
        "<!-- variables -->" * 2 + "<!-- /variables -->",
    ],
)
def test_a_readme_without_its_markers(readme: str) -> None:
    with pytest.raises(ValueError, match=r"README\.md needs the lines"):
        readme_variables.current(readme, SPECS)


@pytest.fixture
def readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "README.md"
    path.write_text("x\n<!-- variables -->\n<!-- /variables -->\n")
    monkeypatch.setattr(readme_variables, "README", path)
    return path


def test_writing_and_checking(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = readme.read_text()
    assert readme_variables.main(["--check"]) == 1
    assert "is old" in capsys.readouterr().err
    assert readme.read_text() == before
    assert readme_variables.main([]) == 0
    assert all(f"| `{name}` | " in readme.read_text() for name in VARIABLES)
    assert readme_variables.main(["--check"]) == 0
    readme.write_text(readme.read_text().replace("whole number", "number"))
    assert readme_variables.main(["--check"]) == 1


def test_wrong_use(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert readme_variables.main(["--chek"]) == 2
    assert "usage" in capsys.readouterr().err
    readme.write_text("")
    assert readme_variables.main(["--check"]) == 1


def test_the_table_in_the_readme_is_current(root: Path) -> None:
    readme = root / "README.md"
    if not readme.exists() or readme_variables.BEGIN not in readme.read_text():
        pytest.skip("README.md has no table yet")
    command = [sys.executable, str(root / "tests/readme_variables.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# What Ansible shows


def test_ansible_doc_shows_every_variable(root: Path, defaults: Data) -> None:
    command = [sys.executable, "-m", "ansible", "doc", "--type", "role", "pyweb.deploy.gunicorn", "--json"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    shown = yaml.safe_load(done.stdout)["pyweb.deploy.gunicorn"]["entry_points"]["main"]["options"]
    assert set(shown) == set(defaults)


@pytest.mark.parametrize("kind", ["module", "filter", "callback"])
def test_ansible_doc_shows_every_plugin(root: Path, kind: str) -> None:
    directory = root / "plugins" / ("modules" if kind == "module" else kind)
    names = [f"pyweb.deploy.{path.stem}" for path in sorted(directory.glob("*.py"))]
    command = [sys.executable, "-m", "ansible", "doc", "--type", kind, "--json", *names]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert sorted(shown) == names
    assert all(each.get("doc") and each.get("examples") for each in shown.values()), done.stderr


def test_the_tools_are_locked(root: Path) -> None:
    """`make lock` was run after a change of requirements-dev.in, and every file has its hash."""
    asked = re.findall(
        r"^([\w-]+)(?:\[.*\])?==(\S+?)(?:;.*| #.*)?$", (root / "requirements-dev.in").read_text(), re.MULTILINE
    )
    locked = (root / "requirements-dev.txt").read_text()
    names = re.findall(r"^([\w.-]+)==(\S+)(?: ;.*)? \\\n    --hash=sha256:[0-9a-f]{64}", locked, re.MULTILINE)
    assert {(name.lower(), version) for name, version in asked} <= {(name.lower(), version) for name, version in names}
    assert len(names) == len(re.findall(r"^\w", locked, re.MULTILINE))
    assert len(asked) > 10


# Tests


def test_no_test_knows_the_name_of_a_task(root: Path) -> None:
    """A renamed task would turn `is not in the output` into an assertion that can't fail."""
    names = {task["name"] for path in TASK_FILES for task in tasks(load(path)) if " | " in task["name"]}
    texts = [path.read_text() for place in ("tests", "molecule") for path in (root / place).rglob("*.py")]
    assert len(names) > 30, "they are found at all"
    assert [name for name in sorted(names) if any(name in text for text in texts)] == []


# Security


def test_nothing_turns_off_the_check_of_a_certificate_a_host_key_or_a_signature(root: Path) -> None:
    """The health check asks its own application over TLS, whose certificate is for another name than localhost."""
    words = r"(?i)validate_certs|allow_unauthenticated|HostKeyChecking|accept_hostkey|trusted.host|insecure|CERT_NONE"
    files = [path for name in ("roles", "plugins", "playbooks") for path in (root / name).rglob("*") if path.is_file()]
    found = {path.name for path in files if path.suffix != ".pyc" and re.search(words, path.read_text())}
    assert found == {"probe.py"}
