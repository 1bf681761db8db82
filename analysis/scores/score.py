"""One metric of the final evaluation that has a file of its own."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import numpy as np

from spaces.objectives import METRICS, metric_named
from trainables.training.quantile import PINBALL, quantile_in

Task = Literal["classification", "regression", "multilabel"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """How a metric is computed: for one network, and for many replicates of the bootstrap at once.

    Outputs are probabilities (N, K), or predictions (N,) of a regression; y are labels or targets (N,).
    """

    task: Task
    score: Callable[[np.ndarray, np.ndarray], float]
    """`score(y, outputs)`."""
    features: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """`features(y, outputs)`: numbers of each row (N, F) whose sums over the rows are all that the metric needs."""
    from_sums: Callable[[np.ndarray, int], np.ndarray]
    """`from_sums(sums, num_rows)`: the metric of each replicate (B,) from its sums (B, F); each row counts as often as
    the replicate drew it."""
    bounds: tuple[float, float] = (-np.inf, np.inf)
    """Least and largest value possible."""
    reflect: bool = False
    """Whether resampling rows inflates the metric, as it does every mean of absolute values; see `interval`."""


def score_of(name: str) -> Score:
    """The score in the file of this name."""
    quantile = quantile_in(name)
    if quantile is not None:
        return import_module(f"analysis.scores.{PINBALL}").make_score(quantile)
    return import_module(f"analysis.scores.{name}").SCORE


def own_scores(task: Task, *, asked: Collection[str] = ()) -> dict[str, Score]:
    """Every metric of a task that has a file of its own, by name.

    Args:
        task: of the rows.
        asked: metrics that the search may have optimised; some are reported only then.
    """
    names = [name for name, known in METRICS.items() if known.own_file and not known.on_request]
    names += [name for name in asked if metric_named(name).on_request and (name in METRICS or quantile_in(name))]
    found = {name: score_of(name) for name in names if name != PINBALL}
    return {name: score for name, score in found.items() if score.task == task}
