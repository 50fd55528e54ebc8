"""A play that has the role work on other hosts than its own (`delegate_to`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLAY = """
- name: One host of the play, others that are worked on
  hosts: a
  gather_facts: false
  tasks:
    - name: Look at the variables
      ansible.builtin.include_role:
        name: pyweb.deploy.gunicorn
        tasks_from: validate
        apply: {delegate_to: "{{ item.to }}"}
      vars:
        gunicorn_name: "{{ item.name }}"
        gunicorn_source: {directory: "{{ playbook_dir }}/{{ item.name }}"}
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
