"""A release of Gunicorn that doesn't exist yet: the newest one under the next number."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path


def next_gunicorn(directory: Path, version: str, following: str) -> Path:
    """Download the wheel of `version` and pack it again as `following`."""
    download = ["download", "--quiet", "--no-deps", "--only-binary=:all:", f"gunicorn=={version}", "--dest"]
    subprocess.run([sys.executable, "-m", "pip", *download, str(directory)], check=True)
    old = directory / f"gunicorn-{version}-py3-none-any.whl"
    new = directory / f"gunicorn-{following}-py3-none-any.whl"
    record = f"gunicorn-{following}.dist-info/RECORD"
    lines = []
    with zipfile.ZipFile(old) as source, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            moved = name.replace(f"gunicorn-{version}.dist-info/", f"gunicorn-{following}.dist-info/")
            if moved == record:
                continue
            content = source.read(name)
            if name.endswith(".dist-info/METADATA"):
                content = content.replace(f"\nVersion: {version}\n".encode(), f"\nVersion: {following}\n".encode(), 1)
            if name == "gunicorn/__init__.py":
                old_numbers, new_numbers = (number.replace(".", ", ").encode() for number in (version, following))
                content = content.replace(old_numbers, new_numbers, 1)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines.append(f"{moved},sha256={digest},{len(content)}\n")
            target.writestr(moved, content)
        target.writestr(record, "".join(lines) + f"{record},,\n")
    return new
