"""Scores of networks that give each row several labels at once, as `analysis.scores.metrics` needs them."""

import numpy as np
from sklearn import metrics

from analysis.scores.macro import macro, marked, occurring, ratio


def multilabel_scores(y: np.ndarray, p: np.ndarray) -> dict[str, np.ndarray]:
    """scikit-learn's metrics of one network; macro averages are over the labels that some row has or is given.

    Args:
        y: (N, K) of 0 and 1.
        p: probabilities, or answers of 0 and 1 (N, K); a label is given from 0.5 on.
    """
    predicted = (p >= 0.5).astype(np.int64)
    scores = {
        "subset_accuracy": metrics.accuracy_score(y, predicted),
        "label_accuracy": 1 - metrics.hamming_loss(y, predicted),
    }
    labels = occurring(y, predicted)
    for average in ("micro", "macro"):
        found = metrics.precision_recall_fscore_support(y, predicted, labels=labels, average=average, zero_division=0.0)  # pyright: ignore
        scores |= {f"{average}_{name}": v for name, v in zip(("precision", "recall", "f1"), found[:3], strict=True)}
    return {name: np.asarray(value) for name, value in scores.items()}


def multilabel_features(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(N, 1 + 3 K) float32 whose weighted sums are all that the metrics need."""
    predicted = p >= 0.5
    whole = (predicted == (y == 1)).all(1)
    members = marked(y, predicted)
    return np.concatenate([whole[:, None], predicted & (y == 1), predicted, members], axis=1).astype(np.float32)


def multilabel_from_sums(sums: np.ndarray, num_rows: int) -> dict[str, np.ndarray]:
    """The metrics of each replicate, from the sums over its rows."""
    whole = sums[:, 0]
    hits, predicted, marks = np.split(sums[:, 1:], 3, axis=1)
    support = np.maximum(marks, 0)
    wrong = (predicted + support - 2 * hits).sum(1)
    found = {
        "subset_accuracy": whole / num_rows,
        "label_accuracy": 1 - wrong / (num_rows * hits.shape[1]),
        "micro_precision": ratio(hits.sum(1), predicted.sum(1)),
        "micro_recall": ratio(hits.sum(1), support.sum(1)),
        "micro_f1": ratio(2 * hits.sum(1), (predicted + support).sum(1)),
    }
    for name, above, below in (
        ("precision", hits, predicted),
        ("recall", hits, support),
        ("f1", 2 * hits, predicted + support),
    ):
        found[f"macro_{name}"] = macro(ratio(above, below), marks)
    return found
