# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""URLs of package indexes: the credentials that are in them go into a netrc file, the rest into a command line.

No message of this module quotes a URL, since it may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit


@dataclass(frozen=True)
class Index:
    """One package index."""

    url: str
    """Without credentials, the host in lower case."""
    host: str
    login: tuple[str, str] | None
    """User, which may be empty, and password; ``None`` where the URL has neither."""


def parse(text: str) -> Index:
    """Take the URL of an index apart.

    Raises `ValueError` with a reason that doesn't quote the URL.
    """
    if not re.fullmatch(r"https?://[!-~]+", text):
        raise ValueError("it doesn't begin with https:// or http://, or holds a character that no URL has")
    url = urlsplit(text)
    try:
        host, port = url.hostname or "", url.port
    except ValueError:
        host, port = "", None
    # Where a password holds one of these characters as it is, the host ends there.
    if not host or "@" in url.path + url.query + url.fragment:
        raise ValueError("it has no host; in a user or a password, write / as %2F, # as %23, ? as %3F, % as %25")
    if url.query or url.fragment:
        raise ValueError("it ends with a query or a fragment, which no index has")
    shown = f"[{host}]" if ":" in host else host
    bare = urlunsplit((url.scheme, shown if port is None else f"{shown}:{port}", url.path, "", ""))
    if "@" not in url.netloc:
        return Index(bare, host, None)
    if ":" in host:
        raise ValueError("its host is an IPv6 address, with which a netrc file can't have credentials: use a name")
    if url.scheme == "http" and not re.fullmatch(r"localhost|127(\.[0-9]+){3}", host):
        raise ValueError("its password would cross the network for everybody to read: use https://")
    return Index(bare, host, (_word("user", url.username or ""), _word("password", url.password or "")))


def _word(what: str, quoted: str) -> str:
    """Decode a user or a password, which every Python must be able to read from a netrc file."""
    word = unquote_to_bytes(quoted)
    if what == "password" and not word:
        raise ValueError("it has a user, but no password")
    # Python 3.10 takes a backslash and a quotation mark for themselves, 3.11 and later for an escape and a string.
    if not re.fullmatch(rb'(?!")[!-\[\]-~]*', word):
        raise ValueError(f"its {what} holds a blank, a backslash, a leading quotation mark or a character beyond ASCII")
    return word.decode("ascii")


def netrc(indexes: Iterable[Index]) -> str:
    """Write the credentials as a netrc file, empty where there are none.

    Raises `ValueError` where two indexes on one host have different ones: the file knows hosts only.
    """
    logins: dict[str, tuple[str, str]] = {}
    for index in indexes:
        if index.login and logins.setdefault(index.host, index.login) != index.login:
            raise ValueError(f"two indexes on {index.host} have different credentials")
    lines = []
    for host, (user, password) in logins.items():
        login = f" login {user}" if user else ""
        lines.append(f"machine {host}{login} password {password}\n")
    return "".join(lines)
