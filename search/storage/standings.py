"""Which trial is best.

Only trials that were trained to the full budget count, and those that other programs added as complete. One that other
trials repeat on other seeds counts by the mean of all its trainings: the best of several values of one configuration
says more about the seed than about the configuration. One of which a repeat failed by its own fault comes after all
that never failed.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean

from optuna.trial import FrozenTrial, TrialState

from search.storage.trials import REPEATS, is_finished, is_untrainable
from spaces.objectives import Objective
from trainables.data.notation import format_value


@dataclass(kw_only=True)
class Standing:
    """A trial that was trained to the full budget, with those that repeat it."""

    trial: FrozenTrial
    again: dict[int, FrozenTrial] = field(default_factory=dict)
    """Those that repeat it and were trained to the end, by number."""
    failed: set[int] = field(default_factory=set)
    """Numbers of the repeats in which the configuration could not be trained."""

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trial and its repeats."""
        return [self.trial, *self.again.values()]

    @property
    def values(self) -> list[float]:
        """The value of each of its trainings, that of the trial itself first."""
        return [trial.value for trial in self.trials]  # type: ignore[misc]

    @property
    def value(self) -> float:
        """The mean of its values."""
        return fmean(self.values) if self.again else self.values[0]

    @property
    def of_several(self) -> str:
        """That the value is a mean, to follow it in a line; empty for one training."""
        if not self.again:
            return ""
        return f", the mean of {len(self.values)} trainings ({', '.join(map(format_value, self.values))})"


class Standings:
    """The finished trials of a search."""

    def __init__(self, objective: Objective, trials: Iterable[FrozenTrial] = ()) -> None:
        """
        Args:
            trials: in any order in which no trial comes before the one that it repeats.
        """
        self._objective = objective
        self._found: dict[int, Standing] = {}
        for trial in trials:
            self.add(trial)

    def add(self, trial: FrozenTrial) -> None:
        """Count a trial, once; one that has not ended, or was stopped, changes nothing."""
        repeated = self._found.get(trial.user_attrs.get(REPEATS, -1))
        if repeated is not None and is_finished(trial):
            repeated.again[trial.number] = trial
        elif repeated is not None and trial.state == TrialState.FAIL and is_untrainable(trial):
            repeated.failed.add(trial.number)
        elif is_finished(trial) and REPEATS not in trial.user_attrs:
            self._found.setdefault(trial.number, Standing(trial=trial))

    @property
    def all(self) -> list[Standing]:
        """In the order in which the trials were added."""
        return list(self._found.values())

    def of(self, number: int) -> Standing | None:
        """That of the trial with this number; None if it is not finished, or repeats another one."""
        return self._found.get(number)

    def first(self, count: int) -> list[Standing]:
        """The best, the best first; of equal ones the older first."""
        return heapq.nsmallest(count, self._found.values(), key=self._order)

    @property
    def best(self) -> Standing | None:
        """The best; None without any."""
        return next(iter(self.first(1)), None)

    def _order(self, standing: Standing) -> tuple[bool, float, int]:
        return bool(standing.failed), self._objective.order(standing.value), standing.trial.number


def best_trial(trials: Iterable[FrozenTrial], objective: Objective) -> FrozenTrial | None:
    """The best trial; None if none was trained to its full budget."""
    best = Standings(objective, trials).best
    return None if best is None else best.trial
