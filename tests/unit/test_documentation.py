"""Every code block, name, path and link of the documentation holds, as far as that can be told without a server.

`tests/markdown.py` says which marks a block may have. What needs a server runs in tests/integration.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pyweb.deploy.plugins.plugin_utils.validation import VARIABLES
from ansible_collections.pyweb.deploy.tests import markdown
from ansible_collections.pyweb.deploy.tests.markdown import Block
from ansible_collections.pyweb.deploy.tests.rig import publish
from ansible_collections.pyweb.deploy.tests.unit import documented

ROOT = markdown.ROOT
PAGES = markdown.pages()
BLOCKS = [block for page in PAGES for block in markdown.blocks(page)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    yield from (block for block in BLOCKS if block.page == page and (not languages or block.language in languages))


@pytest.fixture(scope="module")
def defaults(role: Path) -> dict[str, Any]:
    return documented.defaults(role)


@pytest.fixture(scope="module")
def sections(root: Path) -> set[str]:
    config = yaml.safe_load((root / "changelogs/config.yaml").read_text())
    return {name for name, _title in config["sections"]} | {"release_summary", "trivial"}


# How each block is tested


@each_page
def test_every_block_says_how_it_is_tested(page: Path) -> None:
    found = [f"{block}: {problem}" for block in blocks(page) if (problem := markdown.mark_problem(block))]
    assert not found, "\n\n".join(found)


@each_page
def test_what_is_said_elsewhere_is_said_there(page: Path) -> None:
    found = []
    for block in blocks(page):
        names = block.what.split(", ")
        if block.kind == "said by":
            sources = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)
            found += [f"{block}: {block.what} doesn't say: {line}" for line in markdown.unsaid(block.text, sources)]
        elif block.kind == "same as" and not any(
            markdown.same(block, other) for name in names for other in markdown.blocks(ROOT / name)
        ):
            found.append(f"{block}: {block.what} has no block with these commands or this data:\n{block.text}")
    assert not found, "\n".join(found)


# YAML


@each_page
def test_yaml(page: Path, defaults: dict[str, Any], sections: set[str]) -> None:
    found: list[str] = []
    for block in blocks(page, "yaml"):
        try:
            readings = documented.alternatives(block.text)
        except yaml.YAMLError as problem:
            found.append(f"{block}: {problem}")
            continue
        for data in readings:
            found += [f"{block}: {problem}" for problem in yaml_problems(data, block, defaults, sections)]
    assert not found, "\n".join(found)


def yaml_problems(data: Any, block: Block, defaults: dict[str, Any], sections: set[str]) -> list[str]:
    """Tell what is wrong with a block of YAML."""
    kind = documented.kind(data, sections)
    if kind == "variables":
        known = {name: value for name, value in data.items() if name not in VARIABLES}
        own = {name: value for name, value in data.items() if name.startswith("gunicorn_")}
        return documented.wrong(own, defaults, {n: v for n, v in known.items() if not n.startswith("gunicorn_")})
    if kind in ("plays", "tasks", "part of a play", "inventory"):
        return [problem for values in documented.variables(data) for problem in documented.wrong(values, defaults)]
    if kind == "requirements":
        return documented.requirements_problems(data)
    if kind == "fragment":
        wrong = [name for name, items in data.items() if name != "release_summary" and not isinstance(items, list)]
        return [f"{name}: a section is a list" for name in wrong]
    return [] if block.kind else [f"it is no YAML that this test knows. Mark it:\n{markdown.HOW}"]


def test_plays(tmp_path: Path, sections: set[str]) -> None:
    """All of them in one call, because Ansible takes a second to start."""
    files: dict[str, Block] = {}
    for block in BLOCKS:
        if block.language != "yaml" or block.kind == "not run":
            continue
        data = documented.alternatives(block.text)[0]
        kind = documented.kind(data, sections)
        if kind == "plays":
            text = block.text
        elif kind == "tasks":
            text = yaml.safe_dump([{"name": "Play", "hosts": "all", "tasks": data}])
        elif kind == "part of a play":
            text = yaml.safe_dump([{"name": "Play", "hosts": "all", **data}])
        else:
            continue
        name = re.sub(r"\W", "_", f"{block}") + ".yml"
        (tmp_path / name).write_text(text)
        files[name] = block
    command = [sys.executable, "-m", "ansible", "playbook", "--syntax-check", *map(str, map(tmp_path.joinpath, files))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert len(files) > 2
    assert done.returncode == 0, f"{[str(block) for block in files.values()]}\n{done.stderr}"


# Python, scripts and commands


@each_page
def test_python(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block.text, str(block), "exec")


@each_page
def test_commands_are_ones_that_a_shell_understands(page: Path) -> None:
    for block in blocks(page, "console", "sh"):
        text = "\n".join(block.commands) if block.language == "console" else block.text
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}: {done.stderr}"


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if (block.kind, block.what) == ("run", "checkout")], ids=str
)
def test_commands_that_need_no_server(block: Block, tmp_path: Path) -> None:
    checkout = tmp_path / "deploy"
    publish(checkout)
    (checkout / ".venv").mkdir()
    (checkout / ".venv/bin").symlink_to(ROOT / ".venv/bin")
    git = {f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **git, "ANSIBLE_CONFIG": str(checkout / "ansible.cfg")}
    environment["PATH"] = f"{ROOT / '.venv/bin'}:{environment['PATH']}"
    script = "set -eu\n" + "\n".join(block.commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"
    for line in block.output:
        assert re.search(markdown.loosely(line), done.stdout), f"{block}: {line!r} is not in:\n{done.stdout}"
    left = subprocess.run(["git", "status", "--porcelain"], cwd=checkout, capture_output=True, text=True, check=True)
    assert not left.stdout, f"{block}: the commands leave this uncommitted:\n{left.stdout}"


# Names and paths in the text

NOT_OURS = {
    "gunicorn_env_vars": "an example of what others call gunicorn_environment",
    "gunicorn_enviroment": "an example of a misspelt name",
    "gunicorn_port": "an example of what others call gunicorn_bind",
    "gunicorn_worker": "an example of a misspelt setting",
    "gunicorn_workers": "an example of a setting that somebody takes for a variable",
    "gunicorn_": "the prefix itself",
    "gunicorn_config": "a tag of the role",
    "gunicorn_reachable": "a group that a run makes",
}
"""Names in the documentation that the role doesn't have, on purpose."""


