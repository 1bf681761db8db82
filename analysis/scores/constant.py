"""The score of the best constant prediction, which a network must exceed to have learned anything."""

import numpy as np

from trainables.training.quantile import quantile_in


def constant_score(metric: str, counts: np.ndarray) -> float | None:
    """Of a classification; None for a metric for which it is not known.

    Args:
        metric: name of the metric.
        counts: rows of each class (K,).
    """
    shares = counts[counts > 0] / max(1, counts.sum())
    if not len(shares):
        return None
    most = float(shares.max())
    known = {
        "accuracy": most,
        "balanced_accuracy": 1 / len(shares),
        "auc": 0.5,
        "macro_f1": 2 * most / (1 + most) / len(shares),  # F1 of the class that is always predicted, 0 of the others
        "log_loss": float(-(shares * np.log(shares)).sum()),
    }
    return known.get(metric)


def constant_error(metric: str, y: np.ndarray) -> float | None:
    """Of a regression; None for a metric for which it is not known.

    Args:
        metric: name of the metric.
        y: targets (N,).
    """
    y, quantile = y[np.isfinite(y)].astype(float), quantile_in(metric)
    if not len(y):
        return None
    if quantile is not None:
        error = np.quantile(y, quantile) - y
        return float(np.maximum(-quantile * error, (1 - quantile) * error).mean())
    if metric == "rmsle":
        return float(np.log1p(np.maximum(y, 0)).std())
    return {"rmse": float(y.std()), "mae": float(np.abs(y - np.median(y)).mean()), "r2": 0.0}.get(metric)
