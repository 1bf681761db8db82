"""Bootstrap samples of trials, kept as sums of products: a regression on any of the columns follows from them without
going through the trials again, so that the hyperparameters of a study share what is slow."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.statistics.projection import Step


@dataclass(frozen=True, kw_only=True)
class Resample:
    """One sample of the Bayesian bootstrap (Rubin 1981): no design loses a row."""

    weights: np.ndarray
    """(N,) how often each trial counts."""
    sums: np.ndarray
    """(1 + D, 1 + D): weighted sums of products of one and the hyperparameters' columns."""
    steps: tuple[np.ndarray, ...]
    """The same of (1, next value, present value, columns), of the trials that went on from each rung to the next."""

    def step(self, number: int, columns: np.ndarray) -> Step:
        """The regression of the next rung's value on the present one and these columns."""
        return Step.of(self.steps[number], np.concatenate([[2], 3 + columns]))

    def gram(self, columns: np.ndarray) -> np.ndarray:
        """Weighted products of these columns, centred."""
        total, centre = self.sums[0, 0], self.sums[0, 1 + columns]
        return self.sums[np.ix_(1 + columns, 1 + columns)] - np.outer(centre, centre) / total


def resample(values: np.ndarray, matrix: np.ndarray, *, count: int, seed: int) -> list[Resample]:
    """Samples of trials, the same for the same number of trials and seed.

    Args:
        values: (N, R) the objective at each rung, NaN where a trial did not get there.
        matrix: (N, D) hyperparameters as standardised columns.
    """
    one = np.ones((len(matrix), 1))
    went_on = [np.flatnonzero(~np.isnan(now + later)) for now, later in pairwise(values.T)]
    steps = [np.column_stack([one[r], values[r, k + 1], values[r, k], matrix[r]]) for k, r in enumerate(went_on)]
    whole, random = np.column_stack([one, matrix]), np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        weights = random.standard_exponential(len(matrix))
        moments = tuple(_products(step, weights[rows]) for step, rows in zip(steps, went_on, strict=True))
        samples.append(Resample(weights=weights, sums=_products(whole, weights), steps=moments))
    return samples


def _products(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (columns * weights[:, None]).T @ columns
