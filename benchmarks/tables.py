"""Writes the tables of the documentation anew from the JSON files of the benchmarks.

    python -m benchmarks.tables

A table stands between `<!-- NAME -->` and `<!-- end -->`; a line says what was not measured yet.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import repeats, rivals, until_gain
from benchmarks.harness import RESULTS, Interval
from benchmarks.regret import tables

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("performance.md", "scaling.md", "how-to/stop-when-little-is-left.md", "how-to/repeat-the-best.md")
NETS = ("8-16-32", "16-32-64", "32-64-128")
Result = dict[str, Any]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [" | ".join(columns), " | ".join("---" for _ in columns), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def interval_text(values: dict[str, float], *, digits: int) -> str:
    """Median, least and greatest."""
    return f"{values['median']:,.{digits}f} ({values['low']:,.{digits}f} to {values['high']:,.{digits}f})"


def turnaround(result: Result) -> str:
    columns = ("runner", "ms a trial", "times ours", "target", "share of the slots' time within epochs")
    rows = []
    for name, found in result["results"].items():
        must = f"{result['required'][name]:g}" if name in result["required"] else ""
        share = f"{found['percent_in_epochs']['median']:.0f} %"
        rows.append(
            (
                name,
                interval_text(found["ms_per_trial"], digits=0),
                interval_text(found["times_ours"], digits=2),
                must,
                share,
            )
        )
    return markdown(columns, rows)


def driver(result: Result) -> str:
    columns = (
        "through",
        "sampler",
        "trials",
        "ms a report",
        "last / first tenth",
        "95 % of decisions, ms",
        "ms a trial",
        "KB a trial",
    )
    rows = []
    for found in result["results"]:
        size = f"{found['disk_kb_per_trial']:.0f}" if "disk_kb_per_trial" in found else ""
        decision = f"{found['ms_decision_95']:.0f}" if "ms_decision_95" in found else ""
        figures = (
            f"{found['ms_per_report']:.1f}",
            f"{found['growth']:.2f}",
            decision,
            f"{found['ms_per_trial']:.0f}",
            size,
        )
        rows.append((found["through"], found["sampler"], str(found["trials"]), *figures))
    return markdown(columns, rows)


def ramp(result: Result) -> str:
    columns = ("slots", "an epoch, s", "all slots train, s", "busy afterwards", "reports a second", "driver")
    rows = [
        (
            str(found["slots"]),
            f"{1 - found['spread']:g} to {1 + found['spread']:g}" if found["spread"] else "1",
            f"{found['ramp_seconds']:.1f}",
            f"{100 * found['busy']:.1f} %",
            f"{found['reports_per_second']:.1f}",
            f"{100 * found['driver']:.0f} % of a core",
        )
        for found in result["results"]
    ]
    return markdown(columns, rows)


def comparison(result: Result) -> str:
    """The contestants of any benchmark that `benchmarks.harness.compare` ran, and its further figures."""
    columns = ("contestant", result["unit"], "ours is faster by", "target")
    rows = []
    for name, rates in result["rates"].items():
        required = result["required"][name]
        rate, ratio = Interval.of(rates).text(0), interval_text(result["ratios"][name], digits=2)
        rows.append((name, rate, ratio, f"{required:g}" if required else ""))
    figures = {
        **result["notes"],
        "load_average": result["conditions"]["load_average"],
        "on": gpu if (gpu := result["conditions"].get("gpu", "none")) != "none" else result["conditions"]["cpu"],
    }
    notes = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
    return f"{markdown(columns, rows)}\n\nFigures: {notes}."


def agreement(result: Result) -> str:
    rows = []
    for name in result["runs"][0]:
        losses, accuracies = zip(*(run[name] for run in result["runs"]), strict=True)
        by_seed = ", ".join(f"{accuracy:.1f}" for accuracy in accuracies)
        rows.append((name, f"{fmean(losses):.3f}", f"{fmean(accuracies):.1f}", by_seed))
    return markdown(("contestant", "training loss", "accuracy, %", "by seed"), rows)


def packing(result: Result) -> str:
    columns = ("network", "processes", "img/s together", "times one process", "target")
    rows = []
    for network, rates in result["rates"].items():
        best = max(rates, key=lambda count: rates[count] if count != "1" else 0)
        for count, rate in rates.items():
            must = f"{result['wanted']:g}" if count == best else ""
            rows.append((network, count, f"{rate:,}", f"{rate / rates['1']:.2f}", must))
    for way, networks in result.get("shared", {}).items():
        for network, rates in networks.items():
            single = result["rates"][network]["1"]
            rows += [
                (f"{network}, {way}", count, f"{rate:,}", f"{rate / single:.2f}", f"{result['wanted']:g}")
                for count, rate in rates.items()
            ]
    return f"{markdown(columns, rows)}\n\nOn {result['conditions']['gpu']}, {result['conditions']['cpus']} cores."


TABLES: dict[str, tuple[str, Callable[[Result], str]]] = {
    "turnaround": ("turnaround", turnaround),
    "driver": ("driver", driver),
    "ramp": ("ramp", ramp),
    "input": ("input_pipeline", comparison),
    "placement": ("placement", comparison),
    "packing": ("gpu_packing", packing),
    "until-gain": ("until_gain", until_gain.stated_table),
    "until-gain-short": ("until_gain", until_gain.short_table),
    "repeats": ("repeats", repeats.table),
    "replay": ("replay", lambda result: tables(result["results"])),
    "rivals-tuning": ("rivals_tuning", lambda result: rivals.tables(result["results"])),
    "rivals-confirmation": ("rivals_confirmation", lambda result: rivals.tables(result["results"])),
    **{f"gpu-{net}": (f"gpu_training_{net}", comparison) for net in ("resnet9", "32-64-128")},
    **{f"launches-{net}": (f"gpu_launches_{net}", comparison) for net in NETS},
    **{f"speed-{net}": (f"training_speed_{net}_threads-1", comparison) for net in NETS},
    **{f"agreement-{net}": (f"training_agreement_{net}", agreement) for net in NETS},
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

    return re.sub(r"<!-- ([a-z0-9_-]+) -->\n.*?<!-- end -->", replace, text, flags=re.DOTALL)


def main() -> None:
    """Write all pages."""
    for page in PAGES:
        path = DOCS / page
        path.write_text(fill(path.read_text()))
        print(f"written to {path}")


if __name__ == "__main__":
    main()
