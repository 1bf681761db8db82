"""What the Gaussian process of `curves` learns from: the score of each trial at each rung, with its noise if known."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtri
from scipy.stats import rankdata

from search.storage.trials import is_infeasible, is_untrainable
from trainables.trainable import STANDARD_ERROR

MAX_POINTS = 200
"""Most scores that the process learns from; the cost of a fit depends only on their number."""
_LARGEST_ERROR = 2.0
"""Largest standard error of a score, in units of the spread of the scores at its rung."""
_LEAST_SPREAD = 0.2
"""Least standard deviation of the scores at a rung."""


class Observation(NamedTuple):
    trial: FrozenTrial
    epoch: int
    score: float
    """Larger is better; about normal at the first rung."""
    squared_error: float = 0.0
    """Square of the standard error of the score; 0 if it is not known."""


Value = Callable[[FrozenTrial, int], float | None]
"""A trial and an epoch -> the value there; None if there is none."""


def reported(trial: FrozenTrial, epoch: int) -> float | None:
    """The value of a trial at an epoch."""
    return trial.intermediate_values.get(epoch)


def observations(
    trials: Sequence[FrozenTrial],
    *,
    rungs: Sequence[int],
    maximize: bool,
    metric: str = "",
    value: Value = reported,
) -> list[Observation]:
    """The score of every trial at every rung that it has reached; untrainable ones get one below the worst.

    A score is Phi^-1((rank - 1/2) / n) among the n trials at the rung; above the first rung it is scaled to the mean
    and the standard deviation that these trials had at the rung below.
    """
    sign = 1 if maximize else -1
    known = [t for t in trials if t.state != TrialState.FAIL and not is_infeasible(t)]
    observed: list[Observation] = []
    scores: dict[int, float] = {}
    for epoch in rungs:
        found = [(trial, at) for trial in known if (at := value(trial, epoch)) is not None]
        if not found:
            continue
        members, values = zip(*found, strict=True)
        ranks = rankdata([sign * at for at in values])
        normal = ndtri((ranks - 0.5) / len(members))
        before = np.array([scores[trial.number] for trial in members if trial.number in scores])
        if len(before):
            normal = before.mean() + max(before.std(), _LEAST_SPREAD) * normal
        scores |= {trial.number: score for trial, score in zip(members, normal.tolist(), strict=True)}
        errors = _squared_errors(members, values, normal, epoch=epoch, metric=metric)
        observed += [
            Observation(trial, epoch, scores[trial.number], error) for trial, error in zip(members, errors, strict=True)
        ]
    worst = min((one.score for one in observed), default=0.0) - 1
    untrainable = filter(is_untrainable, trials)
    return observed + [Observation(t, max(t.intermediate_values, default=0) + 1, worst) for t in untrainable]


def _squared_errors(
    members: Sequence[FrozenTrial], reached: Sequence[float], scores: np.ndarray, *, epoch: int, metric: str
) -> list[float]:
    """The squared standard error of the score of each trial at a rung; 0 where it is not known.

    A score is a function of the rank of a value. Its slope is taken as the ratio of the spreads of scores and values.
    """
    if not metric:
        return [0.0] * len(members)
    values = np.array(reached)
    errors = np.array([_standard_error(trial, epoch, metric) for trial in members])
    low, high = np.quantile(values, (0.25, 0.75))
    spread = float(high - low) / 1.349 or float(values.std())
    if not errors.any() or not spread:
        return [0.0] * len(members)
    return ((scores.std() * np.minimum(errors / spread, _LARGEST_ERROR)) ** 2).tolist()


def _standard_error(trial: FrozenTrial, epoch: int, metric: str) -> float:
    records = trial.user_attrs.get("history", [])
    record = records[epoch - 1] if epoch <= len(records) else {}
    found = record.get(metric + STANDARD_ERROR, 0.0) if isinstance(record, dict) else 0.0
    return found if isinstance(found, int | float) and np.isfinite(found) else 0.0


def most_telling(observed: list[Observation]) -> list[Observation]:
    """At most `MAX_POINTS` observations: half of them the best at the latest epochs, the others an even selection."""
    ordered = sorted(observed, key=lambda one: (-one.epoch, -one.score, one.trial.number))
    if len(ordered) <= MAX_POINTS:
        return ordered
    half = MAX_POINTS // 2
    rest = ordered[half:]
    return ordered[:half] + [rest[i * len(rest) // half] for i in range(half)]
