# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Build a virtual environment in a build unit, and put a copy of it, which is root's, in its place.

A venv is named by the digest of what it was asked to hold, so one that is complete never changes. It appears in its
place as a whole: what an interrupted run left is in the private directory of the build, which the next run removes.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import shutil
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.pyweb.deploy.plugins.module_utils import copying, lock_files
from ansible_collections.pyweb.deploy.plugins.module_utils import requirements as requirements_file
from ansible_collections.pyweb.deploy.plugins.module_utils.build_unit import (
    ROOTS,
    SYSTEM_PYTHON,
    BuildError,
    BuildFailedError,
    Mount,
)
from ansible_collections.pyweb.deploy.plugins.module_utils.disk import lack_of_space
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import COMPLETE
from ansible_collections.pyweb.deploy.plugins.module_utils.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.pyweb.deploy.plugins.module_utils.build_unit import BuildUnit
    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Command

PIP_WHEELS = "/usr/share/python-wheels/pip-*.whl"
"""Where Debian's package python3-pip-whl has pip."""

PASSED_ON = re.compile(
    r"(?i:(https?|ftp|all|no)_proxy)|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE|PIP_[A-Z0-9_]+|UV_[A-Z0-9_]+"
)
"""Variables of the module's own environment that the installer sees: the play's ``environment`` may set them."""

SPACE = 128 << 20
"""Bytes that a build must find free. Flask and Gunicorn take 9 MiB, Django or Celery with a driver 65; each venv is
there twice, until root's copy is complete. What needs more fails in the installer; it says what is free then."""

CONFIGURATION = ("/etc/pip.conf", "/etc/uv/uv.toml")
"""The host's configuration of the installers, which may be readable by root only."""


class InstallFailedError(Exception):
    """The installer failed; the action makes a message of it."""

    def __init__(self, installer: str, failure: BuildFailedError, asked: str, free: int) -> None:
        super().__init__(failure.reason)
        self.details = {
            "installer": installer,
            "output": failure.output,
            "reason": failure.reason,
            "asked": asked,
            "free": free,
        }


class Request(NamedTuple):
    """What is to be installed, and from where. The module documents each."""

    name: str
    venv: str
    python: str
    installer: str
    specifiers: list[str]
    requirements_files: list[str]
    require_hashes: bool
    code: str
    existing: bool
    needs_source: bool
    editable: bool
    tool: str
    tool_requirements: str
    index_url: str
    extra_index_urls: list[str]
    wheels: str
    netrc: str

    @property
    def build(self) -> str:
        """The private directory of the build."""
        return os.path.join(ROOTS, self.name, "build")

    def place(self, venv: str) -> str:
        """Directory of one of the application's virtual environments."""
        return os.path.join(ROOTS, self.name, "venvs", venv)

    @property
    def source(self) -> str:
        """Where the build sees the source: at its own place, unless that may be where nobody else gets to."""
        return os.path.join(self.build, "source") if self.existing and not self.refers else self.code

    @property
    def refers(self) -> bool:
        """Whether the venv may refer to the source, in which case that must be at its own place."""
        return self.editable and self.needs_source

    @property
    def sources(self) -> list[str]:
        """Options of the installer about where packages come from."""
        if self.wheels:
            return ["--no-index", "--find-links", os.path.join(self.build, "wheels")]
        options = ["--index-url", self.index_url] if self.index_url else []
        for url in self.extra_index_urls:
            options += ["--extra-index-url", url]
        return options

    @property
    def paths(self) -> list[str]:
        """Requirements files, where the build sees them."""
        return [os.path.join(self.source, path) for path in self.requirements_files]


class Pip(NamedTuple):
    """How pip is called for an interpreter."""

    venv_options: tuple[str, ...]
    """Options of the module ``venv``."""
    wheel: str
    """The file that it runs from; empty where it is in the venv."""

    def command(self, venv: str) -> list[str]:
        """Begin of a call."""
        if not self.wheel:
            return [os.path.join(venv, "bin", "pip")]
        # As a program, not as a module: nothing of the current directory is imported.
        return [os.path.join(venv, "bin", "python"), os.path.join(self.wheel, "pip")]


