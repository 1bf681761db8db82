"""Decides whether float32 keeps the numbers of a column apart."""

import numpy as np

from trainables.data.sample import sample_rows

_SMALLEST = float(np.finfo(np.float32).tiny)
_COMPARED_ROWS = 200_000
"""Rows in which values are compared."""


def fits_float32(values: np.ndarray) -> bool:
    """Whether float32 keeps different numbers apart, which fails for large offsets and tiny units such as 1e-13.

    It does if rounding changes the median value by at most 1e-5 of the interquartile range, and leaves at least 90 % of
    the distinct values distinct.

    Args:
        values: float64 (N,); values that are not finite are ignored.
    """
    known = values[np.isfinite(values)]
    known = known[sample_rows(len(known), _COMPARED_ROWS)] if len(known) > _COMPARED_ROWS else known
    if not len(known) or np.ptp(known) == 0:
        return True
    size = np.abs(known).max()
    if not 1e-15 < size < 1e15:
        return False
    rounded = known.astype(np.float32).astype(np.float64)
    rounded[np.abs(rounded) < _SMALLEST] = 0.0  # as all computations in float32 take it
    low, high = np.quantile(known, (0.25, 0.75))
    spread = (high - low) or known.std()
    moved = float(np.median(np.abs(known - rounded)))
    return moved <= 1e-5 * spread and len(np.unique(rounded)) >= 0.9 * len(np.unique(known))
