"""A server that restarts under load: the port comes back by itself, and nobody but the active release answers."""

from __future__ import annotations

import subprocess
import time

import pytest
from ansible_collections.pyweb.deploy.tests.rig import Server, rig

from .measure import WORKER_CLASSES, Site

NOBODY_THERE = ("refused", "no connection")


@pytest.mark.parametrize("site", WORKER_CLASSES[:1], indirect=True)
def test_after_a_reboot_the_same_release_serves(site: Site) -> None:
    if not site.shell("readlink previous"):
        site.mark = "rebooted"
        assert site.deploy(), "both slots have a release"
    before = site.answer()
    assert before.startswith(f"{site.mark} ")
    container = f"pyweb-{site.server.name}"
    with site.load() as load:
        time.sleep(1)
        down = time.monotonic()
        subprocess.run(["docker", "stop", container], check=True, capture_output=True)
        off = time.monotonic()
        subprocess.run(["docker", "start", container], check=True, capture_output=True)
        site.server = Server(site.server.name, rig("address", site.server.name))
        load.go_to(site.server.address)
        while time.monotonic() < off + 60 and not site.answers():
            time.sleep(0.2)
        time.sleep(3)
    rig("up", site.server.name, f"{site.release}-ready")  # SSH learns the address
    site.note("reboot", load, time.monotonic() - down, group="reboot")
    for kind, counts in load.counts.items():
        assert set(counts.answers) == {before}, kind
        back = counts.longest_gap_at
        assert back - counts.longest_gap < off < back, "the longest gap is the reboot"
        lost = [reason for moment, reason in counts.failures if moment < down or moment > back]
        assert lost == [], f"{kind}: outside of the time that the server was down"
        lost = [reason for moment, reason in counts.failures if moment > off and not reason.startswith(NOBODY_THERE)]
        assert lost == [], f"{kind}: a connection that is accepted gets its answer"
    slots = site.shell(f"systemctl is-active {site.name}-blue {site.name}-green {site.name}-check").split()
    assert sorted(slots) == ["active", "inactive", "inactive"]
    assert site.shell(f"systemctl is-failed {site.name}.socket") == "active"
    play = site.deploy()
    assert play, play.output
    assert play.changed == 0, play.output
