"""Examples with more than an application: a web server in front, and several applications in one repository."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.tests.certificates import NAME, certificate_and_key
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, ROOT, Controller, Server, fresh_server

from .conftest import Load

pytestmark = pytest.mark.full

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a server that has what the examples bring, nginx too."""
    yield from fresh_server("it-infrastructure", RELEASES[0])


def test_behind_nginx(controller: Controller, server: Server, tmp_path: Path) -> None:
    certificate, key = certificate_and_key(server.address)
    for name, text in {"certificate": certificate, "key": key}.items():
        server.run(f"umask 077; mkdir -p /root/tls; printf %s '{text}' > /root/tls/{name}.pem")
    example = Path(shutil.copytree(EXAMPLES / "behind_nginx", tmp_path / "behind_nginx"))
    places = {"whoami_certificate": "/root/tls/certificate.pem", "whoami_certificate_key": "/root/tls/key.pem"}

    def deploy() -> None:
        given = json.dumps({"whoami_host": NAME, **places})
        play = controller.play(server, {}, "-e", given, playbook=str(example / "site.yml"))
        assert play, play.output

    deploy()
    with socket.create_connection((server.address, 443), 10) as connection:
        ours = connection.getsockname()[0]
    lies = {"X-Forwarded-For": "203.0.113.6", "X-Forwarded-Proto": "http", "Forwarded": "for=203.0.113.6"}
    tls = ssl.create_default_context(cadata=certificate)
    code = example / "whoami/wsgi.py"
    code.write_text(code.read_text().replace('"link"', '"url"'))
    nginx = "pgrep --parent $(cat /run/nginx.pid)"  # a reload replaces these processes
    before = server.run(nginx)
    with Load(server.address, 443, tls=tls, headers={"Host": NAME, "X-Forwarded-Host": "lie.example", **lies}) as load:
        deploy()
    assert load.failures == []
    assert server.run(nginx) == before, "nginx has nothing to do with a release"
    told = sorted(load.bodies)
    assert [json.loads(body) for body in told] == [
        {"address": ours, "link": f"https://{NAME}/"},
        {"address": ours, "url": f"https://{NAME}/"},
    ], "what the application knows is nginx's word, not the client's"
    assert load.longest_gap < load.restarted(server, "whoami").longest_gap

    plain = http.client.HTTPConnection(server.address, 80, timeout=10)
    plain.request("GET", "/", headers={"Host": NAME})
    answer = plain.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{NAME}/")
    assert ":8000 " not in server.run("ss --listening --tcp --numeric"), "nginx is the only way in"


def test_two_applications_of_one_repository(controller: Controller, server: Server, tmp_path: Path) -> None:
    repository = Path(shutil.copytree(EXAMPLES / "monorepo", tmp_path / "monorepo"))
    first = controller.play(server, {}, playbook=str(repository / "site.yml"))
    assert first, first.output
    assert "Apples and pears" in server.get(port=8011)
    blog = repository / "blog/wsgi.py"
    blog.write_text(blog.read_text().replace("are ripe", "are sold"))
    invocation = "systemctl show --property InvocationID shop.service"
    before = server.run(invocation)
    with Load(server.address, 8011) as load:
        play = controller.play(server, {}, playbook=str(repository / "site.yml"))
    assert play, play.output
    assert load.failures == []
    assert "The apples are sold" in server.get(port=8012)
    assert server.run(invocation) == before, "a change of the blog is none of the shop's"
    assert server.run("ls /opt/shop/current/code /opt/blog/current/code").split() == [
        "/opt/blog/current/code:",
        "blog",
        "common",
        "/opt/shop/current/code:",
        "common",
        "shop",
    ]
