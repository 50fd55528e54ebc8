# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Secrets of an application: what they may be, and a digest that tells nobody what they are.

No message of this module quotes a value. Nor does it quote a name that can't be one: it may be a value, after a typing
error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils.quoting import ENVIRONMENT_NAME
from ansible_collections.pyweb.deploy.plugins.plugin_utils.settings import RESERVED_ENVIRONMENT

TAKEN = ("certfile", "keyfile", "ca_certs")
"""Credentials that the role itself hands to the service."""

LONGEST_NAME = 64
LONGEST = 128 * 2**10
"""Bytes that a variable may take together with its name, where a process starts another: Linux, MAX_ARG_STRLEN."""

LARGEST = 512 * 2**10
"""Bytes of all secrets: half of what systemd's directory holds, which has each of them twice while a service starts."""


def problems(secrets: Mapping[Any, Any]) -> Iterator[str]:
    """Tell what can't be a secret."""
    total = 0
    for number, (name, value) in enumerate(secrets.items(), start=1):
        if not isinstance(name, str) or not ENVIRONMENT_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
            yield f"name {number} is not one for an environment variable of at most {LONGEST_NAME} characters"
            continue
        if name in RESERVED_ENVIRONMENT:
            yield f"{name} is not yours to set: {RESERVED_ENVIRONMENT[name]}"
        elif name in TAKEN:
            yield f"{name} is not yours to set: gunicorn_settings has the setting of that name"
        if not isinstance(value, str):
            yield f"the value of {name} is not a string; put it in quotes"
            continue
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            yield f"the value of {name} is not valid Unicode"
            continue
        total += size
        if not value:
            yield f"the value of {name} is empty"
        if "\0" in value:
            yield f"the value of {name} holds a NUL character"
        if len(name) + size + 2 > LONGEST:
            yield f"the value of {name} has {size} bytes, more than {LONGEST - len(name) - 2}"
    if total > LARGEST:
        yield f"all values together have {total} bytes, more than {LARGEST}"


def digest(secrets: Mapping[str, str], name: str) -> str:
    """Digest of all secrets of the application `name`; empty where there are none.

    It becomes part of a release's id, which everybody on the host may read, together with all else that is in there.
    Therefore it is made to be slow (some 50 ms and 16 MiB for each guess), and has another salt for each application.
    """
    if not secrets:
        return ""
    framed = b"".join(
        b"%d:%s" % (len(part), part) for pair in sorted(secrets.items()) for part in map(str.encode, pair)
    )
    return hashlib.scrypt(framed, salt=f"pyweb.deploy {name}".encode(), n=2**14, r=8, p=1, dklen=32).hex()
