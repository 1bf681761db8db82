"""What a rerun says of values that are not those of a training, and of trials that are not there.

That a real trial comes out equal is tested on a real search in `tests/test_end_to_end.py`.
"""

import re

import pytest

from search import rerun
from tests.stored import stored_search

WORDS = ("--space", "digits_arch", "--name", "again", "--train-size", "200", "--max-epochs", "2")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run whose baseline claims an accuracy of exactly one half at both epochs."""
    return stored_search(tmp_path_factory.mktemp("runs"), *WORDS)


def test_values_that_training_does_not_give_are_told_apart(run_dir, capsys):
    assert rerun.main([str(run_dir), "--trial", "0"]) == 3
    said = capsys.readouterr().out
    assert len(re.findall(r"epoch +\d  0\.5  0\.\d+  differs", said)) == 2
    assert re.search(r"differs by at most 0\.\d+; the processor and versions are the same$", said.strip())


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("--trial", "7"), r"--trial must lie in 0\.\.0, got 7"),
        (("--epochs", "3"), r"--epochs must lie in 1\.\.2 \(trial 0 has 2 epochs\), got 3"),
        (("--epochs", "0"), r"--epochs must lie in 1\.\.2 \(trial 0 has 2 epochs\), got 0"),
    ],
)
def test_what_cannot_be_trained_again_is_refused_in_one_line(run_dir, capsys, words, rule):
    assert rerun.main([str(run_dir), *words]) == 2
    assert re.fullmatch(f"error: {rule}\n", capsys.readouterr().err)


def test_a_folder_that_is_no_run_is_named(tmp_path, capsys):
    assert rerun.main([str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
