"""One seed of `benchmarks.soak`: a real search that is killed, stopped and damaged at random until it is finished."""

from pathlib import Path

import pytest

from benchmarks.soak import soak

pytestmark = pytest.mark.slow


def test_a_search_that_is_broken_at_random_loses_and_repeats_nothing(tmp_path: Path):
    outcome = soak(tmp_path, seed=2, words=("--trials", "50", "--max-epochs", "3"))
    assert outcome.problems == []
    assert outcome.faults
    assert outcome.epochs > 0
