"""The end of a search command: prints the result and how to continue, and chooses the exit code."""

import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.markup import escape

from search.process.arguments import BAD_INPUT, BROKEN_OFF, DONE, NOTHING_USABLE, SOME_FAILED, command
from search.process.signals import SIGNALLED
from search.process.text import counted, printable, short
from search.runtime.guard import RayLostError
from search.scheduling.errors import HopelessSearchError
from search.scheduling.search import Search
from search.session.bestfiles import keep_best
from search.session.console import summarise
from search.session.tradeoffs import front_table
from search.session.trouble import explain
from search.storage.expected import Expected
from search.storage.presence import StudyLostError
from search.storage.run import Run
from search.storage.standings import Standing, Standings
from search.storage.trials import epochs_reached, kept_epoch
from trainables.data.notation import format_value


def close(
    search: Search, received: int | None, *, run_dir: Path, resume: str, debug: bool, console: Console,
    expected: Expected | None = None,
) -> int:  # fmt: skip
    """Print the result of a search and how to continue.

    Args:
        received: the signal that stopped it, if any.
        resume: the command that continues it.
        debug: raise the error that ended the search early.
        expected: what more training is expected to gain, where that is known.

    Returns:
        The exit code.
    """
    trials = search.ledger.trials
    summarise(search.run, trials, console=console)
    keep_best(search.run, trials, run_dir)
    for line in _steered(search, run_dir):
        console.print(escape(line), soft_wrap=True)
    if received is not None:
        return say_stopped(received, resume=resume, console=console)
    if search.fatal is not None:
        return report_fatal(search.fatal, run_dir=run_dir, resume=resume, debug=debug)
    best = Standings(search.run.objective, trials).best
    _say_ended(search, is_usable=best is not None, resume=resume, console=console)
    if best is None:
        why = "there is no usable result yet" if search.out_of_time else "see the failures above"
        print(f"error: no trial was trained to its full budget; {why}", file=sys.stderr)
        return NOTHING_USABLE
    _show_best(best, search.run, trials, run_dir=run_dir, console=console)
    if expected is not None:
        console.print(expected.text(search.run.metric), soft_wrap=True)
    if ahead := _ahead(best, trials, search.run):
        console.print(escape(ahead), soft_wrap=True)
    return SOME_FAILED if any(t.state == TrialState.FAIL for t in trials) else DONE


def _say_ended(search: Search, *, is_usable: bool, resume: str, console: Console) -> None:
    """Print which limit ended the search, if one did, and how to continue."""
    if search.out_of_time:
        ended = "the time budget is used up" + " before any trial finished" * (not is_usable)
        console.print(f"{ended}; continue with:\n  {escape(resume)} --time-budget MINUTES", soft_wrap=True)
    elif (verdict := search.outlook.verdict) is not None:
        console.print(f"no new trial began: {escape(verdict.text(search.run.metric))}", soft_wrap=True)
        console.print(f"to continue all the same:\n  {escape(resume)} --until-gain 0", soft_wrap=True)


def _steered(search: Search, run_dir: Path) -> list[str]:
    """That a person has steered the search, and which trials are paused by request."""
    accepted = [one for one in search.ledger.requests() if one.state == "accepted"]
    if not accepted:
        return []
    folder = shlex.quote(str(run_dir))
    ctl = f"{command('search.ctl')} {folder}"
    lines = [f"a person steered this search with {counted(len(accepted), 'request')}; {ctl} lists them"]
    held = [t.number for t in search.trials if t.state == TrialState.RUNNING and search.steering.holds(t.number)]
    if held:
        names = ", ".join(map(str, held))
        lines.append(f"paused by request: trial {names}; to continue: {ctl} resume {held[0]}, then resume the search")
    return lines


def _ahead(best: Standing, trials: list[FrozenTrial], run: Run) -> str:
    """A line on the trial that was stopped early with a better value than that of the best trial; empty if none."""
    stopped = {t.number: t for t in trials if t.state == TrialState.PRUNED}
    number = run.objective.best((n, t.value) for n, t in stopped.items() if t.value is not None)
    if number is None:
        return ""
    value = stopped[number].value
    if value is None or run.objective.order(value) >= run.objective.order(best.value):
        return ""
    return (
        f"note: trial {number} was stopped at epoch {epochs_reached(stopped[number])} of {run.epochs} with {run.metric}"
        f" {format_value(value)}; only fully trained trials can be the best, and a search with more trials (--trials)"
        " trains more of them to the end"
    )


def _show_best(best: Standing, run: Run, trials: list[FrozenTrial], *, run_dir: Path, console: Console) -> None:
    kept = f", keeps epoch {kept_epoch(best.trial)} of {run.epochs}" if kept_epoch(best.trial) is not None else ""
    value = f"{run.metric} {format_value(best.value)}{best.of_several}"
    console.print(f"\nbest: trial {best.trial.number}, {value}{kept}", style="bold", soft_wrap=True)
    for name, value in best.trial.params.items():
        shown = short(value) if isinstance(value, float) else value
        console.print(f"  {name} = {escape(printable(str(shown)))}", soft_wrap=True)
    if (table := front_table(run, trials)) is not None:
        console.print()
        console.print(table)
    folder = escape(shlex.quote(str(run_dir)))
    console.print(f"(also in {folder}/best.json, for --try, and in best.py)", soft_wrap=True)
    console.print(f"\nnext:\n  {command('analysis.report')} {folder}", soft_wrap=True)
    if run.questions:
        console.print(f"  {command('analysis.ask')} {folder}", soft_wrap=True)
    if run.has_test:
        console.print(f"  {command('analysis.final')} {folder}", soft_wrap=True)


def say_stopped(number: int, *, resume: str, console: Console) -> int:
    """Print that this signal stopped the search, and return the exit code."""
    console.print(f"stopped by {signal.Signals(number).name}; all finished epochs are saved; resume with:")
    console.print(f"  {escape(resume)}", soft_wrap=True)
    return SIGNALLED + number


def report_fatal(error: Exception, *, run_dir: Path, resume: str, debug: bool, begun: bool = True) -> int:
    """Print in one line on stderr which error ended the search early, and how to continue if there is a run.

    Args:
        resume: the command that continues it.
        debug: raise the error instead.
        begun: whether there is a run to continue.

    Returns:
        The exit code.
    """
    if debug and not isinstance(error, RayLostError):
        raise error
    then = f"; finished epochs are saved; resume with: {resume}" if begun else "; nothing was started"
    then = "" if isinstance(error, StudyLostError) else then  # its message says what is saved and what to do
    reason = explain(error, run_dir)
    with suppress(OSError):
        print(f"error: {reason}{then}", file=sys.stderr, flush=True)
    if isinstance(error, HopelessSearchError):
        return NOTHING_USABLE
    return BROKEN_OFF if begun or isinstance(error, RayLostError) else BAD_INPUT
