"""95 % intervals of several scores on the same rows that hold together: all of them cover with 95 % probability.

Each score has a deviation in each replicate of the bootstrap: that of the rows, the same draw for all configurations,
plus a normal one for the seeds. It is divided by the root of a chi-square over its degrees of freedom, since the spread
of a few seeds is uncertain (Satterthwaite 1946). The deviations of each configuration are then brought to one scale,
and the 95 % quantile of their largest absolute value in a replicate widens all intervals alike: errors that networks
make on the same rows count once, so this is narrower than Bonferroni's rule. A share gets the interval of Wilson's form
with that quantile, which also holds near 0 and 1; a positive score gets it on a logarithmic scale.
`benchmarks/joint.py` measures the coverage.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from analysis.statistics.bootstrap import Interval, Z, wilson_share

_LEAST_SHARE = 1e-3
_LARGEST_EXPONENT = 50.0


def deviations(
    scores: np.ndarray, replicates: np.ndarray, over_rows: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """How much the mean over seeds may differ from the truth, a draw for each replicate (B,).

    Args:
        scores: of each seed's network (S,).
        replicates: of the mean over seeds, over rows and seeds (B,); see `bootstrap.combine`.
        over_rows: the same over the rows alone (B,).
    """
    from_rows, num_seeds = over_rows - scores.mean(), len(scores)
    if num_seeds == 1:
        return from_rows
    from_seeds = np.median(np.abs(replicates - over_rows)) / student.ppf(0.75, num_seeds - 1)
    rows_error = np.median(np.abs(from_rows)) / student.ppf(0.75, np.inf)
    variance = rows_error**2 + from_seeds**2
    uncertain = max(scores.var(ddof=1) / num_seeds, from_seeds**2)
    share = min(1.0, max(uncertain / variance, _LEAST_SHARE)) if variance > 0 else 1.0
    freedom = (num_seeds - 1) / share**2
    noise = from_rows + from_seeds * random.standard_normal(len(from_rows))
    return noise / np.sqrt(random.chisquare(freedom, len(noise)) / freedom)


def joint_intervals(
    values: Sequence[float],
    deviating: Sequence[np.ndarray],
    *,
    bounds: Sequence[tuple[float, float]],
    num_rows: Sequence[int],
) -> list[Interval]:
    """The intervals of K scores.

    Args:
        values: the scores.
        deviating: of `deviations`, (B,) for each score, of the same draws of rows.
        bounds: least and largest value that each score can take.
        num_rows: independent rows, or groups, behind each; 0 where they are not known.
    """
    sizes = np.abs(np.stack(deviating))  # (K, B)
    scales = np.quantile(sizes, 0.95, axis=1) / Z
    moving = scales > 0
    widest = float(np.quantile((sizes[moving] / scales[moving, None]).max(0), 0.95)) if moving.any() else Z
    found = zip(values, scales.tolist(), bounds, num_rows, strict=True)
    return [_interval(value, scale, widest, limits, rows) for value, scale, limits, rows in found]


def _interval(value: float, scale: float, widest: float, bounds: tuple[float, float], num_rows: int) -> Interval:
    """One interval: `widest` times `scale` to both sides, on the scale that suits the bounds.

    Args:
        scale: standard error of the score.
        widest: the quantile that takes the place of 1.96.
    """
    low, high = value - widest * scale, value + widest * scale
    if bounds == (0.0, 1.0) and num_rows:
        spread = value * (1 - value)
        rows = spread / scale**2 if spread > 0 and scale > 0 else num_rows
        low, high = wilson_share(value, rows * (Z / widest) ** 2)
    elif bounds == (0.0, np.inf) and value > 0:
        factor = float(np.exp(min(widest * scale / value, _LARGEST_EXPONENT)))
        low, high = value / factor, value * factor
    return Interval(value=value, low=max(low, bounds[0]), high=min(high, bounds[1]))
