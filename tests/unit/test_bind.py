"""Addresses in Gunicorn's notation."""

from __future__ import annotations

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils import bind


@pytest.mark.parametrize(
    ("text", "listen_stream", "needs_rule", "destination"),
    [
        ("0.0.0.0:8000", "0.0.0.0:8000", True, "any"),
        ("192.0.2.5:80", "192.0.2.5:80", True, "192.0.2.5"),
        ("127.0.0.1:8000", "127.0.0.1:8000", False, ""),
        ("127.1.2.3:8000", "127.1.2.3:8000", False, ""),
        ("[::]:8000", "[::]:8000", True, "any"),
        ("[::1]:8000", "[::1]:8000", False, ""),
        ("[2001:DB8:0::5]:8000", "[2001:db8::5]:8000", True, "2001:db8::5"),
        ("0.0.0.0:65535", "0.0.0.0:65535", True, "any"),
        ("0.0.0.0:1", "0.0.0.0:1", True, "any"),
        ("unix:/run/shop.sock", "/run/shop.sock", False, ""),
    ],
)
def test_addresses(text: str, listen_stream: str, needs_rule: bool, destination: str) -> None:
    address = bind.parse(text)
    assert (address.text, address.listen_stream, address.needs_rule) == (text, listen_stream, needs_rule)
    if needs_rule:
        assert address.destination == destination


def test_parts_of_an_address() -> None:
    assert bind.parse("[::1]:8000") == bind.Address("[::1]:8000", "::1", 8000, "")
    assert bind.parse("unix:/run/a.sock") == bind.Address("unix:/run/a.sock", "", 0, "/run/a.sock")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("8000", "neither"),
        (":8000", "not an IP address"),
        ("localhost:8000", "resolves no names"),
        ("0.0.0.0", "neither"),
        ("0.0.0.0:", "neither"),
        ("0.0.0.0:http", "neither"),
        ("0.0.0.0:8000\n", "neither"),
        ("0.0.0.0:0", "out of range"),
        ("0.0.0.0:65536", "out of range"),
        ("0.0.0.0:-1", "neither"),
        ("256.0.0.1:80", "not an IP address"),
        ("::1:8000", "neither"),
        ("[127.0.0.1]:8000", "brackets"),
        ("[::1]", "neither"),
        ("[fe80::1%eth0]:8000", "neither"),
        ("unix:run/shop.sock", "absolute path"),
        ("unix:/run/a b.sock", "plain characters"),
        ("unix:/run/%n.sock", "plain characters"),
        ("unix:/run/../etc/x", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:/" + "x" * 107, "107"),
        ("fd://3", "neither"),
        ("", "neither"),
    ],
)
def test_what_is_no_address(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        bind.parse(text)


def test_the_longest_path() -> None:
    assert len(bind.parse("unix:/" + "x" * 106).path) == 107


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "192.0.2.5", False),
        ("::", "::1", True),
        ("::1", "2001:db8::1", False),
        ("::", "0.0.0.0", False),
    ],
)
def test_overlap(one: str, other: str, overlap: bool) -> None:
    assert bind.overlap(one, other) is overlap
