"""Nodes that leave a cluster: what the search says, where trials may begin, and which workers Tune may keep."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.execution.tune_controller import TuneController
from ray.tune.schedulers import TrialScheduler

from search.execution.leaving import LEAVES, Departures, workers_released
from search.execution.worker import TrialWorker
from search.runtime import resources
from search.storage.study import open_study
from tests.benches import Bench

NODES = [
    {"NodeID": f"{number}" * 8, "NodeManagerHostname": f"host{number}", "Alive": True, "Resources": {"CPU": number}}
    for number in (1, 2)
]


@pytest.fixture
def warn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function after whose call Ray says that these nodes are draining."""
    monkeypatch.setattr("ray.nodes", lambda: NODES)
    monkeypatch.setattr("ray.is_initialized", lambda: True)

    def set_nodes(*node_ids: str) -> None:
        found = dict.fromkeys(node_ids, 0)
        monkeypatch.setattr("ray._private.state.state.get_draining_nodes", lambda: found)

    set_nodes()
    return set_nodes


def test_a_node_that_was_warned_has_room_for_no_trial(warn: Callable[..., None]):
    assert resources.living_nodes() == [{"CPU": 1}, {"CPU": 2}]
    warn("2" * 8)
    assert resources.living_nodes() == [{"CPU": 1}]


def test_in_plain_mode_no_warning_is_known(warn: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    warn("2" * 8)
    monkeypatch.setenv("RUNGWISE_PLAIN", "1")
    assert resources.leaving_nodes() == frozenset()
    keep = TuneController._maybe_cache_trial_actor
    with workers_released():
        assert TuneController._maybe_cache_trial_actor is keep


def test_each_node_that_leaves_is_named_once(warn: Callable[..., None]):
    said: list[str] = []
    departures = Departures(said.append)
    departures.look()
    warn("2" * 8)
    departures.look()
    departures.look()
    warn("2" * 8, "9" * 8)
    departures.look()
    warn()
    departures.note("1" * 8)
    rest = "leaves the cluster; its trials continue elsewhere after their running epoch"
    assert said == [f"node host2 (222222) {rest}", f"node unknown (999999) {rest}", f"node host1 (111111) {rest}"]


def test_a_leg_on_a_node_that_leaves_ends_with_its_epoch_and_its_trial_is_the_next(tmp_path: Path):
    bench = Bench(tmp_path, slots=2, pruner="none", story=True)
    leaver, leg = bench.ask()  # type: ignore[misc]
    bench.ask()
    record = {"epoch": 1, "accuracy": 0.5, "seconds": 0.1}
    result: dict[str, Any] = {"said": json.dumps({"record": record}), LEAVES: True}
    assert bench.scheduler.on_trial_result(None, leaver, result) == TrialScheduler.STOP
    bench.searcher.on_trial_complete(leaver.trial_id, {})
    _, again = bench.ask()  # type: ignore[misc]
    assert (again["trial"], again["reported"]) == (leg["trial"], 1)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [(e["event"], e["epoch"]) for e in events if e["event"] == "trial_interrupted"] == [("trial_interrupted", 1)]
    assert open_study(tmp_path).trials[0].intermediate_values == {1: 0.5}


def test_tune_keeps_no_worker_on_a_node_that_leaves(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(TuneController, "_maybe_cache_trial_actor", lambda controller, trial: True)
    before = TuneController._maybe_cache_trial_actor
    with workers_released():
        kept: Any = TuneController._maybe_cache_trial_actor
        assert kept(None, SimpleNamespace(last_result={LEAVES: False}))
        assert kept(None, SimpleNamespace(last_result={}))
        assert not kept(None, SimpleNamespace(last_result={LEAVES: True}))
    assert TuneController._maybe_cache_trial_actor is before


@pytest.mark.parametrize(("epoch", "goes_on"), [(2, True), (3, False), (9, False)])
def test_a_worker_begins_no_epoch_ahead_on_a_node_that_leaves(
    epoch: int, goes_on: bool, warn: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    worker: Any = object.__new__(TrialWorker)
    worker._job = SimpleNamespace(epochs=9, debug=False, workers=1)
    worker._leg, worker._node_id, worker._is_elsewhere = {"decided": (1, 3)}, "2" * 8, True
    assert worker._is_followed(epoch) is goes_on
    warn("2" * 8)
    assert not worker._is_followed(epoch)
    worker._is_elsewhere = False  # on the search's own node, which has no other to go to
    assert worker._is_followed(epoch) is goes_on
