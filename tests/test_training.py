"""Training: the curve of a plain reference loop, the same bits again and after every restart, and honest failures."""

import copy
import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.recipes import PLAIN, RECIPES, TIMES, digits, run
from trainables.data.dataset import Dataset, Split
from trainables.models.cnn import CnnConfig
from trainables.training.config import TrainConfig
from trainables.training.device import FLOAT32, Numerics, choose_numerics
from trainables.training.optim import ScheduleConfig, SgdConfig
from trainables.training.training import Diverged, Training

__all__ = ["digits"]  # a fixture
pytestmark = pytest.mark.usefixtures("one_thread")


def reference_losses(
    config: TrainConfig, dataset: Dataset, start: nn.Module, *, epochs: int
) -> list[tuple[float, float]]:
    """Training and validation losses of a loop as a textbook writes it: float32, one step after the other."""
    model = copy.deepcopy(start).to(memory_format=torch.contiguous_format)
    assert isinstance(config.optimizer, SgdConfig)
    decay = config.optimizer.weight_decay
    groups = [
        {"params": [w for w in model.parameters() if w.ndim > 1], "weight_decay": decay},
        {"params": [w for w in model.parameters() if w.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=config.optimizer.momentum, nesterov=True)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (dataset.mean, dataset.std))
    num_steps = len(dataset.train) // config.batch_size * epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: config.optimizer.lr * config.schedule.factor(min(step, num_steps - 1), num_steps)
    )
    losses = []
    for epoch in range(1, epochs + 1):
        model.train()
        rows = np.random.default_rng((0, epoch)).permutation(len(dataset.train))
        seen = []
        for batch in range(len(rows) // config.batch_size):
            chosen = torch.from_numpy(rows[batch * config.batch_size : (batch + 1) * config.batch_size])
            x, y = (dataset.train.x[chosen] / 255 - mean) / std, dataset.train.y[chosen]
            loss = F.cross_entropy(model(x), y, label_smoothing=config.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            schedule.step()
            seen.append(loss.item())
        model.eval()
        with torch.no_grad():
            outputs = model((dataset.validation.x / 255 - mean) / std)
        losses.append((sum(seen) / len(seen), F.cross_entropy(outputs, dataset.validation.y).item()))
    return losses


def test_the_recipes_that_are_run_again_and_resumed_cover_every_option() -> None:
    for part in ("model", "schedule", "augmentation"):
        for name in (option.name for option in fields(getattr(PLAIN, part))):
            values = {getattr(getattr(recipe, part), name) for recipe in RECIPES.values()}
            assert len(values) > 1 or name in ("widths", "num_blocks"), f"{part}.{name} is always {values}"
    options = {option.name for option in fields(TrainConfig)} - {"target_scaling"}  # see test_target_scale.py
    assert all(len({getattr(recipe, name) for recipe in RECIPES.values()}) > 1 for name in options)


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_loss_curve_is_that_of_a_plain_loop_in_float32(channels_last: bool, digits: Dataset) -> None:
    config = replace(PLAIN, label_smoothing=0.1, clip_norm=1.0)
    numerics = Numerics(precision="float32", channels_last=channels_last)
    training = Training(config, digits, epochs=3, seed=0, numerics=numerics)
    expected = reference_losses(config, digits, training.model, epochs=3)
    run(training, 3)
    found = [(record["train_loss"], record["loss"]) for record in training.history]
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=2e-3, atol=2e-4)


def test_bfloat16_learns_as_float32_does(digits: Dataset) -> None:
    losses = []
    for precision in ("float32", "bfloat16"):
        numerics = Numerics(precision=precision, channels_last=True)
        losses.append(run(Training(PLAIN, digits, epochs=5, seed=0, numerics=numerics), 5).history[-1]["train_loss"])
    assert losses[1] == pytest.approx(losses[0], abs=0.1)


def test_64_rows_are_learned_by_heart(digits: Dataset) -> None:
    split = Split(x=digits.train.x[:64], y=digits.train.y[:64])
    dataset = replace(digits, train=split, validation=split)
    training = run(Training(replace(PLAIN, batch_size=16), dataset, epochs=30, seed=0), 30)
    assert training.history[-1]["accuracy"] == 1.0
    assert training.history[-1]["loss"] < 0.1


def test_predictions_are_float32_logits_of_the_kept_network(digits: Dataset) -> None:
    training = run(Training(RECIPES["moving average"], digits, epochs=3, seed=0), 3)
    logits = training.predict(digits.validation.x)
    assert logits.dtype == torch.float32
    assert logits.shape == (len(digits.validation), 10)
    loss = F.cross_entropy(logits, digits.validation.y).item()
    assert loss == pytest.approx(training.history[-1]["loss"], rel=1e-5)


def test_the_moving_average_is_its_formula(digits: Dataset) -> None:
    training = Training(RECIPES["moving average"], digits, epochs=2, seed=0, numerics=FLOAT32)
    assert training.average is not None
    shadow = {name: tensor.double() for name, tensor in training.model.state_dict().items()}
    step_after = training.average.update

    def follow(model: nn.Module, step: int) -> None:
        step_after(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            shadow[name] = decay * shadow[name] + (1 - decay) * tensor if tensor.is_floating_point() else tensor

    training.average.update = follow  # watches; the average itself does the work
    run(training, 2)
    for name, tensor in training.average.model.state_dict().items():
        torch.testing.assert_close(tensor.double(), shadow[name].double(), rtol=1e-4, atol=1e-5)


def test_the_record_of_an_epoch_is_plain_and_complete(digits: Dataset) -> None:
    record = Training(PLAIN, digits, epochs=2, seed=0).run_epoch()
    assert record["epoch"] == 1
    assert {type(value) for value in record.values()} <= {int, float, str}
    assert record["seconds"] == pytest.approx(sum(record[name] for name in TIMES[2:]))
    assert record["images_per_second"] > 0
    assert record["precision"] == choose_numerics(torch.device("cpu"), digits.image_shape).precision
    assert record["micro_batch"] == 32


def test_without_validation_rows_only_the_training_is_recorded(digits: Dataset) -> None:
    dataset = replace(digits, validation=Split(x=digits.train.x[:0], y=digits.train.y[:0]))
    record = Training(PLAIN, dataset, epochs=1, seed=0).run_epoch()
    assert {"loss", "accuracy", "macro_f1"}.isdisjoint(record)
    assert math.isfinite(record["train_loss"])


def test_a_loss_that_is_not_finite_names_epoch_and_loss(digits: Dataset) -> None:
    wild = replace(PLAIN, optimizer=SgdConfig(lr=1e18), schedule=ScheduleConfig(kind="constant", warmup=0.0))
    training = Training(wild, digits, epochs=2, seed=0)
    with pytest.raises(Diverged, match=r"epoch \d: (training|validation) loss is (nan|inf)"):
        run(training, 2)
    assert len(training.history) == training.epoch


def test_a_checkpoint_of_another_training_is_refused(digits: Dataset) -> None:
    state = Training(PLAIN, digits, epochs=2, seed=0).state()
    with pytest.raises(ValueError, match="the checkpoint is from a training with seed=0, not 1"):
        Training(PLAIN, digits, epochs=2, seed=1).restore(state)
    with pytest.raises(ValueError, match="the checkpoint is from a different configuration"):
        Training(replace(PLAIN, model=CnnConfig(widths=(16,))), digits, epochs=2, seed=0).restore(state)


@dataclass(frozen=True, kw_only=True)
class LineConfig:
    """A straight line, the smallest model of a table."""

    def build(self, dataset: Dataset) -> nn.Module:
        return nn.Linear(dataset.image_shape[0], 1)


def test_a_regression_on_a_table_uses_the_same_loop() -> None:
    x = torch.randn(512, 3, generator=torch.Generator().manual_seed(0))
    y = 100 + x @ torch.tensor([5.0, -3.0, 2.0])
    dataset = Dataset(
        name="line",
        task="regression",
        train=Split(x=x[:400], y=y[:400]),
        validation=Split(x=x[400:], y=y[400:]),
        classes=(),
        mean=tuple(x[:400].mean(0).tolist()),
        std=tuple(x[:400].std(0).tolist()),
        checksum="",
    )
    config = TrainConfig(model=LineConfig(), optimizer=SgdConfig(lr=0.05, weight_decay=0.0), batch_size=40)
    training = run(Training(config, dataset, epochs=10, seed=0, numerics=FLOAT32), 10)
    torch.testing.assert_close(training.predict(x[400:])[:, 0], y[400:], rtol=0, atol=0.05)
    assert training.history[-1]["rmse"] < 0.05
    assert (training.num_weights, training.macs) == (4, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must lie in \[0, 1\), got 1.0"),
        ({"ema_decay": -0.1}, r"ema_decay must lie in \[0, 1\), got -0.1"),
        ({"clip_norm": float("nan")}, "clip_norm must be at least 0 and finite, got nan"),
    ],
)
def test_a_wrong_value_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **change)


