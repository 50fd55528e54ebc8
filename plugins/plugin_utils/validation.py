# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Every check of the role's variables that needs no look at a host.

One entry of `VARIABLES` per public variable. All problems are collected, so that a user sees them at once: one message
for each variable, which names it, what it got, everything that is wrong with that, what it accepts and an example.
"""

from __future__ import annotations

import difflib
import ipaddress
import itertools
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.pyweb.deploy.plugins.module_utils import lock_files, requirements
from ansible_collections.pyweb.deploy.plugins.plugin_utils import (
    bind,
    configuration,
    gunicorn_registry,
    index,
    secret_values,
    settings,
    wsgi_app,
)
from ansible_collections.pyweb.deploy.plugins.plugin_utils.quoting import ENVIRONMENT_NAME, is_true
from ansible_collections.pyweb.deploy.plugins.plugin_utils.settings import RESERVED_ENVIRONMENT
from ansible_collections.pyweb.deploy.plugins.plugin_utils.sources import KINDS, ORIGIN, PACKAGE_FILES, is_url

OLDEST_GUNICORN = (27, 0, 1)
"""27.0.1 lets clients that keep connections alive finish when a worker stops; older ones cut them off."""

SOURCES = {key: kind.options for key, kind in KINDS.items()}
"""Keys of ``gunicorn_source`` of which exactly one is given, each with those that go with it."""

CHECKSUM_DIGITS = {"sha256": 64, "sha384": 96, "sha512": 128}
"""Algorithms of a checksum with the number of hexadecimal digits that each gives."""

OWNED_DIRECTIVES = {
    "DynamicUser": "set gunicorn_user; the code is readable for one user that is known before",
    "Environment": "set gunicorn_environment",
    "EnvironmentFile": "set gunicorn_environment",
    "ExecReload": "leave it out; it checks the configuration before Gunicorn loads it",
    "ExecStart": "set gunicorn_settings",
    "Group": "set gunicorn_user",
    "NonBlocking": "leave it out; the slots share their sockets",
    "NotifyAccess": "leave it out; Gunicorn's master tells systemd that it is up",
    "RootDirectory": "leave it out; interpreter, packages and code are in the host's own tree",
    "RootImage": "leave it out; interpreter, packages and code are in the host's own tree",
    "RuntimeDirectory": "leave it out; each slot has one of its own, with the sockets in it",
    "Sockets": "set gunicorn_bind",
    "Type": "leave it out; Gunicorn speaks systemd's notify protocol",
    "User": "set gunicorn_user",
    "WatchdogSec": "set timeout in gunicorn_settings; Gunicorn sends systemd no signs of life, and would be killed",
    "WorkingDirectory": "leave it out; it is the directory of the code",
}
"""Directives of the service unit that the role manages, with what to do instead."""

PREFIX = "gunicorn_"

OTHER_WORDS = {
    "address": "bind",
    "app_module": "wsgi_app",
    "app_name": "name",
    "bind_address": "bind",
    "bind_port": "bind",
    "env": "environment",
    "env_vars": "environment",
    "environment_variables": "environment",
    "listen": "bind",
    "port": "bind",
    "requirements_file": "requirements",
    "wsgi_module": "wsgi_app",
}
"""What others call a variable of the role, without its prefix."""

HEALTH_KEYS = ("path", "status", "timeout", "watch", "expect", "host")

TASK_FILES = ("gunicorn_drain_tasks", "gunicorn_enroll_tasks")
"""Variables that name files of tasks on the controller."""

ROLLING = ("gunicorn_serial", "gunicorn_max_fail_percentage", *TASK_FILES)
"""What says how a run goes from host to host."""

RETURN_VARIABLES = ("gunicorn_name", "gunicorn_state", "gunicorn_release", *ROLLING)
"""What counts where ``gunicorn_release`` says to go back; the release's record has the rest."""

REMOVAL_VARIABLES = ("gunicorn_name", "gunicorn_state", "gunicorn_remove_data", "gunicorn_remove_packages", *ROLLING)
"""What counts where ``gunicorn_state`` is ``absent``; what is there tells the rest."""

DIRTY_WORKERS = ("gunicorn_settings", "gunicorn_hardening", "gunicorn_service_options")
CONF_EXTRA = ("gunicorn_settings", "gunicorn_conf_extra", "gunicorn_version")
LOGS = ("gunicorn_name", "gunicorn_settings", "gunicorn_logs", "gunicorn_access_log", "gunicorn_service_options")
INDEXES = ("gunicorn_index_url", "gunicorn_extra_index_urls")
LOCKS = ("gunicorn_requirements", "gunicorn_packages", "gunicorn_installer", "gunicorn_wheelhouse")
WHEELHOUSE = (*INDEXES, "gunicorn_wheelhouse", "gunicorn_installer")
ENVIRONMENT = ("gunicorn_environment", "gunicorn_secrets", "gunicorn_secrets_environment")
CLASHES = ("gunicorn_name", "gunicorn_source", "gunicorn_wsgi_app", "gunicorn_bind")
"""What checks of several variables look at."""

Check = Callable[[Any], Iterator[str]]

Problem = tuple[str, str]
"""A variable and a reason why its value can't be."""


@dataclass(frozen=True)
class Variable:
    """What a variable accepts, for people and as a check that yields one reason per problem."""

    accepts: str
    example: str
    check: Check
    may_show: bool = True
    """Whether a message may quote the value."""


