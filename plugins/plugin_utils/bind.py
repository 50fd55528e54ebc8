# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Addresses in Gunicorn's own notation, and what systemd and ufw make of them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

EXAMPLE = '["0.0.0.0:8000", "[::]:8000"]'

_TCP = re.compile(r"(?:\[(?P<v6>[^\]%]*)\]|(?P<v4>[^:\[\]]*)):(?P<port>[0-9]+)")


@dataclass(frozen=True)
class Address:
    """One address that the public socket listens on."""

    text: str
    """As the user wrote it."""
    host: str
    """IP address without brackets; empty for a Unix socket."""
    port: int
    """TCP port, 1 to 65535; 0 for a Unix socket."""
    path: str
    """Absolute path of a Unix socket; empty for TCP."""

    @property
    def listen_stream(self) -> str:
        """Value for systemd's ``ListenStream=``. Source: systemd.socket(5)."""
        if self.path:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def needs_rule(self) -> bool:
        """Whether another machine can reach the address, so that the firewall has a say."""
        return not self.path and not ipaddress.ip_address(self.host).is_loopback

    @property
    def destination(self) -> str:
        """Destination of a firewall rule: ``any`` for a wildcard address, else the address."""
        return "any" if ipaddress.ip_address(self.host).is_unspecified else self.host


def overlap(one: str, other: str) -> bool:
    """Tell whether two IP addresses can't both be listened on at the same port. systemd keeps IPv4 and IPv6 apart."""
    wildcards = ("0.0.0.0", "::")
    return (":" in one) == (":" in other) and (one == other or one in wildcards or other in wildcards)


def clash(one: Address, other: Address) -> bool:
    """Tell whether two addresses can't both be listened on: one Unix socket, or one port where the hosts overlap."""
    return (one.port, one.path) == (other.port, other.path) and overlap(one.host, other.host)


def parse(text: str) -> Address:
    """Parse ``IP:PORT``, ``[IPv6]:PORT`` or ``unix:/PATH``.

    Raises `ValueError` with a reason that a person can act on.
    """
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        if not re.fullmatch(r"/[A-Za-z0-9._/@+-]+", path) or ".." in path.split("/"):
            raise ValueError("a Unix socket needs an absolute path of plain characters")
        if len(path) > 107:
            raise ValueError("the path of a Unix socket has at most 107 characters")
        return Address(text, "", 0, path)
    match = _TCP.fullmatch(text)
    if not match:
        raise ValueError("it is neither IP:PORT, [IPv6]:PORT nor unix:/PATH")
    host = match["v6"] if match["v6"] is not None else match["v4"]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host!r} is not an IP address; systemd holds the socket and resolves no names") from None
    if (ip.version == 6) != (match["v6"] is not None):
        raise ValueError("an IPv6 address stands in brackets, an IPv4 address does not")
    port = int(match["port"])
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is out of range: 1 to 65535")
    return Address(text, str(ip), port, "")
