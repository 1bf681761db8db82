"""The worker as Ray drives it, without Ray: failures by kind, checkpoints it may not trust, a full disk."""

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from search.execution.worker import Job, TrialWorker
from search.scheduling.messages import EpochResult
from spaces.space import load
from tests.disks import fill, small_disk
from tests.workers import numbers, step
from trainables.data.dataset import from_arrays
from trainables.files import checkpoint
from trainables.sources import load as data
from trainables.training.training import Training

__all__ = ["small_disk"]  # a fixture

EPOCHS = 3
BASELINE = load("digits_arch").baseline


@pytest.fixture(scope="module")
def arrays() -> dict[str, Any]:
    return data.load("digits", "nowhere", train_size=120).arrays()


@pytest.fixture
def make_worker(tmp_path: Path, arrays: dict[str, Any]) -> Callable[..., TrialWorker]:
    def make(
        *, trial: int = 5, reported: int = 0, folder: Path = tmp_path, debug: bool = False, **params: Any
    ) -> TrialWorker:
        job = Job(
            space="digits_arch", arrays=arrays, epochs=EPOCHS, metric="accuracy", checkpoints=str(folder), threads=1,
            cuda=False, debug=debug,
        )  # fmt: skip
        leg = {"trial": trial, "params": {**BASELINE, **params}, "seed": 1, "reported": reported}
        worker = TrialWorker.__new__(TrialWorker)
        worker.setup(leg, job=job)
        return worker

    return make


def test_a_trial_that_changes_workers_at_every_epoch_tells_the_same_numbers(make_worker, tmp_path: Path):
    calm = make_worker(trial=1)
    expected = [numbers(step(calm)) for _ in range(EPOCHS)]
    moved = [numbers(step(make_worker(trial=2, reported=epoch))) for epoch in range(EPOCHS)]
    assert moved == expected


@pytest.mark.parametrize(
    ("fault", "kind", "cause"),
    [
        ("begin:5:raise", "invalid", "RuntimeError: an injected fault"),
        ("epoch:1:raise", "error", "RuntimeError: an injected fault"),
        ("epoch:1:exit", "error", "SystemExit: 3"),
        ("epoch:1:memory", "out of memory", "MemoryError"),
        ("epoch:1:shout", "error", "RuntimeError: xxxx"),
    ],
)
def test_a_failure_is_told_with_its_kind_and_the_worker_lives(
    fault: str, kind: str, cause: str, make_worker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RUNGWISE_FAULT", fault)
    worker = make_worker()
    result = step(worker)
    assert result.failure is not None
    assert "Traceback (most recent call last):" in result.log
    assert len(result.log) < 300_000
    assert result.failure_kind == kind
    assert result.failure.startswith(cause)
    assert len(result.failure) < 2100
    monkeypatch.delenv("RUNGWISE_FAULT")
    worker.reset_config({"trial": 6, "params": BASELINE, "seed": 1, "reported": 0})
    assert step(worker).failure is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_network_that_is_no_longer_finite_has_diverged_at_that_epoch(bad: float, make_worker):
    worker = make_worker()
    assert step(worker).failure is None
    with torch.no_grad():
        next(worker._lead.training.model.parameters()).fill_(bad)
    result = step(worker)
    assert (result.failure_kind, result.record) == ("diverged", None)
    assert "epoch 2" in str(result.failure)


def test_a_configuration_that_cannot_be_built_is_invalid(make_worker):
    result = step(make_worker(depth=99))
    assert result.failure_kind == "invalid"
    assert "depth" in str(result.failure)


def test_a_checkpoint_of_another_architecture_is_passed_over(make_worker, tmp_path: Path):
    worker = make_worker()
    step(worker)
    step(worker)
    other = make_worker(trial=6, width_0=8)
    step(other)
    step(other)
    newest, stranger = (tmp_path / f"trial-{n:05d}" / "epoch-0002" for n in (5, 6))
    shutil.rmtree(newest)
    shutil.copytree(stranger, newest)
    result = step(make_worker(reported=2))
    assert result.notices == ["checkpoint 2 of trial-00005 is damaged (of a different training); using epoch 1"]
    assert result.record is not None
    assert result.record["epoch"] == 3


def test_a_trial_without_a_usable_checkpoint_starts_again_and_says_so(make_worker, tmp_path: Path):
    worker = make_worker()
    expected = [numbers(step(worker)) for _ in range(2)]
    for state in tmp_path.rglob("state.pt"):
        state.write_bytes(b"")
    again = step(make_worker(reported=1))
    assert numbers(again) == expected[1]
    assert again.notices == [
        f"checkpoint {epoch} of trial-00005 is damaged (size); none is left, starting again" for epoch in (2, 1)
    ]
    shutil.rmtree(tmp_path / "trial-00005")
    assert step(make_worker(reported=1)).notices == [
        "trial-00005 lost its checkpoints and is trained again from epoch 1"
    ]


class Malicious:
    def __init__(self, touched: Path) -> None:
        self._touched = touched

    def __reduce__(self) -> tuple:
        return (Path.touch, (self._touched,))


def test_a_malicious_checkpoint_is_refused_on_resume_and_nothing_is_run(make_worker, tmp_path: Path):
    worker = make_worker()
    step(worker)
    step(worker)
    folder = tmp_path / "trial-00005"
    checkpoint.save(folder, {"model": Malicious(tmp_path / "touched")}, epoch=2)  # with a checksum that is right
    pickled = folder / "epoch-0001" / "state.pt"
    pickled.write_bytes(pickle.dumps(Malicious(tmp_path / "touched")))
    result = step(make_worker(reported=2))
    assert not (tmp_path / "touched").exists()
    assert result.record is not None  # trained again from the start
    assert len(result.notices) == 2
    assert "refused: it contains more than tensors and plain values" in result.notices[0]


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"in": inner}
    return inner


