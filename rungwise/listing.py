"""The commands that show runs: a list of all, one of them, the log of a trial.

rungwise runs
rungwise show NAME [12]
rungwise logs NAME [12]
"""

import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from search.process.arguments import DONE, Flag, OptionalInt, answering_errors, parse, report_error
from search.process.tabular import print_json, print_table
from search.process.text import counted, short
from search.storage.folder import find_run

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_RUNS_DIR = Path("runs")


@dataclass(frozen=True, kw_only=True)
class Runs:
    """List the runs of a folder, the newest last."""

    json: Flag = False
    """Print a JSON list of objects instead of a table."""
    runs_dir: Path = _RUNS_DIR
    """Folder that holds all runs."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show a run: what it searches, how its trials ended, the best. Or one of its trials, epoch by epoch."""

    run: Annotated[str, tyro.conf.Positional]
    """Name of the run, or its folder."""
    number: Annotated[int | None, tyro.conf.Positional, tyro.conf.arg(metavar="[TRIAL]", help_behavior_hint="")] = None
    """Number of a trial."""
    trial: OptionalInt = None
    """Number of a trial, as an option."""
    json: Flag = False
    """Print a JSON object: of a run, its settings and trials; of a trial, everything that was recorded."""
    runs_dir: Path = _RUNS_DIR
    """Folder that holds all runs."""


@dataclass(frozen=True, kw_only=True)
class Logs:
    """Print what the code of a trial wrote; without a number, list the trials that wrote something."""

    run: Annotated[str, tyro.conf.Positional]
    """Name of the run, or its folder."""
    trial: Annotated[int | None, tyro.conf.Positional, tyro.conf.arg(metavar="[TRIAL]", help_behavior_hint="")] = None
    """Number of the trial."""
    json: Flag = False
    """Print a JSON object: of a trial, its log; without a number, a list of them."""
    runs_dir: Path = _RUNS_DIR
    """Folder that holds all runs."""


@answering_errors
def main(words: list[str]) -> int:
    """The command named by the first word; 0 when done, 2 for bad input."""
    kind = {"runs": Runs, "show": Show, "logs": Logs}[words[0]]
    try:
        options: Any = parse(kind, words[1:], prog=f"rungwise {words[0]}")
        match options:
            case Runs():
                _list(options)
            case Show(trial=None, number=None):
                _show(find_run(options.run, options.runs_dir), as_json=options.json)
            case Show(trial=int(one), number=int(other)) if one != other:
                raise ValueError(f"give one trial, got {other} and --trial {one}")
            case Show(trial=int(number)) | Show(number=int(number)):
                _show_trial(find_run(options.run, options.runs_dir), number, as_json=options.json)
            case Logs(trial=int(number)):
                _print_log(find_run(options.run, options.runs_dir), number, as_json=options.json)
            case Logs():
                _list_logs(find_run(options.run, options.runs_dir), as_json=options.json)
    except (ValueError, OSError) as error:
        return report_error(error)
    return DONE


def _list(options: Runs) -> None:
    folders = [path.parent for path in options.runs_dir.glob("*/run.json")]
    if not folders and not options.json:
        print(f"no runs in {str(options.runs_dir)!r}")
        return
    rows: list[dict[str, Any]] = []
    for folder in folders:
        try:
            rows.append(_facts(folder))
        except (ValueError, OSError) as error:
            rows.append({"run": folder.name, "created": "", "state": str(error)[:80]})
    rows.sort(key=lambda row: row["created"])
    if options.json:
        print_json(rows)
        return
    print_table([{key: _cell(key, value) for key, value in row.items() if key != "running"} for row in rows])


def _cell(key: str, value: Any) -> str:
    """A fact about a run as the table of runs shows it."""
    if key == "created":
        return value[:16].replace("T", " ")
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _facts(folder: Path) -> dict[str, Any]:
    """One row about a run; `running` is None if the search is on another host and cannot be checked."""
    from optuna.trial import TrialState

    from search.storage.lock import is_held
    from search.storage.requests import num_asked_for, requests_of
    from search.storage.run import read_run
    from search.storage.standings import Standings
    from search.storage.study import open_study
    from search.storage.trials import is_infeasible, is_repeat

    run, study = read_run(folder), open_study(folder)
    trials = [t for t in study.trials if not is_infeasible(t)]
    compared = [t for t in trials if not is_repeat(t)]
    asked = num_asked_for(run, requests_of(study))
    done = sum(t.state.is_finished() for t in compared)
    failed = sum(t.state == TrialState.FAIL for t in trials)
    best, running = Standings(run.objective, trials).best, is_held(folder)
    is_over = done == len(compared) >= asked and all(t.state.is_finished() for t in trials)
    state = "finished" if is_over else f"{done} of {counted(max(asked, len(compared)), 'trial')}"
    return {
        "run": folder.name,
        "created": run.created,
        "what": run.subject,
        "state": ("running, " if running else "") + state + (f", {failed} failed" if failed else ""),
        "running": running,
        "metric": run.metric,
        "best": None if best is None else best.value,
        "trial": None if best is None else best.trial.number,
    }


