"""Which paused trial is continued: worked examples of promotion."""

import itertools
import random
from collections.abc import Collection

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.algorithms.halving import Rungs
from search.storage.run import rungs
from search.storage.trials import epochs_reached, is_paused

RUNGS = (1, 3, 9)


def make(number: int, values: dict[int, float], state: TrialState = TrialState.RUNNING) -> FrozenTrial:
    value = values[max(values)] if state == TrialState.COMPLETE else None
    trial = create_trial(state=state, value=value, intermediate_values=values)
    trial.number = number
    return trial


def promote(
    trials: list[FrozenTrial], *, maximize: bool = True, live: Collection[int] = (), factor: int = 3
) -> int | None:
    rungs = Rungs(trials, rungs=RUNGS, reduction_factor=factor, maximize=maximize)
    return rungs.promotion({t.number for t in trials if is_paused(t, rungs=RUNGS, live=live)})


@pytest.mark.parametrize(
    ("first", "factor", "epochs", "expected"),
    [(1, 3, 27, (1, 3, 9, 27)), (1, 3, 20, (1, 3, 9, 20)), (2, 4, 8, (2, 8)), (5, 3, 5, (5,)), (1, 2, 1, (1,))],
)
def test_rungs_grow_by_the_factor_and_end_with_the_full_budget(first, factor, epochs, expected):
    assert rungs(first, factor, epochs=epochs) == expected


def test_nothing_is_promoted_before_a_rung_holds_as_many_trials_as_the_factor():
    trials = [make(0, {1: 0.5}), make(1, {1: 0.9})]
    assert promote(trials) is None


def test_the_best_third_of_a_rung_is_promoted_best_first():
    trials = [make(i, {1: v}) for i, v in enumerate([0.5, 0.9, 0.7, 0.8, 0.1, 0.2])]
    assert promote(trials) == 1
    assert promote([*trials[:1], make(1, {1: 0.9, 2: 0.9, 3: 0.95}), *trials[2:]]) == 3


def test_a_small_value_is_the_better_one_when_minimising():
    trials = [make(i, {1: v}) for i, v in enumerate([0.5, 0.9, 0.1])]
    assert promote(trials, maximize=False) == 2


def test_the_highest_rung_comes_first():
    high = [make(i, {1: 0.5, 2: 0.5, 3: v}) for i, v in enumerate([0.1, 0.2, 0.3])]
    low = [make(i, {1: 0.9}) for i in range(3, 9)]
    assert promote([*high, *low]) == 2


def test_a_trial_with_a_worker_is_never_handed_out_again():
    trials = [make(i, {1: v}) for i, v in enumerate([0.5, 0.9, 0.7])]
    assert promote(trials, live={1}) is None


def test_a_failed_trial_takes_no_place_in_the_ranking():
    trials = [make(0, {1: 0.5}), make(1, {1: 0.7}), make(2, {1: 0.9}, TrialState.FAIL), make(3, {1: 0.1})]
    assert Rungs(trials, rungs=RUNGS, reduction_factor=3, maximize=True).pooled() == [1, 0, 3]
    assert promote(trials) == 1


def test_equals_are_promoted_in_the_order_of_their_numbers():
    assert promote([make(i, {1: 0.5}) for i in range(3)]) == 0


def test_the_leader_is_the_best_paused_trial_of_the_highest_rung():
    trials = [make(0, {1: 0.5}), make(1, {1: 0.7, 2: 0.8, 3: 0.6}), make(2, {1: 0.9})]
    rungs = Rungs(trials, rungs=RUNGS, reduction_factor=3, maximize=True)
    assert rungs.promotion({0, 1, 2}) == 2
    assert rungs.leader({0, 1, 2}) == 1
    assert rungs.leader({0, 2}) == 2
    assert rungs.leader(()) is None


def test_a_ladder_filled_as_values_come_is_the_one_that_a_resumed_search_reads_from_the_study():
    generator = random.Random(0)
    grown = Rungs([], rungs=RUNGS, reduction_factor=3, maximize=True)
    trials: dict[int, FrozenTrial] = {}
    for number in generator.sample(range(60), 60):
        values = {epoch: generator.choice([0.1, 0.2, 0.3]) for epoch in range(1, generator.choice([1, 3, 5]) + 1)}
        failed = generator.random() < 0.1
        trials[number] = make(number, values, TrialState.FAIL if failed else TrialState.RUNNING)
        for rung in set(RUNGS) & set(values):
            grown.add(number, rung=rung, value=values[rung])
        if failed:
            grown.remove(number)
        read = Rungs(list(trials.values()), rungs=RUNGS, reduction_factor=3, maximize=True)
        paused = {t.number for t in trials.values() if is_paused(t, rungs=RUNGS, live=())}
        assert grown.promotion(paused) == read.promotion(paused)
        assert grown.leader(paused) == read.leader(paused)
        assert grown.pooled() == read.pooled()


def test_a_trial_between_rungs_is_interrupted_and_not_paused():
    assert is_paused(make(0, {1: 0.1}), rungs=RUNGS, live=())
    assert not is_paused(make(0, {1: 0.1, 2: 0.2}), rungs=RUNGS, live=())
    assert not is_paused(make(0, {}), rungs=RUNGS, live=())
    assert not is_paused(make(0, {1: 0.1}), rungs=RUNGS, live={0})
    assert epochs_reached(make(0, {})) == 0


def test_the_pooled_order_lets_no_values_of_different_epochs_meet():
    # 3 is worst at epoch 3 although its value there is above every value at epoch 1
    trials = [
        make(0, {1: 0.30}),
        make(1, {1: 0.20}),
        make(2, {1: 0.40, 2: 0.5, 3: 0.95}),
        make(3, {1: 0.50, 2: 0.5, 3: 0.90}),
    ]
    assert Rungs(trials, rungs=RUNGS, reduction_factor=3, maximize=True).pooled() == [2, 3, 0, 1]


def test_a_third_goes_on_from_each_rung_and_early_favourites_add_few_more():
    for seed in range(20):
        generator = random.Random(seed)
        trials = [make(i, {1: generator.random()}) for i in range(81)]
        for _ in itertools.count():
            number = promote(trials)
            if number is None:
                break
            reached = epochs_reached(trials[number])
            values = dict(trials[number].intermediate_values)
            values |= {e: generator.random() for e in range(reached + 1, 3 * reached + 1)}
            state = TrialState.COMPLETE if 3 * reached == 9 else TrialState.RUNNING
            trials[number] = make(number, values, state)
        assert sum(3 in t.intermediate_values for t in trials) == 27
        assert 9 <= sum(9 in t.intermediate_values for t in trials) <= 15
