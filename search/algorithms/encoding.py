"""Configurations as numbers, for the Gaussian process of `curves`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution


def encoded(distribution: BaseDistribution, values: Sequence[Any]) -> np.ndarray:
    """The values of a parameter, (N,): 0 to 1 along its range, or the index of a choice."""
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


def distinct(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct rows, and for each row the index of its distinct row."""
    numbers: dict[bytes, int] = {}
    which = [numbers.setdefault(row.tobytes(), len(numbers)) for row in codes]
    return codes[np.unique(which, return_index=True)[1]], np.array(which, dtype=int)
