"""With two objectives, the end of a search trains what no other trial dominates at its rung."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from search.algorithms.front import front_trials, point_at, ranks
from search.algorithms.front_rungs import FrontRungs
from search.storage.study import open_study
from search.storage.trials import epochs_reached
from tests.benches import Bench
from tests.fronts import WEIGHTS, make, run_of

optuna.logging.set_verbosity(optuna.logging.ERROR)

LATENCY = {"name": "latency", "direction": "minimize", "known": False}


def train(bench: Bench, value_of: Callable[[int, int], float]) -> list[FrozenTrial]:
    """Work off the search in one slot, with values by trial and epoch."""
    while isinstance(asked := bench.ask(), tuple):
        trial, leg = asked
        epoch = leg["reported"] + 1
        while bench.epoch(trial, epoch, value_of(leg["trial"], epoch)):
            epoch += 1
    bench.search.end()
    return bench.search.trials


def left_behind(bench: Bench, trials: list[FrozenTrial]) -> list[int]:
    """The trials that were stopped though no other one dominates them at the rung that they reached."""
    found = []
    for rung in bench.run.rungs[:-1]:
        points = {t.number: point for t in trials if (point := point_at(t, bench.run, rung)) is not None}
        front = [n for n, rank in zip(points, ranks([*points.values()]), strict=True) if rank == 0]
        found += [n for n in front if trials[n].state == TrialState.PRUNED and epochs_reached(trials[n]) == rung]
    return found


@pytest.mark.parametrize("second", [WEIGHTS, LATENCY], ids=["known", "reported"])
@pytest.mark.parametrize("sampler", ["random", "curves"])
def test_the_best_trials_of_a_search_that_was_extended_are_trained_to_the_end(
    sampler: str, second: dict[str, Any], tmp_path: Path
):
    def value_of(number: int, epoch: int) -> float:
        return 0.4 + 0.03 * number + 0.01 * epoch

    asked: dict[str, Any] = {"sampler": sampler, "second": second}
    train(Bench(tmp_path, trials=4, **asked), value_of)
    bench = Bench(tmp_path, trials=10, **asked)
    trials = train(bench, value_of)
    assert left_behind(bench, trials) == []
    front = [trial.number for trial in front_trials(bench.run, open_study(tmp_path).trials)]
    assert front[0] == 9, "the best by the metric is the last one"


def test_what_is_dominated_at_a_higher_rung_waits_and_of_equal_trials_the_oldest_continues():
    points = [
        ({1: 0.9, 3: 0.5}, 90),
        ({1: 0.5, 3: 0.6}, 50),
        ({1: 0.3}, 20),
        ({1: 0.3}, 20),
        ({1: 0.4}, 60),
        ({1: 0.2}, 10),
    ]
    trials = [make(number, values, weights) for number, (values, weights) in enumerate(points)]
    rungs = FrontRungs(trials, run_of(), find=trials.__getitem__)
    paused, promoted = set(range(6)), []
    while (number := rungs.undominated(paused)) is not None:
        promoted.append(number)
        paused.discard(number)
    assert promoted[0] == 1, "the highest rung first; trial 0 is dominated there"
    assert sorted(promoted) == [1, 2, 5]


def test_a_long_front_does_not_take_every_trial_to_the_end():
    """All forty trials are on the front, since the larger ones are better."""
    trials = [make(number, {1: 0.01 * number}, 10 + number) for number in range(40)]
    front = FrontRungs(trials, run_of(), find=trials.__getitem__)._front(1)
    assert len(front) == 20
    assert {0, 39} <= set(front), "the smallest and the best one are kept"
    assert len(FrontRungs(trials[:10], run_of(), find=trials.__getitem__)._front(1)) == 10
    assert FrontRungs([], run_of(), find=trials.__getitem__)._front(1) == []
