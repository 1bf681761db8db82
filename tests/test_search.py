"""Searcher and scheduler, as Ray calls them, on a real study: states, stops, promotions, NaN, lost workers."""

import math
import os
import pickle
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from search.scheduling.errors import HopelessSearchError
from search.storage.study import open_study
from tests.benches import BASELINE, Bench
from tests.ledgers import enqueue


def states(folder: Path) -> dict[int, tuple[str, int]]:
    return {t.number: (t.state.name, len(t.intermediate_values)) for t in open_study(folder).trials}


def test_promotion_ends_with_complete_trials_at_full_budget_and_pruned_ones_at_rungs(tmp_path: Path):
    bench = Bench(tmp_path)
    bench.train()
    by_state = sorted(states(tmp_path).values())
    assert {s for s, _ in by_state} == {"COMPLETE", "PRUNED"}
    assert all(epochs == 9 for s, epochs in by_state if s == "COMPLETE")
    assert all(epochs in (1, 3) for s, epochs in by_state if s == "PRUNED")
    study = open_study(tmp_path)
    assert study.trials[0].params == {"lr": 0.1}
    assert study.best_trial.params["lr"] == max(t.params["lr"] for t in study.trials)


@pytest.mark.parametrize("pruner", ["asha-stop", "hyperband", "median"])
def test_a_stopping_pruner_stores_pruned_with_the_last_value(pruner: str, tmp_path: Path):
    bench = Bench(tmp_path, pruner=pruner, trials=20)
    bench.train()
    study = open_study(tmp_path)
    assert {t.state for t in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in study.trials:
        assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]
        assert (trial.state == TrialState.COMPLETE) == (len(trial.intermediate_values) == 9)


def test_without_a_pruner_every_trial_is_trained_to_the_end(tmp_path: Path):
    Bench(tmp_path, pruner="none", trials=3).train()
    assert set(states(tmp_path).values()) == {("COMPLETE", 9)}


def test_a_diverged_trial_fails_with_its_cause_and_never_lingers(tmp_path: Path):
    bench = Bench(tmp_path, pruner="none", trials=2)
    trial, _ = bench.ask()  # type: ignore[misc]
    assert bench.epoch(trial, 1, 0.5)
    assert not bench.tell(trial, failure="epoch 2: training loss is nan\nmore", failure_kind="diverged")
    stored = open_study(tmp_path).trials[0]
    assert stored.state == TrialState.FAIL
    assert stored.user_attrs["failure"] == "epoch 2: training loss is nan"
    assert stored.user_attrs["failure_kind"] == "diverged"
    assert stored.intermediate_values == {1: 0.5}
    assert bench.search.live == set()


@pytest.mark.parametrize("value", [math.nan, "0.9", None, True])
def test_a_metric_that_is_no_number_fails_the_trial(value: Any, tmp_path: Path):
    bench = Bench(tmp_path)
    trial, _ = bench.ask()  # type: ignore[misc]
    bench.epoch(trial, 1, value)
    if value is not True:
        assert "metric 'accuracy' must be a number" in open_study(tmp_path).trials[0].user_attrs["failure"]


def test_a_worker_lost_for_good_fails_its_trial(tmp_path: Path):
    bench = Bench(tmp_path, plan=())
    trial, _ = bench.ask()  # type: ignore[misc]
    bench.epoch(trial, 1, 0.5)
    trial, _ = bench.ask()  # type: ignore[misc]
    bench.searcher.on_trial_complete(trial.trial_id, error=True)
    assert open_study(tmp_path).trials[1].user_attrs["failure_kind"] == "lost worker"


def test_epochs_told_again_after_a_lost_worker_count_once_and_decide_nothing(tmp_path: Path):
    bench = Bench(tmp_path, pruner="none")
    trial, _ = bench.ask()  # type: ignore[misc]
    for epoch in (1, 2, 3):
        assert bench.epoch(trial, epoch, 0.1 * epoch)
    for epoch in (1, 2, 3, 4):
        assert bench.epoch(trial, epoch, 0.1 * epoch)
    stored = open_study(tmp_path).trials[0]
    assert list(stored.intermediate_values) == [1, 2, 3, 4]
    assert [r["epoch"] for r in stored.user_attrs["history"]] == [1, 2, 3, 4]


