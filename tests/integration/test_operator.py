"""Who deploys: a user of the server whom sudo asks for a password, and nobody who becomes root on the controller."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, ROOT, Controller, Server, fresh_server

pytestmark = pytest.mark.full

SUDOERS = "alice ALL=(root) ALL"
WORD = "correct horse'; battery \"$staple"


@pytest.fixture(scope="module")
def alices() -> Iterator[Server]:
    """Give a server with a user whom sudo asks for a password."""
    for server in fresh_server("it-operator", RELEASES[0]):
        server.run("useradd --create-home alice && cp -r ~deploy/.ssh ~alice/ && chown -R alice: ~alice/.ssh")
        server.run(f"echo '{SUDOERS}' >/etc/sudoers.d/alice")
        docker = ["docker", "exec", "--interactive", f"pyweb-{server.name}", "chpasswd"]
        subprocess.run(docker, check=True, input=f"alice:{WORD}", text=True)
        yield server


@pytest.fixture
def climbs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give the file that whoever wants to become root on the controller is written into."""
    for name in ("sudo", "su", "doas", "pkexec"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$0 $*" >>{tmp_path}/climbs\nexit 1\n')
        program.chmod(0o755)
    monkeypatch.setenv("ANSIBLE_BECOME_ALLOW_SAME_USER", "true")  # else Ansible asks nobody where it is root already
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "climbs"


def test_sudo_with_a_password(controller: Controller, alices: Server, variables: dict[str, Any], climbs: Path) -> None:
    variables["ansible_user"] = "alice"
    before = alices.state()
    play = controller.play(alices, variables)
    assert not play
    assert "Missing sudo password" in play.output
    play = controller.play(alices, variables | {"ansible_become_password": "wrong"})
    assert not play
    assert "Incorrect sudo password" in play.output
    assert alices.state() == before, "nothing was changed without the right password"

    variables["ansible_become_password"] = WORD
    with alices.sampled() as samples:
        play = controller.play(alices, variables, "-vvv", "--diff")
    assert play, play.output
    assert alices.get() == "Hello, World!"
    assert WORD not in play.output + "\n".join(samples)
    assert any("sudo" in line for line in samples), "the sampler saw Ansible at work"
    assert alices.run("find /opt/hello ! -user root") == ""
    assert alices.run("find /home/alice -newer /etc/sudoers.d/alice -type f") == "", "Ansible left nothing behind"

    play = controller.play(alices, variables | {"gunicorn_force": True})
    assert (play.rc, play.changed) == (0, 0), play.output

    assert not climbs.exists(), f"somebody wanted to be root on the controller: {climbs.read_text()}"
    subprocess.run(["ansible", "localhost", "--become", "-m", "ansible.builtin.ping"], check=False, capture_output=True)
    assert "sudo" in climbs.read_text(), "it would have been noticed"


def test_the_documented_rights(alices: Server) -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert SUDOERS in text
    assert alices.run(f"echo '{SUDOERS}' | visudo --check --file=-").endswith("parsed OK")
