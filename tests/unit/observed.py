"""What gunicorn_info returns, for tests of what is made of it."""

from __future__ import annotations

from typing import Any

NEW_SERVER: dict[str, Any] = {
    "os": {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"},
    "systemd": True,
    "python": {
        "path": "/usr/bin/python3",
        "file": "/usr/bin/python3.11",
        "version": "3.11.2",
        "venv": False,
        "system": True,
    },
    "interpreters": ["/usr/bin/python3.11"],
    "packages": [],
    "user": {},
    "build_user": {},
    "root": False,
    "layout": 0,
    "missing_directories": ["code", "venvs", "releases"],
    "applications": [],
    "installed_by_role": [],
    "unrecorded_packages": False,
    "shared": {},
    "units": {
        unit: {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "Listen": []}
        for unit in ("shop.socket", "shop-blue.service", "shop-green.service", "shop-check.service")
    },
    "live": "",
    "slots": {slot: {"active": False, "state": "inactive", "release": ""} for slot in ("blue", "green")},
    "releases": {},
    "policy": {},
    "unfinished": [],
    "code": [],
    "venvs": [],
    "dead_venvs": {},
    "current": "",
    "previous": "",
    "files": {},
    "encrypts": True,
    "secrets": {},
    "unmanaged": [],
    "listening": [],
    "listening_paths": [],
    "other_apps": {},
    "missing": [],
    "refused_options": [],
    "last_run": "",
    "at_work": False,
    "ssh_ports": [22],
    "ssh_connection": {"client": "192.0.2.5", "port": 22},
    "ipv6": True,
    "interfaces": ["eth0", "lo"],
    "firewall": {
        "installed": False,
        "enabled": False,
        "on_trial": False,
        "ipv6": True,
        "rules": [],
        "unmanaged": [],
        "others": [],
        "docker": False,
    },
}
"""A server on which nothing was deployed yet, asked for the application shop."""
