"""Where Python packages come from: an index with a password, a wheelhouse without a network, files with hashes."""

from __future__ import annotations

import ast
import base64
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, ROOT, SSH_CONFIG, Play, files_with, fresh_server

from .conftest import Controller, Server

Variables = dict[str, Any]

REMOTE = Path(__file__).parent / "remote"
VENVS = "/opt/hello/venvs"
GUNICORN = yaml.safe_load((ROOT / "roles/gunicorn/defaults/main.yml").read_text())["gunicorn_version"]
USER, WORD = "deploy@example", "Zq7/hunter2#x@y%z"
"""What the index wants; a URL holds neither as it is."""
BASIC = base64.b64encode(f"{USER}:{WORD}".encode()).decode()
TELLTALES = (WORD, quote(WORD, safe=""), quote(WORD), BASIC, "hunter2")
HOST = "localhost:8443"

CODE = """\
import greeting


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [greeting.TEXT.encode()]
"""
PLAYBOOK = """
- hosts: gunicorn
  gather_facts: false
  become: true
  environment: {PIP_CERT: /srv/index/cert.pem, PIP_RETRIES: "0"}
  roles: [pyweb.deploy.gunicorn]
"""


def make_wheel(directory: Path, version: str) -> Path:
    """Write a wheel of the package `greeting`."""
    files = {
        "greeting.py": f'TEXT = "greeting {version}"\n',
        f"greeting-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: greeting\nVersion: {version}\n",
        f"greeting-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = directory / f"greeting-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(f"greeting-{version}.dist-info/RECORD", "".join(f"{name},,\n" for name in files))
    return path


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with wheels of Gunicorn and of greeting 1.0."""
    directory = tmp_path_factory.mktemp("wheels")
    download = ["download", "--quiet", "--no-deps", "--only-binary=:all:", f"gunicorn=={GUNICORN}", "--dest"]
    subprocess.run([sys.executable, "-m", "pip", *download, str(directory)], check=True)
    make_wheel(directory, "1.0")
    return directory


@pytest.fixture(scope="session")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """Run plays with pip's environment for the private index."""
    directory = tmp_path_factory.mktemp("requirements")
    (directory / "play.yml").write_text(PLAYBOOK)
    return Controller(directory, SSH_CONFIG)


class Index:
    """The private index on the server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def start(self, wheels: Path) -> None:
        """Start it with these wheels."""
        self.server.run("mkdir -p /srv/index/simple")
        self.server.put(REMOTE / "private_index.py", "/srv/index/")
        self.certify()
        for wheel in wheels.iterdir():
            self.add(wheel)
        digest = hashlib.sha256(f"Basic {BASIC}".encode()).hexdigest()
        program = "/usr/bin/python3 /srv/index/private_index.py /srv/index"
        self.server.run(f"systemd-run --quiet --unit=private-index {program} {digest}")

    def certify(self) -> None:
        """Make its certificate."""
        self.server.run(
            "cd /srv/index && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem"
            " -subj /CN=index -addext subjectAltName=DNS:localhost 2>&1"
        )

    def add(self, wheel: Path) -> None:
        """Offer one more wheel."""
        directory = f"/srv/index/simple/{wheel.name.split('-')[0]}/"
        self.server.run(f"mkdir -p {directory}")
        self.server.put(wheel, directory)

    def requests(self) -> int:
        """How often it was asked since it started."""
        return self.server.run("journalctl --unit=private-index --output=cat").count('"GET /')


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give a server of this module's own, since a network is cut on it."""
    yield from fresh_server("it-requirements", RELEASES[-1])


@pytest.fixture(scope="module")
def index(server: Server, wheels: Path) -> Index:
    """Give the private index."""
    found = Index(server)
    found.start(wheels)
    return found


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give an application that imports the private package."""
    directory = tmp_path_factory.mktemp("application")
    (directory / "wsgi.py").write_text(CODE)
    (directory / "requirements.txt").write_text("greeting\n")
    return directory


@pytest.fixture
def variables(application: Path) -> Variables:
    """Give what a user sets, with the index as the only one."""
    return {
        "gunicorn_name": "hello",
        "gunicorn_source": {"directory": str(application)},
        "gunicorn_health": {"watch": 0},
        "gunicorn_settings": {"workers": 2},
        "gunicorn_index_url": url(),
    }


def url(word: str = WORD) -> str:
    """Address of the index, with user and password."""
    return f"https://{quote(USER, safe='')}:{quote(word, safe='')}@{HOST}/simple"


def play(controller: Controller, server: Server, variables: Variables, *arguments: str, **options: Any) -> Play:
    """Run the playbook; whatever comes of it, nobody reads the password."""
    found = controller.play(server, variables, *arguments, playbook=str(controller.directory / "play.yml"), **options)
    for telltale in TELLTALES:
        assert telltale not in found.output
    assert files_with(TELLTALES, Path(os.environ["ANSIBLE_HOME"]), Path.home() / ".ansible") == ""
    return found


@pytest.fixture
def site(controller: Controller, server: Server, index: Index, variables: Variables) -> Server:
    """Give the server with the application as the test before left it."""
    assert index.server is server
    if server.run("readlink /opt/hello/current", check=False) == "":
        found = play(controller, server, variables)
        assert found, found.output
    return server


@pytest.fixture
def outdated(site: Server, index: Index, tmp_path: Path) -> Server:
    """Give the same, while the index offers a newer version of its package than it was deployed with."""
    index.add(make_wheel(tmp_path, "2.0"))
    return site


def left_over(server: Server) -> str:
    """List what is there only while packages are built."""
    return server.run("ls -d /opt/hello/build /run/systemd/system/hello-build.service 2>/dev/null; true")


# One application from its first deploy on; each test goes on from what the one before left.


def test_check_mode_on_a_fresh_server(controller: Controller, index: Index, variables: Variables) -> None:
    before = index.server.state()
    found = play(controller, index.server, variables, "--check", "--diff", "-vvv")
    assert found, found.output
    assert index.server.state() == before
    assert index.requests() == 0


def test_the_password_of_an_index_is_seen_nowhere(controller: Controller, index: Index, variables: Variables) -> None:
    server = index.server
    with server.sampled() as lines:
        found = play(controller, server, variables, "-vvvvv", "--diff")
    assert found, found.output
    assert server.get() == "greeting 1.0"

    samples = "\n".join(lines)
    assert f"pip install --disable-pip-version-check --no-input --index-url https://{HOST}/simple" in samples
    assert re.search(r"^environ .*NETRC=/opt/hello/build/netrc ", samples, re.MULTILINE)
    # A file that is being written has its final mode a moment later; the directory lets nobody else in at any time.
    seen = set(re.findall(r"^netrc .*$", samples, re.MULTILINE))
    assert f"netrc 400 {server.run('id -u hello-build')} 700 0" in seen
    assert all(re.fullmatch(r"netrc [46]00 \d+ 700 0", each) for each in seen), seen
    for telltale in TELLTALES:
        assert telltale not in samples
    assert server.holding(*TELLTALES) == ""
    assert left_over(server) == ""


def test_another_password_and_another_index_install_nothing(
    controller: Controller, site: Server, variables: Variables, index: Index
) -> None:
    asked = index.requests()
    for change in ({"gunicorn_index_url": url("another")}, {"gunicorn_index_url": "https://other.example/simple"}):
        found = play(controller, site, {**variables, **change}, "-vvv")
        assert found, found.output
        assert found.changed == 0, found.output
        assert found.executions <= 2, found.output
    assert index.requests() == asked


@pytest.mark.full
def test_check_mode_with_packages_to_come(
    controller: Controller, site: Server, variables: Variables, wheels: Path
) -> None:
    before = site.state()
    wheelhouse = {"gunicorn_index_url": "", "gunicorn_wheelhouse": str(wheels)}
    for change in ({"gunicorn_packages": ["greeting<9"]}, wheelhouse):
        found = play(controller, site, {**variables, **change}, "--check", "--diff")
        assert found, found.output
        assert "check mode can't tell whether the Python packages can be installed" in found.said
        assert found.changed > 0
        assert site.state() == before


def test_a_change_of_the_code_pulls_no_new_version(
    controller: Controller, outdated: Server, variables: Variables, application: Path
) -> None:
    code, venvs = outdated.run("readlink /opt/hello/current/code"), outdated.stamps(VENVS)
    (application / "wsgi.py").write_text(CODE + "\n# another line\n")
    found = play(controller, outdated, variables)
    assert found, found.output
    assert outdated.run("readlink /opt/hello/current/code") != code
    assert outdated.stamps(VENVS) == venvs, "a change of the code builds no venv"
    assert outdated.get() == "greeting 1.0"


def test_a_forced_run_pulls_no_new_version(controller: Controller, outdated: Server, variables: Variables) -> None:
    venv, files = outdated.run("readlink /opt/hello/current/venv"), outdated.stamps(VENVS)
    found = play(controller, outdated, {**variables, "gunicorn_force": True})
    assert found, found.output
    assert found.changed == 0, found.output
    assert outdated.run("readlink /opt/hello/current/venv") == venv
    assert outdated.stamps(VENVS) == files, "what is complete never changes"
    assert outdated.get() == "greeting 1.0"


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (
            {"gunicorn_packages": ["greeting==9.9"]},
            ["gunicorn==", "greeting==9.9", "No matching distribution found for greeting==9.9"],
        ),
        pytest.param(
            {"gunicorn_packages": ["greeting==1.0"], "gunicorn_index_url": url("another")},
            [f"https://{HOST}/simple/gunicorn/: 401 Client Error", "an index wants a user and a password"],
            marks=pytest.mark.full,
        ),
        pytest.param(
            {"gunicorn_packages": ["greeting==1.0"], "gunicorn_index_url": "https://127.0.0.1:9/simple"},
            ["from https://127.0.0.1:9/simple", "Connection refused", "The server doesn't reach the index"],
            marks=pytest.mark.full,
        ),
    ],
    ids=["no such version", "wrong password", "unreachable"],
)
def test_what_can_not_be_installed_is_named(
    controller: Controller, site: Server, variables: Variables, change: Variables, messages: list[str]
) -> None:
    body = site.get()
    with site.sampled() as samples:
        found = play(controller, site, {**variables, **change}, "-vvv", "--diff")
    assert not found
    told = found.output[found.output.rindex("gunicorn_requirements, gunicorn_packages, gunicorn_version") :]
    for message in [*messages, "gunicorn_index_url", "Nothing that runs was touched", "Example: "]:
        assert message in told, told
    assert any("/pip install " in line for line in samples)
    assert not any(telltale in line for telltale in TELLTALES for line in samples)
    assert site.holding(*TELLTALES) == ""
    assert site.get() == body
    assert left_over(site) == ""


def test_what_a_cut_off_run_leaves_of_the_password_is_removed(
    controller: Controller, outdated: Server, variables: Variables
) -> None:
    """The run after it installs the packages, and copies no code for that."""
    variables["gunicorn_packages"] = ["greeting==2.0"]
    cut = play(controller, outdated, variables, environment=outdated.cut_while_building())
    assert cut.rc == -9, cut.output
    left = outdated.run("stat --format '%a %U' /opt/hello/build/netrc /opt/hello/build").split()
    assert left == ["400", "hello-build", "700", "root"]

    code = outdated.stamps("/opt/hello/current/code/")
    found = play(controller, outdated, variables)
    assert found, found.output
    assert outdated.holding(*TELLTALES) == ""
    assert left_over(outdated) == ""
    assert outdated.get() == "greeting 2.0"
    assert outdated.stamps("/opt/hello/current/code/") == code, "a change of the packages copies no code"
    assert play(controller, outdated, variables).changed == 0


BACKEND = """\
import os, pathlib, time, zipfile

def readable(path):
    try:
        return bool(os.listdir(path) if os.path.isdir(path) else open(path).read(1))
    except OSError:
        return False

def writable(path):
    try:
        pathlib.Path(path, "planted").touch()
    except OSError:
        return False
    return True

def build_wheel(directory, config_settings=None, metadata_directory=None):
    time.sleep(float(os.environ.get("PIP_SLEEP", "0")))
    secrets = ["/etc/shadow", "/opt/hello/releases", "/opt/other", "/var/lib/gunicorn", "/root", "/home"]
    facts = {
        "uid": os.getuid(),
        "groups": os.getgroups(),
        "reads": [path for path in secrets if readable(path)],
        "writes": [path for path in ["/opt", "/opt/hello", "/etc", "/usr", "/run", "/var"] if writable(path)],
        "capabilities": [line for line in open("/proc/self/status") if line.startswith("CapBnd")][0].split()[1],
    }
    name = "facts-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("facts.py", f"FACTS = {facts!r}\\n")
        wheel.writestr("facts-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: facts\\nVersion: 1.0\\n")
        wheel.writestr("facts-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("facts-1.0.dist-info/RECORD", "")
    return name
"""
BUILD_SYSTEM = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture
def built(tmp_path: Path, variables: Variables) -> Variables:
    """Give what a user sets for an application with a package in it that pip has to build."""
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts/backend.py").write_text(BACKEND)
    (tmp_path / "facts/pyproject.toml").write_text(BUILD_SYSTEM)
    (tmp_path / "wsgi.py").write_text(CODE)
    (tmp_path / "requirements.txt").write_text("greeting==1.0\n./facts\n")
    return {**variables, "gunicorn_source": {"directory": str(tmp_path)}}


def test_a_package_is_built_by_nobodys_root(controller: Controller, site: Server, built: Variables) -> None:
    """Neither as root nor as the application; and it sees no other application, nor what this one keeps."""
    site.run("install -d -m 0755 /opt/other/.pyweb.deploy /opt/other/secrets")
    found = play(controller, site, built)
    site.run("rm -r /opt/other")
    assert found, found.output
    assert site.get() == "greeting 1.0"
    shown = site.run("sudo -u hello /opt/hello/current/venv/bin/python -c 'import facts; print(facts.FACTS)'")
    facts = ast.literal_eval(shown)
    assert facts["uid"] == int(site.run("id -u hello-build"))
    assert facts["uid"] not in (0, int(site.run("id -u hello")))
    assert facts["groups"] in ([], [int(site.run("id -g hello-build"))])
    assert (facts["reads"], facts["writes"], int(facts["capabilities"], 16)) == ([], [], 0)
    assert site.run("find -L /opt/hello/current/venv -not -user root") == ""
    assert site.run("grep -l backend -r /opt/hello/current/code/facts --include=*.pyc; true") == ""
    assert left_over(site) == ""


def test_a_build_of_a_run_that_was_killed_ends_before_the_next_one(
    controller: Controller, site: Server, built: Variables
) -> None:
    """The run and its module are gone, the build goes on."""
    site.run("journalctl --rotate --vacuum-time=1s")
    built["gunicorn_environment"] = {"RUN": "another"}
    (Path(built["gunicorn_source"]["directory"]) / "requirements.txt").write_text("./facts\ngreeting==1.0\n")
    slow = controller.directory / "slow.yml"
    slow.write_text(PLAYBOOK.replace('PIP_RETRIES: "0"', 'PIP_RETRIES: "0", PIP_SLEEP: "30"'))
    cut = controller.play(site, built, playbook=str(slow), environment=site.cut_while_building())
    assert cut.rc == -9, cut.output
    assert site.run("systemctl is-active hello-build", check=False) == "activating"
    found = play(controller, site, built)
    assert found, found.output
    assert site.get() == "greeting 1.0"
    said = site.run("journalctl --unit=hello-build --output=cat | grep -E '^(Starting|Stopped|Finished)'").splitlines()
    assert [line.split()[0] for line in said] == ["Starting", "Stopped", "Starting", "Finished"]
    assert left_over(site) == ""
    assert play(controller, site, built).changed == 0


@pytest.mark.full
def test_debian_packages_come_first(controller: Controller, site: Server, variables: Variables) -> None:
    query = "dpkg-query --show --showformat '${db:Status-Status}' tree"
    assert site.run(query, check=False) != "installed"
    found = play(controller, site, {**variables, "gunicorn_system_packages": ["tree"]})
    assert found, found.output
    assert "Debian packages to install: tree" in found.output
    assert site.run(query) == "installed"
    assert play(controller, site, {**variables, "gunicorn_system_packages": ["tree"]}).changed == 0


def hashed(wheels: Path) -> str:
    """Lines of a requirements file with the hashes of these wheels."""
    return "".join(
        f"{'=='.join(path.name.split('-')[:2])} \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for path in sorted(wheels.iterdir())
    )


@pytest.fixture
def offline(site: Server) -> Iterator[Server]:
    """Give the server with the site, and without a route out of its network."""
    site.run("ip route save default >/run/route; ip route del default")
    assert "via" not in site.run("ip -4 route; ip -6 route"), "no router, whatever the destination"
    connect = "import socket; socket.create_connection(('192.0.2.1', 443))"
    assert "unreachable" in site.run(f'python3 -c "{connect}" 2>&1', check=False)
    pip = "python3 $(ls /usr/share/python-wheels/pip-*.whl)/pip"
    ask = f"{pip} download --quiet --no-cache-dir --retries 0 --dest /tmp/none Flask 2>&1"
    assert "No matching distribution found" in site.run(f"RES_OPTIONS='timeout:1 attempts:1' {ask}", check=False)
    yield site
    site.run("ip route restore </run/route")


@pytest.fixture
def wheelhouse(variables: Variables, wheels: Path) -> Variables:
    """Give what a user sets, with the wheels as the only source of packages."""
    return {**variables, "gunicorn_index_url": "", "gunicorn_wheelhouse": str(wheels)}


def test_a_wheelhouse_needs_no_network(
    controller: Controller, offline: Server, wheelhouse: Variables, index: Index
) -> None:
    asked, before = index.requests(), offline.run("readlink /opt/hello/current/venv")
    found = play(controller, offline, wheelhouse)
    assert found, found.output
    assert offline.run("readlink /opt/hello/current/venv") != before
    assert offline.get() == "greeting 1.0"
    assert left_over(offline) == ""
    assert index.requests() == asked


@pytest.mark.full
def test_a_forced_run_with_a_wheelhouse(controller: Controller, offline: Server, wheelhouse: Variables) -> None:
    assert play(controller, offline, wheelhouse)
    found = play(controller, offline, {**wheelhouse, "gunicorn_force": True})
    assert (found.rc, found.changed) == (0, 0), found.output


@pytest.mark.full
def test_another_wheel_in_the_wheelhouse_is_another_venv(
    controller: Controller, offline: Server, wheelhouse: Variables, wheels: Path, tmp_path: Path
) -> None:
    code = offline.stamps("/opt/hello/current/code/")
    more = tmp_path / "more"
    more.mkdir()
    for wheel in wheels.glob("gunicorn-*"):
        (more / wheel.name).hardlink_to(wheel)
    make_wheel(more, "3.0")
    found = play(controller, offline, {**wheelhouse, "gunicorn_wheelhouse": str(more)})
    assert found, found.output
    assert offline.stamps("/opt/hello/current/code/") == code, "a change of the packages copies no code"
    assert offline.get() == "greeting 3.0"


def test_a_wheelhouse_with_hashes(
    controller: Controller, offline: Server, wheelhouse: Variables, application: Path, wheels: Path, index: Index
) -> None:
    asked, body, before = index.requests(), offline.get(), offline.run("readlink /opt/hello/current/venv")
    wheelhouse["gunicorn_require_hashes"] = True
    right = hashlib.sha256((wheels / "greeting-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    (application / "requirements.txt").write_text(hashed(wheels).replace(right, "0" * 64))
    found = play(controller, offline, wheelhouse)
    assert not found
    assert "gunicorn_require_hashes: the requirements need the right hash" in found.output
    assert f"Got        {right}" in found.output
    assert offline.get() == body
    assert left_over(offline) == ""

    (application / "requirements.txt").write_text(hashed(wheels))
    found = play(controller, offline, wheelhouse)
    assert found, found.output
    assert offline.run("readlink /opt/hello/current/venv") != before
    assert offline.get() == "greeting 1.0"
    assert play(controller, offline, wheelhouse).changed == 0
    assert index.requests() == asked
