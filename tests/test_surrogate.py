"""The model of learning curves, and the configurations that it proposes."""

import random
from itertools import pairwise

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import BaseTrial, FrozenTrial, TrialState, create_trial

from search.algorithms.candidates import NUM_ANYWHERE, NUM_MOVED, NUM_NEAR, Candidates, Chosen, identity, moved, spread
from search.algorithms.gaussian_process import Surrogate
from search.algorithms.kernel import Inputs
from search.algorithms.observations import MAX_POINTS, observations

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


def worth(model: Surrogate, trials: list[FrozenTrial]) -> dict[int, float]:
    """The expected value at the full budget, by number."""
    asked = model._at_full_budget([(trial.params, trial.number) for trial in trials])
    return dict(zip([trial.number for trial in trials], model._loadings(asked).T @ model._values, strict=True))


def test_a_slow_starter_is_known_by_its_kin():
    grown = [make(i, x, {e: curve(x, e) for e in RUNGS}) for i, x in enumerate([0.05, 0.2, 0.4, 0.6, 0.8, 0.95])]
    started = [make(10 + i, x, {1: curve(x, 1)}) for i, x in enumerate([0.1, 0.9])]
    assert started[1].intermediate_values[1] < started[0].intermediate_values[1]
    model = fit([*grown, *started])
    expected = worth(model, started)
    assert expected[11] > expected[10]
    found = worth(model, [*grown, *started])
    assert [t.number for t in model.most_promising(3)] == sorted(found, key=lambda number: -found[number])[:3]


def test_a_value_with_a_large_standard_error_counts_less():
    rng = np.random.default_rng(0)
    places = rng.random(40)
    errors = np.where(rng.random(40) < 0.5, 0.01, 0.6)

    def trials(known: bool) -> list[FrozenTrial]:
        values = places + np.random.default_rng(1).normal(size=40) * errors
        attrs = [
            {"history": [{"epoch": 1, "v": v, "v_se": e if known else 0.0}]}
            for v, e in zip(values, errors, strict=True)
        ]
        return [make(i, x, {1: v}, **a) for i, (x, v, a) in enumerate(zip(places, values, attrs, strict=True))]

    def model(known: bool) -> Surrogate:
        return Surrogate(trials(known), rungs=(1,), maximize=True, metric="v")

    probes = [make(100 + i, x, {}) for i, x in enumerate(np.linspace(0, 1, 21))]
    found = {known: np.corrcoef(list(worth(model(known), probes).values()), range(21))[0, 1] for known in (True, False)}
    assert found[True] > found[False]
    plain = fit(trials(True))
    assert np.array_equal(plain._factor, model(False)._factor), "without standard errors nothing changes"


def test_a_small_value_is_the_better_one_when_minimising():
    trials = [make(i, i / 11, {1: i / 11}) for i in range(12)]
    expected = worth(fit(trials, maximize=False), trials)
    assert expected[0] > expected[6] > expected[11]


def test_what_diverged_or_exceeds_its_bounds_is_the_worst():
    good = [make(i, i / 40, {1: 0.5}) for i in range(12)]
    diverged = [make(20 + i, 0.7 + i / 100, {1: 0.9}, failure_kind="diverged") for i in range(6)]
    infeasible = [make(30 + i, 0.9 + i / 100, {}, infeasible="too large") for i in range(6)]
    model = fit([*good, *diverged, *infeasible])
    assert {t.number for t in model.trials} == set(range(12))
    probes = [make(40, 0.15, {}), make(41, 0.72, {}), make(42, 0.92, {})]
    expected = worth(model, probes)
    assert expected[40] > max(expected[41], expected[42]) + 0.4


def test_a_failure_that_no_configuration_brings_about_teaches_nothing():
    good = [make(i, i / 12, {1: i / 12}) for i in range(12)]
    lost = make(12, 0.95, {1: 0.0}, failure_kind="lost worker")
    probe = [make(13, 0.95, {})]
    assert worth(fit([*good, lost]), probe) == worth(fit(good), probe)


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
    expected = worth(fit(trials), trials)
    assert min(expected[n] for n in range(1, 20, 2)) > max(expected[n] for n in range(0, 20, 2))


def test_candidates_are_new_come_from_anywhere_and_from_near_the_parents_and_depend_on_seed_and_parents_alone():
    first, second = (make(number, 0.5, {}, **{}) for number in (0, 1))
    first.params = {"x": 0.1, "deep": True, "y": 5}
    second.params = {"x": 0.9, "deep": True, "y": 50}
    tried = {identity(first.params), identity(second.params)}
    drawn = Candidates(suggest, seed=3).new([first, second], number=10, tried=tried, held={})
    assert drawn == Candidates(suggest, seed=3).new([first, second], number=10, tried=tried, held={})
    assert drawn != Candidates(suggest, seed=4).new([first, second], number=10, tried=tried, held={})
    again = Candidates(suggest, seed=3)
    again.new([second], number=9, tried=(), held={})
    assert again.new([first, second], number=10, tried=tried, held={}) == drawn, (
        "whoever was a parent before changes nothing"
    )
    assert not tried & {identity(params) for params in drawn}
    for parent in (first, second):
        shared = [sum(params.get(n) == v for n, v in parent.params.items()) for params in drawn]
        assert sum(count >= 1 for count in shared) >= NUM_NEAR - 2
        steps = [abs(params["x"] - parent.params["x"]) for params in drawn if params["deep"] == parent.params["deep"]]
        assert sum(0 < step < 0.1 for step in steps) >= NUM_MOVED / 4, "some are moved only a little"
    assert len({params["deep"] for params in drawn[:NUM_ANYWHERE]}) == 2
    assert max(p["x"] for p in drawn[:NUM_ANYWHERE]) - min(p["x"] for p in drawn[:NUM_ANYWHERE]) > 0.8


