# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""What a run wants of one application: to deploy it, to go back, or to remove it; worked out from the role's variables.

`from_task_vars` is for every action that needs it. What depends on the host too, or on what the source holds, is in
`Release`, which `rendering.render` writes as texts.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ansible import constants
from ansible_collections.pyweb.deploy.plugins.module_utils import source as source_files
from ansible_collections.pyweb.deploy.plugins.plugin_utils import configuration, firewall, secret_values, validation
from ansible_collections.pyweb.deploy.plugins.plugin_utils import settings as gunicorn
from ansible_collections.pyweb.deploy.plugins.plugin_utils.bind import Address, parse
from ansible_collections.pyweb.deploy.plugins.plugin_utils.quoting import is_true
from ansible_collections.pyweb.deploy.plugins.plugin_utils.sources import Source, make_source, on_controller
from ansible_collections.pyweb.deploy.plugins.plugin_utils.variables import (
    ROLE,
    VariableError,
    defaults,
    read,
    read_all,
    untagged,
)

Data = dict[str, Any]

FIREWALL_PACKAGES = ["ufw", "procps"]
"""procps is for `ufw status verbose` in minimal images."""

DEFAULT_SETTINGS: Data = {
    "backlog": 2048,
    "worker_class": "gthread",
    "timeout": 30,
    "graceful_timeout": 30,
    "loglevel": "info",
    "accesslog": "-",
    "errorlog": "-",
    "access_log_format": '%(h)s %(l)s %(u)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(L)s',
}
"""Gunicorn's settings where the user gives none. templates/gunicorn.conf.py.j2 works `workers` out on the host."""

DEFAULT_THREADS = 16
"""For the worker class gthread only: Gunicorn would run sync workers with threads as gthread, silently."""

DEFAULT_HEALTH: Data = {"path": "/", "status": [200], "timeout": 30, "watch": 3, "expect": "", "host": "localhost"}

CREDENTIALS = ("certfile", "keyfile", "ca_certs")
"""Settings that name a file which only root may have to read: systemd hands the service a copy (LoadCredential=)."""


@dataclass(frozen=True)
class _Named:
    """What all of them have."""

    name: str
    drain_tasks: str
    """File of tasks on the controller; empty for none."""
    enroll_tasks: str

    @property
    def root(self) -> str:
        """Directory of the application on the host."""
        return f"/opt/{self.name}"

    def observation(self) -> Data:
        """What the module gunicorn_info is asked."""
        return {"name": self.name, "user": self.name}


@dataclass(frozen=True)
class Removal(_Named):
    """The application is to be absent. What is on the host tells the rest."""

    remove_data: bool
    remove_packages: bool

    @property
    def desired(self) -> Data:
        """What `removal.make_removal` compares with the host."""
        return {
            "name": self.name,
            "drain": bool(self.drain_tasks),
            "remove_data": self.remove_data,
            "remove_packages": self.remove_packages,
        }


@dataclass(frozen=True)
class Return(_Named):
    """The application is to go back to a release, whose record on the host has the rest."""

    release: str

    @property
    def desired(self) -> Data:
        """What `plan.make_plan` compares with the host."""
        return {
            "name": self.name,
            "restore": self.release,
            "tools": [uv_release()],
            "drain": bool(self.drain_tasks),
            "enroll": bool(self.enroll_tasks),
        }


