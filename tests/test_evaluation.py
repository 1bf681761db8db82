"""Scores agree with scikit-learn, and intervals with closed forms."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest
from scipy.stats import t as student
from sklearn import metrics

from analysis.scores.classification import CLASS_METRICS, classification_scores
from analysis.scores.comparison import (
    confused_pairs,
    confusion,
    difference,
    mcnemar,
    mcnemar_mid_p,
    optimism,
    probability_best,
)
from analysis.scores.ece import NUM_BINS, calibration_error, chance_calibration_error, confidence_bins
from analysis.scores.metrics import evaluate, probabilities, regression_scores
from analysis.statistics.bootstrap import Interval, image_draws, interval, seed_steps, wilson


def network(y: np.ndarray, *, skill: float, seed: int, num_classes: int = 4) -> np.ndarray:
    """Probabilities (N, K) of a network that leans towards the labels."""
    logits = np.random.default_rng(seed).standard_normal((len(y), num_classes))
    logits[np.arange(len(y)), y] += skill
    return probabilities(logits)


def answers(right: np.ndarray) -> np.ndarray:
    """Probabilities (N, 2) of a network that is right on these rows, all of class 0."""
    return np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])


@pytest.fixture(scope="module")
def y() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, 600)


def test_scores_are_scikit_learns_own_to_the_last_digit(y):
    p = network(y, skill=1.5, seed=1)
    scores, predicted = classification_scores(y, p), p.argmax(1)
    assert scores["accuracy"] == metrics.accuracy_score(y, predicted)
    assert scores["macro_f1"] == metrics.f1_score(y, predicted, average="macro")
    assert scores["macro_precision"] == metrics.precision_score(y, predicted, average="macro")
    assert scores["weighted_recall"] == metrics.recall_score(y, predicted, average="weighted")
    assert scores["weighted_f1"] == metrics.f1_score(y, predicted, average="weighted")
    assert scores["top2_accuracy"] == metrics.top_k_accuracy_score(y, p, k=2)
    assert scores["log_loss"] == metrics.log_loss(y, p)
    np.testing.assert_array_equal(scores["recall"], metrics.recall_score(y, predicted, average=None))


def test_regression_scores_are_scikit_learns_own_to_the_last_digit():
    random = np.random.default_rng(0)
    y = random.normal(2, 1, 200)
    predicted = y + random.normal(0, 0.3, 200)
    scores = regression_scores(y, predicted)
    assert scores["rmse"] == metrics.root_mean_squared_error(y, predicted)
    assert scores["mae"] == metrics.mean_absolute_error(y, predicted)
    assert scores["r2"] == metrics.r2_score(y, predicted)
    assert scores["bias"] == (predicted - y).mean()


def test_the_sums_of_the_bootstrap_give_scikit_learns_metrics_on_the_drawn_rows(y):
    p = network(y, skill=1.0, seed=2)
    found = evaluate(y, {"one": p[None]}, task="classification", num_replicates=3, seed=5)["one"]
    random = np.random.default_rng((5, 0xB007))
    draws = next(image_draws(len(y), 3, random))  # one seed takes no random numbers
    bins = confidence_bins(p)
    for replicate, counts in enumerate(draws.astype(int)):
        rows = np.repeat(np.arange(len(y)), counts)
        expected = classification_scores(y[rows], p[rows])
        gaps = p[rows].max(1) - (p[rows].argmax(1) == y[rows])
        expected["ece"] = np.abs(np.bincount(bins[rows], weights=gaps, minlength=NUM_BINS)).sum() / len(rows)
        for metric, values in {**found.replicates, **found.class_replicates}.items():
            np.testing.assert_allclose(values[replicate], expected[metric], rtol=2e-6, err_msg=metric)


def test_the_sums_of_the_bootstrap_give_scikit_learns_regression_metrics_on_the_drawn_rows():
    random = np.random.default_rng(0)
    y = random.normal(2, 1, 300)
    predicted = y + random.normal(0.1, 0.3, 300)
    found = evaluate(y, {"one": predicted[None]}, task="regression", num_replicates=3, seed=5)["one"]
    draws = next(image_draws(len(y), 3, np.random.default_rng((5, 0xB007))))
    for replicate, counts in enumerate(draws.astype(int)):
        rows = np.repeat(np.arange(len(y)), counts)
        for metric, value in regression_scores(y[rows], predicted[rows]).items():
            assert found.replicates[metric][replicate] == pytest.approx(value, rel=1e-5), metric


def test_every_draw_of_rows_has_as_many_rows_as_the_test_set():
    draws = list(image_draws(37, 601, np.random.default_rng(0)))
    assert sum(map(len, draws)) == 601
    assert all((chunk.sum(1) == 37).all() for chunk in draws)


def test_one_seed_has_the_binomial_standard_error():
    """Quantiles of 20,000 replicates: standard error of a 2.5 % quantile about 0.019 sd; 5 of these allowed."""
    num_rows, share = 2000, 0.9
    p = answers(np.arange(num_rows) < share * num_rows)
    y = np.zeros(num_rows, np.int64)
    found = evaluate(y, {"one": p[None]}, task="classification", num_replicates=20_000)["one"]
    expected = math.sqrt(share * (1 - share) / num_rows)
    assert found.replicates["accuracy"].std() == pytest.approx(expected, rel=5 / math.sqrt(2 * 20_000))
    bounds = found.interval("accuracy")
    assert bounds.value == share
    assert bounds.low == pytest.approx(share - 1.96 * expected, abs=0.1 * expected + 0.5 / num_rows)
    assert bounds.high == pytest.approx(share + 1.96 * expected, abs=0.1 * expected + 0.5 / num_rows)


def test_without_noise_from_the_images_the_interval_is_students_t_over_the_seeds():
    """Every network gives each image the same loss, so only the seeds vary."""
    certainty = np.array([0.80, 0.84, 0.86, 0.87, 0.93])
    p = np.stack([np.tile([c, 1 - c], (50, 1)) for c in certainty])
    found = evaluate(np.zeros(50, np.int64), {"one": p}, task="classification", num_replicates=40_000)["one"]
    losses = -np.log(certainty)
    half = student.ppf(0.975, 4) * losses.std(ddof=1) / math.sqrt(5)
    bounds = found.interval("log_loss")
    assert bounds.value == pytest.approx(losses.mean(), rel=1e-12)
    # density of t(4) at its quantile 2.78 is 0.035: standard error of the quantile 0.022, 1 % of it; 5 allowed
    assert bounds.high - bounds.value == pytest.approx(half, rel=0.05)
    assert bounds.value - bounds.low == pytest.approx(half, rel=0.05)


def test_steps_of_the_seeds_sum_to_zero():
    np.testing.assert_allclose(seed_steps(3, 1000, np.random.default_rng(0)).sum(1), 0, atol=1e-9)


@pytest.mark.slow
def test_the_interval_covers_the_truth_at_its_nominal_rate():
    """400 evaluations of 4 seeds whose skill varies, on 150 rows drawn anew: 95 %, give or take 4 standard errors."""
    spread = np.random.default_rng(2).normal(0, math.hypot(0.5, 0.15), 400_000)
    truth = (1 / (1 + np.exp(-(1.6 + spread)))).mean()
    random, covered = np.random.default_rng(1), 0
    for repetition in range(400):
        easy = random.normal(0, 0.5, 150)  # shared by the networks: some rows are harder
        skills = random.normal(0, 0.15, 4)
        chance = 1 / (1 + np.exp(-(1.6 + easy + skills[:, None])))  # (S, N)
        p = np.stack([answers(row) for row in random.random(chance.shape) < chance])
        found = evaluate(
            np.zeros(150, np.int64), {"one": p}, task="classification", num_replicates=400, seed=repetition
        )
        bounds = found["one"].interval("accuracy")
        covered += bounds.low <= truth <= bounds.high
    assert covered / 400 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 400))


def test_a_score_without_a_mistake_has_wilsons_interval_instead_of_certainty():
    y = np.repeat([0, 1], 30)
    p = np.eye(2)[y][None] * 0.98 + 0.01
    found = evaluate(y, {"one": p}, task="classification", num_replicates=200)["one"]
    assert found.interval("accuracy").low == pytest.approx(wilson(60, 60)[0])
    assert found.class_interval("recall", 0).low == pytest.approx(wilson(30, 30)[0])
    assert found.interval("accuracy").high == 1


def test_wilsons_interval_has_wilsons_closed_form():
    share, z, total = 7 / 50, 1.959964, 50
    factor = 1 / (1 + z**2 / total)
    half = factor * z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    centre = factor * (share + z**2 / (2 * total))
    assert wilson(7, 50) == pytest.approx((centre - half, centre + half), rel=1e-6)


def test_a_reflected_interval_mirrors_the_replicates():
    values = np.linspace(0.2, 0.4, 1001)
    assert interval(0.2, values, reflect=True, bounds=(0, 1)) == Interval(value=0.2, low=pytest.approx(0.005), high=0.2)


def test_bins_of_the_calibration_error_hold_equally_many_rows(y):
    counts = np.bincount(confidence_bins(network(y, skill=1, seed=3)), minlength=NUM_BINS)
    assert counts.min() == counts.max() == len(y) // NUM_BINS


def test_the_calibration_error_of_one_confidence_is_its_distance_from_the_accuracy():
    p = np.tile([0.8, 0.2], (300, 1))
    y = (np.arange(300) % 2).astype(np.int64)  # half right, in every bin of twenty
    assert calibration_error(y, p) == pytest.approx(0.3, abs=1e-12)


def test_a_calibrated_network_shows_the_calibration_error_of_chance(y):
    p = network(y, skill=1.0, seed=4)
    random = np.random.default_rng(0)
    drawn = [calibration_error((random.random((600, 1)) > p.cumsum(1)).sum(1).clip(max=3), p) for _ in range(200)]
    assert np.mean(drawn) == pytest.approx(chance_calibration_error(p), rel=0.05)


def test_a_difference_on_the_same_rows_is_narrower_than_one_of_independent_scores():
    """Both are right on the same 70 % and differ on 4 % of the rows: the variance is that of the difference."""
    num_rows = 2000
    place = np.arange(num_rows) / num_rows
    first, second = answers(place < 0.74), answers(place < 0.70)
    found = evaluate(
        np.zeros(num_rows, np.int64),
        {"a": first[None], "b": second[None]},
        task="classification",
        num_replicates=20_000,
    )
    bounds = difference(found["a"], found["b"], metric="accuracy")
    half = 1.96 * math.sqrt(0.04 * 0.96 / num_rows)
    assert bounds.value == pytest.approx(0.04)
    assert bounds.high - bounds.low == pytest.approx(2 * half, rel=0.1)
    assert bounds.low > 0


def test_rows_of_the_same_networks_share_their_luck_with_the_seeds(y):
    p = np.stack([network(y, skill=s, seed=s) for s in (1, 2, 3)])
    found = evaluate(y, {"a": p, "b": p}, task="classification", num_replicates=200, same_networks={"b": "a"})
    np.testing.assert_array_equal(found["a"].replicates["accuracy"], found["b"].replicates["accuracy"])


def test_identical_configurations_share_the_probability_of_being_best(y):
    p = network(y, skill=1, seed=5)[None]
    found = evaluate(y, {"a": p, "b": p}, task="classification", num_replicates=100)
    assert probability_best(found, metric="accuracy") == {"a": 0.5, "b": 0.5}
    assert probability_best(found, metric="log_loss") == {"a": 0.5, "b": 0.5}


def test_optimism_is_positive_when_the_search_promised_too_much(y):
    found = evaluate(y, {"a": network(y, skill=1, seed=6)[None]}, task="classification", num_replicates=400)["a"]
    accuracy, loss = float(found.scores["accuracy"][0]), float(found.scores["log_loss"][0])
    gap = optimism(accuracy + 0.2, found, metric="accuracy")
    assert gap.value == pytest.approx(0.2)
    assert 0 < gap.low < gap.value < gap.high
    assert optimism(loss - 0.5, found, metric="log_loss").low > 0


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 3), (1, 8), (25, 9)])
def test_mcnemars_mid_p_takes_half_the_probability_of_what_was_seen_from_the_exact_test(first, second):
    total = first + second
    exact = binomtest(first, total).pvalue if total else 1.0
    seen = binom.pmf(first, total, 0.5) if total else 0.0
    expected = exact - seen if first != second else exact - seen / 2 if total else 1.0
    assert mcnemar_mid_p(first, second) == pytest.approx(expected)


def test_mcnemar_takes_twice_the_median_of_the_pairs():
    y = np.zeros(40, np.int64)
    better, worse = answers(np.arange(40) < 38), answers(np.arange(40) < 28)
    found = mcnemar(y, np.stack([better, better, worse]), np.stack([worse, worse, worse]))
    assert [pair["only_this"] for pair in found["pairs"]] == [10, 10, 0]
    assert found["p"] == pytest.approx(2 * mcnemar_mid_p(10, 0))


def test_confusion_and_class_tables_add_up(y):
    p = np.stack([network(y, skill=1, seed=7), network(y, skill=1.2, seed=8)])
    counts = confusion(y, p)
    np.testing.assert_array_equal(counts, sum(metrics.confusion_matrix(y, one.argmax(1), labels=range(4)) for one in p))
    np.testing.assert_array_equal(counts.sum(1), 2 * np.bincount(y))
    found = evaluate(y, {"a": p}, task="classification", num_replicates=50)["a"]
    assert np.diag(counts).sum() / counts.sum() == pytest.approx(found.scores["accuracy"].mean())
    recall = found.class_scores["recall"].mean(0)
    np.testing.assert_allclose(np.diag(counts) / counts.sum(1), recall)
    assert found.scores["macro_recall"].mean() == pytest.approx(recall.mean())
    assert set(found.class_scores) == set(CLASS_METRICS)


def test_confused_pairs_come_most_frequent_first_with_their_shares():
    counts = np.array([[8, 2, 0], [5, 5, 0], [0, 1, 9]])
    assert [(p["label"], p["predicted"], p["count"]) for p in confused_pairs(counts)] == [
        (1, 0, 5),
        (0, 1, 2),
        (2, 1, 1),
    ]
    assert confused_pairs(counts)[0]["share_of_mistakes"] == 5 / 8
    assert confused_pairs(counts)[0]["share_of_class"] == 0.5


@pytest.mark.slow
def test_ten_thousand_images_five_seeds_and_five_configurations_take_seconds():
    import time

    y = np.random.default_rng(0).integers(0, 10, 10_000)
    outputs = {
        str(c): np.stack([network(y, skill=2, seed=10 * c + s, num_classes=10) for s in range(5)]) for c in range(5)
    }
    began = time.process_time()
    evaluate(y, outputs, task="classification")
    assert time.process_time() - began < 60
