"""What a sampler gets to see of a search."""

from collections.abc import Collection

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.algorithms.halving import Rungs
from search.algorithms.optuna_samplers import MAX_SEEN, Known, make_view
from tests.ledgers import make_run


def paused(number: int, value: float) -> FrozenTrial:
    trial = create_trial(
        state=TrialState.RUNNING,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        intermediate_values={1: value},
    )
    trial.number = number
    return trial


def seen(trials: list[FrozenTrial], live: Collection[int], **changes: object) -> list[FrozenTrial]:
    run = make_run(**changes)
    rungs = Rungs(trials, rungs=run.rungs, reduction_factor=run.reduction_factor, maximize=True)
    infeasible = [t.number for t in trials if t.user_attrs]
    return make_view(run)(trials, live, Known(rungs=rungs, infeasible=infeasible))


def drawn_in_vain(number: int) -> FrozenTrial:
    trial = create_trial(state=TrialState.PRUNED, user_attrs={"infeasible": "too large"})
    trial.number = number
    return trial


def test_tpe_sees_a_paused_trial_as_finished_and_a_running_one_as_it_is():
    trials = [paused(0, 0.2), paused(1, 0.6), paused(2, 0.4)]
    shown = seen(trials, {2})
    assert [t.state for t in shown] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.RUNNING]
    assert [t.value for t in shown] == [pytest.approx(1 / 3), 1.0, None]
    assert all(t.state == TrialState.RUNNING for t in trials), "the stored trials must stay as they are"


def test_of_many_trials_tpe_sees_the_best_and_an_even_selection_of_the_others():
    trials = [paused(i, value=i / 3000) for i in range(3000)]
    trials += [drawn_in_vain(3000 + i) for i in range(1000)] + [paused(4000, 0.99)]
    numbers = [t.number for t in seen(trials, {4000})]
    finished = [n for n in numbers if n < 3000]
    assert len(finished) == MAX_SEEN
    assert set(range(3000 - MAX_SEEN // 4, 3000)) <= set(finished)
    assert abs(sum(n < 1500 for n in finished) - 0.75 * MAX_SEEN / 2) < 0.05 * MAX_SEEN
    assert sum(3000 <= n < 4000 for n in numbers) == MAX_SEEN
    assert numbers[-1] == 4000
    assert numbers == sorted(numbers)


def test_other_samplers_see_paused_trials_as_pruned_and_all_of_them():
    trials = [paused(i, value=i / 3000) for i in range(2 * MAX_SEEN)]
    shown = seen(trials, (), sampler="gp")
    assert len(shown) == 2 * MAX_SEEN
    assert {t.state for t in shown} == {TrialState.PRUNED}
    assert [t.value for t in shown] == [t.intermediate_values[1] for t in trials]
