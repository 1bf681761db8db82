"""The model of learning curves, and the configurations that it proposes."""

import random

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial, FrozenTrial, TrialState, create_trial

from search.proposal import Chosen, identity, propose, spread
from search.surrogate import MAX_POINTS, Surrogate, _observations

RUNGS = (1, 3, 9)
X = FloatDistribution(0, 1)


def make(number: int, x: float, values: dict[int, float], **attrs: object) -> FrozenTrial:
    state = TrialState.FAIL if "failure_kind" in attrs else TrialState.RUNNING
    trial = create_trial(
        state=state, params={"x": x}, distributions={"x": X}, intermediate_values=values, user_attrs=attrs
    )
    trial.number = number
    return trial


def curve(x: float, epoch: int) -> float:
    """Large x starts slowly and ends best."""
    return x * epoch / 9 + (1 - x) * 0.3


def suggest(trial: BaseTrial) -> float:
    x = trial.suggest_float("x", 0, 1)
    return x + trial.suggest_int("y", 1, 100, log=True) if trial.suggest_categorical("deep", [True, False]) else x


def fit(trials: list[FrozenTrial], *, maximize: bool = True) -> Surrogate:
    return Surrogate(trials, rungs=RUNGS, maximize=maximize)


def test_a_slow_starter_is_known_by_its_kin():
    grown = [make(i, x, {e: curve(x, e) for e in RUNGS}) for i, x in enumerate([0.05, 0.2, 0.4, 0.6, 0.8, 0.95])]
    started = [make(10 + i, x, {1: curve(x, 1)}) for i, x in enumerate([0.1, 0.9])]
    assert started[1].intermediate_values[1] < started[0].intermediate_values[1]
    worth = fit([*grown, *started]).worth(started)
    assert worth[11] > worth[10]


def test_a_small_value_is_the_better_one_when_minimising():
    trials = [make(i, i / 11, {1: i / 11}) for i in range(12)]
    worth = fit(trials, maximize=False).worth(trials)
    assert worth[0] > worth[6] > worth[11]


def test_what_diverged_or_exceeds_its_bounds_is_the_worst():
    good = [make(i, i / 40, {1: 0.5}) for i in range(12)]
    diverged = [make(20 + i, 0.7 + i / 100, {1: 0.9}, failure_kind="diverged") for i in range(6)]
    infeasible = [make(30 + i, 0.9 + i / 100, {}, infeasible="too large") for i in range(6)]
    model = fit([*good, *diverged, *infeasible])
    assert {t.number for t in model.trials} == set(range(12))
    probes = [make(40, 0.15, {}), make(41, 0.72, {}), make(42, 0.92, {})]
    worth = model.worth(probes)
    assert worth[40] > max(worth[41], worth[42]) + 0.4


def test_a_failure_that_no_configuration_brings_about_teaches_nothing():
    good = [make(i, i / 12, {1: i / 12}) for i in range(12)]
    lost = make(12, 0.95, {1: 0.0}, failure_kind="lost worker")
    probe = [make(13, 0.95, {})]
    assert fit([*good, lost]).worth(probe) == fit(good).worth(probe)


def test_of_many_values_the_model_keeps_the_latest_and_best():
    trials = [make(i, i / 1000, {1: i / 1000, **({3: i / 500} if i >= 950 else {})}) for i in range(1000)]
    model = fit(trials)
    numbers = {t.number for t in model.trials}
    assert len(model._observed.epochs) == MAX_POINTS
    assert set(range(950, 1000)) <= numbers
    assert sum(number < 500 for number in numbers) > 20


def test_a_trial_without_a_parameter_is_told_from_one_with_it():
    distributions = {"deep": CategoricalDistribution([True, False]), "y": IntDistribution(1, 100, log=True)}
    trials = []
    for number in range(20):
        params = {"deep": True, "y": 1 + 5 * number} if number % 2 else {"deep": False}
        active = {name: distributions[name] for name in params}
        value = 0.5 if number % 2 else 0.2
        trial = create_trial(
            state=TrialState.RUNNING, params=params, distributions=active, intermediate_values={1: value}
        )
        trial.number = number
        trials.append(trial)
    worth = fit(trials).worth(trials)
    assert min(worth[n] for n in range(1, 20, 2)) > max(worth[n] for n in range(0, 20, 2))


