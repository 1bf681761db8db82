"""An effect in one sentence, and whether the best trials agree with it."""

import numpy as np

from analysis.impact.effect import Effect
from analysis.studies.amounts import difference_texts
from analysis.studies.parameters import Parameter, label
from analysis.studies.trials import Trials
from search.process.text import counted

NUM_TOP = 5
"""Best trials with which the direction of an effect is compared."""


def opposed(effect: Effect, parameter: Parameter, trials: Trials) -> str:
    """How many of the best trials use the worse value, if most of them do."""
    if not effect.found:
        return ""
    ranked = (trials.sign * trials.complete["value"].dropna()).nlargest(NUM_TOP).index
    used = trials.complete.loc[ranked, f"params_{parameter.name}"].dropna()
    better, worse = effect.better, effect.worse
    if (effect.estimate * trials.sign) < 0:  # of an on/off parameter True is compared with False, even if it is worse
        better, worse = worse, better
    if parameter.levels:
        names = [label(int(value)) if parameter.kind == "integer" else label(value) for value in used]
        count, where = names.count(worse), f"use {worse}"
    else:
        ends = parameter.scale(np.array([float(better), float(worse)]))
        at = parameter.scale(used)
        count, where = int((np.abs(at - ends[1]) < np.abs(at - ends[0])).sum()), f"are nearer to {worse}"
    if count < 2 or 2 * count <= len(used):
        return ""
    return f"{count} of the {len(used)} best trials {where}"


def sentence(effect: Effect, trials: Trials) -> str:
    """The effect in words, with its interval, budget and number of trials."""
    size, low, high = difference_texts(trials, [effect.estimate, effect.low, effect.high])
    amount = f"{'' if size.startswith('-') else '+'}{size}{trials.unit}"
    if effect.found and effect.estimate * trials.sign < 0:  # of an on/off hyperparameter, on is compared with off
        amount = f"on is worse, {amount}"
    interval = f"[{low}, {high}]"
    against = "" if {effect.better, effect.worse} == {"True", "False"} else f"{effect.better} against {effect.worse}, "
    trained = " trained to the end" if effect.budget == trials.full_epochs else ""
    where = f"after {counted(effect.budget, 'epoch')}, from {counted(effect.num_trials, 'trial')}{trained}"
    if not effect.found:
        return f"{effect.parameter}: no effect found ({against}{amount} {interval} {where})"
    but = f"; but {effect.opposed}" if effect.opposed else ""
    return f"{effect.parameter}: {against}{amount} {interval} {where}{but}"
