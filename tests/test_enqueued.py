"""Trials that Optuna or its dashboard put into the study of a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import BaseTrial, Trial, TrialState, create_trial

from search.scheduling.constraints import Examination
from search.storage.presence import StudyLostError
from search.storage.run import Planned, Question
from search.storage.seeds import derive_seed
from search.storage.study import open_study
from tests.benches import SPACE, Bench
from tests.ledgers import by_optuna, enqueue, examine, fill, make_run, open_ledger, open_proposals, report, suggest
from tests.steered import request
from trainables.training.config import TrainConfig


@pytest.mark.parametrize("sampler", ["random", "curves", "tpe", "qmc"])
def test_an_enqueued_configuration_is_the_next_that_a_resumed_search_trains(sampler: str, tmp_path: Path):
    Bench(tmp_path, sampler=sampler, trials=2).train()
    enqueue(tmp_path, {"lr": 0.3333})
    Bench(tmp_path, sampler=sampler, trials=4).train()
    trials = open_study(tmp_path).trials
    assert [t.number for t in trials] == [0, 1, 2, 3], "it counts towards --trials"
    assert trials[2].params == {"lr": 0.3333}
    assert trials[2].user_attrs["seed"] == derive_seed(3, 2)
    assert len(trials[2].intermediate_values) > 0
    assert {t.state for t in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}


def test_a_finished_search_that_is_resumed_trains_what_was_enqueued_since(tmp_path: Path):
    Bench(tmp_path, trials=2).train()
    enqueue(tmp_path, {"lr": 0.2}, {"lr": 0.4})
    Bench(tmp_path, trials=2).train()
    assert [t.params["lr"] for t in open_study(tmp_path).trials[2:]] == [0.2, 0.4]
    assert all(t.state.is_finished() for t in open_study(tmp_path).trials)


def test_what_is_enqueued_while_the_search_runs_is_taken_up_before_a_new_configuration(tmp_path: Path):
    bench = Bench(tmp_path, slots=9, plan=())
    bench.ask()
    enqueue(tmp_path, {"lr": 0.25})
    _, leg = bench.ask()  # type: ignore[misc]
    assert (leg["trial"], leg["params"]) == (1, {"lr": 0.25})
    _, leg = bench.ask()  # type: ignore[misc]
    assert leg["trial"] == 2
    assert len(open_study(tmp_path).trials) == 3


@pytest.mark.parametrize("sampler", ["random", "curves", "tpe", "qmc"])
def test_what_is_enqueued_while_a_configuration_is_sampled_comes_before_it(sampler: str, tmp_path: Path):
    arrived = 4

    def busy(trial: BaseTrial) -> TrainConfig:
        if isinstance(trial, Trial) and trial.number == arrived and len(by_optuna(tmp_path / "late").trials) == arrived:
            enqueue(tmp_path / "late", {"lr": 0.25})
        return SPACE.suggest(trial)

    for name in ("late", "early"):
        (tmp_path / name).mkdir()
        bench = Bench(tmp_path / name, sampler=sampler, trials=9, searched=replace(SPACE, suggest=busy))
        if name == "early":
            Bench(tmp_path / name, sampler=sampler, trials=arrived, searched=SPACE).train()
            enqueue(tmp_path / name, {"lr": 0.25})
            bench = Bench(tmp_path / name, sampler=sampler, trials=9)
        bench.train()
        assert bench.search.fatal is None
    late, early = (open_study(tmp_path / name).trials for name in ("late", "early"))
    assert late[arrived].params == early[arrived].params == {"lr": 0.25}
    assert [t.user_attrs["seed"] for t in late] == [derive_seed(3, number) for number in range(9)]
    if sampler in ("random", "qmc"):  # which do not learn
        assert [t.params for t in late] == [t.params for t in early]


def test_what_is_enqueued_before_a_request_is_answered_is_kept_beside_it(tmp_path: Path):
    bench = Bench(tmp_path, plan=())
    bench.ask()
    enqueue(tmp_path, {"lr": 0.25})
    request(tmp_path, verb="add", configurations=({"lr": 0.3},))
    bench.search.steer()
    assert bench.diary.answers[0].trials == (2,)
    assert [(t.params, t.state.name) for t in open_study(tmp_path).trials[1:]] == [
        ({}, "WAITING"), ({"lr": 0.3}, "RUNNING"),
    ]  # fmt: skip
    assert open_study(tmp_path).trials[2].user_attrs["seed"] == derive_seed(3, 2)


@pytest.mark.parametrize("attrs", [{}, {"seed": 7}])
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_waiting_trial_of_another_program_takes_no_place_of_the_plan(
    attrs: dict[str, Any], interrupted: bool, tmp_path: Path
):
    plan = tuple(Planned(params={"lr": lr}) for lr in (0.1, 0.2, 0.3))
    bench = Bench(tmp_path, plan=plan, trials=6)
    given = {"params": {"lr": 0.5}, "distributions": {"lr": FloatDistribution(0.01, 1.0, log=True)}}
    by_optuna(tmp_path).add_trial(create_trial(state=TrialState.WAITING, user_attrs=attrs, **given))
    trial, _ = bench.ask()  # type: ignore[misc]
    bench.epoch(trial, 1, 0.5)
    if interrupted:
        bench = Bench(tmp_path, plan=plan, trials=6)
    bench.train()
    trials = open_study(tmp_path).trials
    assert [t.params["lr"] for t in trials[:4]] == [0.5, 0.1, 0.2, 0.3]
    assert [t.user_attrs["seed"] for t in trials] == [derive_seed(3, number) for number in range(6)]


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ({"fixed": {"lr": 0.1}}, "lr must be 0.1, as --fix and --question say, got 0.7"),
        (
            {"questions": (Question(parameter="lr", levels=(0.1, 0.2)),)},
            "lr must be 0.1 or 0.2, as --fix and --question say, got 0.7",
        ),
    ],
)
def test_a_value_that_the_search_does_not_allow_fails_the_trial(asked: dict[str, Any], rule: str, tmp_path: Path):
    bench = Bench(tmp_path, pruner="none", trials=3, **asked)
    enqueue(tmp_path, {"lr": 0.7}, {"lr": 0.1})
    bench.train()
    first, second, *_ = open_study(tmp_path).trials
    assert (first.state, first.user_attrs["failure"]) == (TrialState.FAIL, f"enqueued, but {rule}")
    assert second.state == TrialState.COMPLETE
    assert f"trial 0, enqueued, is not trained: {rule}" in bench.diary.notices


def test_what_an_enqueued_trial_leaves_open_is_sampled_and_a_retry_samples_the_same(tmp_path: Path):
    run = make_run()
    fill(open_proposals(tmp_path, run), 2)
    enqueue(tmp_path, {"x": 0.125})
    proposals = open_proposals(tmp_path, run)
    assert proposals.take_up(suggest, examine, live=()) == (2, "")
    (trial,) = (t for t in open_study(tmp_path).trials if t.number == 2)
    assert trial.params["x"] == 0.125
    assert set(trial.params) in ({"x", "deep"}, {"x", "deep", "y"})
    assert (trial.params, trial.user_attrs) == (
        proposals.ledger.trials[2].params,
        proposals.ledger.trials[2].user_attrs,
    )
    report(proposals, 2, epoch=1, value=0.5)
    assert open_ledger(tmp_path, run).trials[2].intermediate_values == {1: 0.5}


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"x": 1.5}, r"x must be in \[0, 1\], got 1.5"),
        ({"x": "wide"}, r"x must be in \[0, 1\], got 'wide'"),
        ({"x": None}, r"x must be in \[0, 1\], got None"),
        ({"deep": "yes"}, "deep must be one of True, False, got 'yes'"),
        ({"deep": True, "y": 1e-9}, r"y must be in \[0.1, 1\], got 1e-09"),
    ],
)
def test_a_value_that_the_space_does_not_have_fails_the_trial_alone_and_is_named(
    fixed: dict[str, Any], message: str, tmp_path: Path
):
    run = make_run()
    fill(open_proposals(tmp_path, run), 1)
    enqueue(tmp_path, fixed)
    proposals = open_proposals(tmp_path, run)
    number, said = proposals.take_up(suggest, examine, live=())
    with pytest.raises(ValueError, match=f"trial 1, enqueued, is not trained: {message}"):
        raise ValueError(said)
    stored = open_study(tmp_path).trials[number]
    assert stored.state == TrialState.FAIL
    assert stored.user_attrs["failure"] in f"enqueued, but {said}".replace("trial 1, enqueued, is not trained: ", "")
    assert open_proposals(tmp_path, run).sample(suggest, examine, live=()) == 2


def test_a_name_that_the_space_does_not_ask_for_is_named(tmp_path: Path):
    fill(open_proposals(tmp_path, make_run()), 1)
    enqueue(tmp_path, {"x": 0.5, "learning_rate": 1})
    _, said = open_proposals(tmp_path, make_run()).take_up(suggest, examine, live=())
    assert said.startswith("trial 1, enqueued, is trained without learning_rate: the space does not use it")


def test_an_enqueued_configuration_above_a_bound_is_stored_and_never_trained(tmp_path: Path):
    run = make_run()
    fill(open_proposals(tmp_path, run), 1)
    enqueue(tmp_path, {"x": 0.5})
    proposals = open_proposals(tmp_path, run)
    _, said = proposals.take_up(suggest, lambda _: Examination(excess={"weights": 7.0}), live=())
    assert said == "trial 1, enqueued, is not trained: weights exceeds its bound by 7"
    assert (proposals.ledger.num_asked, open_study(tmp_path).trials[1].state) == (1, TrialState.PRUNED)


def test_a_waiting_trial_with_parameters_of_its_own_is_taken_up(tmp_path: Path):
    fill(open_proposals(tmp_path, make_run()), 1)
    space = {"x": FloatDistribution(0, 1)}
    by_optuna(tmp_path).add_trial(create_trial(state=TrialState.WAITING, params={"x": 0.75}, distributions=space))
    open_proposals(tmp_path, make_run()).take_up(suggest, examine, live=())
    assert open_study(tmp_path).trials[1].params["x"] == 0.75


@pytest.mark.parametrize("sampler", ["random", "curves", "tpe", "qmc"])
def test_trials_that_others_finished_count_and_disturb_nothing(sampler: str, tmp_path: Path):
    Bench(tmp_path, sampler=sampler, trials=3).train()
    study = by_optuna(tmp_path)
    other = {"width": FloatDistribution(0, 1)}
    study.add_trial(create_trial(value=0.99, params={"width": 0.5}, distributions=other))
    study.add_trial(create_trial(state=TrialState.FAIL))
    study.add_trial(create_trial(value=0.4, params={}, distributions={}, intermediate_values={9: 0.4}))
    running = study.ask()
    Bench(tmp_path, sampler=sampler, trials=20).train()
    trials = open_study(tmp_path).trials
    assert len(trials) == 20
    assert [t.state.name for t in trials[3:7]] == ["COMPLETE", "FAIL", "COMPLETE", "RUNNING"]
    assert trials[running.number].user_attrs == {}, "what another program runs is left alone"
    assert all("seed" in t.user_attrs and t.state.is_finished() for t in trials[7:])


def test_another_program_that_runs_trials_beside_a_search_breaks_it_off(tmp_path: Path):
    bench = Bench(tmp_path, slots=9)
    bench.ask()
    by_optuna(tmp_path).ask()
    assert bench.ask() == "FINISHED"
    assert isinstance(bench.search.fatal, StudyLostError)
    assert "another program is running trial 1 of this study" in str(bench.search.fatal)


def test_the_objective_of_a_new_study_has_the_name_of_the_metric(tmp_path: Path):
    Bench(tmp_path, trials=1).train()
    assert by_optuna(tmp_path).metric_names == open_study(tmp_path).metric_names == ["accuracy"]
