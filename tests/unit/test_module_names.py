"""Which names a module has: found in its text, beside what Python finds when it imports it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils.module_names import look, names

NAMES = """\
import os.path, json as j
from flask import Flask, request as asked
from shop.web import create_app
'''text'''
app = Flask(__name__)
a, (b, *c) = 1, (2, 3)
d.attribute = e[0] = f = 1
LIMIT = [1]
LIMIT: "list[int]"
g: int
h += 1
if True:
    i = make()
else:
    def j2(): pass
try:
    k = 1
except ValueError as l1:
    pass
finally:
    from m import n
with open("x") as o:
    p = (q := 1)
for r in ():
    s = 1
while False:
    t = lambda inner: (u := inner)
async def asgi(scope, receive, send): hidden = 1
@app.route("/")
def hello(): return v
def factory(config=None, *, debug=False):
    global w
    def inner(): hidden = 1
    return app
def wsgi(environ, start_response): pass
def needs(*, config): pass
class Shop:
    hidden = 1
    def __call__(self, environ, start_response): pass
x = [y for y in ()]
del z
"""
CALLABLE = "create_app app i j2() p t asgi hello factory() wsgi needs Shop x"
OTHERS = "os j Flask asked a b c f LIMIT g h k l1 n o q r s u w y z"


def test_every_way_to_bind_a_name() -> None:
    found = names(NAMES.encode())
    assert found is not None
    assert sorted(value for value in found.values() if value) == sorted(CALLABLE.split())
    assert sorted(name for name, value in found.items() if not value) == sorted(OTHERS.split())


@pytest.mark.skipif(sys.version_info < (3, 10), reason="the statement match is newer")
def test_a_match_statement_binds_names_too() -> None:
    text = b"match a:\n  case [b, *c]: d = 1\n  case {'k': e, **f}: pass\n  case str() as g: pass\n"
    assert sorted(names(text) or {}) == ["b", "c", "d", "e", "f", "g"]


@pytest.mark.parametrize(
    "text",
    [
        "from shop import *",
        "def f():\n    globals()['app'] = 1",
        "exec('app = 1')",
        "import sys\nsys.modules[__name__] = object()",
        "from sys import modules as m",
        "import builtins as b\nb.globals()",
        "from builtins import globals as g",
        "vars()['app'] = 1",
        "setattr(me, 'app', 1)",
        "me.__dict__['app'] = 1",
        "def __getattr__(name): ...",
        "from lazy import __getattr__",
        "__getattr__, __dir__, __all__ = lazy.attach(__name__)",
        "initpkg(__name__, {'app': 'shop.web:app'})",
        "@enum.global_enum\nclass A(enum.Enum): app = 1",
        "def broken(:",
        "print 'Python 2'",
        "\0",
        "# coding: no-such-coding\n",
        "a = " + "(" * 5000 + ")" * 5000,
    ],
)
def test_nothing_is_said_about_what_is_not_plain(text: str) -> None:
    assert names(text.encode()) is None


@pytest.mark.parametrize(
    "text",
    [
        "app = Flask(__name__)\napp.jinja_env.globals.update(a=1)\n",
        "# -*- coding: latin-1 -*-\napp = 'é'\n",
        "\ufeffapp = 1\n",
        "app = '\\d'\n",  # Python warns of that
        "",
    ],
)
def test_what_is_plain(text: str, recwarn: pytest.WarningsRecorder) -> None:
    found = names(text.encode("latin-1" if "latin-1" in text else "utf-8"))
    assert found == ({"app": found["app"]} if text and found else {})
    assert len(recwarn) == 0


IMPORTED = """\
import argparse, asyncio, concurrent.futures, csv, ctypes, dataclasses, decimal, difflib, email.mime.text, enum
import http.server, importlib.metadata, json, logging.config, multiprocessing.pool, pdb, pickle, re, sqlite3, ssl
import statistics, subprocess, tarfile, typing, unittest.mock, urllib.request, uuid
import wsgiref.simple_server, xml.dom.minidom, zipfile, zoneinfo
import cryptography.x509, gunicorn.app.wsgiapp, gunicorn.workers.gthread, jinja2, packaging.version, yaml
import sys, types
from ansible_collections.pyweb.deploy.plugins.module_utils.module_names import names

plain = 0
for module in list(sys.modules.values()):
    file = getattr(module, "__file__", None) or ""
    if type(module) is types.ModuleType and file.endswith(".py"):
        found = names(open(file, "rb").read())
        plain += found is not None
        for name, value in vars(module).items() if found is not None else ():
            if name not in found and not name.startswith("__") and not isinstance(value, types.ModuleType):
                print(f"{module.__name__}: {name}")
print(plain, file=sys.stderr)
"""


def test_no_module_has_more_names_than_were_found() -> None:
    """Of hundreds of modules of Python and of packages; what becomes of a submodule is not looked at."""
    path = str(Path(__file__).parents[2] / ".collections")
    command = [sys.executable, "-W", "ignore", "-c", f"import sys; sys.path.insert(0, {path!r})\n{IMPORTED}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert int(done.stderr) > 100


@pytest.mark.parametrize(
    ("files", "module", "file"),
    [
        (["shop.py"], "shop", "shop.py"),
        (["shop/__init__.py", "shop.py"], "shop", "shop/__init__.py"),
        (["shop/web/main.py"], "shop.web.main", "shop/web/main.py"),
        (["shop.py", "shop/templates.txt"], "shop", "shop.py"),
        (["shop.py", "shopping.so"], "shop", "shop.py"),
        (["shop.py", "shop.cpython-312-x86_64-linux-gnu.so"], "shop", ""),
        (["shop/__init__.py", "shop/__init__.abi3.so"], "shop", ""),
        (["shop/main.py"], "shop", ""),
        (["shop.pyc"], "shop", ""),
        (["shop.py"], "", ""),
    ],
)
def test_the_file_that_python_imports(tmp_path: Path, files: list[str], module: str, file: str) -> None:
    for path in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("app = make()\n" if path == file else "other = make()\n")
    expected = {"module_file": file, "module_names": {"app": "app"} if file else {}}
    assert look(str(tmp_path), module) == expected


def test_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "shop", raising=False)  # of another test
    (tmp_path / "shop.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\napp = 1\n")
    assert look(str(tmp_path), "shop")["module_names"] == {"app": ""}
    assert not (tmp_path / "ran").exists()
    assert "shop" not in sys.modules
