"""A few kills of `benchmarks.own_kills`: driver and worker of a search of a program in examples/."""

import json
from pathlib import Path

import pytest

from benchmarks.own_kills import Options, main

pytestmark = pytest.mark.slow


def test_a_search_of_your_own_code_that_is_killed_ends_with_the_study_of_an_undisturbed_one(tmp_path: Path):
    out = tmp_path / "rows.jsonl"
    code = main(
        Options(
            programs=("sklearn_partial_fit",),
            kills=2,
            per_search=2,
            trials=8,
            seed=1,
            folder=tmp_path / "runs",
            out=out,
        )
    )
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert code == 0, rows
    assert sum(row["kills"] for row in rows if "equal" in row) >= 2
    assert all(row["behind"] == 0 for row in rows if "kill" in row), "a recorded epoch has its checkpoint"
