"""One glance over a fleet: a healthy application, a drifted one, a stopped one and a host that is not there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .conftest import ROOT, Controller, Server

STATUS = str(ROOT / "playbooks" / "status.yml")
REMOVE = str(ROOT / "playbooks" / "remove.yml")
BROKEN = "{{ lookup('ansible.builtin.pipe', 'exit 7') }}"


def test_a_fleet(controller: Controller, site: Server, variables: dict[str, Any], tmp_path: Path) -> None:
    """The hosts of the fleet are one server, described in different ways: healthy, drifted, not to be known."""
    here = {"ansible_host": site.name, "ansible_ssh_common_args": f"-F '{controller.ssh_config}'"}
    inventory = tmp_path / "fleet.json"
    hosts: dict[str, Any] = {
        "healthy": here,
        "drifted": {**here, "gunicorn_environment": {"COLOUR": "red"}},
        "unknown": {**here, "gunicorn_secrets": {"KEY": BROKEN}},
        "gone": {"ansible_host": "127.0.0.1", "ansible_port": 1},
    }

    def look(*arguments: str, among: tuple[str, ...]) -> tuple[int, str, dict[str, Any]]:
        chosen = {name: hosts[name] for name in among}
        inventory.write_text(json.dumps({"gunicorn": {"hosts": chosen, "vars": variables}}))
        command = ["ansible-playbook", "-i", str(inventory), STATUS, *arguments]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"}
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment)
        written = tmp_path / "status.json"
        found = json.loads(written.read_text()) if written.exists() else {"applications": []}
        return done.returncode, done.stdout + done.stderr, {row["host"]: row for row in found["applications"]}

    for other in set(site.run("ls /opt").split()) - {"hello"}:  # what other tests left on the server
        assert controller.play(site, {"gunicorn_name": other}, playbook=REMOVE)
    before = site.state()
    rc, output, _rows = look(among=("healthy", "drifted", "unknown"))
    assert rc == 0, output
    assert "DEPLOYS" not in output, "that table is about deploys"
    for name, state in {"healthy": "healthy", "drifted": "drifted", "unknown": "healthy"}.items():
        assert f"    {name.ljust(7)}  hello        {state}" in output, output
    assert "drifted hello: a deploy would change: what differs: environment variables (+COLOUR)" in output
    strict, output, _rows = look("--check", "-e", "strict=true", among=("healthy", "drifted"))
    assert strict != 0
    assert "hello is drifted" in output

    site.run("systemctl stop hello")
    try:
        stopped = site.state()
        as_json = ("-e", "format=json", "-e", "output=status.json")
        rc, output, rows = look(*as_json, among=("healthy", "gone"))
        assert site.state() == stopped, "a look starts nothing"
    finally:
        site.run("systemctl start hello")
    assert rc != 0
    assert {name: row["state"] for name, row in rows.items()} == {"healthy": "stopped", "gone": "unreachable"}
    assert "Connection refused" in rows["gone"]["because"]
    assert "changed=1" not in output

    rc, output, rows = look(*as_json, "--check", among=("healthy", "unknown"))
    assert rc == 0, output
    row = rows["healthy"]
    assert (row["state"], row["drift"], row["gunicorn"]) == ("healthy", [], "27.0.1")
    assert row["generation"] == site.run("basename $(readlink /opt/hello/current)")
    assert row["workers"] == int(site.run("pgrep --count --parent $(systemctl show -P MainPID hello)"))
    assert row["memory"] > 2**20
    assert 0 < row["health"]["milliseconds"] < 10000
    assert (rows["unknown"]["state"], rows["unknown"]["drift"]) == ("healthy", None)
    assert "exit 7" in rows["unknown"]["drift_unknown"]
    assert site.state() == before