_INSIDE = r"(?!/)(?!(.*/)?\.\.(/|$))[^\n]*"
"""Pattern of a relative path that doesn't climb."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _text(value: Any) -> Iterator[str]:
    if not _is_text(value):
        yield "it is not a string"


def _boolean(value: Any) -> Iterator[str]:
    if not isinstance(value, bool) and str(value).lower() not in ("true", "false", "yes", "no", "1", "0", "on", "off"):
        yield "it is neither true nor false"


def _matching(pattern: str, reason: str) -> Check:
    def check(value: Any) -> Iterator[str]:
        if not _is_text(value) or not re.fullmatch(pattern, value):
            yield reason

    return check


def _choice(*accepted: str) -> Check:
    def check(value: Any) -> Iterator[str]:
        if value not in accepted:
            yield "it is none of " + ", ".join(accepted)

    return check


def _name(value: Any) -> Iterator[str]:
    if not _is_text(value) or not re.fullmatch(r"[a-z][a-z0-9_-]{0,24}", value):
        yield "it can't name a systemd unit, a user and a directory"
    elif value.endswith(("-blue", "-green", "-check", "-build")):
        yield "the endings -blue, -green, -check and -build belong to the units of an application"


def _version(value: Any) -> Iterator[str]:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)*)([a-z]+[0-9]+)?", value) if _is_text(value) else None
    if not match:
        yield "it is not the version of a release"
        return
    numbers = tuple(map(int, match[1].split(".")))
    if numbers < OLDEST_GUNICORN or (numbers == OLDEST_GUNICORN and match[2]):
        yield f"it is older than {'.'.join(map(str, OLDEST_GUNICORN))}"


def _binds(value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not value:
        yield "it is not a list with at least one address"
        return
    seen: list[bind.Address] = []
    for item in value:
        try:
            address = bind.parse(str(item))
        except ValueError as problem:
            yield f"{item!r}: {problem}"
            continue
        for other in seen:
            if bind.clash(address, other):
                yield f"{item!r} and {other.text!r} can't both be listened on"
        seen.append(address)


def _strings(value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not all(_is_text(item) and item.strip() for item in value):
        yield "it is not a list of non-empty strings"


def _requirements(value: Any) -> Iterator[str]:
    paths = value if isinstance(value, list) else [value]
    if not all(_is_text(path) and (path or path is value) for path in paths):
        yield "it is neither a path nor a list of paths"
    elif not all(re.fullmatch(_INSIDE, path) for path in paths):
        yield "it is not a path inside the source"


def _index_url(value: Any) -> Iterator[str]:
    if not _is_text(value):
        yield "it is not a string"
    elif value:
        yield from _index_urls([value])


def _index_urls(value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not all(_is_text(url) for url in value):
        yield "it is not a list of strings"
        return
    for number, url in enumerate(value, start=1):
        try:
            index.parse(url)
        except ValueError as problem:
            yield f"in URL {number}: {problem}" if len(value) > 1 else str(problem)


def _debian_packages(value: Any) -> Iterator[str]:
    if not isinstance(value, list):
        yield "it is not a list"
        return
    for item in value:
        # A version or an architecture would never be found installed under that name.
        if not _is_text(item) or not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", item):
            yield f"{item!r} is not the name of a Debian package"


def _user(value: Any) -> Iterator[str]:
    yield from _matching(r"([a-z_][a-z0-9_-]{0,31})?", "it is not a user name")(value)
    if value == "root":
        yield "who takes the application over would have the host"


def _networks(value: Any) -> Iterator[str]:
    if not isinstance(value, list):
        yield "it is not a list"
        return
    for item in value:
        try:
            network = ipaddress.ip_network(str(item), strict=False)
        except ValueError:
            yield f"{item!r} is neither an IP address nor a network; ufw resolves no names"
            continue
        if "%" in str(item):
            yield f"{item!r} names an interface; set gunicorn_firewall_interface"
        elif str(network.network_address) != str(ipaddress.ip_interface(str(item)).ip):
            yield f"{item!r} is an address with the length of a network; did you mean {network}?"
        if network.prefixlen == 0:
            yield f"{item!r} is everybody: leave the list empty for that"


def _keep(value: Any) -> Iterator[str]:
    if not re.fullmatch(r"[1-9][0-9]{0,2}", str(value)):
        yield "it is not a whole number from 1 to 999"


def _serial(value: Any) -> Iterator[str]:
    batches = value if isinstance(value, list) else [value]
    if not batches:
        yield "it is an empty list"
    for size in batches:
        if not re.fullmatch(r"[1-9][0-9]{0,4}|([1-9]|[1-9][0-9]|100)%", str(size)):
            yield f"{size!r} is neither a number of hosts nor a percentage of them"


def _percentage(value: Any) -> Iterator[str]:
    if not re.fullmatch(r"[0-9]|[1-9][0-9]|100", str(value)):
        yield "it is not a whole number from 0 to 100"


def _seconds(value: Any) -> Iterator[str]:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", str(value)):
        yield "it is not a whole number of seconds from 1 to 99999"


def _release(value: Any) -> Iterator[str]:
    if not re.fullmatch(r"(previous|[0-9a-f]{12})?", str(value)):
        yield "it is neither `previous` nor the id of a release"


def _mapping(value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield "it is not a dictionary"
    elif not all(_is_text(key) for key in value):
        yield "its keys are not all strings"


def _settings(value: Any) -> Iterator[str]:
    yield from _mapping(value)
    if not isinstance(value, Mapping):
        return
    yield from settings.problems(value)


def _environment(value: Any) -> Iterator[str]:
    yield from _mapping(value)
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if str(key) in RESERVED_ENVIRONMENT:
            yield f"{key} is not yours to set: {RESERVED_ENVIRONMENT[str(key)]}"
        elif not ENVIRONMENT_NAME.fullmatch(str(key)):
            yield f"{key!r} is not a name for an environment variable"
        if not isinstance(item, (str, int, float)):
            yield f"the value of {key} is neither a string, a number nor a boolean"
        elif "\0" in str(item):
            yield f"the value of {key} holds a NUL character"


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from secret_values.problems(value)
    else:
        yield "it is not a dictionary"


def _service_options(value: Any) -> Iterator[str]:
    yield from _mapping(value)
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if str(key) in OWNED_DIRECTIVES:
            yield f"{key} is not yours to set: {OWNED_DIRECTIVES[str(key)]}"
        elif not re.fullmatch(r"[A-Z][A-Za-z0-9]+", str(key)):
            yield f"{key!r} is not the name of a directive"
        for single in item if isinstance(item, list) else [item]:
            # A backslash at its end would draw in the next line of the unit.
            if not isinstance(single, (str, int, float)) or re.search(r"[\n\r]|\\$", str(single)):
                yield f"{key}: {single!r} is not one line of text, a number or a boolean"


def _health(value: Any) -> Iterator[str]:
    yield from _mapping(value)
    if not isinstance(value, Mapping):
        return
    for key in value:
        if key not in HEALTH_KEYS:
            yield f"unknown key {key!r}" + _nearest(str(key), HEALTH_KEYS)
    path = value.get("path", "/")
    if not _is_text(path) or not re.fullmatch(r"/[!-~]*", path):
        yield f"path: {path!r} doesn't start with / or holds a character that no URL has"
    status = value.get("status", [200])
    if not isinstance(status, list) or not status or not all(_is_status(code) for code in status):
        yield f"status: {status!r} is not a list of HTTP status codes"
    timeout = value.get("timeout", 30)
    if not re.fullmatch(r"[0-9]+", str(timeout)) or not 1 <= int(timeout) <= 3600:
        yield f"timeout: {timeout!r} is not a whole number of seconds from 1 to 3600"
    watch = value.get("watch", 3)
    if not re.fullmatch(r"[0-9]+", str(watch)) or int(watch) > 600:
        yield f"watch: {watch!r} is not a whole number of seconds from 0 to 600"
    for key in ("expect", "host"):
        if not _is_text(value.get(key, "")):
            yield f"{key}: {value[key]!r} is not a string"
    if re.search(r"[^!-~]", str(value.get("host", ""))):
        yield f"host: {value['host']!r} is not a host name"


def _is_status(code: Any) -> bool:
    return bool(re.fullmatch(r"[1-5][0-9]{2}", str(code)))


def _source(value: Any) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield "it is not a dictionary"
        return
    kinds = [key for key in SOURCES if key in value]
    if len(kinds) != 1:
        yield "it says where the code comes from " + ("more than once" if kinds else "nowhere")
    known = {*SOURCES, *itertools.chain(*SOURCES.values())}
    for key in value:
        if key not in known:
            yield f"unknown key {key!r}" + _nearest(str(key), sorted(known))
        elif len(kinds) == 1 and key not in (kinds[0], *SOURCES[kinds[0]]):
            fitting = [kind for kind, keys in SOURCES.items() if key in keys]
            yield f"{key} goes with {' or '.join(fitting)}, not with {kinds[0]}"
    for key, item in value.items():
        if key in _SOURCE_CHECKS:
            for reason in _SOURCE_CHECKS[key](item):
                yield f"{key}: {reason}"
    if is_url(value.get("archive")) and not value.get("checksum"):
        yield "a checksum is missing, and what a URL leads to may change"


def _path(value: Any) -> Iterator[str]:
    if not _is_text(value) or not value.strip():
        yield f"{value!r} is not a path"


def _absolute_path(value: Any) -> Iterator[str]:
    if not _is_text(value) or not re.fullmatch(r"""(/[^/\n\r%\\"']+)+/?""", value) or "/../" in value + "/":
        yield f"{value!r} is not an absolute path on the host"


def _path_inside(value: Any) -> Iterator[str]:
    if not value or not _is_text(value) or not re.fullmatch(_INSIDE, value):
        yield f"{value!r} is not a path inside the source"


def _file_inside(value: Any) -> Iterator[str]:
    if not _is_text(value) or not re.fullmatch(rf"({_INSIDE})?", value) or value.endswith("/"):
        yield "it is not a path inside the source"


def _git(value: Any) -> Iterator[str]:
    if not _is_text(value) or not re.fullmatch(r"[^\s-]\S*", value):
        yield f"{value!r} is not the URL of a repository"
    elif _CREDENTIALS.search(value):
        yield "the URL holds credentials; let Git on the controller find it in ~/.netrc or a credential helper"


def _version_of_git(value: Any) -> Iterator[str]:
    if not _is_text(value):
        yield f"{value!r} is not a string; put it in quotes"
    elif not re.fullmatch(r"[^\s-]\S*", value):
        yield f"{value!r} is not a branch, a tag or a commit"


def _archive(value: Any) -> Iterator[str]:
    yield from _path(value)
    if is_url(value) and not re.match(r"https?://[^/]", value):
        yield f"{value!r} begins neither with https:// nor with http://"
    elif is_url(value) and _CREDENTIALS.search(value):
        yield "the URL holds credentials; put it into ~/.netrc on the controller"


def _checksum(value: Any) -> Iterator[str]:
    algorithm, colon, digits = value.partition(":") if _is_text(value) else ("", "", "")
    if not colon:
        yield f"{value!r} doesn't name its algorithm"
    elif algorithm not in CHECKSUM_DIGITS:
        yield f"{algorithm!r} is none of {', '.join(CHECKSUM_DIGITS)}"
    elif not re.fullmatch(rf"[0-9a-fA-F]{{{CHECKSUM_DIGITS[algorithm]}}}", digits):
        yield f"{digits!r} is not the {CHECKSUM_DIGITS[algorithm]} hexadecimal digits of a {algorithm}"


def _package(value: Any) -> Iterator[str]:
    name = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\s*(\[[A-Za-z0-9._, -]*\])?\s*([<>=!~]=?[^;@]*)?"
    if is_url(value) or not _is_text(value) or not (re.fullmatch(name, value) or value.endswith(PACKAGE_FILES)):
        yield f"{value!r} is neither a package, with or without a version, nor a file {' or '.join(PACKAGE_FILES)}"


_CREDENTIALS = re.compile(r"(?:(?<=http://)|(?<=https://))[^/@\s]+@|(?<=://)[^/@\s:]*:[^/@\s]*@")
"""Where a URL holds a password, or, in HTTP, a name that may well be a token."""

_SOURCE_CHECKS: dict[str, Check] = {
    "directory": _path,
    "git": _git,
    "version": _version_of_git,
    "subdirectory": _path_inside,
    "key_file": _path,
    "submodules": _boolean,
    "archive": _archive,
    "checksum": _checksum,
    "package": _package,
    "existing": _absolute_path,
    "marker": _path_inside,
    "exclude": _strings,
}


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


VARIABLES: dict[str, Variable] = {
    "gunicorn_name": Variable(
        "a lower-case letter, then at most 24 of a-z, 0-9, - and _", "gunicorn_name: shop", _name
    ),
    "gunicorn_state": Variable("present or absent", "gunicorn_state: absent", _choice("present", "absent")),
    "gunicorn_source": Variable(
        "a dictionary with one of the keys "
        + "; ".join(f"`{kind}`" + (f" (with it: {', '.join(keys)})" if keys else "") for kind, keys in SOURCES.items()),
        'gunicorn_source: {directory: "{{ inventory_dir }}/../shop"}',
        _source,
    ),
    "gunicorn_wsgi_app": Variable("MODULE:CALLABLE", 'gunicorn_wsgi_app: "shop.main:create_app()"', wsgi_app.problems),
    "gunicorn_requirements": Variable(
        "the path of a requirements file inside the source, or a list of such paths; with gunicorn_installer: uv also "
        "uv.lock, pylock.toml and pyproject.toml",
        "gunicorn_requirements: requirements/production.txt",
        _requirements,
    ),
    "gunicorn_packages": Variable(
        "a list of requirement specifiers", 'gunicorn_packages: ["psycopg==3.2.9"]', _strings
    ),
    "gunicorn_installer": Variable("pip or uv", "gunicorn_installer: uv", _choice("pip", "uv")),
    "gunicorn_require_hashes": Variable("true or false", "gunicorn_require_hashes: true", _boolean),
    "gunicorn_index_url": Variable(
        "the URL of a package index, or an empty string for PyPI or what pip is configured with on the host",
        'gunicorn_index_url: "https://USER:PASSWORD@packages.example/simple"',
        _index_url,
        may_show=False,
    ),
    "gunicorn_extra_index_urls": Variable(
        "a list of URLs of package indexes",
        'gunicorn_extra_index_urls: ["https://USER:PASSWORD@packages.example/simple"]',
        _index_urls,
        may_show=False,
    ),
    "gunicorn_wheelhouse": Variable(
        "the path of a directory with wheels on the controller, or an empty string for none",
        'gunicorn_wheelhouse: "{{ inventory_dir }}/../wheels"',
        _text,
    ),
    "gunicorn_system_packages": Variable(
        "a list of names of Debian packages", "gunicorn_system_packages: [libpq-dev, gcc]", _debian_packages
    ),
    "gunicorn_version": Variable(
        f"a release of Gunicorn from {'.'.join(map(str, OLDEST_GUNICORN))} on, in quotes",
        'gunicorn_version: "27.0.1"',
        _version,
    ),
    "gunicorn_python": Variable(
        "the name or the absolute path of an interpreter on the host",
        "gunicorn_python: python3.12",
        _matching(r"[A-Za-z0-9._+-]+|(/[A-Za-z0-9._+-]+)+", "it is neither a command nor an absolute path"),
    ),
    "gunicorn_bind": Variable(
        "a list of IP:PORT, [IPv6]:PORT and unix:/PATH that don't overlap", f"gunicorn_bind: {bind.EXAMPLE}", _binds
    ),
    "gunicorn_settings": Variable(
        "a dictionary of Gunicorn's settings by their own names",
        "gunicorn_settings: {workers: 4, timeout: 60}",
        _settings,
    ),
    "gunicorn_conf_file": Variable(
        "the path of a configuration file of Gunicorn inside the source, or an empty string for none",
        "gunicorn_conf_file: gunicorn.conf.py",
        _file_inside,
    ),
    "gunicorn_conf_extra": Variable(
        "Python, as one string", 'gunicorn_conf_extra: "def on_exit(server): ..."', _text, may_show=False
    ),
    "gunicorn_logs": Variable("journal or files", "gunicorn_logs: files", _choice("journal", "files")),
    "gunicorn_access_log": Variable("text or json", "gunicorn_access_log: json", _choice("text", "json")),
    "gunicorn_environment": Variable(
        "a dictionary of names and values",
        'gunicorn_environment: {LOG_LEVEL: info, DATABASE_URL: "sqlite:////var/lib/gunicorn/shop/db"}',
        _environment,
        may_show=False,
    ),
    "gunicorn_secrets": Variable(
        "a dictionary of names, as environment variables have them, and of strings that are not empty; each of at most "
        f"{secret_values.LONGEST // 2**10} KiB, name included, and {secret_values.LARGEST // 2**10} KiB together",
        'gunicorn_secrets: {DATABASE_PASSWORD: "{{ vault_database_password }}"}',
        _secrets,
        may_show=False,
    ),
    "gunicorn_secrets_environment": Variable("true or false", "gunicorn_secrets_environment: true", _boolean),
    "gunicorn_no_log": Variable("true or false", "gunicorn_no_log: true", _boolean),
    "gunicorn_health": Variable(
        f"a dictionary with any of the keys {', '.join(HEALTH_KEYS)}",
        "gunicorn_health: {path: /healthz, status: [200], timeout: 30}",
        _health,
    ),
    "gunicorn_before_activate": Variable(
        "a list of shell commands", 'gunicorn_before_activate: ["flask --app shop db upgrade"]', _strings
    ),
    "gunicorn_before_activate_timeout": Variable(
        "a whole number of seconds from 1 to 99999", "gunicorn_before_activate_timeout: 1800", _seconds
    ),
    "gunicorn_release": Variable(
        "`previous`, the id of a release that is on the host, in quotes, or an empty string to deploy",
        'gunicorn_release: "3fa92c1b0d4e"',
        _release,
    ),
    "gunicorn_keep_releases": Variable("a whole number from 1 to 999", "gunicorn_keep_releases: 3", _keep),
    "gunicorn_serial": Variable(
        "a number of hosts from 1 to 99999, a percentage of them from 1% to 100%, or a list of such batches",
        'gunicorn_serial: [1, "25%"]',
        _serial,
    ),
    "gunicorn_max_fail_percentage": Variable(
        "a whole number of per cent from 0 to 100", "gunicorn_max_fail_percentage: 20", _percentage
    ),
    "gunicorn_drain_tasks": Variable(
        "the path of a file with tasks on the controller, or an empty string",
        'gunicorn_drain_tasks: "{{ inventory_dir }}/drain.yml"',
        _text,
    ),
    "gunicorn_enroll_tasks": Variable(
        "the path of a file with tasks on the controller, or an empty string",
        'gunicorn_enroll_tasks: "{{ inventory_dir }}/enroll.yml"',
        _text,
    ),
    "gunicorn_user": Variable(
        "the name of a user that exists, not root, or an empty string for one of the application's own",
        "gunicorn_user: www-data",
        _user,
    ),
    "gunicorn_firewall": Variable("true or false", "gunicorn_firewall: true", _boolean),
    "gunicorn_firewall_sources": Variable(
        "a list of IP addresses and networks", 'gunicorn_firewall_sources: ["192.0.2.0/24", "2001:db8::/32"]', _networks
    ),
    "gunicorn_firewall_interface": Variable(
        "the name of a network interface, or an empty string for every one",
        "gunicorn_firewall_interface: wg0",
        _matching(r"([A-Za-z0-9_.%@=,-]{1,15})?", "it can't be the name of an interface"),
    ),
    "gunicorn_firewall_limit": Variable("true or false", "gunicorn_firewall_limit: true", _boolean),
    "gunicorn_firewall_enable": Variable("true or false", "gunicorn_firewall_enable: true", _boolean),
    "gunicorn_hardening": Variable("true or false", "gunicorn_hardening: true", _boolean),
    "gunicorn_service_options": Variable(
        "a dictionary of directives of the [Service] section",
        'gunicorn_service_options: {MemoryMax: 512M, ReadWritePaths: ["/srv/uploads"]}',
        _service_options,
    ),
    "gunicorn_remove_data": Variable("true or false", "gunicorn_remove_data: true", _boolean),
    "gunicorn_remove_packages": Variable("true or false", "gunicorn_remove_packages: true", _boolean),
    "gunicorn_force": Variable("true or false", "gunicorn_force: true", _boolean),
}
"""Every public variable of the role, in the order of its defaults."""


def problems(
    values: Mapping[str, Any],
    names: Iterable[str] = (),
    wheelhouse: str = "",
    earlier: Mapping[str, Mapping[str, Any]] | None = None,
    uv: str = "",
    task_files: Mapping[str, str] | None = None,
    unset: Container[str] = (),
) -> list[str]:
    """Check the role's variables; no problem, no message.

    `values` maps each name in `counting` to its value, `names` lists the ``gunicorn_`` variables that the user set,
    `wheelhouse` is the absolute path that ``gunicorn_wheelhouse`` means. `earlier` maps the names of the applications
    that this run has deployed to the same host to their variables, as far as they matter here: ``gunicorn_source``,
    ``gunicorn_wsgi_app`` and ``gunicorn_bind``. `uv` is how the names of the wheels of uv begin, name and version.
    `task_files` maps those in `TASK_FILES` that are set to the absolute paths that they mean. `unset` names variables
    that have their defaults.

    Raises `KeyError` where a variable is missing from `values`.
    """
    removal, return_ = values["gunicorn_state"] == "absent", bool(values["gunicorn_release"])
    checked = counting(values["gunicorn_state"], values["gunicorn_release"])
    found: list[Problem] = [(name, reason) for name in checked for reason in VARIABLES[name].check(values[name])]
    wrong = {name for name, _reason in found}
    found += [
        (name, f"{path} is not a file")
        for name, path in (task_files or {}).items()
        if name not in wrong and not os.path.isfile(path)
    ]
    if removal and return_:
        found.append(("gunicorn_release", "there is nothing to go back to where gunicorn_state is absent; unset one"))
    if not removal and not return_:
        together: dict[tuple[str, ...], Callable[[], Iterator[Problem]]] = {
            DIRTY_WORKERS: lambda: _contradictions(values),
            CONF_EXTRA: lambda: _extra_problems(values),
            LOGS: lambda: _log_problems(values),
            INDEXES: lambda: _index_problems(values),
            LOCKS: lambda: _lock_problems(values),
            WHEELHOUSE: lambda: _wheelhouse_problems(values, wheelhouse, uv),
            ENVIRONMENT: lambda: _environment_problems(values),
            CLASHES: lambda: _clashes(values, earlier or {}),
        }
        # Whatever compares variables takes them to be well-formed.
        found += [
            problem for needed, check in together.items() if not wrong.intersection(needed) for problem in check()
        ]
    messages = _messages(values, found)
    if checked is VARIABLES:
        messages += gunicorn_registry.problems(values["gunicorn_settings"], values["gunicorn_version"])
    return [*messages, *_misspelt(values, names, unset if checked is VARIABLES else (), checked is VARIABLES)]


def counting(state: Any, release: Any) -> Iterable[str]:
    """Name the variables that count; nobody looks at the others, not even for what they hold."""
    return REMOVAL_VARIABLES if state == "absent" else RETURN_VARIABLES if release else VARIABLES


def unreadable(name: str, reason: str) -> str:
    """Write the message about a variable that Ansible can't work out."""
    return f"{name}: {reason}. It accepts {VARIABLES[name].accepts}. Example: {VARIABLES[name].example}"


def remembered(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a run keeps of an application that it deploys, to tell others from it; -v prints it."""
    source = {key: item for key, item in values["gunicorn_source"].items() if key in ORIGIN}
    return {**{name: values[name] for name in ("gunicorn_wsgi_app", "gunicorn_bind")}, "gunicorn_source": source}


def checked_alone(value: Any, name: str) -> str:
    """Check one variable by itself; the message about it, or nothing."""
    reasons = list(VARIABLES[name].check(value))
    return _about({name: value}, name, reasons) if reasons else ""


def _messages(values: Mapping[str, Any], found: Iterable[Problem]) -> list[str]:
    """Write one message for each variable, in the order in which their first problems were found."""
    reasons: dict[str, list[str]] = {}
    for name, reason in found:
        reasons.setdefault(name, []).append(reason)
    return [_about(values, name, each) for name, each in reasons.items()]


def _about(values: Mapping[str, Any], name: str, reasons: list[str]) -> str:
    """Write the message about a variable: what it got, why that can't be, what it accepts, an example."""
    variable, got = VARIABLES[name], values[name]
    masked = [_CREDENTIALS.sub("***@", reason) for reason in reasons]
    shown = [f"got {_CREDENTIALS.sub('***@', repr(got))}"] if variable.may_show else []
    if len(masked) == 1:
        first = ": ".join([name, *shown, *masked]) + "." * (not masked[0].endswith("?"))
    else:
        first = (
            ": ".join([name, *shown, "several things are wrong:"]) + "".join(f"\n  - {each}" for each in masked) + "\n "
        )
    return f"{first} It accepts {variable.accepts}. Example: {variable.example}"


def _contradictions(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Compare variables with each other; by themselves they are well-formed."""
    own_tmp = values["gunicorn_service_options"].get("PrivateTmp", values["gunicorn_hardening"])
    if settings.has_dirty_workers(values["gunicorn_settings"]) and str(own_tmp).lower() in ("false", "no", "off", "0"):
        reason = (
            "dirty_workers: each slot would end those of the other, by a file in the /tmp that they share; "
            "set gunicorn_service_options: {PrivateTmp: true}"
        )
        yield "gunicorn_settings", reason


def _extra_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what ``gunicorn_conf_extra`` sets though ``gunicorn_settings`` couldn't."""
    found = configuration.extra_problems(
        values["gunicorn_conf_extra"], values["gunicorn_settings"], values["gunicorn_version"]
    )
    yield from (("gunicorn_conf_extra", reason) for reason in found)


def _log_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Find settings of Gunicorn's logs that one of the two variables about them would overrule, or that overrule it."""
    given = values["gunicorn_settings"]
    taken = [name for name in ("logconfig", "logconfig_dict", "logconfig_json") if given.get(name)]
    directory = f"gunicorn/{values['gunicorn_name']}"
    if values["gunicorn_logs"] == "files":
        way_out = "leave it out, or set gunicorn_logs: journal"
        for name in ("accesslog", "errorlog"):
            # Without an access log there is only the other file.
            if name in given and not (name == "accesslog" and given[name] is None):
                place = f"/var/log/{directory}/{name[:-3]}.log"
                yield "gunicorn_settings", f"{name}: gunicorn_logs: files makes it {place}; {way_out}"
        for name in taken:
            yield "gunicorn_settings", f"{name}: it takes the logs away from the files of gunicorn_logs; {way_out}"
        kept = values["gunicorn_service_options"].get("LogsDirectory", directory)
        if directory not in " ".join(kept if isinstance(kept, list) else [str(kept)]).split():
            reason = (
                f"LogsDirectory: gunicorn_logs: files needs {directory} in it; add that, or set gunicorn_logs: journal"
            )
            yield "gunicorn_service_options", reason
    if values["gunicorn_access_log"] == "json":
        way_out = "leave it out, or set gunicorn_access_log: text"
        for name in ("access_log_format", "logger_class", *taken):
            if given.get(name):
                reason = (
                    f"{name}: it decides how the access log looks, and so does gunicorn_access_log: json; {way_out}"
                )
                yield "gunicorn_settings", reason
        if not given.get("accesslog", "-"):
            yield "gunicorn_settings", f"accesslog: without it gunicorn_access_log: json has no effect; {way_out}"


def _environment_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Find environment variables that are set twice."""
    if is_true(values["gunicorn_secrets_environment"]):
        for name in sorted(set(values["gunicorn_environment"]) & set(values["gunicorn_secrets"])):
            yield "gunicorn_secrets", f"gunicorn_environment has {name} too, and one would win; take one of them out"


def _clashes(values: Mapping[str, Any], earlier: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Compare an application with those that the same run has deployed to the host: one would replace the other."""
    for other, found in earlier.items():
        if other == values["gunicorn_name"]:
            if _origin(found) != _origin(values):
                reason = (
                    "another application of this run has that name, and this one would replace it; give each its own"
                )
                yield "gunicorn_name", reason
            continue
        held = [bind.parse(str(text)) for text in found["gunicorn_bind"]]
        for address in map(bind.parse, map(str, values["gunicorn_bind"])):
            if any(bind.clash(address, each) for each in held):
                reason = f"{other!r}, another application of this run, listens on {address.text!r}"
                yield "gunicorn_bind", reason


def _origin(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tell what application the variables are about, whatever version of it."""
    return (values["gunicorn_wsgi_app"], *(values["gunicorn_source"].get(key) for key in ORIGIN))


def _misspelt(
    values: Mapping[str, Any], names: Iterable[str], unset: Container[str], settings_count: bool
) -> Iterator[str]:
    """Find variables that somebody set for the role, which would ignore them; `ignored` names the rest.

    Not every other ``gunicorn_`` variable is meant for it: a play may have its own, and refusing one of those is worse
    than missing a mistake. Refused are a name that is `gunicorn_registry.near` one of the role's, a word of
    `OTHER_WORDS` where what it stands for was left alone, and the name of a setting of Gunicorn, or one that is near
    it, which ``gunicorn_settings`` lacks.
    """
    known = [name.removeprefix(PREFIX) for name in VARIABLES]
    given = values["gunicorn_settings"] if settings_count else {}
    given = given if isinstance(given, Mapping) else {}
    for name in sorted(set(names) - set(VARIABLES)):
        word = name.removeprefix(PREFIX)
        meant = gunicorn_registry.near(word, known)
        if not meant and PREFIX + OTHER_WORDS.get(word, "") in unset:
            meant = OTHER_WORDS[word]
        setting = gunicorn_registry.near(word, gunicorn_registry.SETTINGS)
        wrong = f"{name}: the role has no such variable"
        if meant and setting != word:
            yield f"{wrong}; did you mean {PREFIX}{meant}? Example: {VARIABLES[PREFIX + meant].example}"
        elif settings_count and setting and setting not in given:
            instead, example = "a setting of Gunicorn goes into gunicorn_settings", f'{{{setting}: "{{{{ {name} }}}}"}}'
            if setting in settings.OWNED_SETTINGS:
                instead, example = settings.OWNED_SETTINGS[setting], "{workers: 4, timeout: 60}"
            if setting != word:
                instead = f"did you mean Gunicorn's {setting}? Then {instead}"
            yield (
                f"{wrong}; {instead}. A variable of your own needs another name. Example: gunicorn_settings: {example}"
            )


def ignored(names: Iterable[str]) -> list[str]:
    """Warn of variables that begin as the role's do and are none of them; `problems` has refused the mistakes.

    One warning for all of them, so that the hosts of a group say it once.
    """
    unknown = sorted(set(names) - set(VARIABLES))
    if not unknown:
        return []
    whose, them = ("a variable", "it") if len(unknown) == 1 else ("variables", "them")
    return [f"{', '.join(unknown)}: {whose} of your own? The role gunicorn has none of that name, and ignores {them}."]


def source_problems(values: Mapping[str, Any], source: Mapping[str, Any]) -> list[str]:
    """Check the variables against what the source holds; no problem, no message.

    `values` maps each name in `VARIABLES` to its value, of which `problems` found none wrong. `source` is what
    `module_utils.source.look` gives.

    Raises `KeyError` where a key is missing.
    """
    return _messages(values, _source_problems(values, source))


def _source_problems(values: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[Problem]:
    if source["problem"]:
        yield "gunicorn_source", source["problem"]
        return
    yield from _conf_file_problems(values, source)
    values = configuration.with_file(values, source["conf"] if values["gunicorn_conf_file"] else ())
    if source["requirements_problem"]:
        yield "gunicorn_requirements", source["requirements_problem"]
    else:
        yield from _hash_problems(values, source["requirements"])
        yield from _locked_problems(values, source)
    packaged = "package" in values["gunicorn_source"]
    local = [package for package in values["gunicorn_packages"] if package.startswith(".")]
    if packaged and local:
        reason = f"a package as gunicorn_source is installed anyway, and leaves nothing that {local[0]!r} could mean"
        yield "gunicorn_packages", reason
    if "existing" in values["gunicorn_source"]:
        reason = "one installs from the source itself, and would write into it; set gunicorn_settings: {pythonpath: …}"
        for name, found in (("gunicorn_requirements", source["needs_source"]), ("gunicorn_packages", local)):
            if found:
                yield name, reason
    if not (packaged or local or source["needs_source"] or _leads_elsewhere(values, source)):
        yield from (("gunicorn_wsgi_app", reason) for reason in wsgi_app.source_problems(values, source))
    pinned = requirements.pinned_version([*source["requirements"], *values["gunicorn_packages"]], "gunicorn")
    if pinned is not None and pinned != values["gunicorn_version"]:
        other_way = "" if is_true(values["gunicorn_require_hashes"]) else "take that line out or "
        reason = f"the requirements pin gunicorn=={pinned}; {other_way}set gunicorn_version to it"
        yield "gunicorn_version", reason


def _conf_file_problems(values: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what can't work in a configuration file of the source, all of it line by line."""
    name, found = "gunicorn_conf_file", source["conf"]
    if not values[name]:
        return
    if source["conf_problem"]:
        yield name, source["conf_problem"]
        return
    reasons = list(configuration.file_problems(found, values))
    for variable, reason in _log_problems(configuration.with_file(values, found)):
        if variable == "gunicorn_settings":
            reasons.append(configuration.at_line(reason, found))
    yield from ((name, reason) for reason in dict.fromkeys(reasons))


def _leads_elsewhere(values: Mapping[str, Any], source: Mapping[str, Any]) -> bool:
    """Tell whether the configuration file may have Python look for modules in other places."""
    return bool(values["gunicorn_conf_file"]) and any(each["name"] in ("pythonpath", "sys") for each in source["conf"])


def _hash_problems(values: Mapping[str, Any], wanted: list[str]) -> Iterator[Problem]:
    """With hashes, pip takes nothing without one: Gunicorn has to stand in the file, beside the rest."""
    name = "gunicorn_require_hashes"
    how = "write the file with `uv pip compile --generate-hashes` or `pip-compile --generate-hashes`"
    reasons: list[str] = []
    if is_true(values[name]) and "package" in values["gunicorn_source"]:
        reasons.append(
            "a package as gunicorn_source has no requirements file with hashes: use directory, git or archive"
        )
    elif not is_true(values[name]):
        if values["gunicorn_installer"] == "pip" and any("--hash=" in line for line in wanted):
            reasons.append("the requirements have hashes, and with one of them pip wants all: set it to true")
    else:
        version = values["gunicorn_version"]
        if not requirements.is_hashed(wanted, "gunicorn"):
            line = f"gunicorn=={version} --hash=sha256:…"
            reasons.append(f"the requirements have no line `{line}`: add gunicorn=={version} to them, and {how}")
        reasons += [
            f"gunicorn_settings need {extra} with a hash in the requirements: add it, and {how}"
            for extra in settings.distributions(values["gunicorn_settings"])
            if not requirements.is_hashed(wanted, extra)
        ]
        if bare := requirements.without_hash(wanted):
            more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
            reasons.append(f"the requirements have no hash for {bare[0]}{more}: {how}")
        if values["gunicorn_packages"]:
            reasons.append("gunicorn_packages have no hashes: move them into the requirements, and leave it empty")
    yield from ((name, reason) for reason in reasons)


def _locked_problems(values: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[Problem]:
    """Gunicorn, and what its settings need, have to stand in a pylock.toml."""
    needed = ["gunicorn", *settings.distributions(values["gunicorn_settings"])] if source["locked"] else []
    for name in needed:
        if not requirements.pinned_version(source["requirements"], name):
            wanted = f"{name}=={values['gunicorn_version']}" if name == "gunicorn" else name
            reason = (
                f"nothing is installed beside it, and it lacks {name}: add {wanted} to what is locked, and lock again"
            )
            yield "gunicorn_requirements", reason


def _index_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What only the URLs of all indexes together show; each of them is known to be well-formed."""
    name = "gunicorn_extra_index_urls"
    try:
        index.netrc(index.parse(url) for url in (values["gunicorn_index_url"], *values[name]) if url)
    except ValueError as problem:
        reason = f"{problem}, and pip is given one user and password for each host: use the same, or another host name"
        yield name, reason


def _lock_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Files that only uv reads, and lock files, which hold everything that there is to install."""
    name = "gunicorn_requirements"
    paths = [values[name]] if _is_text(values[name]) else values[name]
    for path in paths:
        if lock_files.needs_uv(path) and values["gunicorn_installer"] != "uv":
            yield name, f"pip doesn't install from {path}; set gunicorn_installer: uv"
        elif lock_files.is_lock(path) and len(paths) > 1:
            yield name, f"{path} is a lock file, which stands alone"
        elif lock_files.is_pylock(path):
            yield from _pylock_problems(values, path)


def _pylock_problems(values: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """What can't go with a pylock.toml, beside which uv installs nothing, and from the places that it names."""
    if values["gunicorn_packages"]:
        yield "gunicorn_packages", f"nothing is installed beside {path}: lock them too, and leave it empty"
    if values["gunicorn_wheelhouse"]:
        reason = f"{path} names the places of its files, and uv asks those: use uv.lock or a requirements file"
        yield "gunicorn_wheelhouse", reason


def _wheelhouse_problems(values: Mapping[str, Any], directory: str, uv: str) -> Iterator[Problem]:
    """Look into the wheelhouse on the controller."""
    name = "gunicorn_wheelhouse"
    if not values[name]:
        return
    reasons = [
        f"{other} is set too, and a wheelhouse replaces every index: drop one of the two"
        for other in ("gunicorn_index_url", "gunicorn_extra_index_urls")
        if values[other]
    ]
    try:
        files = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        reasons.append(f"{directory} is not a directory on the controller")
    except OSError as problem:
        reasons.append(str(problem))
    else:
        reasons += _wheels_missing(directory, files, uv if values["gunicorn_installer"] == "uv" else "")
    yield from ((name, reason) for reason in reasons)


def _wheels_missing(directory: str, files: list[str], uv: str) -> Iterator[str]:
    how = "`pip wheel --wheel-dir DIRECTORY gunicorn -r requirements.txt` fills it"
    if not any(file.endswith(".whl") for file in files):
        yield f"{directory} holds no wheel; {how}"
    elif not any(file.startswith("gunicorn-") for file in files):
        yield f"{directory} holds no wheel of gunicorn; {how}"
    elif uv and not any(file.startswith(f"{uv}-") for file in files):
        wanted = uv.replace("-", "==")
        how = f"`pip download --dest DIRECTORY --only-binary :all: {wanted}` brings it, or set gunicorn_installer: pip"
        yield f"{directory} holds no wheel of {wanted}, which installs the others; {how}"
