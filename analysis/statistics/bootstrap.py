"""95 % intervals for scores of trained networks, over the test images and over the seeds of the training.

A score has two sources of chance: which images happen to be in the test set, and which seed a network was trained from.
Both levels are resampled in each replicate:

- the images with replacement, the same draw for every network, so that differences are paired on the images; where
  images come in groups that are alike, whole groups, whose number then decides how sure the score is;
- the seeds by a random step of the mean over seeds. Five seeds are too few to be drawn with replacement (such intervals
  cover about 85 % instead of 95 %), so the step has the distribution of Student's t: with no noise from the images the
  interval is exactly mean ± t(S - 1) * s / sqrt(S).

The spread s of the seeds' scores is partly noise of the images too, where networks err on different ones. The draws of
the images show how much, and that part is taken out of the step, or it would count twice. In simulations with 2 to 10
seeds and all mixtures of the two kinds of noise the intervals cover the truth in 92 to 99 % of the cases. With one seed
only the images vary, and the interval says nothing about training again.

Few groups drawn with replacement give intervals that are too narrow as well, so the deviation of each replicate is
stretched until a mean over groups has the distribution of Student's t.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import t as student

NUM_REPLICATES = 2000
Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""
CHUNK = 250
"""Replicates worked on at once: 250 x 10,000 images take 10 MB."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and the bounds of its 95 % interval, both of them NaN where the interval is not known."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Plain values; NaN is null in final.json."""
        return asdict(self)


def unit_of_rows(groups: np.ndarray | None) -> np.ndarray | None:
    """The group of each row (N,), numbered from 0; None if each row is its own group, or all are of one.

    A single group does not show how groups differ: then rows are resampled, and the interval is for that group.
    """
    if groups is None or len(groups) == 0:
        return None
    numbers = np.unique(groups, return_inverse=True)[1]
    return numbers if 0 < numbers.max() < len(numbers) - 1 else None


def image_draws(
    num_rows: int, num_replicates: int, random: np.random.Generator, *, groups: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """How often each row is drawn, in chunks: float32 (CHUNK or fewer, N); every replicate sums to N.

    Args:
        groups: of each row (N,), numbered from 0; whole groups are drawn, and the weights of the rows scaled to sum N.
    """
    num_units = num_rows if groups is None else int(groups.max()) + 1
    for start in range(0, num_replicates, CHUNK):
        size = min(CHUNK, num_replicates - start)
        picked = random.integers(0, num_units, (size, num_units)) + num_units * np.arange(size)[:, None]
        counts = np.bincount(picked.ravel(), minlength=size * num_units).reshape(size, num_units)
        if groups is not None:
            rows = counts[:, groups]
            counts = rows * (num_rows / rows.sum(1, keepdims=True))
        yield counts.astype(np.float32)


def group_stretch(groups: np.ndarray | None, num_replicates: int, random: np.random.Generator) -> np.ndarray | None:
    """Factors (B,) of the deviation of each replicate over whole groups; None for independent rows.

    The variance of a mean over G groups drawn with replacement is too small by (G - 1) / G, and the root of a
    chi-square over its degrees of freedom turns a normal into Student's t.
    """
    if groups is None:
        return None
    others, freedom = int(groups.max()), group_freedom(groups)
    return np.sqrt((others + 1) / others * freedom / random.chisquare(freedom, num_replicates))


def group_freedom(groups: np.ndarray) -> float:
    """Degrees of freedom between groups, at least 1: their effective number, (sum n)^2 / sum n^2 (Kish 1965), less 1.

    Args:
        groups: of each row (N,), numbered from 0.
    """
    sizes = np.bincount(groups)
    return max(1.0, float(sizes.sum() ** 2 / (sizes.astype(np.float64) ** 2).sum()) - 1)


def seed_steps(num_seeds: int, num_replicates: int, random: np.random.Generator) -> np.ndarray:
    """Weights (B, S) that sum to 0, under which a sum over seeds has the distribution t(S - 1) * s / sqrt(S).

    A centred normal direction gives a normal with the standard deviation s / sqrt(S); dividing by the root of a
    chi-square over its degrees of freedom turns it into Student's t.
    """
    if num_seeds == 1:
        return np.zeros((num_replicates, 1))
    direction = random.standard_normal((num_replicates, num_seeds))
    direction -= direction.mean(1, keepdims=True)
    freedom = num_seeds - 1
    stretch = np.sqrt(freedom / random.chisquare(freedom, (num_replicates, 1)))
    return stretch * direction / np.sqrt(num_seeds * freedom)


def combine(
    scores: np.ndarray, drawn: np.ndarray, steps: np.ndarray, *, stretch: np.ndarray | None = None
) -> np.ndarray:
    """Replicates (B, ...) of the mean over seeds.

    Args:
        scores: of each seed's network on the rows as they are (S, ...).
        drawn: on the rows of each replicate (B, S, ...).
        steps: of `seed_steps`.
        stretch: of `group_stretch`.
    """
    mean = drawn.mean(1)
    if stretch is not None:
        centre = scores.mean(0)
        mean = centre + stretch.reshape(-1, *[1] * centre.ndim) * (mean - centre)
    if len(scores) == 1:
        return mean
    from_images = (drawn - scores).var(1, ddof=1).mean(0)  # (...): by how much networks differ through the images alone
    spread = scores.var(0, ddof=1)
    share = 1 - np.divide(from_images, spread, out=np.ones_like(spread), where=spread > 0)
    return mean + np.sqrt(np.maximum(share, 0)) * np.einsum("bs,s...->b...", steps, scores)


def wilson(hits: float, total: int) -> tuple[float, float]:
    """Wilson's 95 % score interval for the share of rows that are hits, rounded to whole rows."""
    return wilson_share(round(hits) / total, total)


