"""Errors of a regression: their size, by bands of the target, and at a cap."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from analysis.datasets.columns import find_piles
from analysis.scores.metrics import Evaluation, evaluate
from analysis.statistics.bootstrap import Interval

NUM_BANDS = 5
"""Bands of the target, each with equally many rows of those whose targets divide them."""
FEWEST_ROWS = 5
"""Fewest test rows of a band that is reported."""


def describe_residuals(
    y: np.ndarray,
    outputs: np.ndarray,
    train_y: np.ndarray | None,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What final.json says of a regression's errors.

    Args:
        y: test targets (N,).
        outputs: predictions of each seed's network (S, N).
        train_y: targets of the training rows, whose quantiles are the bands: no band is cut by what is predicted. None
            if only the user's own code knows them: the quantiles are those of `y`.
        groups: of each test row (N,); None if rows are independent.
        seed: of the bootstrap.

    Returns:
        `residuals` of the first network, `bands` with intervals, and `cap` and `floor` where training targets pile up.
    """
    described: dict[str, Any] = {"residuals": _residuals(y, outputs[0])}
    score = partial(_score, y, outputs, groups, seed=seed)
    described["bands"] = _bands(y, y if train_y is None else train_y, score)
    for name, (bound, share) in ({} if train_y is None else find_piles(train_y)).items():
        described[name] = {"value": bound, "train_share": share} | _beyond(y, bound, score)
    return described


def _residuals(y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    error = predicted - y
    quantiles = np.quantile(np.abs(error), (0.5, 0.9)).tolist()
    return {"bias": float(error.mean()), "median_absolute": quantiles[0], "p90_absolute": quantiles[1]}


def _bands(y: np.ndarray, targets: np.ndarray, score: Callable[[np.ndarray], Evaluation]) -> list[dict[str, Any]]:
    """Fifths of these targets, from the lowest; fewer where many targets are equal."""
    edges = np.unique(np.quantile(targets, np.linspace(0, 1, NUM_BANDS + 1)))
    band = np.clip(np.searchsorted(edges, y, side="right") - 1, 0, max(len(edges) - 2, 0))
    described = []
    for index in range(len(edges) - 1):
        rows = band == index
        if rows.sum() < FEWEST_ROWS:
            continue
        found = score(rows)
        scores = {metric: found.interval(metric).as_dict() for metric in ("rmse", "mae", "bias")}
        low, high = float(edges[index]), float(edges[index + 1])
        described.append({"low": low, "high": high, "rows": int(rows.sum()), **scores})
    return described


def _beyond(y: np.ndarray, bound: float, score: Callable[[np.ndarray], Evaluation]) -> dict[str, Any]:
    """RMSE on the test rows that lie at the bound, and on all others."""
    described: dict[str, Any] = {}
    for name, rows in (("there", y == bound), ("elsewhere", y != bound)):
        described[f"rows_{name}"] = int(rows.sum())
        if rows.sum() >= FEWEST_ROWS:
            found: Interval = score(rows).interval("rmse")
            described[f"rmse_{name}"] = found.as_dict()
    return described


def _score(y: np.ndarray, outputs: np.ndarray, groups: np.ndarray | None, rows: np.ndarray, *, seed: int) -> Evaluation:
    """Of these rows, bool (N,)."""
    kept = None if groups is None else groups[rows]
    return evaluate(y[rows], {"": outputs[:, rows]}, task="regression", seed=seed, groups=kept)[""]
