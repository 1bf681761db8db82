"""Turns a run into one self-contained HTML page: python -m analysis.report runs/NAME."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.process.answer import add_to_answer
from search.process.arguments import (
    BROKEN_OFF,
    Flag,
    OptionalInt,
    OptionalStr,
    answering,
    command,
    parse,
    report_error,
    report_fault,
    run_command,
    say_error,
)
from search.process.signals import Stopped, raise_stopped
from search.process.text import counted

if TYPE_CHECKING:
    import pandas as pd

    from analysis.datasets.images import Described
    from analysis.impact.impact import Impact
    from analysis.pages.page import Folder, Section
    from analysis.progress import Advance
    from analysis.prose.outcome import Outcome
    from analysis.studies.trials import Trials
    from search.storage.run import Run


@dataclass(frozen=True, kw_only=True)
class Options:
    """Report on a run, finished or not: writes index.html, figures and tables; the study is only read."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run, such as runs/digits_arch."""
    out: OptionalStr = None
    """Folder for the report. Default: RUN/report."""
    data_dir: OptionalStr = None
    """Folder of the data sets. Default: the folder that the search used. Nothing is downloaded."""
    confirm: int = 0
    """Verify the effects: train the best configuration and each on/off change of it on this many fresh seeds."""
    confirm_epochs: OptionalInt = None
    """With --confirm: epochs of each training. Default: the full budget of the search."""
    confirm_only: OptionalStr = None
    """With --confirm: hyperparameters to change, separated by commas. Default: all that have levels."""
    seed: int = 0
    """Seed of the bootstrap and the surrogate."""
    json: Flag = False
    """Print one JSON object, and everything else on stderr."""
    debug: Flag = False
    """Show the traceback of an error."""

    def check(self) -> None:
        """Raise ValueError at the first option that makes no sense."""
        if self.confirm < 0 or self.confirm == 1:
            raise ValueError(f"--confirm must be 0, or at least 2 (an interval needs two seeds), got {self.confirm}")
        if self.confirm_epochs is not None and self.confirm_epochs < 1:
            raise ValueError(f"--confirm-epochs must be at least 1, got {self.confirm_epochs}")
        if not self.confirm and (self.confirm_only or self.confirm_epochs):
            raise ValueError(
                "--confirm-only and --confirm-epochs need --confirm with a number of seeds, such as --confirm 3"
            )


@answering
def main(argv: list[str]) -> int:
    """Build the report; 0 when it is written, 1 when broken off, 2 for bad input, 128 + n when stopped by signal n."""
    raise_stopped()
    where = Path()
    try:
        options = parse(Options, argv, prog=command("analysis.report"))
        options.check()
        where = Path(options.out) if options.out else options.run
        lines: list[str] = []
        page = build(options, tell=lines.append)
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return _broken_off(error, where)
    except Exception as error:  # damage that no reader foresaw: one line, and never half a page
        return report_fault(error, debug="--debug" in argv)
    except Stopped as stop:
        print(f"{stop}; finished trainings are saved; the same command continues", file=sys.stderr)
        return stop.code
    print(*lines, page, sep="\n")
    add_to_answer(page=page, tables=page.parent / "tables", summary=lines)
    return 0


def _broken_off(error: ValueError | OSError, where: Path) -> int:
    if isinstance(error, ValueError):
        return report_error(error)

    from search.session.trouble import explain, is_machine_fault

    if not is_machine_fault(error):
        return report_error(error)
    reason = explain(error, where).replace("the run cannot", "the report cannot", 1)
    say_error(f"{reason}; finished trainings are saved; the same command continues")
    return BROKEN_OFF


def build(options: Options, *, tell: Callable[[str], Any] | None = None) -> Path:
    """Write the report of a run; returns the page's path.

    Args:
        tell: called with each line about the result, at the end.

    Raises:
        ValueError: the folder is no run, or the report cannot be written where it should.
    """
    if not options.run.is_dir():
        raise ValueError(f"{str(options.run)!r} is not a folder; give the folder of a run, such as runs/digits_arch")
    if not any((options.run / name).exists() for name in ("run.json", "study.db")):
        raise ValueError(f"{str(options.run)!r} is not a run: it has neither run.json nor study.db")

    import matplotlib as mpl
    import optuna

    mpl.use("Agg")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    from analysis.studies.export import export
    from analysis.studies.steered import steered
    from analysis.studies.trials import read_trials
    from search.storage.run import read_run
    from search.storage.study import open_study

    run = read_run(options.run) if (options.run / "run.json").exists() else None
    with _step("reading the study"):
        trials = read_trials(open_study(options.run), run)
    out = Path(options.out) if options.out else options.run / "report"
    folder = _folder(out)
    confirmed = _confirmed(options, trials, run)
    export(trials, out / "tables")
    page, outcome = write(trials, run, folder, out=out, options=options, confirmed=confirmed)
    if tell is not None:
        for line in filter(None, (*outcome.lines, steered(trials))):
            tell(line)
    return page


