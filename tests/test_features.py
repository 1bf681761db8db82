"""Permutation importance and partial dependence against closed forms, and features that hang together."""

import numpy as np
import pytest
from scipy import stats

from analysis.datasets.columns import Rows, rank_correlation
from analysis.scores.features import REPEATS, Permuted, dependence_curves, permutation_importance, tied_features
from trainables.data.table import Column


def numbers(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name=name, kind="number") for name in names)


@pytest.fixture(scope="module")
def linear() -> Rows:
    """The target is twice the first column, with noise of standard deviation 0.5."""
    random = np.random.default_rng(0)
    x = random.normal(size=(3_000, 2)).astype(np.float32)
    y = 2 * x[:, 0] + random.normal(0, 0.5, 3_000)
    return Rows(columns=numbers("used", "idle"), x=x, y=y, task="regression")


def test_importance_is_what_permuting_costs_by_the_formula(linear):
    networks = [lambda x: 2 * x[:, 0], lambda x: 2 * x[:, 0]]
    used, idle = permutation_importance(networks, linear)
    assert (used["features"], idle["features"]) == (["used"], ["idle"])
    # Permuted squares rise by 2 * 2**2 * Var(x) = 8: the RMSE from 0.5 to sqrt(0.25 + 8).
    assert used["value"] == pytest.approx(np.sqrt(8.25) - 0.5, rel=0.04)
    assert used["low"] < used["value"] < used["high"]
    assert (idle["value"], idle["low"], idle["high"]) == (0, 0, 0)


@pytest.mark.parametrize("columns", [[0], [1], [2], [0, 2], [1, 3]])
def test_each_different_row_is_answered_once_and_the_losses_are_those_of_every_permutation(columns):
    random = np.random.default_rng(5)
    x = random.normal(size=(400, 4)).astype(np.float32)
    x[:, 0] = random.integers(0, 2, 400)
    x[random.random(400) < 0.3, 1] = np.nan
    x[:, 2] = random.random(400) < 0.01
    y = random.normal(size=400)
    answered: list[int] = []

    def network(rows: np.ndarray) -> np.ndarray:
        answered.append(len(rows))
        return np.nan_to_num(rows, nan=7.0) @ np.array([1.0, 2.0, -3.0, 0.5], dtype=np.float32)

    expected, draw = np.zeros(400), np.random.default_rng(9)
    for _ in range(REPEATS):
        changed = x.copy()
        changed[:, columns] = x[draw.permutation(400)][:, columns]
        expected += (network(changed) - y) ** 2 / REPEATS
    known = (network(x) - y) ** 2
    answered.clear()
    found = Permuted.draw(x, columns, np.random.default_rng(9)).losses(network, x, y, known, task="regression")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    most = {(0,): 400, (2,): 400}.get(tuple(columns), REPEATS * 400)
    assert sum(answered) <= most


def test_features_that_stand_in_for_each_other_matter_together():
    random = np.random.default_rng(1)
    a = random.normal(size=2_000).astype(np.float32)
    x = np.stack([a, a, random.normal(size=2_000).astype(np.float32)], axis=1)
    rows = Rows(columns=numbers("a", "copy", "other"), x=x, y=a.astype(float), task="regression")
    assert tied_features(rows) == [(0, 1)]
    found = permutation_importance([lambda x: (x[:, 0] + x[:, 1]) / 2], rows, groups=[(0, 1)])
    values = {"+".join(f["features"]): f["value"] for f in found}
    assert values["a+copy"] == pytest.approx(np.sqrt(2), rel=0.05)
    assert values["a"] == pytest.approx(np.sqrt(0.5), rel=0.05)
    assert found[0]["features"] == ["a", "copy"]


def test_importance_of_a_classification_is_the_rise_of_the_log_loss():
    random = np.random.default_rng(2)
    x = random.integers(0, 2, (2_000, 1)).astype(np.float32)
    rows = Rows(columns=numbers("a"), x=x, y=x[:, 0].astype(int), task="classification")

    def sure(x: np.ndarray) -> np.ndarray:
        return np.stack([0.9 - 0.8 * x[:, 0], 0.1 + 0.8 * x[:, 0]], axis=1)

    (found,) = permutation_importance([sure], rows)
    assert found["value"] == pytest.approx(0.5 * (np.log(0.9) - np.log(0.1)), rel=0.1)


def test_importance_is_the_same_for_the_same_seed(linear):
    networks = [lambda x: 2 * x[:, 0]]
    assert permutation_importance(networks, linear, seed=3) == permutation_importance(networks, linear, seed=3)


def test_partial_dependence_of_linear_networks_is_their_line_with_students_band(linear):
    networks = [lambda x: 1 * x[:, 0] + 5, lambda x: 3 * x[:, 0] + 5]
    (found,) = dependence_curves(networks, linear, ["used"])
    at, curve = np.array(found["x"]), found["curves"][""]
    np.testing.assert_allclose(curve["mean"], 2 * at + 5, rtol=1e-5)
    half = stats.t.ppf(0.975, 1) * np.abs(2 * at) / 2  # two seeds that lie 2 |x| apart
    np.testing.assert_allclose(np.array(curve["high"]) - curve["mean"], half, rtol=1e-4)
    assert found["rug"] == pytest.approx(np.quantile(linear.x[:, 0], np.linspace(0.1, 0.9, 9)).tolist())


def test_a_category_has_a_point_for_each_level_by_name():
    x = np.array([[0], [1], [2], [2]], np.float32)
    columns = (Column(name="colour", kind="category", categories=("red", "blue"), gaps=True),)
    rows = Rows(columns=columns, x=x, y=np.zeros(4), task="regression")
    (found,) = dependence_curves([lambda x: 10 * x[:, 0]], rows, ["colour"])
    assert found["x"] == ["missing", "red", "blue"]
    assert found["curves"][""]["mean"] == [0, 10, 20]


def test_two_classes_are_followed_by_the_second_and_more_by_the_most_frequent():
    y = np.repeat([0, 1, 2, 3, 4], [1, 5, 4, 3, 2])
    rows = Rows(columns=numbers("a"), x=np.arange(15, dtype=np.float32)[:, None], y=y, task="classification")

    def network(x: np.ndarray) -> np.ndarray:
        return np.tile(np.linspace(0.1, 0.3, 5), (len(x), 1))

    (found,) = dependence_curves([network], rows, ["a"], classes=("p", "q", "r", "s", "t"))
    assert list(found["curves"]) == ["q", "r", "s", "t"]
    (found,) = dependence_curves([lambda x: network(x)[:, :2]], rows, ["a"], classes=("no", "yes"))
    assert list(found["curves"]) == ["yes"]


def test_rank_correlation_is_scipys_over_the_rows_where_both_are_known():
    random = np.random.default_rng(3)
    x = random.normal(size=(200, 2)).astype(np.float32)
    x[:, 1] += x[:, 0]
    x[:20, 0] = np.nan
    found = rank_correlation(Rows(columns=numbers("a", "b"), x=x, y=np.zeros(200), task="regression"))
    expected = stats.spearmanr(x[20:, 0], x[20:, 1]).statistic
    assert found[0, 1] == pytest.approx(expected, abs=0.02)  # ranks of b are over all of its rows
    constant = Rows(columns=numbers("a", "b"), x=np.ones((9, 2), np.float32), y=np.zeros(9), task="regression")
    assert np.isnan(rank_correlation(constant)).all()
