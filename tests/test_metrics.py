"""Metrics against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_absolute_error, r2_score, root_mean_squared_error

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
