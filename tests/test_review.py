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
        ("edge", "Search a wider range: --set lr=0.0001..3.2:log, also with --resume."),
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


def test_an_average_of_the_weights_is_advised_only_where_the_space_has_one():
    trials = make("noisy", seed=1)
    advice = next(finding.advice for finding in review(trials) if finding.kind == "noisy")
    assert "ema_decay" not in advice
    with_average = replace(trials.parameters[0], name="ema_decay")
    table = trials.trials.assign(params_ema_decay=trials.trials[f"params_{trials.parameters[0].name}"])
    trials = replace(trials, trials=table, parameters=(*trials.parameters, with_average))
    advice = next(finding.advice for finding in review(trials) if finding.kind == "noisy")
    assert "Use more validation rows, average the weights (ema_decay), train the best ones again" in advice


def test_a_finding_of_all_best_trials_says_all():
    found = next(one for one in review(make("still_improving", seed=1)) if one.kind == "still_improving")
    assert found.sentence.startswith("All 5 best trials were still improving at the end, by ")


def test_without_a_finding_the_page_says_what_was_looked_for_and_in_how_many_trials():
    trials = make("sound", seed=1)
    said = str(review_section(trials, None, ROOT).blocks)
    assert f"as far as {len(trials.complete)} complete trials can show: no overfitting, " in said
    assert said.count("no range left out") == 1
    few = replace(trials, trials=trials.trials.head(19))
    said = str(review_section(few, None, ROOT).blocks)
    assert "no noise that hides the order." in said
    assert "range" not in said
    short = replace(trials, full_epochs=5)
    assert "can show: no optimum at the end of a range, no range left out." in str(review_section(short, None, ROOT))
    neither = str(review_section(replace(few, full_epochs=5), None, ROOT))
    assert "Trials of 5 epochs, fewer than 20 of them, cannot be reviewed." in neither
