# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action plugin of the module gunicorn_code: pack the code and bring it along."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.pyweb.deploy.plugins.module_utils import source
from ansible_collections.pyweb.deploy.plugins.plugin_utils import archive
from ansible_collections.pyweb.deploy.plugins.plugin_utils.location import Location, opened
from ansible_collections.pyweb.deploy.plugins.plugin_utils.stage import Stage

INLINE = 1 << 20
"""Bytes of an archive that still travel with the module, in one execution; a larger one needs four."""

HERE = ("src", "kind", "subdirectory", "module", "exclude")
"""Options that are about the controller."""


class ActionModule(Stage):
    """Bring the code of an application to its host."""

    def module_arguments(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Pack the code, unless there is none to bring."""
        given = super().module_arguments(task_vars)
        arguments = {name: value for name, value in given.items() if name not in HERE}
        if given.get("digest") and given.get("src"):
            arguments.update(self._pack(given))
        return arguments

    def _pack(self, given: dict[str, Any]) -> dict[str, str]:
        """Pack it, and send the archive ahead where it is large."""
        place = Location(
            given.get("kind", "directory"), given["src"], given.get("subdirectory", ""), module=given.get("module", "")
        )
        exclude = given.get("exclude") or []
        handle, packed = tempfile.mkstemp(prefix="pyweb-", suffix=".tar.gz")
        os.close(handle)
        try:
            with opened(place) as directory:
                self._compare(directory, given["src"], exclude, given["digest"])
                archive.write(directory, exclude, packed, ".")
            if os.path.getsize(packed) <= INLINE:
                return {"archive": base64.b64encode(Path(packed).read_bytes()).decode()}
            # In check mode only --diff looks into it.
            needed = self._task.diff or not self._task.check_mode
            return {"archive_file": self.send(packed, "code.tar.gz")} if needed else {}
        except ValueError as problem:
            raise AnsibleActionFail(f"gunicorn_source: can't read {given['src']}: {problem}") from problem
        except OSError as problem:
            raise AnsibleActionFail(f"gunicorn_source: can't pack {given['src']}: {problem}") from problem
        finally:
            os.unlink(packed)

    @staticmethod
    def _compare(directory: str, shown: str, exclude: list[str], planned: str) -> None:
        found = source.digest(directory, exclude)
        if found != planned:
            raise AnsibleActionFail(
                f"gunicorn_source: {shown} changed while the play ran (planned {planned}, now {found}); nothing was "
                "copied, run the play again"
            )
