"""One glance over a fleet: a healthy application, a drifted one, a stopped one and a host that is not there."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Controller, Server

STATUS = str(ROOT / "playbooks" / "status.yml")
AS_JSON = ("-e", "format=json", "-e", "output=status.json")
BROKEN = "{{ lookup('ansible.builtin.pipe', 'exit 7') }}"


class Fleet:
    """One server as several hosts: as it is described, drifted and not to be known; and a host that is gone."""

    def __init__(self, controller: Controller, server: Server, variables: dict[str, Any], directory: Path) -> None:
        here = {"ansible_host": server.name, "ansible_ssh_common_args": f"-F '{controller.ssh_config}'"}
        self.hosts: dict[str, dict[str, Any]] = {
            "described": here,
            "drifted": {**here, "gunicorn_environment": {"COLOUR": "red"}},
            "unknown": {**here, "gunicorn_secrets": {"KEY": BROKEN}},
            "gone": {"ansible_host": "127.0.0.1", "ansible_port": 1},
        }
        self.variables, self.directory = variables, directory

    def look(self, *arguments: str, among: tuple[str, ...]) -> tuple[int, str]:
        """Run the playbook; its exit code and its output."""
        inventory = self.directory / "fleet.json"
        hosts = {name: self.hosts[name] for name in among}
        inventory.write_text(json.dumps({"gunicorn": {"hosts": hosts, "vars": self.variables}}))
        command = ["ansible-playbook", "-i", str(inventory), STATUS, *arguments]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"}
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=self.directory, env=environment)
        return done.returncode, done.stdout + done.stderr

    def rows(self) -> dict[str, Any]:
        """Give what it wrote as JSON of the application hello, by host. Other tests leave other ones on the server."""
        found = json.loads((self.directory / "status.json").read_text())
        return {row["host"]: row for row in found["applications"] if row["application"] == "hello"}


@pytest.fixture
def fleet(controller: Controller, server: Server, variables: dict[str, Any], tmp_path: Path) -> Fleet:
    return Fleet(controller, server, variables, tmp_path)


def test_a_fleet_for_other_programs(fleet: Fleet, site: Server) -> None:
    before, started = site.state(), time.monotonic()
    rc, output = fleet.look("--check", *AS_JSON, among=("described", "drifted", "unknown"))
    assert rc == 0, output
    assert site.state() == before
    rows = fleet.rows()
    row = rows["described"]
    assert (row["state"], row["drift"], row["gunicorn"]) == ("healthy", [], "27.0.1")
    assert row["release"] == site.run("basename $(readlink /opt/hello/current)")
    assert row["workers"] == int(site.run("pgrep --count --parent $(systemctl show -P MainPID hello)"))
    assert row["memory"] > 2**20
    assert 0 < row["health"]["milliseconds"] < 1000 * (time.monotonic() - started)
    assert rows["drifted"]["state"] == "drifted"
    assert (rows["unknown"]["state"], rows["unknown"]["drift"]) == ("healthy", None)
    assert "exit 7" in rows["unknown"]["drift_unknown"]


def test_a_fleet_that_is_not_well(fleet: Fleet, deployed: Server) -> None:
    deployed.run("systemctl stop hello")
    try:
        stopped = deployed.state()
        rc, output = fleet.look(among=("described", "gone"))
        assert deployed.state() == stopped, "a look starts nothing"
    finally:
        deployed.run("systemctl start hello")
    assert rc != 0
    assert "DEPLOYS" not in output, "that table is about deploys"
    assert "changed=1" not in output
    assert "    described  hello        stopped " in output, output
    assert "    gone       hello        unreachable " in output, output
    assert "Connection refused" in output.partition("gone hello: ")[2].splitlines()[0]


@pytest.mark.full
@pytest.mark.usefixtures("site")
def test_a_fleet_that_drifts(fleet: Fleet) -> None:
    rc, output = fleet.look(among=("described", "drifted", "unknown"))
    assert rc == 0, output
    for name, state in {"described": "healthy", "drifted": "drifted", "unknown": "healthy"}.items():
        assert f"    {name.ljust(9)}  hello        {state} " in output, output
    assert "drifted hello: a deploy would change: what differs: environment variables (+COLOUR)" in output
    strict, output = fleet.look("--check", "-e", "strict=true", among=("described", "drifted"))
    assert strict != 0
    assert "hello is drifted" in output


@pytest.mark.full
def test_hosts_that_are_not_well_for_other_programs(fleet: Fleet, deployed: Server) -> None:
    deployed.run("systemctl stop hello")
    try:
        rc, output = fleet.look(*AS_JSON, among=("described", "gone"))
    finally:
        deployed.run("systemctl start hello")
    assert rc != 0, output
    rows = fleet.rows()
    assert {name: row["state"] for name, row in rows.items()} == {"described": "stopped", "gone": "unreachable"}
    assert "Connection refused" in rows["gone"]["because"]
