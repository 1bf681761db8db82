"""What trials, and configurations that nobody has tried, will be worth at the full budget.

A Gaussian process over configurations and epochs learns from the value of every trial at every rung. The covariance of
two values is a sum: of how close their epochs are, of how close their configurations are, of both together, and of
whether the trial is the same. A configuration that starts slowly is so not lost because of its first epochs, and what
is known of its kin counts as well.

Everything here is a pure function of the values in the study.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtri
from scipy.stats import rankdata

MIN_TRIALS = 10
"""Trials with a value that the model wants at least."""
MAX_POINTS = 200
"""Values that it learns from; its cost grows with their number alone."""
_UNTRAINABLE = ("diverged", "out of memory")
"""Failures that a configuration brings about: nothing is worse."""
_LENGTHS, _NOISES = (0.5, 1.0, 2.0), (0.03, 0.15)
"""What the evidence chooses from: how far a difference in a parameter reaches, and the variance of the noise."""
_EPOCH, _CONFIGURATION, _BOTH, _TRIAL = 1.0, 0.5, 0.5, 0.1
"""Variances of the terms of the covariance, where all values together have the ranks of a standard normal."""


class _Observation(NamedTuple):
    trial: FrozenTrial
    epoch: int
    value: float
    """Larger is better."""


class _Inputs(NamedTuple):
    codes: np.ndarray
    """(N, D)"""
    epochs: np.ndarray
    """(N,), logarithms."""
    numbers: np.ndarray
    """(N,), of the trials; a negative one belongs to none."""


class Surrogate:
    """The model, fitted to a study in which at least `MIN_TRIALS` trials have reached the first rung."""

    def __init__(self, trials: Sequence[FrozenTrial], *, rungs: Sequence[int], maximize: bool) -> None:
        observed = _most_telling(_observations(trials, rungs=rungs, maximize=maximize))
        self._full_budget = rungs[-1]
        self._space = {name: d for one in observed for name, d in one.trial.distributions.items()}
        self._categorical = [isinstance(d, CategoricalDistribution) for d in self._space.values()]
        self._observed = _Inputs(
            self._encode([one.trial.params for one in observed]),
            np.log([one.epoch for one in observed]),
            np.array([one.trial.number for one in observed]),
        )
        self.trials = list({one.trial.number: one.trial for one in observed if one.value > -np.inf}.values())
        """The trials with values that the model has learnt from."""
        self._fit(ndtri((rankdata([one.value for one in observed]) - 0.5) / len(observed)))

    def _fit(self, values: np.ndarray) -> None:
        best = -np.inf
        for length in _LENGTHS:
            covariance = self._covariance(self._observed, self._observed, length=length)
            for noise in _NOISES:
                factor = cholesky(covariance + noise * np.eye(len(values)), lower=True)
                whitened = solve_triangular(factor, values, lower=True)
                evidence = -whitened @ whitened / 2 - np.log(np.diag(factor)).sum()
                if evidence > best:
                    best, self._length, self._factor, self._whitened = evidence, length, factor, whitened

    def worth(self, trials: Sequence[FrozenTrial]) -> dict[int, float]:
        """The expected value of each of these trials at the full budget, by number; on a scale of its own, the larger
        the better."""
        inputs = self._at_full_budget([t.params for t in trials], [t.number for t in trials])
        mean = self._loadings(inputs).T @ self._whitened
        return {trial.number: float(value) for trial, value in zip(trials, mean, strict=True)}

    def choose(self, candidates: Sequence[Mapping[str, Any]], *, seed: int) -> int:
        """The index of the candidate that is best in one draw from all that the model holds possible (Thompson
        sampling): workers that ask at the same moment get different answers."""
        count = len(candidates)
        inputs = self._at_full_budget(candidates, range(-count, 0))
        loadings = self._loadings(inputs)
        rest = self._covariance(inputs, inputs, length=self._length) - loadings.T @ loadings
        spread = cholesky(rest + 1e-6 * np.eye(count), lower=True)
        drawn = loadings.T @ self._whitened + spread @ np.random.default_rng(seed).standard_normal(count)
        return int(np.argmax(drawn))

    def _loadings(self, inputs: _Inputs) -> np.ndarray:
        """(observed, N): what the observations, made independent of one another, say of these values."""
        return solve_triangular(self._factor, self._covariance(self._observed, inputs, length=self._length), lower=True)

    def _at_full_budget(self, params: Sequence[Mapping[str, Any]], numbers: Sequence[int]) -> _Inputs:
        return _Inputs(self._encode(params), np.full(len(params), np.log(self._full_budget)), np.array(numbers))

    def _covariance(self, a: _Inputs, b: _Inputs, *, length: float) -> np.ndarray:
        """(N, M), without noise."""
        apart = np.abs(a.epochs[:, None] - b.epochs)
        alike = self._likeness(a.codes, b.codes, length=length)
        same = a.numbers[:, None] == b.numbers
        near = np.exp(-apart / 1.5)
        return _EPOCH * np.exp(-apart / 3) + _CONFIGURATION * alike + near * (_BOTH * alike + _TRIAL * same)

    def _likeness(self, a: np.ndarray, b: np.ndarray, *, length: float) -> np.ndarray:
        """(N, M), 1 for equal configurations: half the product, half the mean over parameters (Matern 5/2)."""
        product, total = np.ones((len(a), len(b))), np.zeros((len(a), len(b)))
        for column, categorical in enumerate(self._categorical):
            apart = np.abs(a[:, column, None] - b[:, column])
            if categorical:
                apart = np.minimum(apart, 1.0)
            inactive = np.isnan(a[:, column, None]), np.isnan(b[:, column])
            apart = np.where(inactive[0] | inactive[1], inactive[0] != inactive[1], apart)
            scaled = np.sqrt(5) / length * apart
            matern = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
            product *= matern
            total += matern
        return (product + total / max(len(self._categorical), 1)) / 2

    def _encode(self, params: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """(N, D): 0 to 1 along a range, the number of a choice, NaN where a parameter is not active."""
        codes = np.full((len(params), len(self._space)), np.nan)
        for column, (name, distribution) in enumerate(self._space.items()):
            for row, given in enumerate(params):
                if name in given:
                    codes[row, column] = _code(distribution, given[name])
        return codes


def _observations(trials: Sequence[FrozenTrial], *, rungs: Sequence[int], maximize: bool) -> list[_Observation]:
    sign = 1 if maximize else -1
    observed = []
    for trial in trials:
        values = trial.intermediate_values
        if "infeasible" in trial.user_attrs or trial.user_attrs.get("failure_kind") in _UNTRAINABLE:
            observed.append(_Observation(trial, max(values, default=0) + 1, -np.inf))
        elif trial.state != TrialState.FAIL:
            observed += [_Observation(trial, epoch, sign * values[epoch]) for epoch in rungs if epoch in values]
    return observed


def _most_telling(observed: list[_Observation]) -> list[_Observation]:
    """At most `MAX_POINTS`: half of them the latest epochs with the best values, the others an even selection."""
    ordered = sorted(observed, key=lambda one: (np.isinf(one.value), -one.epoch, -one.value, one.trial.number))
    if len(ordered) <= MAX_POINTS:
        return ordered
    half = MAX_POINTS // 2
    rest = ordered[half:]
    return ordered[:half] + [rest[i * len(rest) // half] for i in range(half)]


def _code(distribution: Any, value: Any) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.to_internal_repr(value)
    low, high = distribution.low, distribution.high
    if distribution.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low)) if high > low else 0.5