def find_pip(python: str) -> Pip:
    """Choose a pip: the distribution's runs from its file with the distribution's Python; others bring their own.

    An old pip doesn't run with a later Python.
    """
    wheels = sorted(glob.glob(PIP_WHEELS))
    if wheels and os.path.realpath(python) == os.path.realpath(SYSTEM_PYTHON):
        return Pip(("--without-pip",), wheels[-1])
    return Pip((), "")


def script(*commands: Iterable[str]) -> str:
    """A shell script that ends with the first command that fails."""
    return "".join(f"{line}\n" for line in ("set -e", *(" ".join(map(shlex.quote, command)) for command in commands)))


def make_venv(request: Request, venv: str, options: Iterable[str] = ()) -> list[str]:
    """The command that makes a venv. With -I nothing of the current directory is imported."""
    return [request.python, "-I", "-m", "venv", *options, request.place(venv)]


def pip_install(request: Request, pip: Pip, venv: str, *arguments: str) -> list[str]:
    """The call of pip that installs into a venv."""
    options = ["--disable-pip-version-check", "--no-input", *request.sources, "--no-cache-dir"]
    return [*pip.command(request.place(venv)), "install", *options, *arguments]


def pip_script(request: Request, pip: Pip) -> str:
    """Install with pip: one call, which resolves everything together."""
    arguments = ["--require-hashes"] if request.require_hashes else []
    for path in request.paths:
        arguments += ["--requirement", path]
    return script(
        ["cd", request.source if request.needs_source else os.path.join(request.build, "work")],
        make_venv(request, request.venv, pip.venv_options),
        pip_install(request, pip, request.venv, *arguments, "--", *request.specifiers),
    )


def tool_script(request: Request, pip: Pip) -> str:
    """Install uv with pip: one release, with known hashes."""
    options = ["--only-binary", "uv", "--no-deps", "--requirement", os.path.join(request.build, "uv.txt")]
    return script(
        ["cd", os.path.join(request.build, "work")],
        make_venv(request, request.tool, pip.venv_options),
        pip_install(request, pip, request.tool, *options),
    )


def uv_script(request: Request) -> str:
    """Install with uv. It reads its lock file first, and installs what that says."""
    work, venv = os.path.join(request.build, "work"), request.place(request.venv)
    uv = [os.path.join(request.place(request.tool), "bin", "uv"), "--system-certs", "--no-progress"]
    uv += ["--no-python-downloads", "--cache-dir", os.path.join(work, "cache")]
    locked = os.path.join(work, "uv.lock.txt")
    commands = [
        ["cd", request.source if request.needs_source else work],
        [*uv, "venv", "--no-project", "--python", request.python, "--allow-existing", venv],
    ]
    arguments = ["--require-hashes"] if request.require_hashes else []
    for path in request.paths:
        is_lock = os.path.basename(path) == lock_files.UV_LOCK
        if is_lock:
            export = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--python", request.python]
            commands.append([*uv, *export, "--project", os.path.dirname(path), "--output-file", locked])
        arguments += ["--requirement", locked if is_lock else path]
    # The cache is another mount than the venv: there is nothing to link.
    install = ["pip", "install", "--python", venv, "--compile-bytecode", "--link-mode", "copy", *request.sources]
    commands.append([*uv, *install, *arguments, "--", *request.specifiers])
    return script(*commands)


def ask_script(request: Request, pip: Pip, venv: str, distribution: str) -> str:
    """Ask the indexes for what pip did not find: it doesn't say by itself what each of them answered."""
    options = [
        "--disable-pip-version-check",
        "--no-input",
        "--no-cache-dir",
        "-vv",
        "--retries",
        "0",
        "--timeout",
        "10",
    ]
    return script([*pip.command(request.place(venv)), *options, "index", "versions", *request.sources, distribution])


