"""What a search goes by, and what it may not exceed."""

import pytest
from optuna.trial import TrialState, create_trial

from search.storage.seeds import confirmation_seeds, derive_seed, fresh_seed
from search.storage.trials import best_trial
from spaces.objectives import METRICS, Constraint, Objective, goal_named, goals, metric_named, read_goal
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
        "log_loss", "loss", "train_loss", "ece", "rmse", "mae", "rmsle", "pinball",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "task", "name"),
    [
        ("auc", "classification", "auc"),
        ("Balanced_Accuracy", "classification", "balanced_accuracy"),
        ("rmsle", "regression", "rmsle"),
        ("pinball:0.90", "regression", "pinball:0.9"),
        ("pinball:.05", "", "pinball:0.05"),
    ],
)
def test_a_metric_is_stored_under_one_name(text: str, task: str, name: str):
    assert read_goal(text, task) == name == read_goal(name, task)
    assert goal_named(name).maximize != metric_named(name).less_is_better


@pytest.mark.parametrize(
    ("text", "task", "said"),
    [
        ("acuracy", "", r"unknown --metric 'acuracy'; available: .* \(did you mean accuracy\?\)"),
        ("f1", "classification", r"did you mean macro_f1"),
        ("roc_auc", "classification", r"did you mean auc"),
        ("mean_rmse", "regression", r"available: rmse, mae, rmsle, r2, pinball:Q \(did you mean rmse"),
        ("bias", "", r"unknown --metric 'bias'"),
        ("auc:2", "", r"unknown --metric 'auc:2'"),
        ("", "", r"unknown --metric ''"),
        ("auc", "regression", r"--metric auc is for a classification, and this is a regression; available: rmse, mae"),
        ("rmse", "classification", r"--metric rmse is for a regression.*available: accuracy, macro_f1"),
        ("pinball", "regression", r"needs a quantile between 0 and 1, such as pinball:0.9, got 'pinball'"),
        ("pinball:1", "regression", r"got 'pinball:1'"),
        ("pinball:nan", "regression", r"got 'pinball:nan'"),
        ("pinball:half", "regression", r"got 'pinball:half'"),
    ],
)
def test_a_metric_that_the_task_does_not_have_is_refused_with_those_that_it_has(text: str, task: str, said: str):
    with pytest.raises(ValueError, match=said):
        read_goal(text, task)


def test_every_metric_that_can_be_optimised_belongs_to_one_task():
    assert set(goals("classification")) | set(goals("regression")) == set(goals())
    assert not set(goals("classification")) & set(goals("regression"))
    assert metric_named("pinball:0.9").title == "pinball loss (quantile 0.9)"
    assert metric_named("pinball:mine") == metric_named("a metric of my own")


def test_the_seeds_of_trials_finals_and_confirmations_are_as_they_always_were_and_in_range():
    assert (derive_seed(7, 0), fresh_seed(7, 0), fresh_seed(7, -1)) == (1297462809, 329742736, 1549703681)
    assert confirmation_seeds(7, count=2) == [100_010, 200_013]
    assert all(0 <= seed < 2**32 for seed in confirmation_seeds(2**32 - 1, count=5))
    assert len({fresh_seed(7, i) for i in range(-1, 50)} | {derive_seed(7, i) for i in range(50)}) == 101
