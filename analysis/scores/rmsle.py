"""RMSLE: the root mean squared difference of log(1 + value); predictions below 0 count as 0."""

import numpy as np

from analysis.scores.score import Score


def _squares(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(N, 1)."""
    logs = [np.log1p(np.maximum(values.astype(np.float64), 0)) for values in (predicted, y)]
    return ((logs[0] - logs[1]) ** 2)[:, None]


def _score(y: np.ndarray, predicted: np.ndarray) -> float:
    return float(np.sqrt(_squares(y, predicted).mean()))


def _from_sums(sums: np.ndarray, num_rows: int) -> np.ndarray:
    return np.sqrt(sums[:, 0] / num_rows)


SCORE = Score(task="regression", score=_score, features=_squares, from_sums=_from_sums, bounds=(0.0, np.inf))