def test_nothing_is_trained_beyond_the_budget(digits: Dataset) -> None:
    training = run(Training(PLAIN, digits, epochs=1, seed=0), 1)
    with pytest.raises(ValueError, match="all 1 epochs are trained"):
        training.run_epoch()


def test_a_training_needs_epochs_and_a_seed(digits: Dataset) -> None:
    with pytest.raises(ValueError, match="epochs must be at least 1 and seed at least 0, got 0 and 0"):
        Training(PLAIN, digits, epochs=0, seed=0)


@pytest.mark.parametrize(("metric", "quantile"), [("pinball:0.8", 0.8), ("pinball:0.2", 0.2), ("mae", 0.5), ("", None)])
def test_a_regression_learns_the_quantile_that_its_metric_asks_for(metric: str, quantile: float | None) -> None:
    y = torch.from_numpy(np.random.default_rng(0).exponential(size=512)).float()
    split = Split(x=torch.zeros(512, 1), y=y)
    unused: dict[str, Any] = {"classes": (), "mean": (0.0,), "std": (1.0,), "checksum": ""}
    table = Dataset(name="t", task="regression", train=split, validation=split, metric=metric, **unused)
    config = TrainConfig(model=LineConfig(), optimizer=SgdConfig(lr=0.2, weight_decay=0.0), batch_size=64)
    training = Training(config, table, epochs=20, seed=0)
    for _ in range(20):
        record = training.run_epoch()
    learned = float(training.predict(split.x[:1]))
    expected = float(y.mean()) if quantile is None else float(y.quantile(quantile))
    assert learned == pytest.approx(expected, abs=0.1)
    assert math.isfinite(record[metric or "rmse"])


def test_an_epoch_of_several_passes_is_so_many_epochs_of_one(digits: Dataset) -> None:
    config = replace(PLAIN, schedule=ScheduleConfig(warmup=0.2))
    single = run(Training(config, digits, epochs=6, seed=3), 6)
    several = run(Training(config, replace(digits, passes=3), epochs=2, seed=3), 2)
    for name, weights in single.model.state_dict().items():
        assert torch.equal(weights, several.model.state_dict()[name]), name
    assert several.history[-1]["accuracy"] == single.history[-1]["accuracy"]
