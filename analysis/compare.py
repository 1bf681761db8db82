"""Compares runs, as text and as a page: python -m analysis.compare runs/A runs/B --out comparison.

from analysis.compare import compare

found = compare("runs/a", "runs/b")
print(found.results)
found.write("comparison")
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.process.answer import add_to_answer
from search.process.arguments import (
    Flag,
    OptionalStr,
    answering,
    command,
    parse,
    report_error,
    report_fault,
    run_command,
)
from search.process.signals import raise_stopped
from search.storage.folder import find_run

if TYPE_CHECKING:
    import pandas as pd

    from analysis.pages.compare import Comparison
    from analysis.studies.sides import Side


@dataclass(frozen=True, kw_only=True)
class Options:
    """Compare runs: the best against the best, effects that hold in all of them, spaces, course and cost."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of the runs, or their folders. The others are compared with the first."""
    out: OptionalStr = None
    """Folder for the comparison as a page, with its figures and tables. Default: text only."""
    runs_dir: Path = Path("runs")
    """Folder that holds all runs."""
    seed: int = 0
    """Seed of the bootstrap of effects."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr."""
    debug: Flag = False
    """Show the traceback of an error."""


@answering
def main(argv: list[str]) -> int:
    """Compares; 0 when done, 2 for bad input, 128 + n when stopped by signal n."""
    raise_stopped()
    try:
        options = parse(Options, argv, prog=command("analysis.compare"))
        if len(options.runs) < 2:
            raise ValueError(f"compare needs the names of at least two runs, got {len(options.runs)}")
        folders = [_folder(name, options.runs_dir) for name in options.runs]
        found = compare(*folders, seed=options.seed)
        print_comparison(found)
        add_to_answer(**answer_of(found))
        if options.out:
            from search.process.disk import writable

            page = found.write(writable(Path(options.out), "the page"))
            print(f"\npage: {page}")
            add_to_answer(page=page)
        else:
            print(f"\nas a page: {command('analysis.compare')} {' '.join(options.runs)} --out comparison")
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return report_error(error)
    except Exception as error:  # damage that no reader foresaw
        return report_fault(error, debug="--debug" in argv)
    return 0


def _folder(name: str, runs_dir: Path) -> Path:
    """The folder of a run, or of a study that plain Optuna made."""
    is_plain = (Path(name) / "study.db").is_file() and not (Path(name) / "run.json").exists()
    return Path(name) if is_plain else find_run(name, runs_dir)


def compare(*runs: str | Path, seed: int = 0) -> "Comparison":
    """Compare runs, the others with the first.

    Args:
        runs: folders of at least two runs, finished or not.
        seed: of the bootstrap of effects.

    Raises:
        ValueError: one is given twice, or fewer than two can be read.
    """
    import matplotlib as mpl
    import optuna

    mpl.use("Agg")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    from analysis.pages.compare import make_comparison
    from analysis.progress import step
    from analysis.studies.sides import read_sides

    with step("compare: reading the studies", begin=False):
        sides, lost = read_sides([Path(run) for run in runs])
    with step("compare: effects in each run", begin=False):
        return make_comparison(sides, lost, seed=seed)


def answer_of(found: "Comparison") -> dict[str, Any]:
    """What --json answers: the runs, how the best of each differ from the best of the first, and effects in each."""
    ends = ("value", "low", "high")
    return {
        "warnings": found.warnings,
        "runs": [_run_of(side) for side in found.sides],
        "differences": [
            {
                "first": one.first.name,
                "other": one.other.name,
                **{name: getattr(one.gap, name) if one.gap else None for name in ends},
                **{name: getattr(one, name) for name in ("tested", "paired", "same_rows", "why")},
            }
            for one in found.matches
        ],
        "effects": [
            {
                "agreement": one.agreement.name.lower(),
                **{name: getattr(one, name) for name in ("parameter", "better", "worse", "why")},
                "by_run": [each and {name: getattr(each, name) for name in ends} for each in one.found],
            }
            for one in found.full
        ],
    }


def _run_of(side: "Side") -> dict[str, Any]:
    from analysis.studies.amounts import effort

    trials, results, best = side.trials, side.results, side.trials.best
    trained = effort(trials)
    return {
        "name": side.name,
        "folder": side.folder,
        "metric": trials.metric,
        "direction": "maximize" if trials.sign > 0 else "minimize",
        "trials": len(trials.trials),
        "epochs": trained.epochs,
        "hours": trained.seconds / 3600,
        "best": None
        if best is None
        else {"number": int(best["number"]), "value": float(best["value"]), "params": trials.best_config},
        "test": results and results.winning.scores,
    }


def print_comparison(found: "Comparison") -> None:
    """Print what the page says, in the order of the page."""
    from analysis.prose import compare as prose
    from analysis.studies import alike

    for line in found.warnings:
        print(f"note: {_safe(line)}")
    if found.warnings:
        print()
    _print_frame(found.results)
    print()
    for line in [*map(prose.best_line, found.matches), prose.course_line(found.sides), *prose.notes(found.sides)]:
        if line:
            print(_safe(line))
    for title, lines in _chapters(found):
        print(f"\n{title}")
        for line in lines:
            print(f"  {_safe(line)}")
    print("\nThe best configurations")
    _print_frame(alike.best_configurations(found.sides))
    print("\nSearch spaces" + _only(table := alike.space_table(found.sides)))
    _print_frame(_different(table))
    print("\nSettings" + _only(table := alike.settings(found.sides)))
    _print_frame(_different(table))
    print("\nCost")
    _print_frame(prose.cost_table(found.sides).drop(columns="in detail"))


def _chapters(found: "Comparison") -> list[tuple[str, Sequence[str]]]:
    """Titles with lines: questions, and effects by what the runs say together."""
    from analysis.prose import compare as prose

    answers = prose.answer_lines(found.answers, found.sides)
    chapters: list[tuple[str, Sequence[str]]] = [("Questions", answers)] if answers else []
    if len(found.alike) > 1:
        for shown, what in ((found.full, "at the full budget"), (found.early, "on early learning speed")):
            lines = []
            for agreement, heading in prose.HEADINGS.items():
                some = [prose.effect_line(one, found.alike) for one in shown if one.agreement is agreement]
                lines += [heading, *(f"- {line}" for line in some)] if some else []
            chapters.append((f"Effects {what}", [*lines, *prose.rest_lines(shown)] or ["None is known."]))
    return chapters


def _only(table: "pd.DataFrame") -> str:
    if (table["same"] == "yes").all():
        return ": the same in all runs"
    return " (what differs)"


def _different(table: "pd.DataFrame") -> "pd.DataFrame":
    return table[table["same"] == "no"].drop(columns="same")


def _print_frame(table: "pd.DataFrame") -> None:
    from search.process.tabular import print_table

    if len(table):
        print_table([{str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")])


def _safe(line: str) -> str:
    from search.process.text import visible

    return visible(line)


if __name__ == "__main__":
    run_command(main)
