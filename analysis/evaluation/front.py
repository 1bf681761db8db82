"""What the final evaluation says of a front: the test value of each of its configurations, with joint intervals."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from analysis.evaluation.job import Job
from analysis.scores.comparison import joint
from analysis.scores.metrics import Evaluation
from search.algorithms.front import front_trials
from search.storage.trials import epochs_reached, second_value
from spaces.second import unit_of


def with_front(job: Job, parts: Mapping[str, Any], found: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The parts of final.json with `joint` of those entrants that were on the front of the search.

    The front was chosen by validation values, and the test rows took no part in that, so their intervals need no
    correction for the choice. Nothing is added if fewer than two entrants were on the front.

    Args:
        parts: has `entrants` and `metric`.
        found: by the names of entrants.
    """
    run = job.run
    if run.second is None:
        return dict(parts)
    front = front_trials(run, job.study.get_trials(deepcopy=False))
    others = {trial.number: second_value(trial, run.second, epochs_reached(trial)) for trial in front}
    on_front = [e for e in parts["entrants"] if e.role != "augmented" and e.trial in others]
    evaluated = {e.name: found[e.name] for e in on_front}
    metric = parts["metric"]
    is_known = all(math.isfinite(float(one.scores[metric].mean())) for one in evaluated.values())
    if len(evaluated) < 2 or not is_known:
        return dict(parts)
    intervals = joint(evaluated, metric=metric, seed=run.seed)
    entrants = [
        replace(e, joint={**intervals[e.name].as_dict(), "second": others[e.trial]}) if e.name in intervals else e
        for e in parts["entrants"]
    ]
    unit = unit_of(run.second, built_in=bool(run.dataset))
    second = {"name": run.second.name, "direction": run.second.direction, **({"unit": unit} if unit else {})}
    return {**parts, "entrants": entrants, "second": second}
