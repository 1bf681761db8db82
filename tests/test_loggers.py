"""Loggers: one run for each trial over pauses and resumes, in the run folder; none that fails stops a search."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState
from tensorboardX.proto.event_pb2 import Event

from search.execution import feed
from search.execution.feed import LoggerFeed, logged
from search.execution.loggers import PACKAGES, check_logger, where_to_look
from search.storage.run import Run
from tests.benches import Diary
from tests.ledgers import make, make_run
from tests.searching import ROOT

PARAMS = {"lr": 0.1, "depth": 2, "optimizer": "sgd", "batch_norm": True}


def make_trial(number: int, epochs: int, *, state: TrialState = TrialState.RUNNING) -> FrozenTrial:
    trial = make(number, state, [0.5 + epoch / 10 for epoch in range(1, epochs + 1)], history=records(epochs))
    trial._params = PARAMS
    return trial


def records(epochs: int) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch, "accuracy": 0.5 + epoch / 10, "seconds": 2.0, "started": 1e9 + epoch, "device": "cpu"}
        for epoch in range(1, epochs + 1)
    ]


def train(run: Run, run_dir: Path, *, epochs: range, end: TrialState | None = None, number: int = 12) -> Diary:
    """One use of the search command, in which a trial is trained for these epochs in one leg each."""
    diary = Diary()
    known = [make_trial(number, epochs.start - 1)] if epochs.start > 1 else []
    with logged(run, run_dir, events=diary, trials=known) as events:
        for epoch in epochs:
            trial = make_trial(number, epoch)
            events.started(trial)
            events.epoch(trial, records(epoch)[-1])
            events.epoch(trial, records(epoch)[-1])  # reported again after a lost worker
            events.paused(trial)
        if end is not None:
            events.ended(make_trial(number, epochs.stop - 1, state=end))
    return diary


Read = Callable[[Path], dict[str, dict[str, Any]]]
"""Run -> its points as {(name, step): value}, its hyperparameters and its state."""


def tensorboard_events(folder: Path) -> Iterator[Event]:
    for path in sorted(folder.glob("events*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            yield Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]


def read_tensorboard(run_dir: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for folder in sorted((run_dir / "tensorboard").iterdir()):
        read: dict[str, Any] = {"points": [], "params": set(), "state": None}
        for event in tensorboard_events(folder):
            for value in event.summary.value:
                if value.tag.startswith("_hparams_"):
                    read["params"] |= {name for name in PARAMS if name.encode() in value.metadata.plugin_data.content}
                elif value.tag.startswith("state"):
                    read["state"] = value.tensor.string_val[0].decode()
                else:
                    read["points"].append((value.tag, event.step, round(value.simple_value, 6)))
        found[folder.name] = read
    return found


def read_mlflow(run_dir: Path) -> dict[str, dict[str, Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run_dir}/mlflow.db")
    experiment = client.get_experiment_by_name("r")
    assert experiment is not None
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        points = [
            (name, point.step, round(point.value, 6))
            for name in run.data.metrics
            for point in client.get_metric_history(run.info.run_id, name)
        ]
        assert str(run.info.run_name) not in found
        state = run.data.tags.get("state")
        found[str(run.info.run_name)] = {"points": points, "params": set(run.data.params), "state": state}
    return found


def wandb_records(path: Path) -> Iterator[bytes]:
    """Pieces of records in blocks of 32 kB, each with checksum, length and kind (whole, first, middle, last)."""
    data, place, record = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def read_wandb(run_dir: Path) -> dict[str, dict[str, Any]]:
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, dict[str, Any]] = {}
    names: dict[str, str] = {}
    for path in sorted((run_dir / "wandb").glob("offline-*/*.wandb")):
        for record in map(Record.FromString, wandb_records(path)):
            if record.HasField("run"):
                names[path.stem] = record.run.display_name
                read = found.setdefault(record.run.display_name, {"points": [], "params": set(), "state": None})
                read["params"] |= {item.key for item in record.run.config.update} & set(PARAMS)
            if path.stem not in names:
                continue
            read = found[names[path.stem]]
            items = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
            read["points"] += [(k, items["epoch"], v) for k, v in items.items() if k != "epoch" and k[0] != "_"]
            for item in record.summary.update:
                if "state" in (item.key, *item.nested_key):
                    read["state"] = json.loads(item.value_json)
    assert len(names) == len(found)  # one identity for each trial
    return found


LOGGERS: dict[str, Read] = {"tensorboard": read_tensorboard, "mlflow": read_mlflow, "wandb": read_wandb}


@pytest.fixture(params=list(LOGGERS))
def logger(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip(PACKAGES[request.param])
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return request.param


@pytest.mark.filterwarnings("ignore")  # of the packages
def test_a_trial_is_one_run_with_all_its_epochs_over_pauses_and_resumes(logger: str, tmp_path: Path):
    run = replace(make_run(), name="r", logger=logger, created="2026-05-01")
    for epochs, end in ((range(1, 3), None), (range(3, 5), TrialState.COMPLETE)):
        assert train(run, tmp_path, epochs=epochs, end=end).notices == []
    train(run, tmp_path, epochs=range(1, 2), end=TrialState.FAIL, number=13)
    found = LOGGERS[logger](tmp_path)
    assert sorted(found) == ["trial-00012", "trial-00013"]
    points = sorted(point for point in found["trial-00012"]["points"] if point[0] == "accuracy")
    assert points == [("accuracy", epoch, pytest.approx(0.5 + epoch / 10)) for epoch in range(1, 5)]
    assert {name for name, _, _ in found["trial-00012"]["points"]} == {"accuracy", "seconds"}
    assert found["trial-00012"]["params"] == set(PARAMS)
    assert [found[name]["state"] for name in sorted(found)] == ["COMPLETE", "FAIL"]


@pytest.mark.filterwarnings("ignore")
def test_a_logger_that_is_chosen_on_a_resume_gets_what_was_trained_before(logger: str, tmp_path: Path):
    run = replace(make_run(), name="r", logger=logger, created="2026-05-01")
    train(run, tmp_path, epochs=range(3, 4))
    found = LOGGERS[logger](tmp_path)["trial-00012"]["points"]
    assert sorted(step for name, step, _ in found if name == "accuracy") == [1, 2, 3]


def test_without_a_logger_the_events_go_where_they_went(tmp_path: Path):
    diary = Diary()
    with logged(make_run(), tmp_path, events=diary, trials=[]) as events:
        assert events is diary
    assert list(tmp_path.iterdir()) == []


class Broken:
    """Works for some tasks, then fails as packages do."""

    def __init__(self, tasks: int, error: Exception) -> None:
        self.left, self.error = tasks, error

    def _do(self, *_: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise self.error

    knows = begin = log = rest = end = close = _do


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyError("x"), RuntimeError("a\nb" * 500)])
@pytest.mark.parametrize("tasks", [0, 2])
def test_a_logger_that_fails_is_given_up_said_once_and_the_search_goes_on(error: Exception, tasks: int):
    diary = Diary()
    fed = LoggerFeed(lambda: Broken(tasks, error), name="mlflow", events=diary)
    for number in range(20):
        fed.started(make_trial(number, 0))
        fed.epoch(make_trial(number, 1), records(1)[0])
        fed.ended(make_trial(number, 1, state=TrialState.COMPLETE))
    fed.close()
    assert [number for number, _ in diary.ends] == list(range(20))
    assert len(diary.notices) == 1
    assert diary.notices[0].startswith(f"mlflow failed and is switched off ({type(error).__name__}: ")
    assert "\n" not in diary.notices[0]
    assert len(diary.notices[0]) < 300


def test_a_logger_that_hangs_holds_up_neither_the_search_nor_its_end(monkeypatch: pytest.MonkeyPatch):
    import threading

    forever = threading.Event()

    class Hanging(Broken):
        def begin(self, *_: Any) -> None:
            forever.wait(60)

    monkeypatch.setattr(feed, "CLOSE_SECONDS", 0.05)
    diary = Diary()
    fed = LoggerFeed(lambda: Hanging(10**6, OSError()), name="wandb", events=diary)
    fed.started(make_trial(0, 0))
    fed.ended(make_trial(0, 1, state=TrialState.COMPLETE))
    fed.close()
    forever.set()
    assert diary.ends == [(0, "COMPLETE")]
    assert diary.notices == ["wandb is still busy after 0.05 s; the search does not wait for it any longer"]


def test_a_logger_whose_package_is_missing_is_an_error_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(PACKAGES, "wandb", "no_such_package")
    with pytest.raises(
        ValueError, match="--logger wandb needs the package no_such_package, which is missing; pip install no_such_pack"
    ):
        check_logger("wandb")
    (tmp_path / "no_such_package").mkdir()  # W&B leaves such a folder where it is used
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="which is missing"):
        check_logger("wandb")
    check_logger("none")
    check_logger("tensorboard")


def test_the_command_says_that_a_package_is_missing_and_leaves_no_run(tmp_path: Path):
    words = ["--runs-dir", str(tmp_path / "runs"), "--name", "x", "--logger", "wandb"]
    program = (
        "import sys; from search import run\nfrom search.execution import loggers\n"
        "loggers.PACKAGES['wandb'] = 'no_such_package'\n"
        "sys.exit(run.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "--logger wandb needs the package no_such_package, which is missing" in done.stderr
    assert not (tmp_path / "runs" / "x").exists()


@pytest.mark.parametrize(
    ("logger", "said"),
    [
        ("none", None),
        ("tensorboard", "TensorBoard: tensorboard --logdir 'my runs/x'/tensorboard"),
        ("mlflow", "MLflow: mlflow ui --backend-store-uri sqlite:///'my runs/x'/mlflow.db"),
        ("wandb", "W&B: written to 'my runs/x'/wandb (WANDB_MODE is offline); wandb sync uploads offline runs"),
    ],
)
def test_it_is_said_where_to_look(logger: str, said: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert where_to_look(logger, Path("my runs/x")) == said
