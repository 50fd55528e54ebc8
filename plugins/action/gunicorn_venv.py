# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_venv: ship wheels and credentials, and say why an installer failed."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.pyweb.deploy.plugins.module_utils import source
from ansible_collections.pyweb.deploy.plugins.module_utils.build_unit import LIMIT
from ansible_collections.pyweb.deploy.plugins.plugin_utils import archive, index
from ansible_collections.pyweb.deploy.plugins.plugin_utils.install_failure import Asked, message, reason
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage, enable_pipelining

HERE = ("requirements", "python_version", "package", "wheelhouse", "wheelhouse_digest")
"""Options that are not for the module, whose arguments the host logs: a requirements file may hold a password."""

MINUTE = 60.0
"""Seconds between two lines that say that a build goes on."""


@contextlib.contextmanager
def each_minute(tell: Callable[[int], None]) -> Iterator[None]:
    """Call this with the number of the minute, from a thread that ends with the block."""
    ended = threading.Event()

    def repeat() -> None:
        for minutes in itertools.count(1):
            if ended.wait(MINUTE):
                return
            tell(minutes)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class ActionModule(Stage):
    """Build the virtual environment of an application."""

    def run_module(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run the module; modules/gunicorn_venv.py documents its options."""
        name, host = arguments.get("name"), self._task.delegate_to or task_vars["inventory_hostname"]
        limit = int(arguments.get("timeout", LIMIT)) / 60

        def tell(minutes: int) -> None:
            self._display.display(
                f"{name} on {host}: still building the virtual environment for {minutes} min, at most {limit:g}. "
                f"There, `sudo tail -F /opt/{name}/build/log` shows how far it is"
            )

        with each_minute(tell):  # a module can't say anything before its end
            result = super().run_module(arguments, task_vars)
        failure = result.pop("failure", None)
        if failure:
            result["msg"] = message(self._asked(self._indexes(task_vars)), failure)
            result["reason"] = reason(failure)
        return result

    def module_arguments(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Add what the user must not see, and what is on the controller."""
        indexes = self._indexes(task_vars)
        payload = {"netrc": index.netrc([each for each in indexes if each])}
        if payload["netrc"]:
            enable_pipelining(self._connection)
        given = super().module_arguments(task_vars)
        arguments = {
            **{name: value for name, value in given.items() if name not in HERE},
            "index_url": indexes[0].url if indexes[0] else "",
            "extra_index_urls": [each.url for each in indexes[1:] if each],
            "payload": base64.b64encode(json.dumps(payload).encode()).decode(),
        }
        if given.get("wheelhouse") and not self._task.check_mode:
            arguments["wheels"] = self._ship(str(given["wheelhouse"]), str(given["wheelhouse_digest"]))
        return arguments

    def _indexes(self, task_vars: dict[str, Any]) -> list[index.Index | None]:
        """The package index in place of PyPI, where there is one, and then the others."""
        first = self._templar.template(task_vars.get("gunicorn_index_url", ""))
        others = self._templar.template(task_vars.get("gunicorn_extra_index_urls", []))
        try:
            return [index.parse(str(first)) if first else None, *(index.parse(str(url)) for url in others)]
        except ValueError as problem:
            raise AnsibleActionFail(f"gunicorn_index_url, gunicorn_extra_index_urls: {problem}") from None

    def _ship(self, directory: str, digest: str) -> str:
        """Bring the wheels to the host as one archive; its path there."""
        handle, packed = tempfile.mkstemp(prefix="pyweb-", suffix=".tar.gz")
        os.close(handle)
        try:
            if source.digest(directory) != digest:
                raise AnsibleActionFail(
                    f"gunicorn_wheelhouse: {directory} changed while the play ran; nothing was installed, run it again"
                )
            archive.write(directory, [], packed, "wheels")
            return self.send(packed, "wheels.tar.gz")
        except OSError as problem:
            raise AnsibleActionFail(f"gunicorn_wheelhouse: can't pack {directory}: {problem}") from problem
        finally:
            os.unlink(packed)

    def _asked(self, indexes: list[index.Index | None]) -> Asked:
        """What the message about a failure tells of the task."""
        given = self._task.args
        wanted = [*given.get("specifiers", []), *given.get("requirements", [])]
        return Asked(
            name=str(given["name"]),
            installer=str(given.get("installer", "pip")),
            wanted=[str(line) for line in wanted],
            python_version=str(given.get("python_version", "")),
            package=bool(given.get("package")),
            index_url=indexes[0].url if indexes[0] else "",
            extra_index_urls=[each.url for each in indexes[1:] if each],
            wheelhouse=str(given.get("wheelhouse") or ""),
            tool=str(given.get("tool", "")),
        )
