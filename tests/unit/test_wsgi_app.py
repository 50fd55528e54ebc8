"""gunicorn_wsgi_app: what Gunicorn itself can't import is refused, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils.source import look
from ansible_collections.pyweb.deploy.plugins.plugin_utils.wsgi_app import problems, source_problems
from gunicorn.errors import AppImportError
from gunicorn.util import import_app

SHOP = """\
from flask import Flask

LIMIT = 5
_private = make()


class Shop:
    pass


def make_shop(name):
    return LIMIT


def create_app(*arguments, **more):
    return print


def index(): pass


def about(): pass


def terms(): pass


application = create_app()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def found(directory: Path, wsgi_app: str, **variables: Any) -> list[str]:
    values = {"gunicorn_settings": {}, "gunicorn_environment": {}, "gunicorn_conf_extra": "", **variables}
    source = look(str(directory), [], [], wsgi_app.split(":")[0])
    return list(source_problems({"gunicorn_wsgi_app": wsgi_app, **values}, source))


FORMS = [
    ("shop", True),
    ("shop:application", True),
    ("shop:create_app()", True),
    ("shop:create_app('it', [1, -2], name={'a': None})", True),
    ("shop:create_app(LIMIT)", False),
    ("shop:create_app(1 + LIMIT)", False),
    ("shop:create_app(*[1])", False),
    ("shop:create_app(**{'a': 1})", False),
    ("shop:create_app({[]: 1})", False),
    ("shop:create_app()()", False),
    ("shop:create_app() or print()", False),
    ("shop:create_app(1 2)", False),
    ("shop:class", False),
    ("shop:None", False),
    ("shop:application.wsgi", False),
    ("shop:application[0]", False),
    ("shop:", False),
]


@pytest.mark.parametrize(("value", "good"), FORMS)
def test_the_forms_are_those_of_gunicorn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, good: bool
) -> None:
    (tmp_path / "shop.py").write_text("LIMIT = 5\ndef create_app(*a, **b): return print\napplication = create_app()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    assert (list(problems(value)) == []) is good
    if good:
        assert found(tmp_path, value) == []
        assert import_app(value) is print
    else:
        with pytest.raises((AppImportError, TypeError)):
            import_app(value)


@pytest.mark.parametrize("value", ["shop", "shop:create_app()", "shop:Shop", "shop:make_shop", "shop:__call__"])
def test_names_that_are_there(shop: Path, value: str) -> None:
    assert found(shop, value) == []


@pytest.mark.parametrize("value", ["shop:_private", "shop:LIMIT"])
def test_whether_it_can_be_called_is_left_to_gunicorn(shop: Path, value: str) -> None:
    assert found(shop, value) == []


@pytest.mark.parametrize("value", ["shop:app", "shop:app()"])
def test_what_could_be_meant(shop: Path, value: str) -> None:
    """The likely ones come first, and no more than five."""
    (reason,) = found(shop, value)
    assert reason == (
        f"there is no 'app' in shop.py of {shop}; did you mean 'shop:application', 'shop:create_app()', "
        "'shop:make_shop', 'shop:Shop' or 'shop:about()'?"
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", ", nor anything else that can be called"),
        ("LIMIT = 5\n_app = make()\n", ", nor anything else that can be called"),
        ("app = make()\n", "; did you mean 'shop:app'?"),
        ("from web import app\nfrom os import path\n", "; did you mean 'shop:app'?"),
        ("def run(): pass\napi = WsgiToAsgi(1)\n", "; did you mean 'shop:api' or 'shop:run()'?"),
    ],
)
def test_the_hint(tmp_path: Path, text: str, hint: str) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text(text)
    assert found(tmp_path, "shop") == [f"there is no 'application' in shop/__init__.py of {tmp_path}{hint}"]


def test_what_is_not_plain_is_left_to_gunicorn(shop: Path) -> None:
    (shop / "shop.py").write_text(SHOP + "from web import *\n")
    assert found(shop, "shop:app") == []


def test_a_module_that_is_missing(shop: Path) -> None:
    assert found(shop, "web.main:app") == [f"there is no web/main.py in {shop}"]


@pytest.mark.parametrize(
    "variables",
    [
        {"gunicorn_settings": {"pythonpath": "src"}},
        {"gunicorn_environment": {"PYTHONPATH": "src"}},
        {"gunicorn_conf_extra": "import sys\nsys.path.insert(0, 'src')"},
        {"gunicorn_conf_extra": "pythonpath = 'src'"},
    ],
)
@pytest.mark.parametrize("value", ["shop:app", "web:app"])
def test_modules_may_be_elsewhere(shop: Path, variables: dict[str, Any], value: str) -> None:
    assert found(shop, value, **variables) == []
    assert len(found(shop, value)) == 1
