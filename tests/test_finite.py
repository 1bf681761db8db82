"""Spaces with few configurations: all are listed, none is trained twice, and the search ends after the last one."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from search.algorithms.candidates import identity
from search.forecast.simulate import simulate
from search.scheduling.configurations import at_most, describe_few
from search.scheduling.constraints import Examination
from search.scheduling.messages import Leg
from search.storage.run import Planned
from spaces.finite import all_configurations
from spaces.levels import value_at
from spaces.space import Space
from tests.ledgers import make_run


def conditional(trial: Any) -> dict[str, Any]:
    """Two configurations without momentum, six with it."""
    found = {"opt": trial.suggest_categorical("opt", ["adam", "sgd"])}
    found["width"] = trial.suggest_int("width", 8, 24, step=16)
    if found["opt"] == "sgd":
        found["momentum"] = trial.suggest_float("momentum", 0.1, 0.5, step=0.2)
    return found


def several(trial: Any) -> list[int]:
    """Asks for one parameter twice; a number of layers with a width each, on a logarithmic scale."""
    depth = trial.suggest_int("depth", 1, 2)
    assert trial.suggest_int("depth", 1, 2) == depth
    return [trial.suggest_int(f"width_{place}", 1, 3, log=True) for place in range(depth)]


def test_every_configuration_is_listed_once_conditional_ones_too():
    found = all_configurations(conditional)
    assert found is not None
    assert [one.get("momentum") for one in found] == [None, None, 0.1, 0.1 + 0.2, 0.5, 0.1, 0.1 + 0.2, 0.5]
    assert [(one["opt"], one["width"]) for one in found[:3]] == [("adam", 8), ("adam", 24), ("sgd", 8)]
    assert len({identity(one) for one in found}) == 8
    widths = all_configurations(several)
    assert widths is not None
    assert len(widths) == len({identity(one) for one in widths}) == 3 + 9


@pytest.mark.parametrize(
    "suggest",
    [
        lambda trial: trial.suggest_float("x", 0, 1),
        lambda trial: trial.suggest_categorical("a", [1]) + trial.suggest_int("n", 1, 10**9),
        lambda trial: trial.suggest_float("x", 0, 1, step=1e-9),
        lambda trial: [trial.suggest_int(f"n_{place}", 0, 9) for place in range(4)],
        lambda trial: 1 / (trial.suggest_int("n", 0, 3) - 2),
    ],
)  # fmt: skip
def test_spaces_with_many_configurations_or_an_error_are_not_listed(suggest: Callable[[Any], Any]):
    assert all_configurations(suggest) is None


def test_a_listed_value_is_the_one_that_is_drawn():
    for low, high, step in ((0.1, 0.7, 0.1), (1e-3, 1.0, 0.111), (-3.0, 2.0, 0.25)):
        found = all_configurations(lambda trial, r=(low, high, step): trial.suggest_float("x", r[0], r[1], step=r[2]))
        assert found is not None
        drawn = {value_at(FloatDistribution(low, high, step=step), place / 999) for place in range(999)}
        assert drawn == {one["x"] for one in found}


class Widths:
    """The wider, the better; the first network leads until the others are trained longer."""

    def seconds(self, leg: Leg, epoch: int) -> float:
        return 1.0

    def value(self, leg: Leg, epoch: int) -> float:
        return float(leg.params["width"]) + leg.params.get("momentum", 0.0)


SPACE = Space(suggest=conditional, baseline={"opt": "adam", "width": 8}, dataset="d", epochs=9)


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("trials", [5, 12, 30])
def test_no_configuration_is_trained_twice_and_the_best_is_trained_to_the_end(trials: int, slots: int):
    run = make_run(sampler="curves", trials=trials, baseline=SPACE.baseline)
    found = simulate(run, SPACE, Widths(), slots=slots).trials
    assert len({identity(trial.params) for trial in found}) == len(found) == min(trials, 8)
    finished = [trial for trial in found if trial.state == TrialState.COMPLETE]
    best = max(found, key=lambda trial: trial.intermediate_values[1])
    assert best in finished
    assert len(finished) <= 4, "the baseline, one in three, and perhaps one that led before"


def test_fixed_parameters_make_a_space_smaller_and_other_samplers_and_questions_repeat():
    run = make_run(sampler="curves", trials=30, baseline=SPACE.baseline, fixed={"opt": "sgd"})
    assert at_most(run, SPACE).trials == 6
    assert len(simulate(run, SPACE, Widths(), slots=2).trials) == 6
    said = "the space has only 6 configurations: the search ends when all have been tried"
    assert describe_few(run, SPACE) == [said]
    assert describe_few(replace(run, trials=6), SPACE) == []
    assert at_most(replace(run, trials=5), SPACE).trials == 5
    by_chance = replace(run, sampler="random", fixed={})
    assert at_most(by_chance, SPACE) == by_chance
    assert len(simulate(by_chance, SPACE, Widths(), slots=2).trials) == 30


def test_a_search_of_which_most_configurations_are_too_large_ends_when_all_are_known():
    def examine(config: dict[str, Any]) -> Examination:
        return Examination(excess={"width": config["width"] - 8.0})

    run = make_run(sampler="curves", trials=30, baseline=SPACE.baseline)
    found = simulate(run, SPACE, Widths(), slots=2, examine=examine).trials
    assert [trial.params["width"] for trial in found] == [8] * 4
    assert len({identity(trial.params) for trial in found}) == 4


def test_a_fixed_parameter_that_only_some_configurations_have_leaves_the_others():
    run = make_run(sampler="curves", trials=30, baseline=SPACE.baseline, fixed={"momentum": 0.5})
    found = simulate(run, SPACE, Widths(), slots=2).trials
    assert Counter(trial.params["opt"] for trial in found) == {"adam": 2, "sgd": 2}
    assert at_most(run, SPACE).trials == 4


def stepped(trial: Any) -> dict[str, Any]:
    return {"width": 100 * trial.suggest_float("x", 0, 1, step=0.1)}


def test_a_stated_float_is_the_one_on_the_grid_up_to_rounding():
    space = Space(suggest=stepped, baseline={"x": 0.3}, dataset="d", epochs=9)
    plan = tuple(Planned(params={"x": x}, tag="try") for x in (0.3, 0.6, 0.7))

    class Steps(Widths):
        def value(self, leg: Leg, epoch: int) -> float:
            return float(leg.params["x"])

    found = simulate(make_run(sampler="curves", trials=30, plan=plan), space, Steps(), slots=1).trials
    assert sorted(round(10 * trial.params["x"]) for trial in found) == [*range(11)]
    assert at_most(make_run(sampler="curves", trials=30, fixed={"x": 0.3}), space).trials == 1


def odd(trial: Any) -> dict[str, Any]:
    return {"width": trial.suggest_int("width", 1, 3), "x": trial.suggest_categorical("x", [1, True, 2, None])}


def test_choices_that_python_calls_equal_are_one_as_for_optuna():
    space = Space(suggest=odd, baseline={"width": 1, "x": 1}, dataset="d", epochs=9)
    found = simulate(make_run(sampler="curves", trials=30, baseline=space.baseline), space, Widths(), slots=1).trials
    assert Counter(repr(trial.params["x"]) for trial in found) == {"1": 3, "2": 3, "None": 3}
    assert at_most(make_run(sampler="curves", trials=30), space).trials == 9


def test_a_space_that_is_tried_to_its_end_still_stops_weak_trials_early():
    def wide(trial: Any) -> dict[str, Any]:
        return {"width": trial.suggest_int("width", 1, 16)}

    space = Space(suggest=wide, baseline={"width": 1}, dataset="d", epochs=9)
    run = make_run(sampler="curves", trials=30, baseline=space.baseline)
    for seed in range(3):
        outcome = simulate(replace(run, seed=seed), space, Widths(), slots=1)
        assert len(outcome.trials) == 16
        assert sum(trial.state == TrialState.COMPLETE for trial in outcome.trials) <= 8
        assert outcome.num_epochs < 0.65 * 16 * 9
