"""Configurations as numbers, for the Gaussian process of `curves`."""

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
