"""Scores of networks that predict a number, as `analysis.scores.metrics` needs them."""

import numpy as np
from sklearn import metrics


def regression_scores(y: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """scikit-learn's metrics of one network, in the unit of the target; `bias`: mean of predicted minus target."""
    scores = {
        "rmse": metrics.root_mean_squared_error(y, predicted),
        "mae": metrics.mean_absolute_error(y, predicted),
        "r2": metrics.r2_score(y, predicted),
        "bias": np.mean(predicted.astype(np.float64) - y),
    }
    return {name: np.asarray(value) for name, value in scores.items()}


def regression_features(y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(N, 5) whose weighted sums are all that the metrics need; float32 where the squares fit."""
    error, centred = predicted.astype(np.float64) - y, y - y.mean(dtype=np.float64)
    features = np.stack([error**2, np.abs(error), error, centred, centred**2], axis=1)
    squares_fit = 1e-15 < np.abs(centred).max(initial=1e-300) < 1e15 and np.abs(error).max() < 1e15
    return features.astype(np.float32) if squares_fit else features


def regression_from_sums(sums: np.ndarray, num_rows: int) -> dict[str, np.ndarray]:
    """The metrics of each replicate, from the sums over its rows."""
    squares, absolute, signed, first, second = sums.T
    total = second - first**2 / num_rows
    scores = {"rmse": np.sqrt(squares / num_rows), "mae": absolute / num_rows, "bias": signed / num_rows}
    return scores | {"r2": 1 - np.divide(squares, total, out=np.ones_like(squares), where=total > 1e-6 * second)}
