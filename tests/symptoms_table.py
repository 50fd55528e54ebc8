"""Write the table of symptoms into docs/troubleshooting.md, between its two markers, from module_utils/symptoms.py.

usage: python tests/symptoms_table.py [--check]

With --check nothing is written; the exit status is 1 where the table is not current.
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/troubleshooting.md"
BEGIN, END = "<!-- symptoms -->", "<!-- /symptoms -->"


def row(symptom: Any, hint: Any) -> str:
    """Write what a user reads, and the hint that he gets, with the names as a page has them."""
    found = re.search(symptom.pattern, symptom.sample)
    advice, example = hint(symptom, found, "shop")
    name, _colon, advice = advice.partition(": ")
    cells = (f"`{symptom.sample}`", f"`{name}`: {advice} Example: `{example}`")
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def current(page: str) -> str:
    """Give the page with the table as it should be."""
    code = runpy.run_path(str(ROOT / "plugins/module_utils/symptoms.py"))
    rows = ["| What it says | What to do |", "|---|---|", *(row(each, code["hint"]) for each in code["SYMPTOMS"])]
    before, _begin, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return "\n".join([f"{before}{BEGIN}", "", *rows, "", f"{END}{after}"])


def main(arguments: list[str]) -> int:
    """Write the table, or check it."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    found = PAGE.read_text(encoding="utf-8")
    wanted = current(found)
    if found == wanted:
        return 0
    if arguments:
        print("troubleshooting.md: the table of symptoms is old; run: python tests/symptoms_table.py", file=sys.stderr)
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
