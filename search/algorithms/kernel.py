"""The covariance of the scores that the Gaussian process of `curves` learns from.

The covariance of the scores of trial i with configuration x after t epochs, and of trial i' with x' after t' epochs, is

    k = v_t exp(-d / l_t) + v_x m(x, x') + exp(-d / l_b) (v_b m(x, x') + v_i [i = i']),    d = |log t - log t'|

where m is the likeness of two configurations (Matern 5/2, see `likeness`). So a configuration that starts
slowly keeps its chance if similar ones became good. The evidence decides the length of a parameter and the noise.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from search.algorithms.likeness import Configurations

_EPOCH, _CONFIGURATION, _BOTH, _TRIAL = 0.05, 0.5, 0.5, 0.1
"""Variances v_t, v_x, v_b and v_i of the terms of the covariance; scores at the first rung have variance 1."""
VARIANCE = _EPOCH + _CONFIGURATION + _BOTH + _TRIAL
"""Variance of a score, without noise."""
_EPOCH_LENGTH, _BOTH_LENGTH = 3.0, 1.5
"""Length scales l_t and l_b of log epoch."""
_LENGTHS, _NOISES = (0.5, 1.0, 2.0), (0.03, 0.15)
"""Candidates for the length scale of a parameter, on its range 0 to 1, and for the variance of the noise."""
_SHARES = (0.0, 0.5, 1.0)
"""Candidates for the share of the squared standard errors that is noise: part of what folds differ by is common to all
configurations, because all are trained on the same folds."""
_MAX_JUDGED = 100
"""The subset of the scores by which the candidates are compared; the chosen ones are then used for all scores."""


class Inputs(NamedTuple):
    """Where scores lie."""

    rows: np.ndarray
    """(N,), of the configurations in the kernel's `Configurations`."""
    epochs: np.ndarray
    """(N,), natural logarithms."""
    numbers: np.ndarray
    """(N,), numbers of the trials; a negative one for a configuration without a trial."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """The covariance k."""

    length: float
    """Length scale of a parameter, on its range 0 to 1."""
    configurations: Configurations

    def likeness(self, a: Inputs, b: Inputs) -> np.ndarray:
        """m, (N, M)."""
        return self.configurations.likeness(a.rows, b.rows, length=self.length)

    def covariance(self, a: Inputs, b: Inputs, alike: np.ndarray | None = None) -> np.ndarray:
        """k, (N, M), without noise.

        Args:
            alike: the likeness m of the configurations, if it is known.
        """
        alike = self.likeness(a, b) if alike is None else alike
        at_once = len(b.epochs) > 0 and (b.epochs == b.epochs[0]).all()  # then one column serves for all
        apart = np.abs(a.epochs[:, None] - (b.epochs[:1] if at_once else b.epochs))
        near = np.exp(-apart / _BOTH_LENGTH)
        found = alike * (_CONFIGURATION + _BOTH * near)
        found += _EPOCH * np.exp(-apart / _EPOCH_LENGTH)
        shared = np.flatnonzero(np.isin(b.numbers, a.numbers))
        rows, columns = np.nonzero(a.numbers[:, None] == b.numbers[shared])
        same = rows, shared[columns]
        found[same] += _TRIAL * np.broadcast_to(near, found.shape)[same]
        return found

    def with_itself(self, apart: float) -> float:
        """The covariance of two scores of one trial whose log epochs differ by this."""
        near = np.exp(-apart / _BOTH_LENGTH)
        return float(_EPOCH * np.exp(-apart / _EPOCH_LENGTH) + _CONFIGURATION + near * (_BOTH + _TRIAL))


def most_evident(
    observed: Inputs, scores: np.ndarray, squared_errors: np.ndarray, configurations: Configurations
) -> tuple[Kernel, np.ndarray]:
    """The kernel and the noise of each score, (N,), with the largest marginal likelihood of these scores, (N,).

    log p(y) = -|L^-1 y|^2 / 2 - sum(log L_ii) + constant, where L L' = K + diag(noise + share * error^2).
    """
    shares = _SHARES if squared_errors.any() else (0.0,)
    noises = [noise + share * squared_errors for noise in _NOISES for share in shares]
    judged = slice(None, None, -(-len(scores) // _MAX_JUDGED))
    inputs, values = Inputs(*(column[judged] for column in observed)), scores[judged]
    evidence: list[tuple[float, Kernel, np.ndarray]] = []
    for length in _LENGTHS:
        kernel = Kernel(length=length, configurations=configurations)
        covariance = kernel.covariance(inputs, inputs)
        for noise in noises:
            factor = cholesky(covariance + np.diag(noise[judged]), lower=True)
            whitened = solve_triangular(factor, values, lower=True)
            evidence.append((-whitened @ whitened / 2 - np.log(np.diag(factor)).sum(), kernel, noise))
    _, kernel, noise = max(evidence, key=lambda one: one[0])
    return kernel, noise