@pytest.mark.parametrize("pruner", ["asha", "none", "median"])
def test_a_trial_that_was_reported_in_full_but_not_yet_told_so_is_finished_on_resume(pruner: str, tmp_path: Path):
    bench = Bench(tmp_path, pruner=pruner)
    bench.ask()
    for epoch in range(1, 10):
        bench.search.ledger.report(0, epoch=epoch, value=0.5, record={"epoch": epoch})
    assert states(tmp_path) == {0: ("RUNNING", 9)}
    Bench(tmp_path, pruner=pruner)
    assert states(tmp_path) == {0: ("COMPLETE", 9)}


def test_an_interrupted_trial_is_handed_out_again_first_and_knows_its_epochs(tmp_path: Path):
    first = Bench(tmp_path, plan=())
    trial, _ = first.ask()  # type: ignore[misc]
    first.epoch(trial, 1, 0.9)
    trial, _ = first.ask()  # type: ignore[misc]
    again = Bench(tmp_path, plan=())
    _, leg = again.ask()  # type: ignore[misc]
    assert (leg["trial"], leg["reported"]) == (1, 0)


@pytest.mark.parametrize("asked", [{}, {"sampler": "curves", "trials": 16}])
def test_the_study_does_not_depend_on_where_the_search_was_interrupted(asked: dict[str, Any], tmp_path: Path):
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    calm.mkdir()
    torn.mkdir()
    Bench(calm, **asked).train()
    while True:
        bench = Bench(torn, **asked)  # the one before is gone, in the middle of its leg
        given = bench.ask()
        if not isinstance(given, tuple):
            break
        epoch = given[1]["reported"] + 1
        bench.epoch(given[0], epoch, given[1]["params"]["lr"] + 0.001 * epoch)
    Bench(torn, **asked).train()

    def table(folder: Path) -> list[tuple]:
        return [(t.params, t.intermediate_values, t.state) for t in open_study(folder).trials]

    assert table(torn) == table(calm)


def train_with_a_failure(folder: Path, **asked: Any) -> None:
    """Work a search off in which a trial diverges and one was enqueued before the search began."""
    bench = Bench(folder, trials=6, **asked)
    while isinstance(given := bench.ask(), tuple):
        trial, leg = given
        epoch = leg["reported"] + 1
        if leg["trial"] == 2:
            bench.tell(trial, failure=f"epoch {epoch}: training loss is nan", failure_kind="diverged")
            continue
        while bench.epoch(trial, epoch, leg["params"]["lr"] + 0.001 * epoch):
            epoch += 1
    bench.search.end()


def dies_at(write: int, folder: Path, **asked: Any) -> bool:
    """Work the search off in a process that is killed before this of its writes; whether it came to that."""
    child = os.fork()
    if not child:
        os.environ["RUNGWISE_FAULT"] = f"write:{write}"
        try:
            train_with_a_failure(folder, **asked)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


def prepared(folder: Path) -> Path:
    """The folder of a search that has begun nothing, with an enqueued trial."""
    folder.mkdir()
    Bench(folder, trials=6)
    enqueue(folder, {"lr": 0.5})
    return folder


def everything(folder: Path) -> list[tuple]:
    study = open_study(folder)
    kept = {k: v for k, v in study._storage.get_study_system_attrs(study._study_id).items() if k.startswith("qmc")}
    return [
        kept, *[(t.params, t.intermediate_values, t.value, t.state, t.user_attrs, t.system_attrs) for t in study.trials]
    ]  # fmt: skip


@pytest.mark.parametrize("asked", [{"sampler": "qmc"}, {"sampler": "curves"}, {"sampler": "tpe", "pruner": "median"}])
def test_a_driver_killed_between_any_two_writes_resumes_to_the_study_of_an_undisturbed_search(
    asked: dict[str, Any], tmp_path: Path
):
    calm, torn = prepared(tmp_path / "calm"), prepared(tmp_path / "torn")
    train_with_a_failure(calm, **asked)
    num_kills = 0
    while dies_at(2, torn, **asked):  # each process writes once
        num_kills += 1
    assert num_kills > 20
    assert everything(torn) == everything(calm)


