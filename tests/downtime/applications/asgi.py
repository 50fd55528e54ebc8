"""An ASGI application whose answers say which code and which release they come from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

MARK = "first"
ANSWER = f"{MARK} {os.environ['GUNICORN_RELEASE']}\n".ljust(4000, ".").encode()

Event = dict[str, Any]


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    """Answer at once, or, for /slow, after a second."""
    if scope["type"] == "lifespan":
        for _phase in ("startup", "shutdown"):
            event = await receive()
            await send({"type": event["type"] + ".complete"})
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    body = b"ok" if scope["path"] == "/healthz" else ANSWER
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
