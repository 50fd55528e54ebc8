# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Write the directory of a release: its configuration, its secrets, and links to its code and its venv.

Nothing reads it before it is checked. It is complete once its record is there, which is written last.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ansible_collections.pyweb.deploy.plugins.module_utils.files import FOR_ALL, Attributes
from ansible_collections.pyweb.deploy.plugins.module_utils.secret_files import SecretFiles

if TYPE_CHECKING:
    from ansible_collections.pyweb.deploy.plugins.module_utils.secret_files import Run
    from ansible_collections.pyweb.deploy.plugins.module_utils.switch import Host


class ReleaseStage:
    """The stage of a deploy that writes a release.

    `plan` is what modules/gunicorn_release.py documents. `payload` has what no log may show: ``files``, texts by
    name; ``secrets``, values by name; ``record``, the text of release.json.
    """

    def __init__(self, host: Host, plan: dict[str, Any], payload: dict[str, Any], run: Run) -> None:
        self.host = host
        self.plan = plan
        self.payload = payload
        self._run = run
        self.written: list[str] = []
        """Names of the secrets that were written."""

    def run(self) -> None:
        """Write what differs."""
        files, place = self.host.files, self.host.layout.release(self.plan["release"])
        files.directory(place, Attributes("root", self.plan["group"], "0750"))
        serving = self.host.serving(self.plan)
        for name, text in self.payload["files"].items():
            path = os.path.join(place, name)
            before = None if os.path.exists(path) else serving.file(name, text)
            files.file(path, text, Attributes("root", self.plan["group"], "0640"), before=before)
        for name, target in self.plan["links"].items():
            files.link(os.path.join(place, name), target)
        if self.payload["secrets"]:
            self.write_secrets(os.path.join(place, "secrets"))
        # One that is there says when it was made, and what else was so then.
        files.file(os.path.join(place, "release.json"), self.payload["record"], FOR_ALL, force=False, hidden=True)

    def write_secrets(self, path: str) -> None:
        """Write the secrets for systemd."""
        secrets = SecretFiles(self._run, path, self.payload["secrets"], self.plan["encrypt"])
        self.written = differing = secrets.differing()
        needed, new = secrets.need_work(differing), not os.path.isdir(path)  # as it is in each new release
        self.host.steps.take("write the secrets", path, needed, lambda: secrets.write(differing), hidden=new)