@pytest.mark.parametrize("write", [*range(1, 30, 2), 40, 50, 60])
def test_in_plain_mode_a_driver_that_is_killed_at_a_write_resumes_to_the_same_trials(
    write: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RUNGWISE_PLAIN", "1")
    calm, torn = prepared(tmp_path / "calm"), prepared(tmp_path / "torn")
    train_with_a_failure(calm)
    assert dies_at(write, torn)
    train_with_a_failure(torn)
    assert everything(torn) == everything(calm)


def test_no_more_legs_run_than_there_are_slots(tmp_path: Path):
    bench = Bench(tmp_path, slots=2)
    legs = [bench.ask(), bench.ask(), bench.ask()]
    assert [isinstance(leg, tuple) for leg in legs] == [True, True, False]
    assert legs[2] is None


def test_a_leg_whose_worker_is_starting_is_not_given_another_leg_s_worker(tmp_path: Path):
    bench = Bench(tmp_path, slots=2)
    bench.ask()
    assert bench.scheduler.choose_trial_to_run(None) is None


def test_a_trial_that_is_promoted_at_its_rung_goes_on_in_the_same_worker(tmp_path: Path):
    bench = Bench(tmp_path, trials=3, plan=())
    for value in (0.1, 0.2):
        trial, _ = bench.ask()  # type: ignore[misc]
        assert not bench.epoch(trial, 1, value)
    trial, _ = bench.ask()  # type: ignore[misc]
    assert bench.epoch(trial, 1, 0.3)


def test_the_baseline_is_trained_to_the_end_past_every_rung_also_when_it_was_interrupted_at_one(tmp_path: Path):
    first = Bench(tmp_path)
    trial, leg = first.ask()  # type: ignore[misc]
    assert leg["params"] == BASELINE[0].params
    assert first.epoch(trial, 1, 0.0)
    again = Bench(tmp_path)
    trial, leg = again.ask()  # type: ignore[misc]
    assert (leg["trial"], leg["reported"]) == (0, 1)
    assert all(again.epoch(trial, epoch, 0.0) for epoch in range(2, 9))
    assert not again.epoch(trial, 9, 0.0)
    assert states(tmp_path) == {0: ("COMPLETE", 9)}


def test_five_failures_alike_end_a_search_in_which_nothing_works(tmp_path: Path):
    bench = Bench(tmp_path, trials=50)
    while isinstance(asked := bench.ask(), tuple):
        bench.tell(asked[0], failure="ValueError: the same", failure_kind="error")
    assert isinstance(bench.search.fatal, HopelessSearchError)
    assert len(open_study(tmp_path).trials) == 5


def test_an_exception_in_a_callback_stops_the_search_and_is_kept(tmp_path: Path):
    bench = Bench(tmp_path)
    trial, _ = bench.ask()  # type: ignore[misc]
    assert bench.scheduler.on_trial_result(None, trial, {"said": "no json"}) == TrialScheduler.STOP
    assert isinstance(bench.search.fatal, ValueError)
    assert bench.searcher.suggest("next") == Searcher.FINISHED


def test_when_time_is_up_nothing_new_begins_and_what_runs_stays_resumable(tmp_path: Path):
    bench = Bench(tmp_path, deadline=time.monotonic() + 3600, pruner="none")
    trial, _ = bench.ask()  # type: ignore[misc]
    assert bench.epoch(trial, 1, 0.5)
    bench.search.deadline = time.monotonic()
    assert not bench.epoch(trial, 2, 0.6)
    assert bench.ask() == Searcher.FINISHED
    bench.search.end()
    assert states(tmp_path) == {0: ("RUNNING", 2)}
    later = Bench(tmp_path, pruner="none", trials=9)
    _, leg = later.ask()  # type: ignore[misc]
    assert (leg["trial"], leg["reported"]) == (0, 2)


def test_a_worker_s_notices_reach_the_user(tmp_path: Path):
    bench = Bench(tmp_path)
    trial, _ = bench.ask()  # type: ignore[misc]
    bench.tell(trial, record={"epoch": 1, "accuracy": 0.5}, notices=["checkpoint 3 is damaged"])
    assert bench.diary.notices == ["checkpoint 3 is damaged"]


def test_ray_may_pickle_its_state_and_gets_nothing_of_the_search(tmp_path: Path):
    bench = Bench(tmp_path)
    assert b"accuracy" not in pickle.dumps(bench.search)


@pytest.mark.parametrize(
    ("pruner", "decided"), [("asha", [(), (1, 3, 9)]), ("none", [(), ()]), ("asha-stop", [None, None])]
)
def test_a_leg_names_the_epochs_after_which_its_trial_may_end(pruner: str, decided: list[Any], tmp_path: Path):
    bench = Bench(tmp_path, slots=2, pruner=pruner)
    legs = [leg[1] for leg in (bench.ask(), bench.ask()) if isinstance(leg, tuple)]
    assert [leg["decided"] for leg in legs] == decided, "the baseline is never compared under asha"
