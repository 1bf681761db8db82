"""Detects tables whose neighbouring rows are alike, as rows in the order of time are; a random split misleads there."""

from collections.abc import Mapping, Sequence

import numpy as np

LAG = 4
"""Distance, in rows, at which likeness is compared with that of neighbours."""
_SURE = 5.0
"""Standard errors by which neighbours must be more alike than chance."""
_CLEAR = 0.25
"""Least reduction of the squared difference to the two neighbours that is reported."""
_FEWEST, _MOST = 50, 100_000
"""Rows, in the order of the file, that are needed, and that are used."""


def is_sorted(values: np.ndarray) -> bool:
    """Whether numbers never fall, or never rise, from row to row, with few repetitions; NaN are left out."""
    known = values[np.isfinite(values)]
    if len(known) < max(3, 0.9 * len(values)) or len(np.unique(known)) < 0.5 * len(known):
        return False
    steps = np.diff(known)
    return bool((steps >= 0).all() or (steps <= 0).all())


def likest(series: Mapping[str, np.ndarray], *, blocks: Sequence[np.ndarray]) -> str | None:
    """The column in which neighbouring rows are most alike; None if they are not clearly alike in any.

    Of each row, the squared difference to the mean of the two rows beside it is compared with that to the mean of the
    two rows at `LAG`. For independent rows, both are equal on average, also if the file is sorted by a column on which
    the others depend: a trend cancels.

    Args:
        series: column -> numbers (N,), in the order of the rows; sorted ones are not considered.
        blocks: columns of categories or classes (N,). Where the rows of each category are together, because the file
            was sorted by it, rows are compared with those of their own category only.
    """
    starts = [_starts(one) for one in blocks]
    edges = np.unique(np.concatenate([one for one in starts if one is not None] or [np.zeros(0, np.int64)]))
    found = {
        name: _gain(values[:_MOST], edges)
        for name, values in series.items()
        if not is_sorted(values) and not _is_sorted_within(values, edges)
    }
    clear = {name: gain for name, (gain, error) in found.items() if gain > max(_CLEAR, _SURE * error)}
    return max(clear, key=clear.__getitem__, default=None)


def _is_sorted_within(values: np.ndarray, edges: np.ndarray) -> bool:
    """Whether numbers never fall, or never rise, within the blocks that begin at the edges."""
    steps = np.delete(np.diff(values), edges[(edges > 0) & (edges < len(values))] - 1)
    return len(edges) > 0 and bool((steps >= 0).all() or (steps <= 0).all())


def _starts(categories: np.ndarray) -> np.ndarray | None:
    """The first row of each block, if all rows of a category are together; None otherwise, or if there is one block."""
    starts = 1 + np.flatnonzero(categories[1:] != categories[:-1])
    return starts if 0 < len(starts) == len(np.unique(categories)) - 1 else None


def _gain(values: np.ndarray, edges: np.ndarray) -> tuple[float, float]:
    """How much more alike neighbours are, and the standard error of that if rows are independent."""
    ranks = _ranks(values)
    middle = np.arange(LAG, len(ranks) - LAG)
    inside = np.searchsorted(edges, middle - LAG, side="right") == np.searchsorted(edges, middle + LAG, side="right")
    middle = middle[inside]
    near, far = (ranks[middle] - (ranks[middle - lag] + ranks[middle + lag]) / 2 for lag in (1, LAG))
    known = np.isfinite(near) & np.isfinite(far)
    near, far = near[known] ** 2, far[known] ** 2
    if len(near) < _FEWEST or not far.mean():
        return 0.0, np.inf
    return 1 - near.mean() / far.mean(), float((near - far).std() / far.mean() * np.sqrt(2 / len(near)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 to 1, equal ones for equal values; NaN stay."""
    known = np.isfinite(values)
    ranks = np.full(len(values), np.nan)
    ordered, place, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    if len(ordered):
        ranks[known] = (np.cumsum(counts) - counts / 2)[place] / known.sum()
    return ranks
