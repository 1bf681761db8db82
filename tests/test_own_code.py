"""Training code of the user's own: paused at every epoch, misused in every way, restored from damaged states."""

import copy
import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rungwise as rw
from search.execution.worker import Job, TrialWorker
from search.scheduling.messages import EpochResult
from spaces.space import Space, load
from tests.own_spaces import WHOLE, write_own
from trainables.files import checkpoint
from trainables.own.loop import Loop
from trainables.own.stored import difference, from_plain, to_plain
from trainables.own.task import OwnTask
from trainables.own.tracked import weights_of
from trainables.trainable import Diverged, MisuseError, Selection, Setting, StateError, close

EPOCHS = 4
SETTING = Setting(epochs=EPOCHS, seed=3)


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2))


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    return x, (x.sum(1) > 0).long()


def train_everything(config: dict[str, Any], run: Any) -> nn.Module:
    """Draws from every kind of random numbers, and keeps something in every place there is."""
    x, y = rows()
    model, generator = make_model(), np.random.default_rng(run.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=config["lr"], total_steps=4 * run.num_epochs)
    run.track(model=model, optimizer=optimizer, scheduler=scheduler, generator=generator)
    for epoch in run.epochs:
        model.train()
        for part in torch.randperm(64).split(16):
            noise = random.gauss(0, 0.1) + np.random.randn() + generator.normal()
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[part] + noise), y[part]).backward()
            optimizer.step()
            scheduler.step()
        run.state["curve"] = np.append(run.state.get("curve", np.zeros(0)), epoch)
        (run.folder / "deep").mkdir(exist_ok=True)
        (run.folder / "deep" / "note.txt").write_text(f"epoch {epoch}")
        with torch.no_grad():
            run.report(accuracy=(model.eval()(x).argmax(1) == y).float().mean(), seen=len(run.state["curve"]))
    return model


class Counting:
    """The class form: weights that walk."""

    def __init__(self, config: dict[str, Any], run: Any) -> None:
        self.epoch, self.run = 0, run
        self.weights = torch.randn(3) * config["lr"]

    def run_epoch(self) -> dict[str, float]:
        self.weights += torch.randn(3) + np.random.randn()
        self.epoch += 1
        return {"accuracy": float(self.weights.sum())}

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights, "epoch": self.epoch}

    def restore(self, state: dict[str, Any]) -> None:
        self.weights, self.epoch = state["weights"], state["epoch"]


def make(train: Callable[..., Any], **config: Any) -> Any:
    task = OwnTask(metric="accuracy", **({"task": train} if isinstance(train, type) else {"train": train}))
    return task.build({"lr": 0.1, **config}, task.load(Selection()), SETTING)


