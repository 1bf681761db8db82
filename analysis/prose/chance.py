"""Warnings that a result may be no better than a constant prediction."""

from collections.abc import Mapping, Sequence

import numpy as np

from analysis import wording
from analysis.datasets.images import Described, Overview
from analysis.impact.impact import Confidence
from analysis.scores.constant import constant_error, constant_score
from analysis.studies.amounts import value_text
from analysis.studies.results import Entrant, FinalResults
from analysis.studies.trials import Trials
from spaces.objectives import metric_named
from trainables.training.quantile import quantile_in


def chance_of_test(results: FinalResults, winner: Entrant) -> list[str]:
    """A warning if the winner may be no better than a constant prediction."""
    scores, metric = winner.scores, results.metric
    metric = metric if metric in scores and constant_score(metric, np.ones(2)) is not None else "accuracy"
    if metric in scores and sum(results.support.values()):
        chance, found = constant_score(metric, np.array(list(results.support.values()))), scores[metric]
        less = metric_named(metric).less_is_better
        if chance is not None and (found["high"] >= chance if less else found["low"] <= chance):
            reached = wording.between(metric, found)
            better = found["value"] < chance if less else found["value"] > chance
            return [_no_better_than_chance(chance, "test", reached, metric=metric, better=better)]
    aims_at_mean = results.metric != "mae" and quantile_in(results.metric) is None
    if "r2" in scores and _lowest(scores["r2"]) <= 0 and aims_at_mean:
        reached = wording.between("r2", scores["r2"])
        start = _against(better=scores["r2"]["value"] > 0)
        return [f"{start} always predicting the mean of the target: R2 on the test set is {reached}."]
    return []


def _lowest(score: Mapping[str, float]) -> float:
    """The lower end of the interval; the value itself if there is none."""
    return score["low"] if wording.has_interval(score) else score["value"]


def _against(*, better: bool) -> str:
    """How a warning begins: the value itself may be better, and only its interval not."""
    return "Not shown to be better than" if better else "No better than"


def _no_better_than_chance(
    chance: float, rows: str, reached: str, *, metric: str = "accuracy", better: bool = False
) -> str:
    start = _against(better=better)
    if metric != "accuracy":
        name = wording.named(metric)
        least = f"{'an' if name[0] in 'AF' else 'a'} {name} of {wording.number(metric, chance)}"
        return f"{start} a constant prediction (chance), which has {least} on the {rows} rows: it is {reached}."
    return (
        f"{start} always predicting the most common class (chance), which is right in {chance:.1%} of the "
        f"{rows} rows: the accuracy is {reached}."
    ).replace("%", " %", 1)


def chance_of_search(trials: Trials, sure: Confidence, found: Described) -> Sequence[str]:
    chance = chance_level(trials.metric, found)
    if chance is None:
        return ()
    better, has_interval = trials.sign * sure.value > trials.sign * chance, np.isfinite(sure.low)
    if sure.low > chance if has_interval else better:
        return ()
    if trials.metric == "accuracy":
        interval = f" [{value_text(trials, sure.low)}, {value_text(trials, sure.high)}]" if has_interval else ""
        reached = f"{value_text(trials, sure.value)}{interval}"
        return (_no_better_than_chance(chance, "validation", reached, better=better),)
    least = value_text(trials, chance)
    if trials.metric == "rmse":
        return (f"No better than always predicting the mean of the target, which has an RMSE of about {least}.",)
    return (f"No better than a constant prediction, whose {wording.named(trials.metric)} is about {least}.",)


def chance_level(metric: str, found: Described) -> float | None:
    """What the best constant prediction reaches; None where that is not known.

    An accuracy is that on the validation rows if they are known, and everything else that on the training rows.
    """
    if isinstance(found, str):
        return None
    if isinstance(found, Overview):
        if metric != "accuracy":
            return constant_score(metric, found.counts["training"].to_numpy())
        if not found.num_validation:
            return None
        return float(found.counts["validation"].iloc[found.counts["training"].argmax()]) / found.num_validation
    y = found.train.y
    if found.classes:
        return constant_score(metric, np.bincount(y))
    return constant_error(metric, y)
