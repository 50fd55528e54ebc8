"""Which hosts a run works on: those of a fleet in turn, others than its own (`delegate_to`)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

# What has to be fetched is planned without a look at the host.
PLAY = """
- name: One host of the play, others that are worked on
  hosts: a
  gather_facts: false
  tasks:
    - name: Plan, as far as no host is needed
      ansible.builtin.include_role:
        name: pyweb.deploy.gunicorn
        tasks_from: plan
        apply: {delegate_to: "{{ item.to }}"}
      vars:
        gunicorn_name: "{{ item.name }}"
        gunicorn_source: {git: "https://git.example.org/{{ item.name }}.git"}
      loop:
        - {name: shop, to: b}
        - {name: blog, to: c}
        - {name: shop, to: c, fails: on the port}
"""


def test_what_a_run_remembers_belongs_to_the_host_that_is_worked_on(root: Path, tmp_path: Path) -> None:
    playbook = tmp_path / "site.yml"
    playbook.write_text(PLAY)
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "a,b,c,", "-c", "local", str(playbook)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    said = " ".join(done.stdout.split())
    assert "'blog', another application of this run, listens on '0.0.0.0:8000'" in said, done.stdout + done.stderr
    assert "'shop', another application" not in said, "shop and blog have the same port on different hosts"
    assert "gunicorn_name: got 'shop'" not in said


@pytest.mark.parametrize(
    ("options", "tried"),
    [([], "b"), (["gunicorn_serial=2"], "bc")],
    ids=["one first", "in twos"],
)
@pytest.mark.parametrize("playbook", ["site", "remove", "rollback"])
def test_a_fleet_stops_after_the_batch_that_fails(
    root: Path, tmp_path: Path, playbook: str, options: list[str], tried: str
) -> None:
    """Each host fails that the role gets to; one can't be reached, and stops nothing."""
    inventory = tmp_path / "inventory"
    inventory.write_text("[gunicorn]\na\nb\nc\nd\n")
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-i",
        str(inventory),
        str(root / f"playbooks/{playbook}.yml"),
    ]
    for each in ("ansible_become=no", "gunicorn_name=Wrong", *options):
        command += ["-e", each]
    lost = "{{ 'ssh' if inventory_hostname == 'a' else 'local' }}"
    command += ["-e", json.dumps({"ansible_connection": lost, "ansible_host": "127.0.0.1", "ansible_port": 1})]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    recap = dict(re.findall(r"^(\w) +: .*? unreachable=(\d+ +failed=\d+)", done.stdout, re.MULTILINE))
    assert recap.pop("a").startswith("1"), done.stdout + done.stderr
    assert "".join(host for host, counts in recap.items() if counts.endswith("=1")) == tried, done.stdout
