"""Folds: a trial trains on each, its value is the mean, and what the sampler, the forecast and a run know of them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search.forecast.calibration import Bench, _bench
from search.runtime.resources import Resources
from search.storage.run import data_of, read_run, write_run
from spaces.space import load as load_space
from tests.divided import images, write
from tests.ledgers import make_run
from trainables.data.dataset import Dataset
from trainables.data.options import TableOptions
from trainables.data.split import FEW_ROWS, parse_split
from trainables.sources.load import load
from trainables.trainable import Diverged, Keep, Setting
from trainables.training.folds import FoldedTraining, summarize
from trainables.training.training import Training

SPACE = load_space("tabular_mlp")
CONFIG = replace(SPACE.decode(SPACE.baseline), batch_size=32)
RNG = np.random.default_rng(0)


def table(folder: Path, *, num: int = 150, folds: int | None = 3, target: str = "y", **options: Any) -> Dataset:
    x = RNG.normal(size=(num, 2))
    kinds = RNG.choice(["p", "q", "r"], num).astype(object)
    kinds[num * 4 // 5 - 1] = "rare"  # the last row that is no test row, by time
    y = x[:, 0] + 0.3 * RNG.normal(size=num)
    label = np.where(y > 0, "high", "low")
    path = write(folder / "t.csv", ["a", "b", "kind", "y", "label"], zip(*x.T, kinds, y, label, strict=True))
    drop = ("label",) if target == "y" else ("y",)
    chosen = TableOptions(target=target, drop=drop)
    return load("csv", path, validation_fraction=0.2, table=chosen, folds=folds, **options)


def trained(dataset: Dataset, *, epochs: int = 3, seed: int = 1) -> FoldedTraining:
    return FoldedTraining(CONFIG, dataset, epochs=epochs, seed=seed)


@pytest.mark.parametrize("target", ["y", "label"])
def test_the_value_of_an_epoch_is_the_mean_over_the_folds_with_its_standard_error(tmp_path: Path, target: str) -> None:
    dataset = table(tmp_path, target=target)
    whole = trained(dataset)
    alone = [Training(CONFIG, dataset.fold(n), epochs=3, seed=t.seed) for n, t in enumerate(whole.trainings)]
    metric = "rmse" if target == "y" else "accuracy"
    for _ in range(3):
        record, values = whole.run_epoch(), [one.run_epoch()[metric] for one in alone]
        assert record[metric] == pytest.approx(np.mean(values), abs=1e-12)
        assert record[f"{metric}_se"] == pytest.approx(np.std(values, ddof=1) / math.sqrt(3), abs=1e-12)
    assert whole.epoch == 3
    assert len({training.seed for training in whole.trainings}) == 3


def test_folds_continue_to_the_bit_after_every_epoch(tmp_path: Path) -> None:
    dataset = table(tmp_path)
    whole = trained(dataset)
    states, values = [], []
    for _ in range(3):
        values.append(whole.run_epoch()["rmse"])
        states.append(whole.state())
    for epoch, state in enumerate(states[:-1], start=1):
        again = trained(dataset)
        again.restore(state)
        assert again.epoch == epoch
        assert [again.run_epoch()["rmse"] for _ in range(3 - epoch)] == values[epoch:]


def test_a_state_of_other_folds_is_refused(tmp_path: Path) -> None:
    dataset = table(tmp_path)
    whole = trained(dataset)
    whole.run_epoch()
    state = whole.state()
    with pytest.raises(ValueError, match="not from a training on 2 folds"):
        trained(table(tmp_path, folds=2)).restore(state)
    with pytest.raises(ValueError, match="not from a training on 3 folds"):
        trained(dataset).restore(state["folds"][0])
    mixed = {"folds": [*state["folds"][:2], trained(dataset).state()["folds"][2]]}
    with pytest.raises(ValueError, match="not at the same epoch"):
        trained(dataset).restore(mixed)


def test_a_fold_that_diverges_is_named(tmp_path: Path) -> None:
    whole = trained(table(tmp_path))
    with torch.no_grad():
        next(iter(whole.trainings[1].model.parameters())).fill_(float("nan"))
    with pytest.raises(Diverged, match="fold 2 of 3: epoch 1: .* is nan"):
        whole.run_epoch()


def test_a_category_that_no_training_row_of_a_fold_has_is_unknown_there(tmp_path: Path) -> None:
    dataset = table(tmp_path, split=parse_split("time"))
    place = [column.name for column in dataset.columns].index("kind")
    code = 1 + dataset.columns[place].categories.index("rare")
    assert dataset.validation.x[-1, place] == code
    last = dataset.fold(2)
    assert code not in last.train.x[:, place]
    assert last.validation.x[:, place].tolist().count(0) == 1
    assert torch.equal(dataset.fold(1).validation.x[:, place].unique(), torch.tensor([1.0, 2.0, 3.0]))


def test_folds_of_images_keep_the_form_in_memory(tmp_path: Path) -> None:
    dataset = load("image_folder", images(tmp_path / "x"), validation_fraction=0.25, folds=4)
    fold = dataset.fold(2)
    assert fold.train.x.is_contiguous(memory_format=torch.channels_last)
    assert sum(len(dataset.fold(n).validation) for n in range(4)) == dataset.num_judged == 41
    last = dataset.fold(3)
    assert torch.equal(last.train.x, dataset.train.x)
    assert torch.equal(last.validation.y, dataset.validation.y)


def test_small_data_get_folds_with_the_reason_and_larger_ones_do_not(tmp_path: Path) -> None:
    small, large = table(tmp_path, folds=None), table(tmp_path, num=10 * FEW_ROWS, folds=None)
    assert len(small.folds) == 5
    assert any(
        note.startswith("5 folds, because on the 24 rows of one validation split a mean error") for note in small.notes
    )
    assert any("--folds 1 turns this off" in note for note in small.notes)
    assert not large.folds
    assert not table(tmp_path, folds=1).folds
    assert len(load("image_folder", images(tmp_path / "x"), validation_fraction=0.25, folds=None).folds) == 3
    assert not load("digits", "", validation_fraction=0.1, folds=None).folds


def test_the_reason_for_folds_holds_for_every_metric_of_numbers(tmp_path: Path) -> None:
    said = [note for note in table(tmp_path, folds=None).notes if "folds, because" in note]
    assert len(said) == 1
    assert "a mean error such as RMSE or MAE has a standard error of about" in said[0]


def test_without_enough_groups_small_data_have_one_split(tmp_path: Path) -> None:
    rows = [(n % 5, a, n) for n, a in enumerate(RNG.normal(size=120))]
    path = write(tmp_path / "t.csv", ["patient", "a", "y"], rows)
    options, rule = TableOptions(target="y"), parse_split("group:patient")
    assert not load("csv", path, validation_fraction=0.2, table=options, split=rule, folds=None).folds
    with pytest.raises(ValueError, match="--folds 9 needs more groups than the 4 outside the test set; give a"):
        load("csv", path, validation_fraction=0.2, table=options, split=rule, folds=9)


def test_a_run_keeps_its_folds_and_the_final_evaluation_trains_on_all_rows(tmp_path: Path) -> None:
    table(tmp_path)
    options = TableOptions(target="y", drop=("label",))
    run = make_run(space="tabular_mlp", dataset="csv", data_dir=str(tmp_path / "t.csv"), folds=4, table=options)
    (tmp_path / "run").mkdir()
    write_run(tmp_path / "run", run)
    stored = read_run(tmp_path / "run")
    assert len(data_of(stored, SPACE).folds) == 4
    final = data_of(stored, SPACE, validation_fraction=0.0)
    assert not final.folds
    assert len(final.train) == 120


def test_a_task_trains_on_folds_in_a_worker(tmp_path: Path) -> None:
    packed = SPACE.work.pack(table(tmp_path))
    data = SPACE.work.unpack(packed, device="cpu")
    training = SPACE.work.build(CONFIG, data, Setting(epochs=2, seed=5))
    assert isinstance(training, FoldedTraining)
    assert training.run_epoch()["epoch"] == 1


def test_the_forecast_measures_one_network_and_counts_all(tmp_path: Path) -> None:
    run = make_run(space="tabular_mlp", dataset="csv", epochs=3)
    bench = _bench(run, table(tmp_path), Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0))
    assert isinstance(bench, Bench)
    assert bench.num_networks == 3
    assert not bench.arrays["folds"]


def test_the_kept_epoch_of_folds_is_the_best_of_their_mean_curve(tmp_path: Path) -> None:
    dataset, keep = table(tmp_path), Keep(metric="rmse", maximize=False)
    config = replace(CONFIG, optimizer=replace(CONFIG.optimizer, lr=0.03))
    training = FoldedTraining(config, dataset, epochs=30, seed=2, keep=keep)
    means: list[float] = []
    for _ in range(30):
        record = training.run_epoch()
        means.append(record["value_now"])
        smooth = [np.mean(means[max(0, end - 3) : end]) for end in range(1, len(means) + 1)]
        assert record["kept_epoch"] == 1 + int(np.argmin(smooth))
    alone = [one.kept_epoch for one in training.trainings]
    assert record["kept_epoch"] not in (30, round(float(np.mean(alone))))
    again = FoldedTraining(config, dataset, epochs=30, seed=2, keep=keep)
    again.restore(training.state())
    assert again.trainings[0].curve == training.trainings[0].curve


def test_the_record_of_an_epoch_adds_seconds_and_keeps_words() -> None:
    records = [{"epoch": 2, "rmse": v, "seconds": 1.5, "eval_seconds": 0.5, "precision": "float32"} for v in (1.0, 3.0)]
    assert summarize(records) == {
        "epoch": 2, "rmse": 2.0, "rmse_se": 1.0, "seconds": 3.0, "eval_seconds": 1.0, "precision": "float32",
    }  # fmt: skip
