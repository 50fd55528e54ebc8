# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What pip or uv said when it failed, as short as a person needs it, and what to do about it."""

from __future__ import annotations

import re

LINES = 12
"""Lines of the installer's that a message has at the most."""

WIDTH = 240
"""Characters of a line that a message has at the most."""

_NOISE = re.compile(
    r"(Collecting|Downloading|Using cached|Requirement already|Looking in|Found existing|Obtaining|Processing|Preparing"
    r"|Installing|Getting requirements|Building|Created|Successfully|DEPRECATION|━|note:|\[notice\]"
    r"|hint: (See|This is likely)|Using Python|Resolved \d|Prepared \d|Built |warning: The `--pylock` option"
    r"|\[end of output\]|╰─> See above)"
)
_SHORTER = (
    (r"\(Retry\(.*?\)\) ", ""),
    (r"<\S+ object at 0x[0-9a-f]+>(: |, )?", ""),
    (r"HTTPS?ConnectionPool\(.*?\): Max retries exceeded with url: \S+ \(Caused by (.*)\)", r"\1"),
    (r"\(from versions: .*,(( [^,]+,){4} [^,]+)\)", r"(from versions: …\1)"),
    (r"://[^/@\s]+@", "://***@"),
)
_ADVICE = (
    (
        r"\b(401|403) Client Error|\((401 Unauthorized|403 Forbidden)\)",
        (
            "gunicorn_index_url, gunicorn_extra_index_urls: an index wants a user and a password, or others. Example: "
            'gunicorn_index_url: "https://USER:PASSWORD@packages.example/simple"'
        ),
    ),
    (
        r"DO NOT MATCH THE HASHES|Hash mismatch|Hashes are required|must have their versions pinned|In `--require-hash",
        (
            "gunicorn_require_hashes: the requirements need the right hash for every package, those that others need "
            "included. Example: uv pip compile --generate-hashes requirements.in --output-file requirements.txt"
        ),
    ),
    (
        r"Connection refused|timed out|Name or service|name resolution|unreachable|No route to host",
        (
            "The server doesn't reach the index. gunicorn_index_url names another one, gunicorn_wheelhouse needs none. "
            'Example: gunicorn_wheelhouse: "{{ inventory_dir }}/../wheels"'
        ),
    ),
    (
        r"is not a trusted or secure host",
        (
            "gunicorn_index_url, gunicorn_extra_index_urls: pip takes nothing over plain HTTP. "
            'Example: gunicorn_index_url: "https://packages.example/simple"'
        ),
    ),
    (
        r"(?i)pg_config|\bgcc\b.*(failed|No such file)|Python\.h|command '\S+' failed|(compiler|gcc|cc)\S* not found",
        (
            "gunicorn_system_packages: a package is compiled on the server, which lacks something for it. Example: "
            "gunicorn_system_packages: [gcc, python3-dev, libpq-dev]"
        ),
    ),
    (
        r"Location '[^']*' is ignored|Looking in links(?s:.*)from versions: |in the provided package locations",
        (
            "gunicorn_wheelhouse: it lacks a wheel for the server's Python. Example: pip wheel --wheel-dir wheels "
            "gunicorn -r requirements.txt"
        ),
    ),
    (
        r"certificate verify failed|invalid peer certificate",
        (
            "The server doesn't know the certificate authority of the index. Example: install it there in "
            "/usr/local/share/ca-certificates, and run update-ca-certificates"
        ),
    ),
)


def short(output: str) -> list[str]:
    """Give the lines of the output that say what went wrong: at most `LINES`, none longer than `WIDTH`.

    `output` may be a message of the module ``ansible.builtin.pip``. URLs lose their credentials.
    """
    found: list[str] = []
    for raw in output.splitlines():
        line = re.sub(r"^(stdout|:stderr): ", "", raw.rstrip())
        for pattern, shorter in _SHORTER:
            line = re.sub(pattern, shorter, line)
        if line.strip() and not _NOISE.match(line.strip()) and line not in found:
            found.append(line if len(line) <= WIDTH else line[: WIDTH - 1] + "…")
    # What a compiler reports stands before the many lines that say that it reported something.
    earlier = found[: -LINES // 2]
    telling = [line for line in earlier if re.search(r"\berror\b", line, re.IGNORECASE)][: LINES // 2]
    return found if len(found) <= LINES else telling + found[len(telling) - LINES :]


def answers(output: str) -> list[str]:
    """Say why indexes did not list a distribution, from the output of ``pip -vv index versions``."""
    found = re.findall(r"^Could not fetch URL (.*) - skipping$", output, re.MULTILINE)
    return short("\n".join(re.sub(r" for url: \S+$", "", line) for line in found))


def reason(output: str, asked: str = "", installer: str = "pip") -> str:
    """Say what to do, what the installer said, and what the indexes answered: lines for a message."""
    return "\n".join([*advice(output, asked), f"{installer} said:", *short(output), *answers(asked)])


def advice(*outputs: str) -> list[str]:
    """What to do about it: one line for each cause that is known."""
    text = "\n".join(outputs)
    return [line for pattern, line in _ADVICE if re.search(pattern, text)]
