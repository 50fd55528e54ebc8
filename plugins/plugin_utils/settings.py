# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What can't work in ``gunicorn_settings``, because of how the role runs Gunicorn.

Which settings there are and which types they take is Gunicorn's to say; `gunicorn_registry` knows most of it, and
``check_config.py`` asks it on the host. Here are the settings and values that Gunicorn itself would accept, each with
what to do instead.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils.quoting import plain

_RELOAD = "leave it out; deploy again, the old release serves until the new one is healthy"

OWNED_SETTINGS = {
    "bind": "set gunicorn_bind; systemd's socket unit holds the addresses",
    "chdir": "leave it out; it is the directory of the code",
    "check_config": "leave it out; Gunicorn would end after it, and the role checks each configuration anyway",
    "config": "set gunicorn_conf_file; the configuration that the role writes includes that file",
    "control_socket": "leave it out; each running release has its own below /run/gunicorn",
    "daemon": "leave it out; systemd runs the service in the background",
    "default_proc_name": "set proc_name, which wins over it",
    "group": "set gunicorn_user; the service runs with that user's group",
    "initgroups": "leave it out; systemd sets the groups",
    "paste": "set gunicorn_wsgi_app to a module of yours that calls paste.deploy.loadapp(); Gunicorn reads this one "
    "on its command line only",
    "pidfile": "leave it out; `systemctl show --property MainPID NAME` tells the process",
    "post_worker_init": "define the function in gunicorn_conf_extra",
    "print_config": "leave it out; Gunicorn would end after it, and loglevel: debug logs the settings too",
    "raw_paste_global_conf": "give global_conf to paste.deploy.loadapp(), in a module that gunicorn_wsgi_app names",
    "reload": _RELOAD,
    "reload_engine": _RELOAD,
    "reload_extra_files": _RELOAD,
    "reuse_port": "leave it out; Gunicorn would open ports of its own beside those that systemd holds",
    "spew": "leave it out; it logs every line of code that runs, and loglevel: debug is what a log can bear",
    "ssl_version": "define ssl_context in gunicorn_conf_extra; Gunicorn ignores this one",
    "umask": 'set gunicorn_service_options: {UMask: "0027"}; Gunicorn\'s own reaches no file of the application',
    "user": "set gunicorn_user",
    "when_ready": "define the function in gunicorn_conf_extra",
    "worker_tmp_dir": "leave it out; it is a directory in memory below /run/gunicorn",
    "wsgi_app": "set gunicorn_wsgi_app",
}
"""Gunicorn settings that the role manages, or that can't work under it, with what to do instead."""

RESERVED_ENVIRONMENT = {
    "CREDENTIALS_DIRECTORY": "systemd sets it",
    "GUNICORN_CMD_ARGS": "set gunicorn_settings; it would win over the configuration file",
    "GUNICORN_RELEASE": "it tells the application which release it runs in",
    "LISTEN_FDS": "systemd sets it",
    "LISTEN_PID": "systemd sets it",
    "NOTIFY_SOCKET": "systemd sets it",
}
"""Environment variables that the role or systemd sets, with the reason or with what to do instead."""

REMOVED_WORKERS = {
    r"(egg:gunicorn#)?eventlet|gunicorn\.workers\.geventlet\..*": "gevent",
    r"(egg:gunicorn#)?gaiohttp|gunicorn\.workers\._?gaiohttp\..*": "asgi, or aiohttp.GunicornWebWorker with aiohttp "
    "in your requirements",
}
"""Worker classes that Gunicorn once had, with what to use."""

EXTRAS = {
    "gevent": "gevent",
    "tornado": "tornado",
    "http2": "h2",
    "fast": "gunicorn_h1c",
    "setproctitle": "setproctitle",
}
"""Gunicorn's extras that settings may need, each with the distribution that it stands for."""

WITH_CERTFILE = (
    *("keyfile", "ca_certs", "cert_reqs", "ciphers", "do_handshake_on_connect", "ssl_context", "suppress_ragged_eofs"),
)
"""Settings of TLS that Gunicorn looks at only where it has a certificate."""

FILES = ("certfile", "keyfile", "ca_certs")
"""Settings that name a file on the host, by its absolute path; systemd hands the service a copy."""

CERTIFICATES = (
    "certfile: /etc/letsencrypt/live/shop.example/fullchain.pem, "
    "keyfile: /etc/letsencrypt/live/shop.example/privkey.pem"
)
"""Example of the settings that turn TLS on."""

_TAKEN = ("functools", "globals", "math", "os")
"""Names that the configuration file itself needs."""


def problems(settings: Mapping[Any, Any]) -> Iterator[str]:
    """Tell what can't work in a dictionary of settings, each with what to do instead."""
    for key, value in settings.items():
        name = str(key)
        if name in OWNED_SETTINGS:
            yield f"{key!r} is not yours to set: {OWNED_SETTINGS[name]}"
        elif not is_name(name):
            meant = re.sub(r"[-\s]+", "_", name.strip("- ").lower())
            yield f"{key!r} is not the name of a Gunicorn setting" + f"; did you mean {meant!r}?" * is_name(meant)
        try:
            plain(value)
        except TypeError as problem:
            yield f"{key}: {problem}"
    for check in (_worker_class, _numbers, _tls, _protocols, _raw_env):
        yield from check(settings)


