"""The model of `curves` with a second objective: which trial is expected to add most to the front.

Each objective that is not known before training has a Gaussian process of its own, and the two count as independent.
A cost that is known before training has no uncertainty: its score is its normal rank among all trials and candidates.
A second objective that hardly changes during a training, such as a latency, is known of a trial once it is reported.
The gain of a trial is the expected improvement of the hypervolume that the front has in the scores at the full budget.
"""

from collections.abc import Container, Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial

from search.algorithms.front import Normal, Point, Price, expected_gain, normal_scores, order
from search.algorithms.gaussian_process import Surrogate, Tried
from search.algorithms.likeness import Configurations
from search.algorithms.observations import Value
from search.storage.run import Run
from search.storage.trials import second_value
from spaces.ranges import current

MARGIN = 1.0
"""How far the reference point lies below the worst score of the second objective, in units of the range of its
scores."""
STEADY = 0.1
"""A second objective is steady if its median change between the first and the last rung of a trial is at most so much
of the standard deviation at the first."""


class Tradeoff:
    """Models of both objectives, fitted to a study in which some trials have reached the first rung."""

    def __init__(
        self,
        trials: Sequence[FrozenTrial],
        run: Run,
        *,
        has_errors: bool,
        price: Price | None,
        compared: Configurations | None = None,
    ) -> None:
        """
        Args:
            run: has a second objective.
            has_errors: whether the records have standard errors of the values.
            price: the cost of a configuration, if the second objective is known before training.
            compared: as `Surrogate` takes it.
        """
        assert run.second is not None
        self._second, self._price, self._full_budget = run.second, price, run.epochs
        self._ranges = current(run.ranges, run.replaced)
        metric = run.metric if has_errors else ""
        shared: dict[str, Any] = {"metric": metric, "ranges": self._ranges, "compared": compared}
        self._model = Surrogate(trials, rungs=run.rungs, maximize=run.objective.maximize, **shared)
        self._is_steady = not run.second.known and is_steady(trials, run)
        self._other = None if run.second.known else self._fit_other(trials, run, has_errors=has_errors)
        self._costs = {one.trial.number: self._signed_cost(one.trial) for one in self._model.reached.values()}

    @property
    def configurations(self) -> Configurations:
        """Those that were compared."""
        return (self._other or self._model).configurations

    def _fit_other(self, trials: Sequence[FrozenTrial], run: Run, *, has_errors: bool) -> Surrogate:
        second, maximize = self._second, self._second.objective.maximize
        metric = second.name if has_errors else ""
        compared = self._model.configurations
        shared: dict[str, Any] = {"maximize": maximize, "ranges": self._ranges, "compared": compared}
        if self._is_steady:  # all values are comparable, as if there were one rung
            last: Value = lambda trial, _: (_course(trial, run) or [None])[-1]  # noqa: E731
            return Surrogate(trials, rungs=(1,), value=last, **shared)
        at: Value = lambda trial, epoch: second_value(trial, second, epoch)  # noqa: E731
        return Surrogate(trials, rungs=run.rungs, value=at, metric=metric, **shared)

    def _expected_other(self, trials: Sequence[Tried], running: Sequence[Tried] = ()) -> Normal:
        """Mean and standard deviation of the score in a second objective that is not known before training."""
        assert self._other is not None
        means, spreads = self._other.expected(trials, running)
        for place, (_, number) in enumerate(trials if self._is_steady else ()):
            if number in self._other.reached:
                means[place], spreads[place] = self._other.reached[number].score, 0.0
        return means, spreads

    def _signed_cost(self, trial: FrozenTrial) -> float:
        """The cost that is known before training, with a sign so that larger is better."""
        cost = second_value(trial, self._second, 1) if self._second.known else None
        return -np.inf if cost is None else self._second.objective.sign * cost

    def most_promising(self, count: int, *, among: Container[int] | None = None) -> list[FrozenTrial]:
        """The known trials with the best expected scores at the full budget, in the order of `front.order`.

        Args:
            among: numbers of trials; None for all.
        """
        known = [trial for trial in self._model.trials if among is None or trial.number in among]
        if not known:
            return []
        asked = [(trial.params, trial.number) for trial in known]
        first, _ = self._model.expected(asked)
        second = [self._costs[t.number] for t in known] if self._other is None else self._expected_other(asked)[0]
        places = order(list(zip(first.tolist(), map(float, second), strict=True)))
        return [known[place] for place in places[:count]]

    def improvement(
        self, trials: Sequence[Tried], running: Sequence[Tried] = (), *, over: Container[int] | None = None
    ) -> np.ndarray:
        """The expected improvement of the hypervolume by each, (N,), in units of the scores.

        Args:
            trials: parameters and number of each; a negative number for a configuration that is not yet a trial.
            running: what other workers train now; they are assumed to end as expected.
            over: numbers of the trials whose front is to be improved; None for all.
        """
        if self._other is None:
            known, second = self._scored_costs(trials)
        else:
            known = {number: one.score for number, one in self._other.reached.items()}
            second = self._expected_other(trials, running)
        points = {n: (one.score, known[n]) for n, one in self._model.reached.items() if n in known}
        reference = _reference(list(points.values()))
        finished = [n for n in points if self._model.reached[n].epoch == self._full_budget and (not over or n in over)]
        front = [points[number] for number in finished or points]
        return expected_gain(front, reference, self._model.expected(trials, running), second)

    def _scored_costs(self, trials: Sequence[Tried]) -> tuple[dict[int, float], Normal]:
        """The scores of the costs of all known trials by number, and those of these trials."""
        assert self._price is not None
        sign, costs = self._second.objective.sign, self._costs
        asked = [costs[n] if n in costs else sign * self._price(params) for params, n in trials]
        scores = normal_scores([*costs.values(), *asked])
        known = dict(zip(costs, scores.tolist(), strict=False))
        return known, (scores[len(costs) :], np.zeros(len(asked)))


def is_steady(trials: Sequence[FrozenTrial], run: Run) -> bool:
    """Whether the second objective hardly changes during a training."""
    courses = [course for trial in trials if (course := _course(trial, run))]
    changes = [abs(course[-1] - course[0]) for course in courses if len(course) > 1]
    return bool(changes) and float(np.median(changes)) <= STEADY * float(np.std([course[0] for course in courses]))


def _course(trial: FrozenTrial, run: Run) -> list[float]:
    """The second objective of a trial at the rungs that it has reached."""
    assert run.second is not None
    found = (second_value(trial, run.second, rung) for rung in run.rungs if rung in trial.intermediate_values)
    return [value for value in found if value is not None]


def _reference(points: Sequence[Point]) -> Point:
    """The median in the metric, since a cheap network that is poor is of no use; and far below all in the second
    objective, so that the best value of the metric counts at any cost."""
    first, second = zip(*points, strict=True)
    return float(np.median(first)), min(second) - MARGIN * (max(second) - min(second))
