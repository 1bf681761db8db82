"""Boosting that is tuned with as much computing as the search: what is tried, what is kept, and who may ask for it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.scores import boosting
from analysis.scores.baselines import Baseline
from analysis.scores.boosters import LIBRARIES, as_frame
from analysis.scores.boosting import check_libraries, tune_boosting
from tests.columns import rows, table
from trainables.data.dataset import Dataset, Fold, Split
from trainables.data.table import Column


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boosting, "MOST_CONFIGURATIONS", 3)
    monkeypatch.setattr(boosting, "LEAST_CONFIGURATIONS", 2)
    monkeypatch.setattr(boosting, "MOST_TREES", 200)


def made(*, num_classes: int = 0, **changes) -> Dataset:
    validation = rows(150, seed=1, num_classes=num_classes)
    return replace(table(400, num_classes=num_classes), **{"validation": validation, "checksum": "made", **changes})


def tuned(dataset: Dataset, folder: Path, *, name: str = "sklearn", seconds: float = 1000.0) -> Baseline:
    (baseline,) = tune_boosting([name], dataset, dataset, seeds=[1, 2], core_seconds=seconds, folder=folder)
    return baseline


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_tuned_library_learns_numbers_gaps_and_categories(name: str, tmp_path: Path):
    pytest.importorskip(LIBRARIES[name].package)
    baseline, new = tuned(made(), tmp_path, name=name), rows(200, seed=2)
    found = baseline.predict(new.x)
    assert found.shape == (2, 200)
    assert ((found - new.y.numpy()) ** 2).mean() < 0.1 * new.y.numpy().var()
    assert baseline.method.settings.startswith("the best of 3 configurations by the validation rows, tuned for ")


@pytest.mark.parametrize("name", LIBRARIES)
def test_classes_that_have_no_training_rows_get_no_probability(name: str, tmp_path: Path):
    pytest.importorskip(LIBRARIES[name].package)
    dataset = replace(made(num_classes=3), classes=("c0", "c1", "c2", "never"), metric="log_loss")
    found = tuned(dataset, tmp_path, name=name).predict(dataset.validation.x)
    assert found.shape == (2, 150, 4)
    np.testing.assert_allclose(found.sum(2), 1, atol=1e-5)
    assert not found[:, :, 3].any()
    assert (found.mean(0).argmax(1) == dataset.validation.y.numpy()).mean() > 0.8


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_quantile_is_predicted_where_the_metric_asks_for_one(name: str, tmp_path: Path):
    pytest.importorskip(LIBRARIES[name].package)
    x = np.random.default_rng(0).normal(size=(1500, 2)).astype(np.float32)
    y = (x[:, 0] + np.random.default_rng(1).normal(size=1500)).astype(np.float32)
    parts = [Split(x=torch.from_numpy(x[part]), y=torch.from_numpy(y[part])) for part in (slice(900), slice(900, None))]
    columns = (Column(name="a", kind="number"), Column(name="b", kind="number"))
    dataset = made(train=parts[0], validation=parts[1], columns=columns, metric="pinball:0.9")
    below = y[900:] <= tuned(dataset, tmp_path, name=name).predict(parts[1].x).mean(0)
    assert 0.82 < below.mean() < 0.96


def test_many_levels_and_rows_without_known_levels_are_taken(tmp_path: Path):
    columns = (
        Column(name="id", kind="category", categories=tuple(map(str, range(300)))),
        Column(name="b", kind="number"),
    )
    x = np.stack([np.arange(400) % 301, np.arange(400) / 100], 1).astype(np.float32)
    split = Split(x=torch.from_numpy(x), y=torch.from_numpy(x[:, 1].copy()))
    dataset = made(train=split, validation=split, columns=columns)
    assert tuned(dataset, tmp_path).predict(split.x).shape == (2, 400)
    assert list(as_frame(x, dataset)["0"].cat.categories) == list(range(301))


def test_the_first_configuration_is_that_of_the_library_and_time_ends_the_tuning(tmp_path: Path):
    baseline = tuned(made(), tmp_path, seconds=0.0)
    assert "the best of 2 configurations" in baseline.method.settings
    study = boosting._study(tmp_path / "sklearn.log", made(), seed=1)
    defaults = {name: one.default for name, one in LIBRARIES["sklearn"].ranges.items()}
    assert study.trials[0].params == defaults
    assert study.best_value == max(trial.value or 0.0 for trial in study.trials)


def test_an_interrupted_tuning_goes_on_and_other_rows_begin_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    judged, judge = [], boosting._judge

    def interrupted(*args, **kwargs):
        judged.append(1)
        if len(judged) == 2:
            raise KeyboardInterrupt
        return judge(*args, **kwargs)

    monkeypatch.setattr(boosting, "_judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tuned(made(), tmp_path)
    tuned(made(), tmp_path)
    assert len(judged) == 4  # one, one that was interrupted, and two more
    tuned(made(), tmp_path)
    assert len(judged) == 4
    tuned(made(checksum="other"), tmp_path)
    assert len(judged) == 7


def test_a_damaged_file_is_set_aside(tmp_path: Path):
    tuned(made(), tmp_path)
    path = tmp_path / "sklearn.log"
    path.write_bytes(b"{" + path.read_bytes()[40:])
    assert "the best of 3 configurations" in tuned(made(), tmp_path).method.settings
    assert (tmp_path / "sklearn.damaged").exists()


def test_a_target_in_small_units_and_an_empty_column_are_taken(tmp_path: Path):
    dataset = made()
    x = torch.cat([dataset.train.x, torch.full((400, 1), torch.nan)], dim=1)
    columns = (*dataset.columns, Column(name="late", kind="number", gaps=True))
    train = Split(x=x, y=dataset.train.y * 1e-6 + 5)
    new = torch.cat([dataset.validation.x, torch.ones(150, 1)], dim=1)
    validation = Split(x=new, y=dataset.validation.y * 1e-6 + 5)
    train, validation = (Split(x=one.x, y=one.y.double()) for one in (train, validation))
    found = tuned(replace(dataset, train=train, validation=validation, columns=columns), tmp_path).predict(new)
    y = validation.y.numpy()
    assert ((found - y) ** 2).mean() < 0.2 * y.var()


def test_folds_are_judged_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes, judge = [], boosting._judge

    def noted(library, params, dataset, *, seed):
        sizes.append(len(dataset.validation))
        return judge(library, params, dataset, seed=seed)

    monkeypatch.setattr(boosting, "_judge", noted)
    parts = np.arange(550).reshape(2, 275)
    folds = (Fold(train=parts[0], validation=parts[1]), Fold(train=parts[1], validation=parts[0]))
    tuned(made(folds=folds), tmp_path)
    assert sizes == [275] * 6


def test_the_option_names_libraries_that_are_installed(monkeypatch: pytest.MonkeyPatch):
    assert check_libraries("sklearn, sklearn") == ("sklearn",)
    with pytest.raises(ValueError, match=r"must name some of sklearn, lightgbm, xgboost, catboost, got 'catbost'"):
        check_libraries("sklearn,catbost")
    monkeypatch.setattr(boosting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs catboost; pip install 'rungwise\[boosting\]', or leave it out"):
        check_libraries("catboost")
