"""Intervals of a front that hold together: closed-form cases, coverage, and what page, console and files show."""

import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import optuna
import pandas as pd
import pytest

from analysis.evaluation import record as results
from analysis.evaluation.files import write_figures, write_tables
from analysis.evaluation.front import with_front
from analysis.pages.final import final_section
from analysis.plots.final import plot_front
from analysis.prose.conclusion import answer_of, conclude
from analysis.scores.comparison import joint
from analysis.scores.metrics import Evaluation, by_seeds, evaluate, probabilities
from analysis.statistics.bootstrap import Z, wilson
from analysis.statistics.joint import joint_intervals
from analysis.studies.results import FinalResults
from benchmarks.joint import SETS, measure
from search.storage.run import Run
from tests.evaluated import EXPORT, measured, record
from tests.evaluated import make_run as evaluated_run
from tests.fronts import FRONT, run_of

CLASSES = ("a", "b", "c")
NAMES = ("trial-0", "trial-1", "trial-4", "random")
"""Trials 0, 1 and 4 are the front of `FRONT`."""
EVERYWHERE = (-math.inf, math.inf)


def normal(count: int, *, alike: bool) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    first = random.standard_normal(200_000)
    return [first if alike else random.standard_normal(200_000) for _ in range(count)]


@pytest.mark.parametrize(
    ("count", "alike", "half"),
    [(1, True, Z), (4, True, Z), (4, False, 2.491), (12, False, 2.858)],  # Phi^-1((1 + 0.95 ** (1 / 4)) / 2)
)
def test_the_half_width_is_the_quantile_of_the_largest_of_normal_deviations(count: int, alike: bool, half: float):
    found = joint_intervals(
        [3.0] * count, normal(count, alike=alike), bounds=[EVERYWHERE] * count, num_rows=[0] * count
    )
    assert [one.high - 3 for one in found] == pytest.approx([half] * count, abs=0.02)
    assert [3 - one.low for one in found] == pytest.approx([half] * count, abs=0.02)


def test_configurations_of_different_noise_have_intervals_in_proportion():
    noise = normal(2, alike=False)
    found = joint_intervals([0.0, 0.0], [noise[0], 10 * noise[1]], bounds=[EVERYWHERE] * 2, num_rows=[0, 0])
    assert found[1].high == pytest.approx(10 * found[0].high, rel=0.02)


def test_a_share_without_a_mistake_has_the_interval_of_wilson_and_a_positive_score_stays_positive():
    share, positive = joint_intervals(
        [1.0, 0.1],
        [np.zeros(100), np.linspace(-0.2, 0.2, 100)],
        bounds=[(0.0, 1.0), (0.0, math.inf)],
        num_rows=[50, 50],
    )
    assert (share.low, share.high) == pytest.approx(wilson(50, 50), abs=0.02)
    assert 0 < positive.low < 0.1 < positive.high


def test_intervals_over_seeds_alone_are_those_of_students_t():
    scores = np.array([0.6, 0.7, 0.8, 0.7])
    found = by_seeds({"a": {"s": scores}}, num_replicates=200_000)
    interval = joint(found, metric="s")["a"]
    half = 3.182 * scores.std(ddof=1) / 2  # t(3)
    assert (interval.low, interval.high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.01)


@pytest.mark.parametrize("kind", ["accuracy 0.95 to 0.99", "rmse, normal errors"])
def test_all_truths_are_covered_together_where_single_intervals_cover_them_less(kind: str):
    """95 % and more, less 4 standard errors of a hundred test sets."""
    cell = {"rows": 200, "seeds": 3, "configurations": 6, "spread": 0.02, "kind": kind}
    found = measure(cell)
    assert found["coverage"] >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / SETS)
    assert found["coverage_of_single_intervals"] < found["coverage"]


@pytest.fixture(scope="module")
def y() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, 240)


@pytest.fixture(scope="module")
def rows(y: np.ndarray) -> list[results.Measured]:
    found = []
    for number, (name, skill) in enumerate(zip(NAMES, (3.0, 2.5, 1.5, 0.1), strict=True)):
        logits = np.random.default_rng(number).standard_normal((3, len(y), 3))
        logits[:, np.arange(len(y)), y] += skill
        one = measured(name, probabilities(logits), search_value=0.95 - 0.1 * number)
        trial = int(name[6:]) if name.startswith("trial") else None
        found.append(replace(one, contender=replace(one.contender, trial=trial)))
    return found


