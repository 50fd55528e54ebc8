# Written by the Ansible role pyweb.deploy.gunicorn.
"""Check a gunicorn.conf.py against the Gunicorn that is installed: check_config.py [--app] FILE.

Runs with the interpreter of the venv, as the user of the service, in the directory of the code. What a setting is
called and what it accepts comes from Gunicorn's own registry, so this file needs no change for another release of it.
Gunicorn checks types; this names the variable of the role to fix, and adds what Gunicorn lets pass: unknown settings,
the worker class, the log level, addresses, files. With --app it imports the application too. Every problem is one line
on standard error; the exit status is 1 where there is one.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib.machinery
import inspect
import io
import json
import os
import re
import ssl
import sys
import traceback
import types
from typing import Any, Iterable

NAME = "gunicorn.conf.py"
SETTINGS, EXTRA, INCLUDED = "gunicorn_settings", "gunicorn_conf_extra", "gunicorn_conf_file"
EXTRA_BEGINS = "# From gunicorn_conf_extra:"
INCLUDED_PATH = "_conf_file"
"""Where the file keeps which file of the application it includes."""
CREDENTIALS = "_credentials"
"""Where the file keeps which files of the host its credentials are copies of."""

VARIABLES = {"bind": "gunicorn_bind", "wsgi_app": "gunicorn_wsgi_app"}
"""Settings that come from a variable of their own."""

FAR, NEAR = 0.6, 0.1
"""How like a name another one has to be at least, and how much less like than the best one it may be."""

KINDS: dict[str, tuple[str, Any]] = {
    "validate_bool": ("true or false", True),
    "validate_pos_int": ("a whole number from 0 on", 1),
    "validate_string": ("a string", "text"),
    "validate_class": ("the name of a class, or its import path", None),
    "validate_list_string": ("a list of strings", ["text"]),
    "validate_dict": ("a dictionary", {"name": "value"}),
    "validate_string_to_list": ("a string of names, with commas between them", "A,B"),
    "validate_string_to_addr_list": ("a string of IP addresses and networks, with commas between them", "192.0.2.7"),
}
"""What Gunicorn's validators accept, in words and as an example; others are asked, see `choices`."""

AT_LEAST_ONE = ("workers", "threads")
"""Numbers with which nothing would answer, were they 0; the controller refuses that."""

TLS: dict[str, tuple[str, Any]] = {
    "certfile": (
        "a file in PEM with the certificate, then those of its issuers",
        "/etc/letsencrypt/live/shop.example/fullchain.pem",
    ),
    "keyfile": (
        "a file in PEM with the private key of certfile, without a passphrase",
        "/etc/letsencrypt/live/shop.example/privkey.pem",
    ),
    "ca_certs": ("a file in PEM with the certificates of who issues those of clients", "/etc/ssl/shop-clients.pem"),
    "cert_reqs": ("0 or 1", 1),
    "ciphers": ("a list of ciphers as OpenSSL takes it", "ECDHE+AESGCM:ECDHE+CHACHA20"),
}
"""What the settings of TLS accept."""

REFUSALS = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What Gunicorn's validators raise, besides its own ConfigError; a hook is imported to look at it."""


class Origins:
    """Which variable of the role the lines and the names of the file come from."""

    def __init__(self, text: str = "") -> None:
        lines = text.splitlines()
        self.begin = lines.index(EXTRA_BEGINS) + 1 if EXTRA_BEGINS in lines else len(lines)
        self.lines: dict[str, int] = {}
        self.included = ""
        with contextlib.suppress(SyntaxError, OSError):  # which running the file brings to light
            for statement in ast.parse(text).body:
                names = _assigned(statement)
                self.lines.update(dict.fromkeys(names, statement.lineno))
                if INCLUDED_PATH in names and isinstance(statement, ast.Assign):
                    self.included = ast.literal_eval(statement.value)
                    with open(self.included, encoding="utf-8") as file:
                        found = [name for each in ast.parse(file.read()).body for name in _assigned(each)]
                    self.lines.update(dict.fromkeys(found, 0))

    def variable(self, name: str) -> str:
        """Name the variable that gives a setting its value."""
        if self.lines.get(name, 0) > self.begin:
            return EXTRA
        if self.lines.get(name) == 0:
            return INCLUDED
        return VARIABLES.get(name, SETTINGS)

    def place(self, line: int) -> str:
        """Say where a line stands."""
        return f"{EXTRA}, line {line - self.begin}" if line > self.begin else f"line {line}"


