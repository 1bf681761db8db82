"""Several workers of a trial: the numbers of one worker, the state of one, and what a lost one leaves the others."""

import os
import signal
import socket
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from search.execution.failures import WorkerFailure, failure
from search.execution.group import Host, connect, interface, is_broken
from search.execution.slots import as_begun, differences
from search.process.allotted import Cpus
from search.runtime.resources import Resources, capacity, plan_resources, share_nodes
from search.scheduling.messages import EpochResult
from search.session.options import Options
from search.session.planning import plan
from tests.ledgers import make_run
from tests.own_spaces import CLASS, PARALLEL, WHOLE, write_own
from tests.ranked import ADDRESS, alone, build, pair
from trainables.own.stored import copied
from trainables.trainable import MisuseError, close

TOLERANCE = 1e-5
"""Sums in another order."""


@pytest.fixture(autouse=True)
def quick(one_thread: None) -> None:
    """One thread, as the other worker has."""


def losses(records: list[dict[str, Any]]) -> list[list[float]]:
    return [[record["loss"], record["train_loss"]] for record in records]


def weights(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(state["objects"]["model"])


def test_a_worker_that_ray_ends_by_a_signal_is_lost_and_its_trial_has_not_failed():
    ray_only: Any = import_module("ray._raylet")
    with pytest.raises(SystemExit) as caught:  # as Ray's handler of SIGTERM does
        ray_only.raise_sys_exit_with_custom_error_message("The process receives a SIGTERM.", exit_code=1)
    with pytest.raises(SystemExit):
        failure(caught.value, kind="error", notices=[])
    assert failure(SystemExit(1), kind="error", notices=[]).failure == "SystemExit: 1"  # of the user's code


@pytest.mark.slow
def test_two_workers_have_the_losses_of_one_at_the_same_batch(tmp_path: Path):
    path = write_own(tmp_path, text=PARALLEL)
    expected, single = alone(path)
    with pair(path) as two:
        records = [two.run_epoch() for _ in range(4)]
        state = copied(two.training.state())
    for found, wanted in zip(losses(records), losses(expected), strict=True):
        assert found == pytest.approx(wanted, abs=TOLERANCE)
    assert records[0]["weights"] == expected[0]["weights"]
    assert list(weights(state)) == list(weights(single)), "no name tells how many workers there were"
    torch.testing.assert_close(weights(state), weights(single), rtol=0, atol=TOLERANCE)
    assert max(abs(a - b) for a, b in zip(losses(records)[3], losses(expected)[0], strict=True)) > 100 * TOLERANCE


@pytest.mark.slow
def test_one_worker_continues_the_state_of_two_and_two_that_of_one(tmp_path: Path):
    path = write_own(tmp_path, text=PARALLEL)
    expected, _ = alone(path)
    with pair(path) as two:
        for _ in range(2):
            two.run_epoch()
        state = copied(two.training.state())
    assert losses(alone(path, epochs=2, state=state)[0])[1] == pytest.approx(losses(expected)[3], abs=TOLERANCE)
    with pair(path, state=alone(path, epochs=2)[1]) as two:
        records = [two.run_epoch() for _ in range(2)]
    assert losses(records)[1] == pytest.approx(losses(expected)[3], abs=TOLERANCE)


@pytest.mark.slow
def test_a_class_has_the_losses_of_one_worker_and_continues_its_state(tmp_path: Path):
    path = write_own(tmp_path, text=CLASS)
    expected, _ = alone(path)
    with pair(path) as two:
        records = [two.run_epoch() for _ in range(4)]
    for found, wanted in zip(losses(records), losses(expected), strict=True):
        assert found == pytest.approx(wanted, abs=TOLERANCE)
    with pair(path, state=alone(path, epochs=2)[1]) as two:
        records = [two.run_epoch() for _ in range(2)]
    assert losses(records)[1] == pytest.approx(losses(expected)[3], abs=TOLERANCE)


@pytest.mark.slow
def test_every_worker_begins_an_epoch_with_the_random_states_of_worker_0(tmp_path: Path):
    begins = "        model.train()\n"
    drawing = f"{begins}        torch.rand(1 + 5 * run.rank)\n"
    path = write_own(
        tmp_path, text=PARALLEL.replace("        scheduler.step()\n", "        scheduler.step()\n" + drawing)
    )
    expected, _ = alone(path)
    with pair(path) as two:
        records = [two.run_epoch() for _ in range(4)]
    assert losses(records)[3] == pytest.approx(losses(expected)[3], abs=TOLERANCE), "else the parts overlap"


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_exchange_of_the_other_at_once(tmp_path: Path):
    waits = "        import time; time.sleep(600 * (run.rank == 1 and epoch == 2))\n"
    path = write_own(tmp_path, text=PARALLEL.replace("        model.train()\n", f"        model.train()\n{waits}"))
    with pair(path) as two:
        two.run_epoch()
        assert two.process.pid is not None
        began = time.monotonic()
        os.kill(two.process.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError) as caught:
            two.run_epoch()
        assert time.monotonic() - began < 60, "gloo itself would wait for half an hour"
    assert is_broken(caught.value)
    assert not is_broken(ValueError("Connection closed by peer"))
    assert not is_broken(RuntimeError("[gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms"))


def test_a_store_listens_on_its_address_alone():
    host = Host(ADDRESS)
    connect(ADDRESS, host.port).set("a", "b")
    assert host.store.get("a") == b"b"
    assert interface(ADDRESS).startswith("lo")
    assert interface("192.0.2.1") == ""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", host.port), timeout=5)


def test_code_that_prepares_no_model_is_told_and_one_worker_needs_none(tmp_path: Path):
    path = write_own(tmp_path)
    assert alone(path, epochs=1)[0]
    training = build(path, rank=0, world_size=2)
    with pytest.raises(MisuseError, match=r"with --workers-per-trial 2, training code must call model = run.prepare"):
        training.run_epoch()
    close(training)


def test_the_failure_of_another_worker_keeps_its_kind_and_traceback():
    told = EpochResult(failure="epoch 2: loss is nan", failure_kind="diverged", log="where")
    found = failure(WorkerFailure(1, told), kind="error", notices=["n"])
    assert found == EpochResult(
        failure="worker 1: epoch 2: loss is nan", failure_kind="diverged", log="where", notices=("n",)
    )


# Resources


@pytest.mark.parametrize(
    ("wishes", "found"),
    [
        ({"workers_per_trial": 2}, (4, 2, 0.0, 2)),
        ({"workers_per_trial": 2, "cpus_per_trial": 4}, (2, 4, 0.0, 2)),
        ({"workers_per_trial": 3}, (2, 3, 0.0, 3)),
        ({"workers_per_trial": 2, "concurrent": 1}, (1, 8, 0.0, 2)),
        ({"workers_per_trial": 8}, (1, 8, 0.0, 8)),
        ({}, (8, 1, 0.0, 1)),
    ],
)
def test_workers_share_the_cpus_of_a_trial(wishes: dict[str, Any], found: tuple, monkeypatch: pytest.MonkeyPatch):
    machine_with(monkeypatch, gpus=0)
    assert planned(**wishes) == found


@pytest.mark.parametrize(
    ("wishes", "found"),
    [
        ({"gpus_per_trial": 2.0}, (2, 4, 2.0, 2)),
        ({"workers_per_trial": 2}, (2, 4, 2.0, 2)),
        ({"gpus_per_trial": 3.0}, (1, 6, 3.0, 3)),
        ({"gpus_per_trial": 0.0, "workers_per_trial": 2}, (4, 2, 0.0, 2)),
        ({}, (4, 2, 1.0, 1)),
        ({"gpus_per_trial": 0.5}, (8, 1, 0.5, 1)),
    ],
)
def test_each_worker_has_a_gpu(wishes: dict[str, Any], found: tuple, monkeypatch: pytest.MonkeyPatch):
    machine_with(monkeypatch, gpus=4)
    assert planned(**wishes) == found


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (
            {"workers_per_trial": 9, "gpus_per_trial": 0.0},
            "--workers-per-trial must be at most the 8 CPUs of this machine, got 9",
        ),
        ({"workers_per_trial": 2, "cpus_per_trial": 3}, "must be a multiple of --workers-per-trial 2, got 3"),
        (
            {"workers_per_trial": 2, "gpus_per_trial": 0.5},
            "must equal --gpus-per-trial 0.5, because each worker uses a GPU",
        ),
        ({"workers_per_trial": 1, "gpus_per_trial": 2.0}, "--workers-per-trial must equal --gpus-per-trial 2, because"),
        ({"gpus_per_trial": 5.0}, "--gpus-per-trial must be at most the 4 GPUs of this machine, got 5"),
    ],
)
def test_what_workers_cannot_share_is_refused(wishes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch):
    machine_with(monkeypatch, gpus=4)
    with pytest.raises(ValueError, match=message):
        planned(**wishes)


