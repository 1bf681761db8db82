"""The pinball loss: mean absolute error in which a prediction below the target weighs Q and one above it 1 - Q."""

import numpy as np

from analysis.scores.score import Score


def make_score(quantile: float) -> Score:
    """The loss that the prediction of this quantile minimises."""

    def losses(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """(N, 1)."""
        error = predicted.astype(np.float64) - y
        return np.maximum(-quantile * error, (1 - quantile) * error)[:, None]

    def score(y: np.ndarray, predicted: np.ndarray) -> float:
        return float(losses(y, predicted).mean())

    return Score(task="regression", score=score, features=losses, from_sums=_from_sums, bounds=(0.0, np.inf))


def _from_sums(sums: np.ndarray, num_rows: int) -> np.ndarray:
    return sums[:, 0] / num_rows
