"""The role's interface says the same wherever it is written down."""

from __future__ import annotations

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
    assert set(re.findall(r"{{ *(\w+)", text)) <= {"playbook_dir"}


def test_each_default_has_a_comment(role: Path, defaults: Data) -> None:
    text = (role / "defaults/main.yml").read_text()
    for name in defaults:
        assert re.search(rf"^# [^\n]+\n{name}:", text, re.MULTILINE), name


def test_every_variable_is_checked(defaults: Data, internal: Data) -> None:
    assert list(VARIABLES) == list(defaults)
    assert internal["__gunicorn_input"] == {name: f"{{{{ {name} }}}}" for name in defaults}
    assert list(internal["__gunicorn_input"]) == list(defaults)


def test_internal_names(internal: Data) -> None:
    assert all(name.startswith("__gunicorn_") for name in internal)


def test_documented_defaults_are_the_ones_in_use(defaults: Data, internal: Data) -> None:
    used = internal["__gunicorn_default_health"]
    assert defaults["gunicorn_health"].items() <= used.items()


def test_the_keys_of_the_health_check_are_the_same_everywhere(internal: Data) -> None:
    keys = set(internal["__gunicorn_default_health"])
    assert keys == set(validation.HEALTH_KEYS)
    check, switch = (yaml.safe_load(each.DOCUMENTATION) for each in (gunicorn_check, gunicorn_switch))
    health = yaml.safe_load(stage.ModuleDocFragment.HEALTH)["options"]["health"]["suboptions"]
    assert {*keys, "tls"} == {*health, "watch"}, "tls follows from the settings"
    assert set(health) == set(HEALTH["options"])
    for each in (check, switch):
        assert each["extends_documentation_fragment"] == ["pyweb.deploy.stage", "pyweb.deploy.stage.health"]
        assert "health" not in each["options"], "of both it is the same"
    assert set(switch["options"]["public"]["suboptions"]) == {"host", "port", "path"}


def test_what_counts_for_going_back_is_what_it_is_asked_with(role: Path) -> None:
    text = (role / "vars/main.yml").read_text()
    returned = text[text.index("__gunicorn_return:") : text.index("__gunicorn_deploy:")]
    used = set(re.findall(r"gunicorn_[a-z_]+", returned)) & set(VARIABLES)
    assert used == set(validation.RETURN_VARIABLES) - {"gunicorn_state", *validation.ROLLING}


def test_what_counts_for_removal_is_what_it_is_asked_with(role: Path) -> None:
    text = (role / "vars/main.yml").read_text()
    removal = text[text.index("__gunicorn_removal:") : text.index("__gunicorn_return:")]
    used = set(re.findall(r"gunicorn_[a-z_]+", removal)) & set(VARIABLES)
    assert used == set(validation.REMOVAL_VARIABLES) - {"gunicorn_state", *validation.ROLLING}


def test_the_kinds_of_source_are_the_same_everywhere(internal: Data) -> None:
    (kinds,) = re.findall(r"\[(.*)\]", internal["__gunicorn_kind"])
    assert re.findall(r"'(\w+)'", kinds) == list(validation.SOURCES)
    (endings,) = re.findall(r"match\('\.\*\((.*)\)\$'\)", internal["__gunicorn_package_file"])
    assert tuple(endings.replace("\\", "").split("|")) == validation.PACKAGE_FILES


def test_what_a_run_remembers_tells_applications_apart(role: Path) -> None:
    (remembered,) = [task for task in load(role / "tasks/validate.yml") if "Remember" in task["name"]]
    kept = remembered["vars"]["__gunicorn_this"]
    assert set(kept) | {"gunicorn_name"} == set(validation.CLASHES)
    (keys,) = re.findall(r"\[(.*)\]", kept["gunicorn_source"])
    assert tuple(re.findall(r"'(\w+)'", keys)) == validation.ORIGIN


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
    assert len(inner) > 50
    assert not [task for task in inner if "tags" in task or "apply" in str(task.get("ansible.builtin.include_tasks"))]


def test_the_story_is_short(role: Path) -> None:
    assert len((role / "tasks/main.yml").read_text().splitlines()) < 60


def test_a_host_is_drained_before_the_switch_and_enrolled_whatever_comes_of_it(role: Path) -> None:
    (switch,) = (task for task in load(role / "tasks/activate.yml") if "always" in task)
    drain, *_others = switch["block"]
    (enroll,) = switch["always"]
    hooks = [(task["ansible.builtin.include_tasks"], task["when"]) for task in (drain, enroll)]
    assert hooks == [
        ("{{ __gunicorn_drain_tasks }}", "__gunicorn_plan.switch and gunicorn_drain_tasks | length > 0"),
        ("{{ __gunicorn_enroll_tasks }}", "gunicorn_enroll_tasks | length > 0"),
    ]


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.name)
def test_no_task_file_is_orphaned(path: Path) -> None:
    others = "".join(other.read_text() for other in TASK_FILES if other != path)
    playbooks = "".join(playbook.read_text() for playbook in ROLE.parents[1].glob("playbooks/*.yml"))
    assert path.name == "main.yml" or f"_tasks: {path.name}" in others or f"tasks_from: {path.stem}\n" in playbooks


def test_a_look_at_the_fleet_looks_as_a_deploy_does(role: Path) -> None:
    """Else it would call drift what a deploy doesn't, or the other way round."""
    module = "pyweb.deploy.gunicorn_info"
    deploy, *_others = (task[module] for task in tasks(load(role / "tasks/observe.yml")) if module in task)
    glance, *_others = (task[module] for task in tasks(load(role / "tasks/status.yml")) if module in task)
    assert glance == {**deploy, "glance": True}


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
    assert len(names) > 50, "they are found at all"
    assert [name for name in sorted(names) if any(name in text for text in texts)] == []


# Security


def test_nothing_turns_off_the_check_of_a_certificate_a_host_key_or_a_signature(root: Path) -> None:
    """The health check asks its own application over TLS, whose certificate is for another name than localhost."""
    words = r"(?i)validate_certs|allow_unauthenticated|HostKeyChecking|accept_hostkey|trusted.host|insecure|CERT_NONE"
    files = [path for name in ("roles", "plugins", "playbooks") for path in (root / name).rglob("*") if path.is_file()]
    found = {path.name for path in files if path.suffix != ".pyc" and re.search(words, path.read_text())}
    assert found == {"probe.py"}
