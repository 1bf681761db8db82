"""What the user sees of a search: a live view in a terminal, plain lines in a pipe, and the table at the end."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from search.process.silence import doing
from search.process.text import counted, describe_saving, duration, printable
from search.session import live
from search.session.tradeoffs import describe_front, shown_number
from search.storage.expected import Expected
from search.storage.logs import log_path
from search.storage.requests import Request
from search.storage.run import Run
from search.storage.standings import Standings
from search.storage.trials import (
    effort,
    epochs_reached,
    is_infeasible,
    is_repeat,
    kept_epoch,
    num_weights,
    second_value,
)
from trainables.data.notation import format_value

QUIET_SECONDS = 8.0
"""Least time between two lines about epochs, where the output is no terminal."""
SHOWN_CAUSE = 200
"""Characters of the cause of a failure."""
_WITH_TRACEBACK = ("error", "invalid")
"""Kinds of failures that are exceptions."""


class Output(Console):
    """Rich's console, with one change: a closed pipe raises an error that stops the search; rich would just exit."""

    def __init__(self, file: IO[str] | None = None) -> None:
        super().__init__(highlight=False, file=file)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError, once; nothing that is printed later fails again."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)
        raise BrokenPipeError("nothing reads the output any more")


class CalmLive(Live):
    """A live view that is drawn again only after the terminal has taken the last picture."""

    def refresh(self) -> None:
        """Draw, unless the terminal is paused (Ctrl-S)."""
        if getattr(self.console.file, "idle", True):
            super().refresh()


