"""Writes the case study on California housing: fixed prose, with every number from a run and its final evaluation.

python -m analysis.final runs/housing --seeds 5
python -m analysis.case_study runs/housing --out docs/case-study.md --same-rows runs/housing-13209
"""

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.process.arguments import Flag, OptionalStr, parse, report_error, report_fault, run_command
from trainables.files.whole import write_whole

if TYPE_CHECKING:
    from analysis.studies.results import FinalResults

DATASET = "california_housing"
REPORT_FIGURES = ("data_target", "data_map", "data_correlations", "history")
FINAL_FIGURES = ("residuals", "residual_map")
REDRAWN_FIGURES = ("references", "bands", "importance", "dependence")
_PLACES = {"--data-dir": "data", "--runs-dir": None}
"""Folders of this machine in a command, and their placeholders."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write the case study as Markdown, its figures in a folder beside it."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run on California housing with report and final evaluation."""
    out: Path = Path("docs/case-study.md")
    """The file to write."""
    same_rows: OptionalStr = None
    """A copy of the run that was evaluated with --without-validation, for the comparison with published results."""
    data_dir: OptionalStr = None
    """Folder of the data sets. Default: the one the search used."""
    debug: Flag = False
    """Show the traceback of an error."""


def main(argv: list[str]) -> int:
    """Write the case study; 0 when it is written, 1 when broken off, 2 for bad input."""
    try:
        print(write(parse(Options, argv, prog="python -m analysis.case_study")))
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return report_error(error)
    except Exception as error:  # records of another form than ours
        return report_fault(error, debug="--debug" in argv)
    return 0


def write(options: Options) -> Path:
    """Write text and figures, and return the path of the text.

    Raises:
        ValueError: the run is of other data, or lacks its report or its final evaluation.
    """
    from analysis.pages.templates import environment
    from search.storage.run import read_run

    same = None if options.same_rows is None else read_final(Path(options.same_rows))
    if same is not None and not same.conditions.get("held_out_rows"):
        raise ValueError(
            f"{options.same_rows} must have been evaluated with --without-validation; evaluate it that way"
        )
    if (dataset := read_run(options.run).dataset) != DATASET:
        raise ValueError(
            f"the case study is about {DATASET}, got a run on {dataset}; its own report has the same contents"
        )
    found = gather(options.run, data_dir=options.data_dir)
    if found["overview"] is None:
        raise ValueError(found["missing"])
    figures = options.out.with_suffix("")
    _copy_figures(options.run, figures, found["results"])
    templates = environment(html=False)
    commands = [portable_command(command, found["run"].name) for command in _commands(found, same)]
    text = templates.get_template("case_study.md").render(**found, same=same, commands=commands, folder=figures.name)
    write_whole(options.out, text)
    return options.out


def _commands(found: dict[str, Any], same: "FinalResults | None") -> list[str]:
    last = f"python -m analysis.case_study runs/{found['run'].name}"
    commands = [found["run"].command, found["results"].command]
    return [*commands, last] if same is None else [*commands, same.command, f"{last} --same-rows COPY"]


def portable_command(command: str, name: str) -> str:
    """The command as another machine would give it: without the folders of this one.

    >>> portable_command("python -m search.run --data-dir /home/me/d --trials 9 --runs-dir /big --name x", "x")
    'python -m search.run --data-dir data --trials 9 --name x'
    """
    words, shown = iter(shlex.split(command)), []
    for word in words:
        if word in _PLACES:
            next(words, None)
            shown += [word, _PLACES[word]] if _PLACES[word] else []
        elif Path(word).name != word:
            shown.append(f"runs/{name}" if Path(word).name == name else "COPY")
        else:
            shown.append(word)
    return " ".join(shown)


