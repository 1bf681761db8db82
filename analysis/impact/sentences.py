"""An effect in one sentence, whether the best trials agree with it, and what was verified by training."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from analysis.impact.effect import Effect
from analysis.studies.amounts import difference_text, difference_texts
from analysis.studies.parameters import Parameter, label
from analysis.studies.trials import Trials
from search.process.text import counted

NUM_TOP = 5
"""Best trials with which the direction of an effect is compared."""


def shown(parameter: Parameter, value: object) -> str:
    """A value in a sentence: a level, and a value of a grid, as it is; a real number with as many digits as it takes.

    A rounded number stays within the range, and moves by 1 % of it at most, on the scale on which it was drawn.
    """
    if not isinstance(value, float) or not parameter.numeric or parameter.levels or parameter.grid:
        return parameter.text(value)  # pyright: ignore[reportArgumentType]
    for digits in (2, 3):
        rounded = float(f"{value:.{digits}g}")
        ends = parameter.scale(np.array([parameter.low, parameter.high, value, rounded]))
        if parameter.low <= rounded <= parameter.high and abs(ends[3] - ends[2]) <= 0.01 * (ends[1] - ends[0]):
            return label(rounded)
    return label(value)


def opposed(effect: Effect, parameter: Parameter, trials: Trials) -> str:
    """How many of the best trials use the worse value, if most of them do."""
    if not effect.found:
        return ""
    used = trials.ranked.head(NUM_TOP)[f"params_{parameter.name}"].dropna()
    better, worse = effect.better, effect.worse
    if (effect.estimate * trials.sign) < 0:  # of an on/off parameter True is compared with False, even if it is worse
        better, worse = worse, better
    if parameter.levels:
        names = [parameter.text(int(value) if parameter.kind == "integer" else value) for value in used]
        count, where = names.count(worse), f"use {worse}"
    else:
        ends = parameter.scale(np.array([float(better), float(worse)]))
        at = parameter.scale(used)
        count, where = int((np.abs(at - ends[1]) < np.abs(at - ends[0])).sum()), f"are nearer to {worse}"
    if count < 2 or 2 * count <= len(used):
        return ""
    who = f"all {count}" if count == len(used) else f"{count} of the {len(used)}"
    return f"{who} best trials {where}"


def sentence(effect: Effect, trials: Trials) -> str:
    """The effect in words, with its interval, budget and number of trials."""
    trained = " trained to the end" if effect.budget == trials.full_epochs else ""
    where = f"after {counted(effect.budget, 'epoch')}, from {counted(effect.num_trials, 'trial')}{trained}"
    is_switch = {effect.better, effect.worse} == {"True", "False"}
    if not effect.found:
        size, low, high = difference_texts(trials, [effect.estimate, effect.low, effect.high])
        against = "" if is_switch else f"{effect.better} against {effect.worse}, "
        sign = "" if size.startswith("-") else "+"
        return f"{effect.parameter}: no effect found ({against}{sign}{size}{trials.unit} [{low}, {high}] {where})"
    better, worse = ("on", "off") if is_switch else (effect.better, effect.worse)
    if effect.estimate * trials.sign < 0:  # of an on/off hyperparameter, on is compared with off
        better, worse = worse, better
    ends = sorted(abs(end) for end in (effect.low, effect.high))  # both have the sign of the estimate
    size, low, high = difference_texts(trials, [abs(effect.estimate), *ends])
    but = f"; but {effect.opposed}" if effect.opposed else ""
    return f"{effect.parameter}: {better} is better than {worse} by {size}{trials.unit} [{low}, {high}] {where}{but}"


def verified(row: Mapping[Hashable, Any], trials: Trials) -> str:
    """What training with one change has shown; empty where no difference is clear and nothing failed.

    Args:
        row: of `analysis.impact.confirm.paired`.
    """
    failed = int(row["num_failed"])
    lost = f"{counted(failed, 'training')} with the change failed" if failed else ""
    if not row["num_seeds"]:
        return f"{row['flip']}: {lost or 'each training of the best configuration failed'}, so nothing can be compared"
    if not row["found"]:
        return f"{row['flip']}: no clear difference; {lost}" if lost else ""
    better = "the change" if row["worth"] < 0 else "the best configuration"
    size, *ends = (difference_text(trials, abs(row[name])) for name in ("worth", *_by_size(row)))
    more = f"; {lost}" if lost else ""
    seeds = f"{row['num_seeds']} paired seeds"
    return f"{row['flip']}: {better} is better by {size} [{ends[0]}, {ends[1]}], {seeds}{more}"


def _by_size(row: Mapping[Hashable, Any]) -> list[str]:
    return sorted(("low", "high"), key=lambda name: abs(row[name]))