@pytest.fixture(scope="module")
def names(root: Path) -> set[str]:
    """Whatever may be called gunicorn_…: variables, plugins, keys of the roles' own data."""
    plugins = {path.stem for path in (root / "plugins").rglob("*.py")}
    return set(VARIABLES) | plugins | set(NOT_OURS)


@each_page
def test_every_name_exists(page: Path, names: set[str]) -> None:
    found = set(re.findall(r"(?<![\w./-])gunicorn_\w*", page.read_text(encoding="utf-8"))) - names
    assert not found, f"{name_of(page)}: the role has no {', '.join(sorted(found))}"


@each_page
def test_values_in_the_text(page: Path, defaults: dict[str, Any]) -> None:
    """`gunicorn_settings: {workers: 4}` in the middle of a sentence."""
    found = []
    for text in re.findall(r"(?<!`)`(gunicorn_\w+: [^`]+)`", page.read_text(encoding="utf-8")):
        if text.endswith(": …"):
            continue  # the beginning of a message
        try:
            (values,) = documented.alternatives(text.replace("\\|", "|"))
        except (yaml.YAMLError, ValueError) as problem:
            found.append(f"{text}: {problem}")
            continue
        found += [f"{text}: {problem}" for problem in documented.wrong(values, defaults)]
    assert not found, f"{name_of(page)}:\n" + "\n".join(found)


FROM_ROOT = r"(?:roles|plugins|playbooks|examples|inventory|tests|docs|rig|molecule|changelogs)/[\w./-]*\w"
NOT_THERE = {
    "inventory/production.yml": "the reader's own inventory",
    "inventory/host_vars": "the reader's own variables",
    "changelogs/changelog.yaml": "comes with the first release",
    "changelogs/fragments/SOME-WORDS.yml": "the name of a file that a contributor makes",
}
"""Paths in the documentation that the repository doesn't have, nor what is in them, on purpose."""


