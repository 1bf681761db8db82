"""A user's CSV from search to prediction, by the commands that a user types."""

import json
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from search.storage.run import read_run
from search.storage.study import open_study
from tests.searching import ROOT, assert_sound, search
from tests.tables import Rows, imbalanced_classes, mixed_categories, numeric_with_gaps, write_csv

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Done = subprocess.CompletedProcess[str]
TABLES: dict[str, tuple[Rows, tuple[str, ...], str]] = {
    "mixed": (mixed_categories(), ("--target", "rent", "--metric", "rmsle", "--fix", "target_scaling=log"), "rmsle"),
    "numeric": (
        numeric_with_gaps(),
        ("--target", "price", "--drop", "id", "--fix", "target_scaling=standard"),
        "rmse",
    ),
    "classes": (
        imbalanced_classes(),
        ("--target", "quality", "--metric", "balanced_accuracy", "--fix", "class_weights=balanced"),
        "balanced_accuracy",
    ),
}
"""Kind -> its rows, what is said of it, and the metric that follows."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the commands said of one table, in their order."""

    folder: Path
    searched: Done
    evaluated: Done
    predicted: Done
    refused: Done


def run(*words: str) -> Done:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def tell(folder: Path, kind: str) -> Told:
    table, words, _ = TABLES[kind]
    path = write_csv(folder / "rows.csv", table)
    size = ("--trials", "3", "--max-epochs", "3", "--min-epochs", "1")
    return Told(
        folder=folder,
        searched=search(folder, "--name", "r", *size, "--space", "tabular_mlp", "--data-dir", str(path), *words),
        evaluated=run("analysis.final", str(folder / "r"), "--top", "1", "--seeds", "1", "--ensemble", "networks"),
        predicted=run(
            "analysis.predict",
            str(folder / "r"),
            str(path),
            "--json",
            *(() if kind == "classes" else ("--interval", "0.9")),
        ),
        refused=search(folder, "--name", "r", "--resume", "--target", table[0][0]),
    )


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Told]]:
    """Two tables at a time: each command spends half of its time waiting for the processes that it has started."""
    pool = ThreadPoolExecutor(2)
    begun = {kind: pool.submit(tell, tmp_path_factory.mktemp(kind), kind) for kind in TABLES}
    pool.shutdown(wait=False)
    return begun


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_searched_evaluated_and_predicted(stories: dict[str, Future[Told]], kind: str) -> None:
    told, (table, words, metric) = stories[kind].result(), TABLES[kind]
    assert told.searched.returncode == 0, told.searched.stdout + told.searched.stderr
    assert_sound(told.folder / "r")
    stored = read_run(told.folder / "r")
    assert stored.table is not None
    assert (stored.table.target, stored.metric) == (words[1], metric)
    assert stored.folds == 5, "these tables are small"
    assert "5 folds, because on the" in told.searched.stdout
    history = open_study(told.folder / "r").best_trial.user_attrs["history"]
    assert all(record[f"{metric}_se"] > 0 for record in history)
    assert read_run(told.folder / "r" / "final" / "training").folds == 1

    assert told.evaluated.returncode == 0, told.evaluated.stdout + told.evaluated.stderr
    results = json.loads((told.folder / "r" / "final" / "final.json").read_text())
    assert results["metric"] == metric
    assert results["conditions"]["test_rows"] == len(table[1]) // 5

    assert told.predicted.returncode == 0, told.predicted.stderr
    rows = [json.loads(line) for line in told.predicted.stdout.splitlines()]
    assert [row["row"] for row in rows] == list(range(1, len(table[1]) + 1))
    of_classes = kind == "classes"
    assert all(("class" if of_classes else "prediction") in row for row in rows)
    assert metric in results["export"]["ensemble"]["scores"]
    assert ("intervals" in results["export"]) == (not of_classes)
    assert all(row["low"] < row["high"] for row in rows if not of_classes)
    facts = json.loads((told.folder / "r" / "final" / "model.json").read_text())
    assert (facts["space"].partition("@")[2], "target_scale" in facts) == {
        "mixed": ("amounts", True), "numeric": ("amounts", False), "classes": ("unequal", False)
    }[kind]  # fmt: skip

    # other words than those of the run are refused, the same are not
    assert told.refused.returncode == 2
    assert f"target is {words[1]!r}, not {table[0][0]!r}" in told.refused.stderr
