"""The check of the role's variables: what it refuses, and how it says so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.pyweb.deploy.plugins.plugin_utils import settings, validation
from ansible_collections.pyweb.deploy.plugins.plugin_utils.sources import make_source
from ansible_collections.pyweb.deploy.plugins.plugin_utils.validation import (
    VARIABLES,
    checked_alone,
    problems,
    source_problems,
)

HIDDEN = "s3cret-value"
SHA256 = "sha256:" + "0" * 64
MAY_BE_SECRET = {
    *("gunicorn_environment", "gunicorn_secrets", "gunicorn_index_url", "gunicorn_extra_index_urls"),
    "gunicorn_conf_extra",
}


@pytest.fixture
def values(role: Path) -> dict[str, Any]:
    """The defaults and a source: nothing is wrong with them."""
    found: dict[str, Any] = yaml.safe_load((role / "defaults/main.yml").read_text())
    found["gunicorn_source"] = {"directory": "/srv/shop"}
    return found


def test_nothing_wrong(values: dict[str, Any]) -> None:
    assert problems(values) == []


BAD: dict[str, list[tuple[Any, str]]] = {
    "gunicorn_name": [
        (None, "can't name"),
        (7, "can't name"),
        ("", "can't name"),
        ("Shop", "can't name"),
        ("1shop", "can't name"),
        ("shop app", "can't name"),
        ("shop.app", "can't name"),
        ("../shop", "can't name"),
        ("shop\n", "can't name"),
        ("a" * 26, "can't name"),
        ("shop-blue", "endings"),
        ("shop-check", "endings"),
    ],
    "gunicorn_state": [("", "none of"), ("running", "none of"), (True, "none of"), (["present"], "none of")],
    "gunicorn_source": [
        ({}, "nowhere"),
        (None, "not a dictionary"),
        ("/srv/shop", "not a dictionary"),
        ({"directory": ""}, "directory: '' is not a path"),
        ({"directory": "  "}, "is not a path"),
        ({"directory": ["/srv"]}, "is not a path"),
        ({"directry": "/srv/shop"}, "unknown key 'directry'; did you mean 'directory'?"),
        ({"directory": "/srv/shop", "exlude": []}, "unknown key 'exlude'; did you mean 'exclude'? It accepts "),
        ({"directory": "/srv/shop", "exclude": "tests"}, "exclude: it is not a list"),
        ({"directory": "/srv/shop", "exclude": [1]}, "exclude: it is not a list"),
        ({"directory": "/srv/shop", "excludes": []}, "did you mean 'exclude'?"),
        ({"directory": "/srv/shop", "git": "https://git.example/shop.git"}, "comes from more than once"),
        ({"directory": "/srv/shop", "version": "main"}, "version goes with git, not with directory"),
        (
            {"package": "shop", "exclude": ["tests"]},
            "exclude goes with directory or git or archive or existing, not with package",
        ),
        ({"existing": "/srv/shop", "checksum": "sha256:" + "0" * 64}, "checksum goes with archive, not with existing"),
        ({"git": ""}, "git: '' is not the URL of a repository"),
        ({"git": "--upload-pack=id"}, "is not the URL of a repository"),
        ({"git": "https://git.example/shop.git x"}, "is not the URL of a repository"),
        ({"git": f"https://me:{HIDDEN}@git.example/shop.git"}, "git: the URL holds credentials"),
        ({"git": f"https://{HIDDEN}@git.example/shop.git"}, "git: the URL holds credentials"),
        ({"git": f"ssh://git:{HIDDEN}@git.example/shop.git"}, "git: the URL holds credentials"),
        ({"git": f"https://:{HIDDEN}@git.example/shop.git"}, "git: the URL holds credentials"),
        ({"git": "https://git.example/shop.git", "version": 1.2}, "version: 1.2 is not a string; put it in quotes"),
        ({"git": "https://git.example/shop.git", "version": "--help"}, "'--help' is not a branch, a tag or a commit"),
        ({"git": "https://git.example/shop.git", "version": ""}, "'' is not a branch, a tag or a commit"),
        ({"git": "https://git.example/shop.git", "subdirectory": "../shop"}, "'../shop' is not a path inside"),
        ({"git": "https://git.example/shop.git", "subdirectory": "/shop"}, "'/shop' is not a path inside"),
        ({"git": "https://git.example/shop.git", "key_file": ""}, "key_file: '' is not a path"),
        ({"git": "https://git.example/shop.git", "submodules": "perhaps"}, "submodules: it is neither true nor false"),
        ({"archive": "https://files.example/shop.tar.gz"}, "a checksum is missing"),
        ({"archive": "ftp://files.example/shop.tar.gz", "checksum": SHA256}, "begins neither with https:// nor"),
        (
            {"archive": f"https://me:{HIDDEN}@files.example/shop.tar.gz", "checksum": SHA256},
            "the URL holds credentials",
        ),
        ({"archive": "shop.zip", "checksum": "0" * 64}, "doesn't name its algorithm"),
        ({"archive": "shop.zip", "checksum": "md5:" + "0" * 32}, "'md5' is none of sha256, sha384, sha512"),
        ({"archive": "shop.zip", "checksum": "sha256:" + "0" * 63}, "not the 64 hexadecimal digits of a sha256"),
        ({"archive": "shop.zip", "checksum": "sha512:" + "0" * 64}, "not the 128 hexadecimal digits of a sha512"),
        ({"archive": "shop.zip", "checksum": 7}, "checksum: 7 doesn't name its algorithm"),
        ({"package": "shop == 1.2; python_version > '3'"}, "is neither a package, with or without a version, nor a"),
        ({"package": "shop @ https://files.example/shop.whl#x"}, "is neither a package, with or without a version"),
        ({"package": "-r requirements.txt"}, "is neither a package, with or without a version"),
        ({"package": f"git+https://me:{HIDDEN}@git.example/shop"}, "is neither a package, with or without a version"),
        ({"package": f"https://me:{HIDDEN}@files.example/shop.whl"}, "is neither a package, with or without a version"),
        ({"archive": f"ftp://me:{HIDDEN}@files.example/shop.zip", "checksum": SHA256}, "begins neither with https://"),
        ({"git": f"https://me:{HIDDEN}@git.example/shop x"}, "is not the URL of a repository"),
        ({"existing": "/srv/50%off"}, "is not an absolute path on the host"),
        ({"existing": "/srv/shop\\"}, "is not an absolute path on the host"),
        ({"package": ["shop"]}, "is neither a package, with or without a version"),
        ({"existing": "srv/shop"}, "existing: 'srv/shop' is not an absolute path on the host"),
        ({"existing": "/srv/../etc"}, "is not an absolute path on the host"),
        ({"existing": "/"}, "is not an absolute path on the host"),
        ({"existing": "/srv/shop", "marker": "/etc/version"}, "marker: '/etc/version' is not a path inside"),
    ],
    "gunicorn_wsgi_app": [
        ("", "MODULE:CALLABLE"),
        (None, "MODULE:CALLABLE"),
        (["wsgi"], "MODULE:CALLABLE"),
        ("wsgi:", "MODULE:CALLABLE"),
        (":app", "MODULE:CALLABLE"),
        ("wsgi app", "MODULE:CALLABLE"),
        ("shop-main:app", "MODULE:CALLABLE"),
        ("shop/main:app", "MODULE:CALLABLE"),
        ("wsgi:app\n", "MODULE:CALLABLE"),
        ("wsgi:create_app(", "MODULE:CALLABLE"),
        ("wsgi:create_app(config)", "after the colon Gunicorn takes a name, or a call of it with plain values"),
    ],
    "gunicorn_requirements": [
        (None, "neither a path nor a list of paths"),
        (7, "neither a path nor a list of paths"),
        ([7], "neither a path nor a list of paths"),
        ([""], "neither a path nor a list of paths"),
        ({"requirements.txt": 1}, "neither a path nor a list of paths"),
        (["requirements.txt", "/etc/passwd"], "inside the source"),
        ("/etc/passwd", "inside the source"),
        ("../requirements.txt", "inside the source"),
        ("a/../../b.txt", "inside the source"),
        ("a\nb", "inside the source"),
    ],
    "gunicorn_packages": [
        ("redis", "list of non-empty strings"),
        (None, "list of non-empty strings"),
        ([""], "list of non-empty strings"),
        ([1], "list of non-empty strings"),
        ({"redis": "1"}, "list of non-empty strings"),
    ],
    "gunicorn_installer": [("poetry", "it is none of pip, uv"), ("", "none of"), (None, "none of")],
    "gunicorn_require_hashes": [("sha256", "neither true nor false"), ("", "neither"), ([], "neither")],
    "gunicorn_index_url": [
        (None, "not a string"),
        ([f"https://joe:{HIDDEN}@packages.example/simple"], "not a string"),
        (f"joe:{HIDDEN}@packages.example/simple", "doesn't begin with https"),
        (f"https://joe:{HIDDEN}/@packages.example/simple", "write / as %2F"),
        (f"http://joe:{HIDDEN}@packages.example/simple", "use https://"),
    ],
    "gunicorn_extra_index_urls": [
        (f"https://joe:{HIDDEN}@packages.example/simple", "not a list of strings"),
        (None, "not a list"),
        ([{"url": HIDDEN}], "not a list of strings"),
        ([""], "doesn't begin with https"),
        ([f"https://a.example/{HIDDEN}", f"https://joe:{HIDDEN}%5C@b.example/simple"], "in URL 2: its password holds"),
    ],
    "gunicorn_wheelhouse": [(None, "not a string"), (["wheels"], "not a string"), (True, "not a string")],
    "gunicorn_system_packages": [
        ("gcc", "not a list"),
        (None, "not a list"),
        ([1], "1 is not the name"),
        (["GCC"], "'GCC' is not the name"),
        (["gcc=4:12.2"], "'gcc=4:12.2' is not the name"),
        (["gcc:arm64"], "'gcc:arm64' is not the name"),
        (["gcc", "-y"], "'-y' is not the name"),
        (["libpq dev"], "'libpq dev' is not the name"),
        (["/tmp/a.deb"], "is not the name"),
    ],
    "gunicorn_version": [
        (27.0, "not the version"),
        (27, "not the version"),
        ("", "not the version"),
        ("latest", "not the version"),
        (">=27.0.1", "not the version"),
        ("27.0.1\n", "not the version"),
        ("26.0.0", "older than 27.0.1"),
        ("27.0", "older than 27.0.1"),
        ("27.0.0", "older than 27.0.1"),
        ("9.9.9", "older than 27.0.1"),
        ("27.0rc2", "older than 27.0.1"),
        ("27.0.1rc1", "older than 27.0.1"),
    ],
    "gunicorn_python": [
        ("", "neither a command"),
        (3.12, "neither a command"),
        ("python3 -O", "neither a command"),
        ("bin/python3", "neither a command"),
        ("/usr/bin/", "neither a command"),
        ("python3;id", "neither a command"),
    ],
    "gunicorn_bind": [
        ("0.0.0.0:8000", "not a list"),
        ([], "not a list with at least one"),
        (None, "not a list"),
        ([8000], "8000: it is neither"),
        (["0.0.0.0:80000"], "port 80000 is out of range: 1 to 65535"),
        (["localhost:8000"], "resolves no names"),
        (["localhost"], "it is neither IP:PORT"),
        (["0.0.0.0:8000", "0.0.0.0:8000"], "can't both"),
        (["0.0.0.0:8000", "127.0.0.1:8000"], "can't both"),
        (["[::1]:8000", "[::]:8000"], "can't both"),
        (["unix:/run/a.sock", "unix:/run/a.sock"], "can't both"),
    ],
    "gunicorn_settings": [
        (None, "not a dictionary"),
        ("workers=4", "not a dictionary"),
        (["workers"], "not a dictionary"),
        ({1: 2}, "not all strings"),
        ({"bind": "0.0.0.0:80"}, "set gunicorn_bind"),
        ({"daemon": True}, "systemd runs the service"),
        ({"Workers": 4}, "'Workers' is not the name of a Gunicorn setting; did you mean 'workers'?"),
        ({"worker-class": "sync"}, "not the name of a Gunicorn setting; did you mean 'worker_class'?"),
        ({"--access-logfile": "-"}, "did you mean 'access_logfile'?"),
        ({"class": "sync"}, "'class' is not the name of a Gunicorn setting. It accepts"),
        ({"os": 1}, "'os' is not the name of a Gunicorn setting. It accepts"),
        ({"é": 1}, "'é' is not the name of a Gunicorn setting. It accepts"),
        ({"worker_class": "eventlet"}, "worker_class: Gunicorn has no 'eventlet' any more; use gevent."),
        ({"worker_class": "egg:gunicorn#eventlet"}, "use gevent."),
        ({"worker_class": "gunicorn.workers.geventlet.EventletWorker"}, "use gevent."),
        ({"worker_class": "gaiohttp"}, "Gunicorn has no 'gaiohttp' any more; use asgi, or aiohttp.GunicornWebWorker"),
        ({"worker_class": "gunicorn.workers.gaiohttp.AiohttpWorker"}, "use asgi"),
        ({"worker_class": "gunicorn.workers._gaiohttp.AiohttpWorker"}, "use asgi"),
        ({"worker_class": "sync", "threads": 2}, "worker_class: 'sync' has no threads"),
        ({"worker_class": "sync", "threads": "0x4"}, "worker_class: 'sync' has no threads"),
        ({"worker_class": "gunicorn.workers.sync.SyncWorker", "threads": 4}, "'sync' has no threads"),
        ({"workers": 0}, "workers: with 0 of them nothing answers"),
        ({"workers": "0"}, "workers: with 0 of them nothing answers"),
        ({"workers": False}, "workers: with 0 of them nothing answers"),
        ({"threads": 0}, "threads: with 0 of them nothing answers"),
        ({"protocol": "uwsgi"}, "protocol: 'uwsgi' can't pass the health check"),
        ({"http_protocols": "h2,h1"}, "http_protocols: without TLS"),
        ({"http_protocols": "H2", "http2_cleartext": False}, "http_protocols: without TLS"),
        ({"certfile": "shop.pem"}, "certfile: 'shop.pem' is not the absolute path of a file on the host"),
        ({"certfile": "/a.pem", "keyfile": "/100%/a.key"}, "keyfile: '/100%/a.key' is not the absolute path"),
        ({"certfile": ["/a.pem"]}, "is not the absolute path"),
        ({"keyfile": "/a.key"}, "keyfile: without certfile Gunicorn serves plain HTTP; example: {certfile: /etc/"),
        ({"certfile": "", "ciphers": "ECDHE"}, "ciphers: without certfile Gunicorn serves plain HTTP"),
        ({"ssl_context": "shop.tls.context"}, "ssl_context: without certfile"),
        ({"certfile": "/a.pem", "cert_reqs": 2}, "cert_reqs: with 2 the health check can't connect"),
        ({"certfile": "/a.pem", "cert_reqs": "2", "ca_certs": "/b.pem"}, "cert_reqs: with 2 the health check"),
        ({"certfile": "/a.pem", "cert_reqs": 1}, "cert_reqs: without ca_certs, no client's certificate would be"),
        ({"certfile": "/a.pem", "ssl_version": "TLSv1_2"}, "'ssl_version' is not yours to set: define ssl_context"),
        ({"certfile": "/a.pem", "http_protocols": "h2,h1", "worker_class": "sync"}, "class sync can't speak h2"),
        ({"http_protocols": "h2", "http2_cleartext": "prior-knowledge"}, "'prior-knowledge' alone can't pass"),
        ({"http_protocols": "h2", "http2_cleartext": True}, "'prior-knowledge' alone can't pass"),
        (
            {"http_protocols": "h2", "http2_cleartext": "both", "worker_class": "sync"},
            "http_protocols: the worker class sync can't speak h2",
        ),
        (
            {"http_protocols": "h2", "http2_cleartext": "both", "worker_class": "tornado"},
            "class tornado can't speak h2",
        ),
        ({"raw_env": ["A=1", "NOTIFY_SOCKET=/x"]}, "raw_env: NOTIFY_SOCKET is not yours to set: systemd sets it"),
        ({"raw_env": "GUNICORN_CMD_ARGS=--daemon"}, "raw_env: GUNICORN_CMD_ARGS is not yours to set"),
        ({"timeout": float("nan")}, "no Python literal"),
        ({"raw_env": [{"a": float("inf")}]}, "no Python literal"),
    ],
    "gunicorn_conf_file": [
        (None, "is not a path inside"),
        ([], "is not a path inside"),
        ("/srv/gunicorn.conf.py", "is not a path inside"),
        ("a/../../b", "is not a path inside"),
        ("deploy/", "is not a path inside"),
    ],
    "gunicorn_conf_extra": [(None, "not a string"), (["import os"], "not a string"), ({}, "not a string")],
    "gunicorn_logs": [(None, "none of journal, files"), ("file", "none of"), (True, "none of"), (["files"], "none of")],
    "gunicorn_access_log": [(None, "none of text, json"), ("JSON", "none of"), ({"a": "h"}, "none of")],
    "gunicorn_environment": [
        (None, "not a dictionary"),
        (HIDDEN, "not a dictionary"),
        ([{"TOKEN": HIDDEN}], "not a dictionary"),
        ({"1TOKEN": HIDDEN}, "'1TOKEN' is not a name"),
        ({"TO KEN": HIDDEN}, "'TO KEN' is not a name"),
        ({"TOKEN": [HIDDEN]}, "the value of TOKEN is neither"),
        ({"TOKEN": None}, "the value of TOKEN is neither"),
        ({"TOKEN": {"a": HIDDEN}}, "the value of TOKEN is neither"),
        ({"TOKEN": HIDDEN + "\0"}, "the value of TOKEN holds a NUL"),
        ({"GUNICORN_CMD_ARGS": HIDDEN}, "GUNICORN_CMD_ARGS is not yours to set"),
        ({"CREDENTIALS_DIRECTORY": HIDDEN}, "CREDENTIALS_DIRECTORY is not yours to set: systemd sets it"),
        ({"LISTEN_FDS": HIDDEN}, "LISTEN_FDS is not yours to set"),
        ({7: HIDDEN}, "not all strings"),
    ],
    "gunicorn_secrets": [
        (None, "not a dictionary"),
        (HIDDEN, "not a dictionary"),
        ([{"TOKEN": HIDDEN}], "not a dictionary"),
        ({f"TOKEN:{HIDDEN}": None}, "name 1 is not one for an environment variable of at most 64 characters"),
        ({"A": "x", "TO-KEN": HIDDEN}, "name 2 is not one"),
        ({"T" * 65: HIDDEN}, "name 1 is not one"),
        ({"1TOKEN": HIDDEN}, "name 1 is not one"),
        ({"TOKEN\n": HIDDEN}, "name 1 is not one"),
        ({7: HIDDEN}, "name 1 is not one"),
        ({"certfile": HIDDEN}, "certfile is not yours to set: gunicorn_settings has the setting of that name"),
        ({"CREDENTIALS_DIRECTORY": HIDDEN}, "CREDENTIALS_DIRECTORY is not yours to set: systemd sets it"),
        ({"TOKEN": [HIDDEN]}, "the value of TOKEN is not a string; put it in quotes"),
        ({"TOKEN": {"a": HIDDEN}}, "the value of TOKEN is not a string"),
        ({"TOKEN": None}, "the value of TOKEN is not a string"),
        ({"TOKEN": 83}, "the value of TOKEN is not a string"),
        ({"TOKEN": ""}, "the value of TOKEN is empty"),
        ({"TOKEN": HIDDEN + "\0"}, "the value of TOKEN holds a NUL"),
        ({"TOKEN": HIDDEN + "\ud800"}, "the value of TOKEN is not valid Unicode"),
        ({"TOKEN": "ä" * 65533}, "the value of TOKEN has 131066 bytes, more than 131065"),
        (dict.fromkeys("ABCDE", "x" * 131000), "all values together have 655000 bytes, more than 524288"),
    ],
    "gunicorn_secrets_environment": [("", "neither"), ("maybe", "neither"), (["TOKEN"], "neither"), (None, "neither")],
    "gunicorn_no_log": [("", "neither"), ("off, please", "neither"), (None, "neither")],
    "gunicorn_health": [
        (None, "not a dictionary"),
        ("/healthz", "not a dictionary"),
        ({"url": "/healthz"}, "unknown key 'url'"),
        ({"timout": 5}, "did you mean 'timeout'?"),
        ({"path": "healthz"}, "path: 'healthz'"),
        ({"path": "/a b"}, "path: '/a b'"),
        ({"path": "/\r\nHost: x"}, "path:"),
        ({"path": None}, "path: None"),
        ({"status": 200}, "status: 200"),
        ({"status": []}, "status: []"),
        ({"status": ["ok"]}, "status: ['ok']"),
        ({"status": [True]}, "status: [True]"),
        ({"status": [99]}, "status: [99]"),
        ({"timeout": 0}, "timeout: 0"),
        ({"timeout": 3601}, "timeout: 3601"),
        ({"timeout": "30s"}, "timeout: '30s'"),
        ({"timeout": True}, "timeout: True"),
        ({"timeout": -1}, "timeout: -1"),
        ({"watch": -1}, "watch: -1"),
        ({"watch": 601}, "watch: 601"),
        ({"watch": "3s"}, "watch: '3s'"),
        ({"watch": 0.5}, "watch: 0.5"),
        ({"watch": True}, "watch: True"),
        ({"watch": None}, "watch: None"),
        ({"wach": 3}, "did you mean 'watch'?"),
        ({"expect": 1}, "expect: 1"),
        ({"host": ["a"]}, "host: ['a']"),
        ({"host": "a\r\nb"}, "is not a host name"),
    ],
    "gunicorn_before_activate": [
        ("flask db upgrade", "list of non-empty strings"),
        (None, "list of non-empty strings"),
        ([""], "list of non-empty strings"),
        (["true", " \n"], "list of non-empty strings"),
        ([["flask", "db"]], "list of non-empty strings"),
        ([True], "list of non-empty strings"),
        ({"command": "true"}, "list of non-empty strings"),
    ],
    "gunicorn_before_activate_timeout": [
        (0, "whole number of seconds"),
        (-1, "whole number of seconds"),
        (100000, "whole number of seconds"),
        (1.5, "whole number of seconds"),
        ("10m", "whole number of seconds"),
        ("", "whole number of seconds"),
        (True, "whole number of seconds"),
        (None, "whole number of seconds"),
    ],
    "gunicorn_release": [
        ("last", "neither `previous` nor the id"),
        ("Previous", "neither `previous` nor the id"),
        ("previous\n", "neither `previous` nor the id"),
        ("3fa92c1b0d4", "neither `previous` nor the id"),
        ("3fa92c1b0d4ee", "neither `previous` nor the id"),
        ("3FA92C1B0D4E", "neither `previous` nor the id"),
        ("../../../etc", "neither `previous` nor the id"),
        (None, "neither `previous` nor the id"),
        (0, "neither `previous` nor the id"),
        (True, "neither `previous` nor the id"),
        (False, "neither `previous` nor the id"),
        (["previous"], "neither `previous` nor the id"),
    ],
    "gunicorn_keep_releases": [
        (0, "whole number"),
        (-1, "whole number"),
        (1000, "whole number"),
        (2.5, "whole number"),
        ("three", "whole number"),
        ("", "whole number"),
        (True, "whole number"),
        (None, "whole number"),
    ],
    "gunicorn_serial": [
        ([], "empty list"),
        (None, "None is neither a number of hosts"),
        (0, "0 is neither a number of hosts"),
        ("all", "'all' is neither"),
        ("0%", "'0%' is neither"),
        ("101%", "'101%' is neither"),
        ([1, "1,5%"], "'1,5%' is neither"),
        ([1, [2]], "[2] is neither"),
    ],
    "gunicorn_max_fail_percentage": [
        (None, "from 0 to 100"),
        (101, "from 0 to 100"),
        (-1, "from 0 to 100"),
        ("20%", "from 0 to 100"),
        (2.5, "from 0 to 100"),
    ],
    "gunicorn_drain_tasks": [(None, "not a string"), (["drain.yml"], "not a string")],
    "gunicorn_enroll_tasks": [(None, "not a string"), (False, "not a string")],
    "gunicorn_user": [
        (None, "not a user name"),
        (1000, "not a user name"),
        ("Web", "not a user name"),
        ("web user", "not a user name"),
        ("a" * 33, "not a user name"),
        ("root", "would have the host"),
    ],
    "gunicorn_firewall": [("maybe", "neither true nor false"), (None, "neither"), ("", "neither"), (2, "neither")],
    "gunicorn_firewall_sources": [
        ("192.0.2.0/24", "not a list"),
        (None, "not a list"),
        (["office"], "'office' is neither an IP address nor a network; ufw resolves no names"),
        (["192.0.2.1/24"], "'192.0.2.1/24' is an address with the length of a network; did you mean 192.0.2.0/24?"),
        (["2001:db8::1/32"], "did you mean 2001:db8::/32?"),
        (["192.0.2.0/33"], "'192.0.2.0/33' is neither"),
        (["fe80::1%eth0"], "set gunicorn_firewall_interface"),
        (["192.0.2.1:443"], "neither"),
        ([8000], "neither"),
        ([{}], "neither"),
        (["0.0.0.0/0"], "leave the list empty"),
        (["::/0"], "leave the list empty"),
    ],
    "gunicorn_firewall_interface": [
        (None, "can't be the name"),
        ("eth0:1", "can't be the name"),
        ("eth0 on", "can't be the name"),
        ("a" * 16, "can't be the name"),
        (["eth0"], "can't be the name"),
    ],
    "gunicorn_firewall_limit": [("maybe", "neither"), (6, "neither")],
    "gunicorn_firewall_enable": [("maybe", "neither"), ([], "neither")],
    "gunicorn_hardening": [("strict", "neither"), ({}, "neither")],
    "gunicorn_service_options": [
        (None, "not a dictionary"),
        (["MemoryMax=1G"], "not a dictionary"),
        ({"User": "root"}, "set gunicorn_user"),
        ({"ExecReload": "/bin/true"}, "ExecReload is not yours to set"),
        ({"memorymax": "1G"}, "not the name of a directive"),
        ({"Memory Max": "1G"}, "not the name of a directive"),
        ({"MemoryMax": None}, "MemoryMax: None"),
        ({"MemoryMax": "1G\nUser=root"}, "not one line"),
        ({"MemoryMax": "1G\r"}, "not one line"),
        ({"MemoryMax": "1G\\"}, "not one line"),
        ({"ReadWritePaths": ["/a", "b\nc"]}, "not one line"),
        ({"ReadWritePaths": [["/a"]]}, "not one line"),
        ({1: "x"}, "not all strings"),
    ],
    "gunicorn_remove_data": [("maybe", "neither"), (None, "neither")],
    "gunicorn_remove_packages": [("maybe", "neither"), (None, "neither")],
    "gunicorn_force": [("maybe", "neither"), (None, "neither")],
}


def only(found: list[str], name: str, got: Any = None) -> str:
    """The one message, which is about that variable, and shows what that got unless it may be secret."""
    assert len(found) == 1, f"{name}: {got!r} gives {found}"
    (message,) = found
    assert message.startswith(
        f"{name}: " if name in MAY_BE_SECRET else f"{name}: got {'' if got is None else repr(got)}"
    )
    assert message.endswith(f"It accepts {VARIABLES[name].accepts}. Example: {VARIABLES[name].example}")
    return message


def test_every_variable_has_bad_values() -> None:
    assert list(BAD) == list(VARIABLES)


@pytest.mark.parametrize(
    ("name", "bad", "reason"), [(name, bad, reason) for name, cases in BAD.items() for bad, reason in cases]
)
def test_bad_values(values: dict[str, Any], name: str, bad: Any, reason: str) -> None:
    found = problems({**values, name: bad})
    assert any(reason in message for message in found), found
    for message in found:
        assert message.startswith(f"{name}: ")
        assert f"It accepts {VARIABLES[name].accepts}. " in message
        assert message.endswith(f"Example: {VARIABLES[name].example}")
        if HIDDEN in repr(bad) or name in MAY_BE_SECRET:
            assert HIDDEN not in message
        else:
            assert f"got {bad!r}: " in message


GOOD: list[tuple[str, Any]] = [
    ("gunicorn_name", "a" * 25),
    ("gunicorn_name", "shop_2-web"),
    ("gunicorn_serial", 3),
    ("gunicorn_serial", "100%"),
    ("gunicorn_serial", ["1", 5, "25%"]),
    ("gunicorn_max_fail_percentage", "20"),
    ("gunicorn_source", {"directory": "../shop", "exclude": ["tests", "*.md"]}),
    ("gunicorn_source", {"directory": "/srv/shop", "exclude": []}),
    ("gunicorn_source", {"git": "https://git.example/shop.git"}),
    ("gunicorn_source", {"git": "git@git.example:shop.git", "version": "v1.2", "key_file": "~/.ssh/deploy"}),
    ("gunicorn_source", {"git": "ssh://git@git.example:2222/shop.git", "version": "0" * 40, "submodules": False}),
    ("gunicorn_source", {"git": "/srv/git/shop.git", "subdirectory": "services/web", "exclude": ["tests"]}),
    ("gunicorn_source", {"archive": "https://files.example/shop.tar.gz", "checksum": SHA256}),
    ("gunicorn_source", {"archive": "../shop.zip"}),
    ("gunicorn_source", {"archive": "../shop.zip", "checksum": "sha512:" + "aB" * 64, "subdirectory": "web"}),
    ("gunicorn_source", {"package": "shop"}),
    ("gunicorn_source", {"package": "shop[postgres]==1.2"}),
    ("gunicorn_source", {"package": "shop >= 1.2, < 2"}),
    ("gunicorn_source", {"package": "../dist/shop-1.2-py3-none-any.whl"}),
    ("gunicorn_source", {"existing": "/srv/shop"}),
    ("gunicorn_source", {"existing": "/srv/shop/", "marker": "REVISION", "exclude": ["data"]}),
    ("gunicorn_wsgi_app", "wsgi"),
    ("gunicorn_wsgi_app", "shop.main:create_app()"),
    ("gunicorn_wsgi_app", "shop.main:create_app('it', n=1)"),
    ("gunicorn_requirements", ""),
    ("gunicorn_conf_file", ""),
    ("gunicorn_conf_file", "deploy/..gunicorn.py"),
    ("gunicorn_requirements", "requirements/..production.txt"),
    ("gunicorn_requirements", []),
    ("gunicorn_requirements", ["base.txt", "requirements/production.txt"]),
    ("gunicorn_require_hashes", "no"),
    ("gunicorn_index_url", "http://packages.example/simple"),
    ("gunicorn_index_url", "https://joe:s3cret@packages.example/simple"),
    ("gunicorn_extra_index_urls", ["https://joe:s3cret@a.example/simple", "https://jane:s3cret@b.example/simple"]),
    ("gunicorn_system_packages", ["libpq-dev", "g++", "libstdc++-12-dev", "python3.11-dev"]),
    ("gunicorn_version", "27.0.1"),
    ("gunicorn_version", "27.0.2"),
    ("gunicorn_version", "27.1rc1"),
    ("gunicorn_version", "28"),
    ("gunicorn_version", "100.0"),
    ("gunicorn_python", "/opt/python-3.13/bin/python3.13"),
    ("gunicorn_bind", ["0.0.0.0:8000", "[::]:8000"]),
    ("gunicorn_bind", ["127.0.0.1:8000", "192.0.2.5:8000"]),
    ("gunicorn_bind", ["0.0.0.0:8000", "0.0.0.0:8001"]),
    ("gunicorn_bind", ["unix:/run/a.sock", "unix:/run/b.sock"]),
    ("gunicorn_settings", {"workers": 4, "raw_env": ["A=1", "B=NOTIFY_SOCKET=1"], "proc_name": None}),
    ("gunicorn_settings", {"workers": "0x4", "threads": "2", "worker_class": None, "raw_env": None}),
    ("gunicorn_settings", {"worker_class": "sync"}),
    ("gunicorn_settings", {"worker_class": "sync", "threads": 1}),
    ("gunicorn_settings", {"worker_class": "gthread", "threads": "8", "protocol": "http", "http_protocols": "h1"}),
    ("gunicorn_settings", {"worker_class": "myeventlet.Worker", "threads": 8}),
    ("gunicorn_settings", {"http_protocols": "h2,h1", "http2_cleartext": "both", "worker_class": "asgi"}),
    ("gunicorn_settings", {"http_protocols": "h2,h1", "http2_cleartext": "upgrade"}),
    ("gunicorn_settings", {"http2_cleartext": "prior-knowledge"}),
    ("gunicorn_settings", {"dirty_workers": 2, "dirty_apps": ["shop.ml:Model"]}),
    ("gunicorn_environment", {"_A1": "x", "B": 1, "C": 0.5, "D": True, "E": ""}),
    ("gunicorn_secrets", {"_A1": "x", "KEY": 'it\'s\n"$HOME" %h \\ ü€\n', "A" * 64: "ä" * 65502, "B": "x" * 2**16}),
    ("gunicorn_secrets_environment", "yes"),
    ("gunicorn_no_log", False),
    ("gunicorn_health", {}),
    ("gunicorn_health", {"path": "/healthz?full=1", "status": [200, "204"], "timeout": "5"}),
    ("gunicorn_health", {"expect": "", "host": "a.example"}),
    ("gunicorn_health", {"timeout": 3600}),
    ("gunicorn_health", {"watch": 0}),
    ("gunicorn_health", {"watch": "600"}),
    ("gunicorn_before_activate", ["flask --app shop db upgrade", "set -u\nfor each in 1 2; do echo $each; done"]),
    ("gunicorn_before_activate_timeout", 1),
    ("gunicorn_before_activate_timeout", "99999"),
    ("gunicorn_release", "previous"),
    ("gunicorn_release", "3fa92c1b0d4e"),
    ("gunicorn_release", "123456789012"),
    ("gunicorn_release", 123456789012),
    ("gunicorn_keep_releases", "5"),
    ("gunicorn_keep_releases", 999),
    ("gunicorn_user", "www-data"),
    ("gunicorn_firewall", "no"),
    ("gunicorn_firewall", 1),
    ("gunicorn_firewall_sources", ["192.0.2.7", "192.0.2.0/24", "2001:db8::/32", "192.0.2.0/255.255.255.0", "::1"]),
    ("gunicorn_firewall_interface", "enp0s31f6"),
    ("gunicorn_firewall_interface", "eth0.100"),
    ("gunicorn_firewall_limit", "yes"),
    ("gunicorn_service_options", {"MemoryMax": "512M", "ReadWritePaths": ["", "/srv"], "Nice": 5, "PrivateTmp": False}),
]


@pytest.mark.parametrize(("name", "good"), GOOD)
def test_good_values(values: dict[str, Any], name: str, good: Any) -> None:
    assert problems({**values, name: good}) == []


@pytest.mark.parametrize("release", ["", "previous"])
def test_task_files_are_there_before_a_host_changes(values: dict[str, Any], tmp_path: Path, release: str) -> None:
    values |= {"gunicorn_drain_tasks": "drain.yml", "gunicorn_release": release}
    path = tmp_path / "drain.yml"
    found = problems(values, task_files={"gunicorn_drain_tasks": str(path)})
    assert f"{path} is not a file" in only(found, "gunicorn_drain_tasks", "drain.yml")
    path.touch()
    assert problems(values, task_files={"gunicorn_drain_tasks": str(path)}) == []


def test_one_variable_alone() -> None:
    assert checked_alone([1, "25%"], "gunicorn_serial") == ""
    assert only([checked_alone("x", "gunicorn_serial")], "gunicorn_serial", "x")


@pytest.mark.parametrize("name", VARIABLES)
def test_every_example_is_accepted(name: str) -> None:
    example = yaml.safe_load(VARIABLES[name].example)
    assert list(example) == [name]
    assert list(VARIABLES[name].check(example[name])) == []
    assert "playbook_dir" not in VARIABLES[name].example, "with pyweb.deploy.site that is inside the collection"


@pytest.mark.parametrize("setting", settings.OWNED_SETTINGS)
def test_settings_that_the_role_manages(values: dict[str, Any], setting: str) -> None:
    (message,) = problems({**values, "gunicorn_settings": {setting: "x"}})
    assert f"'{setting}' is not yours to set: {settings.OWNED_SETTINGS[setting]}" in message


def test_settings_that_gunicorn_would_not_take(values: dict[str, Any]) -> None:
    values["gunicorn_settings"] = {"wokers": 4, "timeout": -5}
    unknown, wrong = problems(values)
    assert unknown.startswith("gunicorn_settings: unknown setting 'wokers'; did you mean 'workers'? ")
    assert wrong.startswith("gunicorn_settings: timeout: got -5: ")
    assert problems({**values, "gunicorn_version": "99.0"}) == []
    assert problems({**values, "gunicorn_release": "previous"}) == [], "the record has others"


@pytest.mark.parametrize("directive", validation.OWNED_DIRECTIVES)
def test_directives_that_the_role_manages(values: dict[str, Any], directive: str) -> None:
    (message,) = problems({**values, "gunicorn_service_options": {directive: "x"}})
    assert f"{directive} is not yours to set: {validation.OWNED_DIRECTIVES[directive]}" in message


DIRTY = {"dirty_workers": 1, "dirty_apps": ["shop.ml:Model"]}


@pytest.mark.parametrize(
    ("settings", "hardening", "options", "refused"),
    [
        (DIRTY, True, {}, False),
        (DIRTY, "no", {}, True),
        (DIRTY, False, {}, True),
        (DIRTY, True, {"PrivateTmp": False}, True),
        (DIRTY, False, {"PrivateTmp": True}, False),
        ({**DIRTY, "dirty_workers": 0}, False, {}, False),
        ({**DIRTY, "dirty_apps": []}, False, {}, False),
        ({}, False, {}, False),
    ],
)
def test_dirty_workers_need_a_tmp_of_their_own(
    values: dict[str, Any], settings: Any, hardening: Any, options: Any, refused: bool
) -> None:
    values.update(gunicorn_settings=settings, gunicorn_hardening=hardening, gunicorn_service_options=options)
    found = problems(values)
    assert len(found) == refused
    assert all("dirty_workers: " in message and "{PrivateTmp: true}. It accepts" in message for message in found)


@pytest.mark.parametrize(
    ("given", "reasons"),
    [
        ({"gunicorn_settings": {"accesslog": "/srv/a.log", "errorlog": "/srv/e.log", "logconfig": "log.ini"}}, []),
        ({"gunicorn_logs": "files"}, []),
        ({"gunicorn_logs": "files", "gunicorn_settings": {"accesslog": None, "logger_class": "shop.Logger"}}, []),
        ({"gunicorn_logs": "files", "gunicorn_settings": {"accesslog": "-"}}, ["accesslog"]),
        ({"gunicorn_logs": "files", "gunicorn_settings": {"errorlog": None}}, ["errorlog"]),
        (
            {"gunicorn_logs": "files", "gunicorn_settings": {"logconfig": "a", "logconfig_dict": {"version": 1}}},
            ["logconfig", "logconfig_dict"],
        ),
        ({"gunicorn_logs": "files", "gunicorn_settings": {"logconfig_json": "a"}}, ["logconfig_json"]),
        ({"gunicorn_logs": "files", "gunicorn_settings": {"logconfig_json": None, "capture_output": True}}, []),
        ({"gunicorn_logs": "files", "gunicorn_service_options": {"LogsDirectory": "shop"}}, ["LogsDirectory"]),
        ({"gunicorn_logs": "files", "gunicorn_service_options": {"LogsDirectory": "shop gunicorn/shop"}}, []),
        ({"gunicorn_logs": "files", "gunicorn_service_options": {"LogsDirectory": ["shop", "gunicorn/shop"]}}, []),
        ({"gunicorn_access_log": "json", "gunicorn_settings": {"accesslog": "/srv/a.log"}}, []),
        ({"gunicorn_access_log": "json", "gunicorn_settings": {"access_log_format": "%(h)s"}}, ["access_log_format"]),
        (
            {"gunicorn_access_log": "json", "gunicorn_settings": {"logger_class": "a.B", "logconfig": "a"}},
            ["logger_class", "logconfig"],
        ),
        ({"gunicorn_access_log": "json", "gunicorn_settings": {"accesslog": None}}, ["accesslog"]),
    ],
)
def test_settings_that_decide_on_the_logs_too(
    values: dict[str, Any], given: dict[str, Any], reasons: list[str]
) -> None:
    values.update(gunicorn_name="shop", **given)
    found = problems(values)
    assert len(found) == bool(reasons)
    for message in found:
        assert message.startswith(("gunicorn_settings: got ", "gunicorn_service_options: got "))
        assert [name for name in given.get("gunicorn_settings", reasons) if f" {name}: " in message] == reasons
        assert "or set gunicorn_logs: journal" in message or "or set gunicorn_access_log: text" in message


def test_all_problems_at_once(values: dict[str, Any]) -> None:
    values.update(gunicorn_name="Shop", gunicorn_bind=["x", "0.0.0.0:0"], gunicorn_health={"path": "x", "timeout": 0})
    found = problems(values, names=[*values, "gunicorn_evironment"])
    assert [message.split(":")[0] for message in found] == [
        "gunicorn_name",
        "gunicorn_bind",
        "gunicorn_health",
        "gunicorn_evironment",
    ]


def test_one_message_has_all_that_is_wrong_with_a_variable(values: dict[str, Any]) -> None:
    (message,) = problems({**values, "gunicorn_health": {"pth": "/", "timeout": 0}})
    assert message == (
        "gunicorn_health: got {'pth': '/', 'timeout': 0}: several things are wrong:\n"
        "  - unknown key 'pth'; did you mean 'path'?\n"
        "  - timeout: 0 is not a whole number of seconds from 1 to 3600\n"
        f"  It accepts {VARIABLES['gunicorn_health'].accepts}. Example: {VARIABLES['gunicorn_health'].example}"
    )
    (message,) = problems({**values, "gunicorn_environment": {"1": HIDDEN, "LISTEN_FDS": HIDDEN}})
    assert message.startswith("gunicorn_environment: several things are wrong:\n  - '1' is not a name")
    assert HIDDEN not in message


def test_a_secret_that_is_an_environment_variable_already(values: dict[str, Any]) -> None:
    both = {"gunicorn_environment": {"LOG": "x", "TOKEN": "y"}, "gunicorn_secrets": {"TOKEN": HIDDEN, "KEY": HIDDEN}}
    assert problems({**values, **both}) == [], "a file and a variable"
    (message,) = problems({**values, **both, "gunicorn_secrets_environment": "yes"})
    assert message.startswith("gunicorn_secrets: gunicorn_environment has TOKEN too, and one would win")
    assert HIDDEN not in message


def test_a_problem_hides_no_other(values: dict[str, Any], tmp_path: Path) -> None:
    """What compares variables runs where these are well-formed, whatever is wrong with the others."""
    values.update(gunicorn_health={"timeout": 0}, gunicorn_wheelhouse="wheels", gunicorn_hardening=False)
    values.update(gunicorn_settings=DIRTY, gunicorn_bind=["0.0.0.0:8000"])
    found = problems(values, wheelhouse=str(tmp_path / "nowhere"), earlier={"shop": values})
    names = ["gunicorn_health", "gunicorn_settings", "gunicorn_wheelhouse", "gunicorn_bind"]
    assert [message.split(":")[0] for message in found] == names
    for name in names[1:]:
        assert problems({**values, name: 7}, wheelhouse="/nowhere", earlier={"shop": values})


WRONG: dict[type, tuple[Any, ...]] = {
    str: (None, 7.5, ["text"], {"a": 1}),
    bool: (None, "", "maybe", [], {}),
    int: (None, "", "many", [], {}, True, 1.5),
    list: (None, "text", 7, {"a": 1}),
    dict: (None, "text", 7, ["text"]),
}
"""By the type of its default, what no variable accepts."""

ALSO = {("gunicorn_requirements", str(["text"])), ("gunicorn_serial", "7")}
"""What a variable accepts besides: a list of files, one size for all batches."""

MAY_BE_EMPTY = {
    *("gunicorn_requirements", "gunicorn_packages", "gunicorn_index_url", "gunicorn_extra_index_urls"),
    *("gunicorn_wheelhouse", "gunicorn_system_packages", "gunicorn_settings", "gunicorn_conf_extra"),
    "gunicorn_conf_file",
    *("gunicorn_environment", "gunicorn_health", "gunicorn_before_activate", "gunicorn_release", "gunicorn_user"),
    *("gunicorn_firewall_sources", "gunicorn_firewall_interface", "gunicorn_service_options", "gunicorn_secrets"),
    *("gunicorn_drain_tasks", "gunicorn_enroll_tasks"),
}


def test_no_variable_takes_another_type_or_nothing(role: Path, values: dict[str, Any]) -> None:
    """Whatever variables the role has, and whatever is added."""
    options = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert len(options) > 25
    for name, option in options.items():
        kind = type(option["default"])
        wrong = [bad for bad in WRONG[kind] if (name, str(bad)) not in ALSO]
        for bad in wrong if name in MAY_BE_EMPTY else [*wrong, kind()] if kind in (str, list, dict) else wrong:
            message = only(problems({**values, name: bad}), name, bad)
            assert ". It accepts " in message.replace("\n ", "."), message


def test_what_may_be_empty(values: dict[str, Any]) -> None:
    empty = {name: type(values[name])() for name in MAY_BE_EMPTY}
    assert problems({**values, **empty}) == []


COUNT_FOR_GOING_BACK = {
    *("gunicorn_name", "gunicorn_state", "gunicorn_release"),
    *("gunicorn_serial", "gunicorn_max_fail_percentage", "gunicorn_drain_tasks", "gunicorn_enroll_tasks"),
}


@pytest.mark.parametrize("release", ["previous", "3fa92c1b0d4e"])
@pytest.mark.parametrize("name", VARIABLES)
def test_what_does_not_count_for_going_back_is_not_checked(values: dict[str, Any], name: str, release: str) -> None:
    values["gunicorn_release"] = release
    (bad, _reason), *_more = BAD[name]
    found = problems({**values, name: bad}, "/nowhere")
    assert [message.split(":")[0] for message in found] == ([name] if name in COUNT_FOR_GOING_BACK else [])


COUNT_FOR_REMOVAL = {
    "gunicorn_name",
    "gunicorn_state",
    "gunicorn_remove_data",
    "gunicorn_remove_packages",
    "gunicorn_serial",
    "gunicorn_max_fail_percentage",
    "gunicorn_drain_tasks",
    "gunicorn_enroll_tasks",
}


@pytest.mark.parametrize("name", [name for name in VARIABLES if name not in ("gunicorn_state", "gunicorn_release")])
def test_what_does_not_count_for_removal_is_not_checked(values: dict[str, Any], name: str) -> None:
    values["gunicorn_state"] = "absent"
    (bad, _reason), *_more = BAD[name]
    found = problems({**values, name: bad}, "/nowhere")
    assert [message.split(":")[0] for message in found] == ([name] if name in COUNT_FOR_REMOVAL else [])


def test_removal_and_going_back_contradict_each_other(values: dict[str, Any]) -> None:
    values.update(gunicorn_state="absent", gunicorn_release="previous")
    (message,) = problems(values)
    assert message.startswith(
        "gunicorn_release: got 'previous': there is nothing to go back to where gunicorn_state is"
    )


def test_settings_outside_their_variable_do_not_count_for_removal(values: dict[str, Any]) -> None:
    assert problems(values, names=[*values, "gunicorn_workers"])
    values["gunicorn_state"] = "absent"
    assert problems(values, names=[*values, "gunicorn_workers"]) == []


def test_going_back_needs_no_source(values: dict[str, Any], tmp_path: Path) -> None:
    values.update(gunicorn_release="previous", gunicorn_source={})
    assert problems(values, str(tmp_path / "nowhere")) == []


def test_misspelt_names_count_for_going_back(values: dict[str, Any]) -> None:
    values["gunicorn_release"] = "previous"
    (message,) = problems(values, names=[*values, "gunicorn_releases"])
    assert message.startswith("gunicorn_releases: the role has no such variable; did you mean gunicorn_release? ")


def test_a_missing_variable_is_an_error_of_the_caller(values: dict[str, Any]) -> None:
    del values["gunicorn_bind"]
    with pytest.raises(KeyError, match="gunicorn_bind"):
        problems(values)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("gunicorn_enviroment", "gunicorn_environment"),
        ("gunicorn_environments", "gunicorn_environment"),
        ("gunicorn_requirement", "gunicorn_requirements"),
        ("gunicorn_package", "gunicorn_packages"),
        ("gunicorn_setting", "gunicorn_settings"),
        ("gunicorn_keep_release", "gunicorn_keep_releases"),
        ("gunicorn_firewall_source", "gunicorn_firewall_sources"),
        ("gunicorn_service_option", "gunicorn_service_options"),
        ("gunicorn_wsgiapp", "gunicorn_wsgi_app"),
        ("gunicorn_bidn", "gunicorn_bind"),
        ("gunicorn_secret", "gunicorn_secrets"),
    ],
)
def test_misspelt_names(values: dict[str, Any], wrong: str, meant: str) -> None:
    (message,) = problems(values, names=[*values, wrong])
    assert message.startswith(f"{wrong}: the role has no such variable; did you mean {meant}? ")
    assert message.endswith(f"Example: {VARIABLES[meant].example}")


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        (
            "gunicorn_workers",
            """a setting of Gunicorn goes into gunicorn_settings. A variable of your own needs another name. \
