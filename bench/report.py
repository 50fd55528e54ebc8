"""Write docs/performance.md and its pictures from what bench/run.py and bench/served.py measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.pyweb.deploy.bench import contenders, served
from ansible_collections.pyweb.deploy.bench.measuring import Cost, Costs, stored
from ansible_collections.pyweb.deploy.tests.rig import ROOT
from matplotlib import rcParams
from matplotlib.figure import Figure

PAGE = ROOT / "docs" / "performance.md"
TEMPLATE = ROOT / "bench" / "performance.template"
PICTURES = ROOT / "docs" / "images"
OURS, UNWATCHED, WITH_UV, HAND, PYINFRA, PING = (
    each.name
    for each in (
        contenders.ROLE,
        contenders.ROLE_UNWATCHED,
        contenders.ROLE_UV,
        contenders.HANDWRITTEN,
        contenders.WITH_PYINFRA,
        contenders.PING,
    )
)

Results = Mapping[str, Mapping[str, Costs]]
Served = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Goal:
    """A ratio of two medians that should not be higher."""

    workload: str
    contender: str
    to_workload: str
    to: str
    most: float

    def row(self, results: Results) -> list[str]:
        """Give the row of the table; a goal whose figures are not there says so."""
        to = self.to if self.workload == self.to_workload else f"{self.to_workload} ({self.to})"
        told = f"at most {self.most} times {to}"
        try:
            ratio = results[self.workload][self.contender].median / results[self.to_workload][self.to].median
        except KeyError:
            return [self.workload, told, "-", "not measured"]
        return [self.workload, told, f"{ratio:.2f}", "met" if ratio <= self.most else "**not met**"]


GOALS = (
    Goal("nothing to do", OURS, "nothing to do", PING, 1.3),
    Goal("nothing to do", OURS, "nothing to do", HAND, 0.25),
    Goal("nothing to do, 12 servers", OURS, "nothing to do, 12 servers", HAND, 0.25),
    Goal("nothing to do, 12 servers", OURS, "nothing to do, 12 servers", PING, 2),
    Goal("nothing to do, 16 applications", WITH_UV, "nothing to do, 1 application", WITH_UV, 3),
    Goal("first deploy", OURS, "first deploy", HAND, 0.7),
    Goal("first deploy", OURS, "first deploy", PYINFRA, 1.1),
    Goal("new code", OURS, "new code", HAND, 0.6),
    Goal("new code", UNWATCHED, "new code", HAND, 0.35),
    Goal("another setting", OURS, "another setting", HAND, 0.6),
    Goal("another setting", UNWATCHED, "another setting", HAND, 0.35),
    Goal("going back", OURS, "going back", HAND, 0.42),
)


def served_goal(rows: Served, kind: str, least: float) -> list[str]:
    """Give the row of what the default has to answer, beside the best that somebody tuned by hand."""
    rates = {row["configuration"]: row["rate"] for row in rows if row["load"] == kind}
    errors = sum(row["errors"] for row in rows if row["load"] == kind and row["configuration"] == served.DEFAULT)
    tuned = {name: rates[name] for name in served.CONFIGURATIONS if name in rates and name != served.DEFAULT}
    told = [f"served: {kind}", f"at least {least} times the best of the configurations below, no errors"]
    if served.DEFAULT not in rates or not tuned:
        return [*told, "-", "not measured"]
    ratio = rates[served.DEFAULT] / max(tuned.values())
    said = f"{ratio:.2f}" + (f", {errors} errors" if errors else "")
    return [*told, said, "met" if ratio >= least and not errors else "**not met**"]


def load() -> tuple[dict[str, dict[str, Costs]], dict[str, str], list[dict[str, Any]]]:
    """Read the figures: of deploys, what they were made with, and of the served application."""
    data = stored()
    results = {
        workload: {name: Costs([Cost(**run) for run in runs]) for name, runs in found.items()}
        for workload, found in data["results"].items()
    }
    return results, data["with"], data["served"]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def deploys(results: Results) -> str:
    """Write what each way costs, for each workload."""
    rows = []
    for workload, found in results.items():
        reference = found.get(HAND)
        for name, costs in found.items():
            least, most = costs.range
            ratio = f"{costs.median / reference.median:.2f}" if reference else "-"
            figures = (f"{costs.median:.1f}", f"{least:.1f} to {most:.1f}", f"{costs.cpu:.1f}")
            rows.append([workload, name, *figures, f"{costs.memory / 2**20:.0f}", ratio])
    headings = ("What is to be done", "With", "Seconds", "Range", "CPU seconds", "MiB", "To hand-written")
    return table(headings, rows)


def of_served(rows: Served, names: Iterable[str], loads: Iterable[served.Kind]) -> str:
    """Write what the served application does with each of some configurations, under some loads."""
    headings = ("Application", "Configuration", "Requests/s", "Range", "p50 ms", "p99 ms", "Errors", "MiB")
    keys = ("load", "configuration", "rate", "range", "p50", "p99", "errors", "memory")
    ranged = [{**row, "range": f"{row['rates'][0]} to {row['rates'][-1]}"} for row in rows]
    found = {(row["load"], row["configuration"]): row for row in ranged}
    order = [(kind.name, name) for kind in loads for name in names]
    return table(headings, ([str(found[each][key]) for key in keys] for each in order if each in found))


def rates(rows: Served) -> None:
    """Draw the requests a second of each configuration, a picture for each load."""
    kinds = [kind.name for kind in served.LOADS]
    figure = Figure(figsize=(8, 2.2 * len(kinds)), layout="constrained")
    for kind, axes in zip(kinds, figure.subplots(len(kinds)), strict=True):
        found = {row["configuration"]: row["rate"] for row in rows if row["load"] == kind}
        names = [name for name in served.CONFIGURATIONS if name in found]
        colours = ["C1" if name == served.DEFAULT else "C0" for name in names]
        axes.barh(names, [found[name] for name in names], color=colours)
        axes.invert_yaxis()
        axes.set_title(kind, fontsize="medium", loc="left")
        axes.tick_params(labelsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("requests a second; more is better")
    PICTURES.mkdir(exist_ok=True)
    figure.savefig(PICTURES / "served.svg", metadata={"Date": None})


def bars(results: Results, workloads: Sequence[str], name: str) -> None:
    """Draw the medians of some workloads side by side, with their ranges."""
    present = [workload for workload in workloads if workload in results]
    if not present:
        return
    who = list(dict.fromkeys(contender for workload in present for contender in results[workload]))
    figure = Figure(figsize=(8, 1 + 0.55 * len(present) * max(len(who) / 3, 1)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / max(len(results[workload]) for workload in present)
    for contender in who:
        mine = [(place, results[workload]) for place, workload in enumerate(present) if contender in results[workload]]
        costs = [found[contender] for _place, found in mine]
        medians = [each.median for each in costs]
        spread = [
            [each.median - each.range[0] for each in costs],
            [each.range[1] - each.median for each in costs],
        ]
        at = [place + (list(found).index(contender) - (len(found) - 1) / 2) * height for place, found in mine]
        axes.barh(at, medians, height * 0.9, xerr=spread, label=contender, error_kw={"lw": 0.8})
    axes.set_yticks(range(len(present)), present)
    axes.invert_yaxis()
    axes.set_xlabel("seconds, median and range; less is better")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize="small", frameon=False)
    PICTURES.mkdir(exist_ok=True)
    figure.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})


def main() -> int:
    """Write the page."""
    rcParams["svg.hashsalt"] = "pyweb.deploy"  # the same figures give the same files
    rcParams["svg.fonttype"] = "none"  # small files: text as text
    results, made_with, rows = load()
    on_one = [workload for workload in results if "servers" not in workload and "application" not in workload]
    bars(results, on_one, "deploys")
    bars(results, [workload for workload in results if "servers" in workload], "servers")
    rates(rows)
    goals = [goal.row(results) for goal in GOALS]
    goals += [served_goal(rows, kind.name, 1 if kind is served.LOADS[0] else 0.9) for kind in served.LOADS]
    page = TEMPLATE.read_text().format(
        machine="\n".join(f"- {key}: {value}" for key, value in made_with.items()),
        goals=table(("What is to be done", "Goal", "Measured", ""), goals),
        deploys=deploys(results),
        rounds=max((len(row["rates"]) for row in rows), default=0),
        served=of_served(rows, served.CONFIGURATIONS, served.LOADS),
        variants=of_served(rows, [served.DEFAULT, *served.VARIANTS], served.FEWER_LOADS),
    )
    PAGE.write_text(page)
    print(f"{PAGE} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
