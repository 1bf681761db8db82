"""What the default sampler says of a free slot: a paused trial, or which configuration."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution

from search.algorithms.candidates import spread
from search.algorithms.optuna_samplers import NUM_STARTUP_TRIALS
from search.storage.ledger import Examination, Ledger
from tests.test_ledger import make_run, open_ledger

X = FloatDistribution(0, 1)


def suggest(trial: Any) -> float:
    return trial.suggest_float("x", 0, 1)


def add(ledger: Ledger, x: float, values: dict[int, float]) -> int:
    number = ledger.add({"x": x}, {"x": X})
    for epoch, value in values.items():
        ledger.report(number, epoch=epoch, value=value, record={"epoch": epoch})
    return number


def make_ledger(folder: Path, *, sampler: str = "curves", count: int = 12) -> Ledger:
    """The better, the larger x; the first trial is trained to the end, and good."""
    ledger = open_ledger(folder, make_run(sampler=sampler))
    add(ledger, 0.5, dict.fromkeys((1, 3, 9), 0.5))
    for i in range(1, count):
        add(ledger, i / 20, {1: i / 20})
    return ledger


def test_before_enough_is_known_configurations_lie_anywhere_and_the_best_of_a_rung_go_on(tmp_path: Path):
    ledger = make_ledger(tmp_path, count=NUM_STARTUP_TRIALS - 1)
    paused = range(1, NUM_STARTUP_TRIALS - 1)
    assert ledger.promotion(suggest, paused, live=()) == ledger.ladder.promotion(paused) == paused[-1]
    number = ledger.sample(suggest, lambda _: Examination(), live=())
    assert number == NUM_STARTUP_TRIALS - 1
    stored = ledger.trial(number)
    seed = stored.user_attrs["seed"]
    assert stored.params == spread(suggest, number=number, seed=3, trial_seed=seed)


def test_a_paused_trial_that_gains_most_for_its_epochs_goes_on_where_a_new_one_gains_less(tmp_path: Path):
    ledger = make_ledger(tmp_path)
    good, poor = add(ledger, 0.95, {1: 0.95}), add(ledger, 0.02, {1: 0.02})
    assert ledger.promotion(suggest, {good, poor, 3}, live=()) == good
    assert ledger.promotion(suggest, {poor}, live=()) is None
    assert ledger.promotion(suggest, (), live=()) is None


def test_of_two_that_promise_as_much_the_one_goes_on_that_has_fewer_epochs_to_go(tmp_path: Path):
    ledger = make_ledger(tmp_path)
    add(ledger, 0.1, {1: 0.05, 3: 0.1})
    early = add(ledger, 0.9, {1: 0.9})
    late = add(ledger, 0.9, {1: 0.9, 3: 0.9})
    assert ledger.promotion(suggest, {early, late}, live=()) == late


def test_configurations_lie_where_the_model_expects_most_and_are_new(tmp_path: Path):
    ledger = make_ledger(tmp_path)
    drawn: list[float] = []
    for _ in range(12):
        number = ledger.sample(suggest, lambda _: Examination(), live=())
        assert number is not None
        drawn.append(ledger.trial(number).params["x"])
    assert len(set(drawn)) == 12
    assert sum(x > 0.4 for x in drawn) >= 9


def test_a_resumed_study_says_the_same_of_a_free_slot_while_the_same_trials_have_a_worker(tmp_path: Path):
    ledger = make_ledger(tmp_path)
    live = [add(ledger, 0.8, {}), add(ledger, 0.85, {1: 0.85})]
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path, copy)
    again = open_ledger(copy, make_run(sampler="curves"))
    paused = {5, 6, 11}
    assert again.promotion(suggest, paused, live=live) == ledger.promotion(suggest, paused, live=live)
    for one in (ledger, again):
        one.sample(suggest, lambda _: Examination(), live=live)
    drawn = [one.trials[-1].params for one in (ledger, again)]
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_other_samplers_leave_the_promotion_to_the_values_at_the_rungs(sampler: str, tmp_path: Path):
    ledger = make_ledger(tmp_path, sampler=sampler)
    paused = range(1, 12)
    assert ledger.promotion(suggest, paused, live=()) == ledger.ladder.promotion(paused) == 11
