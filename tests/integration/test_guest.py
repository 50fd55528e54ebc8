"""The role in plays of others: with their words, strategies, tags, loops and ways to become root."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, ROOT, Controller, Play, Server, fresh_server

pytestmark = pytest.mark.full

ROLE = ROOT / "roles" / "gunicorn"
NAMES = sorted({name for path in ROLE.rglob("*.yml") for name in re.findall(r"- name: ([^{\n]+)\n", path.read_text())})
"""Names of the role's tasks."""

CODE = """
import json, os

DIRECTORY = os.environ.get("CREDENTIALS_DIRECTORY")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    prepared = os.path.exists(os.environ["STATE_DIRECTORY"] + "/prepared")
    secrets = os.listdir(DIRECTORY) if DIRECTORY else []
    told = {"word": os.environ.get("WORD"), "secrets": secrets, "prepared": prepared}
    return [json.dumps(told).encode()]
"""

# One play of everything: names that the role might use for itself, its tags, strategies, loops and ways to become root.
# `rich` sets what `plain`, which comes after it, must not inherit.
PLAYS = """
- name: Roles, free
  hosts: gunicorn
  strategy: free
  gather_facts: true
  gather_subset: [min]
  vars: &words
    {name: mine, app: mine, source: mine, user: mine, group: mine, plan: mine, slot: mine, path: mine}
  handlers: &handlers
    - name: Whatever the role might call a handler
      listen: [gunicorn, Restart gunicorn, "pyweb.deploy.gunicorn : Restart gunicorn", NAMES]
      ansible.builtin.raw: touch /srv/handler
  roles:
    - role: pyweb.deploy.gunicorn
      become: true
      vars: &rich
        gunicorn_name: rich
        gunicorn_source: {directory: "{{ code }}", exclude: ["*.txt"]}
        gunicorn_bind: ["0.0.0.0:8011"]
        gunicorn_settings: {workers: 1, timeout: 20}
        gunicorn_environment: {WORD: "{{ word | default('rich') }}"}
        gunicorn_secrets: {TOKEN: hush}
        gunicorn_before_activate: ['touch "$STATE_DIRECTORY/prepared"']
        gunicorn_packages: [itsdangerous==2.2.0]
        gunicorn_conf_extra: "def on_exit(server): pass"
        gunicorn_service_options: {Nice: 5}
        gunicorn_health: {path: /rich, expect: word, watch: 0}

- name: A loop, with nothing but what it loops over
  hosts: gunicorn
  gather_facts: false
  become: true
  vars: *words
  handlers: *handlers
  tasks:
    - name: Deploy each
      ansible.builtin.include_role:
        name: pyweb.deploy.gunicorn
        apply: {tags: [each]}
      vars:
        gunicorn_name: "{{ item.name }}"
        gunicorn_source: {directory: "{{ code }}"}
        gunicorn_bind: ["0.0.0.0:{{ item.port }}"]
        gunicorn_environment: {WORD: "{{ item.name }}"}
        gunicorn_health: {watch: 0}
      loop:
        - {name: plain, port: 8012}
      tags: [each]

- name: The same, in other ways
  hosts: gunicorn
  gather_facts: false
  handlers: *handlers
  tasks:
    - name: As a block says
      become: true
      block:
        - name: Import it
          ansible.builtin.import_role:
            name: pyweb.deploy.gunicorn
          vars: *rich
"""
PLAYS = PLAYS.replace("NAMES", json.dumps(NAMES).strip("[]"))
DELEGATED = """
- name: By another host
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Deploy to the first one
      ansible.builtin.include_role:
        name: pyweb.deploy.gunicorn
        apply: {delegate_to: "{{ groups.gunicorn[0] }}", become: true}
      vars:
        gunicorn_name: plain
        gunicorn_source: {directory: "{{ hostvars[groups.gunicorn[0]].code }}"}
        gunicorn_bind: ["0.0.0.0:8012"]
        gunicorn_environment: {WORD: plain}
        gunicorn_health: {watch: 0}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a server of somebody who has other things on it too."""
    yield from fresh_server("it-guest", RELEASES[0])


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("code")
    (directory / "wsgi.py").write_text(CODE)
    return directory