def wilson_share(share: float, total: float) -> tuple[float, float]:
    """The same for a share of a number of rows that need not be whole (Wilson 1927)."""
    factor = 1 / (1 + Z**2 / total)
    half = factor * Z * np.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    centre = factor * (share + Z**2 / (2 * total))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if share == 0 else float(low)), (1.0 if share == 1 else float(high))


def share_interval(hits: np.ndarray, groups: np.ndarray | None) -> tuple[float, float]:
    """The 95 % interval of the share of rows that are hits: Wilson's on the effective number of rows.

    That number is the number of independent rows whose share would vary as much as over whole groups, with Student's t
    for few groups (Korn and Graubard 1998); the number of groups if none differs from another.

    Args:
        hits: bool (N,).
        groups: of each row (N,); None if rows are independent.
    """
    share, units = float(hits.mean()), unit_of_rows(groups)
    if units is None:
        return wilson(hits.sum(), len(hits))
    count = int(units.max()) + 1
    variance = count / (count - 1) * (np.bincount(units, hits - share) ** 2).sum() / len(hits) ** 2
    effective = min(share * (1 - share) / variance, len(hits)) if variance > 1e-15 else count
    return wilson_share(share, effective * (Z / float(student.ppf(0.975, group_freedom(units)))) ** 2)


def unpaired(first: Interval, other: Interval) -> Interval:
    """`first` minus `other`, of independent estimates: the distances to their bounds add up as squares.

    That is Newcombe's method 10 (1998), and keeps the coverage of both intervals also where they are lopsided.
    """
    gap = first.value - other.value
    low = gap - float(np.hypot(first.value - first.low, other.high - other.value))
    high = gap + float(np.hypot(first.high - first.value, other.value - other.low))
    return Interval(value=gap, low=low, high=high)


def interval(
    value: float,
    replicates: np.ndarray,
    *,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    reflect: bool = False,
    num_rows: int = 0,
) -> Interval:
    """The middle 95 % of the replicates, within the bounds that the score can take and extended to the estimate.

    The estimate can lie outside of the replicates' middle, mirrored or not, where resampling shifts the score by more
    than it varies.

    Args:
        value: the estimate.
        replicates: the estimate in each replicate (B,); NaN where the interval is not known.
        bounds: least and largest value possible.
        reflect: mirror the replicates at the estimate ("basic" bootstrap), which takes back the bias of a score that
            resampling inflates, such as a calibration error.
        num_rows: independent rows, or groups, behind a share. Without a single mistake every replicate is 1, which is
            not certainty: then the interval is Wilson's.
    """
    if np.isnan(replicates).any():
        return Interval(value=float(value), low=np.nan, high=np.nan)
    if num_rows and value in (0.0, 1.0) and np.ptp(replicates) < 1e-5:
        low, high = wilson(value * num_rows, num_rows)
        return Interval(value=float(value), low=max(0.0, low), high=min(1.0, high))
    low, high = np.quantile(replicates, (0.025, 0.975))
    if reflect:
        low, high = 2 * value - high, 2 * value - low
    low, high = np.clip((min(low, value), max(high, value)), *bounds)
    return Interval(value=float(value), low=float(low), high=float(high))
