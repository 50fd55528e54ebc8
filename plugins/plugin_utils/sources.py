# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The kinds of source that an application comes as: one class for each, with all that depends on the kind.

A new kind is a class here, in `KINDS`, and the checks of its keys in `validation.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ansible_collections.pyweb.deploy.plugins.module_utils import source
from ansible_collections.pyweb.deploy.plugins.plugin_utils.location import Location, opened

PACKAGE_FILES = (".whl", ".tar.gz", ".zip")
"""How the name of a package ends that is a file on the controller."""


def on_controller(path: str, playbook_dir: str) -> str:
    """Absolute path on the controller, where a relative one starts at the playbook's directory."""
    return os.path.realpath(os.path.join(playbook_dir, os.path.expanduser(path)))


def is_url(archive: Any) -> bool:
    """Tell whether an archive has to be downloaded."""
    return isinstance(archive, str) and "://" in archive


@dataclass(frozen=True)
class Source:
    """What ``gunicorn_source`` says of one application."""

    given: Mapping[str, Any]
    playbook_dir: str
    cache: str
    """Directory on the controller for what is fetched."""

    key: ClassVar[str]
    """The key of ``gunicorn_source`` that names the kind."""
    options: ClassVar[tuple[str, ...]] = ()
    """Keys that go with it."""
    location: ClassVar[str] = "directory"
    """What it is on the controller once it is there, as `Location` has it."""
    on_host: ClassVar[bool] = False
    """Whether the host has the code already, in a directory that is somebody else's."""

    @property
    def path(self) -> str:
        """Absolute path on the controller; empty where nothing is there."""
        return on_controller(self.given[self.key], self.playbook_dir)

    @property
    def fetch(self) -> dict[str, Any]:
        """What tasks/fetch.yml has to bring to `path`; empty where nothing has to be fetched."""
        return {}

    def _fetched(self) -> str:
        """Place in the cache: another one for each other source."""
        text = json.dumps(dict(self.given), sort_keys=True).encode()
        return os.path.join(self.cache, f"{self.key}-{hashlib.sha256(text).hexdigest()[:16]}")

    @property
    def code(self) -> str:
        """Directory of the host that has the code; empty where the role brings it."""
        return ""

    @property
    def package(self) -> str:
        """Requirement that the source itself is; empty where it is none."""
        return ""

    @property
    def package_file(self) -> str:
        """Name of the file in the code's directory that pip installs; empty where there is none."""
        return ""

    def record(self) -> dict[str, Any]:
        """What the host keeps of it: nothing that may be secret, nor where the controller has its keys."""
        return {key: value for key, value in self.given.items() if key != "key_file"}

    def look(self, requirements: str | list[str], module: str, conf_file: str = "") -> dict[str, Any]:
        """Tell what it holds, as `module_utils.source.look` does. Not for one that is on the host."""
        path = self.path
        place = Location(
            self.location, path, self.given.get("subdirectory", ""), self.given.get("checksum", ""), module=module
        )
        try:
            with opened(place) as directory:
                found = source.look(directory, self.given.get("exclude", []), requirements, module, conf_file=conf_file)
        except (OSError, ValueError) as problem:
            return source.nothing(path, str(problem))
        # What is unpacked for the moment is called by its name on the controller.
        name = path or "a package that pip finds by its name"
        reasons = {key: found[key].replace(directory, name) for key in ("requirements_problem", "conf_problem")}
        return {**found, "place": path, **reasons}


@dataclass(frozen=True)
class Directory(Source):
    """A directory on the controller."""

    key = "directory"
    options = ("exclude",)


@dataclass(frozen=True)
class Git(Source):
    """A repository, of which one commit is fetched."""

    key = "git"
    options = ("version", "subdirectory", "key_file", "submodules", "exclude")

    @property
    def path(self) -> str:
        return self._fetched()

    @property
    def fetch(self) -> dict[str, Any]:
        key_file = self.given.get("key_file")
        return {
            "kind": self.key,
            "url": self.given["git"],
            "path": self.path,
            "version": self.given.get("version", ""),
            "submodules": self.given.get("submodules", True),
            "key_file": os.path.join(self.playbook_dir, os.path.expanduser(key_file)) if key_file else "",
            "by_hand": f"git clone {self.given['git']}",
        }

    def record(self) -> dict[str, Any]:
        command = ["git", "-C", self.path, "rev-parse", "HEAD"]
        commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        return {**super().record(), "commit": commit}


@dataclass(frozen=True)
class Archive(Source):
    """A tar or zip archive, on the controller or at a URL."""

    key = "archive"
    options = ("checksum", "subdirectory", "exclude")
    location = "archive"

    @property
    def path(self) -> str:
        return self._fetched() if self.fetch else super().path

    @property
    def fetch(self) -> dict[str, Any]:
        if not is_url(self.given["archive"]):
            return {}
        url = self.given["archive"]
        return {
            "kind": self.key,
            "url": url,
            "path": self._fetched(),
            "checksum": self.given["checksum"],
            "by_hand": f"curl --fail --remote-name {url}",
        }

    def record(self) -> dict[str, Any]:
        return {**super().record(), "archive": re.sub(r"[?].*", "", self.given["archive"])}


@dataclass(frozen=True)
class Package(Source):
    """A Python package that pip installs: a file on the controller, or found by its name."""

    key = "package"
    location = "package"

    @property
    def path(self) -> str:
        return super().path if self.package_file else ""

    @property
    def package(self) -> str:
        return str(self.given["package"])

    @property
    def package_file(self) -> str:
        return os.path.basename(self.package) if self.package.endswith(PACKAGE_FILES) else ""


@dataclass(frozen=True)
class Existing(Source):
    """A directory of the host that somebody else brings the code to."""

    key = "existing"
    options = ("marker", "exclude")
    on_host = True

    @property
    def path(self) -> str:
        return ""

    @property
    def code(self) -> str:
        return str(self.given["existing"])


KINDS: dict[str, type[Source]] = {kind.key: kind for kind in (Directory, Git, Archive, Package, Existing)}
"""Every kind by its key, in the order in which messages list them."""

ORIGIN = ("directory", "git", "subdirectory", "existing")
"""Keys of ``gunicorn_source`` that tell one application from another, whatever version of it is deployed."""


def make_source(given: Mapping[str, Any], playbook_dir: str, cache: str) -> Source:
    """Make the source of the kind that `given` names, exactly one."""
    (kind,) = (kind for key, kind in KINDS.items() if key in given)
    return kind(given, playbook_dir, cache)
