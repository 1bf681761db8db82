"""What the review of the best trials finds, on synthetic studies with one planted fault each."""

from dataclasses import replace

import pytest

from analysis.pages.review import review_section
from analysis.prose.review import review
from analysis.studies.trials import read_trials
from benchmarks.review import KINDS, make
from tests.searching import ROOT
from tests.synthetic import make_run, make_study

STUDIES = 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_fault_is_found_and_no_other_is_told(kind):
    found = [{finding.kind for finding in review(make(kind, seed=seed))} for seed in range(STUDIES)]
    assert sum(kind in kinds for kinds in found) >= STUDIES - 2  # nine in ten: fewer has a chance of one in 50
    assert sum(len(kinds - {kind}) for kinds in found) <= 2


def test_a_sound_study_has_no_findings():
    assert sum(len(review(make("sound", seed=seed))) for seed in range(STUDIES)) <= 1
    blocks = review_section(make("sound", seed=1), None, ROOT).blocks
    assert "Nothing stands out" in str(blocks)


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("worse_at_the_end", "Use fewer epochs: --max-epochs 1"),
        ("overfitting", "the validation loss rises while the training loss falls"),
        ("still_improving", "Train longer: --max-epochs 54"),
        ("noisy", "more --seeds"),
        ("edge", "Search a wider range: --set lr=0.0001..3.2:log."),
        ("lonely", "rungwise search --resume --trials 90"),
        ("unexplored", "No trial had lr between 0.00"),
    ],
)
def test_each_finding_says_what_to_do(kind, advice):
    found = review(make(kind, seed=1), resume="rungwise search --resume")
    assert advice in next(finding.text for finding in found if finding.kind == kind)


def test_a_range_that_plain_optuna_drew_from_is_widened_in_its_code():
    advice = next(finding.advice for finding in review(make("edge", seed=1)) if finding.kind == "edge")
    assert advice == 'Extend the range in the space: trial.suggest_float("lr", 0.0001, 3.2, log=True).'


def test_short_ranges_of_whole_numbers_are_no_edge_and_few_trials_are_not_reviewed():
    trials = make("edge", seed=1)
    short = tuple(
        replace(p, kind="integer", low=0, high=1, log=False) if p.name == "lr" else p for p in trials.parameters
    )
    table = trials.trials.assign(params_lr=1.0)
    assert not [f for f in review(replace(trials, trials=table, parameters=short)) if f.kind == "edge"]
    assert review(read_trials(make_study(2, stop=False), make_run())) == []
    assert "at least 3 trials" in str(review_section(read_trials(make_study(0), make_run()), None, ROOT).blocks)
