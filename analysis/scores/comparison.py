"""Compares configurations on the same test rows: paired differences, intervals that hold together, McNemar's test, who
is probably best.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import binom

from analysis.scores.metrics import Evaluation
from analysis.statistics.bootstrap import Interval, interval
from analysis.statistics.joint import deviations, joint_intervals
from spaces.objectives import metric_named


def sign(metric: str) -> int:
    """1 when a larger value is better, -1 when a smaller one is."""
    return -1 if metric_named(metric).less_is_better else 1


def difference(first: Evaluation, second: Evaluation, *, metric: str) -> Interval:
    """`first` minus `second`; each replicate scores both on the same draw of rows, so their common noise cancels."""
    value = float(first.scores[metric].mean() - second.scores[metric].mean())
    low, high = first.bounds(metric)
    return interval(value, first.replicates[metric] - second.replicates[metric], bounds=(low - high, high - low))


def optimism(search_value: float, fresh: Evaluation, *, metric: str, better: int | None = None) -> Interval:
    """How much better the search's value was than that of fresh networks on test rows.

    The interval is that of the fresh value: the value that the search chose by is a fixed number.
    """
    found, better = fresh.interval(metric), better or sign(metric)
    bounds = sorted((better * (search_value - found.low), better * (search_value - found.high)))
    return Interval(value=better * (search_value - found.value), low=bounds[0], high=bounds[1])


def probability_best(found: Mapping[str, Evaluation], *, metric: str, better: int | None = None) -> dict[str, float]:
    """The share of replicates in which each configuration has the best value; ties are shared.

    Empty if the interval of one of them is not known.
    """
    values = (better or sign(metric)) * np.stack([evaluation.replicates[metric] for evaluation in found.values()])
    if np.isnan(values).any():
        return {}
    best = values == values.max(0)
    return dict(zip(found, (best / best.sum(0)).mean(1).tolist(), strict=True))


def joint(found: Mapping[str, Evaluation], *, metric: str, seed: int = 0) -> dict[str, Interval]:
    """The intervals of all these configurations, which hold together with 95 % probability.

    Args:
        found: evaluations on the same draws of the same rows.
        seed: of the draws for the seeds.
    """
    random = np.random.default_rng((seed, 0x107))
    drawn = [(one.scores[metric], one.replicates[metric], one.over_rows[metric]) for one in found.values()]
    intervals = joint_intervals(
        [float(scores.mean()) for scores, _, _ in drawn],
        [deviations(*parts, random) for parts in drawn],
        bounds=[one.bounds(metric) for one in found.values()],
        num_rows=[one.num_units for one in found.values()],
    )
    return dict(zip(found, intervals, strict=True))


def mcnemar_mid_p(only_first: int, only_second: int) -> float:
    """Two-sided mid-p value of McNemar's exact test.

    Args:
        only_first: rows that the first network alone gets right.
        only_second: rows that the second alone gets right.

    The mid-p keeps its level where the exact test is far below it (Fagerland, Lydersen and Laake 2013).
    """
    total, least = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    if only_first == only_second:
        return 1 - float(binom.pmf(least, total, 0.5)) / 2
    return 2 * float(binom.cdf(least, total, 0.5)) - float(binom.pmf(least, total, 0.5))


def mcnemar(y: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """McNemar's test for each pair of networks with the same seed number, and one p value for all pairs.

    Per pair, not on a majority vote of the seeds: a vote is an ensemble, which is not exported. Twice the
    median of the p values is a valid p value however the pairs depend on each other (Vovk and Wang 2020); that of a
    single pair is valid itself.

    Args:
        y: labels (N,).
        first: probabilities (S, N, K); `second` likewise.
    """
    pairs = []
    for one, other in zip(first, second, strict=False):
        right, also = one.argmax(1) == y, other.argmax(1) == y
        counts = int((right & ~also).sum()), int((also & ~right).sum())
        pairs.append({"only_this": counts[0], "only_baseline": counts[1], "p": mcnemar_mid_p(*counts)})
    median = float(np.median([pair["p"] for pair in pairs]))
    return {"pairs": pairs, "median_p": median, "p": min(1.0, 2 * median) if len(pairs) > 1 else median}


def confusion(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """(K, K) counts of label against prediction, summed over the networks of p (S, N, K)."""
    num_classes = p.shape[2]
    index = y[None] * num_classes + p.argmax(2)
    return np.bincount(index.ravel(), minlength=num_classes**2).reshape(num_classes, num_classes)


def confused_pairs(counts: np.ndarray, *, most: int = 5) -> list[dict[str, Any]]:
    """The most frequent mistakes: label, prediction, count, share of all mistakes, share of the label's rows."""
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    order = np.argsort(wrong, axis=None, kind="stable")[::-1][:most]
    return [
        {
            "label": int(label),
            "predicted": int(predicted),
            "count": int(wrong[label, predicted]),
            "share_of_mistakes": float(wrong[label, predicted] / wrong.sum()),
            "share_of_class": float(wrong[label, predicted] / counts[label].sum()),
        }
        for label, predicted in (divmod(int(i), len(counts)) for i in order)
        if wrong[label, predicted] > 0
    ]
