"""Worker classes and settings that need more than Gunicorn itself: the role brings it along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.tests.rig import Controller, Server

from .conftest import Load

ASGI = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"asgi MARK"})
"""


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """Give an ASGI application that needs nothing but a worker."""
    (tmp_path / "application").mkdir()
    (tmp_path / "application/wsgi.py").write_text(ASGI.replace("MARK", "one"))
    return tmp_path / "application"


def test_uvicorns_worker(controller: Controller, server: Server, variables: dict[str, Any], application: Path) -> None:
    variables["gunicorn_settings"] = {"worker_class": "uvicorn_worker.UvicornWorker"}
    play = controller.play(server, variables)
    assert play, play.output
    assert server.get() == "asgi one"

    (application / "wsgi.py").write_text(ASGI.replace("MARK", "two"))
    with Load(server.address) as load:
        play = controller.play(server, variables)
    assert play, play.output
    assert load.failures == []
    assert load.bodies == {"asgi one", "asgi two"}
    assert load.longest_gap < 1


def test_a_name_for_ps(controller: Controller, server: Server, variables: dict[str, Any], application: Path) -> None:
    code = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'wsgi']\n"
    (application / "wsgi.py").write_text(code)
    variables["gunicorn_settings"] = {"proc_name": "storefront"}
    play = controller.play(server, variables)
    assert play, play.output
    assert server.get() == "wsgi"
    assert "gunicorn: master [storefront]" in server.run("ps -e -o args")
    again = controller.play(server, variables)
    assert (again.rc, again.changed) == (0, 0), again.output
