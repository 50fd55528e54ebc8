"""Import the collection as Ansible does, from this checkout, whatever its directory is called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def pytest_configure() -> None:
    """Prepare Ansible and Hypothesis before a test is imported."""
    # Read while they are imported; without these they would write into the home directory.
    os.environ.setdefault("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    os.environ.setdefault("ANSIBLE_HOME", str(ROOT / ".cache" / "ansible"))
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".cache" / "hypothesis"))

    from ansible.plugins.loader import init_plugin_loader
    from hypothesis import settings

    init_plugin_loader([str(ROOT / ".collections")])
    # Every run tries the same inputs, however slow the machine is.
    settings.register_profile("unit", derandomize=True, deadline=None, database=None)
    settings.load_profile("unit")


@pytest.fixture(scope="session")
def root() -> Path:
    """Directory of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def role(root: Path) -> Path:
    """Directory of the role."""
    return root / "roles" / "gunicorn"