Example: gunicorn_settings: {workers: "{{ gunicorn_workers }}"}""",
        ),
        ("gunicorn_worker_class", "a setting of Gunicorn goes into gunicorn_settings. "),
        ("gunicorn_accesslog", "a setting of Gunicorn goes into gunicorn_settings. "),
        (
            "gunicorn_worker",
            """did you mean Gunicorn's workers? Then a setting of Gunicorn goes into gunicorn_settings. A variable of \
your own needs another name. Example: gunicorn_settings: {workers: "{{ gunicorn_worker }}"}""",
        ),
        ("gunicorn_thread", "did you mean Gunicorn's threads? Then a setting of "),
        ("gunicorn_time_out", "did you mean Gunicorn's timeout? Then a setting of "),
        ("gunicorn_pid_file", "did you mean Gunicorn's pidfile? Then leave it out; "),
        ("gunicorn_daemon", "leave it out; systemd runs the service in the background. "),
    ],
)
def test_settings_that_are_set_as_variables(values: dict[str, Any], name: str, instead: str) -> None:
    (message,) = problems(values, names=[*values, name])
    assert message.startswith(f"{name}: the role has no such variable; {instead}")
    assert "Example: gunicorn_settings: {" in message
    assert problems({**values, "gunicorn_release": "previous"}, names=[*values, name]) == []
    meant = re.search("Gunicorn's (\\w+)", instead)
    used = {**values, "gunicorn_settings": {meant[1] if meant else name.removeprefix("gunicorn_"): 1}}
    assert not any(found.startswith(name) for found in problems(used, names=[*values, name])), "it is the user's own"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("gunicorn_port", "gunicorn_bind"),
        ("gunicorn_env_vars", "gunicorn_environment"),
        ("gunicorn_app_name", "gunicorn_name"),
        ("gunicorn_requirements_file", "gunicorn_requirements"),
    ],
)
def test_words_of_others(values: dict[str, Any], word: str, meant: str) -> None:
    (message,) = problems(values, names=[*values, word], unset=[meant])
    assert message == (
        f"{word}: the role has no such variable; did you mean {meant}? Example: {VARIABLES[meant].example}"
    )
    assert problems(values, names=[*values, word]) == [], "who has set what it stands for has the word for himself"
    values["gunicorn_state"] = "absent"
    assert problems(values, names=[*values, word], unset=[meant]) == []


