"""What the trials with each value of a hyperparameter came to, in a study whose trials cannot be trained again."""

from collections.abc import Sequence
from numbers import Real

import pandas as pd

from analysis.studies.parameters import texts
from analysis.studies.rows import COMPLETE, FAILED, INFEASIBLE, STOPPED, UNFINISHED
from analysis.studies.trials import Trials
from analysis.wording import one_line
from search.process.text import counted

MAX_LEVELS = 10
"""With more different values than these, single values say nothing."""
_OTHERS = {STOPPED: "stopped early", FAILED: "failed", INFEASIBLE: "exceeded a limit", UNFINISHED: "unfinished"}


def describe_levels(trials: Trials, names: Sequence[str]) -> list[str]:
    """A line for each value of these hyperparameters: the best, and how many trials were complete, stopped, failed.

    Raises:
        ValueError: the study has no such hyperparameter.
    """
    known = [parameter.name for parameter in trials.parameters]
    for name in names:
        if name not in known:
            raise ValueError(f"--question {name}: the study has no such parameter; it has {', '.join(sorted(known))}")
    return [line for name in names for line in _of_parameter(trials, name)]


def _of_parameter(trials: Trials, name: str) -> list[str]:
    column = trials.trials[f"params_{name}"].dropna()
    levels = sorted(column.unique(), key=_place)
    if len(levels) > MAX_LEVELS:
        return [one_line(f"{name}: {len(levels)} different values in {len(column)} trials, too many to compare")]
    said = texts(levels)
    return [one_line(f"{name} = {said(level)}: {_told(trials, column.index[column == level])}") for level in levels]


def _place(value: object) -> tuple[bool, float, str]:
    """Numbers by size, then words."""
    if isinstance(value, Real):
        return False, float(value), ""
    return True, 0.0, str(value)


def _told(trials: Trials, numbers: pd.Index) -> str:
    rows = trials.trials.loc[numbers]
    values = rows["value"][rows["state"] == COMPLETE].dropna()
    counts = rows["state"].value_counts()
    others = "".join(f", {counts[state]} {what}" for state, what in _OTHERS.items() if state in counts)
    if values.empty:
        return f"no complete trial{others}"
    best = values.max() if trials.sign > 0 else values.min()
    return f"best {best:.4g} of {counted(len(values), 'complete trial')}{others}"