def told(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def straight(train: Callable[..., Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    training = make(train)
    records = [dict(training.run_epoch()) for _ in range(EPOCHS)]
    state = dict(training.state())
    close(training)
    return told(records), state


@pytest.mark.parametrize("form", [train_everything, Counting])
@pytest.mark.parametrize("leg", [1, 2, 3])
def test_a_trial_that_pauses_at_every_few_epochs_gives_the_bits_of_one_that_does_not(
    form: Callable[..., Any], leg: int, tmp_path: Path
):
    expected, last = straight(form)
    records: list[dict[str, Any]] = []
    while len(records) < EPOCHS:
        training = make(form)
        found = checkpoint.load_newest(tmp_path)
        if found is not None:
            training.restore(found.state)
        for _ in range(min(leg, EPOCHS - len(records))):
            records.append(dict(training.run_epoch()))
            checkpoint.save(tmp_path, dict(training.state()), epoch=training.epoch)
        close(training)
        random.random(), np.random.rand(), torch.rand(1)  # another trial draws meanwhile
    assert told(records) == expected
    assert difference(checkpoint.load_newest(tmp_path).state, last) is None  # type: ignore[union-attr]


def test_what_train_returns_is_there_once_no_epoch_is_left():
    _, state = straight(train_everything)
    training = make(train_everything)
    training.restore(state)
    assert isinstance(training.result(), nn.Module)
    assert difference(to_plain(training.result().state_dict(), "model"), state["objects"]["model"]) is None
    close(training)


def test_pausing_unwinds_finally_and_with_and_code_behind_the_loop_waits_for_the_end(tmp_path: Path):
    seen: list[str] = []

    def train(config: Any, run: Any) -> None:
        try:
            with (tmp_path / "file").open("w"):
                for _ in run.epochs:
                    run.report(accuracy=1.0)
            seen.append("behind")
        finally:
            seen.append("finally")

    training = make(train)
    training.run_epoch()
    training.close()
    assert seen == ["finally"]
    training = make(train)
    for _ in range(EPOCHS):
        training.run_epoch()
    assert seen == ["finally", "behind", "finally"]
    close(training)


def test_the_state_is_that_of_the_end_of_the_loop_whatever_the_code_behind_it_does():
    def train(config: Any, run: Any) -> None:
        model = nn.Linear(1, 1)
        run.track(model=model)
        for _ in run.epochs:
            run.report(accuracy=1.0)
        with torch.no_grad():
            model.weight.fill_(7.0)

    training = make(train)
    for _ in range(EPOCHS):
        training.run_epoch()
    assert training.state()["objects"]["model"]["weight"].item() != 7.0
    close(training)


def never_reports(config: Any, run: Any) -> None:
    for _ in run.epochs:
        pass


def reports_twice(config: Any, run: Any) -> None:
    for _ in run.epochs:
        run.report(accuracy=0.5)
        run.report(accuracy=0.5)


def without_the_metric(config: Any, run: Any) -> None:
    for _ in run.epochs:
        run.report(loss=0.5)


def another_epoch(config: Any, run: Any) -> None:
    for epoch in run.epochs:
        run.report(accuracy=0.5, epoch=epoch - 1)


def a_loop_of_its_own(config: Any, run: Any) -> None:
    for _ in range(run.num_epochs):
        run.report(accuracy=0.5)


def returns_at_once(config: Any, run: Any) -> float:
    return 0.5


def breaks_off(config: Any, run: Any) -> None:
    for _ in run.epochs:
        run.report(accuracy=0.5)
        break


def tracks_inside(config: Any, run: Any) -> None:
    for _ in run.epochs:
        run.track(model=nn.Linear(1, 1))


def tracks_a_number(config: Any, run: Any) -> None:
    run.track(best=3)


def takes_a_name_of_ours(config: Any, run: Any) -> None:
    for _ in run.epochs:
        run.report(accuracy=0.5, seconds=3)


def reports_a_list(config: Any, run: Any) -> None:
    for _ in run.epochs:
        run.report(accuracy=torch.ones(3))


def reports_a_text(config: Any, run: Any) -> None:
    for _ in run.epochs:
        run.report(accuracy="good")


def reports_elsewhere(config: Any, run: Any) -> None:
    for _ in run.epochs:
        thread = threading.Thread(target=report_quietly, args=(run,))
        thread.start()
        thread.join()
        run.report(accuracy=0.5)


def report_quietly(run: Any) -> None:
    try:
        run.report(accuracy=0.5)
    except MisuseError:
        return


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (never_reports, "epoch 1 was never reported; call run.report"),
        (reports_twice, "epoch 1 was reported twice; call run.report once"),
        (without_the_metric, "the metric 'accuracy' is missing in epoch 1, which reported loss"),
        (another_epoch, "this is epoch 1, but it was reported as epoch 0"),
        (a_loop_of_its_own, "run.report was called outside the loop; write `for epoch in run.epochs:`"),
        (returns_at_once, "train returned without training an epoch"),
        (breaks_off, "train returned in epoch 1 of 4; let the loop over run.epochs run to its end"),
        (tracks_inside, "run.track was called inside the loop"),
        (tracks_a_number, "run.track(best=...) needs an object with state_dict and load_state_dict, got a int"),
        (takes_a_name_of_ours, "'seconds' is recorded by the search itself"),
        (reports_a_list, "'accuracy' must be a number or a short text, got a Tensor of shape (3,)"),
        (reports_a_text, "the metric 'accuracy' must be a number, got 'good'"),
        (reports_elsewhere, "run.report was used in a different thread"),
    ],
)
def test_every_misuse_is_one_line_with_the_way_out(train: Callable[..., Any], message: str):
    training = make(train)
    with pytest.raises(MisuseError) as caught:
        training.run_epoch()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    close(training)


def test_a_report_behind_the_loop_is_a_misuse():
    def train(config: Any, run: Any) -> None:
        for _ in run.epochs:
            run.report(accuracy=0.5)
        run.report(accuracy=0.6)

    training = make(train)
    for _ in range(EPOCHS - 1):
        training.run_epoch()
    with pytest.raises(MisuseError, match="run.report was called after the loop"):
        training.run_epoch()
    close(training)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), torch.tensor(float("-inf"))])
