"""What templates and tasks call, found by the names that they use."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.plugins.loader import filter_loader, lookup_loader


def apply(name: str, *arguments: Any) -> Any:
    """Call a filter of the collection."""
    return filter_loader.get(f"pyweb.deploy.{name}").j2_function(*arguments)


def test_gunicorn_addresses() -> None:
    assert apply("gunicorn_addresses", ["192.0.2.5:80", "[::1]:8000", "unix:/run/a.sock"]) == [
        {
            "listen_stream": "192.0.2.5:80",
            "host": "192.0.2.5",
            "port": 80,
            "path": "",
            "needs_rule": True,
            "destination": "192.0.2.5",
        },
        {
            "listen_stream": "[::1]:8000",
            "host": "::1",
            "port": 8000,
            "path": "",
            "needs_rule": False,
            "destination": "",
        },
        {
            "listen_stream": "/run/a.sock",
            "host": "",
            "port": 0,
            "path": "/run/a.sock",
            "needs_rule": False,
            "destination": "",
        },
    ]


def test_python_literal() -> None:
    assert apply("python_literal", {"a": ["it's", None, True]}) == """{'a': ["it's", None, True]}"""


def test_gunicorn_checked() -> None:
    assert apply("gunicorn_checked", "25%", "gunicorn_serial") == "25%"
    with pytest.raises(AnsibleFilterError, match=r"gunicorn_serial: got 'x'.*It accepts"):
        apply("gunicorn_checked", "x", "gunicorn_serial")


def test_environment_file() -> None:
    assert apply("environment_file", {"B": 'say "hi"', "A": True}) == 'A="true"\nB="say \\"hi\\""\n'
    assert apply("environment_file", {}) == ""


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("gunicorn_addresses", (["localhost:80"],), r"gunicorn_addresses: got 'localhost:80': .*Example: \["),
        ("python_literal", (object(),), "python_literal: .* has no Python literal"),
        ("environment_file", ({"A-B": "x"},), "environment_file: 'A-B' is not a name"),
        ("gunicorn_problems", ({},), "gunicorn_problems: the variable 'gunicorn_state' is missing"),
        ("gunicorn_source_problems", ({}, {}), "gunicorn_source_problems: the key 'problem' is missing"),
        ("gunicorn_plan", ({}, {}), "gunicorn_plan: the key 'state' is missing"),
        ("gunicorn_plan", ({"state": "present"}, {}), "gunicorn_plan: the key 'restore' is missing"),
        ("gunicorn_plan", ({"state": "absent"}, {}), "gunicorn_plan: the key 'name' is missing"),
        ("gunicorn_status", ({"web1": {"name": "x"}}, ""), "gunicorn_status: the key 'described' is missing"),
    ],
)
def test_errors_name_the_filter(name: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        apply(name, *arguments)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "wsgi.py").write_text("app = 1\n")
    (tmp_path / "base.txt").write_text("flask\n")
    (tmp_path / "requirements.txt").write_text("-r base.txt\nredis\n")
    return tmp_path


def look(directory: Path, **options: Any) -> dict[str, Any]:
    """Look up a directory."""
    (found,) = lookup_loader.get("pyweb.deploy.source").run([str(directory)], {}, **options)
    assert isinstance(found, dict)
    return found


def test_source(app: Path) -> None:
    found = look(app)
    assert (found["requirements_files"], found["requirements"]) == (["requirements.txt"], ["flask", "redis"])
    assert found["needs_source"] is False
    assert len(found["digest"]) == 12


def test_source_with_other_requirements(app: Path) -> None:
    assert look(app, requirements="base.txt")["requirements"] == ["flask"]
    (app / "base.txt").write_text("-e .\n")
    assert look(app, requirements="base.txt")["needs_source"] is True


def test_source_with_a_list_of_requirements(app: Path) -> None:
    (app / "more.txt").write_text("celery\n")
    found = look(app, requirements=["more.txt", "base.txt"])
    assert (found["requirements_files"], found["requirements"]) == (["more.txt", "base.txt"], ["celery", "flask"])


@pytest.mark.parametrize("requirements", ["", [], "requirements.txt"])
def test_source_without_requirements(app: Path, requirements: str | list[str]) -> None:
    (app / "requirements.txt").unlink()
    found = look(app, requirements=requirements)
    assert (found["requirements_files"], found["requirements"]) == ([], [])


def test_source_with_patterns(app: Path) -> None:
    before = look(app, exclude=["*.md"])["digest"]
    (app / "README.md").write_text("x")
    assert look(app, exclude=["*.md"])["digest"] == before
    assert look(app)["digest"] != before


def test_source_that_cannot_be_read(app: Path) -> None:
    found = look(app / "nowhere")
    assert (found["digest"], found["problem"]) == ("", f"{app}/nowhere is not a directory on the controller")
    assert look(app, requirements="missing.txt")["requirements_problem"] == f"{app} has no file missing.txt"
    (app / "requirements.txt").write_bytes(b"\xff")
    found = look(app)
    assert "decode" in found["requirements_problem"]
    assert (found["requirements"], found["problem"]) == ([], "")


def test_source_in_an_archive(app: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    packed = shutil.make_archive(str(tmp_path_factory.mktemp("packed") / "shop"), "zip", app)
    found = look(Path(packed), kind="archive", module="wsgi")
    assert found == {**look(app, module="wsgi"), "place": packed}
    assert found["has_module"] is True
    assert "not " + "0" * 64 in look(Path(packed), kind="archive", checksum="sha256:" + "0" * 64)["problem"]


def test_source_that_is_a_package(app: Path) -> None:
    (by_name,) = lookup_loader.get("pyweb.deploy.source").run([""], {}, kind="package")
    assert (by_name["requirements_files"], by_name["problem"]) == ([], "")
    assert look(app / "wsgi.py", kind="package")["digest"] != by_name["digest"]
