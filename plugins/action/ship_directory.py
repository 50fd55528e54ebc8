# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Action ship_directory: pack on the controller, unpack with ansible.builtin.unarchive on the host."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.pyweb.deploy.plugins.module_utils import source
from ansible_collections.pyweb.deploy.plugins.plugin_utils import archive
from ansible_collections.pyweb.deploy.plugins.plugin_utils.location import Location, opened


class ActionModule(ActionBase):
    """Copy an application's directory as one archive."""

    TRANSFERS_FILES = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action; modules/ship_directory.py documents its options."""
        result = super().run(tmp, task_vars)
        _result, options = self.validate_argument_spec(
            argument_spec={
                "src": {"type": "path", "required": True},
                "dest": {"type": "path", "required": True},
                "digest": {"type": "str", "required": True},
                "exclude": {"type": "list", "elements": "str", "default": []},
                "kind": {"type": "str", "default": "directory", "choices": ["directory", "archive", "package"]},
                "subdirectory": {"type": "str", "default": ""},
                "module": {"type": "str", "default": ""},
            }
        )
        parent, top = os.path.split(os.path.normpath(options["dest"]))
        place = Location(options["kind"], options["src"], options["subdirectory"], module=options["module"])
        handle, packed = tempfile.mkstemp(prefix="pyweb-", suffix=".tar.gz")
        os.close(handle)
        try:
            with opened(place) as directory:
                self._check(directory, options)
                archive.write(directory, options["exclude"], packed, top)
            if self._task.check_mode and not self._is_complete(options["dest"], task_vars or {}):
                return {**result, "changed": True}
            size = os.path.getsize(packed)
            unpacked = self._unpack(packed, parent, task_vars or {})
            return {**result, **unpacked, "dest": options["dest"], "size": size}
        except ValueError as problem:
            raise AnsibleActionFail(f"ship_directory: can't read {options['src']}: {problem}") from problem
        except OSError as problem:
            raise AnsibleActionFail(f"ship_directory: can't pack {options['src']}: {problem}") from problem
        finally:
            os.unlink(packed)

    @staticmethod
    def _check(directory: str, options: dict[str, Any]) -> None:
        try:
            found = source.digest(directory, options["exclude"])
        except OSError as problem:
            raise AnsibleActionFail(f"ship_directory: can't read {options['src']}: {problem}") from problem
        if found != options["digest"]:
            raise AnsibleActionFail(
                f"ship_directory: {options['src']} changed while the play ran (planned {options['digest']}, "
                f"now {found}); nothing was copied, run the play again"
            )

    def _is_complete(self, path: str, task_vars: dict[str, Any]) -> bool:
        """Tell whether a run that was not cut off has copied it; unarchive compares nothing in check mode."""
        return bool(self._execute_remote_stat(f"{path}/{archive.COMPLETE}", all_vars=task_vars, follow=True)["exists"])

    def _unpack(self, packed: str, dest: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Do what the action of unarchive does, but for a look at the directory, which the module takes itself."""
        directory = self._connection._shell.tmpdir
        place = self._connection._shell.join_path(directory, "source")
        self._transfer_file(packed, place)
        self._fixup_perms2((directory, place))
        arguments = {"src": place, "dest": dest, "owner": "root", "group": "root"}
        outcome: dict[str, Any] = self._execute_module("ansible.builtin.unarchive", arguments, task_vars=task_vars)
        return outcome
