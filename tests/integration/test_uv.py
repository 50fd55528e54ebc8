"""Packages installed by uv: from an index with a password, by a lock file, from a wheelhouse without a network."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, ROOT, fresh_server

from .conftest import Controller, Server
from .test_requirements import CODE, GUNICORN, HOST, TELLTALES, VENVS, Index, Variables, left_over, make_wheel, url

pytestmark = pytest.mark.full

UV = (ROOT / "roles/gunicorn/files/uv.txt").read_text().split()[0]
UV_VENV = f"{VENVS}/{UV.replace('==', '-')}"
PROJECT = '[project]\nname = "hello"\nversion = "1.0"\nrequires-python = ">=3.10"\ndependencies = ["greeting"]\n'
LOCK = """\
version = 1
requires-python = ">=3.10"

[[package]]
name = "greeting"
version = "1.0"
source = {{ registry = "https://pypi.org/simple" }}
wheels = [{{ url = "https://files.example/greeting-1.0-py3-none-any.whl", hash = "sha256:{digest}" }}]

[[package]]
name = "hello"
version = "1.0"
source = {{ virtual = "." }}
dependencies = [{{ name = "greeting" }}]

[package.dev-dependencies]
dev = [{{ name = "nowhere" }}]

[[package]]
name = "nowhere"
version = "1.0"
source = {{ registry = "https://pypi.org/simple" }}
"""


class Authority(Index):
    """The index, with a certificate authority that the server knows."""

    def certify(self) -> None:
        self.server.run(
            "cd /srv/index && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -subj /CN=authority"
            " -out /usr/local/share/ca-certificates/index.crt 2>&1 && update-ca-certificates 2>&1;"
            "openssl req -newkey rsa:2048 -nodes -keyout key.pem -subj /CN=index -out index.csr 2>&1;"
            "echo 'subjectAltName=DNS:localhost' >extensions;"
            "openssl x509 -req -in index.csr -CA /usr/local/share/ca-certificates/index.crt -CAkey ca.key -days 2"
            " -CAcreateserial -extfile extensions -out cert.pem 2>&1"
        )


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with wheels of Gunicorn, uv and greeting 1.0."""
    directory = tmp_path_factory.mktemp("packages")
    download = ["download", "--quiet", "--no-deps", "--only-binary=:all:", f"gunicorn=={GUNICORN}", UV, "--dest"]
    subprocess.run([sys.executable, "-m", "pip", *download, str(directory)], check=True)
    make_wheel(directory, "1.0")
    return directory


@pytest.fixture(scope="module")
def server(packages: Path) -> Iterator[Server]:
    """Give a server of this module's own with the index."""
    for server in fresh_server("it-uv", RELEASES[0]):
        Authority(server).start(packages)
        yield server


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an application that imports the private package."""
    directory = tmp_path_factory.mktemp("application")
    (directory / "wsgi.py").write_text(CODE)
    (directory / "requirements.txt").write_text("greeting\n")
    return directory


@pytest.fixture
def variables(application: Path) -> Variables:
    """Give what a user sets."""
    return {
        "gunicorn_name": "hello",
        "gunicorn_source": {"directory": str(application)},
        "gunicorn_health": {"watch": 0},
        "gunicorn_settings": {"workers": 2},
        "gunicorn_installer": "uv",
        "gunicorn_index_url": url(),
    }


def test_the_first_deploy(controller: Controller, server: Server, variables: Variables) -> None:
    """The run before it was killed while pip installed uv."""
    home = server.stamps("/root")
    assert controller.play(server, variables, environment=server.cut_while_building()).rc == -9
    assert server.run(f"ls {VENVS}") == "", "there is no half of one"

    with server.sampled() as lines:
        found = controller.play(server, variables, "-vvvv", "--diff")
    assert found, found.output
    assert server.get() == "greeting 1.0"
    server.run(f"test -e {UV_VENV}/.complete")

    samples = "\n".join(lines)
    assert re.search(rf"{UV_VENV}/bin/uv .* pip install .* --index-url https://{HOST}/simple", samples)
    assert re.search(r"^netrc 400 [1-9]\d* 700 0$", samples, re.MULTILINE)
    for telltale in TELLTALES:
        assert telltale not in samples + found.output
    assert server.holding(*TELLTALES) == ""

    venv = server.run("readlink -f /opt/hello/current/venv")
    assert server.run(f"ls -d {VENVS}/*").split() == sorted([venv, UV_VENV])
    assert server.stamps("/root") == home
    assert server.run(f"find {venv} -not -user root -o -not -perm -004 -o -type f -links +1") == ""
    assert server.run(f"find {venv} -name '*.pyc' -path '*greeting*'") != ""
    assert controller.play(server, {**variables, "gunicorn_force": True}).changed == 0


def test_a_lock_file(
    controller: Controller, server: Server, variables: Variables, application: Path, packages: Path
) -> None:
    digest = hashlib.sha256((packages / "greeting-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (application / "pyproject.toml").write_text(PROJECT)
    (application / "uv.lock").write_text(LOCK.format(digest="0" * 64))
    variables["gunicorn_requirements"] = "uv.lock"
    found = controller.play(server, variables)
    assert not found
    for message in ("uv could not install\ngunicorn==", "uv said:", "Hash mismatch for `greeting==1.0`"):
        assert message in re.sub(r"\n +", "\n", found.output), found.output

    before = server.stamps(UV_VENV)
    (application / "uv.lock").write_text(LOCK.format(digest=digest))
    found = controller.play(server, variables)
    assert found, found.output
    assert server.stamps(UV_VENV) == before, "uv was there"
    venv = server.run("readlink -f /opt/hello/current/venv")
    assert server.run(f"ls -d {venv}/lib/python*/site-packages/*.dist-info | wc -l") == "2"

    (application / "uv.lock").write_text(
        LOCK.format(digest=digest).replace('"hello"\nversion = "1.0"', '"hello"\nversion = "2.0"')
    )
    code = server.run("readlink /opt/hello/current/code")
    found = controller.play(server, variables)
    assert found, found.output
    assert server.run("readlink /opt/hello/current/code") != code
    assert server.run("readlink -f /opt/hello/current/venv") == venv


def test_a_wheelhouse(controller: Controller, server: Server, variables: Variables, packages: Path) -> None:
    server.run("systemctl stop private-index; ip route save default >/run/route; ip route del default")
    server.run(f"rm -r {UV_VENV}")
    wheelhouse = {"gunicorn_index_url": "", "gunicorn_wheelhouse": str(packages), "gunicorn_requirements": ""}
    change = {**wheelhouse, "gunicorn_packages": ["greeting"]}
    before = server.state()
    assert controller.play(server, {**variables, **change}, "--check", "--diff").changed > 0
    assert server.state() == before
    found = controller.play(server, {**variables, **change})
    assert found, found.output
    assert server.get() == "greeting 1.0"
    assert left_over(server) == ""
