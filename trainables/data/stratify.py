"""Stratified subsets: each class in proportion to its share."""

import numpy as np


def stratified_rows(y: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """The sorted numbers of `size` rows, without repetition.

    Each class gets its share, rounded, but at least one row and, if possible, not all of its rows. Targets of a
    regression (float) are drawn regardless of their value.

    Args:
        y: int64 labels, or float targets (N,).
        size: 0, or from the number of classes to N.
        rng: source of the draw.
    """
    if size in (0, len(y)):
        return np.arange(size)
    if y.dtype != np.int64:
        return np.sort(rng.permutation(len(y))[:size])
    labels, counts = np.unique(y, return_counts=True)
    share = size * counts / len(y)
    limit = np.maximum(counts - 1, 1) if size <= len(y) - len(labels) else counts
    take = np.clip(share.astype(int), 1, limit)
    while take.sum() < size:
        take[np.argmax(np.where(take < limit, share - take, -np.inf))] += 1
    while take.sum() > size:
        take[np.argmin(np.where(take > 1, share - take, np.inf))] -= 1
    chosen = [rng.permutation(np.flatnonzero(y == label))[:n] for label, n in zip(labels, take, strict=True)]
    return np.sort(np.concatenate(chosen))
