"""TLS and HTTP/2 by Gunicorn itself, with certificates that only root may read."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

from ansible_collections.pyweb.deploy.tests.certificates import certificate_and_key

from .conftest import Controller, Load, Server, connect, slot


def put(server: Server, certificate: str, key: str, other_key: str) -> ssl.SSLContext:
    """Write the files as certbot would; a client that trusts this certificate alone."""
    files = {"certificate.pem": certificate, "key.pem": key, "other-key.pem": other_key}
    for name, text in files.items():
        server.run(f"umask 077; mkdir -p /root/tls; printf %s '{text}' > /root/tls/{name}")
    context = ssl.create_default_context(cadata=certificate)
    context.set_alpn_protocols(["http/1.1"])
    return context


def get(server: Server, tls: ssl.SSLContext) -> str:
    connection = connect(server.address, 443, tls)
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def negotiated(server: Server, certificate: str, *protocols: str) -> str | None:
    context = ssl.create_default_context(cadata=certificate)
    context.set_alpn_protocols(protocols)
    with (
        socket.create_connection((server.address, 443), 10) as plain,
        context.wrap_socket(plain, server_hostname="shop.example") as connection,
    ):
        return connection.selected_alpn_protocol()


def test_tls(controller: Controller, server: Server, variables: dict[str, Any], application: Path) -> None:
    certificate, key = certificate_and_key(server.address)
    _unused, other_key = certificate_and_key()
    tls = put(server, certificate, key, other_key)
    files = {"certfile": "/root/tls/certificate.pem", "keyfile": "/root/tls/key.pem"}
    variables["gunicorn_bind"] = ["0.0.0.0:443"]
    variables["gunicorn_settings"] = {**files, "http_protocols": "h2,h1"}
    play = controller.play(server, variables)
    assert play, play.output
    assert get(server, tls) == "Hello, World!"
    assert negotiated(server, certificate, "h2", "http/1.1") == "h2"
    assert negotiated(server, certificate, "http/1.1") == "http/1.1"
    nobody_else_has_the_key(server, key)
    again = controller.play(server, variables)
    assert (again.rc, again.changed) == (0, 0), again.output

    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("Hello, World!", "Hello again!"))
    with Load(server.address, 443, tls=tls) as load:
        play = controller.play(server, variables)
    assert play, play.output
    assert load.failures == []
    assert load.bodies == {"Hello, World!", "Hello again!"}

    variables["gunicorn_settings"]["keyfile"] = "/root/tls/other-key.pem"
    play = controller.play(server, variables)
    assert not play
    assert "gunicorn_settings: keyfile: got '/root/tls/other-key.pem': it is not the key of certfile." in play.output
    variables["gunicorn_settings"]["keyfile"] = "/root/tls/nowhere.pem"
    play = controller.play(server, variables)
    assert (bool(play), play.changed) == (False, 0)
    assert "gunicorn_settings: keyfile: got '/root/tls/nowhere.pem', which is not a file" in " ".join(
        play.output.split()
    )
    assert get(server, tls) == "Hello again!"

    renewed, key = certificate_and_key(server.address)
    both = ssl.create_default_context(cadata=certificate + renewed)
    with Load(server.address, 443, tls=both) as load:
        put(server, renewed, key, other_key)
        server.run("systemctl restart hello")
    assert load.failures == [], "requests wait"
    assert negotiated(server, renewed, "http/1.1") == "http/1.1"


def nobody_else_has_the_key(server: Server, key: str) -> None:
    """The service reads a copy of its own; its unit reloads without seeing it."""
    copy = f"/run/credentials/{slot(server)}/keyfile"
    assert server.run(f"runuser -u hello cat {copy}") == key.strip()
    assert server.run(f"runuser -u nobody cat {copy} 2>/dev/null", check=False) == ""
    assert server.run("stat -c '%a %U' /root/tls/key.pem") == "600 root"
    server.run("systemctl reload hello")
