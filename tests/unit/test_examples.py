"""The examples that are about other people's machinery, as far as it works without it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Path:
    """Give a repository as the examples tell users to make it."""
    directory = tmp_path / "project"
    for example in ("molecule", "github_actions"):
        shutil.copytree(root / "examples" / example, directory, dirs_exist_ok=True)
    return directory


def steps(project: Path) -> dict[str, dict[str, Any]]:
    """Give the steps of the workflow that run commands, by name."""
    jobs = yaml.safe_load((project / ".github/workflows/deploy.yml").read_text())["jobs"]
    return {step["name"]: step for job in jobs.values() for step in job["steps"] if "run" in step}


def test_the_scenario_is_short(root: Path) -> None:
    files = sorted((root / "examples/molecule/molecule/default").iterdir())
    assert [path.name for path in files] == ["molecule.yml", "verify.yml"]
    lines = [line for path in files for line in path.read_text().splitlines() if line not in ("", "---")]
    assert len(lines) < 30


def test_the_scenario_has_the_containers_of_ours(root: Path) -> None:
    theirs = yaml.safe_load((root / "examples/molecule/molecule/default/molecule.yml").read_text())
    ours = yaml.safe_load((root / "molecule/default/molecule.yml").read_text())["platforms"]
    (platform,) = theirs["platforms"]
    needed = ("pre_build_image", "pull", "override_command", "capabilities", "security_opts", "cgroupns_mode", "tmpfs")
    assert {key: platform[key] for key in needed} == {key: ours[0][key] for key in needed}
    assert platform["name"] not in [each["name"] for each in ours]


def test_the_tools_of_the_scenario_are_those_that_it_is_tested_with(root: Path) -> None:
    pins = (root / "examples/molecule/requirements-ci.txt").read_text().splitlines()
    tested = (root / "requirements-dev.in").read_text()
    assert len(pins) == 3
    assert all(re.search(rf"^{re.escape(pin)}\b", tested, re.MULTILINE) for pin in pins)


def test_actions_are_pinned_as_in_this_repository(root: Path, project: Path) -> None:
    used = re.findall(r"uses: (.*)", (project / ".github/workflows/deploy.yml").read_text())
    ours = re.findall(r"uses: (.*)", (root / ".github/workflows/ci.yml").read_text())
    assert used
    assert set(used) <= set(ours)
    assert all(re.search(r"@[0-9a-f]{40} # v", action) for action in used)


def test_the_workflow_writes_its_secrets_for_itself_alone(project: Path, tmp_path: Path) -> None:
    step = steps(project)["Write the secrets where Ansible looks for them"]
    secrets = {name: f"{name}\nof two lines" for name in step["env"]}
    environment = {**os.environ, **secrets, "RUNNER_TEMP": str(tmp_path)}
    subprocess.run(["bash", "-e", "-c", step["run"]], check=True, cwd=project, env=environment)
    for name, file in {"SSH_KEY": "key", "SSH_KNOWN_HOSTS": "known_hosts", "VAULT_PASSWORD": "vault_password"}.items():
        assert (tmp_path / file).read_text() == secrets[name] + "\n"
        assert (tmp_path / file).stat().st_mode & 0o777 == 0o600


def test_the_workflow_deploys_with_what_it_wrote(root: Path, project: Path, tmp_path: Path) -> None:
    """Its command, as far as it needs no server, with a vault that only the written password opens."""
    step = steps(project)["Deploy"]
    names = {key: value.replace("${{ runner.temp }}", str(tmp_path)) for key, value in step["env"].items()}
    assert "${{" not in "".join(names.values())
    environment = {**os.environ, **names, "ANSIBLE_COLLECTIONS_PATH": str(root / ".collections")}
    vault = project / "inventory/group_vars/gunicorn/vault.yml"
    vault.parent.mkdir(parents=True)
    secret = {"vault_secret_key": "hush"}
    vault.write_text(yaml.safe_dump(secret))
    (tmp_path / "vault_password").write_text("sesame\n")

    def run(command: str) -> str:
        bash = ["bash", "-e", "-c", command]
        done = subprocess.run(bash, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(f"ansible-vault encrypt {vault}")
    assert "playbook: site.yml" in run(step["run"] + " --syntax-check")
    shown = run("ansible-inventory -i inventory/production.yml --host web1")
    assert secret.items() <= yaml.safe_load(shown).items()


def test_what_the_workflow_installs_is_there(project: Path) -> None:
    named = re.findall(r" -r (\S+)", steps(project)["Install the tools"]["run"])
    assert sorted(named) == ["requirements-ci.txt", "requirements.yml"]
    assert all((project / name).is_file() for name in named)


def test_the_execution_environment_has_what_the_role_needs(root: Path) -> None:
    awx = root / "examples/awx"
    definition = yaml.safe_load((awx / "execution-environment.yml").read_text())
    assert definition["version"] == 3
    wanted = yaml.safe_load((awx / definition["dependencies"]["galaxy"]).read_text())["collections"]
    brought = {item["name"]: item["version"] for item in wanted}
    own = yaml.safe_load((root / "galaxy.yml").read_text())
    assert own["dependencies"].items() <= brought.items()
    assert own["repository"] + ".git" in brought
    core = definition["dependencies"]["ansible_core"]["package_pip"]
    assert re.search(rf"^{re.escape(core)} ", (root / "requirements-dev.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "playbook", ["awx/site.yml", "awx/configure.yml", "behind_nginx/site.yml", "monorepo/site.yml"]
)
def test_playbooks_can_be_read(root: Path, playbook: str) -> None:
    if playbook == "awx/configure.yml":
        pytest.importorskip("ansible_collections.awx.awx", reason="the package ansible 14 doesn't bring awx.awx along")
    command = ["ansible-playbook", "-i", "localhost,", "--syntax-check", f"examples/{playbook}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
