"""The calibration error: how far the confidence of a network is from its accuracy."""

import numpy as np

from analysis.scores.score import Score

NUM_BINS = 15
"""Bins of the calibration error, each with the same number of images."""


def calibration_error(y: np.ndarray, p: np.ndarray) -> float:
    """Expected calibration error over 15 bins of equal mass: the mean distance of confidence and accuracy of a bin.

    Bins of equal width would leave most of them almost empty for a good network (Nixon et al. 2019).
    """
    gap = p.max(1) - (p.argmax(1) == y)
    return float(np.abs(np.bincount(confidence_bins(p), weights=gap, minlength=NUM_BINS)).sum() / len(y))


def confidence_bins(p: np.ndarray) -> np.ndarray:
    """The bin (0 to 14) of each row, by rank of its confidence."""
    order = np.argsort(p.max(1), kind="stable")
    bins = np.empty(len(p), np.int64)
    bins[order] = np.arange(len(p)) * NUM_BINS // len(p)
    return bins


def chance_calibration_error(p: np.ndarray, *, num_draws: int = 200, seed: int = 0) -> float:
    """The expected error of a perfectly calibrated network with these confidences, from chance alone."""
    random, confidence, bins = np.random.default_rng(seed), p.max(1), confidence_bins(p)
    membership = np.eye(NUM_BINS)[bins]
    gaps = confidence - (random.random((num_draws, len(p))) < confidence)
    return float(np.abs(gaps @ membership).sum(1).mean() / len(p))


def _features(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(N, bins): each row's gap between confidence and accuracy, in its bin."""
    return np.eye(NUM_BINS)[confidence_bins(p)] * (p.max(1) - (p.argmax(1) == y))[:, None]


def _from_sums(sums: np.ndarray, num_rows: int) -> np.ndarray:
    return np.abs(sums).sum(1) / num_rows


SCORE = Score(
    task="classification",
    score=calibration_error,
    features=_features,
    from_sums=_from_sums,
    bounds=(0.0, 1.0),
    reflect=True,
)