def test_every_word_of_others_stands_for_a_variable() -> None:
    assert {validation.PREFIX + meant for meant in validation.OTHER_WORDS.values()} <= set(VARIABLES)


OWN_NAMES = (
    "gunicorn_",
    "gunicorn_app_dir",
    "gunicorn_bin",
    "gunicorn_domain",
    "gunicorn_health_url",
    "gunicorn_home",
    "gunicorn_log_dir",
    "gunicorn_memory",
    "gunicorn_num_workers",
    "gunicorn_role_version",
    "gunicorn_service_name",
    "gunicorn_static_root",
    "gunicorn_upstream",
    "gunicorn_user_password",
    "gunicorn_users",
    "gunicorn_venv",
    "gunicorn_vhost",
    "gunicorn_workers_base",
)
"""What a platform engineer may have beside the role."""


@pytest.mark.parametrize("name", OWN_NAMES)
def test_names_that_only_look_alike(values: dict[str, Any], name: str) -> None:
    assert problems(values, names=[*values, name], unset=values) == []
    (warning,) = validation.ignored([*values, name])
    assert warning == f"{name}: a variable of your own? The role gunicorn has none of that name, and ignores it."


def test_one_warning_for_all_that_is_ignored(values: dict[str, Any]) -> None:
    assert validation.ignored(values) == []
    (warning,) = validation.ignored([*values, "gunicorn_vhost", "gunicorn_memory"])
    assert warning == (
        "gunicorn_memory, gunicorn_vhost: variables of your own? The role gunicorn has none of that name, and ignores "
        "them."
    )


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "wsgi.py").write_text("app = 1\n")
    (tmp_path / "requirements.txt").write_text("flask==3.1.3\n")
    return tmp_path


