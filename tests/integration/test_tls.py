"""TLS and HTTP/2 by Gunicorn itself, with certificates that only root may read."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.certificates import certificate_and_key

from .conftest import Controller, Load, Server, connect, main_pid, slot


def put(server: Server, certificate: str, key: str, other_key: str) -> None:
    """Write the files as certbot would."""
    files = {"certificate.pem": certificate, "key.pem": key, "other-key.pem": other_key}
    for name, text in files.items():
        server.run(f"umask 077; mkdir -p /root/tls; printf %s '{text}' > /root/tls/{name}")


def trusting(certificate: str, *protocols: str) -> ssl.SSLContext:
    """Give a client that trusts this certificate alone, and speaks HTTP/1.1 unless these are other protocols."""
    context = ssl.create_default_context(cadata=certificate)
    context.set_alpn_protocols(protocols or ["http/1.1"])
    return context


def get(server: Server, tls: ssl.SSLContext) -> str:
    connection = connect(server.address, 443, tls)
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


def negotiated(server: Server, certificate: str, *protocols: str) -> str | None:
    with (
        socket.create_connection((server.address, 443), 10) as plain,
        trusting(certificate, *protocols).wrap_socket(plain, server_hostname="shop.example") as connection,
    ):
        return connection.selected_alpn_protocol()


@pytest.fixture(scope="module")
def pem(server: Server) -> tuple[str, str, str]:
    """Put a certificate, its key and another key on the server."""
    certificate, key = certificate_and_key(server.address)
    _unused, other_key = certificate_and_key()
    put(server, certificate, key, other_key)
    return certificate, key, other_key


@pytest.fixture
def tls(controller: Controller, server: Server, variables: dict[str, Any], pem: tuple[str, str, str]) -> ssl.SSLContext:
    """Let the application speak TLS; a client that trusts its certificate."""
    variables["gunicorn_bind"] = ["0.0.0.0:443"]
    variables["gunicorn_settings"] = {
        "certfile": "/root/tls/certificate.pem",
        "keyfile": "/root/tls/key.pem",
        "http_protocols": "h2,h1",
    }
    context = trusting(pem[0])
    try:
        get(server, context)
    except OSError:
        play = controller.play(server, variables)
        assert play, play.output
    return context


def test_both_protocols(server: Server, tls: ssl.SSLContext, pem: tuple[str, str, str]) -> None:
    certificate, _key, _other_key = pem
    assert get(server, tls) == "Hello, World!"
    assert negotiated(server, certificate, "h2", "http/1.1") == "h2"
    assert negotiated(server, certificate, "http/1.1") == "http/1.1"


@pytest.mark.usefixtures("tls")
def test_nobody_else_has_the_key(server: Server, pem: tuple[str, str, str]) -> None:
    """The service reads a copy of its own; its unit reloads without seeing it."""
    _certificate, key, _other_key = pem
    copy = f"/run/credentials/{slot(server)}/keyfile"
    assert server.run(f"runuser -u hello cat {copy}") == key.strip()
    assert server.run(f"runuser -u nobody cat {copy} 2>/dev/null", check=False) == ""
    assert server.run("stat -c '%a %U' /root/tls/key.pem") == "600 root"
    server.run("systemctl reload hello")


@pytest.mark.full
def test_a_release(
    controller: Controller, server: Server, tls: ssl.SSLContext, variables: dict[str, Any], application: Path
) -> None:
    again = controller.play(server, variables)
    assert (again.rc, again.changed) == (0, 0), again.output
    code = application / "wsgi.py"
    code.write_text(code.read_text().replace("Hello, World!", "Hello again!"))
    with Load(server.address, 443, tls=tls) as load:
        play = controller.play(server, variables)
    assert play, play.output
    assert load.failures == []
    assert load.bodies == {"Hello, World!", "Hello again!"}


@pytest.mark.full
def test_wrong_keys(controller: Controller, server: Server, tls: ssl.SSLContext, variables: dict[str, Any]) -> None:
    before = get(server, tls), main_pid(server)
    variables["gunicorn_settings"]["keyfile"] = "/root/tls/other-key.pem"
    play = controller.play(server, variables)
    assert not play
    assert "gunicorn_settings: keyfile: got '/root/tls/other-key.pem': it is not the key of certfile." in play.said
    variables["gunicorn_settings"]["keyfile"] = "/root/tls/nowhere.pem"
    play = controller.play(server, variables)
    assert (bool(play), play.changed) == (False, 0)
    assert "gunicorn_settings: keyfile: got '/root/tls/nowhere.pem', which is not a file" in play.said
    assert (get(server, tls), main_pid(server)) == before


@pytest.mark.usefixtures("tls")
def test_a_restart_takes_a_renewed_certificate(server: Server, pem: tuple[str, str, str]) -> None:
    certificate, _key, other_key = pem
    renewed, key = certificate_and_key(server.address)
    both = trusting(certificate + renewed)
    with Load(server.address, 443, tls=both) as load:
        put(server, renewed, key, other_key)
        server.run("systemctl restart hello")
    assert load.failures == [], "requests wait"
    assert negotiated(server, renewed, "http/1.1") == "http/1.1"