def machine_with(monkeypatch: pytest.MonkeyPatch, *, gpus: int) -> None:
    """A machine of eight CPUs and so many GPUs."""
    monkeypatch.setattr("search.runtime.resources.allotted_cpus", lambda: Cpus(count=8, built_in=8))
    monkeypatch.setattr("search.runtime.resources.count_gpus", lambda: gpus)


def planned(**wishes: Any) -> tuple[int, int, float, int]:
    wanted: dict[str, Any] = {"concurrent": None, "cpus_per_trial": None, "gpus_per_trial": None, **wishes}
    found = plan_resources(**wanted)
    return found.slots, found.cpus_per_trial, found.gpus_per_trial, found.workers_per_trial


def test_the_workers_of_a_trial_may_be_on_several_nodes():
    nodes = [{"CPU": 3.0}, {"CPU": 3.0}]
    found = share_nodes(nodes, concurrent=None, cpus_per_trial=None, gpus_per_trial=None, workers_per_trial=2)
    assert (found.slots, found.cpus_per_trial, found.described) == (3, 2, "2 workers of 1 thread")
    wide = Resources(slots=1, cpus_per_trial=4, gpus_per_trial=0.0, workers_per_trial=2)
    assert capacity(nodes, wide) == 1, "each node has room for one worker of two CPUs"
    gpus = [{"CPU": 8.0, "GPU": 1.0}] * 4
    found = share_nodes(gpus, concurrent=None, cpus_per_trial=None, gpus_per_trial=2.0)
    assert (found.slots, found.cpus_per_trial, found.workers_per_trial) == (2, 16, 2)


