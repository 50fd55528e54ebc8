"""Commands of the documentation that need a server, in the order of its pages; `tests/markdown.py` says which.

Nothing on the pages is written for this test: what differs here from a reader's machine stands in `on_this_machine`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ansible_collections.pyweb.deploy.tests import markdown
from ansible_collections.pyweb.deploy.tests.rig import publish

from .conftest import APPLICATION, ROOT, Controller, Server

pytestmark = pytest.mark.full

BLOCKS = [
    block
    for page in markdown.pages()
    for block in markdown.blocks(page)
    if block.kind == "run" and block.what in ("server", "controller")
]

CURL = "curl() { python3 -c 'import sys, urllib.request as r; print(r.urlopen(sys.argv[-1]).read().decode())' \"$@\"; }"
"""The rig's servers have no curl. It fails where the answer is no success, as `curl --fail` does."""


@dataclass(frozen=True)
class Desk:
    """A reader's machine: a checkout, the application beside it, and the server that the pages speak of."""

    checkout: Path
    application: Path
    server: Server
    ssh_config: Path

    def on_this_machine(self, text: str) -> str:
        """Put in the names and the addresses that the pages' own stand for."""
        text = text.replace("debian@203.0.113.10", self.server.name).replace("203.0.113.10", self.server.address)
        text = re.sub(r"\bssh (?=-?\w)", f"ssh -F {shlex.quote(str(self.ssh_config))} ", text)
        text = re.sub(r"\bcurl (?=http)", "curl --fail --silent --show-error ", text)
        text = text.replace("systemd-run --pty", "systemd-run --pipe --wait")  # nobody sits at a terminal
        return re.sub(r"\bshop\b", "hello", text)

    def inventory(self) -> str:
        """The inventory of the README, as its reader edits it."""
        page = markdown.blocks(ROOT / "README.md")
        (text,) = (block.text for block in page if block.language == "yaml" and "ansible_host" in block.text)
        text = text.replace("203.0.113.10", self.server.name).replace("debian", "deploy").replace("shop", "hello")
        inventory = yaml.safe_load(text)
        common = {"ansible_ssh_common_args": f"-F '{self.ssh_config}'"}
        # docs/secrets.md shows a command for an application with a secret.
        inventory["gunicorn"]["vars"] |= {**common, "gunicorn_secrets": {"SECRET_KEY": "not a secret"}}
        return yaml.safe_dump(inventory)

    def run(self, block: markdown.Block) -> subprocess.CompletedProcess[str]:
        """Run the commands of a block; both outputs come together."""
        script = ["set -eu", *([CURL] if block.what == "server" else [])]
        for command in map(self.on_this_machine, block.commands):
            # It goes on until somebody stops it.
            endless = f"timeout 3 {command} || [ $? = 124 ]" if "--follow" in command else command
            script.append(endless)
        bash = ["bash", "-c", "\n".join(script)]
        if block.what == "server":
            bash = ["ssh", "-F", str(self.ssh_config), self.server.name, shlex.join(bash)]
        return subprocess.run(
            bash,
            cwd=self.checkout,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "ANSIBLE_CONFIG": str(self.checkout / "ansible.cfg"), "NO_COLOR": "1"},
        )


@pytest.fixture(scope="module")
def desk(controller: Controller, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Deploy the example application by the README's inventory."""
    directory = tmp_path_factory.mktemp("desk")
    publish(directory / "deploy")
    application = Path(shutil.copytree(APPLICATION, directory / "hello"))
    (application / "wsgi.py").rename(application / "app.py")
    desk = Desk(directory / "deploy", application, server, controller.ssh_config)
    (desk.checkout / "inventory/production.yml").write_text(desk.inventory())
    done = desk.run(markdown.Block(ROOT, 0, "console", f"$ {DEPLOY}\n", "run", "controller"))
    assert done.returncode == 0, done.stdout
    return desk


DEPLOY = "ansible-playbook -i inventory/production.yml playbooks/site.yml"


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_commands(desk: Desk, block: markdown.Block) -> None:
    if f"$ {DEPLOY}\n" in block.text and block.output:
        with (desk.application / "app.py").open("a") as file:
            file.write(f"# for {block}\n")
    # The block before may have ended with `stop`. And some pages look for errors in the log.
    desk.server.run("systemctl start hello.socket hello; logger --tag hello ERROR")
    done = desk.run(block)
    assert done.returncode == 0, f"{block}:\n{done.stdout}"
    for line in block.output:
        pattern = re.sub("blue|green", "(blue|green)", markdown.loosely(desk.on_this_machine(line)))
        assert re.search(pattern, done.stdout), f"{block}: {line!r} is not in:\n{done.stdout}"
