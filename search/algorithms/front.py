"""Two objectives at once: dominance, the front, its hypervolume, and what a trial is expected to add to it.

Points are pairs of numbers of which larger is better. A point dominates another one if it is at least as good in both
and not equal. The front is what no point dominates. The hypervolume is the area that the front dominates, above a
reference point.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from search.storage.run import Run
from search.storage.trials import epochs_reached, second_value

Point = tuple[float, float]
Normal = tuple[np.ndarray, np.ndarray]
"""Means and standard deviations, (N,) each."""
Price = Callable[[Mapping[str, Any]], float]
"""Parameters -> the cost that is known before training."""
_LEAST_SPREAD = 1e-9


def ranks(points: Sequence[Point]) -> list[int]:
    """The non-dominated rank of each point: 0 on the front, 1 on the front of the others, and so on.

    In descending order, a point belongs to the first front whose largest second number is below its own (Jensen 2003,
    "Reducing the run-time complexity of multiobjective EAs"): O(N log N).
    """
    found: dict[Point, int] = {}
    tops: list[float] = []  # minus the largest second number of each front, ascending
    for point in sorted(set(points), reverse=True):
        found[point] = bisect_right(tops, -point[1])
        tops[found[point] : found[point] + 1] = [-point[1]]
    return [found[point] for point in points]


def order(points: Sequence[Point]) -> list[int]:
    """The places of the points, best first: by rank, then by what each adds to the hypervolume of its front.

    The hypervolume is that of normal scores (`normal_scores`), above the worst score in each objective, so that only
    the order of the points within each objective matters. Of equal points the first comes first.
    """
    if not points:
        return []
    scored = list(zip(*(normal_scores([point[i] for point in points]).tolist() for i in (0, 1)), strict=True))
    reference = min(x for x, _ in scored), min(y for _, y in scored)
    places: dict[int, list[int]] = {}
    for place, rank in enumerate(ranks(scored)):
        places.setdefault(rank, []).append(place)
    found: list[int] = []
    for rank in sorted(places):
        added = contributions([scored[place] for place in places[rank]], reference)
        found += [place for _, place in sorted(zip([-one for one in added], places[rank], strict=True))]
    return found


def contributions(points: Sequence[Point], reference: Point) -> list[float]:
    """By how much the hypervolume of mutually non-dominated points shrinks without each; 0 for one of two equal ones.

    Args:
        points: none dominates another one, and none lies below the reference in either objective.
    """
    distinct = sorted(set(points))  # ascending in x, descending in y
    left = [reference[0], *(x for x, _ in distinct)]
    below = [*(y for _, y in distinct[1:]), reference[1]]
    added = {
        point: (point[0] - x) * (point[1] - y) if points.count(point) == 1 else 0.0
        for point, x, y in zip(distinct, left, below, strict=False)
    }
    return [added[point] for point in points]


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """The area that these points dominate above the reference point."""
    total, top = 0.0, reference[1]
    for x, y in sorted(points, reverse=True):
        if x > reference[0] and y > top:
            total += (x - reference[0]) * (y - top)
            top = y
    return total


def normal_scores(values: Sequence[float]) -> np.ndarray:
    """Phi^-1((rank - 1/2) / N) of each value, (N,); equal values have equal scores."""
    from scipy.special import ndtri  # searches with one objective need not wait for SciPy
    from scipy.stats import rankdata

    return ndtri((rankdata(values) - 0.5) / len(values))


def expected_gain(front: Sequence[Point], reference: Point, first: Normal, second: Normal) -> np.ndarray:
    """The expected improvement of the hypervolume by each of N points with independent normal coordinates, (N,).

    The front divides the second coordinate into strips [u_k, u_k+1), in which a point must exceed g_k in the first:

        EHVI = sum over k of (psi_2(u_k) - psi_2(u_k+1)) psi_1(g_k),    psi(u) = E max(value - u, 0)

    With one point for a front and g = -inf this is the expected improvement. A standard deviation of 0 is a known
    coordinate.

    Args:
        front: points, of which dominated ones and those that do not exceed the reference do not matter.
        first, second: means and standard deviations of the coordinates.
    """
    inside = [(x, y) for x, y in set(front) if x > reference[0] and y > reference[1]]
    steps = [point for point, rank in zip(inside, ranks(inside), strict=True) if rank == 0]
    steps.sort(key=lambda point: point[1])  # ascending in y, descending in x
    edges = np.array([reference[1], *(y for _, y in steps)])
    heights = np.array([*(x for x, _ in steps), reference[0]])
    strips = _excess(*second, edges)
    strips[:, :-1] -= strips[:, 1:].copy()
    return (strips * _excess(*first, heights)).sum(axis=1)


def _excess(means: np.ndarray, spreads: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """psi of the formula above, (N, K): s (z Phi(z) + phi(z)), z = (m - u) / s."""
    from scipy.special import ndtr

    spreads = np.maximum(spreads, _LEAST_SPREAD)[:, None]
    z = (means[:, None] - bounds) / spreads
    return spreads * (z * ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def point_at(trial: FrozenTrial, run: Run, epoch: int) -> Point | None:
    """Both objectives of a trial at an epoch, with signs so that larger is better; None where one is not known."""
    assert run.second is not None
    value, other = trial.intermediate_values.get(epoch), second_value(trial, run.second, epoch)
    if value is None or other is None:
        return None
    return run.objective.sign * value, run.second.objective.sign * other


def front_trials(run: Run, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The finished trials that no other one dominates, the best by the first objective first; of equal ones the older.

    Empty without a second objective.
    """
    if run.second is None:
        return []
    finished = [t for t in trials if t.state == TrialState.COMPLETE and t.value is not None]
    found = [(point, t) for t in finished if (point := point_at(t, run, epochs_reached(t))) is not None]
    front: dict[Point, FrozenTrial] = {}
    for (point, trial), rank in zip(found, ranks([point for point, _ in found]), strict=True):
        if rank == 0:
            front.setdefault(point, trial)
    return [front[point] for point in sorted(front, reverse=True)]
