"""The scale on which a regression is trained, and the way back to the unit of the target.

    standard  z = (y - mean) / std
    log       z = (log(shift + y / unit) - mean) / std, for targets of at least 0
    quantile  z = the rank of y, as a number of a standard normal distribution

Metrics and predictions are always in the unit of the target. The mean of y on a bent scale is nearer to its median than
to its mean, and nothing is added to correct this: a network with `log` or `quantile` often has the smaller MAE and
RMSLE, and the larger RMSE. The metric of the search decides. Quantiles stay the same, so with `mae` and `pinball:Q`
the network learns the same quantity on every scale.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.models.embeddings import QuantileScale
from trainables.training.config import TargetScaling

MOST_GROWTH = 2.0
"""With `log`, no prediction exceeds the largest training target times this."""
WIDE = 1000.0
"""If the median is more than this many times the smallest target, or that is 0, log(1 + y / unit) replaces log(y)."""


class StandardTarget(nn.Module):
    """Zero mean and unit variance on the training rows."""

    def __init__(self, y: Tensor) -> None:
        super().__init__()
        self.mean, self.std = nn.Buffer(y.mean()), nn.Buffer(y.std(correction=0).clamp_min(torch.finfo(y.dtype).tiny))

    def forward(self, y: Tensor) -> Tensor:
        """Targets as the network learns them, float32."""
        return ((y - self.mean) / self.std).float()

    def to_units(self, outputs: Tensor) -> Tensor:
        """Outputs of the network as predictions, in the type of the targets."""
        return outputs.to(self.std.dtype) * self.std + self.mean


class LogTarget(nn.Module):
    """The logarithm of targets of at least 0, then zero mean and unit variance.

    If a target is 0 or very small, 1 is added first, in a unit of at most 1: the median of the positive targets. With
    `rmsle` the unit is 1, so that the squared error is that of the metric.
    """

    def __init__(self, y: Tensor, *, metric: str = "") -> None:
        super().__init__()
        self.shift, self.unit = _offset(y, metric=metric)
        bent = self._bend(y)
        exact = bent.double()  # of equal targets, the mean in float32 can differ from each of them
        self.mean, self.std = nn.Buffer(exact.mean().to(y.dtype)), nn.Buffer(_spread(exact).to(y.dtype))
        self.highest = float(self._bend(y.max() * MOST_GROWTH))

    def forward(self, y: Tensor) -> Tensor:
        return ((self._bend(y) - self.mean) / self.std).float()

    def to_units(self, outputs: Tensor) -> Tensor:
        bent = (outputs.to(self.std.dtype) * self.std + self.mean).clamp(max=self.highest)
        return self.unit * (torch.expm1(bent).clamp(min=0.0) if self.shift else torch.exp(bent))

    def _bend(self, y: Tensor) -> Tensor:
        return torch.log1p(y / self.unit) if self.shift else torch.log(y / self.unit)


class QuantileTarget(nn.Module):
    """Ranks as a normal distribution, by a curve of straight lines; no prediction leaves the range of the targets."""

    def __init__(self, y: Tensor) -> None:
        super().__init__()
        self.curve = QuantileScale(y.cpu().numpy()[:, None]).to(y.device)

    def forward(self, y: Tensor) -> Tensor:
        return self.curve(y[:, None])[:, 0]

    def to_units(self, outputs: Tensor) -> Tensor:
        knots, heights = self.curve.knots[0], self.curve.heights[0]
        flat = outputs.float().reshape(-1)
        if torch.compiler.is_exporting():  # ONNX has no searchsorted
            above = (flat[:, None] >= heights).sum(1)
        else:
            above = torch.searchsorted(heights, flat, right=True)
        above = above.clamp(1, len(knots) - 1)
        low, high = heights[above - 1], heights[above]
        share = ((flat - low) / (high - low).clamp_min(torch.finfo(torch.float32).tiny)).clamp(0.0, 1.0)
        return torch.lerp(knots[above - 1], knots[above], share.to(knots.dtype)).reshape(outputs.shape)


TargetScale = StandardTarget | LogTarget | QuantileTarget


def fit_scale(scaling: TargetScaling, y: Tensor, *, metric: str = "") -> TargetScale:
    """The scale of these training targets.

    Args:
        scaling: standard, log or quantile.
        y: targets (N,) in their unit, N at least 1.
        metric: that of the search.

    Raises:
        ValueError: a logarithm of a negative target is asked for.
    """
    if scaling == "standard":
        return StandardTarget(y)
    if scaling == "quantile":
        return QuantileTarget(y)
    if (lowest := float(y.min())) < 0:
        raise ValueError(f"target_scaling log needs targets of at least 0, got {lowest:g}; take standard or quantile")
    return LogTarget(y, metric=metric)


def as_stored(scale: TargetScale) -> dict[str, Any] | None:
    """The scale as plain values for model.json; None for `standard`, which its mean and spread describe."""
    if isinstance(scale, StandardTarget):
        return None
    if isinstance(scale, QuantileTarget):
        return {"kind": "quantile", "knots": scale.curve.knots[0].tolist(), "heights": scale.curve.heights[0].tolist()}
    numbers = {"shift": scale.shift, "unit": scale.unit, "highest": scale.highest}
    return {"kind": "log", "mean": scale.mean.item(), "std": scale.std.item(), **numbers}


def scale_from(stored: Mapping[str, Any], *, dtype: torch.dtype) -> TargetScale:
    """The scale that `as_stored` described, for targets of this type.

    Raises:
        ValueError: the values describe none.
    """
    try:
        return _SCALES[stored["kind"]](stored, dtype)
    except (KeyError, TypeError, OverflowError):
        raise ValueError(f"target_scale must describe a log or a quantile scale, got {str(stored)[:80]}") from None


def _log_from(stored: Mapping[str, Any], dtype: torch.dtype) -> LogTarget:
    scale = LogTarget(torch.ones(1, dtype=dtype))
    scale.shift, scale.unit, scale.highest = (_finite(stored[name]) for name in ("shift", "unit", "highest"))
    scale.mean.fill_(_finite(stored["mean"]))
    scale.std.fill_(_finite(stored["std"]))
    return scale


def _quantile_from(stored: Mapping[str, Any], dtype: torch.dtype) -> QuantileTarget:
    scale = QuantileTarget(torch.ones(1, dtype=dtype))
    knots, heights = (torch.tensor([_finite(one) for one in stored[name]]) for name in ("knots", "heights"))
    if not len(knots) == len(heights) > 1:
        raise TypeError
    knots = torch.tensor(stored["knots"], dtype=dtype)
    scale.curve.knots, scale.curve.heights = nn.Buffer(knots[None]), nn.Buffer(heights[None].float())
    return scale


_SCALES = {"log": _log_from, "quantile": _quantile_from}


def _offset(y: Tensor, *, metric: str) -> tuple[float, float]:
    """What is added before the logarithm, 0 or 1, and the unit of the targets."""
    if metric == "rmsle":
        return 1.0, 1.0
    lowest, median = float(y.min()), float(y.median())
    if lowest > 0 and median <= WIDE * lowest:
        return 0.0, 1.0
    positive = y[y > 0]
    return 1.0, min(1.0, float(positive.median())) if len(positive) else 1.0


def _spread(values: Tensor) -> Tensor:
    return values.std(correction=0).clamp_min(torch.finfo(torch.float32).tiny)


def _finite(value: Any) -> float:
    if not (isinstance(value, int | float) and math.isfinite(value)):
        raise TypeError
    return float(value)
