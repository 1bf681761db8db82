"""Classical baselines: fitted on training rows alone, with gaps, categories and rare classes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_info

from analysis.scores.baselines import FOREST_ROWS, Baseline, few_threads, fit_baselines
from tests.columns import rows, table
from trainables.data.dataset import Dataset, Split
from trainables.sources.load import load


@pytest.fixture(scope="module")
def fitted() -> dict[str, Baseline]:
    return {b.method.name: b for b in fit_baselines(table(), seeds=[1, 2])}


def test_each_method_beats_the_constant_and_ridge_finds_the_linear_truth(fitted):
    test = rows(500, seed=9)
    rmse = {name: float(np.sqrt(((b.predict(test.x) - test.y.numpy()) ** 2).mean())) for name, b in fitted.items()}
    assert list(rmse) == ["mean", "ridge", "random_forest", "gradient_boosting"]
    assert rmse["mean"] == pytest.approx(test.y.std(correction=0).item(), rel=0.05)
    assert rmse["ridge"] < 0.12  # the noise is 0.1
    assert max(rmse["random_forest"], rmse["gradient_boosting"]) < 0.5 * rmse["mean"]


def test_random_methods_are_fitted_on_every_seed_and_the_others_once(fitted):
    x = rows(50, seed=9).x
    assert {name: b.predict(x).shape for name, b in fitted.items()} == {
        "mean": (1, 50),
        "ridge": (1, 50),
        "random_forest": (2, 50),
        "gradient_boosting": (1, 50),  # without early stopping nothing in it is random
    }
    first, second = fitted["random_forest"].predict(x)
    assert not np.allclose(first, second)


def test_preprocessing_knows_the_training_rows_alone(fitted):
    (pipeline,) = fitted["ridge"].models
    train = table().train.x.numpy()
    imputer, scaler = (step for _, step in pipeline[0].named_transformers_["numbers"].steps)
    np.testing.assert_allclose(imputer.statistics_, np.nanmedian(train[:, [0, 2]], axis=0))
    assert scaler.mean_[2] == pytest.approx(np.isnan(train[:, 0]).mean())  # the mark of what is missing
    assert isinstance(pipeline[-1], RidgeCV)


def test_a_class_without_training_rows_has_probability_zero():
    dataset = table(num_classes=5)
    y = torch.where(dataset.train.y == 3, 2, dataset.train.y)
    dataset = Dataset(**{**vars(dataset), "train": Split(x=dataset.train.x, y=y)})
    for baseline in fit_baselines(dataset, seeds=[1]):
        p = baseline.predict(rows(60, seed=9).x)[0]
        assert p.shape == (60, 5)
        np.testing.assert_allclose(p.sum(1), 1)
        assert (p[:, 3] == 0).all(), baseline.method.name


def test_a_column_without_any_value_and_an_unknown_category_are_no_trouble():
    dataset = table(80)
    x = dataset.train.x.clone()
    x[:, 0] = torch.nan
    x[:, 1] = 1.0
    dataset = Dataset(**{**vars(dataset), "train": Split(x=x, y=dataset.train.y)})
    for baseline in fit_baselines(dataset, seeds=[1]):
        assert np.isfinite(baseline.predict(rows(40, seed=9).x)).all()


def test_boosting_stops_early_where_a_tenth_of_the_rows_can_be_spared():
    (boosting,) = (b for b in fit_baselines(table(1_200), seeds=[1]) if b.method.name == "gradient_boosting")
    assert boosting.models[0][-1].n_iter_ < 2_000
    assert boosting.models[0][-1].validation_score_.size > 0
    assert boosting.method.random


def test_a_forest_on_few_rows_draws_from_all_of_them(fitted):
    assert fitted["random_forest"].models[0][-1].max_samples == 1.0
    assert FOREST_ROWS > 16_512


def test_images_have_no_baselines():
    assert fit_baselines(load("digits", "data"), seeds=[1]) == []


def test_small_tables_are_boosted_on_one_thread_since_waiting_threads_cost_more_than_they_gain():
    def openmp() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}

    with few_threads(table()):
        assert openmp() == {1}