def test_a_metric_that_is_not_finite_has_diverged(value: Any):
    def train(config: Any, run: Any) -> None:
        for _ in run.epochs:
            run.report(accuracy=value)

    training = make(train)
    with pytest.raises(Diverged, match="epoch 1: accuracy is"):
        training.run_epoch()
    close(training)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (lambda: 1, "run.state['kept'] is a function"),
        ({1, 2}, "run.state['kept'] is a set"),
        ([{"deep": Path("x")}], "run.state['kept'][0]['deep'] is a pathlib."),
        (np.array([object()]), "run.state['kept'] is an array of object"),
        ({"~array": 1}, "run.state['kept'] has the key '~array'"),
    ],
)
def test_a_state_that_cannot_be_stored_safely_names_its_place_and_the_way_out(value: Any, where: str):
    def train(config: Any, run: Any) -> None:
        run.state["kept"] = value
        for _ in run.epochs:
            run.report(accuracy=0.5)

    training = make(train)
    training.run_epoch()
    with pytest.raises(StateError) as caught:
        training.state()
    assert where in str(caught.value)
    close(training)


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0).reshape(2, 3),
        np.array([], dtype=np.float32),
        np.array(["a", "bc"]),
        np.float32(3.5),
        np.uint16(7),
        (1, [2.5, None, True], {"x": b"bytes"}),
        {3: "number as key"},
        2**100,
        torch.zeros(2, dtype=torch.bfloat16),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        float("inf"),
    ],
)
def test_plain_values_and_arrays_come_back_as_they_were(value: Any, tmp_path: Path):
    checkpoint.save(tmp_path, {"value": to_plain(value, "value")}, epoch=1)
    found = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found.state is not None
    again = from_plain(found.state["value"])
    assert type(again) is type(value)
    if isinstance(value, np.ndarray):
        assert again.dtype == value.dtype
        assert np.array_equal(again, value)
    elif isinstance(value, torch.Tensor):
        assert torch.equal(again, value)
    else:
        assert again == value


KINDS = "? b >u2 i8 u8 e >f4 f8 g F >c16 G M8[D] m8[ns] S3 U3 >U2 V4".split()


@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,), (2, 0)])
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_and_scalars_of_every_kind_come_back(kind: str, shape: tuple[int, ...], tmp_path: Path):
    value = np.arange(4).astype("S3" if kind == "V4" else kind)[: int(np.prod(shape))].astype(kind).reshape(shape)
    found = [value, *([] if shape else [value[()]])]
    checkpoint.save(tmp_path, {"value": to_plain(found, "value")}, epoch=1)
    loaded = checkpoint.load_newest(tmp_path)
    assert loaded is not None
    assert loaded.state is not None
    for before, after in zip(found, from_plain(loaded.state["value"]), strict=True):
        assert type(after) is type(before)
        assert (after.dtype, after.shape) == (before.dtype, before.shape)
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("value", [np.array([b"\x00\xff", b"ab"]), np.bytes_(b"ab"), np.str_(""), np.str_("fold-1")])
def test_bytes_and_texts_come_back_as_they_were(value: Any):
    again = from_plain(to_plain(value, "value"))
    assert (type(again), again.dtype) == (type(value), value.dtype)
    assert np.array_equal(again, value)