def test_a_resumed_run_has_the_workers_it_began_with_unless_others_are_asked_for():
    run = make_run(slots=1, cpus_per_trial=4, gpus_per_trial=0.0, workers_per_trial=2)
    nothing: dict[str, Any] = dict.fromkeys(("concurrent", "cpus_per_trial", "gpus_per_trial", "workers_per_trial"))
    begun = {"cpus_per_trial": 4, "gpus_per_trial": 0.0, "workers_per_trial": 2, "concurrent": 1}
    assert as_begun(run, nothing) == begun
    fewer = as_begun(run, {**nothing, "workers_per_trial": 1})
    assert (fewer["cpus_per_trial"], fewer["workers_per_trial"]) == (2, 1), "as many threads each"
    now = Resources(slots=1, cpus_per_trial=2, gpus_per_trial=0.0)
    assert differences(run, now) == "1 worker per trial, this run used 2; values will differ in the last digits"


def test_what_cannot_use_several_workers_is_refused_before_anything_starts(tmp_path: Path):
    two: dict[str, Any] = {"workers_per_trial": 2, "cpus_per_trial": 2}
    assert plan(Options(space="digits_arch", **two)).workers_per_trial == 2
    path = write_own(tmp_path, "never", text=WHOLE)
    with pytest.raises(ValueError, match=r"calls model = run.prepare\(model\), which never never does"):
        plan(Options(space=str(path), **two))
    assert plan(Options(space=str(write_own(tmp_path, "does", text=PARALLEL)), **two)).workers_per_trial == 2
