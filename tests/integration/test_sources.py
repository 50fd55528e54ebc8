"""Applications that come from a repository, an archive, a package, or that are on the server already."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import io
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import RELEASES, Controller, Play, Server, files_with, fresh_server

CODE = """
from flask import Flask

from words import WORD

app = Flask(__name__)


@app.route("/")
def say() -> str:
    return f"{WORD} MARK"


@app.route("/healthz")
def healthz() -> str:
    return "ok"
"""


def code(mark: str) -> dict[str, str]:
    return {"wsgi.py": CODE.replace("MARK", mark), "words.py": 'WORD = "word"\n', "requirements.txt": "Flask==3.1.3\n"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Give the server that all sources are deployed to, one after the other."""
    yield from fresh_server("it-sources", RELEASES[-1])


@dataclasses.dataclass
class Site:
    """The application, wherever it comes from."""

    controller: Controller
    server: Server
    home: Path

    def deploy(self, source: dict[str, Any], *arguments: str, wsgi_app: str = "wsgi:app", **variables: Any) -> Play:
        """Deploy it; the cache of the controller is the test's own."""
        wanted = {
            "gunicorn_name": "shop",
            "gunicorn_source": source,
            "gunicorn_wsgi_app": wsgi_app,
            "gunicorn_health": {"path": "/healthz", "watch": 0},
            "gunicorn_settings": {"workers": 2},
            **variables,
        }
        return self.controller.play(self.server, wanted, *arguments, environment={"ANSIBLE_HOME": str(self.home)})

    def release(self) -> str:
        return self.server.run("readlink /opt/shop/current")

    def files(self) -> set[str]:
        """Each file of code and of venvs, with when it was last written."""
        return set(self.server.stamps("/opt/shop/code", "/opt/shop/venvs").splitlines())

    def built_since(self, before: set[str]) -> list[str]:
        """Of what there are new files: `code`, `venv`. What was pruned meanwhile doesn't count."""
        new = self.files() - before
        kinds = {"code": "/opt/shop/code/", "venv": "/opt/shop/venvs/"}
        return [kind for kind, directory in kinds.items() if any(line.startswith(directory) for line in new)]