def test_a_proposal_is_new_lies_where_it_promises_most_and_depends_on_the_seed_alone():
    trials = [make(i, x, {1: -((x - 0.3) ** 2)}) for i, x in enumerate([k / 19 for k in range(20)])]
    model, tried = fit(trials), {identity(t.params) for t in trials}

    def ask(trial: BaseTrial) -> float:
        return trial.suggest_float("x", 0, 1)

    proposals = [propose(ask, model, tried=tried, trial_seed=seed).params for seed in range(20)]
    assert proposals == [propose(ask, fit(trials), tried=tried, trial_seed=seed).params for seed in range(20)]
    assert all(identity(p) not in tried for p in proposals)
    assert sum(abs(p["x"] - 0.3) < 0.2 for p in proposals) >= 15
    assert len({p["x"] for p in proposals}) > 10, "workers that ask at once must get different answers"


def test_values_are_compared_at_equal_epochs_and_those_that_went_on_stay_better_than_the_others():
    late = [make(i, i / 40, {1: 0.5 + i / 100, **({3: 0.1 + i / 100} if i >= 8 else {})}) for i in range(12)]
    observed = _observations(late, rungs=RUNGS, maximize=True)
    first = {one.trial.number: one.score for one in observed if one.epoch == 1}
    third = {one.trial.number: one.score for one in observed if one.epoch == 3}
    assert sorted(first, key=first.__getitem__) == list(range(12))
    assert sorted(third, key=third.__getitem__) == [8, 9, 10, 11], "a smaller value than at epoch 1 means nothing"
    assert np.mean(list(third.values())) == pytest.approx(np.mean([first[n] for n in third]))


def test_a_space_with_nothing_new_or_a_failing_one_gets_no_proposal():
    trials = [make(i, i / 12, {1: i / 12}) for i in range(12)]
    everything = {identity({"n": n}) for n in range(3)}
    assert propose(lambda t: t.suggest_int("n", 0, 2), fit(trials), tried=everything, trial_seed=0) == ({}, 0)
    assert propose(lambda t: 1 / 0, fit(trials), tried=(), trial_seed=0) == ({}, 0)


def test_what_runs_now_is_taken_to_end_as_expected_so_that_less_is_gained_next_to_it():
    model = fit([make(i, x, {1: -((x - 0.3) ** 2)}) for i, x in enumerate([k / 19 for k in range(20)])])
    asked = [({"x": 0.31}, -1), ({"x": 0.6}, -2)]
    alone, beside = model.improvement(asked), model.improvement(asked, [({"x": 0.3}, 30)])
    assert alone[0] > alone[1]
    assert beside[0] < 0.9 * alone[0]
    assert beside[0] / alone[0] < 0.8 * beside[1] / alone[1]
    among = [({"x": x}, 30 + i) for i, x in enumerate([0.3, 0.3, 0.6])]
    assert (model.improvement(asked, among) <= beside + 1e-9).all()


def test_ten_first_trials_share_out_every_range_also_of_conditional_parameters():
    drawn = [spread(suggest, number=n, seed=5, trial_seed=100 + n) for n in range(20)]
    for ten in (drawn[:10], drawn[10:]):
        assert sorted(int(10 * d["x"]) for d in ten) == list(range(10))
        assert sum(d["deep"] for d in ten) == 5
    deep = [d["y"] for d in drawn if d["deep"]]
    assert all(1 <= y <= 100 for y in deep)
    assert min(deep) < 10 < max(deep)
    assert drawn != [spread(suggest, number=n, seed=6, trial_seed=100 + n) for n in range(20)]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_chosen_is_what_a_trial_gets(seed: int):
    study = optuna.create_study(sampler=Chosen({"x": 0.25, "deep": True, "y": 7}, seed=seed))
    trial = study.ask()
    suggest(trial)
    assert trial.params == {"x": 0.25, "deep": True, "y": 7}
    generator = random.Random(seed)
    study.sampler = Chosen({"x": generator.random()}, seed=seed)
    other = study.ask()
    suggest(other)
    assert other.params["x"] == random.Random(seed).random()