def test_candidates_change_little_from_trial_to_trial_and_all_within_five():
    parents = [make(number, 0.5, {}) for number in range(5)]
    for number, parent in enumerate(parents):
        parent.params = {"x": 0.1 + number / 7, "deep": True, "y": 5 + number}
    source = Candidates(suggest, seed=3)
    drawn = [{identity(one) for one in source.new(parents, number=n, tried=(), held={})} for n in range(40, 46)]
    assert all(len(before & after) > len(before) / 2 for before, after in pairwise(drawn))
    assert len(drawn[0] & drawn[5]) < len(drawn[0]) / 4, "other parents' and whole numbers can be drawn again"


def test_values_are_compared_at_equal_epochs_and_those_that_went_on_stay_better_than_the_others():
    late = [make(i, i / 40, {1: 0.5 + i / 100, **({3: 0.1 + i / 100} if i >= 8 else {})}) for i in range(12)]
    observed = observations(late, rungs=RUNGS, maximize=True)
    first = {one.trial.number: one.score for one in observed if one.epoch == 1}
    third = {one.trial.number: one.score for one in observed if one.epoch == 3}
    assert sorted(first, key=first.__getitem__) == list(range(12))
    assert sorted(third, key=third.__getitem__) == [8, 9, 10, 11], "a smaller value than at epoch 1 means nothing"
    assert np.mean(list(third.values())) == pytest.approx(np.mean([first[n] for n in third]))


def test_a_space_with_nothing_new_or_a_failing_one_has_no_candidates():
    everything = {identity({"n": n}) for n in range(3)}
    assert Candidates(lambda t: t.suggest_int("n", 0, 2), seed=0).new([], number=0, tried=everything, held={}) == []
    assert Candidates(lambda t: 1 / 0, seed=0).new([], number=0, tried=(), held={}) == []


def test_what_runs_now_is_taken_to_end_as_expected_so_that_less_is_gained_next_to_it():
    model = fit([make(i, x, {1: -((x - 0.3) ** 2)}) for i, x in enumerate([k / 9 for k in range(10)])])

    def gain(*running: float) -> np.ndarray:
        live = [({"x": x}, 30 + i) for i, x in enumerate(running)]
        return model.knowledge_gain([({"x": 0.28}, -1), ({"x": 0.6}, -2)], (9,), live)[:, 0]

    alone, beside = gain(), gain(0.28)
    assert alone[0] > alone[1]
    assert beside[0] / alone[0] < 0.8 * beside[1] / alone[1]
    asked = [({"x": 0.28}, -1), ({"x": 0.6}, -2)]
    alone, beside = model.improvement(asked), model.improvement(asked, [({"x": 0.28}, 30)])
    assert beside[0] < 0.9 * alone[0]
    among = [({"x": x}, 30 + i) for i, x in enumerate([0.28, 0.28, 0.6])]
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


@pytest.mark.parametrize("horizon", RUNGS)
@pytest.mark.parametrize("number", [-1, 2, 5], ids=["new", "paused", "leader"])
def test_the_gain_is_the_mean_rise_of_the_best_expected_score(number: int, horizon: int):
    places = [0.05, 0.2, 0.4, 0.6, 0.8, 0.95]
    model = fit([make(i, x, {1: curve(x, 1), **({3: curve(x, 3)} if i > 2 else {})}) for i, x in enumerate(places)])
    best, second = (trial.number for trial in model.most_promising(2))
    number = best if number == 5 else number
    x = 0.7 if number < 0 else places[number]
    rival = second if number == best else best
    ends = model._at_full_budget([({"x": x}, number), ({"x": places[rival]}, rival)])
    then = model._inputs([{"x": x}], np.array([horizon]), [number])
    points = Inputs(*(np.concatenate(pair) for pair in zip(ends, then, strict=True)))
    known = model._loadings(points)
    covariance = model._kernel.covariance(points, points) - known.T @ known
    means = (known.T @ model._values)[:2]
    draws = np.random.default_rng(0).standard_normal(400_000)
    change = covariance[:2, 2, None] / np.sqrt(covariance[2, 2] + model._noise) * draws
    rise = (means[:, None] + change).max(axis=0).mean() - means.max()
    assert model.knowledge_gain([({"x": x}, number)], (horizon,))[0, 0] == pytest.approx(rise, rel=0.02, abs=2e-4)


def test_a_twin_of_the_best_trial_promises_less_than_one_that_differs_from_it():
    model = fit([make(i, x, {e: curve(x, e) for e in RUNGS}) for i, x in enumerate([0.1, 0.3, 0.5, 0.7])])
    twin, other = model.knowledge_gain([({"x": 0.7}, -1), ({"x": 0.95}, -2)], (9,))[:, 0]
    assert twin < 0.5 * other


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


@pytest.mark.parametrize(
    "distribution",
    [X, FloatDistribution(1e-5, 1e-1, log=True), IntDistribution(1, 9), IntDistribution(8, 512, log=True)],
    ids=["float", "log", "int", "log int"],
)
def test_a_moved_value_stays_in_its_range_and_turns_back_at_its_ends(
    distribution: FloatDistribution | IntDistribution,
):
    for value in (distribution.low, distribution.high):
        for move in (-0.3, 0.0, 0.3, 2.0):
            found = moved(distribution, value, move)
            assert distribution.low <= found <= distribution.high
            assert distribution._contains(found)
        assert moved(distribution, value, -0.3) == pytest.approx(moved(distribution, value, 0.3), rel=0.3)