def write(
    trials: "Trials",
    run: "Run | None",
    folder: "Folder",
    *,
    out: Path,
    options: Options,
    confirmed: "pd.DataFrame | None" = None,
) -> "tuple[Path, Outcome]":
    """Compute everything and write the page; `run` is None for a study that plain Optuna made."""
    from analysis.datasets.images import load_overview
    from analysis.impact.impact import study_impact
    from analysis.pages.explorer import trials_block
    from analysis.pages.page import render
    from analysis.pages.questions import verdicts
    from analysis.pages.summary import summary
    from analysis.prose.asking import asking

    data: Described = "A study without run.json: the data are not known."
    if run is not None:
        with _step("reading the data"):
            data = load_overview(run, Path(options.data_dir) if options.data_dir else None)
    trials = replace(trials, target_unit=getattr(data, "unit", "") or getattr(run, "unit", ""))
    with _step(f"effects, importance and interactions in {counted(len(trials.trials), 'trial')}"):
        impact = study_impact(trials, seed=options.seed)
    answers, outcome = verdicts(trials, options.run, run=run), _outcome(trials, data, run, options.run)
    ask = asking(trials, impact, run, options.run, answered=answers.answered)
    known = _Known(trials=trials, run=run, data=data, impact=impact, confirmed=confirmed, ask=ask)
    parts, words = _sections(known, folder, options), {"ask": ask, "run": run, "confirmed": confirmed}
    drawn = next(part for part in parts if part.id == "search")
    page = render(
        out / "index.html",
        title=f"Search report: {run.name if run is not None else options.run.resolve().name}",
        summary=summary(trials, impact, folder, outcome=outcome, answers=answers, **words),
        sections=parts,
        footer="Written by Rungwise. The figures and tables are also files next to this page.",
        trials=trials_block(trials, drawn, names=impact.ranked),
    )
    return page, outcome


@dataclass(frozen=True, kw_only=True)
class _Known:
    """The contents of the sections."""

    trials: "Trials"
    run: "Run | None"
    data: "Described"
    impact: "Impact"
    confirmed: "pd.DataFrame | None"
    ask: str


def _sections(known: _Known, folder: "Folder", options: Options) -> "list[Section]":
    """The sections after the summary: the result first, then what mattered, then how the search went."""
    from analysis.pages import impact as impact_section
    from analysis.pages import search as sections
    from analysis.pages.again import reproducibility
    from analysis.pages.final import final_sections
    from analysis.pages.questions import questions
    from analysis.pages.review import review_section
    from analysis.pages.tradeoff import tradeoff_section

    trials, run, impact, confirmed = known.trials, known.run, known.impact, known.confirmed
    makers: list[Callable[[], Section | None]] = [
        lambda: tradeoff_section(trials, run, options.run, folder),
        lambda: questions(trials, options.run, folder, run=run),
        lambda: impact_section.impact(trials, impact, folder, confirmed=confirmed, ask=known.ask),
        lambda: sections.search(trials, folder, names=impact.ranked, forecast=getattr(run, "forecast", None)),
        lambda: impact_section.early(trials, impact, folder),
        lambda: sections.early_stopping(trials, impact, folder),
        lambda: sections.data(known.data, folder, prepared=_prepared(known.data, trials, run)),
        lambda: sections.failures(trials, folder),
    ]
    parts = [*final_sections(options.run, run), review_section(trials, run, options.run)]
    with _step("figures and tables, section by section", total=len(makers)) as advance:
        for make in makers:
            parts += filter(None, [make()])
            advance()
    command_line = f"python -m analysis.report {options.run} --seed {options.seed}"
    return [*parts, reproducibility(run, folder, report=command_line)]


def _step(what: str, *, total: int = 0) -> "AbstractContextManager[Advance]":
    """Print this step of the report if it takes more than ten seconds."""
    from analysis.progress import step

    return step(f"report: {what}", total=total, begin=False)


def _prepared(data: "Described", trials: "Trials", run: "Run | None") -> list[str]:
    """What the best configuration does to the columns of a table, if the data are one."""
    from analysis.datasets.preprocessing import preprocessing
    from analysis.datasets.tables import TableOverview

    if run is None or not isinstance(data, TableOverview) or trials.best is None:
        return []
    return preprocessing(run, trials.best_config, data)


def _outcome(trials: "Trials", data: "Described", run: "Run | None", run_dir: Path) -> "Outcome":
    """The result on the sealed test set; without one that can be read, the result on the validation rows."""
    from analysis.impact.answers import read_answers
    from analysis.prose.outcome import sealed, searched
    from analysis.studies.results import FinalResults

    with suppress(LookupError, TypeError, ValueError, OSError):  # `final_sections` says what is damaged
        if (outcome := sealed(FinalResults.read(run_dir / "final"))) is not None:
            return outcome
    final = f"{command('analysis.final')} {run_dir}" if run is not None and run.has_test else ""
    return searched(trials, data, final=final, answers=read_answers(run_dir))


def _folder(out: Path) -> "Folder":
    from analysis.pages.page import Folder
    from search.process.disk import writable

    for place in (out, out / "figures", out / "tables"):
        writable(place, "the report")
    return Folder(out)


def _confirmed(options: Options, trials: "Trials", run: "Run | None") -> "pd.DataFrame | None":
    """Results of paired flips: trained now when asked for, else those that an earlier report trained."""
    from analysis.impact import confirm
    from trainables.files.whole import write_whole

    stored = options.run / "confirm" / "results.csv"
    if options.confirm:
        if run is None or trials.best is None:
            raise ValueError("--confirm needs a run of search.run with at least one complete trial")
        asked = {"num_seeds": options.confirm, "epochs": options.confirm_epochs, "names": options.confirm_only}
        results = confirm.train(trials, run, options.run, **asked)
        write_whole(stored, results.to_csv(index=False))
        return results
    return confirm.read(stored) if stored.exists() else None


if __name__ == "__main__":
    run_command(main)
