"""Conformal intervals: their ranks, their coverage, the held-out rows that they come from, and `predict --interval`."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import spaces.space
from analysis import predict
from analysis.evaluation.contenders import Contender
from analysis.evaluation.heldout import HELD_OUT, _parts, draw_parts, fit_intervals, hold_out, predict_held_out
from analysis.model.conformal import Conformal, Scale, fit, read
from analysis.model.load import load_model
from benchmarks.conformal import GROUP_ROWS, TABLES, _grouped, replicate_of
from search.storage.run import data_of
from tests.evaluated import make_run
from tests.exported_tables import Exported
from tests.tables import write_csv
from trainables.data.dataset import Split
from trainables.data.options import TableOptions
from trainables.data.split import SplitRule
from trainables.trainable import Setting

EXPORTS = dict[str, Exported]


def plain(residuals: np.ndarray) -> Conformal:
    return Conformal(residuals=np.sort(np.asarray(residuals, float)), scale=Scale.none())


@pytest.mark.parametrize(
    ("count", "level", "low", "high"),
    [(39, 0.95, 1, 39), (40, 0.95, 1, 40), (79, 0.95, 2, 78), (99, 0.9, 5, 95), (199, 0.99, 1, 199), (3, 0.5, 1, 3)],
)
def test_the_ends_are_the_residuals_of_the_finite_sample_ranks(count: int, level: float, low: int, high: int) -> None:
    found = plain(np.arange(1, count + 1)).interval(np.array([100.0]), level=level)
    assert [float(end[0]) for end in found] == [100 + low, 100 + high]


@pytest.mark.parametrize(("count", "level", "largest"), [(38, 0.95, "0.948"), (198, 0.99, "0.989"), (2, 0.5, "0.333")])
def test_too_few_rows_for_a_level_are_one_line_with_the_largest_one(count: int, level: float, largest: str) -> None:
    conformal = plain(np.arange(count))
    with pytest.raises(ValueError, match=rf"needs .* held-out rows, .* has {count}; use a level up to {largest}$"):
        conformal.interval(np.zeros(1), level=level)
    conformal.interval(np.zeros(1), level=float(largest))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", ["normal", "skewed", "heavy", "growing"])
def test_intervals_hold_new_targets_at_the_stated_rate_whatever_the_errors(kind: str, scaled: bool) -> None:
    random, held = np.random.default_rng(0), []
    for _ in range(150):
        predictions = random.uniform(1, 10, 1199)
        errors = {
            "normal": random.normal(size=1199),
            "skewed": random.lognormal(size=1199),
            "heavy": random.standard_t(2, size=1199),
            "growing": predictions * random.normal(size=1199),
        }[kind]
        y, old = predictions + errors, slice(0, 999)
        conformal = fit(predictions[old], y[old], np.arange(999) % 5) if scaled else plain(errors[old])
        low, high = conformal.interval(predictions[999:], level=0.9)
        held.append(np.mean((low <= y[999:]) & (y[999:] <= high)))
    # one replicate has a standard deviation of sqrt(0.09 / 200 + 0.09 / 1000) = 0.023, so the mean has 0.0019
    assert np.mean(held) == pytest.approx(0.9, abs=4 * 0.0019)


def test_intervals_follow_the_prediction_only_where_that_makes_them_shorter() -> None:
    random = np.random.default_rng(1)
    predictions = random.uniform(1, 10, 1000)
    growing = fit(predictions, predictions + predictions * random.normal(size=1000), np.arange(1000) % 5)
    low, high = growing.interval(np.array([2.0, 9.0]), level=0.9)
    assert 3 < (high[1] - low[1]) / (high[0] - low[0]) < 6
    assert not len(fit(predictions, predictions + random.normal(size=1000), np.arange(1000) % 5).scale.knots)
    assert not len(fit(predictions[:60], predictions[:60] ** 2, np.zeros(60)).scale.knots)
    assert not len(fit(np.ones(500), random.normal(size=500), np.zeros(500)).scale.knots)


def test_residuals_of_a_model_without_errors_give_intervals_without_length() -> None:
    y = np.linspace(0, 1, 300)
    low, high = fit(y, y, np.arange(300) % 5).interval(y, level=0.95)
    np.testing.assert_array_equal(low, high)


def test_every_row_is_held_out_once_or_two_thousand_of_many() -> None:
    few = draw_parts(103, seed=0)
    assert sorted(np.bincount(few).tolist()) == [20, 20, 21, 21, 21]
    many = draw_parts(20_000, seed=0)
    assert (many == 0).sum() == HELD_OUT
    assert set(many.tolist()) == {-1, 0}
    assert not np.array_equal(draw_parts(103, seed=1), few)


def test_a_held_out_row_has_no_part_in_its_own_prediction(all_exported: EXPORTS) -> None:
    dataset = all_exported["numeric"].dataset
    space = spaces.space.load("tabular_mlp")
    params = {**space.baseline, "width": 64}
    held_out = draw_parts(len(dataset.train), seed=0) == 2
    found = []
    for shift in (0.0, 1e6):
        y = dataset.train.y + shift * torch.from_numpy(held_out)
        changed = type(dataset)(**{**vars(dataset), "train": Split(x=dataset.train.x, y=y.to(dataset.train.y.dtype))})
        part = hold_out(changed, held_out)
        found.append(predict_held_out(space, params, part, setting=Setting(epochs=1, seed=3)))
    np.testing.assert_array_equal(found[0], found[1])
    assert len(found[0]) == held_out.sum()


@pytest.mark.parametrize("name", ["heteroscedastic", "prices"])
def test_networks_have_intervals_that_hold_the_sealed_targets(name: str) -> None:
    x, y = TABLES[name](np.random.default_rng(7), 700)
    conformal, _, predictions, targets = replicate_of(x, y, epochs=4, seed=0)
    low, high = conformal.interval(predictions, level=0.95)
    # 140 rows: standard deviation sqrt(0.0475 / 140 + 0.0475 / 560) = 0.021
    assert np.mean((low <= targets) & (targets <= high)) == pytest.approx(0.95, abs=3 * 0.021)


def test_a_file_gets_two_columns_and_json_and_print_the_same_ends(
    all_exported: EXPORTS, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    exported, out = all_exported["numeric"], tmp_path / "out.csv"
    asked = [str(exported.run_dir), str(exported.csv), "--interval", "0.9"]
    assert predict.main([*asked, "--out", str(out)]) == 0
    capsys.readouterr()
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-3:] == ["predicted price", "low price", "high price"]
    held = [float(row["low price"]) <= float(row["price"]) <= float(row["high price"]) for row in rows]
    assert np.mean(held) == pytest.approx(0.9, abs=0.07)
    assert predict.main([*asked, "--json"]) == 0
    for line, row in zip(capsys.readouterr().out.splitlines(), rows, strict=True):
        found = json.loads(line)
        assert (found["low"], found["high"], found["level"]) == (float(row["low price"]), float(row["high price"]), 0.9)
    assert predict.main(asked) == 0
    assert " to " in capsys.readouterr().out.splitlines()[0]
    again = tmp_path / "again.csv"
    assert predict.main([asked[0], str(out), *asked[2:], "--out", str(again)]) == 2
    assert "two columns with the name 'predicted price'" in capsys.readouterr().err
    taken = tmp_path / "taken.csv"
    taken.write_text(exported.csv.read_text().replace("\n", ",1\n").replace(",1\n", ",low price\n", 1))
    assert predict.main([asked[0], str(taken), *asked[2:], "--out", str(again)]) == 2
    assert "two columns with the name 'low price'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("mixed", "0.95", "this model was exported without intervals; run the final evaluation again:"),
        ("classes", "0.95", "--interval is for numbers, but this model predicts classes; use --probabilities"),
        ("numeric", "95", "--interval must lie in (0, 1), got 95; for 95 %: 0.95"),
        ("numeric", "0", "--interval must lie in (0, 1), got 0"),
        ("numeric", "0.9999", "an interval of 0.9999 needs 19,999 held-out rows, and this model has 192"),
    ],
)
def test_an_interval_that_cannot_be_is_one_line(
    all_exported: EXPORTS, name: str, level: str, message: str, capsys: pytest.CaptureFixture
) -> None:
    exported = all_exported[name]
    assert predict.main([str(exported.run_dir), str(exported.csv), "--interval", level]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.err.count("\n"), said.out) == (1, "")


def test_intervals_that_were_damaged_or_changed_are_refused(all_exported: EXPORTS, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(all_exported["numeric"].run_dir / "final", tmp_path / "final"))
    path, facts = folder / "conformal.safetensors", load_model(folder).facts
    before = path.read_bytes()
    path.write_bytes(before[:-8] + b"\0" * 8)
    with pytest.raises(ValueError, match="was refused: it is damaged or was changed"):
        read(folder, facts)
    path.unlink()
    with pytest.raises(ValueError, match="is missing; run the final evaluation again"):
        read(folder, facts)
    stated = json.loads((folder / "model.json").read_text())
    stated["conformal"]["sha256"] = "0" * 64
    (folder / "model.json").write_text(json.dumps(stated))
    with pytest.raises(ValueError, match="but its weights were trained with"):
        load_model(folder)


def test_gaps_and_unknown_categories_have_intervals_too(
    all_exported: EXPORTS, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = write_csv(tmp_path / "rows.csv", (["size", "age", "id"], [["", "many", "1"], ["50", "", "2"]]))
    assert predict.main([str(all_exported["numeric"].run_dir), str(path), "--interval", "0.5", "--json"]) == 0
    for line in capsys.readouterr().out.splitlines():
        found = json.loads(line)
        assert np.isfinite([found["low"], found["high"]]).all()
        assert found["low"] < found["high"]


GROUP, DISTINCT, TIME = (SplitRule(way="group", by="site"), SplitRule(way="distinct"), SplitRule(way="time", by="day"))


@pytest.mark.parametrize(
    ("rule", "folds", "trainings", "share"),
    [(GROUP, 1, 5, 1.0), (GROUP, 3, 3, 1.0), (DISTINCT, 1, 5, 1.0), (TIME, 1, 1, 0.2), (TIME, 4, 4, 0.5)],
)
def test_rows_are_held_out_by_the_split_of_the_run_and_each_training_is_kept(
    tmp_path: Path, rule: SplitRule, folds: int, trainings: int, share: float
) -> None:
    random = np.random.default_rng(0)
    rows = [[f"s{i // 20}", f"{i}", f"{random.normal():.3f}", f"{random.normal():.3f}"] for i in range(400)]
    path = write_csv(tmp_path / "rows.csv", (["site", "day", "x", "y"], rows))
    table = TableOptions(target="y", task="regression")
    reading: dict[str, Any] = {"table": table, "split": rule, "folds": folds, "validation_fraction": 0.2}
    run = make_run(space="tabular_mlp", dataset="csv", data_dir=str(path), metric="rmse", **reading)
    space = spaces.space.load("tabular_mlp")
    (tmp_path / "training").mkdir()
    job: Any = SimpleNamespace(
        run=run,
        space=space,
        dataset=data_of(run, space, validation_fraction=0.0),
        options=SimpleNamespace(without_intervals=False),
        resources=SimpleNamespace(cpus_per_trial=1),
        final_dir=tmp_path,
        device="cpu",
    )
    for part in _parts(job):
        groups, count = part.groups, len(part.train)
        assert groups is None or not set(groups[:count].tolist()) & set(groups[count:].tolist())
        days = None if rule != TIME else [part_of.x[:, 1] for part_of in (part.train, part.validation)]
        assert days is None or float(days[0].max()) < float(days[1].min())
    params = {**space.baseline, "width": 64}
    network: Any = SimpleNamespace(contender=Contender(name="baseline", params=params), seed=1, epochs=1, stop_epoch=1)
    conformal = fit_intervals(job, network)
    assert conformal is not None
    assert len(conformal.residuals) == pytest.approx(share * len(job.dataset.train), abs=2)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "training" / "heldout").iterdir()}
    assert len(kept) == trainings
    again = fit_intervals(job, network)
    assert again is not None
    np.testing.assert_array_equal(again.residuals, conformal.residuals)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "training" / "heldout").iterdir()} == kept
    job.options.without_intervals = True
    assert fit_intervals(job, network) is None


def test_each_group_counts_equally_and_a_group_for_each_row_changes_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    y, zeros = random.normal(size=120), np.zeros(120)
    alone, usual = fit(zeros, y, zeros, groups=np.arange(120)), fit(zeros, y, zeros)
    for level in (0.5, 0.9, 0.95):
        np.testing.assert_array_equal(alone.interval(zeros, level=level), usual.interval(zeros, level=level))
    groups = np.concatenate([np.zeros(81), np.arange(1, 40)])  # one of 81 rows, 39 of one row each
    y[:81] = 50 + np.arange(81)
    found = fit(zeros, y, zeros, groups=groups)
    assert found.count == 40
    low, high = found.interval(zeros[:1], level=0.9)  # 2 of 41 groups can lie outside at each end, one is the new one
    assert (low[0], high[0]) == (np.sort(y[81:])[1], y[81:].max())
    with pytest.raises(ValueError, match=r"an interval of 0.99 needs 199 held-out groups, and this model has 40; use"):
        found.check(0.99)
    facts = {"task": "regression", "conformal": {"sha256": found.write(tmp_path)}}
    np.testing.assert_array_equal(read(tmp_path, facts).interval(zeros, level=0.9), found.interval(zeros, level=0.9))


def test_whole_groups_are_held_out_so_that_intervals_hold_for_new_groups() -> None:
    held = {True: [], False: []}
    for seed in range(3):
        x, y = _grouped(np.random.default_rng(seed), 600)
        for whole in held:
            form: dict[str, Any] = {"groups": np.arange(600) // GROUP_ROWS, "whole": whole}
            conformal, _, predictions, targets = replicate_of(x, y, epochs=8, seed=seed, **form)
            low, high = conformal.interval(predictions, level=0.9)
            held[whole] += ((low <= targets) & (targets <= high)).tolist()
    # 36 sealed groups, of which each counts about once: standard deviation sqrt(0.09 / 36) = 0.05
    assert np.mean(held[True]) > 0.9 - 2 * 0.05
    assert np.mean(held[False]) < np.mean(held[True]) - 0.05
