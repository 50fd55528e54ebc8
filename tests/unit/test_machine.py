"""The host whose systemd is played does what was recorded of real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.record_systemd import RECORDING, STEPS, UNITS, play, seen
from ansible_collections.pyweb.deploy.tests.unit.machine import Machine, PlayedSystemd

RECORDED: dict[str, Any] = json.loads(RECORDING.read_text())


@pytest.mark.parametrize("release", RECORDED)
@pytest.mark.parametrize("name", STEPS)
def test_it_does_what_systemd_does(name: str, release: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    units, alias = Path(machine.layout.units), Path(machine.layout.alias)

    def write(unit: str, text: str) -> None:
        Path(units, unit).write_text(text)

    def remove() -> None:
        for path in units.glob("shop*"):
            path.unlink()

    def look() -> dict[str, Any]:
        return {
            "states": seen(
                f"{'loaded' if machine.text(unit) else 'not-found'} {machine.state(unit)}" for unit in UNITS
            ),
            "systemd listens": sorted(machine.open or ()),
            "slots listen": sorted(set().union(*machine.holds.values())),
            "alias": alias.readlink().name if alias.is_symlink() else "",
            "socket enabled": Path(units, "sockets.target.wants/shop.socket").is_symlink(),
        }

    assert play(PlayedSystemd(machine), STEPS[name], write, remove, look) == RECORDED[release][name]
