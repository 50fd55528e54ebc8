# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Filter gunicorn_indexes: URLs of package indexes without their credentials, and these as a netrc file."""

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_indexes
author: The pyweb.deploy authors (@pyweb)
version_added: "0.1.0"
short_description: Take the credentials out of the URLs of package indexes
description:
  - Splits C(https://USER:PASSWORD@HOST/simple) into what may be on a command line and what must not.
positional: _input
options:
  _input:
    description: The URLs. User and password are percent-encoded.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the URLs that pip is called with
  ansible.builtin.debug:
    msg: "{{ (['https://me:s3cret@packages.example/simple'] | pyweb.deploy.gunicorn_indexes).urls }}"
"""

RETURN = r"""
_value:
  description:
    - C(urls), the URLs without credentials, and C(netrc), the text of a netrc file with the credentials, empty where
      there are none.
  type: dict
"""

from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.pyweb.deploy.plugins.plugin_utils import index


def gunicorn_indexes(urls: Iterable[str]) -> dict[str, Any]:
    """Take the credentials out of URLs; see `index.parse` and `index.netrc`."""
    try:
        found = [index.parse(url) for url in urls]
        return {"urls": [each.url for each in found], "netrc": index.netrc(found)}
    except ValueError as problem:
        raise AnsibleFilterError(f"gunicorn_indexes: {problem}") from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Map each filter's name to its function."""
        return {"gunicorn_indexes": gunicorn_indexes}
