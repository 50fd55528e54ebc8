# Written by the Ansible role pyweb.deploy.gunicorn.
"""Check a gunicorn.conf.py against the Gunicorn that is installed: check_config.py [--app] FILE.

Runs with the interpreter of the venv, as the user of the service. Gunicorn itself checks types and syntax; this
adds what it lets pass: unknown settings, the worker class, the log level, the addresses. With --app it imports the
application too. Every problem is one line on standard error; the exit status is 1 where there is one.
"""

from __future__ import annotations

import difflib
import sys
import types
from typing import Any

NAME = "gunicorn.conf.py"


def unknown_settings(names: dict[str, Any], known: dict[str, Any]) -> list[str]:
    """Name each lower-case variable of the file that is no setting, with the nearest setting.

    Functions, modules, constants in capitals and names with a leading underscore are helpers of the file.
    """
    found = []
    for name, value in names.items():
        helper = name.startswith("_") or name != name.lower() or callable(value) or isinstance(value, types.ModuleType)
        if not helper and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            found.append(f"unknown setting '{name}'{hint}")
    return found


def in_one_line(problem: Exception) -> str:
    """First and last line of a message: between them, Gunicorn puts the traceback of a class that it can't load."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip(" ]")] or [type(problem).__name__]
    return " ".join(lines[:1] + lines[1:][-1:])


def problems(cfg: Any, names: dict[str, Any], log_levels: dict[str, Any]) -> list[str]:
    """Check a loaded configuration: its properties, its log level, its addresses, its names."""
    found = unknown_settings(names, cfg.settings)
    for setting in ("worker_class", "address", "env", "logger_class"):
        try:
            # Not getattr(cfg, setting): Gunicorn would answer an AttributeError with the plain text of the setting.
            getattr(type(cfg), setting).fget(cfg)
        except (AttributeError, ImportError, RuntimeError, ValueError) as problem:
            name = "bind" if setting == "address" else setting
            found.append(f"{name}: {in_one_line(problem)}")
    if cfg.loglevel.lower() not in log_levels:
        found.append(f"loglevel: '{cfg.loglevel}' is none of {', '.join(log_levels)}")
    for setting in ("certfile", "keyfile", "ca_certs"):
        path = getattr(cfg, setting)
        if path:
            try:
                with open(path, "rb"):
                    pass
            except OSError as problem:
                found.append(f"{setting}: {problem}")
    return found


def main() -> int:
    """Run the check; 0 where all is well."""
    sys.dont_write_bytecode = True
    with_app, path = sys.argv[1] == "--app", sys.argv[-1]
    sys.argv = ["gunicorn", "--config", path]

    from gunicorn.app.wsgiapp import WSGIApplication
    from gunicorn.glogging import Logger

    application = WSGIApplication()  # reads the file; on a wrong type or a syntax error it says so and exits with 1
    found = problems(application.cfg, vars(sys.modules["__config__"]), Logger.LOG_LEVELS)
    for problem in found:
        print(f"{NAME}: {problem}", file=sys.stderr)
    if with_app and not found:
        application.wsgi()  # an exception carries the application's own traceback
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