def write(directory: Path, plays: str) -> str:
    """Write a playbook; its path."""
    playbook = directory / "site.yml"
    playbook.write_text(plays)
    return str(playbook)


def told(server: Server, port: int) -> Any:
    return json.loads(server.get(port=port))


def test_plays_of_others(controller: Controller, server: Server, code: Path, tmp_path: Path) -> None:
    def run(*arguments: str, plays: str = PLAYS, **environment: str) -> Play:
        variables = {"code": str(code)}
        return controller.play(server, variables, *arguments, playbook=write(tmp_path, plays), environment=environment)

    play = run(ANSIBLE_INJECT_FACT_VARS="true")
    assert play, play.output
    assert "already in use" not in play.output, "a loop of the role would take `item` away from the play"
    assert told(server, 8011) == {"word": "rich", "secrets": ["TOKEN"], "prepared": True}
    assert told(server, 8012) == {"word": "plain", "secrets": [], "prepared": False}
    assert server.run("ls /srv/handler", check=False) == "", "a handler of the play that is called like ours"
    again = run(ANSIBLE_INJECT_FACT_VARS="false", ANSIBLE_HASH_BEHAVIOUR="merge")
    assert (bool(again), again.changed) == (True, 0), again.output
    alone = run(plays=DELEGATED)
    assert (bool(alone), alone.changed) == (True, 0), f"it inherited something in the loop: {alone.output}"

    (code / "wsgi.py").write_text(CODE.replace("prepared}", "prepared, 'new': True}"))
    part = run("--tags", "gunicorn_config", "-e", "word=poor")
    assert part, part.output
    assert told(server, 8011) == {"word": "poor", "secrets": ["TOKEN"], "prepared": True, "new": True}
    assert "new" not in told(server, 8012), "the play gave that another tag"
    each = run("--tags", "each", "-e", "word=poor")
    assert each, each.output
    assert told(server, 8012) == {"word": "plain", "secrets": [], "prepared": False, "new": True}
    whole = run("-e", "word=poor")
    assert (bool(whole), whole.changed) == (True, 0), f"a tag left something undone: {whole.output}"


ALL_OR_NOBODY = """
- name: Two hosts of an inventory, which are one server here
  hosts: gunicorn
  gather_facts: false
  tasks:
    - name: Name it twice
      ansible.builtin.add_host:
        name: second
        groups: [both]
        ansible_host: "{{ inventory_hostname }}"
        ansible_ssh_common_args: "{{ ansible_ssh_common_args }}"
        gunicorn_name: rich
        gunicorn_bind: ["0.0.0.0:8011"]
        gunicorn_source: {directory: "{{ code }}"}
        gunicorn_environment: "{{ gunicorn_environment }}"
        gunicorn_health: "{{ gunicorn_health }}"

- name: All or nobody
  hosts: gunicorn:both
  gather_facts: false
  become: true
  any_errors_fatal: true
  roles:
    - pyweb.deploy.gunicorn
"""


def test_a_host_that_fails_ends_the_run_for_all(
    controller: Controller, server: Server, code: Path, tmp_path: Path
) -> None:
    (tmp_path / "wsgi.py").write_text("import nothing_of_that_name\n\napp = None\n")
    variables = {
        "code": str(code),
        "gunicorn_name": "plain",
        "gunicorn_bind": ["0.0.0.0:8012"],
        "gunicorn_source": {"directory": str(tmp_path)},
        "gunicorn_environment": {"WORD": "all"},
        "gunicorn_health": {"watch": 0},
    }
    play = controller.play(server, variables, playbook=write(tmp_path, ALL_OR_NOBODY))
    assert not play
    assert "No module named 'nothing_of_that_name'" in play.said
    assert "Nothing failed here: the run ended because of another host" in play.said
    assert (told(server, 8011)["word"], told(server, 8012)["word"]) == ("poor", "plain"), "the old ones serve"
    for name in ("rich", "plain"):
        assert server.run(f"systemctl is-active {name}-check.service", check=False) in ("inactive", "failed")
        assert json.loads(server.run(f"cat /run/pyweb.deploy/{name}.lock"))["until"] == 0, "the lock was given back"
