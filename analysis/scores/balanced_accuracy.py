"""Balanced accuracy: the mean over the classes of the share of their rows that is predicted right."""

import numpy as np

from analysis.scores.macro import ratio
from analysis.scores.score import Score


def _score(y: np.ndarray, p: np.ndarray) -> float:
    support = np.bincount(y)
    hits = np.bincount(y[p.argmax(1) == y], minlength=len(support))
    return float((hits[support > 0] / support[support > 0]).mean())


def _features(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(N, 2 K): of each class of the rows whether the row is of it and predicted right, and whether it is of it."""
    one_hot = np.eye(p.shape[1])[y][:, np.unique(y)]
    return np.concatenate([one_hot * (p.argmax(1) == y)[:, None], one_hot], axis=1)


def _from_sums(sums: np.ndarray, num_rows: int) -> np.ndarray:
    """The macro recall of each replicate: a class that a resample lacks counts 0, as in `macro_recall`.

    Were it left out, the constant prediction of a class would score the better the more classes a resample lacks.
    """
    return ratio(*np.split(sums, 2, axis=1)).mean(1)


SCORE = Score(task="classification", score=_score, features=_features, from_sums=_from_sums, bounds=(0.0, 1.0))