@pytest.mark.parametrize(
    "forge",
    [
        lambda state: {},
        lambda state: {**state, "optimizer": None},
        lambda state: {**state, "optimizer": {"state": {}, "param_groups": []}},
        lambda state: {**state, "model": None},
        lambda state: {**state, "model": torch.zeros(3)},
        lambda state: {**state, "epoch": 100},
        lambda state: {**state, "epoch": "2"},
        lambda state: {**state, "epoch": -1},
        lambda state: {**state, "epoch": torch.tensor(2)},
        lambda state: {**state, "history": state["history"][:1]},
        lambda state: {**state, "history": None},
        lambda state: {**state, "history": [None, None]},
        lambda state: {**state, "history": state["history"][::-1]},
        lambda state: {**state, "history": [nested(3), nested(3)]},
        lambda state: {**state, "history": [{**r, "accuracy": torch.tensor(0.9)} for r in state["history"]]},
        lambda state: {**state, "history": [{**r, "accuracy": float("nan")} for r in state["history"]]},
        lambda state: {**state, "history": [{**r, "more": nested(50)} for r in state["history"]]},
        lambda state: {**state, "num_parts": None},
        lambda state: {**state, "num_parts": 0},
        lambda state: {**state, "seed": [1]},
    ],
)
def test_a_forged_state_is_passed_over_with_its_name_and_the_one_before_is_used(
    forge, make_worker, third_epoch: dict[str, float], tmp_path: Path
):
    worker = make_worker()
    for _ in range(2):
        step(worker)
    folder = tmp_path / "trial-00005"
    training, records = checkpoint.parted(torch.load(folder / "epoch-0002" / "state.pt", weights_only=True))
    checkpoint.save(folder, forge({**training, "history": records}), epoch=2)  # as older releases wrote it
    result = step(make_worker(reported=2))
    assert result.notices == ["checkpoint 2 of trial-00005 is damaged (of a different training); using epoch 1"]
    assert numbers(result) == third_epoch


@pytest.fixture(scope="module")
def third_epoch(arrays: dict[str, Any]) -> dict[str, float]:
    training = Training(load("digits_arch").decode(BASELINE), from_arrays(arrays), epochs=EPOCHS, seed=1)
    records = [training.run_epoch() for _ in range(EPOCHS)]
    return numbers(EpochResult(record=records[-1]))


def test_a_network_that_can_no_longer_be_built_is_no_damage_of_its_checkpoints(
    make_worker, monkeypatch: pytest.MonkeyPatch
):
    step(make_worker())

    def broken(layer: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("my bug")

    monkeypatch.setattr(torch.nn.Conv2d, "forward", broken)
    result = step(make_worker(reported=1))
    assert (result.failure, result.notices) == ("RuntimeError: my bug", [])


def test_a_failure_keeps_its_traceback_and_what_was_printed_before_it(make_worker, monkeypatch: pytest.MonkeyPatch):
    worker = make_worker()
    assert step(worker).log == ""
    forward = torch.nn.Conv2d.forward

    def broken(layer: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        print("rows", len(x))
        if layer.in_channels > 1:
            raise RuntimeError("my bug")
        return forward(layer, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", broken)
    result = step(worker)
    header, *lines = result.log.splitlines()
    assert re.fullmatch(r"--- \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, \S+:\d+, after epoch 1 ---", header)
    assert lines[:3] == ["rows 64", "rows 64", "Traceback (most recent call last):"]
    assert lines[-1] == "RuntimeError: my bug"
    assert "in broken" in result.log
    assert result.failure == "RuntimeError: my bug"
    worker.reset_config({"trial": 6, "params": BASELINE, "seed": 1, "reported": 0})
    assert "after epoch 0 ---" in step(worker).log


@pytest.mark.parametrize("debug", [False, True])
def test_with_debug_what_a_trial_prints_is_shown_as_well(
    make_worker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, *, debug: bool
):
    monkeypatch.setenv("RUNGWISE_FAULT", "epoch:1:raise")
    assert "an injected fault" in step(make_worker(debug=debug)).log
    assert ("an injected fault" in capfd.readouterr().out) == debug


def test_an_exception_that_cannot_be_shown_fails_its_trial_like_any_other(make_worker, monkeypatch: pytest.MonkeyPatch):
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    def broken(layer: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        raise Mute

    monkeypatch.setattr(torch.nn.Conv2d, "forward", broken)
    result = step(make_worker())
    assert result.failure_kind == "invalid"
    assert "Mute" in str(result.failure)
    assert "Traceback" in result.log


def test_a_full_disk_is_no_fault_of_the_trial_and_leaves_older_checkpoints_whole(make_worker, small_disk: Path):
    worker = make_worker(folder=small_disk)
    step(worker)
    fill(small_disk / "filler")
    result = step(worker)
    assert result.failure_kind == "storage"
    assert f"No space left on device; {small_disk} (tmpfs) has 0.0 MB of 25.2 MB free" in str(result.failure)
    loaded = checkpoint.load_newest(small_disk / "trial-00005")
    assert loaded is not None
    assert (loaded.epoch, loaded.problems) == (1, [])
    (small_disk / "filler").unlink()
    assert step(make_worker(folder=small_disk, reported=1)).record["epoch"] == 2  # type: ignore[index]
