"""What is recorded of systemd, by which the unit tests play it, is what it does on each release."""

from __future__ import annotations

import json

import pytest
from ansible_collections.pyweb.deploy.tests.record_systemd import RECORDING, record
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, fresh_server


@pytest.mark.full
@pytest.mark.parametrize("release", RELEASES)
def test_systemd_does_what_is_recorded(release: str) -> None:
    recorded = json.loads(RECORDING.read_text())
    for server in fresh_server("it-systemd", release):
        version, found = record(server)
        assert found == recorded[version]
