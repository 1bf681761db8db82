"""What a user's `test` returns: put in one form, scored as the built-in data are, or by seeds."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics

from analysis.scores.metrics import by_seeds, evaluate
from analysis.scores.multilabel import multilabel_features, multilabel_from_sums, multilabel_scores
from analysis.scores.predictions import Predictions, settle, settle_numbers

RANDOM = np.random.default_rng(0)


def test_probabilities_and_logits_of_classes_are_the_same():
    logits = RANDOM.normal(size=(20, 3))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = RANDOM.integers(0, 3, 20)
    first, second = settle(Predictions(y_true=y, y_score=logits)), settle(Predictions(y_true=y, y_score=shares))
    assert first.kind == second.kind == "classification"
    assert np.allclose(first.outputs, second.outputs)
    assert first.classes == ("0", "1", "2")


@pytest.mark.parametrize("logits", [False, True])
def test_one_score_a_row_is_that_of_the_second_class(logits: bool):
    shares = np.array([0.1, 0.9, 0.6, 0.05])
    found = settle(Predictions(y_true=[0, 1, 1, 0], y_score=np.log(shares / (1 - shares)) if logits else shares))
    assert np.allclose(found.outputs[:, 1], shares)


def test_classes_alone_have_no_confidence():
    found = settle(Predictions(y_true=["cat", "dog", "dog"], y_pred=["cat", "cat", "dog"]))
    assert (found.kind, found.scored, found.classes) == ("classification", False, ("cat", "dog"))
    assert found.outputs.argmax(1).tolist() == [0, 0, 1]
    found = settle(Predictions(y_true=[10, 2, 10], y_pred=[10, 10, 2]))
    assert found.classes == ("2", "10")


def test_tensors_are_taken_as_they_are():
    y = torch.tensor([0, 1])
    scores = torch.tensor([[2.0, 1.0], [0.0, 3.0]], requires_grad=True)
    assert settle(Predictions(y_true=y, y_score=scores)).outputs.argmax(1).tolist() == [0, 1]


def test_floats_are_a_regression_also_as_a_column():
    found = settle(Predictions(y_true=np.array([[1.0], [2.0]]), y_pred=np.array([[1.5], [2.5]])))
    assert (found.kind, found.outputs.shape) == ("regression", (2,))
    assert settle(Predictions(y_true=[1, 2], y_pred=[1.5, 2.5])).kind == "regression"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"y_true": [0, 1]}, "need either y_score= or y_pred="),
        ({"y_true": [0, 1], "y_pred": [1], "y_score": None}, "y_true has 2 rows, the predictions have 1"),
        ({"y_true": [], "y_pred": []}, "at least one row"),
        ({"y_true": [0, 5], "y_score": [[0.5, 0.5], [0.1, 0.9]]}, "y_true must lie in 0..1"),
        ({"y_true": [0, 1], "y_score": [[np.nan, 0.5], [0.1, 0.9]]}, "y_score must be finite, got 1 value that is not"),
        ({"y_true": [[0, 2], [1, 1]], "y_score": [[0.5, 0.5], [0.1, 0.9]]}, "must contain only 0 and 1"),
        ({"y_true": [[0, 1], [1, 1]], "y_score": [0.5, 0.5]}, "the predictions (2,)"),
        (
            {"y_true": [0, 1], "y_score": [[0.5, 0.5], [0.1, 0.9]], "classes": ("a",)},
            "1 class name is given, but y_score has 2",
        ),
    ],
)
def test_predictions_that_do_not_go_together_say_why(given: dict[str, Any], message: str):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        settle(Predictions(**given))
    assert message in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"a": float("nan")}, {"a": "b"}])
def test_numbers_must_be_finite_and_there(given: dict[str, Any]):
    with pytest.raises(ValueError, match=r"test\(model, run\)"):
        settle_numbers(given)


def test_several_labels_have_scikit_learns_metrics_and_sums_give_the_same():
    y, p = RANDOM.integers(0, 2, (60, 4)), RANDOM.random((60, 4))
    found = settle(Predictions(y_true=y, y_score=p))
    assert found.kind == "multilabel"
    scores = multilabel_scores(y, p)
    assert scores["micro_f1"] == pytest.approx(metrics.f1_score(y, p >= 0.5, average="micro"))
    sums = multilabel_from_sums(multilabel_features(y, p).sum(0, keepdims=True).astype(float), 60)
    for name, value in scores.items():
        assert sums[name][0] == pytest.approx(float(value), abs=1e-6)
    evaluation = evaluate(y, {"a": np.stack([p, p])}, task="multilabel", num_replicates=200)["a"]
    interval = evaluation.interval("macro_f1")
    assert interval.low < interval.value < interval.high


def test_numbers_by_seed_have_students_interval():
    values = np.array([1.0, 2.0, 4.0, 5.0])
    found = by_seeds({"a": {"score": values}}, num_replicates=200_000)["a"].interval("score")
    half = stats.t.ppf(0.975, 3) * values.std(ddof=1) / 2
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), abs=0.05)


def test_a_share_by_seed_has_an_interval_within_its_bounds():
    found = by_seeds({"a": {"accuracy": np.array([0.93, 0.99]), "score": np.array([0.93, 0.99])}})["a"]
    assert found.interval("accuracy").high == 1.0
    assert found.interval("score").high > 1.0
