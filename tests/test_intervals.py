"""Intervals of test scores: rows in groups, few groups and seeds, and what no interval may say."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from analysis.datasets.columns import Rows
from analysis.evaluation import record
from analysis.evaluation.record import calibration_bins, describe_entrants, describe_winner, few_seeds
from analysis.model.conformal import Conformal, Scale
from analysis.scores.comparison import difference
from analysis.scores.features import permutation_importance
from analysis.scores.metrics import evaluate
from analysis.scores.residuals import describe_residuals
from analysis.scores.versus import difference as difference_of_runs
from analysis.scores.versus import paired_rows
from analysis.statistics.bootstrap import image_draws, interval, share_interval, unit_of_rows, wilson
from tests.evaluated import measured
from tests.tables import write_csv
from trainables.data.dataset import Split
from trainables.data.split import SplitRule
from trainables.data.table import Column

GROUPS = np.repeat(np.arange(8), 10)
TIMES = 300


def errors(random: np.random.Generator, *, sizes: Any = 10) -> tuple[np.ndarray, np.ndarray]:
    """The errors of rows whose groups differ as much as rows of a group do, and the group of each row."""
    groups = np.repeat(np.arange(8), sizes)
    return random.normal(size=8)[groups] + random.normal(size=len(groups)), groups


def length(found: Any) -> float:
    return found["high"] - found["low"] if isinstance(found, dict) else found.high - found.low


def test_intervals_cover_the_truth_of_new_groups_where_intervals_over_rows_do_not() -> None:
    """95 %, give or take 4 standard errors of 300 repetitions, for groups of one size and of very different ones."""
    random, covered = np.random.default_rng(0), np.zeros(3)
    for _ in range(TIMES):
        for place, sizes, kept in ((0, 10, True), (1, [2, 2, 2, 5, 10, 20, 20, 40], True), (2, 10, False)):
            error, groups = errors(random, sizes=sizes)
            y = np.zeros(len(error))
            found = evaluate(
                y, {"": error[None]}, task="regression", num_replicates=400, groups=groups if kept else None
            )
            bounds = found[""].interval("bias")
            covered[place] += bounds.low <= 0 <= bounds.high
    error = 4 * math.sqrt(0.95 * 0.05 / TIMES)
    assert covered[:2] / TIMES == pytest.approx([0.95, 0.95], abs=error)
    assert covered[2] / TIMES < 0.7


def test_whole_groups_are_drawn_and_every_replicate_has_the_weight_of_all_rows() -> None:
    groups = np.repeat(np.arange(3), [1, 2, 5])
    draws = np.concatenate(list(image_draws(8, 300, np.random.default_rng(0), groups=groups)))
    assert draws.sum(1) == pytest.approx(np.full(300, 8), rel=1e-5)
    assert (np.ptp(draws[:, 1:3], axis=1) == 0).all()
    assert (np.ptp(draws[:, 3:], axis=1) == 0).all()


def test_rows_of_one_group_are_resampled_as_rows_because_nothing_shows_how_groups_differ() -> None:
    assert unit_of_rows(np.full(9, 4)) is None
    assert unit_of_rows(None) is None
    assert unit_of_rows(np.array([7, 3, 9])) is None, "each row is its own group"
    assert unit_of_rows(np.array([7, 3, 7])).tolist() == [1, 0, 1]  # pyright: ignore[reportOptionalMemberAccess]


def test_an_interval_of_a_share_over_groups_covers_it_and_is_wilsons_for_independent_rows() -> None:
    hits = np.arange(400) < 80
    assert share_interval(hits, None) == wilson(80, 400)
    assert share_interval(hits, np.arange(400)) == pytest.approx(wilson(80, 400), abs=2e-3)
    random, covered = np.random.default_rng(1), 0
    for _ in range(TIMES):
        found = random.random(80) < random.beta(2, 2, 8)[GROUPS]
        low, high = share_interval(found, GROUPS)
        covered += low <= 0.5 <= high
    assert covered / TIMES == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / TIMES))
    alike = share_interval(np.ones(80, bool), GROUPS)
    assert alike[0] < wilson(8, 8)[0]
    assert alike[1] == 1


def test_a_share_without_a_mistake_is_as_sure_as_its_groups_are_many() -> None:
    y = np.repeat([0, 1], 40)
    p = np.eye(2)[y][None] * 0.98 + 0.01
    found = evaluate(y, {"": p}, task="classification", num_replicates=100, groups=GROUPS)[""]
    assert found.interval("accuracy").low == pytest.approx(wilson(8, 8)[0])
    assert found.class_interval("recall", 0).low == pytest.approx(wilson(4, 4)[0])


def test_every_interval_of_an_evaluation_is_over_groups() -> None:
    error, groups = errors(np.random.default_rng(3), sizes=60)
    y = np.random.default_rng(4).normal(size=480).astype(np.float32)
    outputs = (y + 3 * error)[None]
    plain, grouped = (describe_residuals(y, outputs, y, groups=g)["bands"] for g in (None, groups))
    assert length(grouped[2]["mae"]) > 1.5 * length(plain[2]["mae"])
    x = np.stack([error, y], axis=1).astype(np.float32)
    columns = [Column(name=name, kind="number") for name in "ab"]
    rows: Any = {"columns": columns, "x": x, "y": y + x[:, 0], "task": "regression"}
    answers = [lambda x: x[:, 0] * 0.5 + x[:, 1]]
    found = [permutation_importance(answers, Rows(**rows, groups=g))[0] for g in (None, groups)]
    assert length(found[1]) > 1.5 * length(found[0])
    conformal = Conformal(residuals=np.linspace(-4, 4, 99), scale=Scale.none())
    covers = [conformal.coverage(outputs[0], y.astype(float), groups=g) for g in (None, groups)]
    assert length(covers[1]) > 2 * length(covers[0])
    assert covers[1]["coverage"] == covers[0]["coverage"]
    labels = (np.abs(error) < 1).astype(int)
    sure = np.tile([0.2, 0.8], (480, 1))
    bins = [sum(b["high"] - b["low"] for b in calibration_bins(labels, sure, g)) for g in (None, groups)]
    assert bins[1] > bins[0]


def test_mcnemars_test_is_left_out_of_rows_in_groups() -> None:
    y = np.random.default_rng(0).integers(0, 2, 80)
    random = np.random.default_rng(1)
    both = [measured(name, random.dirichlet([1, 1], (1, 80))) for name in ("trial-3", "baseline")]
    found = evaluate(y, {m.name: m.outputs for m in both}, task="classification", num_replicates=50, groups=GROUPS)
    kinds = {"metric": "accuracy", "classes": ("a", "b")}
    assert describe_entrants(both, found, y, **kinds)[0].mcnemar
    assert not describe_entrants(both, found, y, **kinds, groups=GROUPS)[0].mcnemar
    assert describe_winner(y, both[0], classes=("a", "b"), train_y=y, groups=GROUPS)["calibration"]["bins"]


@pytest.mark.parametrize(
    ("way", "groups", "said"),
    [
        ("random", None, "bootstrap over rows, Student's t over seeds"),
        ("group", GROUPS, "bootstrap over 8 whole groups of rows; Student's t over seeds"),
        ("group", GROUPS * 0, "rows of the only test group"),
        ("group", None, "the groups of the test rows are not known"),
        ("time", None, "rows as if they were independent; neighbours in time"),
    ],
)
def test_the_results_say_what_the_intervals_are_over(way: Any, groups: np.ndarray | None, said: str) -> None:
    job: Any = SimpleNamespace(dataset=SimpleNamespace(split=SplitRule(way=way, by="x")))
    test = Split(x=torch.zeros(80, 1), y=torch.zeros(80), groups=groups)
    assert said in record.describe_intervals(job, test)
    assert record.num_groups(test) == (0 if groups is None else len(np.unique(groups)))


def test_the_difference_of_two_runs_is_over_the_groups_of_their_predictions(tmp_path: Path) -> None:
    random, wider = np.random.default_rng(0), []
    y = random.normal(size=80)
    shift = random.normal(size=8)[GROUPS]
    for kept in (False, True):
        for name, moved in (("a", 0.0), ("b", shift)):
            rows = zip(y, y + moved, GROUPS, strict=True)
            table = [[str(cell) for cell in row[: 2 + kept]] for row in rows]
            (tmp_path / name / "tables").mkdir(parents=True, exist_ok=True)
            write_csv(
                tmp_path / name / "tables" / "predictions.csv", (["target", "predicted", "group"][: 2 + kept], table)
            )
        found = paired_rows(tmp_path / "a", tmp_path / "b")
        results: Any = SimpleNamespace(
            metric="mae",
            winning=SimpleNamespace(scores={"mae": {"value": 0.5, "low": 0.4, "high": 0.6}}, by_seed={"mae": [0.5]}),
        )
        wider.append(length(difference_of_runs(results, results, rows=found)))
    assert wider[1] > 2.5 * wider[0]


# What no interval may say


def test_an_interval_contains_its_estimate_mirrored_or_not() -> None:
    values = np.linspace(0.2, 0.4, 1001)
    for value in (0.1, 0.5):
        for reflect in (False, True):
            found = interval(value, values, reflect=reflect, bounds=(0, 1))
            assert 0 <= found.low <= value <= found.high <= 1
    y = np.random.default_rng(0).integers(0, 3, 40)  # few rows: resampling inflates the calibration error most
    p = np.random.default_rng(1).dirichlet([1, 1, 1], (2, 40))
    ece = evaluate(y, {"": p}, task="classification", num_replicates=400)[""].interval("ece")
    assert ece.low <= ece.value <= ece.high


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_recall", "auc"])
def test_a_constant_prediction_is_sure_to_be_at_chance_even_if_a_resample_lacks_a_class(metric: str) -> None:
    y = np.array([0] * 30 + [1] * 20 + [2])
    p = np.tile([0.6, 0.3, 0.1], (1, len(y), 1))
    found = evaluate(y, {"": p}, task="classification", num_replicates=400, asked=("balanced_accuracy", "auc"))[""]
    bounds, chance = found.interval(metric), 0.5 if metric == "auc" else 1 / 3
    assert (bounds.low, bounds.value, bounds.high) == pytest.approx((chance, chance, chance), abs=1e-6)


def test_balanced_accuracy_is_the_macro_recall_of_the_same_resample() -> None:
    y = np.array([0] * 30 + [1] * 20 + [2])
    p = np.random.default_rng(0).dirichlet([1, 1, 1], (2, len(y)))
    found = evaluate(y, {"": p}, task="classification", num_replicates=400, asked=("balanced_accuracy",))[""]
    np.testing.assert_allclose(found.replicates["balanced_accuracy"], found.replicates["macro_recall"], rtol=1e-5)


def test_few_seeds_are_the_cause_where_students_t_makes_the_interval_wide_and_not_where_rows_do() -> None:
    y, skill = np.zeros(60), np.random.default_rng(0).normal(size=60)
    apart = {"one": np.stack([skill, skill + 1]), "other": np.stack([skill, skill]), "single": skill[None]}
    apart |= {"five": np.stack([skill + shift for shift in range(5)])}
    found = evaluate(y, apart, task="regression", num_replicates=400)
    assert few_seeds(found["one"], "mae", None)
    assert few_seeds(found["other"], "mae", found["one"]), "of the difference"
    for name in ("other", "single", "five"):
        assert not few_seeds(found[name], "mae", None)


def test_differences_stay_within_what_their_metric_allows_however_few_seeds_there_are() -> None:
    y = np.zeros(60, np.int64)
    share = (0.2, 0.95), (0.1, 0.2)
    one, other = (
        np.stack([np.where(np.arange(60)[:, None] < 60 * s, [0.9, 0.1], [0.1, 0.9]) for s in x]) for x in share
    )
    found = evaluate(y, {"one": one, "other": other}, task="classification", num_replicates=400)
    gap = difference(found["one"], found["other"], metric="accuracy")
    assert -1 <= gap.low <= gap.value <= gap.high <= 1
    assert gap.high == 1
