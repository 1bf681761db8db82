"""final.json is read and written by one record: nothing is lost, and damage is a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.studies.results import Entrant, FinalResults, ResultsError
from tests.searching import ROOT

WHOLE: dict[str, Any] = {
    "format": 1,
    "metric": "accuracy",
    "winner": "trial-3",
    "entrants": [{"name": "trial-3", "scores": {"accuracy": {"value": 0.9}}, "by_seed": {"accuracy": [0.9]}}],
}


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/*/final/final.json")), ids=lambda path: path.parts[-3])
def test_published_results_are_read_and_written_without_a_loss(path: Path, tmp_path: Path):
    stored = json.loads(path.read_text())
    FinalResults.of(stored).write(tmp_path)
    written = json.loads((tmp_path / "final.json").read_text())
    assert written == {name: value for name, value in stored.items() if value not in ([], {}, "")}
    assert FinalResults.read(tmp_path) == FinalResults.of(stored)


def test_results_that_lack_what_later_releases_add_are_read():
    found = FinalResults.of(WHOLE)
    assert found.winning == Entrant(name="trial-3", scores=WHOLE["entrants"][0]["scores"], by_seed={"accuracy": [0.9]})
    assert (found.own, found.confused, found.baselines, found.target_unit) == (False, None, [], "")
    assert FinalResults.of(WHOLE | {"of_a_later_release": 1}) == found


@pytest.mark.parametrize(
    ("change", "damage"),
    [
        ({"metric": None}, "metric must be a text, got None"),
        ({"entrants": []}, "the winner is not an entrant"),
        ({"entrants": {}}, "entrants must be a list, got {}"),
        ({"entrants": [{"name": "trial-3"}]}, r"entrants\[0\].scores, entrants\[0\].by_seed are missing"),
        ({"winner": "baseline"}, "the winner is not an entrant"),
        ({"discussion": [3]}, r"discussion\[0\] must be an object, got 3"),
        ({"slots": "two"}, "slots must be a whole number, got 'two'"),
    ],
)
def test_damaged_results_are_a_sentence_that_names_the_part(change: dict[str, Any], damage: str):
    with pytest.raises(ResultsError, match=rf"^final.json is damaged \({damage}\); evaluate again with --again.$"):
        FinalResults.of(WHOLE | change)


def test_results_of_a_different_release_are_no_damage():
    with pytest.raises(ResultsError, match="was written by a different release") as caught:
        FinalResults.of(WHOLE | {"format": 2})
    assert not caught.value.damage


def test_without_a_file_there_are_no_results(tmp_path: Path):
    assert FinalResults.read(tmp_path) is None
