"""What a search goes by, and what it may not exceed."""

import pytest
from optuna.trial import TrialState, create_trial

from search.storage.seeds import confirmation_seeds, derive_seed, fresh_seed
from search.storage.trials import best_trial
from spaces.objectives import METRICS, Constraint, Objective, metric_named
from tests.ledgers import make_run


@pytest.mark.parametrize(("direction", "best"), [("maximize", 2), ("minimize", 1)])
def test_the_best_is_the_older_of_two_that_are_equal(direction: str, best: int):
    objective = Objective(metric="m", direction=direction)  # type: ignore[arg-type]
    assert objective.best([(4, 0.75), (3, 0.25), (2, 0.75), (1, 0.25)]) == best
    assert objective.best([]) is None
    assert sorted([0.5, -1.0, 2.0], key=objective.order)[0] == (2.0 if direction == "maximize" else -1.0)


def test_only_a_trial_that_was_trained_to_its_end_is_the_best():
    done, stopped = (
        create_trial(state=state, value=value)
        for state, value in ((TrialState.COMPLETE, 0.5), (TrialState.PRUNED, 0.9))
    )
    stopped.number = 1
    assert best_trial([stopped, done], Objective(metric="m", direction="maximize")) is done
    assert best_trial([stopped], Objective(metric="m", direction="maximize")) is None


def test_a_run_states_its_constraints_in_the_words_of_its_options():
    assert make_run().constraints == ()
    (macs,) = make_run(max_macs=3000).constraints
    assert macs == Constraint(cost="macs", bound=3000)
    assert macs.option == "--max-macs"
    assert [macs.excess(cost) for cost in (2999, 3000, 3001)] == [-1, 0, 1]


def test_an_unknown_metric_is_no_share_and_every_error_is_the_better_the_less():
    assert not metric_named("speed").share
    assert {name for name, known in METRICS.items() if known.less_is_better} == {
        "log_loss", "loss", "train_loss", "ece", "rmse", "mae",
    }  # fmt: skip


def test_the_seeds_of_trials_finals_and_confirmations_are_as_they_always_were_and_in_range():
    assert (derive_seed(7, 0), fresh_seed(7, 0), fresh_seed(7, -1)) == (1297462809, 329742736, 1549703681)
    assert confirmation_seeds(7, count=2) == [100_010, 200_013]
    assert all(0 <= seed < 2**32 for seed in confirmation_seeds(2**32 - 1, count=5))
    assert len({fresh_seed(7, i) for i in range(-1, 50)} | {derive_seed(7, i) for i in range(50)}) == 101