def in_source(values: dict[str, Any], path: Path, kind: str = "directory") -> list[str]:
    """What is wrong with good variables and that source."""
    assert problems(values) == []
    source = make_source({kind: str(path)}, "/", "/")
    return source_problems(
        values, source.look(values["gunicorn_requirements"], values["gunicorn_wsgi_app"].split(":")[0])
    )


def test_a_source_that_is_all_right(values: dict[str, Any], app: Path) -> None:
    assert in_source(values, app) == []


def test_no_such_source(values: dict[str, Any], tmp_path: Path) -> None:
    message = only(in_source(values, tmp_path / "nowhere"), "gunicorn_source")
    assert f"{tmp_path}/nowhere is not a directory on the controller" in message


def test_a_file_is_no_source(values: dict[str, Any], app: Path) -> None:
    assert "is not a directory" in only(in_source(values, app / "wsgi.py"), "gunicorn_source")


def test_the_default_requirements_may_be_missing(values: dict[str, Any], app: Path) -> None:
    (app / "requirements.txt").unlink()
    assert in_source(values, app) == []


def test_other_requirements_must_be_there(values: dict[str, Any], app: Path) -> None:
    values["gunicorn_requirements"] = "requirements/production.txt"
    assert f"{app} has no file requirements/production.txt" in only(in_source(values, app), "gunicorn_requirements")


