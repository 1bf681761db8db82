"""The best epoch of a training: which one is kept, and a value from rows that did not choose it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.best_epoch import replay
from spaces import tabular_mlp
from tests.tables import write_csv
from trainables.data.dataset import Dataset, Split
from trainables.data.options import TableOptions
from trainables.data.split import parse_split
from trainables.data.table import Column
from trainables.sources.load import load
from trainables.supervised import Supervised
from trainables.trainable import Keep, Setting
from trainables.training import metrics
from trainables.training.best_epoch import BestEpoch, averaged, split_in_parts
from trainables.training.training import Training

pytestmark = pytest.mark.usefixtures("one_thread")
EPOCHS = 12


def noisy_table(*, classes: bool = False, rows: int = 60) -> Dataset:
    """So few rows, with so much noise, that a network soon learns the noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows + 40, 6)).astype(np.float32)
    y = (x[:, 0] + random.normal(size=len(x))).astype(np.float32)
    y = (y > 0.5).astype(np.int64) if classes else y
    columns = tuple(Column(name=f"c{i}", kind="number") for i in range(6))
    train, validation = (
        Split(x=torch.from_numpy(x[part]), y=torch.from_numpy(y[part])) for part in (slice(rows), slice(rows, None))
    )
    given: dict[str, Any] = {"mean": (), "std": (), "checksum": "", "columns": columns}
    return Dataset(
        name="t",
        task="classification" if classes else "regression",
        train=train,
        validation=validation,
        classes=("no", "yes") if classes else (),
        **given,
    )


def built(dataset: Dataset, keep: Keep, *, seed: int = 0, **params: Any) -> BestEpoch:
    config = tabular_mlp.SPACE.decode({**tabular_mlp.BASELINE, "width": 64, "batch_size": 32, **params})
    training = Supervised(dataset="csv").build(config, dataset, Setting(epochs=EPOCHS, seed=seed, keep=keep))
    assert isinstance(training, BestEpoch)
    return training


KEEPS = [("rmse", False), ("mae", False), ("accuracy", True), ("log_loss", False), ("auc", True)]


@pytest.mark.parametrize(("metric", "maximize"), KEEPS)
def test_each_part_of_the_rows_is_predicted_by_the_epoch_that_the_others_chose(metric: str, maximize: bool) -> None:
    dataset = replace(noisy_table(classes=metric not in ("rmse", "mae")), metric=metric)
    training = built(dataset, Keep(metric=metric, maximize=maximize), adamw_lr=0.02)
    y = dataset.validation.y
    parts = torch.from_numpy(split_in_parts(y.numpy()))
    outputs, sign = [], -1 if maximize else 1

    def value(found: torch.Tensor, rows: torch.Tensor) -> float:
        return metrics.measure(dataset.task, found[rows], y[rows], metric=metric)[metric]

    def chosen(rows: torch.Tensor) -> int:
        curve = [sign * value(found, rows) for found in outputs]  # a window of one epoch, as a tenth of 12 is
        return len(curve) - 1 - int(np.argmin(curve[::-1]))  # the last of equal ones

    for _ in range(EPOCHS):
        record = training.run_epoch()
        assert training.training.outputs is not None
        outputs.append(training.training.outputs.clone())
        mixed = torch.empty_like(outputs[0])
        for part in range(5):
            mixed[parts == part] = outputs[chosen(parts != part)][parts == part]
        everything = torch.ones_like(parts, dtype=torch.bool)
        assert record[metric] == pytest.approx(value(mixed, everything), rel=1e-6)
        assert record["value_now"] == pytest.approx(value(outputs[-1], everything), rel=1e-6)
        assert record["kept_epoch"] == training.kept_epoch == chosen(everything) + 1
    kept = training.predict(dataset.validation.x)
    torch.testing.assert_close(kept, outputs[training.kept_epoch - 1], rtol=0, atol=0)
    torch.testing.assert_close(training.training.predict(dataset.validation.x), outputs[-1], rtol=0, atol=0)


def test_a_network_that_learns_the_noise_is_kept_at_an_earlier_epoch() -> None:
    kept, last, told = [], [], []
    for seed in range(4):
        training = built(noisy_table(), Keep(metric="rmse", maximize=False), seed=seed, adamw_lr=0.02, dropout=0.0)
        records = [training.run_epoch() for _ in range(EPOCHS)]
        now = [record["value_now"] for record in records]
        assert training.kept_epoch < EPOCHS
        kept.append(now[training.kept_epoch - 1])
        last.append(now[-1])
        told.append(records[-1]["rmse"])
    assert np.mean(kept) < np.mean(told)  # the best of many values is too good to be true
    assert np.mean(kept) < np.mean(last) - 0.02  # what the last epoch has lost


def test_a_curve_that_rises_to_the_end_keeps_the_last_epoch_and_its_value() -> None:
    training = built(noisy_table(), Keep(metric="rmse", maximize=False), adamw_lr=2e-4)
    for number in range(1, 7):
        record = training.run_epoch()
        assert (record["kept_epoch"], record["rmse"]) == (number, record["value_now"])


