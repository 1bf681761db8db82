"""The values, the reasons and the units that the report's sentences on effects have."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from analysis.impact.across import contrasts
from analysis.impact.effect import Effect
from analysis.impact.effects import full_effects
from analysis.impact.forest import Quality, fit_surrogate
from analysis.impact.importance import Importance, fanova
from analysis.impact.interactions import interactions
from analysis.impact.sentences import shown
from analysis.studies.parameters import Parameter
from analysis.studies.trials import Trials, read_trials

SMOOTHING = FloatDistribution(0.0, 0.2, step=0.05)
DECAY = CategoricalDistribution((0.0, 0.99, 0.998))


class _Run:
    """As much of a run as reading its trials takes."""

    epochs, rungs, metric, baseline = 1, (1,), "accuracy", None


def study(distributions: dict[str, BaseDistribution], drawn: list[dict[str, Any]], values: list[float]) -> Trials:
    found = optuna.create_study(direction="maximize")
    for params, value in zip(drawn, values, strict=True):
        kept = {name: distributions[name] for name in params}
        found.add_trial(create_trial(params=params, distributions=kept, value=value, intermediate_values={1: value}))
    return read_trials(found, _Run())


def smoothed(count: int = 60) -> Trials:
    """Trials in which less label smoothing and a slower average are better."""
    random = np.random.default_rng(0)
    drawn = [
        {"label_smoothing": [0.0, 0.05, 0.1, 0.15, 0.2][k % 5], "ema_decay": (0.0, 0.99, 0.998)[k % 3]}
        for k in range(count)
    ]
    values = [0.9 - p["label_smoothing"] - 0.2 * (p["ema_decay"] == 0.998) for p in drawn]
    noisy = [value + 0.002 * random.standard_normal() for value in values]
    return study({"label_smoothing": SMOOTHING, "ema_decay": DECAY}, drawn, noisy)


def effect_of(name: str, effects: list[Effect]) -> Effect:
    return next(effect for effect in effects if effect.parameter == name)


def test_an_effect_names_values_of_the_grid_and_levels_as_they_are():
    effects = full_effects(smoothed(), bootstraps=40)
    smoothing, decay = (effect_of(name, effects) for name in ("label_smoothing", "ema_decay"))
    assert smoothing.sentence.startswith("label_smoothing: 0 is better than 0.2 by ")
    assert smoothing.curve is not None
    assert list(smoothing.curve["x"]) == [0.0, 0.05, 0.1, 0.15, 0.2]
    assert decay.worse == "0.998"
    assert " is better than 0.998 by " in decay.sentence


def test_best_trials_that_use_a_level_of_three_digits_are_matched():
    trials = smoothed()
    last = trials.trials["value"] + 0.5 * trials.trials["number"].isin([2, 5, 8, 11, 14])  # the best five use 0.998
    trials = replace(trials, trials=trials.trials.assign(value=last))
    decay = effect_of("ema_decay", full_effects(trials, bootstraps=40))
    assert decay.opposed == "all 5 best trials use 0.998"


def test_a_value_of_a_grid_that_was_never_tried_is_not_compared():
    drawn = [{"label_smoothing": [0.0, 0.05, 0.1, 0.2][k % 4]} for k in range(40)]
    values = [0.9 - (p["label_smoothing"] - 0.15) ** 2 + 0.0001 * (k % 3) for k, p in enumerate(drawn)]
    effect = full_effects(study({"label_smoothing": SMOOTHING}, drawn, values), bootstraps=40)[0]
    assert effect.curve is not None
    assert list(effect.curve["x"]) == [0.0, 0.05, 0.1, 0.2]


@pytest.mark.parametrize(
    ("parameter", "value", "text"),
    [
        (Parameter(name="m", kind="real", low=0.8, high=0.98), 0.9751, "0.975"),
        (Parameter(name="m", kind="real", low=0.9, high=0.9999), 0.99812, "0.998"),
        (Parameter(name="lr", kind="real", low=1e-4, high=1.0, log=True), 0.012689, "0.013"),
        (Parameter(name="lr", kind="real", low=0.1, high=0.96, log=True), 0.9599, "0.96"),
        (Parameter(name="x", kind="real", low=0.0, high=0.3, step=0.025), 0.125, "0.125"),
        (Parameter(name="e", kind="categorical", choices=(0.0, 0.998)), 0.998, "0.998"),
        (Parameter(name="n", kind="integer", low=16, high=256, log=True), 125.0, "125"),
    ],
)
def test_a_value_has_as_many_digits_as_it_takes(parameter: Parameter, value: float, text: str):
    assert shown(parameter, value) == text


def test_runs_are_compared_at_values_of_the_grid():
    found = [full_effects(smoothed(count), bootstraps=40) for count in (60, 75)]
    parameters = [smoothed().parameters] * 2
    (smoothing, *_) = [c for c in contrasts(found, parameters, sign=1, same_unit=True) if "label" in c.parameter]
    assert (smoothing.better, smoothing.worse) == ("0", "0.2")


def test_changes_of_an_interaction_go_from_one_value_of_the_grid_to_another():
    random = np.random.default_rng(0)
    drawn = [
        {"a": [0.0, 0.05, 0.1, 0.15, 0.2][random.integers(5)], "b": int(random.integers(10, 20))} for _ in range(83)
    ]
    values = [0.5 + 0.1 * p["a"] + math.log(p["b"]) / 10 for p in drawn]
    table = interactions(study({"a": SMOOTHING, "b": IntDistribution(10, 19)}, drawn, values))
    grid = {f"{value:g}" for value in (0, 0.05, 0.1, 0.15, 0.2)}
    assert set(table["first_change"].iloc[0].split(" to ")) <= grid


def test_a_hyperparameter_that_cannot_be_judged_says_what_is_lacking():
    distributions: dict[str, BaseDistribution] = {
        "optimizer": CategoricalDistribution(("sgd", "adamw", "lion")),
        "lr": FloatDistribution(1e-3, 1.0, log=True),
        "norm": CategoricalDistribution((True,)),
        "activation": CategoricalDistribution(tuple("abcd")),
    }
    drawn = [
        {
            "optimizer": ("sgd", "adamw", "lion")[(k > 18) + (k > 21)],
            "lr": 0.1 if k < 16 else 0.01 * k / 10,
            "norm": True,
            "activation": "abcd"[k % 4],
        }
        for k in range(23)
    ]
    effects = full_effects(study(distributions, drawn, [0.5 + k / 100 for k in range(23)]), bootstraps=40)
    assert {effect.parameter: effect.lacking for effect in effects} == {
        "optimizer": "only 3 trials used adamw, 1 trial used lion",
        "lr": "16 of 23 trials used 0.1",
        "norm": "it never varied",
        "activation": "23 trials, at least 30 are needed for its 4 values",
    }
    assert effects[0].sentence == f"{effects[0].parameter}: not enough data ({effects[0].lacking})"


def shares(*rows: tuple[str, float, float, float, float]) -> Importance:
    table = pd.DataFrame(rows, columns=pd.Index(["parameter", "importance", "low", "high", "noise"]))
    return Importance(evaluator="x", budget=3, projected=True, num_trials=24, table=table)


def test_an_importance_that_ties_with_noise_or_is_next_to_nothing_is_noise():
    found = shares(
        ("alpha", 0.8896, 0.37, 1, 0.88959),
        ("lr", 0.1, 0.05, 0.2, 0.02),
        ("depth", 0.0009, 0, 0.1, 0.0),
        ("norm", 1.9e-27, 0, 0, 0.0),
    )
    assert list(found.above_noise["parameter"]) == ["lr"]
    assert found.noise_names == ["alpha", "depth", "norm"]


def test_a_share_of_variance_is_at_most_one():
    random = np.random.default_rng(0)
    drawn = [{"lr": float(random.random()), "other": float(random.random())} for _ in range(60)]
    distributions: dict[str, BaseDistribution] = {"lr": FloatDistribution(0, 1), "other": FloatDistribution(0, 1)}
    trials = study(distributions, drawn, [0.9 if p["lr"] > 0.5 else 0.1 for p in drawn])
    surrogate = fit_surrogate(trials)
    assert surrogate is not None
    table = fanova(surrogate).table
    assert table["importance"].iloc[0] > 0.9
    assert table[["importance", "low", "high"]].to_numpy().max() <= 1


def test_a_surrogate_that_predicts_nothing_says_that_its_figures_are_left_out():
    said = Quality(r2=-0.57, rank_correlation=0.1, num_trials=30).verdict
    assert said == (
        "The surrogate does not predict trials it has not seen (cross-validated by trial: R2 -0.57, rank correlation "
        "0.10), so its figures are left out."
    )
