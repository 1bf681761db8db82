"""The latency of built-in networks as an objective: measured once for a trial, before training, and kept."""

from pathlib import Path
from typing import Any

import pytest
import torch

import spaces.space
from search.execution.worker import Job, TrialWorker
from search.forecast.retraining import describe_second
from search.process.arguments import parse
from search.session.options import Options
from search.session.session import Session
from search.storage.run import Run
from search.storage.trials import end_attrs, stored_latency
from spaces.objectives import Objective
from spaces.second import Second, axis_label, measures_latency, read_objectives, second_of, unit_of
from tests.fronts import finished, run_of
from tests.workers import numbers, step
from trainables.data.dataset import Dataset
from trainables.sources import load as data
from trainables.trainable import Timing
from trainables.training.latency import measure_latency

ACCURACY = Objective(metric="accuracy", direction="maximize")
LATENCY = Second(name="latency", direction="minimize", known=False)
SPACE = spaces.space.load("digits_arch")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits", "nowhere", train_size=120)


def test_a_latency_is_measured_in_milliseconds_and_leaves_no_trace(digits: Dataset):
    threads, before = torch.get_num_threads(), torch.random.get_rng_state()
    found = measure_latency(SPACE.decode(SPACE.baseline).model, digits, device="cpu")
    assert 0.01 < found < 1000
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_a_network_of_thirty_times_the_work_takes_longer(digits: Dataset):
    task = SPACE.work
    assert isinstance(task, Timing)
    small, large = (SPACE.decode({**SPACE.baseline, "width_0": width, "width_1": width}) for width in (8, 64))
    assert task.costs(large, digits)["macs"] > 30 * task.costs(small, digits)["macs"]
    assert task.latency(large, digits, device="cpu") > task.latency(small, digits, device="cpu")


def test_the_latency_of_built_in_networks_needs_no_direction_and_cannot_be_maximised():
    def found(*words: str) -> Second | None:
        return second_of(read_objectives(words), first=ACCURACY, costs=["weights"], built_in=True)

    assert found("latency") == found("latency:min") == LATENCY
    with pytest.raises(ValueError, match="--objective latency: the direction is min, got max; leave :max out"):
        found("latency:max")
    assert measures_latency(LATENCY, built_in=True)
    assert not measures_latency(LATENCY, built_in=False), "code of the user's own reports it"
    assert not measures_latency(None, built_in=True)


def test_a_search_with_a_latency_keeps_it_also_with_the_best_epoch_and_resumes(tmp_path: Path):
    where = ["--objective", "latency", "--name", "x", "--runs-dir", str(tmp_path), "--train-size", "200"]
    run: Run = Session.open(
        parse(Options, [*where, "--keep-epoch", "best"], prog="x"), given={"objective", "keep_epoch"}
    ).run
    assert run.second == LATENCY
    assert "milliseconds for one row, measured on the worker before the first epoch" in describe_second(run)
    assert "reported by each epoch" in describe_second(run_of(second=LATENCY, dataset=""))


def worker_of(folder: Path, digits: Dataset, *, reported: int = 0, measured: bool = True, **leg: Any) -> TrialWorker:
    job = Job(
        space="digits_arch", arrays=digits.arrays(), epochs=3, metric="accuracy", checkpoints=str(folder), threads=1,
        cuda=False, latency=measured,
    )  # fmt: skip
    worker = TrialWorker.__new__(TrialWorker)
    worker.setup({"trial": 0, "params": SPACE.baseline, "seed": 1, "reported": reported, **leg}, job=job)
    return worker


def latency(worker: TrialWorker) -> float:
    record = step(worker).record
    assert record is not None
    return record["latency"]


def test_each_epoch_reports_the_latency_that_was_measured_before_the_first(tmp_path: Path, digits: Dataset):
    first = worker_of(tmp_path, digits)
    found = latency(first)
    assert latency(first) == found
    assert latency(worker_of(tmp_path, digits, reported=2)) == found, "the checkpoint has it"
    other = worker_of(tmp_path / "lost", digits, reported=1, latency=0.125)
    assert latency(other) == 0.125, "the study has it, if the checkpoint is lost"


def test_training_is_the_same_with_a_latency_and_without(tmp_path: Path, digits: Dataset):
    measured, plain = worker_of(tmp_path / "a", digits), worker_of(tmp_path / "b", digits, measured=False)
    assert [numbers(step(measured)) for _ in range(3)] == [numbers(step(plain)) for _ in range(3)]
    assert "latency" not in (step(worker_of(tmp_path / "c", digits, measured=False)).record or {})


def test_the_stored_latency_is_that_of_the_first_epoch():
    trial = finished(0, 0.9, 900, history=[{"latency": 1.5}, {"latency": 2.5}])
    run = run_of(second=LATENCY)
    assert stored_latency(trial, run) == 1.5
    assert end_attrs(trial, run) == {"latency": 1.5}, "for optuna-dashboard"
    assert stored_latency(finished(0, 0.9, 900), run) is None
    assert end_attrs(trial, run_of()) == end_attrs(trial, run_of(second=LATENCY, dataset="")) == {}


def test_axes_name_the_unit_of_a_measured_latency_and_none_of_what_own_code_reports():
    second = run_of(second=LATENCY).second
    assert second is not None
    shown = axis_label(second.name, second.direction, unit_of(second, built_in=True))
    assert shown == "latency (ms for one row, smaller is better)"
    assert axis_label(second.name, "maximize", unit_of(second, built_in=False)) == "latency (larger is better)"