def test_requirements_that_cannot_be_read(values: dict[str, Any], app: Path) -> None:
    (app / "requirements.txt").write_bytes("flask # für alle\n".encode("latin-1"))
    assert "decode" in only(in_source(values, app), "gunicorn_requirements")
    (app / "requirements.txt").write_text("-r base.txt\n")
    assert "base.txt" in only(in_source(values, app), "gunicorn_requirements")


@pytest.mark.parametrize(
    ("wsgi_app", "file"),
    [
        ("wsgi:app", "wsgi.py"),
        ("shop.main:app", "shop/main.py"),
        ("shop:app", "shop/__init__.py"),
        ("shop.main:app", "shop/main.cpython-311-x86_64-linux-gnu.so"),
    ],
)
def test_modules_that_are_there(values: dict[str, Any], tmp_path: Path, wsgi_app: str, file: str) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("app = 1\n")
    assert in_source({**values, "gunicorn_wsgi_app": wsgi_app}, tmp_path) == []


@pytest.mark.parametrize(
    ("wsgi_app", "file"), [("shop.main:app", "shop/main.py"), ("asgi", "asgi.py"), ("wsgi.py", "wsgi/py.py")]
)
def test_modules_that_are_missing(values: dict[str, Any], app: Path, wsgi_app: str, file: str) -> None:
    message = only(in_source({**values, "gunicorn_wsgi_app": wsgi_app}, app), "gunicorn_wsgi_app")
    assert f"there is no {file} in {app}" in message


