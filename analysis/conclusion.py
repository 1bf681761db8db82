"""What a final evaluation prints at its end: contenders, baselines, the verdict and where to look."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analysis import wording


def conclude(results: dict[str, Any], *, run_dir: Path, page: Path) -> None:
    """Print the contenders, the verdict and where to look.

    Args:
        results: final.json.
        run_dir: of the run.
        page: the report that shows all of it.
    """
    console = Console(highlight=False)
    console.width = max(console.width, 120)  # a piped table is not folded
    console.print(_contenders(results))
    if results.get("baselines"):
        console.print()
        console.print(_baselines(results))
    for sentence in results["discussion"]:
        if sentence["topic"] == "verdict":
            say(sentence["text"])
    if results["openings"] > 1:
        say(f"the test set has been opened {results['openings']} times")
    say(f"\nmodel: {run_dir / 'final' / 'model.safetensors'}; use it: python -m analysis.predict {run_dir} FILE")
    say(f"open this page: {page}")


def _contenders(results: dict[str, Any]) -> Table:
    metric = results["metric"]
    table = _table("", f"test {wording.in_unit(metric, results)}", "against the baseline", "best", "weights")
    for entrant in results["entrants"]:
        best = entrant["probability_best"]
        table.add_row(
            escape(wording.title(entrant["name"])),
            wording.between(metric, entrant["scores"][metric]),
            wording.gap(metric, entrant["difference"]) if "difference" in entrant else "-",
            "-" if best is None else wording.probability(best),
            wording.count(entrant["weights"]),
        )
    return table


def _baselines(results: dict[str, Any]) -> Table:
    metric = results["metric"]
    better = "less" if metric in wording.SMALLER_IS_BETTER else "more"
    table = _table(
        "without a network",
        f"test {wording.in_unit(metric, results)}",
        f"winner minus it ({better} is better)",
    )
    for baseline in results["baselines"]:
        table.add_row(
            escape(baseline["title"]),
            wording.between(metric, baseline["scores"][metric]),
            wording.gap(metric, baseline["difference"]),
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(names):
        table.add_column(escape(name), justify="right" if index else "left")
    return table


def say(text: str) -> None:
    """Print a line without anything in it acting as markup or control character."""
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    Console(highlight=False).print(escape(plain), soft_wrap=True)
