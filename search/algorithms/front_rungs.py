"""Successive halving with a second objective: the order at a rung is that of the non-dominated ranks.

See `halving` for the rule, and `front.order` for the order. A trial with both objectives at a rung is a point there.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence

from optuna.trial import FrozenTrial

from search.algorithms.front import Point, order, point_at, ranks
from search.algorithms.halving import UNFINISHED, Rungs, pool
from search.storage.run import Run

WHOLE_FRONT = 10
"""A front of up to so many trials is trained to the end whole, however few trials there are."""


class FrontRungs:
    """The points at every rung, with the methods of `Rungs`. The order of a rung is computed when it is asked for."""

    def __init__(self, trials: Iterable[FrozenTrial], run: Run, *, find: Callable[[int], FrozenTrial]) -> None:
        """
        Args:
            trials: trials that are already in the study.
            run: has a second objective.
            find: the trial with a number, as it is now.
        """
        self._run, self._find = run, find
        self._points: dict[int, dict[int, Point]] = {rung: {} for rung in run.rungs}
        self._orders: dict[int, list[int]] = {}
        for trial in trials:
            for rung in run.rungs if trial.state in UNFINISHED else ():
                if (point := point_at(trial, run, rung)) is not None:
                    self._points[rung][trial.number] = point

    def add(self, number: int, *, rung: int, value: float) -> None:
        """Note that a trial has reached a rung, with this value of the first objective."""
        if (point := point_at(self._find(number), self._run, rung)) is not None:
            assert point[0] == self._run.objective.sign * value
            self._points[rung][number] = point
            self._orders.pop(rung, None)

    def remove(self, number: int) -> None:
        """Remove a trial that has failed."""
        for points in self._points.values():
            points.pop(number, None)
        self._orders.clear()

    def _order(self, rung: int) -> list[int]:
        if rung not in self._orders:
            numbers = sorted(self._points[rung])
            self._orders[rung] = [numbers[place] for place in order([self._points[rung][n] for n in numbers])]
        return self._orders[rung]

    def promotion(self, paused: Container[int]) -> int | None:
        """As `Rungs.promotion`."""
        for rung in reversed(self._run.rungs[:-1]):
            best = self._best(rung, paused)
            if (
                best is not None
                and self._order(rung).index(best) < len(self._order(rung)) // self._run.reduction_factor
            ):
                return best
        return None

    def undominated(self, paused: Container[int]) -> int | None:
        """The number of a paused trial that is on the front of its rung, the highest rung first; None if none is.

        Of a front of more than `WHOLE_FRONT` trials, at most half of all trials at the rung count.
        """
        for rung in reversed(self._run.rungs[:-1]):
            waiting, front = self._waiting(rung, paused), self._front(rung)
            if (best := next((number for number in waiting if number in front), None)) is not None:
                return best
        return None

    def _front(self, rung: int) -> list[int]:
        """What no trial at the rung dominates: the best in each objective, then as in `front.order`. Of equal points
        the oldest counts."""
        points = {number: self._points[rung][number] for number in self._order(rung)}
        front: dict[Point, int] = {}
        for (number, point), rank in zip(points.items(), ranks([*points.values()]), strict=True):
            if rank == 0:
                front[point] = min(number, front.get(point, number))
        ends = [front[max(front, key=lambda point: point[i])] for i in (0, 1)] if front else []
        return list(dict.fromkeys([*ends, *front.values()]))[: max(WHOLE_FRONT, len(points) // 2)]

    def leader(self, paused: Container[int]) -> int | None:
        """As `Rungs.leader`."""
        leaders = (self._best(rung, paused) for rung in reversed(self._run.rungs[:-1]))
        return next((leader for leader in leaders if leader is not None), None)

    @property
    def num_ranked(self) -> int:
        """Number of trials that have reached the first rung."""
        return len(self._points[self._run.rungs[0]])

    def pooled(self) -> list[int]:
        """As `Rungs.pooled`."""
        return pool([self._order(rung) for rung in self._run.rungs])

    def _best(self, rung: int, paused: Container[int]) -> int | None:
        """The best trial that waits at this rung and has reached no higher one."""
        return next(self._waiting(rung, paused), None)

    def _waiting(self, rung: int, paused: Container[int]) -> Iterator[int]:
        """The trials that wait at this rung and have reached no higher one, best first."""
        higher = [self._points[other] for other in self._run.rungs if other > rung]
        return (n for n in self._order(rung) if n in paused and not any(n in points for points in higher))


AnyRungs = Rungs | FrontRungs


def make_rungs(trials: Sequence[FrozenTrial], run: Run, *, find: Callable[[int], FrozenTrial]) -> AnyRungs:
    """The values of these trials at the rungs of a run, in the order of its objective or objectives.

    Args:
        find: the trial with a number, as it is now.
    """
    if run.second is not None:
        return FrontRungs(trials, run, find=find)
    maximize, factor = run.objective.maximize, run.reduction_factor
    return Rungs(trials, rungs=run.rungs, reduction_factor=factor, maximize=maximize)