@dataclass(frozen=True)
class Application(_Named):
    """An application to deploy: a field for each variable of the role that decides something, without its prefix."""

    source: Source
    wsgi_app: str
    requirements: str | list[str]
    packages: list[str]
    installer: str
    require_hashes: bool
    wheelhouse: str
    """Absolute path of a directory on the controller; empty for none."""
    system_packages: list[str]
    version: str
    python: str
    bind: list[str]
    settings: Data
    unsettled: list[str]
    """Settings that have a default of the role, and in the file of `conf_file` a value that only the host can tell."""
    conf_file: str
    conf_extra: str
    logs: str
    access_log: str
    environment: Data = dataclasses.field(repr=False)
    secrets: dict[str, str] = dataclasses.field(repr=False)
    secrets_environment: bool
    health: Data
    before_activate: list[str]
    before_activate_timeout: int
    keep_releases: int
    user: str
    firewall: bool
    firewall_sources: list[str]
    firewall_interface: str
    firewall_limit: bool
    firewall_enable: bool
    hardening: bool
    service_options: Data
    force: bool
    variables: Data = dataclasses.field(repr=False)
    """The variables as they were given, for messages about them."""

    @property
    def module(self) -> str:
        """Dotted name of what Gunicorn imports."""
        return self.wsgi_app.split(":")[0]

    @property
    def service_user(self) -> str:
        """User that the service runs as."""
        return self.user or self.name

    @property
    def logs_directory(self) -> str:
        """Where Gunicorn's logs are that are files."""
        return f"/var/log/gunicorn/{self.name}"

    @functools.cached_property
    def all_settings(self) -> Data:
        """Gunicorn's settings, those of the role included, in the order in which they are written."""
        own = dict(DEFAULT_SETTINGS)
        if self.logs == "files":
            own.update(accesslog=f"{self.logs_directory}/access.log", errorlog=f"{self.logs_directory}/error.log")
        if self.access_log == "json":
            own["access_log_format"] = "%(json)s"
        if self.settings.get("worker_class", "gthread") == "gthread":
            own["threads"] = DEFAULT_THREADS
        return {**own, **self.settings}

    @property
    def credentials(self) -> dict[str, str]:
        """Settings of Gunicorn that name files of the host which systemd hands to the service."""
        return {name: path for name, path in self.settings.items() if name in CREDENTIALS and path}

    @property
    def health_check(self) -> Data:
        """What a healthy answer is, and for how long to go on asking."""
        given = {**DEFAULT_HEALTH, **self.health}
        numbers = {name: int(given[name]) for name in ("timeout", "watch")}
        return {**given, **numbers, "status": [int(status) for status in given["status"]]}

    @property
    def secret_names(self) -> list[str]:
        """Names of the secrets, sorted."""
        return sorted(self.secrets)

    @functools.cached_property
    def secrets_digest(self) -> str:
        """Something that differs when one of the secrets does; it takes a moment on purpose."""
        return secret_values.digest(self.secrets, self.name)

    @functools.cached_property
    def wheelhouse_digest(self) -> str:
        """Digest of the wheels; empty without a wheelhouse."""
        return source_files.digest(self.wheelhouse) if self.wheelhouse else ""

    @functools.cached_property
    def addresses(self) -> list[Address]:
        """What to listen on."""
        return [parse(str(text)) for text in self.bind]

    @property
    def clients(self) -> Data | None:
        """Clients that the firewall allows; None to leave it alone."""
        if not self.firewall:
            return None
        return {
            "sources": self.firewall_sources,
            "interface": self.firewall_interface,
            "action": "limit" if self.firewall_limit else "allow",
        }

    @property
    def specifiers(self) -> list[str]:
        """What Gunicorn itself needs installed, with these settings."""
        return gunicorn.specifiers(self.settings, self.version)

    @property
    def tool(self) -> str:
        """What is built to install the packages, a name among the venvs; empty for pip, which is there."""
        return uv_release() if self.installer == "uv" else ""

    @property
    def debian_packages(self) -> list[str]:
        """Debian packages for the host: pip for Debian's own Python, ensurepip for others of the distribution."""
        needed: list[str] = []
        if self.python in ("python3", "/usr/bin/python3"):
            needed.append("python3-pip-whl")
        elif re.fullmatch(r"(/usr/bin/)?python3[.][0-9]+", self.python):
            needed.append(os.path.basename(self.python) + "-venv")
        needed += FIREWALL_PACKAGES if self.firewall else []
        needed += ["logrotate"] if self.logs == "files" else []
        return needed + self.system_packages

    def observation(self) -> Data:
        """What the module gunicorn_info is asked."""
        asked = {
            "name": self.name,
            "user": self.service_user,
            "python": self.python,
            # The last one, since in check mode nothing can be asked of apt without it.
            "packages": [*self.debian_packages, "python3-apt"],
            "needed": list(self.credentials.values()),
            "service_options": self.service_options,
        }
        if self.source.on_host:
            given = self.source.given
            asked["source"] = {
                "path": self.source.code,
                "exclude": given.get("exclude", []),
                "requirements": self.requirements,
                "module": self.module,
                "marker": given.get("marker", ""),
                "conf_file": self.conf_file,
            }
        return asked

    def look(self, observed: Mapping[str, Any]) -> Data:
        """Tell what the source holds, as `module_utils.source.look` does."""
        if self.source.on_host:
            found: Data = observed["source"]
            return found
        return self.source.look(self.requirements, self.module, self.conf_file)

    def with_conf_file(self, source: Mapping[str, Any]) -> Application:
        """Take the settings of the file in the source that the role includes: those that are given win over it."""
        said = source["conf"] if self.conf_file else []
        ours = {
            name: value for name, value in configuration.settled(said).items() if name not in gunicorn.OWNED_SETTINGS
        }
        defaults = {*DEFAULT_SETTINGS, "keepalive", "threads", "workers"} - set(self.settings)
        unsettled = [name for name in configuration.unsettled(said) if name in defaults]
        return dataclasses.replace(self, settings={**ours, **self.settings}, unsettled=unsettled)