def extras(settings: Mapping[Any, Any]) -> list[str]:
    """Name Gunicorn's extras, of `EXTRAS`, without which the settings would fail or do nothing."""
    worker = str(settings.get("worker_class", "gthread"))
    needed = {
        "gevent": bool(re.match(r"(egg:gunicorn#)?gevent", worker) or "ggevent" in worker),
        "tornado": bool(re.match(r"(egg:gunicorn#)?tornado", worker) or "gtornado" in worker),
        "http2": "h2" in str(settings.get("http_protocols")).lower(),
        "fast": settings.get("http_parser") == "fast",
        "setproctitle": bool(settings.get("proc_name")),
    }
    return [name for name in EXTRAS if needed[name]]


def specifiers(settings: Mapping[Any, Any], version: str) -> list[str]:
    """Give what pip has to install for Gunicorn of that version with these settings."""
    names = ",".join(extras(settings))
    return [f"gunicorn[{names}]=={version}" if names else f"gunicorn=={version}", *_workers_of_others(settings)]


def distributions(settings: Mapping[Any, Any]) -> list[str]:
    """Name the distributions that the settings need besides Gunicorn."""
    return [*(EXTRAS[name] for name in extras(settings)), *_workers_of_others(settings)]


def _workers_of_others(settings: Mapping[Any, Any]) -> list[str]:
    """Name the distribution that a worker class is from, where it is a known one and not Gunicorn."""
    return ["uvicorn-worker"] if str(settings.get("worker_class")).startswith("uvicorn_worker.") else []


def is_name(name: str) -> bool:
    """Tell whether a setting may be called so in Gunicorn's configuration file."""
    return bool(re.fullmatch(r"[a-z][a-z0-9_]*", name)) and not keyword.iskeyword(name) and name not in _TAKEN


def has_dirty_workers(settings: Mapping[Any, Any]) -> bool:
    """Tell whether Gunicorn would start its dirty arbiter."""
    return bool(settings.get("dirty_apps")) and (_number(settings.get("dirty_workers", 0)) or 0) > 0


def _number(value: Any) -> int | None:
    """Whole number that Gunicorn makes of a value, if it does."""
    try:
        return int(value, 0) if isinstance(value, str) else int(value)
    except (TypeError, ValueError):
        return None


def _is_sync(value: Any) -> bool:
    """Tell whether Gunicorn takes that for its sync worker, as its own configuration does."""
    return isinstance(value, str) and (value == "sync" or value.endswith("SyncWorker"))


def _worker_class(settings: Mapping[Any, Any]) -> Iterator[str]:
    value = settings.get("worker_class", "gthread")
    for pattern, instead in REMOVED_WORKERS.items():
        if re.fullmatch(pattern, str(value)):
            yield f"worker_class: Gunicorn has no {value!r} any more; use {instead}"
    if _is_sync(value) and (_number(settings.get("threads", 1)) or 0) > 1:
        yield (
            "worker_class: 'sync' has no threads, so Gunicorn would run gthread and not say so; "
            "use worker_class: gthread, or leave threads out"
        )


def _numbers(settings: Mapping[Any, Any]) -> Iterator[str]:
    for name in ("workers", "threads"):
        if _number(settings.get(name, 1)) == 0:
            yield f"{name}: with 0 of them nothing answers a request; use 1 or more"


def _tls(settings: Mapping[Any, Any]) -> Iterator[str]:
    for name in WITH_CERTFILE:
        if settings.get(name) is not None and not settings.get("certfile"):
            yield f"{name}: without certfile Gunicorn serves plain HTTP; example: {{{CERTIFICATES}}}"
    for name in FILES:
        value = settings.get(name)
        if value and not re.fullmatch(r"""(/[^/\n\r%\\"']+)+""", str(value)):
            yield f"{name}: {value!r} is not the absolute path of a file on the host; example: {{{CERTIFICATES}}}"
    if _number(settings.get("cert_reqs", 0)) == 2:
        yield (
            "cert_reqs: with 2 the health check can't connect, because it has no certificate; use 1, and let the "
            "application refuse who shows none, or let a web server in front ask for it"
        )
    elif _number(settings.get("cert_reqs", 0)) and not settings.get("ca_certs"):
        yield "cert_reqs: without ca_certs, no client's certificate would be accepted; name the file of its issuers"


def _protocols(settings: Mapping[Any, Any]) -> Iterator[str]:
    if str(settings.get("protocol")).strip() == "uwsgi":
        yield "protocol: 'uwsgi' can't pass the health check, which speaks HTTP; use proxy_pass in nginx"
    if "h2" not in str(settings.get("http_protocols")).lower():
        return
    cleartext = settings.get("http2_cleartext")
    tls = bool(settings.get("certfile"))
    if cleartext in (None, False, "off") and not tls:
        yield "http_protocols: without TLS nobody would get h2; set certfile and keyfile, or http2_cleartext: both"
    elif not tls and cleartext in (True, "prior-knowledge"):
        yield "http2_cleartext: 'prior-knowledge' alone can't pass the health check, which speaks HTTP/1.1; use both"
    worker = settings.get("worker_class", "gthread")
    if _is_sync(worker) or worker == "tornado":
        yield f"http_protocols: the worker class {worker} can't speak h2; use gthread, gevent or asgi"


def _raw_env(settings: Mapping[Any, Any]) -> Iterator[str]:
    value = settings.get("raw_env") or []
    for item in value if isinstance(value, list) else [value]:
        name = str(item).partition("=")[0]
        if name in RESERVED_ENVIRONMENT:
            yield f"raw_env: {name} is not yours to set: {RESERVED_ENVIRONMENT[name]}"
