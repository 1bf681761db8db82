"""The expected gain of more training: by how much it improves the best value at the full budget.

The model of learning curves predicts the score of every unfinished trial and of new configurations at the full budget.
Those with the largest expected improvement per epoch are taken until their epochs are spent, and the gain is the mean
of the best of them above the best score so far. Scores become values by the steps between the best finished trials.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr

from search.algorithms.gaussian_process import Surrogate, Tried, expected_improvement

LEAST_FINISHED = 4
"""With fewer finished trials a score cannot be turned into a value: on recorded tables the estimates were ten times too
large."""
SHARE = 0.35
"""Part of its remaining epochs that a trial takes on average, since weak ones pause early."""
_STEPS = 3, 5
"""How many of the best finished trials decide what a score is worth; the smaller worth counts."""
_GRID, _WIDTH = 200, 5.0
"""Points of the integral, and how many standard deviations it reaches above the largest mean."""


def expected_gain(
    surrogate: Surrogate,
    asked: Sequence[Tried],
    to_go: Sequence[int],
    values: Mapping[int, float],
    *,
    epochs: int,
) -> float | None:
    """By how much so many more epochs are expected to improve the best value; None where that is not known.

    Args:
        surrogate: fitted to the trials.
        asked: unfinished trials, and new configurations with negative numbers.
        to_go: epochs that each of them needs to the full budget, each at least 1.
        values: of the finished trials by number, signed so that larger is better.
        epochs: to be trained.

    Returns:
        At least 0, in the unit of the values.
    """
    worth = _worth(surrogate.finished, values)
    if worth is None or not asked:
        return None
    above, spread = surrogate.predicted(asked)
    order = np.argsort(-expected_improvement(above, spread) / to_go, kind="stable")
    spent = np.cumsum(SHARE * np.array(to_go)[order])
    taken = order[: int(np.searchsorted(spent, epochs)) + 1]
    return worth * _mean_of_best(above[taken], spread[taken])


def _mean_of_best(above: np.ndarray, spread: np.ndarray) -> float:
    """The mean of max(0, x_1, ..., x_N) for independent normal x_i: the integral over u > 0 of 1 - prod P(x_i < u)."""
    top = max(float((above + _WIDTH * spread).max()), 0.0)
    u = np.linspace(0, top, _GRID)
    below = ndtr((u[:, None] - above) / spread).prod(axis=1)
    return float(np.trapezoid(1 - below, u))


def _worth(scores: Mapping[int, float], values: Mapping[int, float]) -> float | None:
    """The value of one unit of the score among the best finished trials; None where all of these are equal."""
    known = sorted(((values[number], scores[number]) for number in scores if number in values), reverse=True)
    if len(known) < LEAST_FINISHED:
        return None
    ends = [(known[0], known[min(count, len(known)) - 1]) for count in _STEPS]
    slopes = [(best[0] - other[0]) / max(best[1] - other[1], 1e-9) for best, other in ends]
    rising = [slope for slope in slopes if slope > 0]  # few validation rows give equal values
    return min(rising) if rising and np.isfinite(slopes).all() else None