def test_texts_of_an_earlier_release_are_still_read():
    again = from_plain({"~array": None, "~texts": ["a", "bc"], "shape": [2]})
    assert again.dtype == np.dtype("<U2")
    assert again.tolist() == ["a", "bc"]


def test_a_state_of_other_code_is_refused_with_what_does_not_fit():
    _, state = straight(train_everything)
    training = make(train_everything)
    del state["objects"]["scheduler"]
    with pytest.raises(StateError, match=r"it has no 'scheduler' \(it has model, optimizer, generator\)"):
        training.restore(state)
    close(training)
    _, state = straight(train_everything)
    state["objects"]["model"]["0.weight"] = torch.zeros(1, 1)
    training = make(train_everything)
    with pytest.raises(StateError, match="'model' does not fit: Error"):
        training.restore(state)
    close(training)


def test_files_of_a_checkpoint_never_leave_their_folder(tmp_path: Path):
    _, state = straight(train_everything)
    state["files"]["../../escaped"] = torch.zeros(1, dtype=torch.uint8)
    training = make(train_everything)
    with pytest.raises(StateError, match="is outside run.folder"):
        training.restore(state)
    close(training)


def test_an_error_of_the_users_code_keeps_its_traceback():
    def train(config: Any, run: Any) -> None:
        raise KeyError("width")

    training = make(train)
    with pytest.raises(KeyError, match="width") as caught:
        training.run_epoch()
    assert caught.traceback[-1].name == "train"
    close(training)


def test_a_moving_average_of_a_model_does_not_count_as_more_weights():
    model, frozen = torch.nn.Linear(3, 2), torch.nn.Linear(5, 2)
    copies = {"ema": copy.deepcopy(model), "swa": torch.optim.swa_utils.AveragedModel(model)}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert weights_of({"model": model, "optimizer": optimizer, "frozen": frozen}) == 8 + 12
    assert weights_of({**copies, "model": model, "optimizer": optimizer}) == 8
    members = {"one": torch.nn.Linear(3, 2), "two": torch.nn.Linear(3, 2)}
    both = torch.optim.SGD([p for member in members.values() for p in member.parameters()], lr=0.1)
    assert weights_of({**members, "optimizer": both}) == 16
    assert weights_of(members) == 16


def test_the_weights_of_what_is_tracked_are_counted_once():
    def train(config: Any, run: Any) -> None:
        model = nn.Linear(3, 2)
        run.track(model=model, again=nn.Sequential(model))
        for _ in run.epochs:
            run.report(accuracy=0.5)

    training = make(train)
    assert training.run_epoch()["weights"] == 8
    assert "weights" not in training.run_epoch()
    close(training)


# In the worker


def job_of(path: Path, folder: Path, data: Any) -> Job:
    return Job(
        space=str(path), arrays=data, epochs=EPOCHS, metric="loss", checkpoints=str(folder), threads=1, cuda=False
    )


def worker_on(path: Path, folder: Path, *, reported: int = 0, trial: int = 5) -> TrialWorker:
    space = load(str(path))
    data = space.work.pack(space.work.load(Selection()))
    worker = TrialWorker.__new__(TrialWorker)
    leg = {"trial": trial, "params": dict(space.baseline), "seed": 1, "reported": reported}
    worker.setup(leg, job=job_of(path, folder, data))
    return worker


def step(worker: TrialWorker) -> EpochResult:
    return EpochResult(**json.loads(worker.step()["said"]))