def test_a_callable_that_is_missing(values: dict[str, Any], app: Path) -> None:
    (app / "wsgi.py").write_text("application = make()\n")
    message = only(in_source(values, app), "gunicorn_wsgi_app", "wsgi:app")
    assert f"there is no 'app' in wsgi.py of {app}; did you mean 'wsgi:application'?" in message


def test_modules_may_be_elsewhere(values: dict[str, Any], app: Path) -> None:
    values["gunicorn_wsgi_app"] = "shop.main:app"
    assert in_source({**values, "gunicorn_settings": {"pythonpath": "src"}}, app) == []
    (app / "requirements.txt").write_text("-e .\n")
    assert in_source(values, app) == []


@pytest.mark.parametrize("package", [".", ".[web]", "./lib"])
def test_packages_of_the_source_itself(values: dict[str, Any], app: Path, package: str) -> None:
    values["gunicorn_wsgi_app"] = "shop.main:app"
    values["gunicorn_packages"] = ["redis==7.0", package]
    assert in_source(values, app) == []
    values["gunicorn_source"] = {"package": "shop==1.2"}
    message = only(in_source(values, app), "gunicorn_packages")
    assert f"is installed anyway, and leaves nothing that {package!r} could mean" in message


def test_what_is_on_the_host_is_not_installed_from(values: dict[str, Any], app: Path) -> None:
    values["gunicorn_source"] = {"existing": "/srv/shop"}
    assert in_source(values, app) == []
    message = only(in_source({**values, "gunicorn_packages": ["."]}, app), "gunicorn_packages")
    assert "would write into it; set gunicorn_settings: {pythonpath: …}" in message
    (app / "requirements.txt").write_text("-e .\n")
    assert "would write into it" in only(in_source(values, app), "gunicorn_requirements")


