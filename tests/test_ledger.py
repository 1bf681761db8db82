"""The durable study of a running search, on a real SQLite database."""

from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import BaseTrial, TrialState

from search.scheduling.constraints import Examination
from search.storage.seeds import derive_seed
from search.storage.study import open_study
from tests.ledgers import examine, fill, make_run, open_ledger, open_proposals, report, suggest


def test_what_was_acknowledged_is_in_the_database_for_any_reader(tmp_path: Path):
    run = make_run()
    proposals = open_proposals(tmp_path, run)
    ledger = proposals.ledger
    number = proposals.sample(suggest, examine, live=())
    assert number == 0
    ledger.report(0, epoch=1, value=0.5, record={"epoch": 1, "loss": 2.0})
    ledger.report(0, epoch=2, value=0.75, record={"epoch": 2, "loss": 1.0})
    ledger.finish(0, TrialState.PRUNED)
    (stored,) = open_study(tmp_path).trials
    assert stored.params == ledger.trials[0].params
    assert stored.intermediate_values == {1: 0.5, 2: 0.75}
    assert stored.value == 0.75
    assert stored.state == TrialState.PRUNED
    assert stored.user_attrs["history"] == [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]
    assert stored.user_attrs["seed"] == derive_seed(3, 0)
    assert stored.user_attrs["weights"] == 7


def test_an_epoch_reported_twice_counts_once(tmp_path: Path):
    proposals = open_proposals(tmp_path, make_run())
    ledger = proposals.ledger
    proposals.sample(suggest, examine, live=())
    assert ledger.report(0, epoch=1, value=0.5, record={"epoch": 1})
    assert not ledger.report(0, epoch=1, value=0.9, record={"epoch": 1})
    (stored,) = open_study(tmp_path).trials
    assert stored.intermediate_values == {1: 0.5}
    assert stored.user_attrs["history"] == [{"epoch": 1}]


@pytest.mark.parametrize("sampler", ["curves", "tpe", "random", "qmc", "gp", "cmaes"])
def test_a_reopened_study_suggests_what_the_undisturbed_one_would(sampler: str, tmp_path: Path):
    run = make_run(sampler=sampler)
    (tmp_path / "calm").mkdir()
    (tmp_path / "torn").mkdir()
    calm = open_proposals(tmp_path / "calm", run)
    fill(calm, 15)
    fill(open_proposals(tmp_path / "torn", run), 7)
    fill(open_proposals(tmp_path / "torn", run), 5)
    torn = open_proposals(tmp_path / "torn", run)
    fill(torn, 3)
    assert [t.params for t in torn.ledger.trials] == [t.params for t in calm.ledger.trials]
    assert [t.intermediate_values for t in open_study(tmp_path / "torn").trials] == [
        t.intermediate_values for t in calm.ledger.trials
    ]


@pytest.mark.parametrize("sampler", ["curves", "tpe"])
def test_the_sampler_learns_from_paused_trials(sampler: str, tmp_path: Path):
    proposals = open_proposals(tmp_path, make_run(sampler=sampler))
    fill(proposals, 60)
    late = [t.params["x"] for t in proposals.ledger.trials[30:]]
    early = [t.params["x"] for t in proposals.ledger.trials[:10]]
    distance = [sum(abs(x - 0.3) for x in xs) / len(xs) for xs in (late, early)]
    assert distance[0] < distance[1] / 2


def test_a_planned_trial_is_stored_with_its_own_seed(tmp_path: Path):
    ledger = open_ledger(tmp_path, make_run())
    ledger.add({"x": 0.5}, {"x": FloatDistribution(0, 1)}, seed=11, tag="baseline")
    ledger.add({"x": 0.25}, {"x": FloatDistribution(0, 1)})
    first, second = open_study(tmp_path).trials
    assert (first.params, first.user_attrs, first.state) == (
        {"x": 0.5}, {"seed": 11, "tag": "baseline"}, TrialState.RUNNING,
    )  # fmt: skip
    assert second.user_attrs["seed"] == derive_seed(3, 1)


def test_an_infeasible_draw_is_stored_with_its_constraint_and_never_trained(tmp_path: Path):
    proposals = open_proposals(tmp_path, make_run())

    def too_large(value: float) -> Examination:
        return Examination(excess={"weights": value + 1})

    assert proposals.sample(suggest, too_large, live=()) is None
    (stored,) = open_study(tmp_path).trials
    assert stored.state == TrialState.PRUNED
    assert stored.constraints["weights"] > 1
    assert "exceeds its bound" in stored.user_attrs["infeasible"]
    assert stored.intermediate_values == {}


@pytest.mark.parametrize("sampler", ["curves", "tpe"])
def test_the_sampler_learns_to_stay_within_the_bounds(sampler: str, tmp_path: Path):
    proposals = open_proposals(tmp_path, make_run(sampler=sampler))

    def wide(value: float) -> Examination:
        return Examination(excess={"weights": value - 0.4})

    outcomes = [proposals.sample(lambda t: t.suggest_float("x", 0, 1), wide, live=()) for _ in range(60)]
    for number in (n for n in outcomes if n is not None):
        report(proposals, number, epoch=1, value=0.0)
    outcomes = [proposals.sample(lambda t: t.suggest_float("x", 0, 1), wide, live=()) for _ in range(40)]
    assert sum(n is not None for n in outcomes) > 25


def test_a_space_that_raises_is_named_with_the_trial_and_its_parameters(tmp_path: Path):
    proposals = open_proposals(tmp_path, make_run())

    def broken(trial: BaseTrial) -> float:
        return 1 / (trial.suggest_int("depth", 2, 2) - 2)

    with pytest.raises(ValueError, match=r"space 's' fails on trial 0 with \{'depth': 2\}: ZeroDivisionError"):
        proposals.sample(broken, examine, live=())


def test_seeds_of_trials_differ_and_depend_on_the_run_alone():
    seeds = {derive_seed(seed, number) for seed in range(10) for number in range(100)}
    assert len(seeds) == 1000
    assert derive_seed(7, 3) == derive_seed(7, 3)
