"""Which configuration is best.

Only trials that were trained to the full budget count. A configuration that several of them trained, on several seeds,
counts by the mean of their values: the best of several values of one configuration says more about the seed than about
the configuration. One whose training failed on another seed, by its own fault, comes after all that never failed.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.storage.trials import is_untrainable
from spaces.objectives import Objective
from trainables.data.notation import format_value

_Key = frozenset[tuple[str, Any]]


@dataclass(kw_only=True)
class Standing:
    """A configuration that was trained to the full budget at least once."""

    trials: list[FrozenTrial] = field(default_factory=list)
    """Those that trained it to the end, in the order in which they were added."""
    failed: set[int] = field(default_factory=set)
    """Numbers of the trials in which it could not be trained."""

    @property
    def trial(self) -> FrozenTrial:
        """The oldest of its trials."""
        return min(self.trials, key=lambda trial: trial.number)

    @property
    def values(self) -> list[float]:
        """The value of each of its trials, the oldest first."""
        return [trial.value for trial in sorted(self.trials, key=lambda trial: trial.number)]  # type: ignore[misc]

    @property
    def value(self) -> float:
        """The mean of its values."""
        return fmean(self.values) if len(self.trials) > 1 else self.values[0]

    @property
    def of_several(self) -> str:
        """That the value is a mean, to follow it in a line; empty for one training."""
        if len(self.trials) < 2:
            return ""
        return f", the mean of {len(self.trials)} trainings ({', '.join(map(format_value, self.values))})"


class Standings:
    """The finished configurations of a search."""

    def __init__(self, objective: Objective, trials: Iterable[FrozenTrial] = ()) -> None:
        self._objective = objective
        self._found: dict[_Key, Standing] = {}
        for trial in trials:
            self.add(trial)

    def add(self, trial: FrozenTrial) -> None:
        """Count a trial, once; one that has not ended, or was stopped, changes nothing."""
        if not trial.state.is_finished() or trial.state == TrialState.PRUNED:
            return
        standing = self._found.setdefault(frozenset(trial.params.items()), Standing())
        if is_untrainable(trial):
            standing.failed.add(trial.number)
        elif trial.state == TrialState.COMPLETE and trial.value is not None:
            standing.trials = [*(one for one in standing.trials if one.number != trial.number), trial]

    @property
    def all(self) -> list[Standing]:
        """The configurations, in the order in which they were first added."""
        return [standing for standing in self._found.values() if standing.trials]

    def first(self, count: int) -> list[Standing]:
        """The best configurations, the best first; of equal ones the older first."""
        return heapq.nsmallest(count, self.all, key=self._order)

    @property
    def best(self) -> Standing | None:
        """The best configuration; None without any."""
        return next(iter(self.first(1)), None)

    def _order(self, standing: Standing) -> tuple[bool, float, int]:
        return bool(standing.failed), self._objective.order(standing.value), standing.trial.number


def best_trial(trials: Iterable[FrozenTrial], objective: Objective) -> FrozenTrial | None:
    """The trial of the best configuration, of several the oldest; None if none was trained to its full budget."""
    best = Standings(objective, trials).best
    return None if best is None else best.trial