def _show(folder: Path, *, as_json: bool) -> None:
    from rich.console import Console

    from search.process.text import printable
    from search.session.console import summarise
    from search.session.tradeoffs import front_table
    from search.storage.requests import requests_of
    from search.storage.run import read_run
    from search.storage.study import open_study

    run = read_run(folder)
    if as_json:
        study = open_study(folder)
        trials, requests = [_record(trial) for trial in study.trials], [one.facts for one in requests_of(study)]
        print_json({"settings": asdict(run), **_facts(folder), "trials": trials, "requests": requests})
        return
    rungs = " ".join(map(str, run.rungs))
    second = f" and {printable(run.second.name)}, to {run.second.direction}" if run.second else ""
    print(
        f"{folder.name}: {run.subject}; {run.metric}, to {run.direction}{second}; {counted(run.epochs, 'epoch')},"
        f" rungs {rungs}" + ("; trials keep their best epoch" if run.keep_epoch == "best" else "")
    )
    created = f"{run.created[:16].replace('T', ' ')} UTC" if run.created else "at an unknown time"
    print(f"started {created} by {run.command or 'an unknown command'}")
    for one in (*run.ranges, *run.replaced):
        print(f"range of {printable(str(one))}")
    print()
    study = open_study(folder)
    console = Console(highlight=False)
    summarise(run, study.trials, console=console)
    if front := front_table(run, study.trials):
        console.print("", front)
    for one in requests_of(study):
        number = "" if one.number is None else f"{one.number}, "
        print(f"request {number}{one.state}: {printable(one.text)}" + f"; {printable(one.answer)}" * bool(one.answer))


def _record(trial: "FrozenTrial") -> dict[str, Any]:
    """A trial for a program: its state as in the study, its value, and what is stored with it."""
    dates = {"started": trial.datetime_start, "ended": trial.datetime_complete}
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value,
        "params": trial.params,
        **{name: None if date is None else date.isoformat() for name, date in dates.items()},
        "attrs": {key: value for key, value in trial.user_attrs.items() if key != "history"},
    }


def _show_trial(folder: Path, number: int, *, as_json: bool) -> None:
    from search.session.live import STATES
    from search.storage.run import read_run
    from search.storage.study import open_study
    from search.storage.trials import OF_THE_MACHINE, WORKERS

    run, trials = read_run(folder), open_study(folder).trials
    trial = next((t for t in trials if t.number == number), None)
    if trial is None:
        raise ValueError(f"the number of the trial must lie in 0..{len(trials) - 1}, got {number}")
    if as_json:
        print_json({**_record(trial), "epochs": trial.user_attrs.get("history", [])})
        return
    print(f"trial {number} of {folder.name}: {STATES[trial.state]}")
    for name, value in trial.params.items():
        print(f"  {name} = {short(value) if isinstance(value, float) else value}")
    if WORKERS in trial.user_attrs:
        print(f"  trained by {counted(trial.user_attrs[WORKERS], 'worker')}")
    if "failure" in trial.user_attrs:
        print(f"  failed: {trial.user_attrs['failure']}")
    records = [r for r in trial.user_attrs.get("history", ()) if isinstance(r, dict)]
    shown = [
        {k: v for k, v in record.items() if k not in OF_THE_MACHINE and not isinstance(v, str)} for record in records
    ]
    first = {"epoch": "", run.metric: ""}
    rows = [{k: _number(record.get(k)) for k in {**first, **record}} for record in shown]
    print_table(rows)


def _list_logs(folder: Path, *, as_json: bool) -> None:
    from search.storage.logs import logs_of
    from search.storage.study import open_study

    found = {int(path.stem.removeprefix("trial-")): path for path in sorted(logs_of(folder).glob("trial-*.log"))}
    failed = {t.number for t in open_study(folder).trials if "failure" in t.user_attrs} if found else set()
    if as_json:
        print_json([{"trial": n, "path": str(path), "failed": n in failed} for n, path in found.items()])
        return
    if not found:
        print(f"{folder.name!r} has no logs: no trial printed anything, or the run is a published copy")
        return
    for number, path in found.items():
        print(f"{number:>5}  {path}" + ("  (failed)" if number in failed else ""))
    print(f"\nprint one with: rungwise logs {folder.name} NUMBER")


def _print_log(folder: Path, number: int, *, as_json: bool) -> None:
    from search.process.text import visible
    from search.storage.logs import log_path, logs_of

    path, failure = log_path(logs_of(folder), number), _failure(folder, number)
    if not path.is_file() and failure is None:
        raise ValueError(
            f"trial {number} of {folder.name!r} has no log ({path}): it printed nothing, or the run is a published copy"
        )
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if as_json:
        print_json({"trial": number, "path": str(path), "text": text, "failure": failure})
        return
    if failure is not None and failure not in text:  # a divergence has no traceback
        text += "\n" * bool(text and not text.endswith("\n")) + f"trial {number} failed: {failure}\n"
    sys.stdout.write(visible(text) if sys.stdout.isatty() else text)


def _failure(folder: Path, number: int) -> str | None:
    """Why a trial failed; None if it did not, or if there is no study to tell."""
    from search.storage.study import open_study

    with suppress(ValueError):
        return next((t.user_attrs.get("failure") for t in open_study(folder).trials if t.number == number), None)
    return None


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
