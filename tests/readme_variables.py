"""Write the table of the role's variables into README.md, between its two markers, from meta/argument_specs.yml.

usage: python tests/readme_variables.py [--check]

With --check nothing is written; the exit status is 1 where the table is not current.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SPECS = ROOT / "roles/gunicorn/meta/argument_specs.yml"
README = ROOT / "README.md"
BEGIN, END = "<!-- variables -->", "<!-- /variables -->"


def table(specs: dict[str, Any]) -> str:
    """Write the variables of the entry point `main` as a table: name, default, first paragraph of the description."""
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, option in specs["argument_specs"]["main"]["options"].items():
        default = json.dumps(option["default"], ensure_ascii=False)
        meaning = re.sub(r"\b[CV]\(([^)]*)\)", r"`\1`", option["description"][0])
        cells = (f"`{name}`", f"`{default}`", meaning)
        rows.append("| " + " | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows)


def current(readme: str, specs: dict[str, Any]) -> str:
    """Give the README with the table as it should be.

    Raises `ValueError` where the README doesn't have the two markers, in this order and once.
    """
    if readme.count(BEGIN) != 1 or readme.count(END) != 1 or readme.index(BEGIN) > readme.index(END):
        raise ValueError(f"README.md needs the lines {BEGIN} and {END}, once and in this order")
    before, after = readme[: readme.index(BEGIN)], readme[readme.index(END) + len(END) :]
    return f"{before}{BEGIN}\n\n{table(specs)}\n\n{END}{after}"


def main(arguments: list[str]) -> int:
    """Write the table, or check it."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    found = README.read_text(encoding="utf-8")
    try:
        wanted = current(found, yaml.safe_load(SPECS.read_text(encoding="utf-8")))
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 1
    if found == wanted:
        return 0
    if arguments:
        print("README.md: the table of variables is old; run: python tests/readme_variables.py", file=sys.stderr)
        return 1
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
