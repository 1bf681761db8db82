"""The area under the ROC curve, of each class against the others and averaged over the classes without weights."""

import numpy as np
from scipy.stats import rankdata

from analysis.scores.macro import ratio
from analysis.scores.score import Score


def _placements(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(N, K): the share of the rows on the other side of a class that the row is ranked right against; ties count half.

    Of a row of the class these are rows of other classes that are scored lower, of another row those of the class that
    are scored higher. The mean over the rows of the class is the area, and so is that over the others.
    """
    found = np.empty(p.shape)
    for label in range(p.shape[1]):
        inside = y == label
        ranks = rankdata(p[:, label])
        for rows, sign in ((inside, 1), (~inside, -1)):
            if rows.any() and not rows.all():
                below = ranks[rows] - rankdata(p[rows, label])
                share = below / (~rows).sum()
                found[rows, label] = share if sign > 0 else 1 - share
            else:
                found[rows, label] = 0.5
    return found


def _score(y: np.ndarray, p: np.ndarray) -> float:
    return float(_from_sums(_features(y, p).sum(0, keepdims=True), len(y))[0])


def _features(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(N, 4 K): placements of the rows of a class and of the others, members of the class, and its area.

    Of classes only that some rows are of and others are not. The bootstrap is of first order in the weights of the
    rows, as in DeLong, DeLong and Clarke-Pearson (1988).
    """
    member, placed = np.eye(p.shape[1])[y], _placements(y, p)
    known = (member.sum(0) > 0) & (member.sum(0) < len(y))
    member, placed = member[:, known], placed[:, known]
    inside, outside = member * placed, (1 - member) * placed
    area = np.broadcast_to(ratio(inside.sum(0), member.sum(0)), member.shape)
    return np.concatenate([inside, outside, member, area], axis=1)


def _from_sums(sums: np.ndarray, num_rows: int) -> np.ndarray:
    """0.5 without such a class; a class that a resample lacks keeps the area that it has on all rows."""
    if not sums.shape[1]:
        return np.full(len(sums), 0.5)
    inside, outside, count, area = np.split(sums, 4, axis=1)
    others = num_rows - count
    found = ratio(inside, count) + ratio(outside, others) - area / num_rows
    return np.where((count > 0) & (others > 1e-6 * num_rows), found, area / num_rows).mean(1)


SCORE = Score(task="classification", score=_score, features=_features, from_sums=_from_sums, bounds=(0.0, 1.0))
