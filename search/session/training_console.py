"""What the user sees while planned configurations are trained: the configuration, its seed and its metrics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from search.session.console import SearchConsole
from search.session.live import SHOWN_RUNNING
from search.storage.run import Run
from search.storage.trials import epochs_reached
from trainables.data.notation import format_value

_BOOKKEEPING = ("epoch", "seconds", "started", "weights", "gpu_memory_bytes", "threads")
"""Numbers in a record that the search itself measures."""


class TrainingConsole(SearchConsole):
    """Shows trainings that all run to the end: there is no best one and no early stopping."""

    def __init__(self, run: Run, *, metric: str, console: Console | None = None, logs: Path | None = None) -> None:
        """
        Args:
            metric: what to show of each epoch, where the training reports it; else its first number is shown.
        """
        super().__init__(run, console=console, logs=logs)
        self._metric = metric

    def _line(self, trial: FrozenTrial, what: str) -> None:
        if trial.state == TrialState.FAIL:
            super()._line(trial, what)
        elif not self._console.is_terminal:
            name, value = self._reported(trial)
            shown = f", {name} {format_value(value)}" if name else ""
            self._say(f"{self._name(trial)} {what} at epoch {epochs_reached(trial)}{shown}; {self._counts()}")

    def _name(self, trial: FrozenTrial) -> str:
        """The configuration and its seed: the tag `trial-7/0` is shown as `trial 7 with seed 1`."""
        plan = self._run.plan
        tag = plan[trial.number].tag if trial.number < len(plan) else ""
        name, _, index = tag.partition("/")
        if not index.isdecimal():
            return tag or f"training {trial.number}"
        title = "random configuration" if name == "random" else name.replace("trial-", "trial ")
        return f"{title} with seed {int(index) + 1}"

    def _reported(self, trial: FrozenTrial) -> tuple[str, float | None]:
        """The metric to show of the last epoch, and its value; no name where the training reported no number."""
        history = trial.user_attrs.get("history") or [{}]
        record: Mapping[str, Any] = history[-1] if isinstance(history[-1], dict) else {}
        numbers = {n: v for n, v in record.items() if isinstance(v, int | float) and n not in _BOOKKEEPING}
        for name in (self._metric, *numbers):
            if name in numbers:
                return name, numbers[name]
        return "", None

    def _counts(self) -> str:
        ended = sum(trial.state.is_finished() for trial in self._trials.values())
        return f"{ended} of {self._run.trials} trained"

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("training")
        for name in ("epoch", self._metric):
            table.add_column(name, justify="right")
        for _, trial in sorted(self._running.items())[:SHOWN_RUNNING]:
            name, value = self._reported(trial)
            shown = format_value(value) if name in ("", self._metric) else f"{name} {format_value(value)}"
            table.add_row(self._name(trial), f"{epochs_reached(trial)}/{self._run.epochs}", shown)
        return Group(Text(""), Text(self._counts()), Text(self._pace(), "dim"), table)
