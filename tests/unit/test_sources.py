"""Where an application comes from: what each kind of source holds, fetches, installs and has the host remember."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils.sources import KINDS, Source, make_source


def source(**given: Any) -> Source:
    return make_source(given, "/play", "/cache")


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "wsgi.py").write_text("app = 1\n")
    (tmp_path / "base.txt").write_text("flask\n")
    (tmp_path / "requirements.txt").write_text("-r base.txt\nredis\n")
    return tmp_path


def look(
    place: Path | str,
    kind: str = "directory",
    requirements: str | list[str] = "requirements.txt",
    module: str = "",
    **given: Any,
) -> dict[str, Any]:
    """Look into a source."""
    return source(**{kind: str(place)}, **given).look(requirements, module)


def test_a_directory(app: Path) -> None:
    found = look(app)
    assert (found["requirements_files"], found["requirements"]) == (["requirements.txt"], ["flask", "redis"])
    assert found["needs_source"] is False
    assert len(found["digest"]) == 12


def test_one_with_other_requirements(app: Path) -> None:
    assert look(app, requirements="base.txt")["requirements"] == ["flask"]
    (app / "base.txt").write_text("-e .\n")
    assert look(app, requirements="base.txt")["needs_source"] is True


def test_one_with_a_list_of_requirements(app: Path) -> None:
    (app / "more.txt").write_text("celery\n")
    found = look(app, requirements=["more.txt", "base.txt"])
    assert (found["requirements_files"], found["requirements"]) == (["more.txt", "base.txt"], ["celery", "flask"])


@pytest.mark.parametrize("requirements", ["", [], "requirements.txt"])
def test_one_without_requirements(app: Path, requirements: str | list[str]) -> None:
    (app / "requirements.txt").unlink()
    found = look(app, requirements=requirements)
    assert (found["requirements_files"], found["requirements"]) == ([], [])


def test_one_with_patterns(app: Path) -> None:
    before = look(app, exclude=["*.md"])["digest"]
    (app / "README.md").write_text("x")
    assert look(app, exclude=["*.md"])["digest"] == before
    assert look(app)["digest"] != before


def test_one_that_cannot_be_read(app: Path) -> None:
    found = look(app / "nowhere")
    assert (found["digest"], found["problem"]) == ("", f"{app}/nowhere is not a directory on the controller")
    assert look(app, requirements="missing.txt")["requirements_problem"] == f"{app} has no file missing.txt"
    (app / "requirements.txt").write_bytes(b"\xff")
    found = look(app)
    assert "decode" in found["requirements_problem"]
    assert (found["requirements"], found["problem"]) == ([], "")


def test_one_in_an_archive(app: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    packed = shutil.make_archive(str(tmp_path_factory.mktemp("packed") / "shop"), "zip", app)
    found = look(Path(packed), kind="archive", module="wsgi")
    assert found == {**look(app, module="wsgi"), "place": packed}
    assert found["has_module"] is True
    assert "not " + "0" * 64 in look(Path(packed), kind="archive", checksum="sha256:" + "0" * 64)["problem"]


def test_one_that_is_a_package(tmp_path: Path) -> None:
    wheel = tmp_path / "shop-1.2-py3-none-any.whl"
    wheel.write_text("a wheel")
    by_name = look("shop==1.2", kind="package")
    assert (by_name["requirements_files"], by_name["problem"]) == ([], "")
    assert look(str(wheel), kind="package")["digest"] != by_name["digest"]


def test_only_what_is_elsewhere_is_fetched() -> None:
    url = "https://files.example.org/shop.tar.gz"
    fetched = {
        "git": source(git="git@git.example.org:shop.git", version="main", key_file="keys/deploy", submodules=False),
        "archive": source(archive=url, checksum="sha256:ab"),
    }
    assert fetched["git"].fetch == {
        "kind": "git",
        "url": "git@git.example.org:shop.git",
        "path": fetched["git"].path,
        "version": "main",
        "submodules": False,
        "key_file": "/play/keys/deploy",
        "by_hand": "git clone git@git.example.org:shop.git",
    }
    assert fetched["archive"].fetch == {
        "kind": "archive",
        "url": url,
        "path": fetched["archive"].path,
        "checksum": "sha256:ab",
        "by_hand": f"curl --fail --remote-name {url}",
    }
    assert source(git="x").fetch["submodules"] is True
    here = [source(directory="app"), source(archive="shop.zip"), source(package="shop"), source(existing="/srv/shop")]
    assert [each.fetch for each in here] == [{}] * 4


def test_each_fetched_source_has_its_place_in_the_cache() -> None:
    given = [{"git": "a"}, {"git": "b"}, {"git": "a", "version": "1"}, {"archive": "https://a", "checksum": "1"}]
    places = [source(**each).path for each in given]
    assert len(set(places)) == len(places)
    assert all(place.startswith(f"/cache/{next(iter(each))}-") for place, each in zip(places, given, strict=True))
    assert source(version="1", git="a").path == places[2], "whatever the order"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"directory": "app"}, "/play/app"),
        ({"directory": "/srv/app/../shop"}, "/srv/shop"),
        ({"archive": "shop.zip"}, "/play/shop.zip"),
        ({"package": "shop-1.2-py3-none-any.whl"}, "/play/shop-1.2-py3-none-any.whl"),
        ({"package": "shop==1.2"}, ""),
        ({"existing": "/srv/shop"}, ""),
    ],
)
def test_where_it_is_on_the_controller(given: dict[str, str], path: str) -> None:
    assert source(**given).path == path


def test_a_path_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert source(directory="~/shop").path == "/home/me/shop"
    assert source(git="x", key_file="~/.ssh/deploy").fetch["key_file"] == "/home/me/.ssh/deploy"


def test_what_is_on_the_host() -> None:
    assert {key: kind.on_host for key, kind in KINDS.items() if kind.on_host} == {"existing": True}
    assert (source(existing="/srv/shop").code, source(directory="app").code) == ("/srv/shop", "")


def test_what_the_source_itself_installs() -> None:
    named, wheel = source(package="shop[web]==1.2"), source(package="dist/shop-1.2-py3-none-any.whl")
    assert (named.package, named.package_file) == ("shop[web]==1.2", "")
    assert wheel.package_file == "shop-1.2-py3-none-any.whl"
    assert {each.package + each.package_file for each in (source(directory="a.whl"), source(git="a.zip"))} == {""}


def test_what_the_host_keeps_of_it(tmp_path: Path) -> None:
    repository = make_source({"git": "x", "version": "main", "key_file": "secret"}, "/play", str(tmp_path))
    Path(repository.path).mkdir()
    identity = ["-c", "user.name=Me", "-c", "user.email=me@example.org"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "First"]):
        subprocess.run(["git", *command], cwd=repository.path, check=True)
    record = repository.record()
    assert len(record.pop("commit")) == 40
    assert record == {"git": "x", "version": "main"}
    assert source(archive="https://a/b.zip?token=s3cret", checksum="sha256:ab").record() == {
        "archive": "https://a/b.zip",
        "checksum": "sha256:ab",
    }
    assert source(directory="app", exclude=["tests"]).record() == {"directory": "app", "exclude": ["tests"]}


def test_the_configuration_file_of_an_archive(app: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What it was unpacked to for the moment is nobody's business."""
    (app / "gunicorn.conf.py").write_text("workers = 4\n")
    place = shutil.make_archive(str(tmp_path_factory.mktemp("there") / "app"), "zip", app)
    found = source(archive=place).look("requirements.txt", "wsgi", "conf.py")
    assert found["conf_problem"] == f"there is no conf.py in {place}; it has gunicorn.conf.py"
    found = source(archive=place).look("requirements.txt", "wsgi", "gunicorn.conf.py")
    assert (found["conf_file"], found["conf_problem"], len(found["conf"])) == ("gunicorn.conf.py", "", 1)


def test_a_package_has_no_configuration_file() -> None:
    found = source(package="shop").look("requirements.txt", "wsgi", "gunicorn.conf.py")
    assert found["conf_problem"].startswith(
        "there is no gunicorn.conf.py in a package that pip finds by its name, nor "
    )
