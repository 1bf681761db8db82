"""A Gaussian process that predicts the value at the full budget, of trials and of configurations not yet tried.

It learns from the value of every trial at every rung. Values are compared only at equal epochs: each is replaced by a
score, its normal rank among the trials at its rung. The scores of a rung have the mean and the spread that its trials
had at the rung below. The covariance of the scores of trial i with configuration x after t epochs, and of trial i' with
x' after t' epochs, is

    k = v_t exp(-d / l_t) + v_x m(x, x') + exp(-d / l_b) (v_b m(x, x') + v_i [i = i']),    d = |log t - log t'|

where m is the likeness of two configurations (Matern 5/2, see `likeness`). So a configuration that starts slowly keeps
its chance if similar ones became good. A value with a standard error, which a mean over folds has, adds its square to
the noise of its score.

Everything here is a pure function of the values in the study.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtr

from search.algorithms.encoding import encode, likeness, with_values
from search.algorithms.observations import Value, is_untrainable, most_telling, observations, reported

_MAX_JUDGED = 100
"""The subset of the scores by which length and noise are chosen: six pairs are compared, and one is then used."""
_LENGTHS, _NOISES = (0.5, 1.0, 2.0), (0.03, 0.15)
"""Candidates for the length scale of a parameter, on its range 0 to 1, and for the variance of the noise."""
_EPOCH, _CONFIGURATION, _BOTH, _TRIAL = 0.05, 0.5, 0.5, 0.1
"""Variances v_t, v_x, v_b and v_i of the terms of the covariance; scores at the first rung have variance 1."""
_EPOCH_LENGTH, _BOTH_LENGTH = 3.0, 1.5
"""Length scales l_t and l_b of log epoch."""
_SHARES = (0.0, 0.5, 1.0)
"""Candidates for the share of the squared standard errors that is noise: part of what folds differ by is common to all
configurations, because all are trained on the same folds."""
_VARIANCE = _EPOCH + _CONFIGURATION + _BOTH + _TRIAL
"""Variance of a score, without noise."""
_BELIEVED = 0.05
"""Variance of the noise of the scores that running trials are assumed to reach."""
Tried = tuple[Mapping[str, Any], int]
"""Parameters and number of a trial."""


class _Inputs(NamedTuple):
    codes: np.ndarray
    """(N, D)"""
    epochs: np.ndarray
    """(N,), natural logarithms."""
    numbers: np.ndarray
    """(N,), numbers of the trials; a negative one for a configuration without a trial."""


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
    ) -> None:
        """
        Args:
            metric: name of the value, whose standard error the records of the trials may have.
            value: gives the values from which the process learns.
            ranges: those in which configurations are compared, for parameters that had others in earlier trials.
        """
        known = observations(trials, rungs=rungs, maximize=maximize, metric=metric, value=value)
        self.reached = {one.trial.number: one for one in known if not is_untrainable(one.trial)}
        """What is known of each trial at the highest rung that it has reached."""
        observed = most_telling(known)
        self._full_budget = rungs[-1]
        self._space = {name: d for one in observed for name, d in one.trial.distributions.items()}
        for name in self._space.keys() & (ranges or {}).keys():
            tried = [trial.params[name] for trial in trials if name in trial.params]
            self._space[name] = with_values((ranges or {})[name], tried)
        self._categorical = [isinstance(d, CategoricalDistribution) for d in self._space.values()]
        self._observed = self._inputs(
            [one.trial.params for one in observed],
            np.array([one.epoch for one in observed]),
            [one.trial.number for one in observed],
        )
        self.trials = list({one.trial.number: one.trial for one in observed if not is_untrainable(one.trial)}.values())
        """The trials from whose values the process has learnt."""
        values = np.array([one.score for one in observed])
        length, noise = self._most_evident(values, np.array([one.squared_error for one in observed]))
        self._alike = likeness(self._observed.codes, self._observed.codes, self._categorical, length=length)
        covariance = _covariance(self._observed, self._observed, self._alike)
        self._length, self._factor = length, cholesky(covariance + np.diag(noise), lower=True)
        self._values = solve_triangular(self._factor, values, lower=True)
        self._scores = values

    def _most_evident(self, values: np.ndarray, squared_errors: np.ndarray) -> tuple[float, np.ndarray]:
        """The length and the noise of each score, (N,), with the largest marginal likelihood of these scores.

        log p(y) = -|L^-1 y|^2 / 2 - sum(log L_ii) + constant, where L L' = K + diag(noise + share * error^2).
        """
        shares = _SHARES if squared_errors.any() else (0.0,)
        noises = [noise + share * squared_errors for noise in _NOISES for share in shares]
        judged = slice(None, None, -(-len(values) // _MAX_JUDGED))
        inputs = _Inputs(*(column[judged] for column in self._observed))
        evidence = {}
        for length in _LENGTHS:
            alike = likeness(inputs.codes, inputs.codes, self._categorical, length=length)
            covariance = _covariance(inputs, inputs, alike)
            for number, noise in enumerate(noises):
                factor = cholesky(covariance + np.diag(noise[judged]), lower=True)
                whitened = solve_triangular(factor, values[judged], lower=True)
                evidence[length, number] = -whitened @ whitened / 2 - np.log(np.diag(factor)).sum()
        length, number = max(evidence, key=evidence.__getitem__)
        return length, noises[number]

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
        rows = {number: row for row, number in enumerate(self._observed.numbers.tolist())}
        known = [trial for trial in self.trials if among is None or trial.number in among]
        if not known:
            return []
        places = [rows[trial.number] for trial in known]
        there = self._at_full_budget([(trial.params, trial.number) for trial in known])
        loadings = solve_triangular(
            self._factor, _covariance(self._observed, there, self._alike[:, places]), lower=True
        )
        return [known[place] for place in np.argsort(-(loadings.T @ self._values), kind="stable")[:count]]

    def improvement(
        self, trials: Sequence[Tried], running: Sequence[Tried] = (), *, over: Container[int] | None = None
    ) -> np.ndarray:
        """The expected improvement of each over the best score at the full budget, (N,), in units of the score.

        Args: as `predicted`.
        """
        return expected_improvement(*self.predicted(trials, running, over=over))

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
        inputs = self._at_full_budget(trials)
        loadings = self._loadings(inputs)
        variance = _VARIANCE - (loadings**2).sum(axis=0)  # s^2 = k(x, x) - |A|^2
        if running:  # conditions s^2 on the scores of the running trials
            others = self._at_full_budget(running)
            known = self._loadings(others)
            covariance = self._covariance(others, others) - known.T @ known
            factor = cholesky(covariance + _BELIEVED * np.eye(len(running)), lower=True)
            shared = self._covariance(others, inputs) - known.T @ loadings
            variance = variance - (solve_triangular(factor, shared, lower=True) ** 2).sum(axis=0)
        return loadings.T @ self._values, np.sqrt(np.maximum(variance, 1e-9))

    @property
    def finished(self) -> dict[int, float]:
        """The scores of the trials that have reached the full budget, by number."""
        _, epochs, numbers = self._observed
        there = epochs == np.log(self._full_budget)
        trained = {trial.number for trial in self.trials}
        found = dict(zip(numbers[there].tolist(), self._scores[there].tolist(), strict=True))
        return {number: score for number, score in found.items() if number in trained}

    def _loadings(self, inputs: _Inputs) -> np.ndarray:
        """A = L^-1 K(observed, inputs), (observed, N): the mean is A' L^-1 y, the covariance K(inputs) - A' A."""
        return solve_triangular(self._factor, self._covariance(self._observed, inputs), lower=True)

    def _at_full_budget(self, trials: Sequence[Tried]) -> _Inputs:
        params, numbers = zip(*trials, strict=True)
        return self._inputs(params, np.full(len(params), self._full_budget), numbers)

    def _inputs(self, params: Sequence[Mapping[str, Any]], epochs: np.ndarray, numbers: Sequence[int]) -> _Inputs:
        return _Inputs(encode(self._space, params), np.log(epochs), np.array(numbers))

    def _covariance(self, a: _Inputs, b: _Inputs) -> np.ndarray:
        """The covariance of two sets of scores, (N, M), without noise."""
        return _covariance(a, b, likeness(a.codes, b.codes, self._categorical, length=self._length))


def expected_improvement(above: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """EI = s (z Phi(z) + phi(z)), z = m / s, with the mean m above the best and the standard deviation s, both (N,)."""
    z = above / spread
    return spread * (z * ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def _covariance(a: _Inputs, b: _Inputs, alike: np.ndarray) -> np.ndarray:
    """The covariance k of the formula above, (N, M), without noise.

    Args:
        alike: likeness m of the configurations, (N, M).
    """
    apart = np.abs(a.epochs[:, None] - b.epochs)  # d
    same = a.numbers[:, None] == b.numbers  # [i = i']
    near = np.exp(-apart / _BOTH_LENGTH)
    return _EPOCH * np.exp(-apart / _EPOCH_LENGTH) + _CONFIGURATION * alike + near * (_BOTH * alike + _TRIAL * same)
