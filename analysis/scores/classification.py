"""Scores of networks that give each row one class, as `analysis.scores.metrics` needs them."""

from typing import Any

import numpy as np
from sklearn import metrics

from analysis.scores.macro import macro, marked, occurring, ratio

CLASS_METRICS = ("precision", "recall", "f1")
_TINY = np.finfo(np.float64).eps
"""Least probability in a log loss, as in scikit-learn."""


def classification_scores(y: np.ndarray, p: np.ndarray) -> dict[str, np.ndarray]:
    """scikit-learn's metrics of one network.

    Args:
        y: labels (N,).
        p: probabilities (N, K).

    Returns:
        Scalars, and (K,) for `precision`, `recall` and `f1`. A class that is never predicted has precision 0. Averages
        are over the classes that occur among labels or predictions.
    """
    labels, predicted = np.arange(p.shape[1]), p.argmax(1)
    one_hot = np.eye(len(labels))
    averaged_over = occurring(one_hot[y], one_hot[predicted])

    def averaged(average: str | None) -> tuple[Any, ...]:
        over = labels if average is None else averaged_over
        settings: dict[str, Any] = {"labels": over, "average": average, "zero_division": 0.0}
        return metrics.precision_recall_fscore_support(y, predicted, **settings)[:3]

    scores: dict[str, Any] = {"accuracy": metrics.accuracy_score(y, predicted)}
    for average in ("macro", "weighted"):
        scores |= {f"{average}_{name}": v for name, v in zip(CLASS_METRICS, averaged(average), strict=True)}
    if len(labels) > 2:
        scores["top2_accuracy"] = metrics.top_k_accuracy_score(y, p, k=2, labels=labels)
    scores["log_loss"] = metrics.log_loss(y, p, labels=labels) if len(labels) > 1 else 0.0
    scores |= zip(CLASS_METRICS, averaged(None), strict=True)
    return {name: np.asarray(value) for name, value in scores.items()}


def classification_features(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(N, 2 + 3 K) float32 whose weighted sums are all that the metrics need."""
    num_classes, rows, predicted = p.shape[1], np.arange(len(y)), p.argmax(1)
    correct = predicted == y
    top2 = (p > p[rows, y][:, None]).sum(1) < 2
    loss = -np.log(np.clip(p[rows, y], _TINY, 1 - _TINY))
    one_hot = np.eye(num_classes)
    members, answers = one_hot[y], one_hot[predicted]
    columns = [top2[:, None], loss[:, None], members * correct[:, None], answers, marked(members, answers)]
    return np.concatenate(columns, axis=1).astype(np.float32)


def classification_from_sums(sums: np.ndarray, num_rows: int) -> dict[str, np.ndarray]:
    """The metrics of each replicate, from the sums over its rows."""
    top2, loss = sums[:, 0], sums[:, 1]
    hits, predicted, marks = np.split(sums[:, 2:], 3, axis=1)
    support = np.maximum(marks, 0)
    by_class = {
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, support),
        "f1": ratio(2 * hits, predicted + support),
    }
    found = {"accuracy": hits.sum(1) / num_rows, "log_loss": loss / num_rows}
    if hits.shape[1] > 2:
        found["top2_accuracy"] = top2 / num_rows
    for name, values in by_class.items():
        found[f"macro_{name}"] = macro(values, marks)
        found[f"weighted_{name}"] = (values * support).sum(1) / num_rows
    return found | by_class
