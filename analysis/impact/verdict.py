"""Compares the best that can be found with each level of a parameter.

The best few configurations of each level are trained again on the same fresh seeds. Two things make the best of a level
uncertain. One is the seeds: the spread of a configuration over them. The other is the luck of the search, which may not
have met the best configuration. Near the best, values thin out about exponentially: of the values m1 > m2 > ..., the
spacings j (mj - mj+1) then all have the scale of that tail as their mean (Rényi 1953), and as many configurations again
would raise the best by ln 2 of it, which is the spacings' median. What is missing of a level is drawn from an
exponential distribution with a multiple of that median as its mean, the same for all levels. On recorded tables, where
the best of each level is known, intervals so made cover the true difference (`benchmarks/questions.py`). With more than
two levels, the intervals of the differences are widened so that all of them hold together (Bonferroni).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_DRAWS = 20_000
MISSED = 0.85
"""What the search has missed, on average, as a multiple of the median spacing."""
CONFIDENCE = 0.95
"""Of the intervals."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """The values of the configurations with one level."""

    level: Any
    values: np.ndarray
    """(configurations, seeds), larger is better; the same seeds for all."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best that can be found with one level."""

    level: Any
    found: float
    """The best configuration of those that were trained again: the mean over seeds, less the luck of being chosen."""
    low: float
    high: float
    """Interval of the value of the best configuration with this level, met by the search or not."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How much better the best with the leading level is than the best with another one."""

    level: Any
    difference: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0

    @property
    def half(self) -> float:
        """Half of the interval's width."""
        return (self.high - self.low) / 2


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The levels compared."""

    leader: Any
    """The level whose best is best, as far as is known."""
    levels: tuple[Best, ...]
    comparisons: tuple[Comparison, ...]
    """One with each other level; the intervals of all of them hold together."""

    def more(self, comparison: Comparison) -> float:
        """How many times the effort so far would decide a difference of this size: intervals shrink with its root."""
        return (comparison.half / max(abs(comparison.difference), 1e-12)) ** 2


def decide(levels: Sequence[Level], *, ceiling: float = math.inf, seed: int = 0) -> Verdict:
    """The best of each level, and the leading level against each other one.

    Args:
        levels: at least two, each with at least one configuration and two seeds.
        ceiling: no value can be larger.
        seed: of the draws behind the intervals.
    """
    rng = np.random.default_rng(seed)
    missed = MISSED * _spacing([level.values.mean(axis=1) for level in levels])
    means, draws = [], []
    for level in levels:
        best, drawn = _found(level.values, rng)
        means.append(best)
        drawn = drawn + missed * rng.exponential(size=NUM_DRAWS)
        draws.append(np.minimum(drawn, ceiling))
    tail = 50 * (1 - CONFIDENCE)
    shared = tail / (len(levels) - 1)  # Bonferroni: the more levels, the further ahead the best of equal ones
    middles = [float(np.median(drawn)) for drawn in draws]
    lead = int(np.argmax(middles))
    comparisons = []
    for place, level in enumerate(levels):
        if place != lead:
            low, middle, high = np.percentile(draws[lead] - draws[place], (shared, 50, 100 - shared)).tolist()
            comparisons.append(Comparison(level=level.level, difference=middle, low=low, high=high))
    bests = []
    for level, mean, drawn in zip(levels, means, draws, strict=True):
        low, high = np.percentile(drawn, (tail, 100 - tail)).tolist()
        bests.append(Best(level=level.level, found=mean, low=min(low, mean), high=high))
    return Verdict(leader=levels[lead].level, levels=tuple(bests), comparisons=tuple(comparisons))


def _found(values: np.ndarray, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """The true value of the best of these configurations: an estimate, and draws of it (NUM_DRAWS,).

    The best of several noisy means is too good, so each mean m_i over the seeds is shrunk towards their common mean:

        c_i = mean(m) + k (m_i - mean(m)),  k = spread / (spread + noise)

    with the variance `noise` of a mean over seeds and the variance `spread` of the true means. A draw adds the errors
    of the common mean and of c_i, scaled by Student's t with the degrees of freedom of `noise`.
    """
    count, seeds = values.shape
    means, freedom = values.mean(axis=1), count * (seeds - 1)
    noise = float(((values - means[:, None]) ** 2).sum()) / freedom / seeds + 1e-18
    spread = max(0.0, float(means.var(ddof=1)) - noise) if count > 1 else 0.0
    kept = spread / (spread + noise) if count > 1 else 1.0
    centres = means.mean() + kept * (means - means.mean())
    scale = np.sqrt(freedom / rng.chisquare(freedom, NUM_DRAWS))
    common = (1 - kept) * np.sqrt((spread + noise) / count) * rng.normal(size=(NUM_DRAWS, 1))
    own = np.sqrt(kept * noise) * rng.normal(size=(NUM_DRAWS, count))
    return float(centres.max()), (centres + scale[:, None] * (common + own)).max(axis=1)


def _spacing(levels: Sequence[np.ndarray]) -> float:
    """The median over all levels of j (mj - mj+1), largest first; 0 where no level has two."""
    spacings = []
    for means in levels:
        falls = -np.diff(np.sort(means)[::-1])
        spacings += (np.arange(1, len(means)) * falls).tolist()
    return float(np.median(spacings)) if spacings else 0.0
