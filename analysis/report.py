"""Turns a run into one self-contained HTML page: python -m analysis.report runs/NAME."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.process.arguments import (
    BROKEN_OFF,
    Flag,
    OptionalInt,
    OptionalStr,
    command,
    parse,
    report_error,
    report_fault,
    run_command,
)
from search.process.signals import Stopped, raise_stopped

if TYPE_CHECKING:
    import pandas as pd

    from analysis.pages.headline import Fact
    from analysis.pages.page import Folder, Section
    from analysis.progress import Advance


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


def main(argv: list[str]) -> int:
    """Builds the report; 0 when it is written, 1 when broken off, 2 for bad input, 128 + n when stopped by signal n."""
    raise_stopped()
    where = Path()
    try:
        options = parse(Options, argv, prog=command("analysis.report"))
        options.check()
        where = Path(options.out) if options.out else options.run
        page = build(options)
    except (ValueError, OSError) as error:
        if "--debug" in argv:
            raise
        return _broken_off(error, where)
    except Exception as error:  # damage that no reader foresaw: one line, and never half a page
        return report_fault(error, debug="--debug" in argv)
    except Stopped as stop:
        print(f"{stop}; finished trainings are saved; the same command continues", file=sys.stderr)
        return stop.code
    print(page)
    return 0


def _broken_off(error: ValueError | OSError, where: Path) -> int:
    if isinstance(error, ValueError):
        return report_error(error)

    from search.session.trouble import explain, is_machine_fault

    if not is_machine_fault(error):
        return report_error(error)
    reason = explain(error, where).replace("the run cannot", "the report cannot", 1)
    print(f"error: {reason}; finished trainings are saved; the same command continues", file=sys.stderr)
    return BROKEN_OFF


def build(options: Options) -> Path:
    """Writes the report of a run and returns the page's path.

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
    from analysis.studies.trials import export, read_trials
    from search.storage.run import read_run
    from search.storage.study import open_study

    run = read_run(options.run) if (options.run / "run.json").exists() else None
    with _step("reading the study"):
        trials = read_trials(open_study(options.run), run)
    out = Path(options.out) if options.out else options.run / "report"
    folder = _folder(out)
    confirmed = _confirmed(options, trials, run)
    export(trials, out / "tables")
    return write(trials, run, folder, out=out, options=options, confirmed=confirmed)


def write(
    trials: Any, run: Any, folder: "Folder", *, out: Path, options: Options, confirmed: "pd.DataFrame | None" = None
) -> Path:
    """Computes everything and writes the page; `run` may be None for a study that plain Optuna made."""
    from analysis.impact.impact import study_impact
    from analysis.pages import impact as impact_section
    from analysis.pages import search as sections
    from analysis.pages.page import render
    from analysis.pages.questions import questions as asked
    from analysis.pages.summary import summary

    found = _data(run, options)
    trials = replace(trials, target_unit=getattr(found, "unit", "") or getattr(run, "unit", ""))
    with _step(f"effects, importance and interactions in {len(trials.trials):,} trials"):
        impact = study_impact(trials, seed=options.seed)
    names = [effect.parameter for effect in impact.effects]
    makers: list[Callable[[], Section | None]] = [
        lambda: sections.data(found, folder, prepared=_prepared(found, trials, run)),
        lambda: sections.search(trials, folder, names=names, forecast=getattr(run, "forecast", None)),
        lambda: asked(trials, options.run, folder, run=run),
        lambda: impact_section.impact(trials, impact, folder, confirmed=confirmed),
        lambda: sections.early_stopping(trials, impact, folder),
        lambda: sections.failures(trials, folder),
    ]
    parts = []
    with _step("figures and tables, section by section", total=len(makers)) as advance:
        for make in makers:
            parts += filter(None, [make()])
            advance()
    parts += [*_final(options.run, run), _reproducibility(run, options, folder)]
    name = run.name if run is not None else options.run.resolve().name
    return render(
        out / "index.html",
        title=f"Search report: {name}",
        summary=summary(trials, impact, found, folder, tested=_tested(options.run)),
        sections=parts,
        footer="Written by Rungwise. The figures and tables are also files next to this page.",
    )


