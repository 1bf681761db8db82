"""The output at the end of a final evaluation: contenders, other methods, the verdict, and how to use the model."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from analysis import wording
from analysis.progress import say
from analysis.prose.outcome import sealed
from analysis.studies.openings import read_openings, times_opened
from analysis.studies.results import FinalResults
from search.process.arguments import command
from search.session.console import Output
from search.session.tradeoffs import shown_number


def conclude(results: FinalResults, *, run_dir: Path) -> None:
    """Print the contenders, the verdict and how to use the model.

    Args:
        results: final.json.
        run_dir: of the run.
    """
    _show(_contenders(results))
    for more in (_front(results), _baselines(results)):
        if more.row_count:
            say("")
            _show(more)
    for sentence in results.discussion:
        if sentence["topic"] == "verdict":
            say(sentence["text"])
    outcome = sealed(results)
    for warning in outcome.warnings if outcome is not None else ():
        say(warning)
    if len(read_openings(run_dir / "final")) > 1:
        say(f"the test set has been opened {times_opened(run_dir / 'final')}")
    if intervals := results.export.get("intervals"):
        say(wording.held(intervals, target=results.target, unit=results.target_unit))
    if ensemble := results.export.get("ensemble"):
        say(wording.joint(ensemble, metric=results.metric, unit=results.target_unit))
    if not results.own:
        model = run_dir / "final" / "model.safetensors"
        say(f"\nmodel: {model}; use it: {command('analysis.predict')} {run_dir} FILE")


def answer_of(results: FinalResults) -> dict[str, Any]:
    """What --json answers of an evaluation: scores with intervals, of the entrants and of the other methods."""
    of_entrant = ("name", "role", "trial", "params", "scores", "difference", "probability_best", "weights")
    front = [{"name": e.name, **e.joint} for e in results.front]
    ensemble = results.export.get("ensemble") or {}
    return {
        "metric": results.metric,
        "winner": results.winner,
        "entrants": [{name: getattr(entrant, name) for name in of_entrant} for entrant in results.entrants],
        "methods": [
            {name: getattr(one, name) for name in ("name", "scores", "difference")} for one in results.baselines
        ],
        "ensemble": ensemble.get("scores"),
        **({"second": results.second, "front": front} if front else {}),
        "openings": results.openings,
        "verdict": [sentence["text"] for sentence in results.discussion if sentence["topic"] == "verdict"],
    }


def _contenders(results: FinalResults) -> Table:
    metric = results.metric
    table = _table("", f"test {results.in_unit(metric)}", "difference from the baseline", "best", "weights")
    for entrant in results.entrants:
        best = entrant.probability_best
        table.add_row(
            escape(wording.title(entrant.name)),
            wording.between(metric, entrant.scores[metric]),
            wording.gap(metric, entrant.difference) if entrant.difference else "-",
            "-" if best is None else wording.probability(best),
            wording.count(entrant.weights),
        )
    if ensemble := results.export.get("ensemble"):
        table.add_row(wording.ensemble_title(ensemble), wording.between(metric, ensemble["scores"][metric]), *"---")
    return table


def _front(results: FinalResults) -> Table:
    metric, second = results.metric, str(results.second.get("name", ""))
    table = _table("on the front", second, f"test {results.in_unit(metric)}, all intervals together 95 %")
    for entrant in results.front:
        other = shown_number(entrant.joint["second"])
        table.add_row(escape(wording.title(entrant.name)), other, wording.between(metric, entrant.joint))
    return table


def _baselines(results: FinalResults) -> Table:
    metric = results.metric
    better = "lower" if results.is_less_better else "higher"
    table = _table(
        "other methods",
        f"test {results.in_unit(metric)}",
        f"winner minus method, {results.in_unit(metric)} ({better} is better)",
    )
    for baseline in results.baselines:
        table.add_row(
            escape(baseline.title),
            wording.between(metric, baseline.scores[metric]),
            wording.gap(metric, baseline.difference),
        )
    return table


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(names):
        table.add_column(escape(name), justify="right" if index else "left")
    return table


def _show(table: Table) -> None:
    console = Output()
    console.width = max(console.width, 120)  # a piped table is not folded
    with suppress(OSError):
        console.print(table)
