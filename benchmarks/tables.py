"""Writes the tables of docs/performance.md and docs/scaling.md anew from the JSON files of the benchmarks.

    python -m benchmarks.tables

A table stands between `<!-- NAME -->` and `<!-- end -->`; what was not measured yet is left out and said.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("performance.md", "scaling.md")
Result = dict[str, Any]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [" | ".join(columns), " | ".join("---" for _ in columns), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def interval(values: dict[str, float], *, digits: int) -> str:
    """Median, least and greatest."""
    return f"{values['median']:,.{digits}f} ({values['low']:,.{digits}f} to {values['high']:,.{digits}f})"


def turnaround(result: Result) -> str:
    columns = ("runner", "ms a trial", "times ours", "must reach", "share of the slots' time within epochs")
    rows = []
    for name, found in result["results"].items():
        must = f"{result['required'][name]:g}" if name in result["required"] else ""
        share = f"{found['percent_in_epochs']['median']:.0f} %"
        rows.append(
            (name, interval(found["ms_per_trial"], digits=0), interval(found["times_ours"], digits=2), must, share)
        )
    return markdown(columns, rows)


def driver(result: Result) -> str:
    columns = ("through", "sampler", "trials", "ms a report", "last / first tenth", "ms a trial", "KB a trial")
    rows = []
    for found in result["results"]:
        size = f"{found['disk_kb_per_trial']:.0f}" if "disk_kb_per_trial" in found else ""
        figures = (f"{found['ms_per_report']:.1f}", f"{found['growth']:.2f}", f"{found['ms_per_trial']:.0f}", size)
        rows.append((found["through"], found["sampler"], str(found["trials"]), *figures))
    return markdown(columns, rows)


def ramp(result: Result) -> str:
    columns = ("slots", "first worker trains, s", "all slots train, s", "busy afterwards", "reports a second", "driver")
    rows = [
        (
            str(found["slots"]),
            f"{found['first_seconds']:.1f}",
            f"{found['ramp_seconds']:.1f}",
            f"{100 * found['busy']:.1f} %",
            f"{found['reports_per_second']:.1f}",
            f"{100 * found['driver']:.0f} % of a core",
        )
        for found in result["results"]
    ]
    return markdown(columns, rows)


TABLES: dict[str, tuple[str, Callable[[Result], str]]] = {
    "turnaround": ("turnaround", turnaround),
    "driver": ("driver", driver),
    "ramp": ("ramp", ramp),
}
"""Name in the page -> name of the JSON file, and what makes a table of it."""


def fill(text: str) -> str:
    """The text with every table made anew."""

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        file, make = TABLES[name]
        path = RESULTS / f"{file}.json"
        if not path.exists():
            return f"<!-- {name} -->\nNot measured yet.\n<!-- end -->"
        result = json.loads(path.read_text())
        when = f"`benchmarks/results/{path.name}`, {result['conditions']['date'][:10]}"
        return f"<!-- {name} -->\n{make(result)}\n\n{when}\n<!-- end -->"

    return re.sub(r"<!-- ([a-z_-]+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)


def main() -> None:
    """Write all pages."""
    for page in PAGES:
        path = DOCS / page
        path.write_text(fill(path.read_text()))
        print(f"written to {path}")


if __name__ == "__main__":
    main()