def test_a_worker_that_is_killed_after_every_epoch_tells_the_same_numbers(tmp_path: Path):
    path = write_own(tmp_path)
    calm = worker_on(path, tmp_path / "calm")
    expected = [step(calm).record for _ in range(EPOCHS)]
    killed = []
    for epoch in range(EPOCHS):
        killed.append(step(worker_on(path, tmp_path / "killed", reported=epoch)).record)
    hidden = ("seconds", "started", "worker")
    clean = [[{k: v for k, v in r.items() if k not in hidden} for r in found if r] for found in (expected, killed)]
    assert clean[0] == clean[1]
    assert [record["epoch"] for record in clean[0]] == [1, 2, 3, 4]


def test_a_finished_epoch_that_nobody_heard_of_is_said_again_and_not_trained_again(tmp_path: Path):
    path = write_own(tmp_path)
    worker = worker_on(path, tmp_path / "runs")
    first = step(worker).record
    again = step(worker_on(path, tmp_path / "runs")).record
    assert again == first


def test_a_warm_worker_trains_a_trial_as_a_fresh_one_does(tmp_path: Path):
    path = write_own(tmp_path)
    expected = step(worker_on(path, tmp_path / "a")).record
    worker = worker_on(path, tmp_path / "b", trial=6)
    step(worker)
    leg = {"trial": 5, "params": dict(load(str(path)).baseline), "seed": 1, "reported": 0}
    worker.reset_config(leg)
    found = step(worker).record
    assert found is not None
    assert expected is not None
    assert found["loss"] == expected["loss"]
    worker.cleanup()


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "GeneratorExit", "SystemExit('bye')", "StopIteration", "Own"])
def test_whatever_the_code_raises_fails_its_trial_and_the_worker_goes_on(error: str, tmp_path: Path):
    planted = f"    for epoch in run.epochs:\n        if epoch == 2 and run.trial == 5:\n            raise {error}\n"
    text = WHOLE.replace("    for epoch in run.epochs:\n", planted)
    path = write_own(tmp_path, text="class Own(BaseException):\n    pass\n" + text)
    worker = worker_on(path, tmp_path / "runs")
    assert step(worker).failure is None
    failed = step(worker)
    assert (failed.failure or "").startswith(error.partition("(")[0])
    assert "Traceback" in failed.log
    worker.reset_config({"trial": 6, "params": dict(load(str(path)).baseline), "seed": 1, "reported": 0})
    assert step(worker).failure is None
    worker.cleanup()


def test_code_that_changed_what_it_tracks_starts_again_and_says_why(tmp_path: Path):
    path = write_own(tmp_path, fault="scheduler")
    step(worker_on(path, tmp_path / "runs"))
    result = step(worker_on(write_own(tmp_path), tmp_path / "runs", reported=1))
    assert result.record is not None
    assert result.record["epoch"] == 2
    assert "it has no 'scheduler'" in result.notices[0]
    assert "none is left, starting again" in result.notices[0]


def test_code_that_cannot_be_imported_in_a_worker_says_why(tmp_path: Path):
    path = write_own(tmp_path)
    worker = worker_on(path, tmp_path / "runs")
    job, leg = worker._job, worker._leg
    path.write_text("import a_package_of_another_node\n" + path.read_text())
    worker = TrialWorker.__new__(TrialWorker)
    worker.setup(leg, job=job)
    result = step(worker)
    assert result.failure_kind == "invalid"
    assert "line 1: ModuleNotFoundError: No module named 'a_package_of_another_node'" in str(result.failure)
    worker.cleanup()


def test_a_misuse_is_told_without_the_name_of_its_class(tmp_path: Path):
    path = write_own(tmp_path)
    path.write_text(path.read_text().replace("run.report(loss=", "run.report(other="))
    result = step(worker_on(path, tmp_path / "runs"))
    assert result.failure_kind == "error"
    assert str(result.failure).startswith("the metric 'loss' is missing in epoch 1")


