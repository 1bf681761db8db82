"""A user's CSV from search to prediction, by the commands that a user types."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from search.study import read_run
from tests.searching import ROOT, assert_sound, search
from tests.tables import Rows, imbalanced_classes, mixed_categories, numeric_with_gaps, write_csv


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("table", "words", "metric"),
    [
        pytest.param(mixed_categories(), ("--target", "rent"), "rmse", id="mixed"),
        pytest.param(numeric_with_gaps(), ("--target", "price", "--drop", "id"), "rmse", id="numeric"),
        pytest.param(imbalanced_classes(), ("--target", "quality"), "accuracy", id="classes"),
    ],
)
def test_a_table_is_searched_evaluated_and_predicted(
    tmp_path: Path, table: Rows, words: tuple[str, ...], metric: str
) -> None:
    path = write_csv(tmp_path / "rows.csv", table)
    csv_words = ("--space", "tabular_mlp", "--data-dir", str(path), *words)
    done = search(tmp_path, "--name", "r", "--trials", "3", "--max-epochs", "3", "--min-epochs", "1", *csv_words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_sound(tmp_path / "r")
    stored = read_run(tmp_path / "r")
    assert stored.table is not None
    assert (stored.table.target, stored.metric) == (words[1], metric)

    done = run("analysis.final", str(tmp_path / "r"), "--top", "1", "--seeds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "r" / "final" / "final.json").read_text())
    assert results["metric"] == metric
    assert results["conditions"]["test_rows"] == len(table[1]) // 5

    done = run("analysis.predict", str(tmp_path / "r"), str(path), "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["row"] for row in rows] == list(range(1, len(table[1]) + 1))
    assert all(("class" if metric == "accuracy" else "prediction") in row for row in rows)

    # other words than those of the run are refused, the same are not
    refused = search(tmp_path, "--name", "r", "--resume", "--target", table[0][0])
    assert refused.returncode == 2
    assert f"target is {words[1]!r}, not {table[0][0]!r}" in refused.stderr