@each_page
def test_every_path_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = set(re.findall(rf"`({FROM_ROOT})`", text))
    for block in blocks(page, "console"):
        words = shlex.split(" ".join(block.commands).replace("\\\n", " "))
        found |= {word for word in words if re.fullmatch(FROM_ROOT, word)}
    found = {path for path in found if not any(f"{path}/".startswith(f"{name}/") for name in NOT_THERE)}
    missing = {path for path in found if not (ROOT / path).exists()}
    assert not missing, f"{name_of(page)}: there is no {', '.join(sorted(missing))}"
    for name in re.findall(r"\bpyweb\.deploy\.(\w+)", text):
        there = [
            *(ROOT / "plugins").glob(f"*/{name}.py"),
            *ROOT.glob(f"playbooks/{name}.yml"),
            *ROOT.glob(f"roles/{name}"),
        ]
        assert there, f"{name_of(page)}: there is no pyweb.deploy.{name}"


def anchors(page: Path) -> set[str]:
    """Anchors of a page, as GitHub makes them of its headings."""
    text = re.sub(r"^( *)(`{3,}).*?^\1\2$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = next(number for number in range(100) if (f"{anchor}-{number}" if number else anchor) not in found)
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^( *)(`{3,}).*?^\1\2$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = []
    for target in re.findall(r"\]\(<?([^)>\s]+)>?\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _sign, anchor = target.partition("#")
        leads_to = (page.parent / path).resolve() if path else page
        if not leads_to.exists():
            found.append(f"{target}: there is no such file")
        elif anchor and leads_to.suffix == ".md" and anchor not in anchors(leads_to):
            found.append(f"{target}: there is no such heading; there are {', '.join(sorted(anchors(leads_to)))}")
    assert not found, f"{name_of(page)}:\n" + "\n".join(found)


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name}" in index, f"docs/README.md doesn't list {page.name}"


# The mechanism itself

PAGE = """\
Text.

```yaml
gunicorn_name: shop
```

<!-- run: server -->
```console
$ systemctl status shop    # the slot
$ sudo journalctl \\
    -t shop
active (running)
[...]
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_blocks_are_found(page: Path) -> None:
    variables, session = markdown.blocks(page)[:2]
    assert (variables.line, variables.language, variables.text) == (3, "yaml", "gunicorn_name: shop\n")
    assert (variables.kind, variables.what) == ("", "")
    assert (session.line, session.kind, session.what) == (8, "run", "server")
    assert session.commands == ["systemctl status shop", "sudo journalctl \\\n    -t shop"]
    assert session.output == ["active (running)"]


def test_a_block_in_a_list(page: Path) -> None:
    page.write_text("- Item\n  <!-- not run: a picture -->\n  ```\n  text\n    more\n  ```\n")
    (block,) = markdown.blocks(page)
    assert (block.kind, block.what, block.text) == ("not run", "a picture", "text\n  more\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```yaml\na: 1\n", "1: this code block doesn't end"),
        ("<!-- run: server -->\n\n```console\n$ true\n```\n", "1: a mark belongs into the line directly above"),
        ("<!-- not run: x -->\n", "1: a mark belongs into the line directly above"),
    ],
)
def test_what_is_no_block(page: Path, text: str, problem: str) -> None:
    page.write_text(text)
    with pytest.raises(ValueError, match=re.escape(f"{page}:{problem}")):
        markdown.blocks(page)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```yaml\na: 1\n```\n", None),
        ("```console\n$ true\n```\n", "Say how it is tested, in the line above it"),
        ("```\ntext\n```\n", "Say how it is tested, in the line above it"),
        ("<!-- run: server -->\n```console\n$ true\n```\n", None),
        ("<!-- run: server -->\n```\n$ true\n```\n", "only a `console` block"),
        ("<!-- run: server -->\n```console\ntrue\n```\n", "only a `console` block"),
        ("<!-- run: sever -->\n```console\n$ true\n```\n", "the mark names sever, which is not there"),
        ("<!-- run: README.md -->\n```console\n$ true\n```\n", "the mark names README.md, which is no test"),
        ("<!-- run: tests/unit/test_documentation.py -->\n```console\n$ true\n```\n", None),
        ("<!-- run: tests/rig.py::nothing -->\n```console\n$ true\n```\n", "nothing, which is not in tests/rig.py"),
        ("<!-- said by: README.md, nowhere.py -->\n```\ntext\n```\n", "the mark names nowhere.py"),
        ("<!-- not run: -->\n```\ntext\n```\n", "says nothing"),
        ("<!-- not run: a picture -->\n```\ntext\n```\n", None),
    ],
)
def test_marks(page: Path, text: str, problem: str | None) -> None:
    page.write_text(text)
    (block,) = markdown.blocks(page)
    found = markdown.mark_problem(block)
    assert found is None if problem is None else found is not None and problem in found


