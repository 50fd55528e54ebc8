"""What the configurations of Gunicorn are compared with: answers that cost nothing, time, or bandwidth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

BIG = b"x" * 2**20


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer at once, after 20 ms as a database would have it, or with 1 MiB."""
    path = environ["PATH_INFO"]
    if path == "/wait":
        time.sleep(0.02)
    body = BIG if path == "/big" else b"Hello, World!"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