@pytest.mark.parametrize("stop", [1, 5, EPOCHS - 1])
def test_a_training_that_pauses_continues_with_the_same_bits_and_the_same_kept_weights(stop: int) -> None:
    dataset, keep = noisy_table(classes=True), Keep(metric="accuracy", maximize=True)
    straight, paused = (built(dataset, keep, adamw_lr=0.02, ema_decay=0.99) for _ in range(2))
    expected = [straight.run_epoch() for _ in range(EPOCHS)]
    for _ in range(stop):
        paused.run_epoch()
    again = built(dataset, keep, adamw_lr=0.02, ema_decay=0.99)
    again.restore(paused.state())
    assert (again.epoch, again.kept_epoch) == (stop, expected[stop - 1]["kept_epoch"])
    times = ("seconds", "images_per_second")
    for record in expected[stop:]:
        found = again.run_epoch()
        assert {k: v for k, v in found.items() if not k.endswith(times)} == {
            k: v for k, v in record.items() if not k.endswith(times)
        }
    x = dataset.validation.x
    assert torch.equal(again.predict(x), straight.predict(x))


def test_a_checkpoint_of_another_rule_is_refused() -> None:
    training = built(noisy_table(), Keep(metric="rmse", maximize=False))
    training.run_epoch()
    with pytest.raises(ValueError, match="keeps its last epoch, or its curves are damaged"):
        built(noisy_table(), Keep(metric="rmse", maximize=False)).restore(training.training.state())
    damaged = training.state()
    damaged["curves"][1].append(0.5)
    with pytest.raises(ValueError, match="its curves are damaged"):
        built(noisy_table(), Keep(metric="rmse", maximize=False)).restore(damaged)


def test_without_a_rule_a_training_is_as_it_was() -> None:
    config = tabular_mlp.SPACE.decode(tabular_mlp.BASELINE)
    assert type(Supervised(dataset="csv").build(config, noisy_table(), Setting(epochs=2, seed=0))) is Training


@pytest.mark.parametrize("rows", [2, 3, 10, 37])
def test_the_parts_have_the_same_classes_and_the_same_range_of_targets(rows: int) -> None:
    labels = np.arange(rows) % 3
    parts = split_in_parts(labels)
    assert np.ptp(np.bincount(parts, minlength=5)) <= 1
    for label in range(3):
        assert np.ptp(np.bincount(parts[labels == label], minlength=5)) <= 2
    values = np.random.default_rng(rows).normal(size=rows)
    ordered = split_in_parts(values)[np.argsort(values)]
    assert all(len(set(ordered[i : i + 5])) == len(ordered[i : i + 5]) for i in range(0, rows, 5))
    assert np.array_equal(split_in_parts(values), split_in_parts(values))


@pytest.mark.parametrize("way", ["group", "distinct", "time", "random"])
def test_a_group_of_rows_is_in_one_part_also_in_folds(tmp_path: Path, way: str) -> None:
    random = np.random.default_rng(0)
    rows = [[f"g{i % 30}", f"{i % 90}", f"{random.normal():.3f}"] for i in range(300)]
    path = write_csv(tmp_path / "rows.csv", (["site", "x", "y"], rows))
    rule = parse_split({"group": "group:site", "time": "time:x"}.get(way, way))
    reading: dict[str, Any] = {"table": TableOptions(target="y", task="regression", types={"x": "number"})}
    if way == "distinct":
        reading["table"] = TableOptions(target="y", task="regression", drop=("site",))
    dataset = load("csv", path, validation_fraction=0.2, split=rule, folds=3, **reading)
    for one in (dataset, dataset.fold(1)):
        if way in ("time", "random"):
            assert one.groups is None
            continue
        assert one.groups is not None
        groups = one.groups[len(one.train) :]
        values = one.validation.x[:, 0].numpy() if way == "distinct" else groups
        parts = split_in_parts(one.validation.y.numpy(), groups)
        assert set(parts.tolist()) == set(range(5))
        assert all(len(set(parts[values == value].tolist())) == 1 for value in set(values.tolist()))
    assert set(split_in_parts(np.arange(20.0), np.zeros(20)).tolist()) == set(range(5)), "a single group has to be cut"


def test_a_curve_is_averaged_over_its_last_values() -> None:
    assert averaged([1.0], window=3) == 1.0
    assert averaged([9.0, 1.0, 2.0, 3.0], window=3) == 2.0


def test_the_told_value_predicts_fresh_networks_on_fresh_rows_and_the_best_of_all_epochs_does_not() -> None:
    found = [replay("noisy", seed=seed, epochs=8, fresh=1) for seed in range(100, 104)]
    told, best = (np.array([one[name] for one in found]) for name in ("told", "best_of_all_epochs"))
    assert abs(told.mean()) < 3 * max(told.std(ddof=1), 0.05) / 2  # 0 is not outside of three standard errors
    assert (best >= told - 1e-6).all() or best.mean() > told.mean()
    assert not any(one["kept_is_clearly_worse"] for one in found)
