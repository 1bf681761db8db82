"""Predicts the values of stopped trials at a later budget, from the trials that continued.

Rung by rung, the next value is regressed on the value at this rung and on the hyperparameters, among the trials that
continued, and predicted for those that did not. A trial is stopped because of values that are in the study, so the
missing ones are missing at random given those values (Rubin 1976), and the iterated regression is unbiased where its
model holds (g-computation, Robins 1986). A slow starter that would have caught up cannot be detected.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

_PENALTIES = np.logspace(-1, 5, 19)
"""Ridge penalties to choose from, for standardised columns."""


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """A chosen ridge penalty and what it leaves of the data."""

    value: float
    rows: int
    """The trials of the regression."""
    used: float
    """Effective number of coefficients, at most half of the rows where that is possible."""

    @property
    def left(self) -> float:
        """Degrees of freedom left for the noise."""
        return max(self.rows - self.used, 2.0)


@dataclass(frozen=True, kw_only=True)
class Projector:
    """The regressions from rung to rung, to be fitted again on every bootstrap sample of trials."""

    values: np.ndarray
    """(N, R): the objective at each rung, NaN where a trial did not get there."""
    matrix: np.ndarray
    """(N, D): hyperparameters as standardised columns."""
    penalties: tuple[Penalty, ...]
    """Of the ridge regression from each rung to the next."""

    @cached_property
    def _went_on(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each step: value and hyperparameters of the trials that were measured at its end, and which they are."""
        rows = [np.flatnonzero(~np.isnan(now + later)) for now, later in pairwise(self.values.T)]
        return [(np.column_stack([self.values[r, k], self.matrix[r]]), r) for k, r in enumerate(rows)]

    def project(self, *, weights: np.ndarray | None = None, free: np.ndarray | None = None) -> np.ndarray:
        """Each trial's value at the last rung, (N,): its own where measured, else the projected one.

        Args:
            weights: (N,) how often each trial counts in the fits (a bootstrap sample); 1 for all by default.
            free: (D,) True for columns that are not shrunk, so that their effect on the way is taken at full size.
        """
        weights = np.ones(len(self.values)) if weights is None else weights
        current = self.values[:, 0]
        for k, penalty in enumerate(self.penalties):
            measured = self.values[:, k + 1]
            z, rows = self._went_on[k]
            step = _Step.fit(z, measured[rows], weights=weights[rows])
            current = np.where(np.isnan(measured), step.predict(current, self.matrix, penalty.value, free), measured)
        return current


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One weighted regression of the next value y on z, the present value and the hyperparameters:

    y = level + (z - centre) b,  b = (gram + diag(ridge))^-1 right.
    """

    gram: np.ndarray
    """(1 + D, 1 + D): sum w (z - centre)(z - centre)'."""
    right: np.ndarray
    """(1 + D,): sum w (z - centre)(y - level)."""
    centre: np.ndarray
    """(1 + D,): weighted mean of z."""
    level: float
    """Weighted mean of y."""

    @classmethod
    def fit(cls, z: np.ndarray, later: np.ndarray, *, weights: np.ndarray) -> "_Step":
        share = weights / weights.sum()
        centre, level = share @ z, float(share @ later)
        z = (z - centre) * np.sqrt(weights)[:, None]
        return cls(gram=z.T @ z, right=z.T @ ((later - level) * np.sqrt(weights)), centre=centre, level=level)

    def predict(
        self, now: np.ndarray, matrix: np.ndarray, penalty: float, free: np.ndarray | None = None
    ) -> np.ndarray:
        """(N,); the present value and the `free` columns get next to no ridge."""
        ridge = np.full(len(self.centre), penalty)
        ridge[0] = 1e-9 * (1 + self.gram[0, 0])
        if free is not None:
            ridge[1:][free] = 1e-6 * (1 + np.diag(self.gram)[1:][free])
        solution = np.linalg.solve(self.gram + np.diag(ridge), self.right)
        return self.level - self.centre @ solution + now * solution[0] + matrix @ solution[1:]


def make_projector(values: np.ndarray, matrix: np.ndarray, free: np.ndarray | None = None) -> Projector:
    """Choose each regression's penalty; every trial must have a value at the first rung.

    Args:
        values: (N, R) the objective at each rung, NaN where a trial did not get there.
        matrix: (N, D) hyperparameters as standardised columns.
        free: (D,) True for columns that will not be shrunk.
    """
    assert not np.isnan(values[:, 0]).any()
    free = np.zeros(matrix.shape[1], dtype=bool) if free is None else free
    penalties = []
    for k in range(values.shape[1] - 1):
        rows = ~np.isnan(values[:, k + 1]) & ~np.isnan(values[:, k])
        fixed = np.column_stack([values[rows, k], matrix[rows][:, free]])
        penalties.append(choose_penalty(values[rows, k + 1], matrix[rows][:, ~free], fixed))
    return Projector(values=values, matrix=matrix, penalties=tuple(penalties))


def choose_penalty(y: np.ndarray, matrix: np.ndarray, fixed: np.ndarray) -> Penalty:
    """The ridge penalty with the least generalised cross-validation error (Golub, Heath and Wahba 1979).

    With the residuals r of a penalty and the singular values s of the matrix, all after an intercept and the `fixed`
    columns, which are not shrunk, it minimises

        |r|^2 / (N - used)^2,  used = 1 + number of fixed columns + sum of s^2 / (s^2 + penalty),

    among penalties that use at most half of the rows.

    Args:
        y: (N,).
        matrix: (N, D) columns that are shrunk.
        fixed: (N, F) columns that are not.
    """
    basis, _ = np.linalg.qr(np.column_stack([np.ones(len(y)), fixed]))
    y, matrix = y - basis @ (basis.T @ y), matrix - basis @ (basis.T @ matrix)
    left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    shrink = singular[:, None] ** 2 / (singular[:, None] ** 2 + _PENALTIES)
    used = basis.shape[1] + shrink.sum(axis=0)
    error = y @ y - (left.T @ y) ** 2 @ (shrink * (2 - shrink))
    score = np.where(used <= len(y) / 2, error / np.maximum(len(y) - used, 1) ** 2, np.inf)
    chosen = int(np.argmin(score)) if np.isfinite(score).any() else len(_PENALTIES) - 1
    return Penalty(value=float(_PENALTIES[chosen]), rows=len(y), used=float(used[chosen]))
