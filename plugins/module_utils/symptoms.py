# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What is known to be wrong where a release fails its check, and which variable to set then.

The table in docs/troubleshooting.md is written from this one, by tests/symptoms_table.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST = 2
"""Hints that a message has at the most."""

MOST_NAMES = 5
LIKELY = re.compile("app|asgi|wsgi", re.IGNORECASE)


class Symptom(NamedTuple):
    """What a user reads, and what to do about it."""

    pattern: str
    sample: str
    """A line as it is read; the pattern finds it."""
    advice: str
    r"""Begins with the variable. ``\1`` is what the pattern found, NAME the application's name."""
    example: str


SYMPTOMS = (
    Symptom(
        r"result oom-kill|SIGKILL! Perhaps out of memory",
        "the service ended (result oom-kill, status 9)",
        "gunicorn_service_options: it took more memory than MemoryMax allows or the host has. Fewer workers need less.",
        "gunicorn_service_options: {MemoryMax: 1G}",
    ),
    # The answer to the health check
    Symptom(
        r"Invalid HTTP_HOST header: '([^']+)'",
        "DisallowedHost: Invalid HTTP_HOST header: 'localhost'. You may need to add 'localhost' to ALLOWED_HOSTS.",
        r"gunicorn_health.host: got '\1', which isn't in Django's ALLOWED_HOSTS.",
        "gunicorn_health: {host: shop.example}",
    ),
    Symptom(
        r"GET \S+ answered 400, ",
        "GET / answered 400, not 200",
        "gunicorn_health.host: the application may answer to its own host name only.",
        "gunicorn_health: {host: shop.example}",
    ),
    Symptom(
        r"GET (\S+) answered (401|403), ",
        "GET / answered 401, not 200",
        r"gunicorn_health.path: got '\1', which wants a login. It accepts a page that needs none.",
        "gunicorn_health: {path: /healthz}",
    ),
    Symptom(
        r"GET (\S+) answered 404, ",
        "GET / answered 404, not 200",
        r"gunicorn_health.path: got '\1', which the application doesn't have.",
        "gunicorn_health: {path: /healthz}",
    ),
    Symptom(
        r"GET (\S+) answered (3\d\d), not (.*)",
        "GET / answered 302, not 200",
        r"gunicorn_health.status: got \3, but \1 redirects. Accept that, or set path to a page that doesn't.",
        r"gunicorn_health: {status: [\3, \2]}",
    ),
    Symptom(
        r"the answer to GET (\S+) doesn't hold (.*)",
        "the answer to GET / doesn't hold 'OK'",
        r"gunicorn_health.expect: got \2, which isn't at the beginning of the answer's body. Capitals count.",
        "gunicorn_health: {expect: ok}",
    ),
    Symptom(
        r"it wasn't healthy within (\d+) s: no (complete )?answer",
        "it wasn't healthy within 30 s: no answer to GET /: timed out",
        r"gunicorn_health.timeout: got \1, and it takes longer to start or to answer.",
        "gunicorn_health: {timeout: 120}",
    ),
    # What Gunicorn was told to run
    Symptom(
        r"missing 1 required positional argument: 'send'",
        "TypeError: FastAPI.__call__() missing 1 required positional argument: 'send'",
        "gunicorn_settings: worker_class is one for WSGI, but it is an ASGI application.",
        "gunicorn_settings: {worker_class: asgi}",
    ),
    Symptom(
        r"__call__\(\) takes 3 positional arguments but 4 were given",
        "TypeError: Flask.__call__() takes 3 positional arguments but 4 were given",
        "gunicorn_settings: worker_class is one for ASGI, but it is a WSGI application.",
        "gunicorn_settings: {worker_class: gthread}",
    ),
    Symptom(
        r"Failed to find attribute '([^']+)' in '([^']+)'",
        "Failed to find attribute 'application' in 'wsgi'",
        r"gunicorn_wsgi_app: \2 has no '\1'.",
        r"gunicorn_wsgi_app: \2:app",
    ),
    Symptom(
        r"Application object must be callable",
        "Application object must be callable.",
        "gunicorn_wsgi_app: what it names after the colon can't be called.",
        "gunicorn_wsgi_app: wsgi:app",
    ),
    # What the application misses
    Symptom(
        r"No module named '([^']+)'",
        "ModuleNotFoundError: No module named 'redis'",
        r"gunicorn_requirements: '\1' is in no package that is installed, nor in the directory of gunicorn_source. "
        "Add the package to the requirements.",
        "gunicorn_packages: [redis]",
    ),
    Symptom(
        r"KeyError: 'SECRET_KEY'|SECRET_KEY (setting must not be empty|not found|environment variable)"
        r"|no secret key was set",
        "ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
        "gunicorn_secrets: it lacks the application's secret key; gunicorn_secrets_environment: true puts it into the "
        "environment.",
        'gunicorn_secrets: {SECRET_KEY: "{{ vault_secret_key }}"}',
    ),
    Symptom(
        r"KeyError: '([A-Z][A-Z0-9_]+)'",
        "KeyError: 'DATABASE_URL'",
        r"gunicorn_environment: it may lack \1; what is secret goes into gunicorn_secrets.",
        r'gunicorn_environment: {\1: "…"}',
    ),
    Symptom(
        r"Field required \[type=missing",
        "Field required [type=missing, …]",
        "gunicorn_environment: the application's settings lack what is named above; what is secret goes into "
        "gunicorn_secrets.",
        'gunicorn_environment: {DATABASE_URL: "…"}',
    ),
    # What it may not do
    Symptom(
        r"unable to open database file|readonly database|Read-only file system|Permission denied: '/",
        "sqlite3.OperationalError: unable to open database file",
        "$STATE_DIRECTORY: the application may write to this directory, which is /var/lib/gunicorn/NAME; its code is "
        "read-only.",
        'gunicorn_environment: {DATABASE_URL: "sqlite:////var/lib/gunicorn/NAME/NAME.db"}',
    ),
    Symptom(
        r"Address already in use",
        "OSError: [Errno 98] Address already in use",
        "gunicorn_bind: a port is taken; `sudo ss -tlnp` shows by what. One that the application opens by itself, its "
        "older release still has.",
        'gunicorn_bind: ["0.0.0.0:8001"]',
    ),
    Symptom(
        r"gunicorn_before_activate: a command took too long",
        "gunicorn_before_activate: a command took too long: …",
        "gunicorn_before_activate_timeout: the commands take longer together.",
        "gunicorn_before_activate_timeout: 3600",
    ),
    Symptom(
        r"Failed to set up mount namespacing: (\S+): No such file",
        "Failed to set up mount namespacing: /srv/uploads: No such file or directory",
        r"gunicorn_service_options: \1, which one of its directives names, isn't there. Make it.",
        'gunicorn_service_options: {ReadWritePaths: ["/srv/uploads"]}',
    ),
    Symptom(
        r"Failed to set up user namespacing",
        "Failed to set up user namespacing: Operation not permitted",
        "gunicorn_service_options: PrivateUsers doesn't work on this server.",
        "gunicorn_service_options: {PrivateUsers: false}",
    ),
)
"""What is more telling stands first; of several about one variable the first one counts."""


def hint(symptom: Symptom, found: re.Match[str], name: str) -> tuple[str, str]:
    """Advice and example for what the pattern of a symptom found."""
    advice, example = (found.expand(text).replace("NAME", name) for text in (symptom.advice, symptom.example))
    return advice, example


def hints(text: str, name: str, callables: Callable[[str], Iterable[str]] = lambda _module: ()) -> list[str]:
    """Say which variables to set, at most `MOST`, for what a message about a failure has.

    `callables` names what a module of the application has that Gunicorn can be given.
    """
    said: dict[str, str] = {}
    for symptom in SYMPTOMS:
        found = re.search(symptom.pattern, text)
        if not found:
            continue
        advice, example = hint(symptom, found, name)
        if symptom.advice.startswith("gunicorn_wsgi_app") and found.lastindex:
            offered = sorted(callables(found[2]), key=lambda each: not LIKELY.search(each.partition(":")[2]))[
                :MOST_NAMES
            ]
            if offered:
                advice, example = f"{advice} It has {', '.join(offered)}.", f"gunicorn_wsgi_app: {offered[0]}"
        said.setdefault(advice.partition(":")[0], f"{advice} Example: {example}")
    return list(said.values())[:MOST]