def _assigned(statement: ast.stmt) -> set[str]:
    """Names that a statement of the file defines."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Store)}


def choices(setting: Any) -> list[str]:
    """Words of Gunicorn's description that a setting accepts as they are, if it doesn't accept just any word."""
    from gunicorn.errors import ConfigError

    def accepted(word: str) -> bool:
        try:
            return setting.validator(word) in (word, [word])
        except (ConfigError, *REFUSALS):
            return False

    if accepted("no-such-word"):
        return []
    words = re.findall(r"[A-Za-z0-9][\w-]*", setting.desc)
    return [word for word in dict.fromkeys(words) if accepted(word)]


def accepts(setting: Any, variable: str) -> str:
    """Say what a setting accepts, with an example for the variable that sets it."""
    name, default = setting.name, setting.default
    if callable(default):
        signature = inspect.signature(default)
        what = f"a function with the arguments {signature}, defined in {EXTRA}, or its import path"
        return f"It accepts {what}. Example: {EXTRA}: 'def {name}{signature}: ...'"
    what, example = KINDS.get(setting.validator.__name__, ("", None))
    if name in AT_LEAST_ONE:
        what = what.replace("from 0", "from 1")
    if not what:
        about = setting.short.rstrip(".")
        named = ", ".join(choices(setting)) or ("a whole number" if setting.type else "")
        what = f"{named} ({about})" if named else f"what Gunicorn calls: {about}"
    if default not in (None, "", [], {}):
        example = default
    return f"It accepts {what}." + ("" if example is None else " " + example_of(variable, name, example))


def example_of(variable: str, name: str, value: Any) -> str:
    """Write a setting as the variable takes it: YAML or, for gunicorn_conf_extra, Python."""
    if variable == EXTRA:
        return f"Example: {EXTRA}: {json.dumps(f'{name} = {value!r}')}"
    if variable == INCLUDED:
        return f"Example: {name} = {value!r}"
    text = json.dumps(value, default=str)
    return f"Example: {SETTINGS}: {{{name}: {text}}}" if variable == SETTINGS else f"Example: {variable}: {text}"


def got(name: str, value: Any) -> str:
    """Value for people: the head of a function, a long one cut, nothing of the environment, which may hold secrets."""
    if name == "raw_env":
        return ""
    text = f"def {value.__name__}{inspect.signature(value)}" if inspect.isfunction(value) else repr(value)
    return f"got {text if len(text) <= 120 else text[:117] + '...'}: "


def wrong_values(cfg: Any, names: dict[str, Any], origins: Origins) -> list[str]:
    """Set each setting of the file as Gunicorn does, and tell which ones it refuses."""
    from gunicorn.errors import ConfigError

    found = []
    for name, value in names.items():
        if name in cfg.settings:
            try:
                cfg.set(name, value)
            except (ConfigError, *REFUSALS) as problem:
                variable = origins.variable(name)
                hint = accepts(cfg.settings[name], variable)
                found.append(f"{variable}: {name}: {got(name, value)}{in_one_line(problem)}. {hint}")
    return found


def nearest(word: str, meant: dict[str, str]) -> list[str]:
    """Give the names that a misspelt one may stand for, at most three; `meant` maps spellings to names."""
    if word in meant:
        return [meant[word]]
    rated = sorted(((difflib.SequenceMatcher(None, word, other).ratio(), other) for other in meant), reverse=True)
    best = rated[0][0] if rated else 0.0
    near = [meant[other] for ratio, other in rated if ratio >= max(FAR, best - NEAR)]
    return list(dict.fromkeys(near))[:3]


def did_you_mean(names: Iterable[str]) -> str:
    """Turn names into a question; nothing where there are none."""
    quoted = [f"'{name}'" for name in names]
    if not quoted:
        return ""
    *others, last = quoted
    return f"; did you mean {', '.join(others)} or {last}?" if others else f"; did you mean {last}?"


def spellings(settings: dict[str, Any]) -> dict[str, str]:
    """Map the names of the settings, and of their options on the command line, to the settings."""
    found = {}
    for name, setting in settings.items():
        options = [option for option in setting.cli or [] if option.startswith("--")]
        found.update({option[2:].replace("-", "_"): name for option in options})
    return {**found, **{name: name for name in settings}}


def unknown_settings(names: dict[str, Any], settings: dict[str, Any], origins: Origins) -> list[str]:
    """Name each lower-case variable of the file that is no setting, with the nearest settings.

    Functions, modules, constants in capitals and names with a leading underscore are helpers of the file.
    """
    found = []
    for name, value in names.items():
        helper = name.startswith("_") or name != name.lower() or callable(value) or isinstance(value, types.ModuleType)
        variable = origins.variable(name)
        if not helper and name not in settings and variable != INCLUDED:  # which Gunicorn itself may read elsewhere
            hint = did_you_mean(nearest(name, spellings(settings)))
            if variable == EXTRA:
                hint += f" A variable of your own begins with _: _{name}" if hint else "; for one of your own: _" + name
            found.append(f"{variable}: unknown setting '{name}'{hint}")
    return found


def in_one_line(problem: BaseException) -> str:
    """First and last line of a message: between them, Gunicorn puts the traceback of a class that it can't load."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip(" ]")] or [type(problem).__name__]
    return " ".join(lines[:1] + lines[1:][-1:]).rstrip(" .")


