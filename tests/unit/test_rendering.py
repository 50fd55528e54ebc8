"""How texts are written: filters of the role's templates, and what a template may not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils import rendering
from ansible_collections.pyweb.deploy.plugins.plugin_utils.application import Application, Release
from ansible_collections.pyweb.deploy.tests.unit.deploying import OBSERVED, read
from jinja2 import UndefinedError


@pytest.fixture
def release(tmp_path: Path) -> Release:
    (tmp_path / "wsgi.py").write_text("app = 1\n")
    wanted = read(tmp_path, {"gunicorn_source": {"directory": "."}, "gunicorn_logs": "files"})
    assert isinstance(wanted, Application)
    return Release(wanted, wanted.look(OBSERVED), OBSERVED)


def test_an_environment_is_sorted() -> None:
    assert rendering.environment_file({"B": 'say "hi"', "A": True}) == 'A="true"\nB="say \\"hi\\""\n'
    assert rendering.environment_file({}) == ""


def test_directives_of_a_unit() -> None:
    own = {"Type": "notify", "PrivateTmp": True, "LimitNOFILE": 65536}
    users = {"PrivateTmp": False, "ReadWritePaths": ["/srv/a", "/srv/b c"], "SystemCallFilter": []}
    assert rendering.directive_lines([own, users]) == (
        "Type=notify\nPrivateTmp=no\nLimitNOFILE=65536\nReadWritePaths=/srv/a\nReadWritePaths=/srv/b c\n"
    )


def test_every_text_ends_with_one_line_break(release: Release) -> None:
    """One more or less would be another release on every host."""
    texts = vars(rendering.render(release))
    texts.update(texts.pop("release_files"))
    assert len(texts) == 8
    assert all(text == text.strip("\n") + "\n" != "\n" for text in texts.values())


def test_a_name_that_is_not_known_is_an_error(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = rendering.TEMPLATES["environment"].environment
    monkeypatch.setitem(rendering.TEMPLATES, "environment", environment.from_string("{{ app.enviroment }}"))
    with pytest.raises(UndefinedError, match="enviroment"):
        rendering.render(release)


def test_every_template_is_used(role: Path, release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    used = set()

    class Templates(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            used.add(name)
            return super().__getitem__(name)

    monkeypatch.setattr(rendering, "TEMPLATES", Templates(rendering.TEMPLATES))
    rendering.render(release)
    assert used == {path.name.removesuffix(".j2") for path in role.glob("templates/*")}
