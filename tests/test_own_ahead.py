"""A short epoch of a user's own loop that begins while the one before is saved: same bits, nothing lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from search.execution.worker import Job, TrialWorker
from search.scheduling.messages import EpochResult
from spaces.space import load
from tests.own_spaces import WHOLE, write_own
from trainables.files import checkpoint
from trainables.own import loop
from trainables.own.stored import difference
from trainables.trainable import Selection

EPOCHS = 4
HIDDEN = ("seconds", "started", "worker")
BEGINS = "        model.train()\n"
DRAWS = (
    WHOLE.replace("import torch\n", "import numpy, random, torch\n", 1)
    .replace(BEGINS, f"{BEGINS}        print('epoch', epoch, 'begins')\n")
    .replace("train_loss=", "drawn=random.random() + numpy.random.rand(), train_loss=")
)


@pytest.fixture(autouse=True)
def on_a_busy_machine(monkeypatch: pytest.MonkeyPatch):
    """However long an epoch takes here, it counts as a short one."""
    monkeypatch.setattr(loop, "AHEAD_SECONDS", 600.0)


def worker_on(path: Path, folder: Path, *, decided: tuple[int, ...] | None, reported: int = 0) -> TrialWorker:
    space = load(str(path))
    (folder / "output").mkdir(parents=True, exist_ok=True)
    job = Job(
        space=str(path), arrays=space.work.pack(space.work.load(Selection())), epochs=EPOCHS, metric="loss",
        checkpoints=str(folder), threads=1, cuda=False, output=str(folder / "output"),
    )  # fmt: skip
    worker = TrialWorker.__new__(TrialWorker)
    leg = {"trial": 5, "params": dict(space.baseline), "seed": 1, "reported": reported, "decided": decided}
    worker.setup(leg, job=job)
    return worker


def step(worker: TrialWorker) -> EpochResult:
    return EpochResult(**json.loads(worker.step()["said"]))


def numbers(record: dict[str, Any] | None) -> dict[str, Any]:
    assert record is not None
    return {name: value for name, value in record.items() if name not in HIDDEN}


def newest(folder: Path) -> dict[str, Any]:
    loaded = checkpoint.load_newest(folder / "trial-00005")
    assert loaded is not None
    assert loaded.state is not None
    return loaded.state["training"]


def test_epochs_that_begin_early_have_the_bits_of_epochs_that_wait(tmp_path: Path):
    path, found = write_own(tmp_path, text=DRAWS), {}
    for name, decided in (("waiting", None), ("early", ())):  # not side by side: they share the random states
        worker = worker_on(path, tmp_path / name, decided=decided)
        found[name] = [(numbers(step(worker).record), worker._is_ahead, newest(tmp_path / name)) for _ in range(EPOCHS)]
        worker.cleanup()
    for epoch, (expected, early) in enumerate(zip(found["waiting"], found["early"], strict=True), start=1):
        assert early[0] == expected[0]
        assert (expected[1], early[1]) == (False, epoch < EPOCHS)
        assert difference(early[2], expected[2]) is None, "the state after this epoch, not after the next"


def test_no_epoch_begins_early_where_the_search_decides(tmp_path: Path):
    worker = worker_on(write_own(tmp_path), tmp_path / "runs", decided=(1, 3))
    ahead = []
    for _ in range(EPOCHS):
        step(worker)
        ahead.append(worker._is_ahead)
    assert ahead == [False, True, False, False]
    worker.cleanup()


def test_no_epoch_begins_early_after_a_long_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "AHEAD_SECONDS", 0.0)
    worker = worker_on(write_own(tmp_path), tmp_path / "runs", decided=())
    step(worker)
    assert not worker._is_ahead
    worker.cleanup()


def test_what_an_early_epoch_prints_is_in_the_log_once_and_in_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    worker = worker_on(write_own(tmp_path, text=DRAWS), tmp_path / "runs", decided=())
    said = "".join(step(worker).log for _ in range(EPOCHS))
    worker.cleanup()
    assert [line for line in said.splitlines() if "begins" in line] == [f"epoch {n} begins" for n in range(1, 5)]
    print("shown again")
    assert capfd.readouterr().out == "shown again\n"


def test_an_early_epoch_that_fails_is_told_in_its_turn(tmp_path: Path):
    text = WHOLE.replace(BEGINS, f"{BEGINS}        assert epoch != 3, 'the third'\n")
    worker = worker_on(write_own(tmp_path, text=text), tmp_path / "runs", decided=())
    assert [numbers(step(worker).record)["epoch"] for _ in range(2)] == [1, 2]
    result = step(worker)
    assert (result.failure_kind, result.failure) == ("error", "AssertionError: the third")
    assert newest(tmp_path / "runs")["epoch"] == 2
    worker.cleanup()


def test_a_trial_that_ends_during_an_early_epoch_unwinds_and_the_next_one_is_as_ever(tmp_path: Path):
    mark = f"open({str(tmp_path / 'unwound')!r}, 'w').close()"
    around = f"def train(config, run):\n    try:\n        return inner(config, run)\n    finally:\n        {mark}\n"
    text = WHOLE.replace("def train(", "def inner(").replace("SPACE =", f"{around}\nSPACE =")
    path = write_own(tmp_path, text=text)
    worker = worker_on(path, tmp_path / "runs", decided=())
    first = step(worker).record
    worker.reset_config({**worker._leg, "trial": 6})
    assert (tmp_path / "unwound").exists()
    assert numbers(step(worker).record) == numbers(first)
    again = worker_on(path, tmp_path / "runs", decided=(), reported=1)
    assert numbers(step(again).record)["epoch"] == 2, "the epoch that was begun in vain is trained again"
    for one in (worker, again):
        one.cleanup()