def unloadable(cfg: Any, origins: Origins) -> list[str]:
    """Look at what Gunicorn works out of a setting when it starts: classes, addresses, environment variables."""
    from gunicorn.workers import SUPPORTED_WORKERS

    workers = {name: name for name in SUPPORTED_WORKERS}
    hints = {
        "worker_class": (", ".join(workers) + ", or MODULE.CLASS of a package that is installed", "gthread"),
        "logger_class": ("MODULE.CLASS of a package that is installed", "gunicorn.glogging.Logger"),
        "bind": ("a list of addresses", ["127.0.0.1:8000"]),
        "raw_env": ("a list of NAME=value", ["LANG=C.UTF-8"]),
    }
    found = []
    for name, (what, example) in hints.items():
        wanted = {"bind": "address", "raw_env": "env"}.get(name, name)
        try:
            # Not getattr(cfg, wanted): Gunicorn would answer an AttributeError with the plain text of the setting.
            getattr(type(cfg), wanted).fget(cfg)
        except REFUSALS as problem:
            value = cfg.settings[name].get()
            said = in_one_line(problem) + "."
            if name == "worker_class" and "." not in str(value) and value not in workers:
                said = said[:-1] + (did_you_mean(nearest(str(value), workers)) or ".")
            variable = origins.variable(name)
            hint = f"It accepts {what}. {example_of(variable, name, example)}"
            found.append(f"{variable}: {name}: {got(name, value)}{said} {hint}")
    return found


def bad_files(cfg: Any, names: dict[str, Any], origins: Origins) -> list[str]:
    """Look for the files that settings name: some are read, the logs are written.

    The check itself logs to the journal, because its environment says so; what counts is the file.
    """
    found = []
    for name in ("logconfig", "logconfig_json"):
        path = getattr(cfg, name)
        if path:
            try:
                with open(path, "rb"):
                    pass
            except OSError as problem:
                found.append(f"{origins.variable(name)}: {name}: {problem}")
    for name in ("accesslog", "errorlog"):
        path = names.get(name, getattr(cfg, name))
        place = path if path and os.path.exists(path) else os.path.dirname(path or "") or "."
        if path not in (None, "-") and not os.access(place, os.W_OK):
            variable = origins.variable(name)
            directory = os.environ.get("LOGS_DIRECTORY", "/var/log/gunicorn/NAME").split(":")[0]
            example = example_of(variable, name, f"{directory}/{name[:-3]}.log")
            reason = "the user of the service can't write there"
            found.append(
                f"{variable}: {name}: {got(name, path)}{reason}. It accepts -, which is the journal, and a file in a "
                f"directory that belongs to that user. {example}"
            )
    return found


