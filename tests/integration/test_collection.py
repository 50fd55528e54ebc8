"""The collection in somebody else's project: installed from an archive or from Git, used by its full name."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import publish

from .conftest import ROOT, Controller, Server

Variables = dict[str, Any]


def ansible_galaxy(*arguments: str, cwd: Path) -> str:
    """Call ansible-galaxy with the configuration of the project in `cwd`; its output."""
    environment = {**os.environ, "ANSIBLE_CONFIG": str(cwd / "ansible.cfg")}
    command = ["ansible-galaxy", "collection", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project that knows nothing of the checkout, with its own configuration and a play with the role."""
    directory = tmp_path_factory.mktemp("project")
    (directory / "ansible.cfg").write_text("[defaults]\ncollections_path = collections\n")
    (directory / "deploy.yml").write_text(
        """
- name: Somebody's own play
  hosts: gunicorn
  become: true
  tasks:
    - name: Include the role
      ansible.builtin.include_role:
        name: pyweb.deploy.gunicorn
"""
    )
    return directory


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a Git repository with the tracked and the new files of the checkout, as a push would publish them."""
    directory = tmp_path_factory.mktemp("repository") / "deploy"
    publish(directory)
    return directory


def deploy(controller: Controller, server: Server, variables: Variables, project: Path, word: str) -> None:
    """Deploy from the project by the full names of the playbook and of the role, and look at what came of it."""
    environment = {"ANSIBLE_CONFIG": str(project / "ansible.cfg"), "ANSIBLE_PIPELINING": "1"}
    code = Path(variables["gunicorn_source"]["directory"]) / "wsgi.py"
    code.write_text(code.read_text().replace("World", word))
    play = controller.play(server, variables, playbook="pyweb.deploy.site", environment=environment)
    assert play, play.output
    assert server.get() == f"Hello, {word}!"
    again = controller.play(server, variables, playbook=str(project / "deploy.yml"), environment=environment)
    assert (again.rc, again.changed) == (0, 0), again.output


def test_from_the_built_archive(
    controller: Controller, server: Server, variables: Variables, project: Path, repository: Path
) -> None:
    ansible_galaxy("build", "--output-path", str(project), str(repository), cwd=project)
    archive = next(project.glob("pyweb-deploy-*.tar.gz"))
    ansible_galaxy("install", "--no-deps", "-p", "collections", str(archive), cwd=project)
    installed = project / "collections" / "ansible_collections" / "pyweb" / "deploy"
    present = {path.name for path in installed.iterdir()}
    assert {"README.md", "roles", "playbooks", "plugins", "LICENSE"} <= present
    assert not {"tests", "molecule", "Makefile", ".collections", ".ci"} & present, "users get what they use"
    rig = {path.name: os.access(path, os.X_OK) for path in (installed / "rig").iterdir()}
    assert rig == {"engine": True, "image": True}, "the playbook image runs these"
    deploy(controller, server, variables, project, "archive")


@pytest.mark.full
def test_from_a_git_url(
    controller: Controller, server: Server, variables: Variables, project: Path, repository: Path
) -> None:
    shutil.rmtree(project / "collections", ignore_errors=True)
    ansible_galaxy("install", "--no-deps", "-p", "collections", f"git+file://{repository}", cwd=project)
    deploy(controller, server, variables, project, "Git")


@pytest.mark.full
def test_molecule_in_a_project_that_copied_the_example(repository: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(ROOT / "examples" / "molecule", tmp_path / "shop"))
    scenario = copied / "molecule" / "default"
    lines = [*(scenario / "molecule.yml").read_text().splitlines(), *(scenario / "verify.yml").read_text().splitlines()]
    assert len(lines) < 30, "docs/molecule.md promises that"
    home = tmp_path / "home"
    collections = str(home / "collections")
    ansible_galaxy("install", "--no-deps", "-p", collections, f"git+file://{repository}", cwd=copied)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MOLECULE_", "ANSIBLE_"))}
    environment |= {"ANSIBLE_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200"}
    environment |= {"MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule")}

    def molecule(command: str) -> str:
        done = subprocess.run(
            ["molecule", command], cwd=copied, env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    try:
        output = molecule("test")
    finally:
        molecule("destroy")
    for step in ("converge", "idempotence", "verify"):
        assert f"default > {step}: Executed: Successful" in output, output
