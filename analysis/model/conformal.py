"""Conformal intervals: predictions with a range that holds the target of a new row with a stated probability.

    conformal = fit(predictions, y, parts)          # of rows that the predicting networks did not train on
    low, high = conformal.interval(new, level=0.95)

The residuals of n held-out rows, target minus prediction, are sorted. The interval of a new row goes from its
prediction plus the floor((n + 1) a / 2)-th residual to its prediction plus the ceil((n + 1)(1 - a / 2))-th, with
a = 1 - level. If the new row is drawn as the held-out rows were, it holds the target with at least this probability,
for every distribution of the errors (Vovk et al. 2005; Lei et al. 2018).

If rows come in groups and the new row is of a new group, each of the G groups counts equally: each residual of a group
with m rows has the weight 1 / (m (G + 1)), and 1 / (G + 1) is left for the new group at both ends (Lee et al. 2023,
arXiv:2306.06342). So 0.95 needs 39 groups.

Residuals are divided by their typical size at predictions of this size where that makes the intervals shorter.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from analysis.statistics.bootstrap import share_interval
from search.process.arguments import command

FILE = "conformal.safetensors"
_ROWS_PER_BIN, _MOST_BINS = 50, 10
_SMALLEST = 0.1
"""Least scale, as a share of the mean one: a bin without errors promises none for new rows."""
_SHORTER = 0.98
"""Intervals that vary with the prediction are used if their mean length is at most this share."""
_LEVEL = 0.9
"""Level at which the lengths are compared."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The typical size of an error by the size of the prediction; the same for all if there are no knots."""

    knots: np.ndarray
    sizes: np.ndarray

    @classmethod
    def none(cls) -> "Scale":
        """The same size for all predictions."""
        return cls(knots=np.zeros(0), sizes=np.zeros(0))

    def at(self, predictions: np.ndarray) -> np.ndarray:
        """The size of the error at each prediction: (N,)."""
        if not len(self.knots):
            return np.ones(len(predictions))
        return np.interp(predictions, self.knots, self.sizes)


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """What intervals are computed from."""

    residuals: np.ndarray
    """Of the held-out rows, divided by the scale and sorted: (n,)."""
    scale: Scale
    weights: np.ndarray | None = None
    """Of the residuals, (n,), if they come in groups; None for equal ones."""

    @property
    def count(self) -> int:
        """Held-out groups, or rows where each is on its own."""
        return len(self.residuals) if self.weights is None else round(1 / (1 - self.weights.sum())) - 1

    @property
    def largest_level(self) -> float:
        """The largest level that so many rows or groups allow."""
        return 1 - 2 / (self.count + 1)

    def check(self, level: float) -> None:
        """Raise ValueError unless there are enough rows for this level."""
        needed = math.ceil(round(2 / (1 - level) - 1, 6))
        if self.count < needed:
            what = "rows" if self.weights is None else "groups"
            raise ValueError(
                f"an interval of {level:g} needs {needed:,} held-out {what}, and this model has {self.count:,}; "
                f"use a level up to {math.floor(1000 * self.largest_level) / 1000:g}"
            )

    def interval(self, predictions: np.ndarray, *, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends (N,) in the unit of the target.

        Args:
            predictions: (N,) of the exported network.
            level: probability in (0, 1) with which the interval holds the target.

        Raises:
            ValueError: there are too few held-out rows for this level.
        """
        self.check(level)
        low, high = self._ends((1 - level) / 2)
        wide = np.asarray(predictions, np.float64)
        scale = self.scale.at(wide)
        return wide + low * scale, wide + high * scale

    def _ends(self, tail: float) -> tuple[float, float]:
        """The residuals below and above which new ones lie with at most this probability."""
        if self.weights is None:
            count = len(self.residuals) + 1
            low = self.residuals[max(0, math.floor(round(count * tail, 6)) - 1)]
            return low, self.residuals[min(count - 1, math.ceil(round(count * (1 - tail), 6))) - 1]
        left = tail - 1 / (self.count + 1) + 1e-9
        below, above = (np.cumsum(weights) - weights for weights in (self.weights, self.weights[::-1]))
        low, high = (max(1, int((masses <= left).sum())) for masses in (below, above))
        return self.residuals[low - 1], self.residuals[-high]

    def coverage(self, predictions: np.ndarray, y: np.ndarray, *, groups: np.ndarray | None = None) -> dict[str, Any]:
        """How often the interval held the targets of these rows, and how long it was.

        Args:
            groups: of each row (N,); None if rows are independent.

        Returns:
            `level` (0.95, or what the held-out rows allow), `coverage` with its 95 % interval `low` and `high`, the
            mean `length` in the unit of the target, and `rows`, the number of held-out rows.
        """
        level = min(0.95, math.floor(1000 * self.largest_level) / 1000)
        low, high = self.interval(predictions, level=level)
        inside = (low <= y) & (y <= high)
        least, most = share_interval(inside, groups)
        return {
            "level": level,
            "coverage": float(inside.mean()),
            "low": least,
            "high": most,
            "length": float((high - low).mean()),
            "rows": len(self.residuals),
        }

    def write(self, folder: Path) -> str:
        """Write the file into this folder, and return its sha256."""
        arrays = {"residuals": self.residuals, "knots": self.scale.knots, "sizes": self.scale.sizes}
        arrays |= {} if self.weights is None else {"weights": self.weights}
        data = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        (folder / FILE).write_bytes(data)
        return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The interval of one level."""

    conformal: Conformal
    level: float

    def of(self, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends (N,)."""
        return self.conformal.interval(predictions, level=self.level)


def read(folder: Path, facts: dict[str, Any]) -> Conformal:
    """The intervals of the model in this folder.

    Args:
        folder: with model.json.
        facts: the content of model.json.

    Raises:
        ValueError: the model has none, or their file is damaged or was changed.
    """
    stated, again = facts.get("conformal"), f"run the final evaluation again: {command('analysis.final')} RUN --again"
    if facts.get("task") != "regression":
        raise ValueError("--interval is for numbers, but this model predicts classes; use --probabilities")
    if not isinstance(stated, dict):
        raise ValueError(f"this model was exported without intervals; {again}")
    path = folder / FILE
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != stated.get("sha256"):
            raise ValueError(f"{path} was refused: it is damaged or was changed; {again}")
        arrays = safetensors.numpy.load(data)
        scale = Scale(knots=arrays["knots"], sizes=arrays["sizes"])
        return Conformal(residuals=arrays["residuals"], scale=scale, weights=arrays.get("weights"))
    except OSError:
        raise ValueError(f"{path} is missing; {again}") from None
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); {again}") from None


def fit(predictions: np.ndarray, y: np.ndarray, parts: np.ndarray, *, groups: np.ndarray | None = None) -> Conformal:
    """The intervals for new rows from rows that the predicting networks did not train on.

    Args:
        predictions: (n,) of these rows.
        y: their targets (n,).
        parts: the part of each row (n,), whole numbers: the scale of a row is fitted on the rows of other parts.
        groups: number of each row's group (n,), if new rows will be of new groups.
    """
    predictions, residuals = np.asarray(predictions, np.float64), np.asarray(y, np.float64) - predictions
    if len(np.unique(parts)) < 2:
        parts = (np.arange(len(residuals)) if groups is None else np.unique(groups, return_inverse=True)[1]) % 2
    plain = _sorted(residuals, Scale.none(), groups)
    scale = fit_scale(predictions, residuals)
    if not len(scale.knots):
        return plain
    sizes = np.empty(len(residuals))
    for part in np.unique(parts):
        others = parts != part
        sizes[~others] = fit_scale(predictions[others], residuals[others]).at(predictions[~others])
    scaled = _sorted(residuals / sizes, scale, groups)
    return scaled if _length(scaled, predictions) <= _SHORTER * _length(plain, predictions) else plain


def _sorted(residuals: np.ndarray, scale: Scale, groups: np.ndarray | None) -> Conformal:
    if groups is None:
        return Conformal(residuals=np.sort(residuals), scale=scale)
    order = np.argsort(residuals, kind="stable")
    _, places, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / (sizes[places] * (len(sizes) + 1))
    return Conformal(residuals=residuals[order], scale=scale, weights=weights[order])


def fit_scale(predictions: np.ndarray, residuals: np.ndarray) -> Scale:
    """Mean absolute residuals in bins of equally many predictions; no knots if there are too few rows."""
    bins = min(_MOST_BINS, len(residuals) // _ROWS_PER_BIN)
    mean = float(np.abs(residuals).mean()) if len(residuals) else 0.0
    if bins < 2 or mean == 0:
        return Scale.none()
    order = np.array_split(np.argsort(predictions, kind="stable"), bins)
    knots = np.array([predictions[rows].mean() for rows in order])
    sizes = np.array([np.abs(residuals[rows]).mean() for rows in order])
    if np.any(np.diff(knots) <= 0):  # most predictions are the same
        return Scale.none()
    return Scale(knots=knots, sizes=np.maximum(sizes, _SMALLEST * mean))


def _length(conformal: Conformal, predictions: np.ndarray) -> float:
    low, high = conformal.interval(predictions, level=min(_LEVEL, conformal.largest_level))
    return float((high - low).mean())