def evaluated(y: np.ndarray, rows: list[results.Measured]) -> dict[str, Evaluation]:
    return evaluate(y, {m.name: m.outputs for m in rows}, task="classification", num_replicates=300)


def job_of(run: Run) -> Any:
    study = optuna.create_study(direction="maximize")
    study.add_trials(FRONT)
    return SimpleNamespace(run=run, study=study)


@pytest.fixture(scope="module")
def described(y: np.ndarray, rows: list[results.Measured]) -> FinalResults:
    whole = record(y, rows, classes=CLASSES, metric="accuracy", export=EXPORT)
    parts = {"entrants": whole.entrants, "metric": "accuracy"}
    return replace(whole, **with_front(job_of(run_of()), parts, evaluated(y, rows)))


def test_the_entrants_of_the_front_get_joint_intervals_and_others_none(described: FinalResults):
    assert described.second == {"name": "weights", "direction": "minimize"}
    assert [(e.name, e.joint["second"]) for e in described.front] == [
        ("trial-4", 50),
        ("trial-1", 100),
        ("trial-0", 900),
    ]
    for entrant in described.front:
        single = entrant.scores["accuracy"]
        assert entrant.joint["value"] == pytest.approx(single["value"])
        assert entrant.joint["high"] - entrant.joint["low"] > single["high"] - single["low"]
    assert [e.name for e in described.entrants if not e.joint] == ["random"]
    assert FinalResults.of(described.as_dict()).front == described.front


def test_nothing_is_added_without_a_second_objective_or_with_one_entrant_of_the_front(y, rows):
    whole = record(y, rows, classes=CLASSES, metric="accuracy")
    parts = {"entrants": whole.entrants, "metric": "accuracy"}
    assert with_front(job_of(evaluated_run()), parts, evaluated(y, rows)) == parts
    assert (
        with_front(job_of(run_of()), parts | {"entrants": whole.entrants[2:]}, evaluated(y, rows)).keys()
        == parts.keys()
    )


def test_page_console_answer_and_files_show_the_front(described: FinalResults, tmp_path: Path, capsys: Any, y, rows):
    final = tmp_path / "final"
    final.mkdir()
    described.write(final)
    write_figures(described, final / "figures", x=np.zeros(0), y=y, exported=rows[0].outputs[0])
    write_tables(described, final / "tables", y=y, exported=rows[0].outputs[0])
    section = str(final_section(tmp_path))
    part = re.search(r"<h3>The front</h3>.*?<h3>", section, re.S)
    assert part
    assert part[0].count("<tr>") == 4
    assert "joint interval" in part[0]
    assert "All 3 joint intervals hold together with 95 % probability" in part[0]
    table = pd.read_csv(final / "tables" / "front.csv")
    assert list(table.columns) == ["contender", "value", "low", "high", "weights"]
    conclude(described, run_dir=tmp_path)
    assert re.search(r"the front\s+weights\s+test accuracy, all intervals together 95 %", capsys.readouterr().out)
    answer = answer_of(described)
    assert [one["name"] for one in answer["front"]] == ["trial-4", "trial-1", "trial-0"]
    assert answer["second"] == {"name": "weights", "direction": "minimize"}


def test_the_figure_has_an_interval_and_both_values_of_each_configuration(described: FinalResults):
    ax = plot_front(described)
    test, searched = ax.lines
    assert np.array_equal(test.get_xdata(), [50, 100, 900])
    assert np.array_equal(searched.get_xdata(), [50, 100, 900])
    spans = [np.asarray(path.vertices)[:, 1].tolist() for path in ax.collections[0].get_paths()]  # type: ignore[index]
    assert [tuple(span) for span in spans] == [
        (pytest.approx(100 * e.joint["low"]), pytest.approx(100 * e.joint["high"])) for e in described.front
    ]
    assert "weights (smaller is better)" in ax.get_xlabel()
    plt.close("all")
