"""Texts for values of the objective, their differences, and training time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis import wording
from analysis.studies.trials import Trials
from search.process.text import counted


def value_text(trials: Trials, number: float) -> str:
    """A value of the objective: 97.30 % or 0.482."""
    return f"{100 * number:.2f} %" if trials.points == 100 else f"{number:.4g}"


def difference_text(trials: Trials, number: float) -> str:
    """A difference of the objective: 0.30 points or 0.0021 RMSE."""
    return f"{number * trials.points:.2f}{trials.unit}" if trials.points == 100 else f"{number:.3g}{trials.unit}"


def difference_texts(trials: Trials, numbers: Sequence[float]) -> list[str]:
    """A difference and the ends of its interval, without the unit: as many decimals as the interval deserves.

    An end of an interval that excludes zero is not rounded to zero: 0.003, not 0.0.
    """
    scaled = [number * trials.points for number in numbers]
    width = max(scaled) - min(scaled)
    decimals = max(0, 1 - math.floor(math.log10(width))) if width > 0 and math.isfinite(width) else 2
    clear = min(scaled) > 0 or max(scaled) < 0
    return [_rounded(value, decimals, keep=clear) for value in scaled]


def _rounded(value: float, decimals: int, *, keep: bool) -> str:
    """The value with so many decimals, or with one digit if it would become zero and `keep` is set."""
    if keep and round(value, decimals) == 0:
        decimals = -math.floor(math.log10(abs(value)))
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"  # + 0.0: no minus zero


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What was trained in a study: trials that failed and repeats are included."""

    epochs: int
    seconds: float
    """Of training; that a trial lasted where its epochs have no times."""
    trials: int
    repeats: int
    """Trainings of a configuration again, beside those trials."""

    @property
    def said(self) -> str:
        """`9 epochs of 3 trials and 2 repeats`."""
        repeats = f" and {counted(self.repeats, 'repeat')}" if self.repeats else ""
        return f"{counted(self.epochs, 'epoch')} of {counted(self.trials, 'trial')}{repeats}"


def effort(trials: Trials) -> Effort:
    """Everything that was trained, as far as it is stored."""
    times = trials.epochs["seconds"].astype(float).groupby(trials.epochs["trial"]).sum()
    own = times.index.intersection(trials.trials.index)
    repeats = times.drop(own)
    return Effort(
        epochs=int(trials.epochs.groupby("trial")["epoch"].max().sum()),  # other programs report only some epochs
        seconds=float(trials.trials.loc[own, "seconds"].astype(float).sum() + repeats.sum()),
        trials=len(own),
        repeats=len(repeats),
    )


def cost(trials: Trials, machine: Mapping[str, Any] | None) -> tuple[str, str]:
    """The computing of the trials: the sum of their training times, with its unit and remarks.

    Args:
        machine: of the run, for the share of a GPU that a trial had.
    """
    trained = effort(trials)
    seconds, said = trained.seconds, trained.said
    if (lasted := busy_seconds(trials)) and lasted < 0.95 * seconds:
        said += f", several at once: {wording.spent(lasted)} in all"
    if machine and (share := machine.get("gpus_per_trial")):
        said += f"; {wording.computing(seconds / 3600, machine)} ({share:g} of a GPU for each trial)"
    return f"{wording.spent(seconds)} of training", said


def busy_seconds(trials: Trials) -> float:
    """How long at least one trial was training, in seconds; 0 where the epochs have no times."""
    spans = trials.epochs[["started", "seconds"]].apply(lambda column: column.astype(float)).dropna().to_numpy()
    if not len(spans):
        return 0.0
    spans = spans[np.argsort(spans[:, 0])]
    ends = np.maximum.accumulate(spans.sum(axis=1))
    idle = np.maximum(spans[1:, 0] - ends[:-1], 0).sum()
    return float(ends[-1] - spans[0, 0] - idle)