def test_requirements_that_pin_another_gunicorn(values: dict[str, Any], app: Path) -> None:
    (app / "requirements.txt").write_text("flask\nGunicorn==26.0.0\n")
    assert "the requirements pin gunicorn==26.0.0" in only(in_source(values, app), "gunicorn_version")
    (app / "requirements.txt").write_text("gunicorn==27.0.1\n")
    assert in_source(values, app) == []
    values["gunicorn_packages"] = ["gunicorn[gevent]==28.0.0"]
    (app / "requirements.txt").unlink()
    assert "gunicorn==28.0.0" in only(in_source(values, app), "gunicorn_version")


def test_two_problems_of_the_source(values: dict[str, Any], app: Path) -> None:
    (app / "requirements.txt").write_text("gunicorn==26.0.0\n")
    found = in_source({**values, "gunicorn_wsgi_app": "asgi:app"}, app)
    assert [message.split(":")[0] for message in found] == ["gunicorn_wsgi_app", "gunicorn_version"]


HASH = " --hash=sha256:ab"


def hashed(values: dict[str, Any], app: Path, *lines: str) -> list[str]:
    """Problems with hashes required and these lines in the requirements."""
    (app / "requirements.txt").write_text("\n".join(lines) + "\n")
    return in_source({**values, "gunicorn_require_hashes": True}, app)


GOOD_LINES = (
    f"gunicorn==27.0.1{HASH}{HASH}",
    f"flask==3.1.3 \\\n   {HASH}",
    "shop @ https://a.example/a.whl#sha256=ab",
)


def test_requirements_with_hashes(values: dict[str, Any], app: Path) -> None:
    assert hashed(values, app, *GOOD_LINES) == []


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((f"flask==3.1.3{HASH}",), "have no line `gunicorn==27.0.1 --hash=sha256:…`"),
        (("gunicorn==27.0.1", "-c most.txt"), "have no line `gunicorn==27.0.1 --hash=sha256:…`"),
        ((f"gunicorn>=27.0.1{HASH}",), "have no line `gunicorn==27.0.1 --hash=sha256:…`"),
        ((*GOOD_LINES, "redis==7.0", "celery==5.5"), "have no hash for redis==7.0 and 1 more"),
    ],
)
def test_requirements_that_lack_a_hash(values: dict[str, Any], app: Path, lines: tuple[str, ...], reason: str) -> None:
    (app / "most.txt").write_text(GOOD_LINES[0])
    message = hashed(values, app, *lines)[0]
    assert reason in message
    assert "--generate-hashes" in message
    assert message.startswith("gunicorn_require_hashes: got True: ")


def test_hashes_for_what_a_worker_class_needs(values: dict[str, Any], app: Path) -> None:
    values["gunicorn_settings"] = {"worker_class": "gevent"}
    message = only(hashed(values, app, *GOOD_LINES), "gunicorn_require_hashes")
    assert "gunicorn_settings need gevent with a hash" in message
    assert hashed(values, app, *GOOD_LINES, f"gevent==25.9.1{HASH}") == []


def test_packages_have_no_hashes(values: dict[str, Any], app: Path) -> None:
    values["gunicorn_packages"] = ["redis==7.0"]
    assert "move them into the requirements" in only(hashed(values, app, *GOOD_LINES), "gunicorn_require_hashes")


def test_hashes_that_nobody_asked_for(values: dict[str, Any], app: Path) -> None:
    (app / "requirements.txt").write_text("\n".join(GOOD_LINES))
    message = only(in_source(values, app), "gunicorn_require_hashes")
    assert "the requirements have hashes, and with one of them pip wants all: set it to true" in message


def test_another_gunicorn_with_a_hash(values: dict[str, Any], app: Path) -> None:
    (message,) = hashed(values, app, f"gunicorn==28.0.0{HASH}")
    assert "the requirements pin gunicorn==28.0.0; set gunicorn_version to it." in message


def test_a_list_of_requirements(values: dict[str, Any], app: Path) -> None:
    values["gunicorn_requirements"] = ["requirements.txt", "more.txt"]
    assert f"{app} has no file more.txt" in only(in_source(values, app), "gunicorn_requirements")
    (app / "more.txt").write_text("gunicorn==26.0.0\n")
    assert "the requirements pin gunicorn==26.0.0" in only(in_source(values, app), "gunicorn_version")
    (app / "requirements.txt").unlink()
    (app / "more.txt").write_text("redis\n")
    assert "has no file requirements.txt" in only(in_source(values, app), "gunicorn_requirements")