def _data(run: Any, options: Options) -> Any:
    """What the data are, or why that is not known."""
    if run is None:
        return "A study without run.json: the data are not known."
    from analysis.datasets.images import load_overview

    with _step("reading the data"):
        return load_overview(run, Path(options.data_dir) if options.data_dir else None)


def _step(what: str, *, total: int = 0) -> "AbstractContextManager[Advance]":
    """Says what the report is doing where that takes over ten seconds."""
    from analysis.progress import step

    return step(f"report: {what}", total=total, begin=False)


def _prepared(found: Any, trials: Any, run: Any) -> list[str]:
    """What the best configuration does to the columns of a table, if the data are one."""
    from analysis.datasets.tables import TableOverview, preprocessing
    from analysis.studies.trials import config_of
    from spaces.space import load

    if not isinstance(found, TableOverview) or trials.best is None:
        return []
    numbers = {p.name for p in trials.parameters if p.kind == "integer"}
    params = {name: int(v) if name in numbers else v for name, v in config_of(trials.best).items()}
    try:
        return preprocessing(load(run.space).decode(params), found)
    except ValueError:  # the space has changed since
        return []


def _tested(run_dir: Path) -> "list[Fact]":
    """What the sealed test set said; nothing before, and where `final_sections` says that it cannot be read."""
    from analysis.pages.final import read_results
    from analysis.pages.headline import headline

    with suppress(LookupError, TypeError, ValueError, OSError):
        return headline(read_results(run_dir / "final"))
    return []


def _final(run_dir: Path, run: Any) -> "list[Section]":
    from analysis.pages.final import final_sections

    return final_sections(run_dir, run)


def _folder(out: Path) -> "Folder":
    from analysis.pages.page import Folder

    try:
        folder = Folder(out)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ValueError(f"the report cannot be written to {out} ({reason}); give another folder with --out") from None
    return folder


def _confirmed(options: Options, trials: Any, run: Any) -> "pd.DataFrame | None":
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
    return _read_confirmed(stored) if stored.exists() else None


def _read_confirmed(path: Path) -> "pd.DataFrame":
    """The stored results of paired flips.

    Raises:
        ValueError: the file is damaged.
    """
    import pandas as pd

    from analysis.impact import confirm

    try:
        table = pd.read_csv(path)
        confirm.paired(table, sign=1.0)
    except (ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged ({reason}); remove it, or train again with --confirm") from None
    return table


def _reproducibility(run: Any, options: Options, folder: "Folder") -> "Section":
    """How to do it again, and with what it was done."""
    import pandas as pd

    from analysis.pages.page import Section, text

    if run is None:
        return Section(
            id="again", title="Reproducibility", blocks=(text("A study without run.json says nothing of it."),)
        )
    stored = asdict(run)
    nested = {k: stored.pop(k, None) or {} for k in ("versions", "machine")}
    for dropped in ("baseline", "plan", "study_url"):  # the first two are told elsewhere, a URL may hold a password
        stored.pop(dropped, None)
    rows = list(stored.items())
    rows += [(f"{group}: {key}", value) for group, values in nested.items() for key, value in values.items()]
    table = pd.DataFrame([(k, "" if v is None else str(v)) for k, v in rows], columns=pd.Index(["what", "value"]))
    said = f"Search: {run.command or 'unknown'}. Report: python -m analysis.report {options.run} --seed {options.seed}."
    blocks = (text(said), folder.table("run", table, caption="Settings of the search, and versions."))
    return Section(id="again", title="Reproducibility", blocks=blocks)


if __name__ == "__main__":
    run_command(main)
