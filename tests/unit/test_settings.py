"""What Gunicorn's settings need to be installed."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils import settings


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, ["gunicorn==27.0.1"]),
        ({"worker_class": "sync", "http_protocols": "h1", "http_parser": "auto"}, ["gunicorn==27.0.1"]),
        ({"worker_class": "gevent"}, ["gunicorn[gevent]==27.0.1"]),
        ({"worker_class": "gevent_pywsgi"}, ["gunicorn[gevent]==27.0.1"]),
        ({"worker_class": "egg:gunicorn#gevent"}, ["gunicorn[gevent]==27.0.1"]),
        ({"worker_class": "gunicorn.workers.ggevent.GeventWorker"}, ["gunicorn[gevent]==27.0.1"]),
        ({"worker_class": "tornado"}, ["gunicorn[tornado]==27.0.1"]),
        ({"http_protocols": "h2,h1", "http_parser": "fast"}, ["gunicorn[http2,fast]==27.0.1"]),
        ({"proc_name": "shop"}, ["gunicorn[setproctitle]==27.0.1"]),
        ({"worker_class": "uvicorn_worker.UvicornWorker"}, ["gunicorn==27.0.1", "uvicorn-worker"]),
        ({"worker_class": "shop.workers.Own"}, ["gunicorn==27.0.1"]),
    ],
)
def test_what_settings_need(given: dict[str, Any], wanted: list[str]) -> None:
    assert settings.specifiers(given, "27.0.1") == wanted


def test_extras_are_those_of_gunicorn() -> None:
    described = importlib.metadata.metadata("gunicorn")
    assert set(settings.EXTRAS) <= set(described.get_all("Provides-Extra") or [])
    required = importlib.metadata.requires("gunicorn") or []
    for extra, distribution in settings.EXTRAS.items():
        assert any(line.startswith(distribution) and f'extra == "{extra}"' in line for line in required), extra


def test_distributions_are_named_for_hashes() -> None:
    given = {"worker_class": "uvicorn_worker.UvicornWorker", "http_protocols": "h2"}
    assert settings.distributions(given) == ["h2", "uvicorn-worker"]
