"""A person steers a search: each request is applied once and replayed, also where a process is killed at any write."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import BaseTrial, TrialState

from analysis.studies.rows import STOPPED, UNFINISHED
from analysis.studies.trials import read_trials
from search.forecast.begun import Begun
from search.scheduling.constraints import Examination
from search.storage.events import read_events
from search.storage.ledger import Ledger
from search.storage.presence import StudyLostError
from search.storage.requests import Request, num_asked_for, requests_in
from search.storage.run import Planned
from search.storage.study import open_study
from spaces.space import Space
from tests.benches import SPACE, Bench
from tests.ledgers import make_run
from tests.steered import BETWEEN_LEGS, Script, answers, killed_at, request, said, table, train_steered
from tests.stories import check_story
from trainables.training.config import TrainConfig

POINTS = (
    "request:0", "request:1", *(f"answered:{n}" for n in (1, 2, 3, 5, 6, 7)), "sampled:5", "sampled:7", "sampled:8",
    "reported:13", "recorded:30", "write:3", "write:14", "write:15", "write:29", "write:30", "write:44",
)  # fmt: skip
WITHIN: Script = (
    (10, Request(verb="pause", trial=1)),
    (13, Request(verb="resume", trial=1)),
    (30, Request(verb="stop", trial=0)),
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train_steered(folder, BETWEEN_LEGS)
    return folder


def test_the_script_has_requests_of_every_kind_that_take_effect(undisturbed: Path):
    states = {t.number: (t.state, len(t.intermediate_values)) for t in open_study(undisturbed).trials}
    assert states[2] == (TrialState.PRUNED, 1)
    assert states[1] == (TrialState.COMPLETE, 9), "it went on when it was resumed"
    tags = {t.number: t.user_attrs.get("tag") for t in open_study(undisturbed).trials}
    assert [tags[n] for n in (4, 6, 7)] == ["ctl-3", "ctl-6/1", "ctl-6/2"]
    assert len(states) == 8, "it was told to finish before the other four began"
    assert [one.state for one in answers(undisturbed)] == ["accepted"] * 3 + ["refused"] + ["accepted"] * 3
    check_story(undisturbed)


@pytest.mark.parametrize("point", POINTS)
def test_a_driver_killed_at_any_write_resumes_to_the_study_of_an_undisturbed_search(
    point: str, undisturbed: Path, tmp_path: Path
):
    assert killed_at(point, tmp_path, BETWEEN_LEGS)
    train_steered(tmp_path, BETWEEN_LEGS)
    assert table(tmp_path) == table(undisturbed)
    assert said(tmp_path) == said(undisturbed)
    events = [line for line in check_story(tmp_path) if line["event"].startswith("request_")]
    assert sorted(line["request"] for line in events) == list(range(1, 8)), "each is told once"


@pytest.mark.parametrize("point", ["answered:1", "reported:11", "answered:2", "answered:3", "recorded:31"])
def test_a_trial_that_is_paused_or_stopped_in_an_epoch_ends_with_that_epoch_also_after_a_kill(
    point: str, tmp_path: Path
):
    calm, torn = tmp_path / "calm", tmp_path / "torn"
    calm.mkdir()
    torn.mkdir()
    train_steered(calm, WITHIN, within=True)
    assert killed_at(point, torn, WITHIN, within=True)
    train_steered(torn, WITHIN, within=True)
    assert table(torn) == table(calm)
    assert said(torn) == said(calm)


def test_a_sender_that_is_killed_has_sent_the_whole_request_or_none(tmp_path: Path):
    Bench(tmp_path, trials=3).ask()
    for count, num_stored in ((0, 0), (1, 1)):
        child = os.fork()
        if not child:
            os.environ["RUNGWISE_FAULT"] = f"request:{count}"
            request(tmp_path, verb="stop", trial=0)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        assert [one.text for one in answers(tmp_path)] == ["stop 0"] * num_stored
    again = Bench(tmp_path, trials=3)
    assert [one.answer for one in again.diary.answers] == ["trial 0 is stopped"]
    again.search.steer()
    assert len(again.diary.answers) == 1


def test_a_search_that_is_asked_nothing_is_the_same_however_often_it_looks(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    Bench(one, sampler="curves", trials=14).train()
    looking = Bench(other, sampler="curves", trials=14)

    def value_of(lr: float, epoch: int) -> float:
        looking.search.steer()
        return lr + 0.001 * epoch

    looking.train(value_of)
    assert table(other) == table(one)


def begun(tmp_path: Path, **changes: Any) -> tuple[Bench, Any]:
    """A search whose first trial has a worker, and has trained an epoch."""
    bench = Bench(tmp_path, plan=(), **changes)
    trial, _ = bench.ask()  # type: ignore[misc]
    return bench, trial


def test_a_paused_trial_keeps_its_checkpoints_and_is_continued_only_after_a_resume(tmp_path: Path):
    bench, trial = begun(tmp_path, pruner="none", trials=2)
    assert bench.epoch(trial, 1, 0.5)
    request(tmp_path, verb="pause", trial=0)
    bench.search.steer()
    assert bench.diary.answers[0].answer == "trial 0 is paused after epoch 2, which is being trained"
    assert not bench.epoch(trial, 2, 0.5)
    bench.train()
    assert bench.diary.ends == [(1, "COMPLETE")], "what has not ended keeps its checkpoints"
    assert open_study(tmp_path).trials[0].state == TrialState.RUNNING
    again = Bench(tmp_path, plan=(), pruner="none", trials=2)
    assert again.search.finished
    again.search.end()
    request(tmp_path, verb="resume", trial=0)
    last = Bench(tmp_path, plan=(), pruner="none", trials=2)
    _, leg = last.ask()  # type: ignore[misc]
    assert (leg["trial"], leg["reported"]) == (0, 2)


def test_a_paused_trial_is_not_promoted(tmp_path: Path):
    bench = Bench(tmp_path, plan=(), trials=20)
    for value in (0.1, 0.9, 0.2):
        trial, leg = bench.ask()  # type: ignore[misc]
        if leg["trial"] == 1:
            request(tmp_path, verb="pause", trial=1)
            bench.search.steer()
        assert not bench.epoch(trial, 1, value)
    trial, leg = bench.ask()  # type: ignore[misc]
    assert leg["trial"] == 3, "the best of three would have been promoted"
    request(tmp_path, verb="resume", trial=1)
    bench.search.steer()
    assert not bench.epoch(trial, 1, 0.3)
    _, leg = bench.ask()  # type: ignore[misc]
    assert (leg["trial"], leg["reported"]) == (1, 1)


def test_a_stopped_trial_is_pruned_with_its_last_value_and_counts_as_stopped(tmp_path: Path):
    bench, trial = begun(tmp_path, trials=2, story=True)
    request(tmp_path, verb="stop", trial=0)
    bench.search.steer()
    assert not bench.epoch(trial, 1, 0.9)
    request(tmp_path, verb="stop", trial=1)
    bench.ask()
    bench.search.steer()
    assert bench.diary.ends == [(0, "PRUNED")]
    stored = open_study(tmp_path).trials
    assert (stored[0].state, stored[0].value) == (TrialState.PRUNED, 0.9)
    assert list(read_trials(open_study(tmp_path), bench.run).trials["state"]) == [STOPPED, UNFINISHED]
    told = [line for line in read_events(tmp_path) if line["event"] in ("request_accepted", "trial_pruned")]
    assert [(line["event"], line["trial"]) for line in told] == [
        ("request_accepted", 0), ("trial_pruned", 0), ("request_accepted", 1),
    ]  # fmt: skip


def test_a_trial_that_is_stopped_before_its_first_epoch_ends_without_a_value(tmp_path: Path):
    Bench(tmp_path, plan=()).ask()
    request(tmp_path, verb="stop", trial=0)
    again = Bench(tmp_path, plan=())
    assert again.diary.ends == [(0, "PRUNED")]
    again.train()
    assert again.search.fatal is None
    assert open_study(tmp_path).trials[0].value is None


def test_fewer_slots_let_a_trial_give_way_after_its_epoch_and_more_take_it_up_again(tmp_path: Path):
    bench = Bench(tmp_path, plan=(), pruner="none", slots=2)
    (first, _), (second, _) = bench.ask(), bench.ask()  # type: ignore[misc]
    request(tmp_path, verb="slots", slots=1)
    bench.search.steer()
    assert not bench.epoch(first, 1, 0.5)
    assert bench.epoch(second, 1, 0.5)
    assert bench.ask() is None
    request(tmp_path, verb="slots", slots=2)
    bench.search.steer()
    _, leg = bench.ask()  # type: ignore[misc]
    assert (leg["trial"], leg["reported"]) == (0, 1)
    again = Bench(tmp_path, plan=(), pruner="none", slots=2)
    assert again.search.steering.slots == 2, "a resumed search does as it was asked"


def test_a_budget_moves_sets_and_removes_the_limit_of_this_process_alone(tmp_path: Path):
    bench, _ = begun(tmp_path, deadline=time.monotonic() + 600)
    for fields, minutes in (
        ({"minutes": 30.0, "adds": True}, 40), ({"minutes": 5.0}, 5), ({"minutes": None}, None),
        ({"minutes": 3.0, "adds": True}, 3),
    ):  # fmt: skip
        request(tmp_path, verb="budget", **fields)
        bench.search.steer()
        left = bench.search.deadline and (bench.search.deadline - time.monotonic()) / 60
        assert left == (None if minutes is None else pytest.approx(minutes, abs=0.5))
    assert bench.diary.answers[0].answer == "the search ends in 40 min if it has not finished by then"
    assert Bench(tmp_path, plan=()).search.deadline is None


def test_a_search_that_is_to_finish_trains_its_best_to_the_end_and_a_larger_trials_continues_it(tmp_path: Path):
    bench = Bench(tmp_path, plan=(), trials=30)
    for value in (0.1, 0.9, 0.2):
        trial, _ = bench.ask()  # type: ignore[misc]
        bench.epoch(trial, 1, value)
    request(tmp_path, verb="finish")
    bench.search.steer()
    bench.train()
    states = [t.state for t in open_study(tmp_path).trials]
    assert states == [TrialState.PRUNED, TrialState.COMPLETE, TrialState.PRUNED]
    assert Bench(tmp_path, plan=(), trials=30).search.finished
    assert num_asked_for(bench.run, answers(tmp_path)) == 3
    more = Bench(tmp_path, plan=(), trials=31)
    assert not more.search.finished
    more.train()
    assert len(open_study(tmp_path).trials) == 31


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"verb": "pause", "trial": 7}, "the search has no trial 7; its trials have numbers from 0 to 2"),
        ({"verb": "resume", "trial": 2}, "trial 2 is not paused by a request"),
        ({"verb": "stop", "trial": 0}, "trial 0 has finished; only a trial that has not ended can be changed"),
        ({"verb": "stop", "trial": 1}, "trial 1 is in its last epoch, and ends with it"),
        ({"verb": "clone", "trial": 0, "changes": {"lr": "7"}}, r"lr must lie in .*, got 7"),
        ({"verb": "clone", "trial": 0, "changes": {"rl": "0.1"}}, r"rl is no parameter of the space"),
        ({"verb": "add", "configurations": [{"lr": 0.1}, {"lr": -3}]}, "lr must lie in .*, got -3"),
        ({"verb": "slots", "slots": 0}, "slots must be in .*, got 0"),
        ({"verb": "slots", "slots": 9}, "slots must be in .*, got 9; stop it and resume with --concurrent for more"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_rule_and_changes_nothing(
    fields: dict[str, Any], reason: str, tmp_path: Path
):
    bench = Bench(tmp_path, slots=2, pruner="none")
    bench.search.steering._most_slots = 2
    trial, _ = bench.ask()  # type: ignore[misc]
    for epoch in range(1, 10):
        bench.epoch(trial, epoch, 0.5)
    second, _ = bench.ask()  # type: ignore[misc]
    for epoch in range(1, 9):
        bench.epoch(second, epoch, 0.5)
    bench.ask()
    request(tmp_path, **fields)
    before = table(tmp_path)
    bench.search.steer()
    (answer,) = answers(tmp_path)
    assert answer.state == "refused"
    with pytest.raises(ValueError, match=reason):
        raise ValueError(answer.answer)
    assert table(tmp_path) == before
    assert bench.search.fatal is None


def _fails(error: Exception) -> Space:
    """A space whose code refuses lr = 0.5 with this error."""

    def suggest(trial: BaseTrial) -> TrainConfig:
        if trial.suggest_float("lr", 0.01, 1.0, log=True) == 0.5:
            raise error
        return SPACE.suggest(trial)

    return replace(SPACE, suggest=suggest)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AssertionError("width must be a multiple of heads"), "AssertionError: width must be a multiple of heads"),
        (KeyError("heads"), "KeyError: 'heads'"),
        (ValueError(""), "ValueError"),
    ],
)
@pytest.mark.parametrize(
    "fields",
    [{"verb": "clone", "trial": 0, "changes": {"lr": "0.5"}}, {"verb": "add", "configurations": [{"lr": 0.5}]}],
)
def test_a_request_that_the_code_of_the_space_refuses_with_any_error_is_refused(
    error: Exception, said: str, fields: dict[str, Any], tmp_path: Path
):
    bench, _ = begun(tmp_path, searched=_fails(error))
    request(tmp_path, **fields)
    bench.search.steer()
    (answer,) = answers(tmp_path)
    assert answer.state == "refused"
    assert answer.answer.startswith("test_steering.py, line ")
    assert answer.answer.endswith(said)
    assert not Bench(tmp_path, plan=(), searched=_fails(error)).search.stopping


def test_what_is_added_takes_the_place_of_sampled_trials_and_not_of_planned_ones(tmp_path: Path):
    plan = tuple(Planned(params={"lr": lr}, tag=tag) for lr, tag in ((0.1, "baseline"), (0.2, "try-1"), (0.3, "try-2")))
    settings: dict[str, Any] = {"plan": plan, "pruner": "none", "trials": 3}
    bench = Bench(tmp_path, **settings)
    trial, _ = bench.ask()  # type: ignore[misc]
    request(tmp_path, verb="add", configurations=({"lr": 0.6}, {"lr": 0.7}))
    bench.search.steer()
    assert Begun.read(open_study(tmp_path), bench.run, SPACE, lambda _: Examination()).num_in_all == 5
    while bench.epoch(trial, bench.search.position(trial.trial_id)[1] + 1, 0.5):
        pass
    Bench(tmp_path, **settings).train()
    tags = [trial.user_attrs.get("tag") for trial in open_study(tmp_path).trials]
    assert tags == ["baseline", "ctl-1/1", "ctl-1/2", "try-1", "try-2"]


def test_a_search_that_is_to_finish_begins_no_planned_trial(tmp_path: Path):
    plan = tuple(Planned(params={"lr": lr}) for lr in (0.1, 0.2, 0.3))
    bench = Bench(tmp_path, plan=plan, pruner="none", trials=3)
    bench.ask()
    request(tmp_path, verb="add", configurations=({"lr": 0.6}, {"lr": 0.7}))
    request(tmp_path, verb="finish")
    bench.search.steer()
    Bench(tmp_path, plan=plan, pruner="none", trials=3).train()
    assert [trial.params["lr"] for trial in open_study(tmp_path).trials] == [0.1, 0.6, 0.7]


def test_a_trial_is_paused_or_stopped_once(tmp_path: Path):
    bench, _ = begun(tmp_path)
    for verb in ("pause", "pause", "stop", "stop"):
        request(tmp_path, verb=verb, trial=0)
    bench.search.steer()
    assert [one.state for one in bench.diary.answers] == ["accepted", "refused", "accepted", "refused"]
    assert [one.answer for one in bench.diary.answers][1::2] == [
        "trial 0 is paused already", "trial 0 is stopped already, after epoch 1",
    ]  # fmt: skip


def test_a_search_that_lost_its_study_answers_nothing(tmp_path: Path):
    bench, _ = begun(tmp_path)
    request(tmp_path, verb="finish")
    bench.search.ledger._storage.owner = "another"  # type: ignore[attr-defined]
    with pytest.raises(StudyLostError, match="another search took over this study"):
        bench.search.steer()
    assert answers(tmp_path)[0].state == "waiting"


def test_a_database_that_does_not_answer_is_asked_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench, _ = begun(tmp_path)
    request(tmp_path, verb="finish")
    ledger: Ledger = bench.search.ledger

    def away(study_id: int) -> dict[str, Any]:
        raise StorageInternalError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(ledger._storage, "get_study_system_attrs", away)
        bench.search.steer()
    assert bench.diary.answers == []
    bench.search.steer()
    assert bench.diary.answers[0].state == "accepted"


def test_requests_are_read_in_the_order_of_their_answers_and_one_of_a_newer_release_is_left_out():
    attrs = {
        "rungwise:request:2": {"verb": "finish"},
        "rungwise:request:3": {"verb": "stop", "trial": 1, "number": 1, "state": "accepted"},
        "rungwise:request:4": {"verb": "teleport"},
        "rungwise:lease": {},
    }
    assert [one.text for one in requests_in(attrs)] == ["stop 1", "finish"]
    assert num_asked_for(make_run(trials=30), requests_in(attrs)) == 30
