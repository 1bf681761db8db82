"""A Gaussian process that predicts the value at the full budget, of trials and of configurations not yet tried.

It learns from the value of every trial at every rung. Values are compared only at equal epochs: each is replaced by a
score, its normal rank among the trials at its rung. The scores of a rung have the mean and the spread that its trials
had at the rung below. The covariance of scores is that of `kernel`. A value with a standard error, which a mean over
folds has, adds its square to the noise of its score.

Everything here is a pure function of the values in the study.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtr

from search.algorithms.encoding import with_values
from search.algorithms.kernel import VARIANCE, Inputs, most_evident
from search.algorithms.likeness import Configurations
from search.algorithms.observations import Value, most_telling, observations, reported
from search.storage.trials import is_untrainable

_BELIEVED = 0.05
"""Variance of the noise of the scores that running trials are assumed to reach."""
Tried = tuple[Mapping[str, Any], int]
"""Parameters and number of a trial."""


class _Running(NamedTuple):
    """What is assumed of the trials that run."""

    inputs: Inputs
    loadings: np.ndarray
    factor: np.ndarray
    """Cholesky factor of the covariance of the scores that they are assumed to reach, given those observed."""


class Surrogate:
    """The Gaussian process, fitted to a study in which some trials have reached the first rung."""

    def __init__(
        self,
        trials: Sequence[FrozenTrial],
        *,
        rungs: Sequence[int],
        maximize: bool,
        metric: str = "",
        value: Value = reported,
        ranges: Mapping[str, BaseDistribution] | None = None,
        compared: Configurations | None = None,
    ) -> None:
        """
        Args:
            metric: name of the value, whose standard error the records of the trials may have.
            value: gives the values from which the process learns.
            ranges: those in which configurations are compared, for parameters that had others in earlier trials.
            compared: the configurations of an earlier fit, whose likeness is known.
        """
        known = observations(trials, rungs=rungs, maximize=maximize, metric=metric, value=value)
        self.reached = {one.trial.number: one for one in known if not is_untrainable(one.trial)}
        """What is known of each trial at the highest rung that it has reached."""
        observed = most_telling(known)
        self._full_budget = rungs[-1]
        tried = {one.trial.number: one.trial for one in known}
        space = _space([tried[number] for number in sorted(tried)], ranges or {})
        self.configurations = compared.within(space) if compared else Configurations(space)
        epochs = np.array([one.epoch for one in observed])
        told = [one.trial for one in observed]
        self._observed = self._inputs([t.params for t in told], epochs, [t.number for t in told])
        self.trials = list({one.trial.number: one.trial for one in observed if not is_untrainable(one.trial)}.values())
        """The trials from whose values the process has learnt."""
        self._scores = np.array([one.score for one in observed])
        errors = np.array([one.squared_error for one in observed])
        self._kernel, noise = most_evident(self._observed, self._scores, errors, self.configurations)
        self._noise = float(np.median(noise))
        self._alike = self._kernel.likeness(self._observed, self._observed)
        covariance = self._kernel.covariance(self._observed, self._observed, self._alike) + np.diag(noise)
        self._factor = cholesky(covariance, lower=True)
        self._values = solve_triangular(self._factor, self._scores, lower=True)

    def _best(self, among: Container[int] | None) -> float:
        """The best score at the full budget, or at any epoch if no trial has reached it; -inf if there is no score."""
        numbers = self._observed.numbers.tolist()
        counted = np.array([among is None or number in among for number in numbers])
        finished = counted & (self._observed.epochs == np.log(self._full_budget))
        return float(self._scores[finished if finished.any() else counted].max(initial=-np.inf))

    def most_promising(self, count: int, *, among: Container[int] | None = None) -> list[FrozenTrial]:
        """The known trials with the best expected score at the full budget, best first.

        Args:
            among: numbers of trials; None for all.
        """
        known, means = self._known
        places = [place for place, trial in enumerate(known) if among is None or trial.number in among]
        return [known[place] for place in sorted(places, key=lambda place: -means[place])[:count]]

    @cached_property
    def _known(self) -> tuple[list[FrozenTrial], np.ndarray]:
        """The known trials and their expected scores at the full budget."""
        if not self.trials:
            return [], np.zeros(0)
        rows = {number: row for row, number in enumerate(self._observed.numbers.tolist())}
        alike = self._alike[:, [rows[trial.number] for trial in self.trials]]
        there = self._at_full_budget([(trial.params, trial.number) for trial in self.trials])
        return self.trials, self._loadings(there, alike).T @ self._values

    def improvement(
        self, trials: Sequence[Tried], running: Sequence[Tried] = (), *, over: Container[int] | None = None
    ) -> np.ndarray:
        """The expected improvement of each over the best score at the full budget, (N,), in units of the score.

        Args: as `predicted`.
        """
        return expected_improvement(*self.predicted(trials, running, over=over))

    def knowledge_gain(
        self, trials: Sequence[Tried], epochs: Sequence[int], running: Sequence[Tried] = ()
    ) -> np.ndarray:
        """By how much the best expected score rises once the score of each after so many epochs is known, (N, H).

        Let m be the expected score of a trial at the full budget, and b the best one of the others. The score after h
        epochs changes m - b by a normal number with the standard deviation s = |cov(difference of the two scores, score
        after h epochs)| / sqrt(var(score after h epochs) + noise). Then E max(m, b) rises by s (z Phi(z) + phi(z)),
        z = -|m - b| / s: the knowledge gradient (Frazier, Powell and Dayanik 2009). It is small for a trial that is
        much like the best one, since both change together.

        Args:
            trials, running: as `expected` takes them.
            epochs: the H horizons.
        """
        there, others = self._at_full_budget(trials), self._assumed(running)
        alike = self._alike_to(there, others)
        at_end = self._explained(there, others, alike)
        best, marks = self._two_best()
        rival = (there.numbers == best[0].number).astype(int) if best else np.zeros(len(trials), dtype=int)
        below = -np.abs(at_end[: len(self._scores)].T @ self._values - marks[rival])
        shared = self._shared(best, there, others)
        gains = []
        for horizon in epochs:
            then = there._replace(epochs=np.full(len(trials), np.log(horizon)))
            known = self._explained(then, others, alike)
            own = self._kernel.with_itself(np.log(self._full_budget / horizon)) - (at_end * known).sum(axis=0)
            spread = np.sqrt(np.maximum(VARIANCE - (known**2).sum(axis=0), 1e-9) + self._noise)
            change = np.abs(own - shared(then, known)[rival, np.arange(len(trials))]) / spread
            gains.append(expected_improvement(below, np.maximum(change, 1e-9)))
        return np.stack(gains, axis=1)

    def _two_best(self) -> tuple[list[FrozenTrial], np.ndarray]:
        """The two known trials with the best expected scores, and these scores; the worst score where there is none."""
        known, means = self._known
        expected = {trial.number: mean for trial, mean in zip(known, means.tolist(), strict=True)}
        best, worst = self.most_promising(2), float(self._scores.min())
        return best, np.array([*(expected[trial.number] for trial in best), worst, worst][:2])

    def _shared(
        self, best: Sequence[FrozenTrial], there: Inputs, others: _Running | None
    ) -> Callable[[Inputs, np.ndarray], np.ndarray]:
        """The covariances of the scores of the two best trials at the full budget with scores of others, (2, N), as a
        function of the latter and of their loadings; 0 where there is no trial."""
        missing = np.zeros((2 - len(best), len(there.numbers)))
        if not best:
            return lambda then, known: missing
        ends = self._at_full_budget([(trial.params, trial.number) for trial in best])
        explained, alike = self._explained(ends, others), self._kernel.likeness(ends, there)
        return lambda then, known: np.concatenate(
            [self._kernel.covariance(ends, then, alike) - explained.T @ known, missing]
        )

    def predicted(
        self, trials: Sequence[Tried], running: Sequence[Tried] = (), *, over: Container[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mean of the score of each at the full budget above the best score, and its standard deviation, (N,).

        Args:
            over: numbers of the trials whose best is to be exceeded; None for all.
            trials, running: as `expected` takes them.
        """
        means, spread = self.expected(trials, running)
        best = self._best(over)
        return means - (best if np.isfinite(best) else self._scores.min()), spread

    def expected(self, trials: Sequence[Tried], running: Sequence[Tried] = ()) -> tuple[np.ndarray, np.ndarray]:
        """The mean of the score of each at the full budget, and its standard deviation, (N,).

        Running trials change only the deviation: they are assumed to end as expected, so that other workers try
        something else.

        Args:
            trials: parameters and number of each; a negative number for a configuration that is not yet a trial.
            running: what other workers train now.
        """
        explained = self._explained(self._at_full_budget(trials), self._assumed(running))
        variance = VARIANCE - (explained**2).sum(axis=0)
        return explained[: len(self._scores)].T @ self._values, np.sqrt(np.maximum(variance, 1e-9))

    @property
    def finished(self) -> dict[int, float]:
        """The scores of the trials that have reached the full budget, by number."""
        _, epochs, numbers = self._observed
        there = epochs == np.log(self._full_budget)
        trained = {trial.number for trial in self.trials}
        found = dict(zip(numbers[there].tolist(), self._scores[there].tolist(), strict=True))
        return {number: score for number, score in found.items() if number in trained}

    def _loadings(self, inputs: Inputs, alike: np.ndarray | None = None) -> np.ndarray:
        """A = L^-1 K(observed, inputs), (observed, N): the mean is A' L^-1 y, the covariance K(inputs) - A' A."""
        return solve_triangular(self._factor, self._kernel.covariance(self._observed, inputs, alike), lower=True)

    def _assumed(self, running: Sequence[Tried]) -> _Running | None:
        if not running:
            return None
        inputs = self._at_full_budget(running)
        loadings = self._loadings(inputs)
        covariance = self._kernel.covariance(inputs, inputs) - loadings.T @ loadings
        return _Running(inputs, loadings, cholesky(covariance + _BELIEVED * np.eye(len(running)), lower=True))

    def _alike_to(self, inputs: Inputs, running: _Running | None) -> tuple[np.ndarray, np.ndarray | None]:
        """The likeness of configurations to those observed and to those that run."""
        beside = None if running is None else self._kernel.likeness(running.inputs, inputs)
        return self._kernel.likeness(self._observed, inputs), beside

    def _explained(
        self, inputs: Inputs, running: _Running | None, alike: tuple[np.ndarray, np.ndarray | None] | None = None
    ) -> np.ndarray:
        """The loadings on the observed scores and on those that running trials are assumed to reach, (M, N)."""
        near, beside = alike or self._alike_to(inputs, running)
        loadings = self._loadings(inputs, near)
        if running is None:
            return loadings
        shared = self._kernel.covariance(running.inputs, inputs, beside) - running.loadings.T @ loadings
        return np.concatenate([loadings, solve_triangular(running.factor, shared, lower=True)])

    def _at_full_budget(self, trials: Sequence[Tried]) -> Inputs:
        params, numbers = zip(*trials, strict=True)
        return self._inputs(params, np.full(len(params), self._full_budget), numbers)

    def _inputs(self, params: Sequence[Mapping[str, Any]], epochs: np.ndarray, numbers: Sequence[int]) -> Inputs:
        return Inputs(self.configurations.rows(params), np.log(epochs), np.array(numbers))


def _space(trials: Sequence[FrozenTrial], ranges: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """The range of each parameter of the trials; of the later trial where they differ, unless it is given."""
    space: dict[str, BaseDistribution] = {}
    for trial in trials:
        space |= trial.distributions
    for name in space.keys() & ranges.keys():
        space[name] = with_values(ranges[name], [trial.params[name] for trial in trials if name in trial.params])
    return space


def expected_improvement(above: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """EI = s (z Phi(z) + phi(z)), z = m / s, with the mean m above the best and the standard deviation s, both (N,)."""
    z = above / spread
    return spread * (z * ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))
