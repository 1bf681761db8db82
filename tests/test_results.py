"""final.json is read and written by one record: nothing is lost, and damage is a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.studies.openings import recorded_openings
from analysis.studies.results import BaselineResult, Entrant, FinalResults, ResultsError
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
        ({"baselines": [{"name": "mean"}]}, r"baselines\[0\].title, .*, baselines\[0\].by_seed are missing"),
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


@pytest.mark.parametrize(("metric", "best"), [("rmse", "low"), ("accuracy", "high")])
def test_baselines_that_use_features_come_best_first(metric: str, best: str):
    values = {"mean": 0.0, "majority": 1.0, "low": 0.2, "high": 0.7}
    found = [
        BaselineResult(
            name=name,
            title=name,
            scores={metric: {"value": value}},
            by_seed={metric: [value]},
            difference={"value": 0.1},
        )
        for name, value in values.items()
    ]
    results = FinalResults(metric=metric, winner="", entrants=[], baselines=found)
    assert [baseline.name for baseline in results.informed_baselines] == sorted(
        ["low", "high"], key=lambda name: name != best
    )
    assert FinalResults.of(WHOLE | {"baselines": results.as_dict()["baselines"]}).baselines == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("{broken", None),
        ("[]", None),
        ('{"openings": 3, "opened": [{"when": "a"}, 5], "entrants": "damaged", "format": 9}', (3, [{"when": "a"}, {}])),
        ('{"openings": "many", "opened": 5}', (None, [])),
        ('{"openings": 1000000000}', (None, [])),
    ],
)
def test_openings_are_read_even_where_the_rest_is_damaged(tmp_path: Path, text: str | None, expected: Any):
    if text is not None:
        (tmp_path / "final.json").write_text(text)
    assert recorded_openings(tmp_path) == expected