def gather(run_dir: str | Path, *, data_dir: str | None = None) -> dict[str, Any]:
    """All that the case study of a table states, as plain values.

    Args:
        run_dir: of a run on a table, with its final evaluation.
        data_dir: where the data are; that of the search if None.

    Returns:
        `run`, `results` (final.json), `winner`, `topics`, `trials`, `states`, `answers`, `impact`, `overview` with its
        `findings`, `prepared` and the `words` for them. Without the data `overview` is None, and `missing` says why.

    Raises:
        ValueError: the run is of images, or has no final evaluation.
    """
    import optuna

    from analysis import wording
    from analysis.datasets.preprocessing import preprocessing
    from analysis.prose.discussion import by_topic, discuss
    from search.storage.run import read_run
    from search.storage.study import open_study

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    run_dir = Path(run_dir)
    run = read_run(run_dir)
    results = read_final(run_dir)
    if len(results.image_shape) == 3:
        raise ValueError(f"{run_dir} is a run on images ({run.dataset}); a case study needs a run on a table")
    data = _describe_data(run, _data_place(run.data_dir, run_dir) if data_dir is None else Path(data_dir))
    winner = results.winning
    return {
        "run": run,
        "results": results,
        "winner": winner,
        "topics": by_topic(discuss(results, open_study(run_dir), run)),
        **_describe_trials(run, run_dir),
        **data,
        "prepared": preprocessing(run, winner.params, data["overview"]) if data["overview"] else [],
        "words": wording,
    }


def _describe_trials(run: Any, run_dir: Path) -> dict[str, Any]:
    """`trials`, how many are in which of the `states`, `answers` to questions and `impact` of the hyperparameters."""
    from analysis.impact.impact import study_impact
    from analysis.pages.questions import verdicts
    from analysis.studies.trials import read_trials
    from search.storage.study import open_study

    trials = read_trials(open_study(run_dir), run)
    states = trials.trials["state"].value_counts().to_dict()
    answers = verdicts(trials, run_dir, run=run).sentences
    return {"trials": trials, "states": states, "answers": answers, "impact": study_impact(trials)}


def _describe_data(run: Any, place: Path) -> dict[str, Any]:
    """`overview` with its `findings`, or why it is `missing`."""
    from analysis.datasets.images import load_overview
    from analysis.datasets.tables import TableOverview, findings

    found = load_overview(run, place)
    overview = found if isinstance(found, TableOverview) else None
    missing = found if isinstance(found, str) else ""
    return {"overview": overview, "missing": missing, "findings": findings(overview) if overview else []}


def _data_place(data_dir: str, run_dir: Path) -> Path:
    """Where the data of a search are, seen from here: a relative path counts from two folders above the run as well."""
    place = Path(data_dir)
    other = run_dir.resolve().parent.parent / place
    return other if not place.exists() and other.exists() else place


def read_final(run_dir: Path) -> "FinalResults":
    """The final.json of a run.

    Raises:
        ValueError: there is none, or it is damaged; the line says what to do.
    """
    from analysis.studies.results import FinalResults

    results = FinalResults.read(run_dir / "final")
    if results is None:
        raise ValueError(f"{run_dir} has no final evaluation; create it with: python -m analysis.final {run_dir}")
    return results


def _copy_figures(run_dir: Path, folder: Path, results: "FinalResults") -> None:
    """The figures of report and final evaluation, small enough to be kept with the text."""
    from analysis.evaluation.files import redraw_figures
    from analysis.publish import shrink

    sources = [run_dir / "report" / "figures" / f"{name}.png" for name in REPORT_FIGURES]
    sources += [run_dir / "final" / "figures" / f"{name}.png" for name in FINAL_FIGURES]
    missing = next((path for path in sources if not path.exists()), None)
    if missing is not None:
        raise ValueError(f"{missing} is missing; create it with: python -m analysis.report {run_dir}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        redraw_figures(results, Path(scratch))
        for path in (*sources, *(Path(scratch) / f"{name}.png" for name in REDRAWN_FIGURES)):
            shrink(path, folder / path.name)


if __name__ == "__main__":
    run_command(main)
