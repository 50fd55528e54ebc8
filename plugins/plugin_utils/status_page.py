# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""The status of a fleet as one HTML page that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils import status

_STYLE = """
:root { color-scheme: light dark; --text: #1c2128; --dim: #5b6470; --page: #f6f7f9; --card: #fff; --line: #d8dde3;
  --good: #1a7f37; --look: #8a5a00; --bad: #c5221f; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ed; --dim: #9aa4b0; --page: #14171b; --card: #1d2127;
  --line: #343a43; --good: #4cc26a; --look: #e0b050; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1rem; background: var(--page); color: var(--text);
  font: 1rem/1.4 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; }
header p { margin: .2rem 0 1rem; color: var(--dim); }
article { background: var(--card); border: 1px solid var(--line); border-left: .3rem solid var(--bad);
  border-radius: .4rem; padding: .6rem .8rem; margin-bottom: .6rem; overflow-wrap: anywhere; }
article.healthy { border-left-color: var(--good); }
article.drifted { border-left-color: var(--look); }
h2 { font-size: 1.05rem; margin: 0; display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; }
h2 b { color: var(--bad); }
.healthy h2 b { color: var(--good); }
.drifted h2 b { color: var(--look); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .4rem 1rem; margin: .5rem 0 0; }
dt { color: var(--dim); font-size: .8rem; }
dd { margin: 0; }
ul { margin: .5rem 0 0; padding-left: 1.1rem; }
"""

_LABELS = {
    "release": "Release",
    "up": "Up for",
    "since": "Since (UTC)",
    "gunicorn": "Gunicorn",
    "python": "Python",
    "workers": "Workers",
    "memory": "Memory",
    "health": "Health check",
    "drift": "Drift",
}


def page(found: Mapping[str, Any]) -> str:
    """Write the page. Everything that comes from hosts is escaped, and nothing in it may run or be fetched."""
    rows = found["applications"]
    counted = ", ".join(f"{count} {state}" for state, count in status.states(rows).items())
    made = found["made"].replace("T", " ").replace("Z", " UTC")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{"All is well" if found["well"] else "Not all is well"}: {escape(counted)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{"All is well" if found["well"] else "Not all is well"}</h1>
<p>{escape(counted)}; as of {escape(made)}</p>
</header>
<main>
{"".join(map(_article, rows))}</main>
</body>
</html>
"""


def _article(row: Mapping[str, Any]) -> str:
    shown = {**status.cells(dict(row)), "since": (row["since"] or status.NOTHING).replace("T", " ").rstrip("Z")}
    title = " on ".join(escape(each) for each in (row["application"], row["host"]) if each)
    facts = "".join(
        f"<div><dt>{label}</dt><dd>{escape(shown[key])}</dd></div>\n"
        for key, label in _LABELS.items()
        if shown[key] != status.NOTHING
    )
    remarks = "".join(f"<li>{escape(remark)}</li>\n" for remark in status.remarks(dict(row)))
    return (
        f'<article class="{escape(row["state"].replace(" ", "-"))}">\n<h2><span>{title}</span>'
        f"<b>{escape(row['state'])}</b></h2>\n"
        + (f"<dl>\n{facts}</dl>\n" if facts else "")
        + (f"<ul>\n{remarks}</ul>\n" if remarks else "")
        + "</article>\n"
    )