@dataclass(frozen=True)
class Release:
    """An application with what its source holds, for one host: code, venv, configuration and units."""

    wanted: Application
    source: Mapping[str, Any]
    """What `Application.look` found."""
    observed: Mapping[str, Any]
    """What the module gunicorn_info found."""

    @functools.cached_property
    def app(self) -> Application:
        """The application, with what its source says of Gunicorn's settings."""
        return self.wanted.with_conf_file(self.source)

    @property
    def group(self) -> str:
        """Group that the service runs as."""
        return str(self.observed["user"].get("group", self.app.service_user))

    @property
    def encrypts(self) -> bool:
        """Whether the host's systemd decrypts secrets."""
        return bool(self.observed["encrypts"])

    @property
    def code(self) -> str:
        """Digest of the code, which names its directory."""
        return str(self.source["digest"])

    @property
    def directory(self) -> str:
        """Directory of the code that the role brings."""
        return f"{self.app.root}/code/{self.code}"

    @property
    def code_directory(self) -> str:
        """Directory that the application runs in."""
        return self.app.source.code or self.directory

    @property
    def needs_source(self) -> bool:
        """Whether something is installed from the code."""
        local = any(package.startswith(".") for package in self.app.packages)
        return bool(self.source["needs_source"] or local or self.app.source.package_file)

    @property
    def specifiers(self) -> list[str]:
        """What is installed besides the requirements. With hashes, Gunicorn is a line of those."""
        app = self.app
        if app.require_hashes or self.source["locked"]:
            return []
        file, package = app.source.package_file, app.source.package
        itself = [f"{self.directory}/{file}"] if file else [package] if package else []
        return [*app.specifiers, *itself, *app.packages]

    @property
    def editable(self) -> bool:
        """Whether the venv may refer to the code, as lock files may want it."""
        return any(line.startswith(("-e", "--editable")) for line in self.source["requirements"]) or any(
            path.endswith((".lock", ".toml")) for path in self.source["requirements_files"]
        )

    @functools.cached_property
    def venv(self) -> str:
        """Digest of the interpreter and of everything that is asked for, which names the venv.

        Where it comes from doesn't count, but for a wheelhouse.
        """
        app, python = self.app, self.observed["python"]
        parts = [
            python.get("path", ""),
            python.get("version", ""),
            app.specifiers,
            app.source.package,
            app.packages,
            self.source["requirements"],
            self.code if self.needs_source else "",
            *([app.wheelhouse_digest] if app.wheelhouse else []),
            *([app.installer] if app.installer != "pip" else []),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[: source_files.DIGEST_LENGTH]

    @property
    def venv_directory(self) -> str:
        """Directory of the venv."""
        return f"{self.app.root}/venvs/{self.venv}"

    def desired(self, texts: Mapping[str, Any]) -> Data:
        """What `plan.make_plan` compares with the host."""
        app = self.app
        addresses = [
            {
                "listen_stream": address.listen_stream,
                "host": address.host,
                "port": address.port,
                "path": address.path,
                "needs_rule": address.needs_rule,
                "destination": address.destination if address.needs_rule else "",
            }
            for address in app.addresses
        ]
        return {
            "name": app.name,
            "restore": "",
            "drain": bool(app.drain_tasks),
            "enroll": bool(app.enroll_tasks),
            "user": app.service_user,
            "create_user": not app.user,
            "force": app.force,
            "code": self.code,
            "existing": app.source.code,
            "source_problems": validation.source_problems(app.variables, self.source),
            "venv": self.venv,
            "tools": [app.tool] if app.tool else [],
            "python": app.python,
            "packages": app.debian_packages,
            "firewall_packages": FIREWALL_PACKAGES,
            "addresses": addresses,
            "tls": "certfile" in app.credentials,
            "policy": {"health": app.health_check, "firewall": app.clients, "keep": app.keep_releases},
            "credentials": app.credentials,
            "rules": firewall.rules(addresses, app.clients),
            "firewall_enable": app.firewall_enable,
            # Only to say what differs. Of the environment no value, also where one is in a setting.
            "settings": {
                name: value
                for name, value in {**app.all_settings, "wsgi_app": app.wsgi_app}.items()
                if name != "raw_env"
            },
            "environment": sorted(app.environment),
            "secrets": app.secret_names,
            "secrets_digest": app.secrets_digest,
            "check_config": check_config(),
            **texts,
        }


@functools.cache
def uv_release() -> str:
    """Name of the uv that the role installs, with its release; it is kept and removed like a venv."""
    first = (ROLE / "files/uv.txt").read_text().split()[0]
    return first.replace("==", "-")


@functools.cache
def check_config() -> str:
    """Text of the program that checks a configuration on the host."""
    return (ROLE / "files/check_config.py").read_text()


Wanted = Application | Return | Removal
Kind = TypeVar("Kind", Application, Return, Removal)


@dataclass(frozen=True)
class Context:
    """What a run knows besides the variables of the role."""

    playbook_dir: str
    cache: str
    """Directory on the controller for sources that are fetched."""
    names: list[str] = dataclasses.field(default_factory=list)
    """Variables that may be meant for the role, see `like_ours`, to find misspelt ones."""
    earlier: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Applications that the run has deployed to the host already; see `validation.remembered`."""


def from_task_vars(action: Any, task_vars: Mapping[str, Any]) -> Wanted:
    """Tell what the role's variables want, for an action of any of its tasks.

    Raises `VariableError` with all that is wrong with them.
    """
    context = Context(
        playbook_dir=str(task_vars["playbook_dir"]),
        cache=os.path.join(os.path.expanduser(constants.config.get_config_value("ANSIBLE_HOME")), "pyweb.deploy"),
        names=like_ours(task_vars),
        earlier=deployed(action, task_vars).get(worked_on(task_vars), {}),
    )
    values = read_all(action._templar, task_vars)
    check(values, context)
    return make_wanted(values, context)


def like_ours(task_vars: Mapping[str, Any]) -> list[str]:
    """Names of variables that begin as the role's do, but for those to which one of the role's refers.

    Nothing is worked out for it: neither what they hold, nor whether the reference counts.
    """
    names = {name for name in task_vars if name.startswith(validation.PREFIX)}
    others = names - set(validation.VARIABLES)
    texts = (text for name in validation.VARIABLES for text in _texts(task_vars.get(name))) if others else ()
    return sorted(names - {word for text in texts for word in re.findall(r"gunicorn_\w+", text) if word in others})


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, of those that need no vault."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def is_described(templar: Any, task_vars: Mapping[str, Any]) -> bool:
    """Tell whether the variables are about an application that is to be there."""
    state, release, source = (read(f"gunicorn_{name}", templar, task_vars) for name in ("state", "release", "source"))
    return state != "absent" and bool(source or release)


def deployed(action: Any, task_vars: Mapping[str, Any]) -> Data:
    """What this run has deployed so far, by host and application, as the role's tasks keep it."""
    found: Data = untagged(action._templar.template(task_vars.get("__gunicorn_run", {})))
    return found


def remember(action: Any, task_vars: Mapping[str, Any], wanted: Wanted) -> Data:
    """What this run has deployed, with this application."""
    before = deployed(action, task_vars)
    if not isinstance(wanted, Application):
        return before
    host = worked_on(task_vars)
    return {**before, host: {**before.get(host, {}), wanted.name: validation.remembered(wanted.variables)}}


def worked_on(task_vars: Mapping[str, Any]) -> str:
    """Name of the host that a task works on: a play may have delegated it."""
    return str(next(iter(task_vars.get("ansible_delegated_vars") or [task_vars["inventory_hostname"]])))


def check(values: Mapping[str, Any], context: Context) -> None:
    """Raise `VariableError` with all that is wrong with the values."""
    files = {name: _path(values, name, context) for name in validation.TASK_FILES}
    problems = validation.problems(
        values,
        context.names,
        _path(values, "gunicorn_wheelhouse", context),
        context.earlier,
        uv_release(),
        {name: file for name, file in files.items() if file},
        [name for name, default in defaults().items() if values.get(name) == default],
    )
    if problems:
        raise VariableError(problems)


def make_wanted(values: Mapping[str, Any], context: Context) -> Wanted:
    """Tell what the values want; `check` has nothing against them."""
    hooks = {name: _path(values, f"gunicorn_{name}", context) for name in ("drain_tasks", "enroll_tasks")}
    if values["gunicorn_state"] == "absent":
        return _filled(Removal, values, **hooks)
    if values["gunicorn_release"]:
        return _filled(Return, values, **hooks)
    known = {
        **hooks,
        "source": make_source(values["gunicorn_source"], context.playbook_dir, context.cache),
        "wheelhouse": _path(values, "gunicorn_wheelhouse", context),
        # What is appended to the configuration wins, so it counts as the setting that it is.
        "settings": {**values["gunicorn_settings"], **configuration.extra_settings(values["gunicorn_conf_extra"])},
        "unsettled": [],
        "variables": dict(values),
    }
    return _filled(Application, values, **known)


def _path(values: Mapping[str, Any], name: str, context: Context) -> str:
    """Absolute path on the controller that a variable means; empty for none."""
    value = values.get(name)
    return on_controller(value, context.playbook_dir) if value and isinstance(value, str) else ""


_CASTS: dict[str, Callable[[Any], Any]] = {"bool": is_true, "int": int, "str": str}
"""By the type of a field: Ansible hands on numbers and booleans as texts too."""


def _filled(kind: type[Kind], values: Mapping[str, Any], **known: Any) -> Kind:
    """Make it of the variables that are named as its fields are."""
    fields = [field for field in dataclasses.fields(kind) if field.name not in known]
    given = {
        field.name: _CASTS.get(str(field.type), lambda value: value)(values[f"gunicorn_{field.name}"])
        for field in fields
    }
    return kind(**known, **given)
