"""Searches replayed on public learning curves: the tasks, what counts, and the tables."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler

from benchmarks import public_tasks
from benchmarks.continuing import Continuing, Dehb, Neps, Smac
from benchmarks.public_tasks import CONFIRMATION, LCBENCH, TASKSET, TUNING, PublicTask, TaskSet, calibrate
from benchmarks.regret import NUM_MOMENTS
from benchmarks.replay import replay_peer
from benchmarks.rivals import FirstEpoch, Options, replay, replay_all, summarise, tables

TASK = "ts-gru64avg"


@pytest.fixture(scope="module")
def task() -> PublicTask:
    return PublicTask(TASK)


def drawn(task: PublicTask, seed: int) -> dict[str, Any]:
    return task.ask(optuna.create_study(sampler=RandomSampler(seed=seed)).ask())


def test_the_halves_share_no_task_and_have_all_of_them():
    assert not set(TUNING) & set(CONFIRMATION)
    assert len(TUNING) == len(CONFIRMATION) == 10
    assert {name.split("-")[1] for name in (*TUNING, *CONFIRMATION)} == {*LCBENCH, *TASKSET}


def test_a_run_that_was_recorded_has_its_recorded_curve():
    family = TaskSet("gru64avg")
    codes = family._fit["X"][:3]
    params = [public_tasks._at(family.space, code) for code in codes]
    whole, last = family.curves(params), family.curves(params, first=family.epochs)
    assert np.array_equal(whole[:, -1:], last)
    assert np.isfinite(whole).all()
    nearby = [{**one, "learning_rate": one["learning_rate"] * 1.0001} for one in params]
    assert np.abs(family.curves(nearby) - whole).max() < 0.05, "a small step changes little"


def test_regret_is_told_from_the_best_known_and_the_median_configuration(task: PublicTask):
    finals = [task.final(drawn(task, seed)) for seed in range(60)]
    assert max(finals) <= task.best
    assert 15 <= sum(final > task.median for final in finals) <= 45


def test_the_local_search_of_the_calibration_exceeds_random_configurations(task: PublicTask):
    found = calibrate(task.family, drawn=60)
    finals = [task.final(drawn(task, seed)) for seed in range(60)]
    assert found["best"] > max(finals)


def test_lcbench_gives_fifty_epochs_of_an_accuracy():
    pytest.importorskip("onnxruntime")
    lcbench = PublicTask("lcb-126029")
    curve = [lcbench.value_at(lcbench.baseline, epoch) for epoch in range(1, lcbench.epochs + 1)]
    assert len(curve) == 50
    assert 0 <= min(curve) <= max(curve) <= 1
    assert curve[-1] > curve[0]


@pytest.mark.parametrize("search", ["rungwise", "Ray: random + ASHA, first rung 3", "Optuna: TPE + Hyperband"])
def test_a_search_reaches_less_regret_than_the_median_configuration(task: PublicTask, search: str):
    regrets = replay(task, search, workers=4, seed=0)
    assert len(regrets) == NUM_MOMENTS
    assert 0 <= regrets[-1] < 0.5
    assert regrets == replay(task, search, workers=4, seed=0)


def test_after_looks_for_half_of_the_compute_the_best_are_trained_to_the_end(task: PublicTask):
    moments, params = replay_peer(task, FirstEpoch(task, 0), workers=1, until=900, decision_seconds=0.0)
    last: dict[int, int] = {}
    for _, trial, epoch in moments:
        last[trial] = epoch
    looks = [trial for trial, epoch in last.items() if epoch == 1]
    assert len(looks) == 15 * task.epochs
    best = max(looks, key=lambda trial: task.value_at(params[trial], 1))
    assert params[len(looks)] == params[best]
    assert last[len(looks)] == task.epochs


def test_a_search_that_was_replayed_is_read_and_not_replayed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = Options(seeds=1, tasks=(TASK,), workers=(16,), searches=("Ray: random + ASHA",), keep=tmp_path / "kept")
    found = dict(replay_all(options))
    monkeypatch.setattr("benchmarks.rivals.replay", lambda *args, **more: 1 / 0)
    assert dict(replay_all(options)) == found


def test_the_table_has_the_best_first_and_says_who_is_stuck():
    good, poor = np.linspace(1, 0, NUM_MOMENTS), np.linspace(1, 0.4, NUM_MOMENTS)
    found = {
        (name, 4, search, seed): regrets.tolist()
        for name in ("a", "b")
        for seed in range(3)
        for search, regrets in (("theirs", poor if name == "a" else good), ("ours", good))
    }
    (result,) = summarise(found, ours="ours")
    theirs, ours = result["searches"]["theirs"], result["searches"]["ours"]
    assert (theirs["stuck"], theirs["most_stuck"], ours["stuck"]) == (0.5, 1.0, 0.0)
    assert ours["rank"][0] < theirs["rank"][0]
    assert theirs["final"][0] == pytest.approx(0.2)
    assert theirs["compute"][0] > 1.1
    rows = tables([result]).splitlines()
    assert rows[0] == "**4 workers** (2 tasks, 3 seeds)"
    assert rows[4].startswith("| ours | 1.")
    assert "50%, 100%" in rows[5]


class Listed(Continuing):
    """Asks for two configurations with these budgets, one after the other."""

    def __init__(self, task: PublicTask) -> None:
        super().__init__()
        self._asked_for = iter([(0, 1), (1, 1), (0, 3), (0, 9), (1, 1), (1, 51)])
        self._params = [drawn(task, 0), drawn(task, 1)]
        self.told: list[tuple[int, float]] = []

    def ask(self) -> tuple[Any, dict[str, Any], int]:
        place, budget = next(self._asked_for)
        return place, self._params[place], budget

    def tell(self, asked: Any, value: float) -> None:
        self.told.append((asked, value))


def test_a_tool_that_continues_a_configuration_is_charged_for_the_epochs_that_are_missing(task: PublicTask):
    peer = Listed(task)
    with pytest.raises(StopIteration):
        replay_peer(task, peer, workers=1, until=900, decision_seconds=0.0)
    values = [
        task.value_at(drawn(task, place), epoch) for place, epoch in ((0, 1), (1, 1), (0, 3), (0, 9), (1, 1), (1, 51))
    ]
    assert peer.told == list(zip([0, 1, 0, 0, 1, 1], values, strict=True))
    peer = Listed(task)
    peer._asked_for = iter([(0, 1), (0, 3), (0, 3), (1, 51)])
    moments, _ = replay_peer(task, peer, workers=1, until=10, decision_seconds=0.0)
    epochs = [(trial, epoch) for _, trial, epoch in moments]
    assert epochs[:4] == [(0, 1), (1, 2), (1, 3), (2, 3)], "what is known already costs an epoch"
    assert epochs[4:] == [(3, epoch) for epoch in range(1, 7)]


@pytest.mark.parametrize(("package", "make"), [
    ("smac", Smac), ("dehb", Dehb), ("neps", lambda task, seed: Neps(task, seed, algorithm="priorband", prior=True)),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_tool_that_continues_trials_stays_in_the_space(package: str, make: Any, task: PublicTask):
    pytest.importorskip(package)
    moments, params = replay_peer(task, make(task, 0), workers=4, until=150, decision_seconds=0.0)
    assert max(epoch for _, _, epoch in moments) == task.epochs
    assert len({tuple(one.values()) for one in params}) < len(params), "some are continued"
    for one in params:
        for name, wanted in task.family.space.items():
            assert wanted._contains(wanted.to_internal_repr(one[name])), name
