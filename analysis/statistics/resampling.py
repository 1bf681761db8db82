"""Bootstrap samples of trials as sums of products, computed once for all hyperparameters.

The normal equations of a regression on any of the columns follow from these sums, without a pass over the trials.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Resample:
    """One sample of the Bayesian bootstrap (Rubin 1981): every trial keeps a positive weight, so no level is lost."""

    weights: np.ndarray
    """(N,) how often each trial counts; 1 on average."""
    sums: np.ndarray
    """(1 + D, 1 + D): weighted sums of products of one and the columns of the design."""

    def gram(self, columns: np.ndarray) -> np.ndarray:
        """Weighted products of these columns around their weighted means: sum w x x' - (sum w x)(sum w x)' / sum w."""
        total, centre = self.sums[0, 0], self.sums[0, 1 + columns]
        return self.sums[np.ix_(1 + columns, 1 + columns)] - np.outer(centre, centre) / total


def resample(matrix: np.ndarray, *, count: int, seed: int) -> list[Resample]:
    """Samples of trials, the same for the same number of trials and seed.

    Args:
        matrix: (N, D) hyperparameters as standardised columns.
        count: number of samples.
    """
    whole, random = np.column_stack([np.ones(len(matrix)), matrix]), np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        weights = random.standard_exponential(len(matrix))
        samples.append(Resample(weights=weights, sums=(whole * weights[:, None]).T @ whole))
    return samples
