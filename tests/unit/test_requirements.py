"""What a requirements file asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils import requirements


def lines(directory: Path, **files: str) -> list[str]:
    """Lines of requirements.txt; `a__b` among the names means a/b.txt."""
    for name, text in files.items():
        path = directory / (name.replace("__", "/") + ".txt")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return requirements.lines(str(directory), "requirements.txt")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("flask==3.1.3\nredis\n", ["flask==3.1.3", "redis"]),
        ("\n  flask  \n\n", ["flask"]),
        ("# a comment\nflask # another\n   # and one more\n", ["flask"]),
        ("git+https://example.org/a.git#egg=a\n", ["git+https://example.org/a.git#egg=a"]),
        ("flask==3.1.3 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n", None),
        ("# a comment that ends with a backslash \\\nflask\n", ["flask"]),
        ("flask\r\nredis\r\n", ["flask", "redis"]),
        ("\ufeffflask\n", ["flask"]),
        ("-r https://example.org/base.txt\n", ["-r https://example.org/base.txt"]),
        ("--index-url https://example.org/simple\nflask", ["--index-url https://example.org/simple", "flask"]),
        ("", []),
    ],
)
def test_lines(tmp_path: Path, text: str, wanted: list[str] | None) -> None:
    found = lines(tmp_path, requirements=text)
    if wanted is None:  # a continued line is one line
        assert [line.split() for line in found] == [["flask==3.1.3", "--hash=sha256:ab", "--hash=sha256:cd"]]
    else:
        assert found == wanted


@pytest.mark.parametrize("spelling", ["-r base.txt", "-rbase.txt", "--requirement base.txt", "--requirement=base.txt"])
def test_nested_requirements(tmp_path: Path, spelling: str) -> None:
    assert lines(tmp_path, requirements=f"{spelling}\nredis\n", base="flask\n") == ["flask", "redis"]


@pytest.mark.parametrize("spelling", ["-c most.txt", "-cmost.txt", "--constraint most.txt", "--constraint=most.txt"])
def test_constraints_differ_from_requirements(tmp_path: Path, spelling: str) -> None:
    found = lines(tmp_path, requirements=f"flask\n{spelling}\n", most="redis==7\n")
    assert found == ["flask", "--constraint redis==7"]


def test_constraints_of_constraints(tmp_path: Path) -> None:
    one, two, three = "a==1\n-c two.txt\n-r three.txt\n", "b==2\n", "c==3\n"
    found = lines(tmp_path, requirements="-c one.txt\n", one=one, two=two, three=three)
    assert found == ["--constraint a==1", "--constraint b==2", "--constraint c==3"]


def test_a_nested_path_starts_at_the_file_that_names_it(tmp_path: Path) -> None:
    one = "-r two.txt\n-r ../three.txt\n"
    found = lines(tmp_path, requirements="-r deep/one.txt\n", deep__one=one, deep__two="a", three="b")
    assert found == ["a", "b"]


@pytest.mark.parametrize("back", ["requirements.txt", "./requirements.txt", "../{name}/requirements.txt"])
def test_cycles_end(tmp_path: Path, back: str) -> None:
    found = lines(tmp_path, requirements="-r base.txt\nredis\n", base=f"flask\n-r {back.format(name=tmp_path.name)}\n")
    assert set(found) == {"flask", "redis"}


def test_all_that_an_installer_opens(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "a.txt").write_text("-r more/b.txt\nFlask\n-r https://a.example/c.txt\n")
    (tmp_path / "more/b.txt").write_text("  --constraint=../c.txt # why\n")
    (tmp_path / "c.txt").write_text("-r a.txt\nsix\n")
    assert requirements.nested_files(str(tmp_path), ["./a.txt"]) == ["a.txt", "more/b.txt", "c.txt"]


def test_a_file_that_names_itself(tmp_path: Path) -> None:
    assert lines(tmp_path, requirements="flask\n-r requirements.txt\n") == ["flask"]


def test_a_missing_nested_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"base\.txt"):
        lines(tmp_path, requirements="-r base.txt\n")


@pytest.mark.parametrize(
    ("line", "local"),
    [
        (".", True),
        (".[extra]", True),
        ("./lib", True),
        ("../lib", True),
        ("/srv/lib", True),
        ("lib/", True),
        ("wheels/a-1.whl", True),
        ("-e .", True),
        ("-e lib", True),
        ("--editable=./lib", True),
        ("file:///srv/lib", True),
        ("lib @ file:./lib", True),
        ("--find-links wheels", True),
        ("-f ./wheels", True),
        ("--constraint ./lib", True),
        ("flask", False),
        ("flask==3.1.3", False),
        ("psycopg[binary]==3.2.9 ; python_version > '3.9'", False),
        ("flask==3.1.3 --hash=sha256:ab", False),
        ("git+https://example.org/a.git", False),
        ("-e git+https://example.org/a.git#egg=a", False),
        ("a @ https://example.org/a-1.whl", False),
        ("--find-links https://example.org/wheels", False),
        ("--index-url https://example.org/simple", False),
        ("--constraint flask==3.1.3", False),
    ],
)
def test_lines_that_install_from_the_source(line: str, local: bool) -> None:
    assert requirements.needs_source(["redis", line]) is local


def test_no_line_no_source() -> None:
    assert requirements.needs_source([]) is False


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("gunicorn==27.0.1", "27.0.1"),
        ("Gunicorn == 27.0.1", "27.0.1"),
        ("gunicorn===27.0.1", "27.0.1"),
        ("gunicorn[gevent]==26.0.0 ; python_version > '3.9'", "26.0.0"),
        ("gunicorn==26.0.0,<28", "26.0.0"),
        ("gunicorn==26.0.0 --hash=sha256:ab", "26.0.0"),
        ("--constraint gunicorn==26.0.0", "26.0.0"),
        ("gunicorn>=26", None),
        ("gunicorn==27.*", None),
        ("gunicorn", None),
        ("gunicorn-extra==1.0", None),
        ("uvicorn-gunicorn==1.0", None),
    ],
)
def test_pinned_version(line: str, version: str | None) -> None:
    assert requirements.pinned_version(["flask==3.1.3", line], "gunicorn") == version


@pytest.mark.parametrize("spelling", ["my-app==1", "my_app==1", "My.App==1", "my--app==1"])
def test_names_are_compared_normalized(spelling: str) -> None:
    assert requirements.pinned_version([spelling], "my_app") == "1"


@pytest.mark.parametrize(
    ("line", "hashed"),
    [
        ("gunicorn==27.0.1 --hash=sha256:ab", True),
        ("gunicorn[gevent]==27.0.1 ; python_version > '3.9'     --hash=sha256:ab     --hash=sha256:cd", True),
        ("gunicorn==27.0.1", False),
        ("gunicorn>=27.0.1 --hash=sha256:ab", False),
        ("gunicorn-extra==1 --hash=sha256:ab", False),
        ("--constraint gunicorn==27.0.1 --hash=sha256:ab", False),
    ],
)
def test_lines_with_a_hash(line: str, hashed: bool) -> None:
    assert requirements.is_hashed(["flask==3.1.3 --hash=sha256:ab", line], "gunicorn") is hashed


def test_lines_without_a_hash() -> None:
    options = ["--index-url https://a.example/simple", "--constraint redis==7", "-e ."]
    hashed = ["flask==3.1.3 --hash=sha256:ab", "shop @ https://a.example/a.whl#sha256=ab"]
    assert requirements.without_hash([*options, *hashed, "redis==7"]) == ["redis==7"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", []),
        ([], []),
        ("requirements.txt", ["requirements.txt"]),
        ("base.txt", ["base.txt"]),
        (["base.txt", "requirements.txt"], ["base.txt", "requirements.txt"]),
    ],
)
def test_files(tmp_path: Path, wanted: str | list[str], found: list[str]) -> None:
    for name in ("requirements.txt", "base.txt"):
        (tmp_path / name).write_text("")
    assert requirements.files(str(tmp_path), wanted) == found


def test_only_the_default_may_be_missing(tmp_path: Path) -> None:
    assert requirements.files(str(tmp_path), "requirements.txt") == []
    for wanted in ("base.txt", ["requirements.txt"]):
        with pytest.raises(FileNotFoundError, match=r"has no file (base|requirements)\.txt"):
            requirements.files(str(tmp_path), wanted)