class SearchConsole:
    """Shows a search while it runs; implements `Events`, whose methods `Search` calls."""

    def __init__(self, run: Run, *, console: Console | None = None, logs: Path | None = None) -> None:
        """
        Args:
            logs: folder of the logs of trials, which are named when trials fail.
        """
        self._run, self._logs = run, logs
        self._console = console or Output()
        self._trials: dict[int, FrozenTrial] = {}
        self._running: dict[int, FrozenTrial] = {}
        self._since: dict[int, float] = {}
        """Trial -> time at which its current epoch began."""
        self._began = time.monotonic()
        self._epochs = 0
        self._started_now = 0
        self._last_line = self._began
        self._standings = Standings(run.objective)
        self._last_cause = ""
        self._num_steered = 0
        self._expected: Expected | None = None
        self._front: str | None = ""
        """The front in words; None after a trial has ended, until it is shown."""

    @contextmanager
    def following(self, trials: list[FrozenTrial]) -> Iterator[None]:
        """Show the search while it runs, beginning with the trials that the study already holds."""
        self._trials = {t.number: t for t in trials}
        for trial in trials:
            self._consider(trial)
        if not self._console.is_terminal:
            with doing(self._at_work):
                yield
            return
        with CalmLive(get_renderable=self._render, console=self._console, refresh_per_second=2, transient=True):
            yield

    # Events

    def started(self, trial: FrozenTrial) -> None:
        """A trial was given a worker."""
        self._started_now += trial.number not in self._trials
        self._trials[trial.number] = self._running[trial.number] = trial
        self._since[trial.number] = time.monotonic()

    def epoch(self, trial: FrozenTrial, record: dict[str, Any]) -> None:
        """An epoch is in the study."""
        self._epochs += 1
        self._trials[trial.number] = self._running[trial.number] = trial
        self._since[trial.number] = now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= QUIET_SECONDS:
            left = self._time_left(now - self._began)
            self._say(f"{self._name(trial)} is at epoch {epochs_reached(trial)}; {self._counts()}{left}")

    def paused(self, trial: FrozenTrial) -> None:
        """A trial waits at a rung."""
        self._trials[trial.number] = trial
        self._running.pop(trial.number, None)
        self._line(trial, "paused")

    def ended(self, trial: FrozenTrial) -> None:
        """A trial reached its final state."""
        self._trials[trial.number] = trial
        if self._running.pop(trial.number, None) is None:
            return  # it was paused, and becomes PRUNED at the end of the search
        self._consider(trial)
        self._line(trial, live.STATES[trial.state])

    def steered(self, request: Request) -> None:
        """A person's request was answered."""
        self._num_steered += request.state == "accepted"
        refused = "refused: " * (request.state == "refused")
        self.notice(f"request {request.number} ({request.text}): {refused}{request.answer}")

    def foreseen(self, expected: Expected) -> None:
        """More training is expected to gain this."""
        self._expected = expected

    def notice(self, text: str) -> None:
        """Information for the user that needs no action."""
        self._console.print(f"note: {escape(printable(text))}", soft_wrap=True)

    # What is shown

    def _consider(self, trial: FrozenTrial) -> None:
        self._front = None
        self._standings.add(trial)

    def _line(self, trial: FrozenTrial, what: str) -> None:
        if self._console.is_terminal and trial.state != TrialState.FAIL:
            return
        if trial.state == TrialState.FAIL:
            cause = printable(str(trial.user_attrs.get("failure")))[:SHOWN_CAUSE]
            said = "with the same error" if cause == self._last_cause else f": {cause}"
            self._last_cause = cause
            self._say(f"{self._name(trial)} failed{' ' * (said[0] != ':')}{said}{self._log_of(trial)}")
            return
        value = trial.intermediate_values.get(epochs_reached(trial))
        shown = "" if value is None else f", {self._run.metric} {format_value(value)}"
        best = self._standings.best
        best = "" if best is None else f" (best {format_value(best.value)}, trial {best.trial.number})"
        self._say(f"trial {trial.number} {what} at epoch {epochs_reached(trial)}{shown}{best}")

    def _name(self, trial: FrozenTrial) -> str:
        return f"trial {trial.number}"

    def _log_of(self, trial: FrozenTrial) -> str:
        path = None if self._logs is None else log_path(self._logs, trial.number)
        if path is None or not path.exists():
            return ""
        what = "traceback" if trial.user_attrs.get("failure_kind") in _WITH_TRACEBACK else "log"
        return f"; {what}: {printable(str(path))}"

    def _say(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._console.print(f"{duration(self._last_line - self._began):>7}  {escape(text)}", soft_wrap=True)

    def _at_work(self) -> str:
        """The line that is printed while no epoch ends."""
        now = time.monotonic()
        began = f"{duration(now - self._began):>7}  "
        running = list(self._running.values())
        if not running:
            what = "no trial is being trained" if self._epochs else "starting Ray and its workers"
            return f"{began}{what}; {self._counts()}"
        longest = min(running, key=lambda trial: self._since[trial.number])
        since = duration(now - self._since[longest.number])
        return f"{began}{self._name(longest)} is in epoch {epochs_reached(longest) + 1} for {since}; {self._counts()}"

    def _counts(self) -> str:
        return live.describe_counts(self._run, self._trials.values(), num_running=len(self._running))

    def _pace(self) -> str:
        elapsed = time.monotonic() - self._began
        if not self._epochs:
            return f"{duration(elapsed)}, starting Ray and its workers"
        text = f"{duration(elapsed)}, {60 * self._epochs / max(elapsed, 1):.0f} epochs/min"
        return text + self._time_left(elapsed)

    def _time_left(self, elapsed: float) -> str:
        todo = self._run.trials - sum(not is_repeat(trial) for trial in self._trials.values())
        if self._started_now <= 5 or todo <= 0:
            return ""
        return f", about {duration(elapsed * todo / self._started_now)} left"

    def _render(self) -> Group:
        trials = dict(self._trials)
        if self._front is None:
            self._front = describe_front(self._run, list(trials.values()))
        lines = [self._best_line(trials), *([Text(self._front, "bold")] if self._front else [])]
        lines += [Text(self._counts()), Text(self._pace(), "dim")]
        if self._expected is not None:
            lines.append(Text(self._expected.text(self._run.metric), "dim"))
        if self._num_steered:
            lines.append(Text(f"steered by a person with {counted(self._num_steered, 'request')}", "dim"))
        if rungs := live.describe_rungs(self._run, trials.values()):
            lines.append(Text(rungs, "dim"))
        return Group(Text(""), *lines, Text(""), live.Trials(self._run, trials, dict(self._running)))

    def _best_line(self, trials: dict[int, FrozenTrial]) -> Text:
        if (best := self._standings.best) is None:
            return Text("best so far: none yet")
        which = f"trial {best.trial.number}{best.of_several}"
        line = f"best so far: {self._run.metric} {format_value(best.value)} ({which})"
        baseline = next((t.number for t in trials.values() if t.params == self._run.baseline), -1)
        if (standing := self._standings.of(baseline)) is not None:
            line += f", baseline {format_value(standing.value)}"
        bars = "" if self._console.options.ascii_only else live.sparkline(live.best_so_far(self._run, trials.values()))
        return Text.assemble((line, "bold green"), ("  " + bars if bars else "", "green"))


def summarise(run: Run, trials: list[FrozenTrial], *, console: Console) -> None:
    """Print the top five, what early stopping saved, and the failures by cause."""
    tried = [t for t in trials if not is_infeasible(t)]
    if ranked := live.ranked(run, tried):
        console.print(_top_five(run, ranked, Standings(run.objective, tried)))
    repeats = [t for t in tried if is_repeat(t)]
    states = Counter(t.state for t in tried if not is_repeat(t))
    trained = sum(len(t.intermediate_values) for t in tried)
    saved = ""
    if trained and all(t.state.is_finished() for t in tried):  # epochs of unfinished trials are not saved, only open
        reached, full = effort(tried, epochs=run.epochs)
        saved = describe_saving(reached, full=full)
    console.print(
        f"\n{counted(sum(states.values()), 'trial')}: {states[TrialState.COMPLETE]:,} finished,"
        f" {states[TrialState.PRUNED]:,} stopped early, {states[TrialState.FAIL]:,} failed"
        + (f", {states[TrialState.RUNNING]:,} unfinished" if states[TrialState.RUNNING] else "")
        + f"; {counted(len(repeats), 'repeat')}" * bool(repeats)
        + f"; {counted(trained, 'epoch')} trained{saved}",
        soft_wrap=True,
    )
    if len(trials) > len(tried):
        console.print(describe_skipped(trials), soft_wrap=True)
    causes = Counter(str(t.user_attrs.get("failure", "unknown")) for t in tried if t.state == TrialState.FAIL)
    for cause, count in causes.most_common(5):
        console.print(f"failed {count}x: {escape(printable(cause)[:SHOWN_CAUSE])}", soft_wrap=True)


def _top_five(run: Run, ranked: Sequence[FrozenTrial], standings: Standings) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    keeps = ("keeps epoch",) if any(kept_epoch(trial) is not None for trial in ranked) else ()
    cost = "weights" if run.second is None else run.second.name
    for name in ("trial", run.metric, "epochs", *keeps, "state", cost):
        table.add_column(escape(printable(name)), justify="left" if name == "state" else "right")
    for trial in ranked[:5]:
        reached = epochs_reached(trial)
        known = num_weights(trial) if run.second is None else second_value(trial, run.second, reached)
        table.add_row(
            f"{trial.number}" + (" (baseline)" if trial.params == run.baseline else ""),
            live.value_text(trial, standings),
            f"{reached}/{run.epochs}",
            *(str(kept_epoch(trial) or "-") for _ in keeps),
            live.STATES[trial.state],
            "-" if known is None else shown_number(known),
        )
    return table


def describe_skipped(trials: Sequence[FrozenTrial]) -> str:
    """How many configurations were too large, and why trials have higher numbers than there are trials."""
    count = sum(is_infeasible(t) for t in trials)
    them = "configuration was too large and was" if count == 1 else "configurations were too large and were"
    last = max((t.number for t in trials if not is_infeasible(t)), default=0)
    tried = len(trials) - count
    numbers = f"; skipped configurations are numbered too, so the {tried} trials have numbers up to {last}"
    return f"{count} sampled {them} skipped{numbers if last >= tried > 0 else ''}"
