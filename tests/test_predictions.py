"""What a user's `test` returns: put in one form, scored as the built-in data are, or by seeds."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics

from analysis.scores.classification import classification_features, classification_from_sums, classification_scores
from analysis.scores.comparison import difference, joint, optimism, probability_best
from analysis.scores.metrics import by_seeds, evaluate
from analysis.scores.multilabel import multilabel_features, multilabel_from_sums, multilabel_scores
from analysis.scores.predictions import Predictions, settle, settle_numbers, with_all_classes
from trainables.training.metrics import measure

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
        ({"y_true": [0, 0.5], "y_score": [[0.5, 0.5], [0.1, 0.9]]}, "y_true must lie in 0..1"),
        ({"y_true": [1, 2, 2], "y_pred": [1, 2, 1], "classes": ("a", "b")}, "y_true must lie in 0..1, the numbers"),
        ({"y_true": [0, 1, 1], "y_pred": [-1, 1, 1], "classes": ("a", "b")}, "y_pred must lie in 0..1, the numbers"),
        ({"y_true": ["a", "c"], "y_pred": ["a", "b"], "classes": ("a", "b")}, "only the classes a, b, got c; give all"),
        ({"y_true": ["a", "b"], "y_score": [[0.5, 0.5], [0.1, 0.9]]}, "only the classes 0, 1, got a, b; give all"),
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


def test_a_class_without_test_rows_is_left_out_of_macro_scores_and_has_no_recall():
    y = np.repeat([0, 1], 30)
    found = settle(Predictions(y_true=y, y_score=0.98 * np.eye(3)[y] + 0.01))
    perfect = evaluate(found.y, {"a": found.outputs[None]}, task="classification", asked=("balanced_accuracy",))["a"]
    for metric in ("macro_f1", "macro_recall", "macro_precision", "balanced_accuracy"):
        assert perfect.interval(metric).value == 1.0
        assert 0.9 < perfect.interval(metric).low < 1.0
    assert perfect.support.tolist() == [30, 30, 0]
    assert np.isnan([*perfect.class_interval("recall", 2).as_dict().values()]).all()


def test_macro_scores_are_those_of_the_search_and_of_scikit_learn_where_a_class_does_not_occur():
    y, p = RANDOM.integers(0, 2, 90), RANDOM.random((90, 4))
    p[:, 3] = 0
    scores = classification_scores(y, p / p.sum(1, keepdims=True))
    assert scores["macro_f1"] == metrics.f1_score(y, p.argmax(1), average="macro")
    assert scores["macro_recall"] == metrics.recall_score(y, p.argmax(1), average="macro", zero_division=0.0)
    searched = measure("classification", torch.log(torch.tensor(p)), torch.tensor(y))
    assert scores["macro_f1"] == pytest.approx(searched["macro_f1"], abs=1e-6)
    sums = classification_from_sums(classification_features(y, p).sum(0, keepdims=True).astype(float), 90)
    for name in ("macro_f1", "macro_recall", "macro_precision", "weighted_f1", "accuracy"):
        assert sums[name][0] == pytest.approx(float(scores[name]), abs=1e-6)


def test_a_label_that_no_row_has_is_left_out_of_the_macro_scores_of_several_labels():
    y = np.array([[0, 1, 0], [1, 1, 0], [1, 0, 0]])
    scores = multilabel_scores(y, y.astype(float))
    assert scores["macro_f1"] == 1.0
    sums = multilabel_from_sums(multilabel_features(y, y.astype(float)).sum(0, keepdims=True).astype(float), 3)
    assert {name: value[0] for name, value in sums.items()} == pytest.approx(
        {name: float(value) for name, value in scores.items()}
    )
    assert multilabel_scores(0 * y, 0.0 * y)["macro_f1"] == 0.0


def test_a_model_that_is_always_right_has_no_certain_balanced_accuracy():
    y = np.repeat([0, 1], 30)
    found = evaluate(y, {"a": np.eye(2)[y][None]}, task="classification", asked=("balanced_accuracy",))["a"]
    assert found.interval("balanced_accuracy") == found.interval("accuracy")


def test_classes_keep_the_order_of_their_names():
    found = settle(Predictions(y_true=["dog", "cat"], y_pred=["dog", "dog"], classes=("dog", "cat")))
    assert (found.y.tolist(), found.outputs.argmax(1).tolist()) == ([0, 1], [0, 0])


def test_networks_that_predict_different_classes_are_put_on_the_same_ones():
    one = settle(Predictions(y_true=["b", "c"], y_pred=["b", "c"]))
    other = settle(Predictions(y_true=["b", "c"], y_pred=["a", "c"]))
    first, second = with_all_classes([one, other])
    assert first.classes == second.classes == ("a", "b", "c")
    assert first.y.tolist() == second.y.tolist() == [1, 2]
    assert second.outputs.argmax(1).tolist() == [0, 2]


def test_test_rows_of_one_class_are_scored():
    found = settle(Predictions(y_true=["a", "a"], y_pred=["a", "a"]))
    evaluated = evaluate(found.y, {"a": found.outputs[None]}, task="classification")["a"]
    assert evaluated.scores["accuracy"].tolist() == [1.0]


@pytest.mark.parametrize("values", [[0.7], [0.7, 0.7]])
def test_numbers_that_do_not_vary_over_seeds_have_no_interval_and_no_verdict(values: list[float]):
    found = by_seeds({"a": {"accuracy": np.array(values)}, "b": {"accuracy": np.array([0.5, 0.6])}})
    alone, gap = found["a"].interval("accuracy"), difference(found["a"], found["b"], metric="accuracy")
    for interval in (alone, gap, optimism(0.8, found["a"], metric="accuracy")):
        assert np.isnan([interval.low, interval.high]).all()
    assert alone.value == pytest.approx(0.7)
    assert gap.value == pytest.approx(0.15)
    assert probability_best(found, metric="accuracy") == {}
    assert not np.isnan(found["b"].interval("accuracy").low)
    assert np.isnan(joint(found, metric="accuracy")["a"].low)
