"""What trials, and configurations that nobody has tried, will be worth at the full budget.

A Gaussian process over configurations and epochs learns from the value of every trial at every rung. Values are
compared at equal epochs alone: each stands for its rank among the trials at its rung, where those that got there are as
good, on average, as they were at the rung below. The covariance of two values is a sum: of how close their epochs are,
of how close their configurations are, of both together, and of whether the trial is the same. A configuration that
starts slowly is so not lost because of its first epochs, and what is known of its kin counts as well.

Everything here is a pure function of the values in the study.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy.linalg import cholesky, solve_triangular
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from search.storage.trials import is_infeasible

MAX_POINTS = 200
"""Values that it learns from; its cost grows with their number alone."""
_MAX_JUDGED = 100
"""Of these, those by which the evidence chooses: it must weigh six models, of which one is then made."""
_UNTRAINABLE = ("diverged", "out of memory")
"""Failures that a configuration brings about: nothing is worse."""
_LENGTHS, _NOISES = (0.5, 1.0, 2.0), (0.03, 0.15)
"""What the evidence chooses from: how far a difference in a parameter reaches, and the variance of the noise."""
_EPOCH, _CONFIGURATION, _BOTH, _TRIAL = 0.05, 0.5, 0.5, 0.1
"""Variances of the terms of the covariance, where the values at the first rung are normal."""
_LEAST_SPREAD = 0.2
"""Of the values at a rung."""
_VARIANCE = _EPOCH + _CONFIGURATION + _BOTH + _TRIAL


_BELIEVED = 0.05
"""Variance of the noise of what is only expected of the trials that run."""
Tried = tuple[Mapping[str, Any], int]
"""Parameters and number of a trial."""


class _Observation(NamedTuple):
    trial: FrozenTrial
    epoch: int
    score: float
    """Larger is better; about normal at the first rung."""


class _Inputs(NamedTuple):
    codes: np.ndarray
    """(N, D)"""
    epochs: np.ndarray
    """(N,), logarithms."""
    numbers: np.ndarray
    """(N,), of the trials; a negative one belongs to none."""


class Surrogate:
    """The model, fitted to a study in which some trials have reached the first rung."""

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
        self.trials = list({one.trial.number: one.trial for one in observed if not _is_untrainable(one.trial)}.values())
        """The trials with values that the model has learnt from."""
        values = np.array([one.score for one in observed])
        length, noise = self._most_evident(values)
        self._alike = self._likeness(self._observed.codes, self._observed.codes, length=length)
        covariance = _covariance(self._observed, self._observed, self._alike)
        self._length, self._factor = length, cholesky(covariance + noise * np.eye(len(values)), lower=True)
        self._values = solve_triangular(self._factor, values, lower=True)
        self._scores = values

    def _most_evident(self, values: np.ndarray) -> tuple[float, float]:
        """The length and the noise under which these values are most probable."""
        judged = slice(None, None, -(-len(values) // _MAX_JUDGED))
        inputs = _Inputs(*(column[judged] for column in self._observed))
        evidence = {}
        for length in _LENGTHS:
            covariance = _covariance(inputs, inputs, self._likeness(inputs.codes, inputs.codes, length=length))
            for noise in _NOISES:
                factor = cholesky(covariance + noise * np.eye(len(covariance)), lower=True)
                whitened = solve_triangular(factor, values[judged], lower=True)
                evidence[length, noise] = -whitened @ whitened / 2 - np.log(np.diag(factor)).sum()
        return max(evidence, key=evidence.__getitem__)

    def _best(self, among: Container[int] | None) -> float:
        """The best score at the full budget, or at any epoch where none has got there; -inf where nothing is known."""
        numbers = self._observed.numbers.tolist()
        counted = np.array([among is None or number in among for number in numbers])
        finished = counted & (self._observed.epochs == np.log(self._full_budget))
        return float(self._scores[finished if finished.any() else counted].max(initial=-np.inf))

    def most_promising(self, count: int, *, among: Container[int] | None = None) -> list[FrozenTrial]:
        """The trials that it has learnt from which are expected to be best at the full budget.

        Args:
            among: numbers of trials; None for all.
        """
        rows = {number: row for row, number in enumerate(self._observed.numbers.tolist())}
        known = [trial for trial in self.trials if among is None or trial.number in among]
        if not known:
            return []
        places = [rows[trial.number] for trial in known]
        codes, _, numbers = (column[places] for column in self._observed)
        there = _Inputs(codes, np.full(len(places), np.log(self._full_budget)), numbers)
        told = solve_triangular(self._factor, _covariance(self._observed, there, self._alike[:, places]), lower=True)
        return [known[place] for place in np.argsort(-(told.T @ self._values), kind="stable")[:count]]

    def improvement(
        self, trials: Sequence[Tried], running: Sequence[Tried] = (), *, over: Container[int] | None = None
    ) -> np.ndarray:
        """(N,): by how much each of these is expected to exceed the best value at the full budget, on a scale of its
        own.

        Args:
            trials: parameters and number of each; a negative number belongs to a configuration that nobody has tried.
            running: what other workers train now, as if they had ended as expected, so that not all try the same.
            over: numbers of the trials whose best is to be exceeded; None for all.
        """
        inputs = self._at_full_budget(trials)
        loadings = self._loadings(inputs)
        variance = _VARIANCE - (loadings**2).sum(axis=0)
        if running:
            others = self._at_full_budget(running)
            told = self._loadings(others)
            covariance = self._covariance(others, others) - told.T @ told
            factor = cholesky(covariance + _BELIEVED * np.eye(len(running)), lower=True)
            shared = self._covariance(others, inputs) - told.T @ loadings
            variance = variance - (solve_triangular(factor, shared, lower=True) ** 2).sum(axis=0)
        spread = np.sqrt(np.maximum(variance, 1e-9))
        best = self._best(over)
        above = (loadings.T @ self._values - (best if np.isfinite(best) else self._scores.min())) / spread
        return spread * (above * ndtr(above) + np.exp(-(above**2) / 2) / np.sqrt(2 * np.pi))

    def _loadings(self, inputs: _Inputs) -> np.ndarray:
        """(observed, N): what the observations, made independent of one another, say of these values."""
        return solve_triangular(self._factor, self._covariance(self._observed, inputs), lower=True)

    def _at_full_budget(self, trials: Sequence[Tried]) -> _Inputs:
        params, numbers = zip(*trials, strict=True)
        return _Inputs(self._encode(params), np.full(len(params), np.log(self._full_budget)), np.array(numbers))

    def _covariance(self, a: _Inputs, b: _Inputs) -> np.ndarray:
        """(N, M), without noise."""
        return _covariance(a, b, self._likeness(a.codes, b.codes, length=self._length))

    def _likeness(self, a: np.ndarray, b: np.ndarray, *, length: float) -> np.ndarray:
        """(N, M), 1 for equal configurations: half the product, half the mean over parameters (Matern 5/2).

        It is computed once for configurations that are there several times, since a trial is seen at several epochs.
        """
        (a, rows), (b, columns) = _distinct(a), _distinct(b)
        product, total = np.ones((len(a), len(b))), np.zeros((len(a), len(b)))
        differ = np.zeros((len(a), len(b)))
        for column, categorical in enumerate(self._categorical):
            one, other = a[:, column, None], b[:, column]
            if categorical:  # a parameter that is not active is another choice
                differ += np.nan_to_num(one, nan=-1) != np.nan_to_num(other, nan=-1)
                continue
            apart = np.abs(one - other)
            inactive = np.isnan(one), np.isnan(other)
            if inactive[0].any() or inactive[1].any():
                apart = np.where(inactive[0] | inactive[1], inactive[0] != inactive[1], apart)
            matern = _matern(apart, length)
            product *= matern
            total += matern
        one_apart = _matern(np.ones(()), length)
        product *= one_apart**differ
        total += sum(self._categorical) - (1 - one_apart) * differ
        return ((product + total / max(len(self._categorical), 1)) / 2)[np.ix_(rows, columns)]

    def _encode(self, params: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """(N, D): 0 to 1 along a range, the number of a choice, NaN where a parameter is not active."""
        codes = np.full((len(params), len(self._space)), np.nan)
        for column, (name, distribution) in enumerate(self._space.items()):
            rows = [row for row, given in enumerate(params) if name in given]
            codes[rows, column] = _codes(distribution, [params[row][name] for row in rows])
        return codes


def _covariance(a: _Inputs, b: _Inputs, alike: np.ndarray) -> np.ndarray:
    """(N, M), without noise, of values whose configurations are so much alike."""
    apart = np.abs(a.epochs[:, None] - b.epochs)
    same = a.numbers[:, None] == b.numbers
    near = np.exp(-apart / 1.5)
    return _EPOCH * np.exp(-apart / 3) + _CONFIGURATION * alike + near * (_BOTH * alike + _TRIAL * same)


def _matern(apart: np.ndarray, length: float) -> np.ndarray:
    scaled = np.sqrt(5) / length * apart
    found = np.exp(-scaled)
    found *= 1 + scaled + scaled**2 / 3
    return found


def _observations(trials: Sequence[FrozenTrial], *, rungs: Sequence[int], maximize: bool) -> list[_Observation]:
    sign = 1 if maximize else -1
    known = [t for t in trials if t.state != TrialState.FAIL and not is_infeasible(t)]
    observed: list[_Observation] = []
    scores: dict[int, float] = {}
    for epoch in rungs:
        members = [trial for trial in known if epoch in trial.intermediate_values]
        if not members:
            continue
        ranks = rankdata([sign * trial.intermediate_values[epoch] for trial in members])
        normal = ndtri((ranks - 0.5) / len(members))
        before = np.array([scores[trial.number] for trial in members if trial.number in scores])
        if len(before):
            normal = before.mean() + max(before.std(), _LEAST_SPREAD) * normal
        scores |= {trial.number: score for trial, score in zip(members, normal.tolist(), strict=True)}
        observed += [_Observation(trial, epoch, scores[trial.number]) for trial in members]
    worst = min((one.score for one in observed), default=0.0) - 1
    untrainable = filter(_is_untrainable, trials)
    return observed + [_Observation(t, max(t.intermediate_values, default=0) + 1, worst) for t in untrainable]


def _is_untrainable(trial: FrozenTrial) -> bool:
    return is_infeasible(trial) or trial.user_attrs.get("failure_kind") in _UNTRAINABLE


def _most_telling(observed: list[_Observation]) -> list[_Observation]:
    """At most `MAX_POINTS`: half of them the latest epochs with the best values, the others an even selection."""
    ordered = sorted(observed, key=lambda one: (-one.epoch, -one.score, one.trial.number))
    if len(ordered) <= MAX_POINTS:
        return ordered
    half = MAX_POINTS // 2
    rest = ordered[half:]
    return ordered[:half] + [rest[i * len(rest) // half] for i in range(half)]


def _codes(distribution: BaseDistribution, values: Sequence[Any]) -> np.ndarray:
    if isinstance(distribution, CategoricalDistribution):
        numbers = {choice: float(number) for number, choice in enumerate(distribution.choices)}
        return np.array([numbers[value] for value in values])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    ends = np.array([distribution.low, distribution.high], dtype=float)
    numbers = np.array(values, dtype=float)
    if distribution.log:
        ends, numbers = np.log(ends), np.log(numbers)
    low, high = ends
    return (numbers - low) / (high - low) if high > low else np.full(len(numbers), 0.5)


def _distinct(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that differ from one another, and which of them each row is."""
    numbers: dict[bytes, int] = {}
    which = [numbers.setdefault(row.tobytes(), len(numbers)) for row in codes]
    return codes[np.unique(which, return_index=True)[1]], np.array(which, dtype=int)
