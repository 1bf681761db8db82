"""Ratios of each class, and their mean over the classes that occur among labels or predictions.

No row says anything about any other class. scikit-learn leaves it out of a macro average too, and so does the search.
"""

import numpy as np


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, 0 where below is 0; both of the same shape."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def occurring(members: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The numbers of the classes that occur among labels or predictions; of all classes if none does.

    Args:
        members: (N, K), not 0 where the row is of the class; `predicted` likewise.
    """
    occurs = ((members != 0) | (predicted != 0)).any(0)
    return np.flatnonzero(occurs if occurs.any() else ~occurs)


def marked(members: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """`members` (N, K) with -1 in all rows of the classes that do not occur, whose sums are therefore negative."""
    absent = np.setdiff1d(np.arange(members.shape[1]), occurring(members, predicted))
    found = members.astype(np.float32)
    found[:, absent] = -1
    return found


def macro(values: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The mean (B,) of the values (B, K) of the classes that occur; a class that only a resample lacks counts 0.

    Args:
        values: ratios, 0 for a class that does not occur.
        marks: sums (B, K) of `marked`.
    """
    return values.sum(1) / (marks >= 0).sum(1)
