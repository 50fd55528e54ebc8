# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""One request of the health check, and what is wrong with the answer."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

BODY_LIMIT = 64 * 1024
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket or over TCP; over TLS, where it is wanted for the name of a host."""

    def __init__(self, address: dict[str, Any], timeout: float, tls_for: str | None = None) -> None:
        self.path, self.tls_for = address["path"], tls_for
        host = "localhost" if self.path else LOOPBACK.get(address["host"], address["host"])
        super().__init__(host, address["port"] or None, timeout=timeout)

    def connect(self) -> None:
        """Connect to the socket, and agree on TLS."""
        if self.path:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self.path)
        else:
            super().connect()
        if self.tls_for is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["http/1.1"])
            self.sock = context.wrap_socket(self.sock, server_hostname=urlsplit("//" + self.tls_for).hostname)


def read_body(answer: http.client.HTTPResponse, seconds: float) -> str:
    """Beginning of the body: at most `BODY_LIMIT` bytes and, of an endless one, what arrives in that time."""
    until = time.monotonic() + seconds
    body = b""
    while len(body) < BODY_LIMIT and time.monotonic() < until:
        part = answer.read1(BODY_LIMIT - len(body))
        if not part:
            break
        body += part
    return body.decode("utf-8", "replace")


def ask(address: dict[str, Any], health: dict[str, Any], timeout: float) -> tuple[int, str]:
    """Send one request: its HTTP status (0 where no answer came) and what is wrong with the answer, if anything."""
    connection = Connection(address, timeout, health["host"] if health["tls"] else None)
    try:
        connection.request("GET", health["path"], headers={"Host": health["host"], "Connection": "close"})
        answer = connection.getresponse()
        body = read_body(answer, timeout)
    except (OSError, ValueError, http.client.HTTPException) as problem:  # ValueError: TLS can't ask for such a name
        return 0, f"no answer to GET {health['path']}: {str(problem) or type(problem).__name__}"
    finally:
        connection.close()
    if answer.status not in health["status"]:
        wanted = ", ".join(str(code) for code in health["status"])
        return answer.status, f"GET {health['path']} answered {answer.status}, not {wanted}"
    if health["expect"] not in body:
        return answer.status, f"the answer to GET {health['path']} doesn't hold {health['expect']!r}"
    return answer.status, ""
