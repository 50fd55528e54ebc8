"""What tasks call, found by the names that they use."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.plugins.loader import filter_loader


def apply(name: str, *arguments: Any) -> Any:
    """Call a filter of the collection."""
    return filter_loader.get(f"pyweb.deploy.{name}").j2_function(*arguments)


def test_gunicorn_checked() -> None:
    assert apply("gunicorn_checked", "25%", "gunicorn_serial") == "25%"
    with pytest.raises(AnsibleFilterError, match=r"gunicorn_serial: got 'x'.*It accepts"):
        apply("gunicorn_checked", "x", "gunicorn_serial")


def test_errors_name_the_filter() -> None:
    with pytest.raises(AnsibleFilterError, match="gunicorn_status: the key 'described' is missing"):
        apply("gunicorn_status", {"web1": {"name": "x"}}, "")