def bad_tls(cfg: Any, names: dict[str, Any], origins: Origins) -> list[str]:
    """Make the context of TLS as Gunicorn does for each connection or each worker.

    Nothing is said where systemd doesn't show the copies of the files: to the commands of ExecReload=, which come after
    the process that has read them, and before systemd 252 to those of ExecStartPre= (the process itself looks then).
    """
    credentials = names.get(CREDENTIALS, {})
    found = [
        f"{EXTRA}: {name}: {got(name, getattr(cfg, name))}the health check has to know of TLS. It is accepted in "
        f"{SETTINGS} only. {example_of(SETTINGS, name, getattr(cfg, name))}"
        for name in ("certfile", "keyfile")
        if getattr(cfg, name) and origins.variable(name) == EXTRA
    ]
    if not cfg.is_ssl and has_own_context(cfg):
        found.append(
            f"{origins.variable('ssl_context')}: ssl_context: without certfile Gunicorn serves plain HTTP and never "
            f"calls it. Example: {SETTINGS}: {{certfile: /etc/ssl/private/shop.pem}}"
        )
    if found or not cfg.is_ssl or not all(os.access(getattr(cfg, name), os.R_OK) for name in credentials):
        return found
    for name, said in context_problem(cfg):
        value, variable = credentials.get(name, getattr(cfg, name)), origins.variable(name)
        hint = accepts(cfg.settings[name], variable)
        if name in TLS:
            hint = f"It accepts {TLS[name][0]}. {example_of(variable, name, TLS[name][1])}"
        found.append(f"{variable}: {name}: {got(name, value)}{said}. {hint}")
    return found


def has_own_context(cfg: Any) -> bool:
    """Tell whether the user has a hook that makes the context of TLS."""
    return cfg.ssl_context is not cfg.settings["ssl_context"].default


def context_problem(cfg: Any) -> list[tuple[str, str]]:
    """Make the context of TLS: the setting because of which that fails, and what is wrong with it."""
    from gunicorn import sock

    # First without Gunicorn, which would ask for a passphrase. The user's own context may know it, though.
    found = None if has_own_context(cfg) else culprit(cfg)
    try:
        if not found:
            refuse_required(sock.ssl_context(cfg))
    except REFUSALS as problem:
        found = culprit(cfg) or ("ssl_context", in_one_line(problem))
    return [found] if found else []


def refuse_required(context: ssl.SSLContext) -> None:
    """Raise `ValueError` where each client needs a certificate."""
    if context.verify_mode == ssl.CERT_REQUIRED:
        raise ValueError("the health check, which has no certificate of its own, could not connect")