@pytest.fixture(scope="module")
def site(controller: Controller, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(controller, server, tmp_path_factory.mktemp("sources") / "home")


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


# A private repository over SSH


@dataclasses.dataclass
class Repository:
    """A repository on a server that lets in who has the deploy key, and a clone to commit from."""

    url: str
    clone: Path
    key: Path
    ssh: str

    def git(self, *command: str, directory: Path | None = None) -> str:
        identity = ["-c", "user.name=Me", "-c", "user.email=me@example.org", "-c", "init.defaultBranch=main"]
        done = subprocess.run(
            ["git", *identity, *command],
            cwd=directory or self.clone,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "GIT_SSH_COMMAND": f"{self.ssh} -i {self.key}",
                "HOME": "/nonexistent",
            },
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str], *tags: str) -> str:
        """Commit and push files; give the commit."""
        write(self.clone, files)
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "Change")
        for tag in tags:
            self.git("tag", tag)
        self.git("push", "--quiet", "--tags", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")


@pytest.fixture(scope="module")
def git_server() -> Iterator[Server]:
    """Give a server with two repositories, of which one uses the other as a submodule."""
    for server in fresh_server("it-git", RELEASES[0]):
        server.run(
            "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends git"
            " && useradd --create-home --shell /usr/bin/git-shell git"
            " && git init --quiet --bare --initial-branch main /home/git/shop.git"
            " && git init --quiet --bare --initial-branch main /home/git/words.git"
            " && chown -R git: /home/git"
        )
        yield server


@pytest.fixture(scope="module")
def repository(git_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    directory = tmp_path_factory.mktemp("git")
    key = directory / "deploy_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "deploy", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text().strip()
    home = "/home/git/.ssh"
    git_server.run(f"install -d -o git -m 700 {home} && echo '{public}' >{home}/authorized_keys && chown git {home}/*")
    ssh = f"ssh -o UserKnownHostsFile={directory}/known_hosts -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes"
    urls = {name: f"ssh://git@{git_server.address}/home/git/{name}.git" for name in ("shop", "words")}
    words = Repository(urls["words"], directory / "words", key, ssh)
    shop = Repository(urls["shop"], directory / "shop", key, ssh)
    for each in (words, shop):
        each.git("clone", "--quiet", each.url, str(each.clone), directory=directory)
    words.commit({"__init__.py": 'WORD = "submodule"\n'})
    shop.git("submodule", "--quiet", "add", words.url, "words")
    return shop


def seen(site: Site, play: Play, samples: list[str], *keys: Path) -> list[str]:
    """Where a line of a key turned up: in the output, in the controller's directories, on the server."""
    # The first line of what is encoded is the same in every key of the kind, the server's own too.
    secret = [line for key in keys for line in key.read_text().splitlines()[2:-1]]
    assert files_with(secret, *keys).split() == list(map(str, keys)), "what is looked for can be found"
    assert any("gunicorn" in line for line in samples)
    texts = {"the output": play.output, "a process of the server": "\n".join(samples)}
    # Ansible's own temporary files on the controller, the cache, and what modules leave there.
    places = [site.home / "tmp", site.home / "pyweb.deploy", Path.home() / ".ansible", *Path("/tmp").glob("ansible*")]
    return [
        *(name for name, text in texts.items() if any(line in text for line in secret)),
        *files_with(secret, *places).splitlines(),
        *site.server.holding(*secret).splitlines(),
    ]


def deploy_unseen(site: Site, source: dict[str, Any], *other_keys: Path) -> Play:
    """Deploy from Git and tell all there is to tell; nobody sees a deploy key."""
    with site.server.sampled() as samples:
        play = site.deploy(source, "-vvv", "--diff")
    assert seen(site, play, samples, Path(source["key_file"]), *other_keys) == []
    return play


@dataclasses.dataclass
class First:
    """The first release that came from Git."""

    source: dict[str, Any]
    commit: str
    release: str


@pytest.fixture(scope="module")
def first(site: Site, repository: Repository) -> Iterator[First]:
    """Deploy a branch, of which the tag v1 stays with the first commit."""
    files = {name: text for name, text in code("first").items() if name != "words.py"}
    commit = repository.commit(files, "v1")
    source = {"git": repository.url, "version": "main", "key_file": str(repository.key)}
    with pytest.MonkeyPatch.context() as monkeypatch:
        # Know the host key of the server as a user's known_hosts would.
        monkeypatch.setenv("GIT_SSH_COMMAND", repository.ssh)
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        play = deploy_unseen(site, source)
        assert play, play.output
        yield First(source, commit, site.release())


def test_a_branch_and_its_commit(site: Site, first: First) -> None:
    assert site.server.get() == "submodule first", "the submodule came along"
    assert site.server.run("find / -xdev -name .git", check=False) == ""
    play = site.deploy({**first.source, "version": first.commit}, "--check")
    assert (play.rc, play.changed) == (0, 0), f"the commit is the same code: {play.output}"


def test_a_branch_that_moved_on(site: Site, first: First, repository: Repository) -> None:
    second = repository.commit(code("second") | {"words.py": ""})
    assert site.deploy(first.source, "--check").changed, "it is another release, in check mode too"
    before = site.files()
    play = deploy_unseen(site, first.source)
    assert play, play.output
    assert site.built_since(before) == ["code"], "a change of the code builds no venv"
    assert site.server.get() == "submodule second"
    assert site.release() != first.release
    assert second in site.server.run("cat /opt/shop/current/release.json")


def test_a_tag_leads_back(site: Site, first: First) -> None:
    before = site.files()
    play = site.deploy({**first.source, "version": "v1"})
    assert play, play.output
    assert site.release() == first.release, "it is still there"
    assert site.built_since(before) == []
    assert site.server.get() == "submodule first"


@pytest.mark.full
def test_a_tag_with_other_packages(site: Site, first: First) -> None:
    before = site.files()
    play = site.deploy({**first.source, "version": "v1"}, gunicorn_packages=["itsdangerous==2.2.0"])
    assert play, play.output
    assert site.built_since(before) == ["venv"], "a change of the packages copies no code"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"version": "no-such-branch"}, "no-such-branch", marks=pytest.mark.full),
        pytest.param({"git": "ssh://git@{address}/home/git/other.git"}, "other.git", marks=pytest.mark.full),
        ({"key_file": "{directory}/other_key"}, "Permission denied"),
    ],
)
def test_what_cannot_be_fetched(
    site: Site, first: First, git_server: Server, tmp_path: Path, change: dict[str, str], reason: str
) -> None:
    other = tmp_path / "other_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    filled = {key: value.format(address=git_server.address, directory=tmp_path) for key, value in change.items()}
    before = site.release()
    anew = dataclasses.replace(site, home=tmp_path / "home")  # where nothing was fetched before
    play = deploy_unseen(anew, {**first.source, "version": "v1", **filled}, Path(first.source["key_file"]), other)
    assert not play
    assert "which could not be fetched on the controller" in play.output
    assert reason in play.output
    assert "rescued=1" in play.output
    assert site.release() == before


