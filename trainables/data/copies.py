"""Counts validation rows of a table that are copies, or nearly copies, of training rows."""

import numpy as np

from trainables.data.table import Column

_LEAST_SHARE, _LEAST_ROWS = 0.01, 3
"""Copies that are reported: share and number of the validation rows."""
_BEYOND_CHANCE = 3.0
"""How many times more copies than if the columns were independent of each other."""
_NEAR, _NEIGHBOURS = 0.05, 10
"""A nearly equal row is closer than this share of the distance to the tenth nearest."""
_MOST_CHECKED, _MOST_KNOWN, _MOST_COLUMNS = 1_000, 20_000, 50
_FEWEST_COLUMNS, _FEWEST_VALUES = 3, 20
"""Columns with so many different numbers that are needed to call rows nearly equal."""


def note_copies(
    x: np.ndarray,
    y: np.ndarray,
    columns: tuple[Column, ...],
    *,
    train: np.ndarray,
    validation: np.ndarray,
    are_distinct: bool = False,
) -> list[str]:
    """A note on validation rows whose inputs are those of a training row, and one on nearly equal rows.

    Args:
        x: inputs (N, F), as `encode` returns.
        y: labels or targets (N,).
        train: numbers of the training rows.
        validation: numbers of the validation rows.
        are_distinct: whether the split keeps equal rows on one side already.
    """
    if not len(validation):
        return []
    is_copy = _are_known(x[validation], x[train])
    total = len(validation)
    if _is_many(is_copy.sum(), total) and is_copy.sum() > _BEYOND_CHANCE * _copies_by_chance(x, train, validation):
        share = 100 * is_copy.mean()
        way = "remove such rows" if are_distinct else "keep equal rows on one side with --split distinct"
        return [
            f"{is_copy.sum():,} of {total:,} validation rows ({share:.1f} %) have the inputs of a training row,"
            f" so validation and test scores are too optimistic; {way}"
        ]
    near = _num_near(x, y, columns, train=train, validation=validation[~is_copy])
    if near is None or not _is_many(near[0], near[1]):
        return []
    return [
        f"{near[0]:,} of {near[1]:,} validation rows are nearly equal to a training row in all numbers and the target,"
        " so validation and test scores are too optimistic; remove such rows, or keep them together with --split"
        " group:COLUMN"
    ]


def _is_many(count: int, total: int) -> bool:
    return count >= max(_LEAST_ROWS, _LEAST_SHARE * total)


def _are_known(rows: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Whether each row is among the known ones, (N,)."""
    seen = {row.tobytes() for row in np.ascontiguousarray(known)}
    return np.array([row.tobytes() in seen for row in np.ascontiguousarray(rows)], bool)


def _copies_by_chance(x: np.ndarray, train: np.ndarray, validation: np.ndarray) -> int:
    """Copies where each column of the training rows is shuffled on its own: rows of few choices are often equal."""
    rng = np.random.default_rng(0)
    shuffled = np.stack([rng.permutation(column) for column in x[train].T], axis=1)
    return int(_are_known(x[validation], shuffled).sum())


def _num_near(
    x: np.ndarray, y: np.ndarray, columns: tuple[Column, ...], *, train: np.ndarray, validation: np.ndarray
) -> tuple[int, int] | None:
    """Rows that are nearly equal to a training row, and rows that were checked; None if that cannot be said."""
    numbers = [i for i, c in enumerate(columns) if c.reads_as == "number" and _has_many_values(x[train, i])]
    if not _FEWEST_COLUMNS <= len(numbers) <= _MOST_COLUMNS or len(train) < 5 * _NEIGHBOURS or not len(validation):
        return None
    from scipy.spatial import KDTree

    train, validation = train[:_MOST_KNOWN], validation[:_MOST_CHECKED]
    scaled = np.nan_to_num(x[:, numbers].astype(float))
    scaled = (scaled - scaled[train].mean(0)) / np.maximum(scaled[train].std(0), 1e-12)
    found = KDTree(scaled[train]).query(scaled[validation], k=_NEIGHBOURS)
    far, near = np.asarray(found[0]), np.asarray(found[1])
    nearest = train[near[:, 0]]
    spread = 0.1 * y.std() if y.dtype != np.int64 else 0
    close = (far[:, 0] < _NEAR * far[:, -1]) & (np.abs(y[validation] - y[nearest]) <= spread)
    others = [i for i in range(len(columns)) if i not in numbers]
    close &= (np.nan_to_num(x[validation][:, others]) == np.nan_to_num(x[nearest][:, others])).all(1)
    return int(close.sum()), len(validation)


def _has_many_values(values: np.ndarray) -> bool:
    return len(np.unique(values[np.isfinite(values)])) >= _FEWEST_VALUES
