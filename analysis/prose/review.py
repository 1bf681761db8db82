"""Reviews the best trials of a search: what their curves and values show, and what to do about it.

A finding needs the agreement of most of the best trials, and a size well above the noise of their curves, which is
estimated from the differences of neighbouring epochs.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.prose.finding import Finding
from analysis.prose.ranges import edges, lonely, unexplored
from analysis.studies.amounts import difference_text
from analysis.studies.present import in_present_ranges
from analysis.studies.trials import Trials

NUM_TOP = 5
"""Best trials whose curves are reviewed."""
MIN_TOP = 3
"""Fewer complete trials are not reviewed."""
MIN_EPOCHS = 6
"""Shorter curves have no course to speak of."""
MIN_TRIALS = 20
"""With fewer trials ranges are not reviewed."""
_SURE = 3.0
"""Standard errors that a change along a curve must exceed."""


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """The validation values of one of the best trials, so that larger is better."""

    number: int
    values: np.ndarray
    noise: float
    """Standard deviation from epoch to epoch around the course of the curve."""

    @property
    def width(self) -> int:
        """Epochs of a moving average."""
        return max(2, round(len(self.values) / 6))

    @property
    def smooth(self) -> np.ndarray:
        """Moving averages over `width` epochs; the last one ends at the last epoch."""
        return np.convolve(self.values, np.ones(self.width) / self.width, mode="valid")

    @property
    def error(self) -> float:
        """Standard error of a difference of two means that share no epoch."""
        return self.noise * math.sqrt(2 / self.width)

    @property
    def best_epoch(self) -> int:
        """The epoch in the middle of the best average."""
        return int(np.argmax(self.smooth)) + (self.width + 1) // 2


def review(
    trials: Trials,
    *,
    resume: str = "",
    held: Collection[str] = (),
    bounds: Mapping[str, str] | None = None,
) -> list[Finding]:
    """What the best trials show, the most important first; empty where nothing is wrong or too little is known.

    Of the range of a hyperparameter there is one finding at most, so that no advice contradicts another.

    Args:
        resume: the command that continues the search, without a number of trials; empty if there is none.
        held: hyperparameters whose values the search was given, by --fix or --question.
        bounds: of the search, each cost with its option: {"macs": "--max-macs 11M"}.
    """
    found: list[Finding] = []
    curves = _curves(trials)
    if len(curves) >= MIN_TOP:
        ends: Sequence[Callable[[Trials, list[_Curve]], Iterator[Finding]]] = (_overfitting, _course, _noisy)
        for look in ends:
            found += look(trials, curves)
    if len(trials.complete) >= MIN_TOP and len(trials.measured) >= MIN_TRIALS:
        noise = max((curve.noise for curve in curves), default=math.inf)
        present = in_present_ranges(trials)
        free = [parameter for parameter in present.parameters if parameter.name not in held]
        at_edges = [*edges(present, free, plain=not resume, bounds=bounds)]
        others = [parameter for parameter in free if parameter.name not in {one.parameter for one in at_edges}]
        found += [
            *at_edges,
            *lonely(trials, noise=noise, resume=resume),
            *unexplored(present, others, bounds=bounds),
        ]
    return found


def _top(trials: Trials) -> pd.DataFrame:
    """The best complete trials, the best first."""
    return trials.ranked.head(NUM_TOP)


def _curves(trials: Trials) -> list[_Curve]:
    """The curves of the best trials that have a value after every epoch."""
    found, rows = [], trials.epochs.groupby("trial")["value"]
    for number in _top(trials)["number"] if trials.full_epochs >= MIN_EPOCHS else ():
        values = trials.sign * rows.get_group(number).to_numpy(dtype=float)
        if len(values) == trials.full_epochs and np.isfinite(values).all():
            found.append(_Curve(number=int(number), values=values, noise=_noise(values)))
    return found


def _noise(values: np.ndarray) -> float:
    """Noise of a curve, from the second differences of its last two thirds: near zero for a smooth curve."""
    bends = np.diff(values[len(values) // 3 :], n=2)
    return float(np.median(np.abs(bends)) / 0.6745 / math.sqrt(6)) if len(bends) else 0.0


def _most(hits: Sequence[Any], curves: Sequence[Any]) -> bool:
    return len(hits) >= max(MIN_TOP, math.ceil(0.6 * len(curves)))


def _who(hits: Sequence[Any], curves: Sequence[Any]) -> str:
    return f"All {len(hits)}" if len(hits) == len(curves) else f"{len(hits)} of the {len(curves)}"


def _course(trials: Trials, curves: list[_Curve]) -> Iterator[Finding]:
    """Curves that were better before the end, or that still rise there."""
    full = trials.full_epochs
    worse = [c for c in curves if c.best_epoch <= 0.75 * full and c.smooth.max() - c.smooth[-1] > _SURE * c.error]
    if _most(worse, curves):
        epoch = int(np.median([c.best_epoch for c in worse]))
        loss = difference_text(trials, float(np.median([c.smooth.max() - c.smooth[-1] for c in worse])))
        yield Finding(
            kind="worse_at_the_end",
            sentence=f"{_who(worse, curves)} best trials got worse before the end: they were best around "
            f"epoch {epoch} of {full} and lost {loss} by the last one.",
            advice=f"Use fewer epochs: --max-epochs {epoch}.",
        )
        return
    rising = [c for c in curves if _gain(c) > max(_SURE * c.error, 0.01 * _scale(trials, c))]
    if _most(rising, curves):
        gain = difference_text(trials, float(np.median([_gain(c) for c in rising])))
        yield Finding(
            kind="still_improving",
            sentence=f"{_who(rising, curves)} best trials were still improving at the end, by {gain} over "
            f"the last {rising[0].width} epochs.",
            advice=f"Train longer: --max-epochs {2 * full}. (A learning rate that falls to zero causes part of it.)",
        )


def _gain(curve: _Curve) -> float:
    return float(curve.smooth[-1] - curve.smooth[-1 - curve.width])


def _scale(trials: Trials, curve: _Curve) -> float:
    """The scale of a change: the remaining error of a share, else the value."""
    value = float(curve.smooth[-1])
    return max(1 - value, 0.02) * 5 if trials.points == 100 else abs(value)


def _overfitting(trials: Trials, curves: list[_Curve]) -> Iterator[Finding]:
    """Validation losses that rise while the training losses fall."""
    if not {"loss", "train_loss"} <= set(trials.epochs.columns):
        return
    rows, since = trials.epochs.groupby("trial")[["loss", "train_loss"]], []
    for curve in curves:
        pair = rows.get_group(curve.number).astype(float).to_numpy()
        if np.isnan(pair).any():
            continue
        held, fitted = (_Curve(number=curve.number, values=-column, noise=_noise(column)) for column in pair.T)
        lowest = held.best_epoch
        rise = float(held.smooth.max() - held.smooth[-1])
        falls = fitted.smooth[-1] - fitted.smooth[int(np.argmax(held.smooth))] > _SURE * fitted.error
        if lowest <= 0.75 * len(pair) and rise > max(_SURE * held.error, 0.05 * abs(held.smooth.max())) and falls:
            since.append(lowest)
    if _most(since, curves):
        yield Finding(
            kind="overfitting",
            sentence=f"{_who(since, curves)} best trials overfit: from around epoch "
            f"{int(np.median(since))} of {trials.full_epochs} on the validation loss rises while the training loss "
            f"falls.",
            advice=_against_overfitting(int(np.median(since)), trials),
        )


def _against_overfitting(epoch: int, trials: Trials) -> str:
    more = "Regularise more (dropout, weight decay, augmentation)"
    if trials.keeps_best:
        return (
            "Each trial keeps its best epoch, so the later epochs cost only time; --max-epochs saves some of it."
            f" {more}, or get more data."
        )
    return f"{more}, get more data, or use fewer epochs: --max-epochs {epoch}."


def _noisy(trials: Trials, curves: list[_Curve]) -> Iterator[Finding]:
    """Values that change as much from epoch to epoch as between trials."""
    values = trials.complete["value"].dropna()
    noise, spread = float(np.median([c.noise for c in curves])), float(values.std())
    average = ", average the weights (ema_decay)" * any(one.name == "ema_decay" for one in trials.parameters)
    if len(values) >= NUM_TOP and noise > 0.7 * spread > 0:
        yield Finding(
            kind="noisy",
            sentence=f"The values are noisy: those of the best trials change by {difference_text(trials, noise)} from "
            f"epoch to epoch, the complete trials differ by {difference_text(trials, spread)} (standard deviations).",
            advice=f"The order of the best trials is mostly chance. Use more validation rows{average}, train the best "
            "ones again (--resume --repeats 3), or compare several in the final evaluation with more --seeds.",
        )