# An archive


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a directory and keeps silent."""

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Give a directory on the controller, and the URL that it is served under."""
    directory = tmp_path / "downloads"
    directory.mkdir()
    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield directory, f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def pack(path: Path, directory: Path) -> Path:
    with tarfile.open(path, "w:xz") as archive:
        archive.add(directory, "shop-1.2")
    return path


def test_an_archive_of_a_url_and_the_same_as_a_file(site: Site, downloads: tuple[Path, str], tmp_path: Path) -> None:
    directory, url = downloads
    packed = pack(directory / "shop.tar.xz", write(tmp_path / "shop", code("archive")))
    play = site.deploy({"archive": f"{url}/shop.tar.xz", "checksum": sha256(packed)})
    assert play, play.output
    assert site.server.get() == "word archive"

    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as zipped:
        for name, text in code("archive").items():
            zipped.writestr(name, text)
    play = site.deploy({"archive": str(tmp_path / "shop.zip")})
    assert (play.rc, play.changed) == (0, 0), f"the same files are the same release: {play.output}"


@pytest.mark.full
def test_an_archive_that_changes(site: Site, tmp_path: Path) -> None:
    def archive(mark: str) -> dict[str, str]:
        return {"archive": str(pack(tmp_path / f"{mark}.tar.xz", write(tmp_path / "shop", code(mark))))}

    assert site.deploy(archive("archive"))
    before = site.files()
    other = archive("other archive")
    play = site.deploy(other)
    assert play, play.output
    assert site.built_since(before) == ["code"], "a change of the code builds no venv"
    assert site.server.get() == "word other archive"

    before = site.files()
    play = site.deploy(other, gunicorn_packages=["blinker==1.9.0"])
    assert play, play.output
    assert site.built_since(before) == ["venv"], "a change of the packages copies no code"


WRONG = {"checksum": "sha256:" + "0" * 64}


@pytest.mark.parametrize(
    ("source", "reasons"),
    [
        ({"archive": "{url}/shop.tar.xz", **WRONG}, ["could not be fetched", "checksum"]),
        pytest.param(
            {"archive": "{directory}/shop.tar.xz", **WRONG},
            ["the sha256 of {directory}/shop.tar.xz is {right}, not " + "0" * 64],
            marks=pytest.mark.full,
        ),
        ({"archive": "{directory}/evil.tar.gz"}, ["leads out of the archive's own directory"]),
    ],
    ids=["another download", "another file", "evil"],
)
def test_archives_that_are_refused(
    site: Site, downloads: tuple[Path, str], tmp_path: Path, source: dict[str, str], reasons: list[str]
) -> None:
    directory, url = downloads
    packed = pack(directory / "shop.tar.xz", write(tmp_path / "shop", code("refused")))
    with tarfile.open(directory / "evil.tar.gz", "w:gz") as evil:
        evil.addfile(tarfile.TarInfo("../evil"), io.BytesIO())
    known = {"url": url, "directory": directory, "right": sha256(packed).removeprefix("sha256:")}
    before = site.server.state()
    play = site.deploy({key: value.format(**known) for key, value in source.items()})
    assert not play
    for reason in reasons:
        assert reason.format(**known) in play.said
    assert site.server.state() == before


# A directory that installs itself

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "words"
version = "1.0"

