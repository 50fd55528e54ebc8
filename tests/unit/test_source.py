"""What counts of an application's directory, and its digest."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils import source
from hypothesis import given
from hypothesis import strategies as st


def write(directory: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An application with every kind of thing that travels."""
    directory = write(tmp_path / "app", {"wsgi.py": "app = 1\n", "shop/main.py": "x\n", "bin/tool": "#!/bin/sh\n"})
    (directory / "bin/tool").chmod(0o755)
    (directory / "latest").symlink_to("shop/main.py")
    return directory


def paths(directory: Path, *exclude: str) -> list[str]:
    return [entry.path for entry in source.entries(str(directory), exclude)]


def test_what_travels(app: Path) -> None:
    assert source.entries(str(app)) == [
        source.Entry("bin/tool", 0o755, None),
        source.Entry("latest", 0o777, "shop/main.py"),
        source.Entry("shop/main.py", 0o644, None),
        source.Entry("wsgi.py", 0o644, None),
    ]


def test_a_digest_names_a_directory(app: Path) -> None:
    found = source.digest(str(app))
    assert len(found) == source.DIGEST_LENGTH
    assert int(found, 16) >= 0


def test_digest_ignores_umask_times_and_empty_directories(app: Path) -> None:
    before = source.digest(str(app))
    for path in app.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700 | 0o020)
            os.utime(path, (1, 1))
    (app / "empty/inside").mkdir(parents=True)
    assert source.digest(str(app)) == before


def test_two_clones_have_one_digest(app: Path, tmp_path: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *command], cwd=app, check=True)
    for name in ("one", "two"):
        subprocess.run(["git", "clone", "--quiet", str(app), str(tmp_path / name)], check=True, umask=0o077)
    digests = {source.digest(str(tmp_path / name)) for name in ("app", "one", "two")}
    assert len(digests) == 1


def change_content(app: Path) -> None:
    (app / "wsgi.py").write_text("app = 2\n")


def make_executable(app: Path) -> None:
    (app / "wsgi.py").chmod(0o755)


def change_link(app: Path) -> None:
    (app / "latest").unlink()
    (app / "latest").symlink_to("shop/other.py")


def rename(app: Path) -> None:
    (app / "wsgi.py").rename(app / "asgi.py")


def move(app: Path) -> None:
    (app / "wsgi.py").rename(app / "shop/wsgi.py")


def add(app: Path) -> None:
    (app / "new.py").write_text("")


def remove(app: Path) -> None:
    (app / "wsgi.py").unlink()


def link_becomes_file(app: Path) -> None:
    (app / "latest").unlink()
    (app / "latest").write_text("shop/main.py")


@pytest.mark.parametrize(
    "change", [change_content, make_executable, change_link, rename, move, add, remove, link_becomes_file]
)
def test_digest_depends_on(app: Path, change: object) -> None:
    before = source.digest(str(app))
    assert callable(change)
    change(app)
    assert source.digest(str(app)) != before


TREES = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=4).filter(
        lambda name: name not in (".", "..") and not source.is_excluded(name, source.NEVER_SHIPPED)
    ),
    st.tuples(st.binary(max_size=8), st.booleans()),
    max_size=4,
)


@given(one=TREES, other=TREES)
def test_equal_digests_mean_equal_trees(
    one: dict[str, tuple[bytes, bool]], other: dict[str, tuple[bytes, bool]]
) -> None:
    digests = []
    for tree in (one, other):
        with tempfile.TemporaryDirectory() as directory:
            for name, (content, executable) in tree.items():
                path = Path(directory, name)
                path.write_bytes(content)
                path.chmod(0o755 if executable else 0o644)
            digests.append(source.digest(directory))
    assert (digests[0] == digests[1]) == (one == other)


@given(parts=st.lists(st.binary(max_size=6)), others=st.lists(st.binary(max_size=6)))
def test_borders_between_parts_count(parts: list[bytes], others: list[bytes]) -> None:
    assert (source.short_digest(*parts) == source.short_digest(*others)) == (parts == others)


def test_borders_cannot_be_forged() -> None:
    assert len({source.short_digest(*parts) for parts in ((b"ab", b"c"), (b"a", b"bc"), (b"abc",), (b"ab1:c",))}) == 4


@pytest.mark.parametrize(
    "name", [".git/config", ".hg/x", ".svn/x", ".venv/x", "__pycache__/a.py", "shop/__pycache__/a.py", "shop/a.pyc"]
)
def test_never_travels(app: Path, name: str) -> None:
    before = paths(app)
    write(app, {name: "x"})
    assert paths(app) == before


def test_virtual_environments_stay_behind_whatever_they_are_called(app: Path) -> None:
    before = paths(app)
    write(app, {"env311/pyvenv.cfg": "", "env311/lib/site.py": "", "shop/.env/pyvenv.cfg": "", "shop/.env/x.py": ""})
    assert paths(app) == before


@pytest.mark.parametrize(
    ("pattern", "path", "excluded"),
    [
        ("tests", "tests", True),
        ("tests", "shop/tests", True),
        ("tests", "tests.py", False),
        ("*.md", "README.md", True),
        ("*.md", "docs/guide.md", True),
        ("docs/*.md", "docs/guide.md", True),
        ("docs/*.md", "shop/docs/guide.md", False),
        ("docs/*.md", "guide.md", False),
        ("/tests", "tests", True),
        ("/tests", "shop/tests", False),
        ("tests/", "tests", True),
        ("shop/tests/", "shop/tests", True),
        ("*.MD", "README.md", False),
        ("[ab].py", "a.py", True),
        ("[ab].py", "c.py", False),
    ],
)
def test_patterns(pattern: str, path: str, excluded: bool) -> None:
    assert source.is_excluded(path, [pattern]) is excluded


def test_excluded_directories_stay_behind_as_a_whole(app: Path) -> None:
    assert paths(app, "shop", "*.py") == ["bin/tool", "latest"]


def test_links_are_never_followed(app: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside", {"secret": "x"})
    (app / "outside").symlink_to(tmp_path / "outside")
    (app / "loop").symlink_to(".")
    found = {entry.path: entry.link for entry in source.entries(str(app))}
    assert found["outside"] == str(tmp_path / "outside")
    assert found["loop"] == "."
    assert "outside/secret" not in found


def test_what_is_no_file_stays_behind(app: Path) -> None:
    before = paths(app)
    os.mkfifo(app / "pipe")
    assert paths(app) == before


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        source.digest(str(tmp_path / "nowhere"))
