"""A WSGI application whose answers say which code and which release they come from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

MARK = "first"
ANSWER = f"{MARK} {os.environ['GUNICORN_RELEASE']}\n".ljust(4000, ".").encode()


def app(environ: dict[str, str], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer at once, or, for /slow, after a second, or as long as the environment says."""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(float(os.environ.get("SLOW", "1")))
    body = b"ok" if environ["PATH_INFO"] == "/healthz" else ANSWER
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