[tool.setuptools]
package-dir = {"" = "src"}
"""


@pytest.mark.full
def test_requirements_that_install_the_source_itself(site: Site, tmp_path: Path) -> None:
    """The package is found in the venv only. What others leave in /tmp has no say: the build has its own."""
    files = code("itself") | {"pyproject.toml": PROJECT, "requirements.txt": "Flask==3.1.3\n.\n"}
    files["src/words.py"] = files.pop("words.py")
    site.server.run("for each in venv setup logging; do echo 'raise SystemExit(\"planted\")' >/tmp/$each.py; done")
    source = {"directory": str(write(tmp_path / "shop", files))}
    play = site.deploy(source)
    site.server.run("rm /tmp/venv.py /tmp/setup.py /tmp/logging.py")
    assert play, play.output
    assert site.server.get() == "word itself"
    forced = site.deploy(source, gunicorn_force=True)
    assert (forced.rc, forced.changed) == (0, 0), forced.output


# A package


def wheel(directory: Path, mark: str) -> Path:
    """Write the wheel of an application that needs Flask."""
    files = {
        "shop.py": CODE.replace("MARK", mark).replace("from words import WORD", 'WORD = "wheel"'),
        "shop-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1.2\nRequires-Dist: Flask==3.1.3\n",
        "shop-1.2.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, "shop-1.2.dist-info/RECORD"))
    path = directory / "shop-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in {**files, "shop-1.2.dist-info/RECORD": record}.items():
            packed.writestr(name, text)
    return path


def test_a_wheel(site: Site, tmp_path: Path) -> None:
    source = {"package": str(wheel(tmp_path, "one"))}
    play = site.deploy(source, wsgi_app="shop:app")
    assert play, play.output
    assert site.server.get() == "wheel one"
    again = site.deploy(source, wsgi_app="shop:app")
    assert (again.rc, again.changed) == (0, 0), again.output


@pytest.mark.full
def test_a_wheel_of_the_same_version_with_another_content(site: Site, tmp_path: Path) -> None:
    source = {"package": str(wheel(tmp_path, "one"))}
    assert site.deploy(source, wsgi_app="shop:app")
    wheel(tmp_path, "two")
    play = site.deploy(source, wsgi_app="shop:app")
    assert play, play.output
    assert site.server.get() == "wheel two"


@pytest.mark.full
def test_a_package_of_the_index(site: Site) -> None:
    """Httpbin is somebody else's application, with gevent among what it needs."""
    health = {"path": "/status/200", "watch": 0}
    source = {"package": "httpbin==0.10.2"}
    play = site.deploy(source, wsgi_app="httpbin:app", gunicorn_health=health)
    assert play, play.output
    assert '"url":"http://' in site.server.get("/get").replace(" ", "")


@pytest.mark.full
def test_a_package_that_the_index_does_not_have(site: Site) -> None:
    before = site.release()
    play = site.deploy({"package": "httpbin==0.0.0.1"}, wsgi_app="httpbin:app")
    assert not play
    assert "gunicorn_source" in play.output
    assert "httpbin==0.0.0.1" in play.output
    assert site.release() == before


# What is on the server already


def put(server: Server, directory: Path, mark: str) -> str:
    """Put the application on the server, as somebody else would; what its files look like then."""
    write(directory / "srv", code(mark))
    server.run("mkdir -p /srv/shop")
    server.put(f"{directory}/srv/.", "/srv/shop")
    return listed(server)


def listed(server: Server) -> str:
    return server.run("cd /srv/shop && find . -type f -printf '%p %U %m %T@\\n' | sort")


def test_an_application_that_somebody_else_puts_there(site: Site, tmp_path: Path) -> None:
    """It runs where it is, a change is noticed, and nothing of it is ever changed or removed."""
    source = {"existing": "/srv/shop"}
    files = put(site.server, tmp_path, "one")
    play = site.deploy(source)
    assert play, play.output
    assert site.server.get() == "word one"
    assert site.server.run("readlink -f /opt/shop/current/code") == "/srv/shop"
    again = site.deploy(source)
    assert (again.rc, again.changed) == (0, 0), again.output
    assert listed(site.server) == files

    files = put(site.server, tmp_path, "two")
    first = site.server.run("readlink -f /opt/shop/current")
    assert site.deploy(source, "--check").changed
    play = site.deploy(source)
    assert play, play.output
    assert site.server.get() == "word two"

    play = site.deploy(source, gunicorn_settings={"threads": 3}, gunicorn_keep_releases=1)
    assert play, play.output
    assert site.server.run(f"ls -d {first}", check=False) == "", "the first release is pruned"
    assert listed(site.server) == files, "releases that go leave it alone"


@pytest.mark.full
def test_a_marker_decides(site: Site, tmp_path: Path) -> None:
    put(site.server, tmp_path, "two")
    source = {"existing": "/srv/shop", "marker": "REVISION"}
    play = site.deploy(source)
    assert not play
    assert "REVISION" in play.output
    site.server.run("echo 1 >/srv/shop/REVISION")
    assert site.deploy(source)
    site.server.run("sed -i s/two/three/ /srv/shop/wsgi.py")
    assert site.deploy(source).changed == 0, "the marker is the same"
    site.server.run("echo 2 >/srv/shop/REVISION")
    assert site.deploy(source)
    assert site.server.get() == "word three"