def culprit(cfg: Any) -> tuple[str, str] | None:
    """Find the setting without which the context of TLS could be made, and what is wrong with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def passphrase() -> str:
        raise ValueError("it has a passphrase, and nobody is there to type it in")

    def client_certificates() -> None:
        context.verify_mode = cfg.cert_reqs
        refuse_required(context)

    key, no_key = ("keyfile", "") if cfg.keyfile else ("certfile", "; set keyfile, if that is a file of its own")
    for name, value, step, words in (
        ("certfile", cfg.certfile, lambda: ssl.create_default_context(cafile=cfg.certfile), "it holds no certificate"),
        (key, True, lambda: context.load_cert_chain(cfg.certfile, cfg.keyfile, passphrase), "it holds no key" + no_key),
        ("ca_certs", cfg.ca_certs, lambda: context.load_verify_locations(cfg.ca_certs), "it holds no certificate"),
        ("cert_reqs", cfg.cert_reqs, client_certificates, ""),
        ("ciphers", cfg.ciphers, lambda: context.set_ciphers(cfg.ciphers), "OpenSSL knows none of them"),
    ):
        try:
            if value:
                step()
        except ssl.SSLError as problem:
            return name, "it is not the key of certfile" if "KEY_VALUES_MISMATCH" in str(problem) else words
        except REFUSALS as problem:
            return name, in_one_line(problem)
    return None


def problems(cfg: Any, names: dict[str, Any], log_levels: dict[str, Any], origins: Origins | None = None) -> list[str]:
    """Check a configuration that Gunicorn has loaded: its names, classes, addresses, log level and files."""
    origins = origins or Origins()
    found = unknown_settings(names, cfg.settings, origins) + unloadable(cfg, origins)
    if cfg.loglevel.lower() not in log_levels:
        found.append(
            f"{origins.variable('loglevel')}: loglevel: got {cfg.loglevel!r}: it is none of {', '.join(log_levels)}. "
            f"{example_of(origins.variable('loglevel'), 'loglevel', 'info')}"
        )
    return found + bad_files(cfg, names, origins) + bad_tls(cfg, names, origins)


def run(path: str) -> dict[str, Any]:
    """Run the file as Gunicorn does: the names that it defines."""
    module = types.ModuleType("__config__")
    module.__file__ = path
    sys.modules["__config__"] = module
    importlib.machinery.SourceFileLoader("__config__", path).exec_module(module)
    return vars(module)


def broken(problem: BaseException, path: str, origins: Origins) -> str:
    """Say in one line why the file doesn't run, and on standard error where the error comes from, if from elsewhere."""
    frames = traceback.extract_tb(problem.__traceback__)
    own = [number for number, frame in enumerate(frames) if frame.filename in (path, origins.included)]
    file, line = (frames[own[-1]].filename, frames[own[-1]].lineno) if own else (path, None)
    if isinstance(problem, SyntaxError) and problem.filename in (path, origins.included):
        file, line = problem.filename, problem.lineno
    elif own and frames[own[-1] + 1 :]:
        print("".join(traceback.format_list(frames[own[-1] :])), end="", file=sys.stderr)
    said = problem.msg if isinstance(problem, SyntaxError) else in_one_line(problem)
    where = origins.place(line or 0) if file == path else f"{INCLUDED}, line {line}"
    return f"{where}: {type(problem).__name__}: {said}"


def read(origins: Origins, found: list[str]) -> Any:
    """Let Gunicorn read the file that its command line names, and the environment; add to the problems found."""
    from gunicorn.app.wsgiapp import WSGIApplication

    class Reader(WSGIApplication):
        """Gunicorn's own reader, which goes on after a problem."""

        def load_config_from_file(self, filename: str) -> dict[str, Any]:
            """Run the file and set what it sets."""
            try:
                names = run(filename)
            except BaseException as problem:
                found.append(broken(problem, filename, origins))
                raise SystemExit(1) from problem
            found.extend(wrong_values(self.cfg, names, origins))
            return names

    return Reader()


def said_by_gunicorn(text: str) -> str:
    """Turn Gunicorn's message into one line; an extra of its package goes into a variable of the role."""
    line = " ".join(text.split()) or "Gunicorn gave up reading the configuration"
    extra = re.search(r"gunicorn\[\w+\]", line)
    return f'{line} Example: gunicorn_packages: ["{extra[0]}"]' if extra else line


def import_application(application: Any) -> None:
    """Import the application as a worker does; an exception carries the application's own traceback."""
    os.environ.update(application.cfg.env)
    paths = [os.path.abspath(path) for path in (application.cfg.pythonpath or "").split(",") if path]
    sys.path[:0] = [path for path in reversed(paths) if path not in sys.path]
    application.wsgi()


def main() -> int:
    """Run the check; 0 where all is well."""
    sys.dont_write_bytecode = True
    with_app, path = sys.argv[1] == "--app", sys.argv[-1]
    sys.argv = ["gunicorn", "--config", path]

    from gunicorn.glogging import Logger

    with open(path, encoding="utf-8") as file:
        origins = Origins(file.read())
    found: list[str] = []
    application = None
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.suppress(SystemExit):
        application = read(origins, found)
    before, _mark, error = said.getvalue().partition("\nError: ")
    print(before, end="", file=sys.stderr)
    if application:
        found += problems(application.cfg, vars(sys.modules["__config__"]), Logger.LOG_LEVELS, origins)
    elif not found:
        found.append(said_by_gunicorn(error))
    for problem in found:
        print(f"{NAME}: {problem}", file=sys.stderr)
    if with_app and not found:
        import_application(application)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
