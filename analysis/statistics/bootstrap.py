"""95 % intervals for scores of trained networks, over the test images and over the seeds of the training.

A score has two sources of chance: which images happen to be in the test set, and which seed a network was trained from.
Both levels are resampled in each replicate:

- the images with replacement, the same draw for every network, so that differences are paired on the images;
- the seeds by a random step of the mean over seeds. Five seeds are too few to be drawn with replacement (such intervals
  cover about 85 % instead of 95 %), so the step has the distribution of Student's t: with no noise from the images the
  interval is exactly mean ± t(S - 1) * s / sqrt(S).

The spread s of the seeds' scores is partly noise of the images too, where networks err on different ones. The draws of
the images show how much, and that part is taken out of the step, or it would count twice. In simulations with 2 to 10
seeds and all mixtures of the two kinds of noise the intervals cover the truth in 92 to 99 % of the cases. With one seed
only the images vary, and the interval says nothing about training again.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import binomtest

NUM_REPLICATES = 2000
CHUNK = 250
"""Replicates worked on at once: 250 x 10,000 images take 10 MB."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Plain values, for JSON."""
        return asdict(self)


def image_draws(num_rows: int, num_replicates: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each row is drawn, in chunks: float32 (CHUNK or fewer, N); every replicate sums to N."""
    for start in range(0, num_replicates, CHUNK):
        size = min(CHUNK, num_replicates - start)
        picked = random.integers(0, num_rows, (size, num_rows)) + num_rows * np.arange(size)[:, None]
        counts = np.bincount(picked.ravel(), minlength=size * num_rows)
        yield counts.reshape(size, num_rows).astype(np.float32)


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


def combine(scores: np.ndarray, drawn: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Replicates (B, ...) of the mean over seeds.

    Args:
        scores: of each seed's network on the rows as they are (S, ...).
        drawn: on the rows of each replicate (B, S, ...).
        steps: of `seed_steps`.
    """
    mean = drawn.mean(1)
    if len(scores) == 1:
        return mean
    from_images = (drawn - scores).var(1, ddof=1).mean(0)  # (...): by how much networks differ through the images alone
    spread = scores.var(0, ddof=1)
    share = 1 - np.divide(from_images, spread, out=np.ones_like(spread), where=spread > 0)
    return mean + np.sqrt(np.maximum(share, 0)) * np.einsum("bs,s...->b...", steps, scores)


def wilson(hits: float, total: int) -> tuple[float, float]:
    """Wilson's 95 % score interval for the share of rows that are hits, rounded to whole rows."""
    found = binomtest(round(hits), total).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


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
    """The middle 95 % of the replicates, within the bounds that the score can take.

    Args:
        value: the estimate.
        replicates: the estimate in each replicate (B,).
        bounds: least and largest value possible.
        reflect: mirror the replicates at the estimate ("basic" bootstrap), which takes back the bias of a score that
            resampling inflates, such as a calibration error.
        num_rows: rows behind a share. Without a single mistake every replicate is 1, which is not certainty: then the
            interval is Wilson's.
    """
    if num_rows and value in (0.0, 1.0) and np.ptp(replicates) < 1e-9:
        low, high = wilson(value * num_rows, num_rows)
        return Interval(value=float(value), low=max(0.0, low), high=min(1.0, high))
    low, high = np.quantile(replicates, (0.025, 0.975))
    if reflect:
        low, high = 2 * value - high, 2 * value - low
    return Interval(value=float(value), low=float(np.clip(low, *bounds)), high=float(np.clip(high, *bounds)))
