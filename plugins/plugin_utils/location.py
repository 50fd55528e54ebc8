# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Where an application is on the controller, whatever it comes as: for the time of a look, it is a directory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.pyweb.deploy.plugins.module_utils import source
from ansible_collections.pyweb.deploy.plugins.plugin_utils import archive


@dataclass(frozen=True)
class Location:
    """One source on the controller."""

    kind: str
    """``directory``, ``archive`` or ``package``."""
    path: str
    """Absolute; empty for a package that pip finds by its name."""
    subdirectory: str = ""
    """Path of the application inside it."""
    checksum: str = ""
    """``ALGORITHM:HEX`` of an archive's file; empty to leave it unchecked."""
    module: str = ""
    """Dotted name of what Gunicorn imports, by which the directory inside an archive is found."""


@contextlib.contextmanager
def opened(location: Location) -> Iterator[str]:
    """Give the directory that the application is in; what had to be unpacked is removed afterwards.

    Of a package that is a file, the directory holds that file; of one that pip finds by its name, nothing.

    Raises `ValueError` where it is not what `location` says, `OSError` where it can't be read.
    """
    if location.kind == "directory":
        if not os.path.isdir(location.path):
            raise ValueError(f"{location.path} is not a directory on the controller")
        yield _inner(location.path, location)
        return
    with tempfile.TemporaryDirectory(prefix="pyweb-") as directory:
        if location.kind == "archive":
            _check(location)
            archive.unpack(location.path, directory)
            yield _inner(_root(directory, location), location)
        else:
            if location.path:
                shutil.copyfile(location.path, os.path.join(directory, os.path.basename(location.path)))
            yield directory


def _check(location: Location) -> None:
    algorithm, _colon, wanted = location.checksum.partition(":")
    if not algorithm:
        return
    with open(location.path, "rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != wanted.lower():
        raise ValueError(f"the {algorithm} of {location.path} is {found}, not {wanted.lower()}")


def _root(directory: str, location: Location) -> str:
    """Look through the one directory that most archives put around everything, unless the application is beside it."""
    names = os.listdir(directory)
    single = os.path.join(directory, names[0]) if len(names) == 1 else ""
    if not os.path.isdir(single):
        return directory
    if location.subdirectory:
        beside = not os.path.isdir(os.path.join(single, location.subdirectory))
    else:
        # A directory that is only called like the module, and is no package, is the one around everything.
        package = location.module != names[0] or os.path.isfile(os.path.join(single, "__init__.py"))
        beside = package and source.has_module(directory, location.module)
    return directory if beside else single


def _inner(directory: str, location: Location) -> str:
    if not location.subdirectory:
        return directory
    inner = os.path.realpath(os.path.join(directory, location.subdirectory))
    if not os.path.isdir(inner) or not inner.startswith(os.path.realpath(directory) + os.sep):
        raise ValueError(f"{location.path} has no directory {location.subdirectory}")
    return inner
