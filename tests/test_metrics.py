"""Metrics against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    mean_pinball_loss,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
    root_mean_squared_log_error,
)

from analysis.scores.metrics import evaluate, probabilities
from trainables.training import metrics


def draw_logits(num_rows: int, num_classes: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(num_rows, num_classes, generator=generator)
    return logits, torch.randint(0, num_classes, (num_rows,), generator=generator)


@pytest.mark.parametrize(("num_rows", "num_classes"), [(1, 2), (7, 10), (1000, 10), (300, 100)])
def test_classification_agrees_with_scikit_learn(num_rows: int, num_classes: int) -> None:
    logits, y = draw_logits(num_rows, num_classes, seed=num_rows)
    found = metrics.classification(logits, y)
    predicted = logits.argmax(1).numpy()
    probabilities = torch.softmax(logits.double(), 1).numpy()
    assert found["accuracy"] == pytest.approx(accuracy_score(y, predicted), abs=1e-6)
    assert found["macro_f1"] == pytest.approx(f1_score(y, predicted, average="macro"), abs=1e-6)
    assert found["loss"] == pytest.approx(log_loss(y, probabilities, labels=range(num_classes)), rel=1e-5)


def test_a_perfect_classification_scores_one_and_a_wrong_one_zero() -> None:
    y = torch.tensor([0, 1, 2, 2])
    right = metrics.classification(20.0 * torch.eye(3)[y], y)
    wrong = metrics.classification(20.0 * torch.eye(3)[(y + 1) % 3], y)
    assert (right["accuracy"], right["macro_f1"]) == (1.0, 1.0)
    assert (wrong["accuracy"], wrong["macro_f1"]) == (0.0, 0.0)
    assert wrong["loss"] == pytest.approx(20.0, abs=1e-6)


def test_logits_in_bfloat16_are_measured_in_float32() -> None:
    logits, y = draw_logits(512, 10, seed=1)
    rounded = logits.bfloat16()
    assert metrics.classification(rounded, y)["loss"] == metrics.classification(rounded.float(), y)["loss"]


def test_a_loss_that_is_not_finite_is_reported_as_it_is() -> None:
    assert np.isnan(metrics.classification(torch.full((4, 3), float("nan")), torch.zeros(4, dtype=torch.long))["loss"])


def test_regression_agrees_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    y = 100 + torch.randn(500, generator=generator)
    predicted = y + 0.3 * torch.randn(500, generator=generator)
    found = metrics.regression(predicted[:, None], y)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(y, predicted), rel=1e-6)
    assert found["mae"] == pytest.approx(mean_absolute_error(y, predicted), rel=1e-6)
    assert found["r2"] == pytest.approx(r2_score(y.double(), predicted.double()), rel=1e-6)


@pytest.mark.parametrize(("offset", "r2"), [(0.0, 1.0), (1.0, 0.0)])
def test_constant_targets_score_as_in_scikit_learn(offset: float, r2: float) -> None:
    y = torch.full((5,), 2.0)
    assert metrics.regression(y + offset, y)["r2"] == r2 == r2_score(y, y + offset)


def skewed_logits(num_classes: int, *, num_rows: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """The first class is common, and some rows have equal logits."""
    logits, y = draw_logits(num_rows, num_classes, seed=num_classes)
    y = torch.where(torch.arange(num_rows) % 3 > 0, 0, y)
    logits[torch.arange(num_rows), y] += 1
    logits[:20] = logits[:1]
    return logits, y


@pytest.mark.parametrize("num_classes", [2, 3, 7])
@pytest.mark.parametrize("metric", ["balanced_accuracy", "auc", "log_loss"])
def test_a_metric_that_is_asked_for_agrees_with_scikit_learn(num_classes: int, metric: str) -> None:
    logits, y = skewed_logits(num_classes)
    p, found = torch.softmax(logits.double(), 1).numpy(), metrics.classification(logits, y, metric=metric)
    expected = {
        "balanced_accuracy": balanced_accuracy_score(y, p.argmax(1)),
        "auc": roc_auc_score(y, p[:, 1] if num_classes == 2 else p, multi_class="ovr"),
        "log_loss": log_loss(y, p),
    }
    assert found[metric] == pytest.approx(expected[metric], rel=1e-5)
    assert {name: found[name] for name in ("loss", "accuracy", "macro_f1")} == metrics.classification(logits, y)


def test_an_auc_leaves_out_classes_without_rows_and_is_a_half_where_none_is_left() -> None:
    logits, y = skewed_logits(2)
    wider = torch.cat([logits, torch.full((len(y), 1), -30.0)], dim=1)
    assert metrics.auc(wider, y).item() == pytest.approx(metrics.auc(logits, y).item(), abs=1e-9)
    assert metrics.auc(logits, torch.zeros_like(y)).item() == 0.5
    assert metrics.auc(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])).item() == 0.5


@pytest.mark.parametrize(("metric", "quantile"), [("rmsle", 0.0), ("pinball:0.9", 0.9), ("pinball:0.25", 0.25)])
def test_a_metric_of_numbers_that_is_asked_for_agrees_with_scikit_learn(metric: str, quantile: float) -> None:
    generator = torch.Generator().manual_seed(3)
    y = 5 * torch.rand(200, generator=generator, dtype=torch.float64)
    predicted = y + torch.randn(200, generator=generator, dtype=torch.float64)
    found = metrics.regression(predicted, y, metric=metric)
    positive = predicted.clamp(min=0)  # scikit-learn refuses values below -1
    expected = mean_pinball_loss(y, predicted, alpha=quantile) if quantile else root_mean_squared_log_error(y, positive)
    assert found[metric] == pytest.approx(expected, rel=1e-12)
    assert {name: found[name] for name in ("rmse", "mae", "r2")} == metrics.regression(predicted, y)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "auc"])
@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_final_evaluation_computes_a_metric_as_the_search_did(metric: str, num_classes: int) -> None:
    logits, y = skewed_logits(num_classes)
    p = probabilities(logits.numpy())
    (found,) = evaluate(y.numpy(), {"": p[None]}, task="classification", num_replicates=2000, asked=(metric,)).values()
    assert found.scores[metric][0] == pytest.approx(metrics.classification(logits, y, metric=metric)[metric], rel=1e-5)
    assert metric not in evaluate(y.numpy(), {"": p[None]}, task="classification", num_replicates=20)[""].scores
    random, exact = np.random.default_rng(0), []
    for _ in range(400):
        rows = torch.from_numpy(random.integers(0, len(y), len(y)))
        exact.append(metrics.classification(logits[rows], y[rows], metric=metric)[metric])
    assert found.replicates[metric].std() == pytest.approx(np.std(exact), rel=0.15)
    interval = found.interval(metric)
    assert interval.low < found.scores[metric][0] < interval.high


@pytest.mark.parametrize("metric", ["rmsle", "pinball:0.9"])
def test_the_final_evaluation_computes_a_metric_of_numbers_as_the_search_did(metric: str) -> None:
    random = np.random.default_rng(1)
    y = random.exponential(size=300)
    predicted = y + random.normal(size=300) / 3
    found = evaluate(y, {"": predicted[None]}, task="regression", num_replicates=500, asked=(metric,))[""]
    trained = metrics.regression(torch.from_numpy(predicted), torch.from_numpy(y), metric=metric)[metric]
    assert found.scores[metric][0] == pytest.approx(trained, rel=1e-9)
    assert found.interval(metric).low < trained < found.interval(metric).high


def test_targets_below_zero_have_no_logarithmic_error() -> None:
    with pytest.raises(ValueError, match=r"--metric rmsle needs targets of at least 0, got -2; take rmse or mae"):
        metrics.check_targets(torch.tensor([1.0, -2.0]), torch.zeros(0), metric="rmsle")
    metrics.check_targets(torch.tensor([1.0, -2.0]), metric="rmse")