def missing(output: str) -> str:
    """Name of the distribution that pip found nowhere, or not in the wanted version; else empty."""
    match = re.search(r"No matching distribution found for ([A-Za-z0-9][A-Za-z0-9._-]*)", output)
    return match[1] if match else ""


def pass_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Give those variables of an environment that an installer needs."""
    passed = {name: value for name, value in environment.items() if PASSED_ON.fullmatch(name)}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **passed}


def is_complete(path: str) -> bool:
    """Tell whether a venv was completed, and all of it and its interpreter are still there."""
    try:
        with open(os.path.join(path, COMPLETE), "rb") as mark:
            names = mark.read().split(b"\0")
    except OSError:
        return False
    there = all(os.path.lexists(os.path.join(os.fsencode(path), name)) for name in names)
    return there and os.path.exists(os.path.join(path, "bin", "python"))


def list_files(directory: str) -> bytes:
    """Names of all files and links in a directory, as the mark of a venv has them: nothing of it may be missing."""
    found = []
    for place, _directories, files in os.walk(directory):
        found += [os.path.relpath(os.path.join(place, name), directory) for name in files]
    return b"\0".join(sorted(map(os.fsencode, found)))


class VenvStage:
    """The stage of a deploy that builds the venv."""

    def __init__(self, request: Request, unit: BuildUnit, run: Command, environment: Mapping[str, str]) -> None:
        self.request = request
        self.unit = unit
        self._run = run
        self._environment = pass_on(environment)
        self._pip = Pip((), "")

    def run(self, check: bool) -> Steps:
        """Build what is missing, or say what would be built."""
        steps = Steps(check)
        if not check:
            self.unit.clear()
        try:
            self._take(steps)
        finally:
            if not check:
                self.unit.clear()
        return steps

    def _take(self, steps: Steps) -> None:
        request, unit = self.request, self.unit
        place, tool = request.place(request.venv), request.place(request.tool) if request.tool else ""
        builds = not is_complete(place)
        if builds and not steps.check:
            self._require_space()
        has_user = unit.has_user() if builds else True
        steps.take("create the build user", f"user {request.name}-build", not has_user, unit.create_user)
        if tool:
            steps.take("install uv", tool, builds and not is_complete(tool), self._build_tool)
        steps.take("install the packages", place, builds, self._build_venv)

    def _require_space(self) -> None:
        """Fail where the disk is too full, before anything is written."""
        home = os.path.join(ROOTS, self.request.name)
        problem = lack_of_space(home, SPACE)
        if problem:
            raise BuildError(f"there is no room in {home}: {problem}")

    def _build_tool(self) -> None:
        self._prepare()
        path = self.unit.write("uv.txt", self.request.tool_requirements, 0o644)
        self._build(self.request.tool, tool_script(self.request, self._pip), [Mount(path, path)], "pip")

    def _build_venv(self) -> None:
        request = self.request
        self._prepare()
        mounts = []
        if request.requirements_files or request.needs_source:
            mounts.append(self._copy_source())
        if request.installer == "uv":
            place = request.place(request.tool)
            self._build(request.venv, uv_script(request), [*mounts, Mount(place, place)], "uv")
        else:
            self._build(request.venv, pip_script(request, self._pip), mounts, "pip")
        if request.refers and not request.existing:
            # The venv refers to the code, with what was made in it: compiled modules, metadata.
            options = copying.Options(skip_special=True, only_new=True)
            copying.copy_tree(os.path.join(self.unit.directory, "source"), request.code, options)

    def _prepare(self) -> None:
        """Make the private directory anew, with what any build needs."""
        self.unit.clear()
        self.unit.open()
        self._pip = find_pip(self.request.python)

    def _supplies(self) -> list[Mount]:
        """What the installer reads besides the source: credentials, wheels, the host's configuration."""
        mounts = []
        if self.request.netrc:
            path = self.unit.write("netrc", self.request.netrc, 0o400, own=True)
            mounts.append(Mount(path, path))
        if self.request.wheels:
            path = self.unit.make_directory("wheels")
            unpack_wheels(self.request.wheels, path)
            mounts.append(Mount(path, path))
        for path in CONFIGURATION:
            if os.path.isfile(path) and not os.stat(path).st_mode & 0o004:
                with open(path, encoding="utf-8") as file:
                    copy = self.unit.write(os.path.basename(path), file.read(), 0o400, own=True)
                mounts.append(Mount(copy, path))
        return mounts

    def _copy_source(self) -> Mount:
        """Copy what the build may write to, or where only root may read: all of the source, or what names packages."""
        request = self.request
        target = self.unit.make_directory("source")
        options = copying.Options(self.unit.owner, skip_special=True)
        if request.needs_source or any(map(lock_files.needs_uv, request.requirements_files)):
            copying.copy_tree(request.code, target, options)
        else:
            root = os.path.realpath(request.code)
            for path in requirements_file.nested_files(request.code, request.requirements_files):
                if not os.path.realpath(os.path.join(root, path)).startswith(root + "/"):
                    raise BuildError(f"{path} leads out of {request.code}")
                place = os.path.join(target, path)
                os.makedirs(os.path.dirname(place), exist_ok=True)
                copying.copy_file(os.path.join(request.code, path), place, options)
        return Mount(target, request.source, writable=True)

    def _build(self, venv: str, text: str, mounts: list[Mount], installer: str) -> None:
        """Build a venv, and put it in its place."""
        request, place = self.request, self.request.place(venv)
        built = self.unit.make_directory("venv")
        mounts = [Mount(built, place, writable=True), *mounts, *self._supplies()]
        netrc = {"NETRC": os.path.join(self.unit.directory, "netrc")} if request.netrc else {}
        environment = {**self._environment, **netrc}
        try:
            self.unit.run(text, environment, mounts)
        except BuildFailedError as failure:
            free = shutil.disk_usage(os.path.join(ROOTS, request.name)).free
            asked = self._ask(venv, environment, mounts, failure) if installer == "pip" else ""
            raise InstallFailedError(installer, failure, asked, free) from None
        self._install(built, place)

    def _ask(self, venv: str, environment: Mapping[str, str], mounts: list[Mount], failure: BuildFailedError) -> str:
        distribution = missing(failure.output)
        if not distribution or self.request.wheels:
            return ""
        try:
            return self.unit.run(ask_script(self.request, self._pip, venv, distribution), environment, mounts)
        except BuildFailedError as answer:
            return answer.output  # "not found" is one

    def _install(self, built: str, place: str) -> None:
        """Put a copy, which is root's, where the venv belongs: all of it at once, with its mark."""
        ready = os.path.join(self.unit.directory, "ready")
        copying.copy_tree(built, ready)
        files = list_files(ready)
        self._write_to_disk(ready)
        with open(os.path.join(ready, COMPLETE), "xb") as mark:
            mark.write(files)
            mark.flush()
            os.fchmod(mark.fileno(), 0o644)
            os.fsync(mark.fileno())
        if os.path.lexists(place):  # one that lacks something, and from which a service may run
            os.rename(place, os.path.join(self.unit.directory, f"old-{os.path.basename(place)}"))
        os.rename(ready, place)
        self._write_to_disk(os.path.dirname(place))

    def _write_to_disk(self, path: str) -> None:
        """Have everything on the disk before the mark is."""
        code, out, err = self._run(["sync", "--file-system", path])
        if code != 0:
            raise BuildError(f"sync failed: {(err or out).strip()}")


def unpack_wheels(archive: str, directory: str) -> None:
    """Unpack the files of an archive that the action packed, without the directory that they are in."""
    with tarfile.open(archive) as packed:
        for member in packed:
            path = os.path.normpath(member.name).partition("/")[2]
            content: Any = packed.extractfile(member) if member.isfile() and path else None
            if content and ".." not in path.split("/"):
                place = os.path.join(directory, path)
                os.makedirs(os.path.dirname(place), exist_ok=True)
                with open(place, "wb") as file:
                    shutil.copyfileobj(content, file)
                os.chmod(place, 0o644)
