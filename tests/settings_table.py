"""Write plugins/plugin_utils/gunicorn_settings.json, the settings of the Gunicorn that is installed.

usage: python tests/settings_table.py [--check]

Of each setting the file has the function that validates it, whether that accepts None, the words that it accepts where
not just any will do, its options on the command line that have other names, and what check_config.py says about it.
With --check nothing is written; the exit status is 1 where the file is not current.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import runpy
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "plugins/plugin_utils/gunicorn_settings.json"
CHECK_CONFIG = runpy.run_path(str(ROOT / "roles/gunicorn/files/check_config.py"))


def accepted(setting: Any, value: Any) -> bool:
    """Tell whether the validator of a setting lets a value pass."""
    from gunicorn.errors import ConfigError

    try:
        setting.validator(value)
    except (ConfigError, *CHECK_CONFIG["REFUSALS"]):
        return False
    return True


def choices(setting: Any) -> list[str | bool]:
    """Words and booleans that a setting accepts, if it doesn't accept just any word: its validator spells them out."""
    if setting.validator.__name__ == "validate_bool" or accepted(setting, "no-such-word"):
        return []
    code = ast.parse(textwrap.dedent(inspect.getsource(setting.validator)))
    found = [node.value for node in ast.walk(code) if isinstance(node, ast.Constant)]
    names = [node.id for node in ast.walk(code) if isinstance(node, ast.Name)]
    for constant in (getattr(inspect.getmodule(setting.validator), name, None) for name in names):
        found += sorted(constant) if isinstance(constant, (frozenset, set, tuple, list)) else []
    words = [word for word in dict.fromkeys(found) if re.fullmatch(r"[\w-]+", str(word)) and isinstance(word, str)]
    words = [word for word in words if accepted(setting, word)]
    return [*words, *(value for value in (True, False) if words and accepted(setting, value))]


def row(setting: Any, owned: bool) -> dict[str, Any]:
    """Give what the table says about a setting; of one that isn't the user's to set (`owned`), what it is called."""
    options = [name for name, other in CHECK_CONFIG["spellings"]({setting.name: setting}).items() if name != other]
    found: dict[str, Any] = {"validator": setting.validator.__name__, "options": options}
    if not owned:
        found["none"] = accepted(setting, None)
        found["choices"] = choices(setting)
        found["accepts"] = CHECK_CONFIG["accepts"](setting, CHECK_CONFIG["SETTINGS"])
    return {name: value for name, value in found.items() if value}


def table() -> str:
    """Write the table."""
    sys.path.insert(0, str(ROOT / ".collections"))
    import gunicorn
    from ansible_collections.pyweb.deploy.plugins.plugin_utils.settings import OWNED_SETTINGS
    from gunicorn.config import make_settings

    rows = {name: row(setting, name in OWNED_SETTINGS) for name, setting in sorted(make_settings().items())}
    lines = [f"  {json.dumps(name)}: {json.dumps(found, ensure_ascii=False)}" for name, found in rows.items()]
    return "\n".join(['{"version": ' + json.dumps(gunicorn.__version__) + ', "settings": {', ",\n".join(lines), "}}\n"])


def main(arguments: list[str]) -> int:
    """Write the table, or check it."""
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    os.environ.clear()  # some of Gunicorn's defaults come from there
    wanted = table()
    if TABLE.exists() and TABLE.read_text(encoding="utf-8") == wanted:
        return 0
    if arguments:
        print(f"{TABLE.name}: the table is old; run: python tests/settings_table.py", file=sys.stderr)
        return 1
    TABLE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