def test_two_logins_for_one_host(values: dict[str, Any]) -> None:
    values["gunicorn_index_url"] = f"https://joe:{HIDDEN}@a.example/simple"
    values["gunicorn_extra_index_urls"] = [f"https://jane:{HIDDEN}@a.example/more"]
    (message,) = problems(values)
    assert message.startswith("gunicorn_extra_index_urls: two indexes on a.example have different credentials")
    assert HIDDEN not in message


@pytest.fixture
def wheelhouse(values: dict[str, Any], tmp_path: Path) -> Path:
    values["gunicorn_wheelhouse"] = "wheels"
    path = tmp_path / "wheels"
    path.mkdir()
    (path / "gunicorn-27.0.1-py3-none-any.whl").write_text("")
    return path


def test_a_wheelhouse(values: dict[str, Any], wheelhouse: Path) -> None:
    assert problems(values, wheelhouse=str(wheelhouse)) == []


def test_a_wheelhouse_that_is_not_there(values: dict[str, Any], wheelhouse: Path) -> None:
    found = problems(values, wheelhouse=str(wheelhouse / "nowhere"))
    assert f"{wheelhouse}/nowhere is not a directory on the controller" in only(found, "gunicorn_wheelhouse")


def test_a_wheelhouse_that_can_not_be_read(
    values: dict[str, Any], wheelhouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.listdir", refuse)
    message = only(problems(values, wheelhouse=str(wheelhouse)), "gunicorn_wheelhouse")
    assert f"got 'wheels': [Errno 13] Permission denied: '{wheelhouse}'. It accepts" in message


def test_a_wheelhouse_without_wheels(values: dict[str, Any], wheelhouse: Path) -> None:
    (wheelhouse / "gunicorn-27.0.1-py3-none-any.whl").rename(wheelhouse / "README.md")
    message = only(problems(values, wheelhouse=str(wheelhouse)), "gunicorn_wheelhouse")
    assert f"{wheelhouse} holds no wheel; `pip wheel" in message


def test_a_wheelhouse_without_gunicorn(values: dict[str, Any], wheelhouse: Path) -> None:
    (wheelhouse / "gunicorn-27.0.1-py3-none-any.whl").rename(wheelhouse / "flask-3.1.3-py3-none-any.whl")
    message = only(problems(values, wheelhouse=str(wheelhouse)), "gunicorn_wheelhouse")
    assert f"{wheelhouse} holds no wheel of gunicorn; `pip wheel" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gunicorn_index_url", f"https://joe:{HIDDEN}@a.example/simple"),
        ("gunicorn_extra_index_urls", ["https://a.example/simple"]),
    ],
)
def test_a_wheelhouse_and_an_index(values: dict[str, Any], wheelhouse: Path, name: str, value: Any) -> None:
    message = only(problems({**values, name: value}, wheelhouse=str(wheelhouse)), "gunicorn_wheelhouse")
    assert f"{name} is set too, and a wheelhouse replaces every index: drop one of the two" in message
    assert HIDDEN not in message


def test_a_wheelhouse_for_uv_holds_uv(values: dict[str, Any], wheelhouse: Path) -> None:
    values["gunicorn_installer"] = "uv"
    (wheelhouse / "uv-0.1.0-py3-none-any.whl").write_text("")
    message = only(problems(values, wheelhouse=str(wheelhouse), uv="uv-1.2.3"), "gunicorn_wheelhouse")
    assert f"{wheelhouse} holds no wheel of uv==1.2.3, which installs the others; `pip download" in message
    assert problems(values, wheelhouse=str(wheelhouse), uv="uv-0.1.0") == []


def test_going_back_needs_no_wheelhouse(values: dict[str, Any], wheelhouse: Path) -> None:
    assert problems({**values, "gunicorn_release": "previous"}, wheelhouse=str(wheelhouse / "nowhere")) == []


# What only uv reads


@pytest.mark.parametrize("name", ["uv.lock", "deploy/uv.lock", "pylock.toml", "pylock.deploy.toml", "pyproject.toml"])
def test_what_pip_does_not_read(values: dict[str, Any], name: str) -> None:
    values["gunicorn_requirements"] = name
    message = only(problems(values), "gunicorn_requirements")
    assert f"got {name!r}: pip doesn't install from {name}; set gunicorn_installer: uv. It accepts the path" in message
    assert problems({**values, "gunicorn_installer": "uv"}) == []


def test_a_lock_file_stands_alone(values: dict[str, Any]) -> None:
    values.update(gunicorn_installer="uv", gunicorn_requirements=["requirements.txt", "uv.lock"])
    assert "uv.lock is a lock file, which stands alone" in only(problems(values), "gunicorn_requirements")
    assert problems({**values, "gunicorn_requirements": ["requirements.txt", "pyproject.toml"]}) == []


def test_nothing_beside_a_pylock(values: dict[str, Any], app: Path) -> None:
    values.update(gunicorn_installer="uv", gunicorn_requirements="pylock.toml", gunicorn_packages=["redis"])
    message = only(problems(values), "gunicorn_packages")
    assert "got ['redis']: nothing is installed beside pylock.toml: lock them too" in message
    values["gunicorn_packages"] = []
    values["gunicorn_settings"] = {"worker_class": "gevent"}
    (app / "pylock.toml").write_text('[[packages]]\nname = "flask"\nversion = "3.1.3"\n')
    message = only(in_source(values, app), "gunicorn_requirements")
    assert "it lacks gunicorn: add gunicorn==27.0.1 to what is locked" in message
    assert "it lacks gevent: add gevent to what is locked" in message
    packages = ['name = "gunicorn"\nversion = "27.0.1"', 'name = "gevent"\nversion = "25.9.1"']
    (app / "pylock.toml").write_text("\n".join(f"[[packages]]\n{package}" for package in packages))
    assert in_source(values, app) == []


def test_a_pylock_names_its_places(values: dict[str, Any], wheelhouse: Path) -> None:
    values.update(gunicorn_installer="uv", gunicorn_requirements="pylock.toml")
    (wheelhouse / "uv-1.2.3-py3-none-any.whl").write_text("")
    message = only(problems(values, wheelhouse=str(wheelhouse), uv="uv-1.2.3"), "gunicorn_wheelhouse")
    assert "pylock.toml names the places of its files" in message


def test_a_lock_without_its_project(values: dict[str, Any], app: Path) -> None:
    values.update(gunicorn_installer="uv", gunicorn_requirements="uv.lock")
    (app / "uv.lock").write_text("version = 1\n")
    assert "has no file pyproject.toml, which uv reads together" in only(
        in_source(values, app), "gunicorn_requirements"
    )
    (app / "pyproject.toml").write_text("")
    assert in_source(values, app) == []


def test_the_lock_pins_another_gunicorn(values: dict[str, Any], app: Path) -> None:
    values.update(gunicorn_installer="uv", gunicorn_requirements="uv.lock")
    (app / "pyproject.toml").write_text("")
    (app / "uv.lock").write_text('[[package]]\nname = "gunicorn"\nversion = "28.0.0"\n')
    assert "the requirements pin gunicorn==28.0.0" in only(in_source(values, app), "gunicorn_version")


def test_uv_does_not_want_all_hashes(values: dict[str, Any], app: Path) -> None:
    (app / "requirements.txt").write_text("\n".join(GOOD_LINES))
    assert in_source({**values, "gunicorn_installer": "uv"}, app) == []


# Several applications in one run


def test_the_same_application_may_come_again(values: dict[str, Any]) -> None:
    assert problems(values, earlier={"app": values}) == []
    assert problems({**values, "gunicorn_settings": {"workers": 2}}, earlier={"app": values}) == []
    versions = [{"gunicorn_source": {"git": "https://git.example/shop.git", "version": each}} for each in ("v1", "v2")]
    assert problems({**values, **versions[1]}, earlier={"app": {**values, **versions[0]}}) == []


@pytest.mark.parametrize("change", [{"gunicorn_source": {"directory": "/srv/blog"}}, {"gunicorn_wsgi_app": "blog:app"}])
def test_two_applications_with_one_name(values: dict[str, Any], change: dict[str, Any]) -> None:
    message = only(problems({**values, **change}, earlier={"app": values}), "gunicorn_name")
    assert "another application of this run has that name" in message


@pytest.mark.parametrize(
    ("mine", "theirs", "clash"),
    [
        (["0.0.0.0:8000"], ["127.0.0.1:8000"], True),
        (["127.0.0.1:8000"], ["192.0.2.5:8000"], False),
        (["0.0.0.0:8000"], ["0.0.0.0:8001"], False),
        (["[::]:8000"], ["0.0.0.0:8000"], False),
        (["unix:/run/a.sock"], ["unix:/run/a.sock"], True),
        (["unix:/run/a.sock"], ["unix:/run/b.sock"], False),
    ],
)
def test_two_applications_with_one_address(
    values: dict[str, Any], mine: list[str], theirs: list[str], clash: bool
) -> None:
    found = problems(
        {**values, "gunicorn_bind": mine},
        earlier={"shop": {**values, "gunicorn_name": "shop", "gunicorn_bind": theirs}},
    )
    assert bool(found) is clash
    if clash:
        assert f"'shop', another application of this run, listens on {mine[0]!r}" in only(found, "gunicorn_bind")
