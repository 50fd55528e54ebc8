"""What a failed check says at its end: which variable to set, with an example that the role accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.pyweb.deploy.plugins.module_utils import symptoms
from ansible_collections.pyweb.deploy.plugins.module_utils.symptoms import SYMPTOMS, Symptom, hints
from ansible_collections.pyweb.deploy.plugins.plugin_utils.variables import defaults
from ansible_collections.pyweb.deploy.tests import symptoms_table

SAMPLES = [pytest.param(each, id=each.pattern) for each in SYMPTOMS]


@pytest.mark.parametrize("symptom", SAMPLES)
def test_each_hint_names_a_variable_and_has_an_example(symptom: Symptom) -> None:
    first = hints(f"shop-check.service: it is broken\n  {symptom.sample}\n", "shop")[0]
    text, _example, example = first.partition(" Example: ")
    variable = text.partition(":")[0]
    assert variable == symptom.advice.partition(":")[0], "an earlier one has the same words"
    assert variable.partition(".")[0] in [*defaults(), "$STATE_DIRECTORY"]
    given = yaml.safe_load(example)
    assert set(given) <= set(defaults())
    assert variable.startswith("$") or "gunicorn_requirements" in variable or variable.partition(".")[0] in given
    assert not re.search(r"\\|NAME", first), "everything is filled in"
    assert len(first) < 260
    assert first.count("\n") == 0


REAL = {
    "GET /healthz answered 400, not 200": "gunicorn_health.host",
    "GET /healthz answered 403, not 200, 204": "gunicorn_health.path: got '/healthz'",
    "GET / answered 404, not 200": "gunicorn_health.path: got '/'",
    "GET / answered 301, not 200, 204": "Example: gunicorn_health: {status: [200, 204, 301]}",
    "it wasn't healthy within 3 s: no complete answer to GET / within 3 s": "gunicorn_health.timeout: got 3,",
    "TypeError: app() missing 1 required positional argument: 'send'": "gunicorn_settings: {worker_class: asgi}",
    "PermissionError: [Errno 13] Permission denied: '/opt/hello/code/x/log'": "/var/lib/gunicorn/hello;",
    "OSError: [Errno 30] Read-only file system: '/opt/x'": "sqlite:////var/lib/gunicorn/hello/hello.db",
    "sqlite3.OperationalError: attempt to write a readonly database": "$STATE_DIRECTORY",
    "KeyError: 'SECRET_KEY'": "gunicorn_secrets",
    "RuntimeError: The session is unavailable because no secret key was set.": "gunicorn_secrets",
    "KeyError: 'REDIS_URL'": 'gunicorn_environment: {REDIS_URL: "…"}',
    "[ERROR] Worker (pid:7) was sent SIGKILL! Perhaps out of memory?": "MemoryMax",
}


@pytest.mark.parametrize(("said", "hint"), REAL.items())
def test_what_applications_really_say(said: str, hint: str) -> None:
    assert hint in hints(said, "hello")[0]


@pytest.mark.parametrize(
    "said",
    [
        "it wasn't healthy within 30 s: GET / answered 500, not 200",
        "KeyError: 'name'",
        "bash: Permission denied",
        "TypeError: render() takes 3 positional arguments but 4 were given",
    ],
)
def test_nothing_is_said_of_what_is_not_known(said: str) -> None:
    assert hints(said, "shop") == []


def test_few_hints_the_telling_one_first_and_one_for_each_variable() -> None:
    django = "GET / answered 400, not 200\n\nDisallowedHost: Invalid HTTP_HOST header: 'localhost'. You may need"
    (only,) = hints(django, "shop")
    assert "ALLOWED_HOSTS" in only
    everything = "\n".join(each.sample for each in SYMPTOMS)
    assert len(hints(everything, "shop")) == symptoms.MOST


def test_what_the_module_has_in_place_of_the_name() -> None:
    asked: list[str] = []

    def callables(module: str) -> list[str]:
        asked.append(module)
        return ["shop.wsgi:hello", "shop.wsgi:create_app()"]

    (hint,) = hints("Failed to find attribute 'application' in 'shop.wsgi'.", "shop", callables)
    assert "shop.wsgi has no 'application'. It has shop.wsgi:create_app(), shop.wsgi:hello." in hint
    assert hint.endswith(" Example: gunicorn_wsgi_app: shop.wsgi:create_app()")
    assert asked == ["shop.wsgi"]
    hints("Application object must be callable.", "shop", callables)
    assert asked == ["shop.wsgi"]


# The page


def test_the_page_has_the_table() -> None:
    assert symptoms_table.main(["--check"]) == 0, "run: python tests/symptoms_table.py"
    page = symptoms_table.PAGE.read_text()
    assert all(f"| `{each.sample}` |" in page for each in SYMPTOMS)


def test_another_table_is_seen_and_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = symptoms_table.PAGE.read_text()
    path = tmp_path / "page.md"
    monkeypatch.setattr(symptoms_table, "PAGE", path)
    path.write_text(page.replace("gunicorn_health.host", "gunicorn_health.hostname"))
    assert symptoms_table.main(["--check"]) == 1
    assert symptoms_table.main([]) == 0
    assert path.read_text() == page
    assert symptoms_table.main(["--chek"]) == 2