# The space


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("val_loss", "minimize"), ("eval/mean-error", "minimize"), ("rmse", "minimize"), ("val_acc", "maximize"),
     ("neg_log_loss", "maximize"), ("valLoss", "minimize"), ("test-mlogloss-mean", "minimize"),
     ("negative_error", "maximize"), ("reward", "maximize"), ("glossiness", "maximize"),
     ("word error rate", "minimize")],
)  # fmt: skip
def test_without_a_direction_losses_and_errors_are_minimised(metric: str, direction: str):
    given: dict[str, Any] = {"suggest": lambda trial: {}, "baseline": {}, "epochs": 3, "train": train_everything}
    assert Space(**given, metric=metric).objective("").direction == direction
    assert Space(**given, metric=metric, direction="maximize").objective("").direction == "maximize"


def test_a_space_needs_exactly_one_thing_that_trains():
    given: dict[str, Any] = {"suggest": lambda trial: {}, "baseline": {}, "epochs": 3}
    with pytest.raises(ValueError, match="needs exactly one of train=, task= and dataset=, got none"):
        Space(**given)
    with pytest.raises(ValueError, match="got dataset and train"):
        Space(**given, dataset="digits", train=train_everything)
    with pytest.raises(ValueError, match="needs metric="):
        Space(**given, train=train_everything)
    with pytest.raises(ValueError, match="direction must be 'maximize' or 'minimize', got 'max'"):
        Space(**given, train=train_everything, metric="x", direction="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="train must be a function, got 3"):
        Space(**given, train=3, metric="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="data is for your own code"):
        Space(**given, dataset="digits", data=rows)
    with pytest.raises(ValueError, match=r"min_epochs must lie in \[1, 3\]"):
        Space(**given, train=train_everything, metric="x", min_epochs=4)


def test_configurations_of_own_code_are_decoded_as_strictly_as_ours(tmp_path: Path):
    space = load(str(write_own(tmp_path)))
    assert space.decode({"lr": 0.1, "width": 8}) == {"lr": 0.1, "width": 8}
    with pytest.raises(ValueError, match="parameter 'lr' must lie in 0.001..1.0"):
        space.decode({"lr": 3.0, "width": 8})
    with pytest.raises(ValueError, match="parameter 'depth' is not part of this configuration"):
        space.decode({"lr": 0.1, "width": 8, "depth": 2})


def test_data_reach_a_worker_without_a_copy_and_as_they_were():
    x = torch.arange(6.0).reshape(2, 3)
    task = OwnTask(metric="m", train=train_everything, data=lambda: {"a": (x, np.ones(3)), "b": ["text", 3]})
    data = task.load(Selection())
    back = task.unpack(task.pack(data), device="cpu").value
    assert back["a"][0].data_ptr() == x.data_ptr()
    assert back["b"] == ["text", 3]
    assert data.checksum == task.load(Selection()).checksum
    x[0, 0] = 1
    assert data.checksum != task.load(Selection()).checksum


def test_the_public_names_are_there_and_cost_nothing_until_they_are_used():
    assert set(rw.__all__) <= set(dir(rw))
    for name in rw.__all__:
        assert getattr(rw, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'serach'"):
        _ = rw.serach  # type: ignore[attr-defined]


def test_the_random_numbers_of_a_trial_are_those_of_seed_everything_outside_a_search():
    def train(config: Any, run: rw.LoopRun) -> None:
        for _ in run.epochs:
            run.report(loss=0.0, torch=torch.rand(()), numpy=np.random.rand(), python=random.random())

    record = Loop(train, {}, data=None, setting=Setting(epochs=1, seed=5), metric="loss").run_epoch()
    rw.seed_everything(5)
    assert record["torch"] == torch.rand(()).item()
    assert record["numpy"] == np.random.rand()
    assert record["python"] == random.random()


def test_a_loop_is_a_trainable():
    loop = make(train_everything)
    assert isinstance(loop, Loop)
    assert isinstance(loop, rw.Trainable)
    assert loop.epoch == 0
