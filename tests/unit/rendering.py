"""The role's gunicorn.conf.py, written by Ansible in this process: its template, its defaults, its own variables."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar


@functools.cache
def _known(role: Path) -> dict[str, Any]:
    """Read the role's variables, whose strings Ansible takes for templates."""
    files = (role / "defaults/main.yml", role / "vars/main.yml")
    return {
        name: value
        for file in files
        for name, value in DataLoader().load_from_file(str(file), trusted_as_template=True).items()
    }


def configuration(role: Path, **variables: Any) -> str:
    """Write gunicorn.conf.py with these variables; strings in them are no templates."""
    given = {**_known(role), "ansible_search_path": [str(role)], **variables}
    loader = DataLoader()
    lookup = lookup_loader.get("ansible.builtin.template", loader=loader, templar=Templar(loader, variables=given))
    (text,) = lookup.run(["gunicorn.conf.py.j2"], given)
    return str(text)
