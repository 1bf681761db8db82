"""What the default sampler says of a free slot: a paused trial, or which configuration."""

import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from search.algorithms.candidates import spread
from search.algorithms.optuna_samplers import NUM_STARTUP_TRIALS
from search.forecast.simulate import simulate
from search.scheduling.constraints import Examination
from search.scheduling.messages import Leg
from search.scheduling.proposals import Proposals
from search.storage.requests import BY_REQUEST
from search.storage.run import Planned
from spaces.space import Space
from tests.ledgers import make_run, open_proposals, report

X = FloatDistribution(0, 1)


def suggest(trial: Any) -> float:
    return trial.suggest_float("x", 0, 1)


def add(proposals: Proposals, x: float, values: dict[int, float]) -> int:
    number = proposals.ledger.add({"x": x}, {"x": X})
    for epoch, value in values.items():
        report(proposals, number, epoch=epoch, value=value)
    return number


def make_proposals(folder: Path, *, sampler: str = "curves", count: int = 12) -> Proposals:
    """The better, the larger x; the first trial is trained to the end, and good."""
    proposals = open_proposals(folder, make_run(sampler=sampler))
    add(proposals, 0.5, dict.fromkeys((1, 3, 9), 0.5))
    for i in range(1, count):
        add(proposals, i / 20, {1: i / 20})
    return proposals


def test_before_enough_is_known_configurations_lie_anywhere_and_the_best_of_a_rung_go_on(tmp_path: Path):
    proposals = make_proposals(tmp_path, count=NUM_STARTUP_TRIALS - 1)
    paused = range(1, NUM_STARTUP_TRIALS - 1)
    assert proposals.promotion(suggest, paused, live=()) == proposals.rungs.promotion(paused) == paused[-1]
    number = proposals.sample(suggest, lambda _: Examination(), live=())
    assert number == NUM_STARTUP_TRIALS - 1
    stored = proposals.ledger.trial(number)
    seed = stored.user_attrs["seed"]
    assert stored.params == spread(suggest, number=number, seed=3, trial_seed=seed)


def nothing_new(trial: Any) -> float:
    return trial.suggest_float("x", 0.5, 0.5)


def test_the_paused_trial_that_teaches_most_goes_on_unless_a_new_one_teaches_more(tmp_path: Path):
    for space, expected in ((nothing_new, 12), (suggest, None)):  # a look between 0.55 and 0.95 costs an epoch
        (folder := tmp_path / space.__name__).mkdir()
        proposals = make_proposals(folder)
        good, poor = add(proposals, 0.95, {1: 0.95}), add(proposals, 0.02, {1: 0.02})
        assert proposals.promotion(space, {good, poor, 3}, live=()) == expected
        assert proposals.promotion(space, (), live=()) is None


def test_at_the_end_the_most_promising_go_on_until_a_third_is_trained_to_the_end(tmp_path: Path):
    proposals = make_proposals(tmp_path)
    early, late = add(proposals, 0.9, {1: 0.9}), add(proposals, 0.9, {1: 0.9, 3: 0.9})
    paused = set(range(1, 14))
    assert proposals.ending.promotion(paused, live=(), is_over=False) == late, "of two equal ones that with less to go"
    assert proposals.ending.promotion(paused - {late}, live={late}, is_over=False) == early
    for number in (late, early, 11):
        for epoch in (3, 9):
            report(proposals, number, epoch=epoch, value=0.9)
        proposals.ledger.finish(number, TrialState.COMPLETE)
    assert proposals.ending.promotion({10, 9}, live=(), is_over=False) is not None, "4 of 14 are trained to the end"


def test_the_most_promising_trial_is_trained_to_the_end_even_if_enough_are(tmp_path: Path):
    proposals = make_proposals(tmp_path)
    for number in range(1, 6):
        for epoch in (3, 9):
            report(proposals, number, epoch=epoch, value=number / 20)
        proposals.ledger.finish(number, TrialState.COMPLETE)
    best = add(proposals, 0.95, {1: 0.95, 3: 0.95})
    assert proposals.ending.promotion({6, 7, best}, live=(), is_over=True) == best
    assert proposals.ending.promotion({6, 7}, live={best}, is_over=False) is None


def test_trials_that_a_person_asked_for_do_not_count_at_the_end(tmp_path: Path):
    proposals = make_proposals(tmp_path)
    for x in (0.01, 0.02, 0.03, 0.04, 0.05, 0.06):
        number = proposals.ledger.add({"x": x}, {"x": X}, **{BY_REQUEST: "add"})
        for epoch in (1, 3, 9):
            report(proposals, number, epoch=epoch, value=x)
        proposals.ledger.finish(number, TrialState.COMPLETE)
    paused = {9, 10, 11}
    for number in (11, 10):  # of the 12 compared trials 4 are trained to the end, of all 18 there are 7 already
        assert proposals.ending.promotion(paused, live=(), is_over=False) is not None
        paused.remove(number)
        for epoch in (3, 9):
            report(proposals, number, epoch=epoch, value=number / 20)
        proposals.ledger.finish(number, TrialState.COMPLETE)


def test_configurations_lie_where_the_model_expects_most_and_are_new(tmp_path: Path):
    proposals = make_proposals(tmp_path)
    drawn: list[float] = []
    for _ in range(12):
        number = proposals.sample(suggest, lambda _: Examination(), live=())
        assert number is not None
        drawn.append(proposals.ledger.trial(number).params["x"])
    assert len(set(drawn)) == 12
    assert sum(x > 0.4 for x in drawn) >= 9


def test_a_resumed_study_says_the_same_of_a_free_slot_while_the_same_trials_have_a_worker(tmp_path: Path):
    proposals = make_proposals(tmp_path)
    live = [add(proposals, 0.8, {}), add(proposals, 0.85, {1: 0.85})]
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path, copy)
    again = open_proposals(copy, make_run(sampler="curves"))
    paused = {5, 6, 11}
    assert again.promotion(suggest, paused, live=live) == proposals.promotion(suggest, paused, live=live)
    for one in (proposals, again):
        one.sample(suggest, lambda _: Examination(), live=live)
    drawn = [one.ledger.trials[-1].params for one in (proposals, again)]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_other_samplers_leave_the_promotion_to_the_values_at_the_rungs(sampler: str, tmp_path: Path):
    proposals = make_proposals(tmp_path, sampler=sampler)
    paused = range(1, 12)
    assert proposals.promotion(suggest, paused, live=()) == proposals.rungs.promotion(paused) == 11


class Better:
    """The larger x, the better, in every epoch."""

    def seconds(self, leg: Leg, epoch: int) -> float:
        return 1.0

    def value(self, leg: Leg, epoch: int) -> float:
        return float(leg.params["x"])


@pytest.mark.parametrize("sampler", ["curves", "random", "tpe"])
def test_no_search_ends_with_its_best_trial_unfinished(sampler: str):
    space = Space(suggest=suggest, baseline={"x": 0.2}, dataset="d", epochs=9)
    for trials, slots, seed in product((2, 3, 5, 8), (1, 3), range(4)):
        run = make_run(sampler=sampler, trials=trials, seed=seed, plan=(Planned(params={"x": 0.2}, tag="baseline"),))
        found = simulate(run, space, Better(), slots=slots).trials
        assert max(found, key=lambda trial: trial.params["x"]).state == TrialState.COMPLETE, (trials, slots, seed)
