"""Who is compared: each deploys the same application to the same servers, with what its users would write."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.pyweb.deploy.tests.rig import ROOT, SSH_CONFIG, Server

BENCH = Path(__file__).parent
GUNICORN = "27.0.1"
ANSIBLE = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"}
VENV = ROOT / ".cache" / "bench" / "venv"
PYINFRA = VENV / "bin" / "pyinfra"
PACKAGES = VENV / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
FOR_DEBOPS = {
    **ANSIBLE,
    "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.collections'}:{PACKAGES / 'debops/_data/ansible/collections'}",
    "ANSIBLE_INJECT_FACT_VARS": "true",  # its role knows the facts by their old names
}


@dataclass(frozen=True)
class Site:
    """What is to be deployed."""

    name: str
    port: int
    source: Path
    threads: int = 2
    workers: int = 1
    applications: int = 1
    """How many of the same, with a name and a port each."""

    def each(self) -> list[tuple[str, int]]:
        """Name and port of each application."""
        if self.applications == 1:
            return [(self.name, self.port)]
        return [(f"{self.name}{number}", self.port + number) for number in range(self.applications)]


@dataclass
class Job:
    """Where it is to be deployed to, and a directory for what that takes."""

    site: Site
    servers: Sequence[Server]
    directory: Path
    back: bool = False
    """Go back to what served before."""

    def write(self, name: str, data: Any) -> Path:
        """Write a file for the contender."""
        path = self.directory / name
        path.write_text(data if isinstance(data, str) else json.dumps(data, indent=1))
        return path

    def inventory(self, **variables: Any) -> Path:
        """Write an inventory for Ansible."""
        hosts = {server.name: {"ansible_ssh_common_args": f"-F '{SSH_CONFIG}'"} for server in self.servers}
        return self.write("inventory.json", {"gunicorn": {"hosts": hosts, "vars": variables}})


@dataclass(frozen=True)
class Contender:
    """A way to deploy."""

    name: str
    prefix: str
    port: int
    command: Callable[[Job], list[str]]
    environment: Mapping[str, str] = field(default_factory=lambda: ANSIBLE)

    def site(self, source: Path) -> Site:
        """Give the application under a name and a port of the contender's own."""
        return Site(self.prefix, self.port, source)


def role(job: Job, **more: Any) -> list[str]:
    """Deploy with the role of this collection."""
    site = job.site

    def variables(name: str, port: int) -> dict[str, Any]:
        return {
            "gunicorn_name": name,
            "gunicorn_source": {"directory": str(site.source)},
            "gunicorn_version": GUNICORN,
            "gunicorn_bind": [f"0.0.0.0:{port}"],
            "gunicorn_settings": {"workers": site.workers, "threads": site.threads},
            "gunicorn_environment": {"APP_COLOUR": "blue"},
            "gunicorn_health": {"path": "/healthz"},
            "gunicorn_firewall_enable": True,
            "gunicorn_serial": "100%",
            **more,
        }

    if site.applications == 1:
        inventory = job.inventory(**variables(site.name, site.port))
        playbook = ROOT / "playbooks" / ("rollback.yml" if job.back else "site.yml")
        return ["ansible-playbook", "-i", str(inventory), str(playbook)]
    roles = [{"role": "pyweb.deploy.gunicorn", "vars": variables(*each)} for each in site.each()]
    play = {"name": "Deploy", "hosts": "gunicorn", "gather_facts": False, "become": True, "roles": roles}
    return ["ansible-playbook", "-i", str(job.inventory()), str(job.write("playbook.json", [play]))]


def role_unwatched(job: Job) -> list[str]:
    """Deploy with the role, which doesn't watch what it has started, as the others don't."""
    return role(job, gunicorn_health={"path": "/healthz", "watch": 0})


def role_in_batches(job: Job) -> list[str]:
    """Deploy with the role, to one server first and then to a quarter at a time, as it does by itself."""
    return role(job, gunicorn_serial=[1, "25%"])


def role_with_uv(job: Job) -> list[str]:
    """Deploy with the role, and install with uv."""
    return role(job, gunicorn_installer="uv")


def app_variables(job: Job, name: str, port: int) -> dict[str, Any]:
    """Give what the playbook and the pyinfra deploy in this directory take."""
    return {
        "app_name": name,
        "app_port": port,
        "app_source": str(job.site.source),
        "app_workers": job.site.workers,
        "app_threads": job.site.threads,
        "app_colour": "blue",
        "gunicorn_release": GUNICORN,
    }


def handwritten(job: Job) -> list[str]:
    """Deploy with a playbook of standard modules."""
    playbook = str(BENCH / "handwritten" / "site.yml")
    if job.site.applications == 1:
        inventory = job.inventory(**app_variables(job, job.site.name, job.site.port))
        return ["ansible-playbook", "-i", str(inventory), playbook]
    plays = [{"import_playbook": playbook, "vars": app_variables(job, name, port)} for name, port in job.site.each()]
    return ["ansible-playbook", "-i", str(job.inventory()), str(job.write("playbook.json", plays))]


def debops(job: Job) -> list[str]:
    """Deploy with the role of DebOps."""
    inventory = job.inventory(**app_variables(job, job.site.name, job.site.port))
    return ["ansible-playbook", "-i", str(inventory), str(BENCH / "debops" / "site.yml")]


def pyinfra(job: Job) -> list[str]:
    """Deploy with pyinfra."""
    templates = str(BENCH / "handwritten" / "templates")
    data = {**app_variables(job, job.site.name, job.site.port), "templates": templates}
    login = {
        "ssh_user": "deploy",
        "ssh_key": str(SSH_CONFIG.with_name("id_ed25519")),
        "ssh_strict_host_key_checking": "off",
        "ssh_known_hosts_file": os.devnull,
        "_sudo": True,
    }
    hosts = [(server.name, {"ssh_hostname": server.address, **login}) for server in job.servers]
    inventory = job.write("inventory.py", f"servers = ({hosts!r}, {data!r})\n")
    return [str(PYINFRA), "-y", str(inventory), str(BENCH / "pyinfra" / "deploy.py")]


def playbook(name: str) -> Callable[[Job], list[str]]:
    """Run a playbook of this directory that deploys nothing."""

    def command(job: Job) -> list[str]:
        return ["ansible-playbook", "-i", str(job.inventory()), str(BENCH / f"{name}.yml")]

    return command


ROLE = Contender("the role", "ours", 8000, role)
ROLE_UV = Contender("the role, uv", "ouruv", 8100, role_with_uv)
ROLE_UNWATCHED = Contender("the role, watch: 0", "oursnw", 8050, role_unwatched)
ROLE_IN_BATCHES = Contender("the role, default serial", "oursib", 8150, role_in_batches)
HANDWRITTEN = Contender("hand-written playbook", "hand", 8200, handwritten)
WITH_PYINFRA = Contender("pyinfra", "pyinf", 8300, pyinfra)
DEBOPS = Contender("DebOps' role", "debo", 8400, debops, FOR_DEBOPS)
PING = Contender("one ping", "", 0, playbook("ping"))
EMPTY = Contender("empty play", "", 0, playbook("empty"))
