"""The effect of one hyperparameter: its estimate with an interval, its curve, and the fit behind them."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import stats

from analysis.statistics.design import Group


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of one hyperparameter on the objective, adjusted for the others."""

    parameter: str
    found: bool
    """Whether the interval excludes zero."""
    estimate: float = np.nan
    """The objective with the value `better` minus that with `worse`, in the unit of the objective."""
    low: float = np.nan
    high: float = np.nan
    """95 % interval of the estimate, simultaneous over all contrasts of the curve (Scheffe)."""
    better: str = ""
    worse: str = ""
    """The values compared: the best and the worst of the curve; for an on/off hyperparameter always True and False."""
    num_trials: int = 0
    budget: int = 0
    """Epochs after which the trials are compared."""
    curve: pd.DataFrame | None = None
    """x (as drawn), at (position on the axis), effect, low, high: against the average trial, pointwise 95 % band."""
    strength: float = 0.0
    """Standard deviation of the curve over the trials, less what noise alone would give; effects are listed by it."""
    opposed: str = ""
    """How many of the best trials use the value that this effect calls worse; empty unless most do."""
    sentence: str = ""
    lacking: str = ""
    """Why the hyperparameter cannot be judged: `only 1 trial used 0.1`; empty if it can."""
    fit: "Fit | None" = field(default=None, repr=False, compare=False)

    def against(self, better: object, worse: object, *, simultaneous: bool = False) -> tuple[float, float, float]:
        """The effect of `better` against `worse`: estimate, low and high of its 95 % interval.

        Args:
            better: a level, or a number within what was tried; `worse` likewise.
            simultaneous: the two values were chosen after looking at the curve.
        """
        assert self.fit is not None
        first, second = self.fit.group.raw(pd.Series([better, worse], dtype=object))
        estimate, half = self.fit.contrast((first - second)[None], simultaneous=simultaneous)
        return float(estimate[0]), float(estimate[0] - half[0]), float(estimate[0] + half[0])


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Coefficients of one hyperparameter's columns, with their bootstrap covariance."""

    group: Group
    theta: np.ndarray
    """(K,)"""
    covariance: np.ndarray
    """(K, K)"""
    freedom: float
    """Degrees of freedom of the covariance."""

    def contrast(self, direction: np.ndarray, *, simultaneous: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """The estimate and half-width (95 %) for each row of `direction` (M, K).

        Half-widths are sqrt(d' C d) times the t quantile or, for all directions at once, sqrt(K F(0.95; K, freedom))
        (Scheffe 1953).
        """
        spread = np.sqrt(np.maximum(np.einsum("mk,kl,ml->m", direction, self.covariance, direction), 0))
        count = len(self.theta)
        if simultaneous:
            factor = np.sqrt(count * stats.f.ppf(0.95, count, self.freedom))
        else:
            factor = stats.t.ppf(0.975, self.freedom)
        return direction @ self.theta, factor * spread
