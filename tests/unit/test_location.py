"""Where an application is on the controller, whatever it comes as."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils.location import Location, opened


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def packed(tmp_path: Path, *names: str) -> Path:
    """Write an archive of empty files."""
    directory = tmp_path / "tree"
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()
    subprocess.run(["tar", "-czf", str(tmp_path / "app.tar.gz"), "-C", str(directory), "."], check=True)
    return tmp_path / "app.tar.gz"


def listed(location: Location) -> list[str]:
    with opened(location) as directory:
        return sorted(os.listdir(directory))


def test_a_directory_is_used_where_it_is(tmp_path: Path) -> None:
    with opened(Location("directory", str(tmp_path))) as directory:
        assert directory == str(tmp_path)


@pytest.mark.parametrize(
    ("names", "module", "subdirectory", "root"),
    [
        (["wsgi.py", "shop/main.py"], "wsgi", "", ["shop", "wsgi.py"]),
        (["shop-1.2/wsgi.py"], "wsgi", "", ["wsgi.py"]),
        (["shop/main.py"], "shop.main", "", ["shop"]),
        (["site/manage.py", "site/site/wsgi.py"], "site.wsgi", "", ["manage.py", "site"]),
        (["shop-1.2/setup.py", "shop-1.2/src/shop.py"], "shop", "", ["setup.py", "src"]),
        (["shop-1.2/services/web/wsgi.py"], "wsgi", "services/web", ["wsgi.py"]),
        (["services/web/wsgi.py"], "wsgi", "services/web", ["wsgi.py"]),
        (["wsgi.py"], "other", "", ["wsgi.py"]),
        (["shop/shop.py", "shop/requirements.txt"], "shop", "", ["requirements.txt", "shop.py"]),
        (["shop/shop/__init__.py", "shop/setup.py"], "shop", "", ["setup.py", "shop"]),
        (["shop/__init__.py", "shop/views.py"], "shop", "", ["shop"]),
        (["shop/shop/wsgi.py", "shop/other/x.py"], "wsgi", "shop", ["wsgi.py"]),
    ],
)
def test_the_application_is_found_inside_an_archive(
    tmp_path: Path, names: list[str], module: str, subdirectory: str, root: list[str]
) -> None:
    location = Location("archive", str(packed(tmp_path, *names)), subdirectory, module=module)
    assert listed(location) == root


def test_what_was_unpacked_is_removed(tmp_path: Path, scratch: Path) -> None:
    with opened(Location("archive", str(packed(tmp_path, "wsgi.py")), module="wsgi")) as directory:
        assert Path(directory).parent == scratch
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_checksums(tmp_path: Path, algorithm: str) -> None:
    path = packed(tmp_path, "wsgi.py")
    right = hashlib.new(algorithm, path.read_bytes()).hexdigest()
    assert listed(Location("archive", str(path), checksum=f"{algorithm}:{right.upper()}", module="wsgi")) == ["wsgi.py"]
    with pytest.raises(ValueError, match=f"the {algorithm} of {path} is {right}, not {'0' * len(right)}"):
        listed(Location("archive", str(path), checksum=f"{algorithm}:{'0' * len(right)}", module="wsgi"))


@pytest.mark.parametrize("subdirectory", ["nowhere", "wsgi.py"])
@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_a_subdirectory_that_is_missing(tmp_path: Path, kind: str, subdirectory: str) -> None:
    archive = packed(tmp_path, "wsgi.py")
    path = archive if kind == "archive" else tmp_path / "tree"
    with pytest.raises(ValueError, match=f"{path} has no directory {subdirectory}"):
        listed(Location(kind, str(path), subdirectory, module="wsgi"))


def test_a_subdirectory_that_leads_elsewhere(tmp_path: Path) -> None:
    packed(tmp_path, "wsgi.py")
    (tmp_path / "tree/out").symlink_to("/etc")
    with pytest.raises(ValueError, match="has no directory out"):
        listed(Location("directory", str(tmp_path / "tree"), "out"))


def test_a_package_that_is_a_file(tmp_path: Path, scratch: Path) -> None:
    wheel = tmp_path / "shop-1.2-py3-none-any.whl"
    shutil.copyfile(packed(tmp_path, "shop.py"), wheel)
    with opened(Location("package", str(wheel))) as directory:
        assert (Path(directory) / wheel.name).read_bytes() == wheel.read_bytes()
    assert list(scratch.iterdir()) == []


def test_a_package_that_pip_finds(scratch: Path) -> None:
    assert listed(Location("package", "")) == []
    assert list(scratch.iterdir()) == []


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere is not a directory on the controller"):
        listed(Location("directory", str(tmp_path / "nowhere")))
    for kind in ("archive", "package"):
        with pytest.raises(OSError, match="nowhere"):
            listed(Location(kind, str(tmp_path / "nowhere")))
