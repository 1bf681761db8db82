"""The live view of a search: the best trials with their parameters, the rungs, what is running, and how long still."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from search.process.text import counted, printable, short
from search.storage.run import Run
from search.storage.standings import Standings
from search.storage.trials import REPEATS, epochs_reached, is_infeasible, is_repeat
from trainables.data.notation import format_value

SHOWN_BEST, SHOWN_RUNNING = 5, 12
STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "paused",
    TrialState.WAITING: "waiting",
}
"""State of a trial without a worker, in words."""
_BARS = "▁▂▃▄▅▆▇█"
_CELL = 14
"""The widest value of a parameter."""


def ranked(run: Run, trials: Collection[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that have a value: those trained furthest first, and the better ones first among them; no repeats."""
    seen = [t for t in trials if t.state != TrialState.FAIL and t.intermediate_values]
    seen = [t for t in seen if not is_infeasible(t) and not is_repeat(t)]
    standings = Standings(run.objective, trials)
    last = {t.number: _last_value(t, standings) for t in seen}
    return sorted(seen, key=lambda t: (-epochs_reached(t), run.objective.order(last[t.number])))


def _last_value(trial: FrozenTrial, standings: Standings) -> float:
    """The value after the last epoch; of a trial that was repeated the mean of its trainings."""
    standing = standings.of(trial.number)
    return trial.intermediate_values[epochs_reached(trial)] if standing is None else standing.value


def value_text(trial: FrozenTrial, standings: Standings) -> str:
    """The last value of a trial as a table shows it, with the number of trainings if these are several."""
    standing = standings.of(trial.number)
    several = "" if standing is None or not standing.again else f" (mean of {len(standing.values)})"
    return f"{format_value(_last_value(trial, standings))}{several}" if trial.intermediate_values else "-"


def sparkline(values: Sequence[float], *, width: int = 24) -> str:
    """The values as bars of eight heights, from the least to the largest.

    >>> sparkline([1, 2, 3, 8])
    '▁▂▃█'
    """
    if len(values) > width:
        values = [values[i * len(values) // width] for i in range(width - 1)] + [values[-1]]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if not high > low:
        return ""
    return "".join(_BARS[round((len(_BARS) - 1) * (value - low) / (high - low))] for value in values)


def best_so_far(run: Run, trials: Collection[FrozenTrial]) -> list[float]:
    """The best value of all finished trials, after each of them, in the order of their numbers."""
    standings, found = Standings(run.objective, sorted(trials, key=lambda t: t.number)), list[float]()
    for standing in standings.all:
        better = not found or run.objective.order(standing.value) < run.objective.order(found[-1])
        found.append(standing.value if better else found[-1])
    return found


def describe_counts(run: Run, trials: Collection[FrozenTrial], *, num_running: int) -> str:
    """How many trials have started, and what became of them."""
    tried = [trial for trial in trials if not is_infeasible(trial)]
    states, repeats = Counter(trial.state for trial in tried), sum(map(is_repeat, tried))
    waiting = states[TrialState.RUNNING] - num_running
    parts = [
        f"{len(tried) - repeats} of {run.trials} trials started",
        f"{states[TrialState.COMPLETE]:,} finished",
        f"{states[TrialState.PRUNED] + waiting} paused or stopped",
    ]
    if repeats:
        parts.insert(1, counted(repeats, "repeat"))
    if states[TrialState.FAIL]:
        parts.append(f"{states[TrialState.FAIL]:,} failed")
    return ", ".join(parts)


def describe_rungs(run: Run, trials: Collection[FrozenTrial]) -> str:
    """How many trials have reached each rung; nothing where trials are not stopped early."""
    if run.pruner == "none" or len(run.rungs) < 2:
        return ""
    reached = [epochs_reached(t) for t in trials if not is_infeasible(t) and t.state != TrialState.FAIL]
    counts = [f"{rung}: {sum(epoch >= rung for epoch in reached)}" for rung in run.rungs]
    return f"trials that reached epoch {', '.join(counts)}"


class Trials:
    """The best trials and those that are running, with as many parameters as the terminal has room for."""

    def __init__(self, run: Run, trials: Mapping[int, FrozenTrial], running: Mapping[int, FrozenTrial]) -> None:
        self._run, self._running = run, sorted(running.items())
        self._standings = Standings(run.objective, trials.values())
        self._best = [t for t in ranked(run, trials.values()) if t.number not in running][:SHOWN_BEST]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = max(2, options.size.height - len(self._best) - 12)  # the lines above, the heads and the user's prompt
        running = self._running[: min(SHOWN_RUNNING, room)]
        shown = [*self._best, *(trial for _, trial in running)]
        names = _deciding(shown, self._run)
        endless = options.update(max_width=10_000)
        while names and Measurement.get(console, endless, self._table(shown, names)).maximum > options.max_width:
            names.pop()
        yield self._table(shown, names)
        if hidden := len(self._running) - len(running):
            yield Text(f"and {hidden} more running", "dim")

    def _table(self, shown: Sequence[FrozenTrial], names: Sequence[str]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in ("trial", self._run.metric, "epoch"):
            table.add_column(printable(name), justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for name in names:
            table.add_column(Text(printable(name)), justify="right", no_wrap=True)
        running = {number for number, _ in self._running}
        for index, trial in enumerate(shown):
            if trial.number in running and index and shown[index - 1].number not in running:
                table.add_section()
            table.add_row(*self._row(trial, names, is_running=trial.number in running))
        return table

    def _row(self, trial: FrozenTrial, names: Sequence[str], *, is_running: bool) -> list[RenderableType]:
        epoch = epochs_reached(trial)
        state = "running" if is_running else STATES[trial.state]
        if (repeated := trial.user_attrs.get(REPEATS)) is not None:
            state = f"{state}, trial {repeated} again"
        elif trial.params == self._run.baseline:
            state = f"{state}, baseline"
        values = [_cell(trial.params[name]) if name in trial.params else "-" for name in names]
        value = value_text(trial, self._standings)
        style = "" if is_running else "bold"
        return [str(trial.number), Text(value, style), f"{epoch}/{self._run.epochs}", Text(state, "dim"), *values]


def _deciding(shown: Sequence[FrozenTrial], run: Run) -> list[str]:
    """The parameters in which these trials differ, in the order of the space; those that most of them have first."""
    counts: Counter[str] = Counter()
    values: dict[str, set[Any]] = {}
    for trial in shown:
        for name, value in trial.params.items():
            counts[name] += 1
            values.setdefault(name, set()).add(value)
    order = {name: place for place, name in enumerate(run.baseline)}
    names = [name for name in counts if len(values[name]) > 1 or counts[name] < len(shown)]
    return sorted(names, key=lambda name: (-counts[name], order.get(name, len(order))))


def _cell(value: Any) -> Text:
    shown = short(value, 3) if isinstance(value, float) else printable(str(value))
    return Text(shown if len(shown) <= _CELL else shown[: _CELL - 3] + "...")