def test_output_is_compared_loosely() -> None:
    source = "raise Refused(f'firewall: left alone, because {who} runs it on the host and ufw is off')"
    said = "firewall: left alone, because firewalld runs it on the host and ufw is off"
    assert markdown.unsaid(f"{said}\n[…]\n", source) == []
    assert markdown.unsaid("firewall: not touched, since firewalld looks after it\n", source) != []
    pattern = markdown.loosely("ok: [web1]  changed=14 366cb933da1a ****")
    assert re.search(pattern, "ok: [web1] changed=3 0123456789ab *")
    assert not re.search(pattern, "ok: [web2] unchanged=3 0123456789ab *")


def test_blocks_that_say_the_same(page: Path) -> None:
    page.write_text("```console\n$ a b  # why\n```\n```console\n$ a   'b'\n```\n```console\n$ a c\n```\n")
    one, two, three = markdown.blocks(page)
    assert markdown.same(one, two)
    assert not markdown.same(one, three)


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ("gunicorn_name: shop\n", "variables", None),
        ("gunicorn_nam: shop\n", "variables", "gunicorn_nam: the role has no such variable"),
        ("gunicorn_bind: 8000\n", "variables", "gunicorn_bind: got 8000"),
        (
            "gunicorn_settings: {worker: 4}\n",
            "variables",
            "gunicorn_settings: unknown setting 'worker'; did you mean 'workers'?",
        ),
        ("gunicorn_conf_extra: 'def f('\n", "variables", "gunicorn_conf_extra: "),
        ("gunicorn_name: a\ngunicorn_name: B\n", "variables", "gunicorn_name: got 'B'"),
        ("gunicorn_bind: ['0.0.0.0:{{ shop_port }}']\nshop_port: 80\n", "variables", None),
        ("gunicorn_bind: ['0.0.0.0:{{ shop_port }}']\nshop_port: x\n", "variables", "gunicorn_bind: got "),
        ("web: {hosts: {a: {gunicorn_keep_releases: 0}}}\n", "inventory", "gunicorn_keep_releases: got 0"),
        ("- hosts: a\n  roles: [{role: r, gunicorn_name: A}]\n", "plays", "gunicorn_name: got 'A'"),
        ("- ansible.builtin.include_role: {name: r}\n  vars: {gunicorn_name: A}\n", "tasks", "gunicorn_name: got 'A'"),
        ("roles:\n  - role: r\n    vars: {gunicorn_name: A}\n", "part of a play", "gunicorn_name: got 'A'"),
        ("collections: [{name: a, versoin: 1}]\n", "requirements", "a: ansible-galaxy knows no versoin"),
        ("minor_changes: text\n", "fragment", "minor_changes: a section is a list"),
        ("jobs: {}\n", "", "it is no YAML that this test knows"),
    ],
)
def test_kinds_of_yaml(
    page: Path, defaults: dict[str, Any], sections: set[str], text: str, kind: str, problem: str | None
) -> None:
    page.write_text(f"```yaml\n{text}```\n")
    (block,) = markdown.blocks(page)
    readings = documented.alternatives(block.text)
    assert documented.kind(readings[0], sections) == kind
    found = [each for data in readings for each in yaml_problems(data, block, defaults, sections)]
    assert bool(found) == bool(problem)
    assert problem is None or any(each.startswith(problem) for each in found), found
