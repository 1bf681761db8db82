"""Configurations as numbers, and how alike they are, for the Gaussian process of `curves`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution


def encode(space: Mapping[str, BaseDistribution], params: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The configurations as numbers, (N, D): 0 to 1 along a range, the index of a choice, NaN if not active."""
    codes = np.full((len(params), len(space)), np.nan)
    for column, (name, distribution) in enumerate(space.items()):
        rows = [row for row, given in enumerate(params) if name in given]
        codes[rows, column] = encoded(distribution, [params[row][name] for row in rows])
    return codes


def encoded(distribution: BaseDistribution, values: Sequence[Any]) -> np.ndarray:
    """The values of a parameter, (N,): 0 to 1 along its range, or the index of a choice.

    A value outside the range is below 0 or above 1; on a logarithmic range, one without a logarithm is -1.
    """
    if isinstance(distribution, CategoricalDistribution):
        numbers = {choice: float(number) for number, choice in enumerate(distribution.choices)}
        return np.array([numbers[value] for value in values])
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    ends = np.array([distribution.low, distribution.high], dtype=float)
    numbers = np.array(values, dtype=float)
    if distribution.log:
        numbers = np.where(numbers > 0, numbers, ends[0] * (ends[0] / ends[1]))
        ends, numbers = np.log(ends), np.log(numbers)
    low, high = ends
    return (numbers - low) / (high - low) if high > low else np.full(len(numbers), 0.5)


def with_values(distribution: BaseDistribution, values: Iterable[Any]) -> BaseDistribution:
    """The distribution; one of choices also has these values, so that all can be encoded."""
    if not isinstance(distribution, CategoricalDistribution):
        return distribution
    return CategoricalDistribution(tuple(dict.fromkeys([*distribution.choices, *values])))


def distinct(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows, and for each row the index of its distinct row."""
    numbers: dict[bytes, int] = {}
    which = [numbers.setdefault(row.tobytes(), len(numbers)) for row in codes]
    return codes[np.unique(which, return_index=True)[1]], np.array(which, dtype=int)


def likeness(a: np.ndarray, b: np.ndarray, categorical: Sequence[bool], *, length: float) -> np.ndarray:
    """The likeness m of configurations, (N, M), 1 for equal ones.

    m(x, x') = (product_j m_j + mean_j m_j) / 2, where m_j is the Matern 5/2 function of the distance in parameter
    j; different choices, and a parameter that only one of them has, are 1 apart. Each distinct configuration is
    computed once, since a trial has values at several epochs.
    """
    (a, rows), (b, columns) = distinct(a), distinct(b)
    product, total = np.ones((len(a), len(b))), np.zeros((len(a), len(b)))
    choices = np.array(categorical, dtype=bool)
    differ = _num_different(a[:, choices], b[:, choices])
    missing = np.isnan(a), np.isnan(b)
    for column in np.flatnonzero(~choices).tolist():
        apart = np.abs(a[:, column, None] - b[:, column])
        inactive = missing[0][:, column, None], missing[1][:, column]
        if inactive[0].any() or inactive[1].any():
            apart = np.where(inactive[0] | inactive[1], inactive[0] != inactive[1], apart)
        matern = _matern(apart, length)
        product *= matern
        total += matern
    one_apart = _matern(np.ones(()), length)
    product *= one_apart**differ
    total += sum(categorical) - (1 - one_apart) * differ
    return ((product + total / max(len(categorical), 1)) / 2)[np.ix_(rows, columns)]


def _num_different(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """In how many choices the rows of a differ from those of b, (N, M); an inactive parameter counts as a choice."""
    codes = [np.where(np.isnan(rows), 0, rows + 1).astype(int) for rows in (a, b)]
    marks = np.eye(1 + max(int(rows.max(initial=0)) for rows in codes))
    one, other = (marks[rows].reshape(len(rows), -1) for rows in codes)
    return a.shape[1] - one @ other.T


def _matern(apart: np.ndarray, length: float) -> np.ndarray:
    """The Matern 5/2 function of a distance r: (1 + s + s^2 / 3) exp(-s), s = sqrt(5) r / length."""
    scaled = np.sqrt(5) / length * apart
    factor = scaled * scaled
    factor /= 3
    factor += 1 + scaled
    found = np.exp(-scaled)
    found *= factor
    return found
