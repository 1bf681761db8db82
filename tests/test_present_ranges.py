"""What the report makes of a study whose ranges a resumed search replaced."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import create_trial

from analysis.impact.impact import study_impact
from analysis.pages.impact import impact
from analysis.pages.page import Folder
from analysis.pages.summary import _what, mattered, untold
from analysis.prose.discussion import _edges
from analysis.prose.review import review
from analysis.studies.alike import settings
from analysis.studies.parameters import from_distributions
from analysis.studies.present import in_present_ranges, replaced_ranges
from analysis.studies.sides import Side
from analysis.studies.trials import read_trials
from search.storage.run import Run
from spaces.changes import ReplacedRange
from spaces.ranges import range_of
from tests.ledgers import make_run

WIDE, NARROW = FloatDistribution(1e-4, 1.0, log=True), FloatDistribution(1e-2, 1.0, log=True)
Y = FloatDistribution(0.0, 1.0)
SINCE = 60


def changed(name: str, old: BaseDistribution, new: BaseDistribution, **settings: Any) -> Run:
    """A run that got other values of this parameter."""
    before, now = range_of(name, old), range_of(name, new)
    one = ReplacedRange(parameter=name, before=before, text=before.text, now=now.text, until=SINCE)
    return make_run(epochs=1, baseline={}, ranges=(now,), replaced=(one,), **settings)


def study(old: FloatDistribution, new: FloatDistribution, *, poor_below: float = 0.0) -> optuna.Study:
    """Complete trials whose values follow `y`, and are poor where `x` is below a number."""
    random, found = np.random.default_rng(0), optuna.create_study(direction="maximize")
    for number in range(140):
        x = old if number < SINCE else new
        value_of_x = float(np.exp(random.uniform(np.log(x.low), np.log(x.high))))
        params = {"x": value_of_x, "y": float(random.uniform())}
        value = 0.6 + 0.1 * params["y"] - 0.4 * (value_of_x < poor_below) + random.normal(0, 0.01)
        ranges: dict[str, BaseDistribution] = {"x": x, "y": Y}
        found.add_trial(create_trial(value=value, params=params, distributions=ranges, intermediate_values={1: value}))
    return found


def test_values_that_a_narrower_range_excludes_do_not_decide_what_matters():
    stored, run = study(WIDE, NARROW, poor_below=1e-2), changed("x", WIDE, NARROW)
    misled = study_impact(read_trials(stored, replace(run, replaced=())))
    trials = read_trials(stored, run)
    found = study_impact(trials)
    assert {effect.parameter: effect.found for effect in misled.effects} == {"x": True, "y": True}
    assert {effect.parameter: effect.found for effect in found.effects} == {"x": False, "y": True}
    assert next(iter(found.importances[-1].table["parameter"])) == "y"
    assert "x" in found.importances[-1].noise_names
    present = in_present_ranges(trials)
    assert present.trials["params_x"].min() >= 1e-2
    assert 80 < len(present.trials) < len(trials.trials) == 140
    assert {p.name: p.low for p in present.parameters} == {"x": 1e-2, "y": 0.0}
    assert {p.name: p.low for p in trials.parameters} == {"x": 1e-4, "y": 0.0}, "tables and figures show all trials"
    said = replaced_ranges(trials, run)
    assert said == (
        "The range of x was 0.0001..1.0 (log) before trial 60, and then 0.01..1.0 (log). What mattered is computed from"
        f" the {len(present.trials)} of 140 trials whose values lie in the present ranges."
    )


def test_the_page_counts_the_trials_from_which_what_mattered_was_computed(tmp_path: Path):
    trials = read_trials(study(WIDE, NARROW, poor_below=1e-2), changed("x", WIDE, NARROW))
    present = in_present_ranges(trials)
    assert len(present.complete) < len(trials.complete)
    found = study_impact(trials)
    said = f"{mattered(trials, found)} {impact(trials, found, Folder(tmp_path)).blocks}"
    assert f"among the {len(present.complete)} trials that were trained to the end" in said
    assert f"regression on the {len(present.complete)} trials that were trained to the end" in said
    assert f"{len(trials.complete)} trials" not in said
    assert f"{len(present.complete)} trials were trained to the end" in untold(trials, replace(found, effects=[]))


def test_a_wider_range_is_told_with_what_its_late_values_can_mislead():
    run = changed("x", NARROW, WIDE)
    trials = read_trials(study(NARROW, WIDE), run)
    assert len(in_present_ranges(trials).trials) == 140
    said = replaced_ranges(trials, run)
    assert "whose values lie in the present ranges" not in said
    assert "they may look better than they are" in said
    assert _what(run).startswith("A search of ")
    assert replaced_ranges(trials, replace(run, replaced=())) == ""


def test_the_best_trials_at_an_old_end_are_not_at_an_end_of_the_wider_range():
    lower = FloatDistribution(1e-4, 1e-1, log=True)
    found = optuna.create_study(direction="maximize")
    for number in range(40):
        x, drawn = (0.09, lower) if number < 30 else (1e-3, WIDE)
        ranges: dict[str, BaseDistribution] = {"x": drawn, "y": Y}
        value = 0.9 if number < 8 else 0.5 + 0.001 * number
        values = {1: value}
        found.add_trial(
            create_trial(
                value=value,
                params={"x": x if number < 8 else 1e-3, "y": (number % 10) / 10},
                distributions=ranges,
                intermediate_values=values,
            )
        )
    run = changed("x", lower, WIDE)
    for now, expected in ((run, False), (replace(run, ranges=(), replaced=()), True)):
        at_edges = any(text.startswith("Range:") and " x at " in text for text in _edges(found.trials, now))
        assert at_edges == expected
    assert not [one for one in review(read_trials(found, run), resume="again") if one.kind == "edge"]


def test_a_range_that_became_a_list_of_numbers_stays_a_scale():
    old, new = IntDistribution(8, 64, log=True), CategoricalDistribution((16, 128))
    trials = [
        create_trial(value=0.0, params={"w": 8}, distributions={"w": old}),
        create_trial(value=0.0, params={"w": 128}, distributions={"w": new}),
    ]
    for stored in (trials, trials[::-1]):
        (one,) = from_distributions(stored)
        assert (one.kind, one.low, one.high, one.log) == ("integer", 8, 128, True)
    words = CategoricalDistribution(("a", "b"))
    (one,) = from_distributions([create_trial(value=0.0, params={"w": "a"}, distributions={"w": words}), trials[0]])
    assert one.kind == "categorical"
    found = optuna.create_study()
    found.add_trials(trials)
    present = in_present_ranges(read_trials(found, changed("w", old, new)))
    assert (list(present.trials["params_w"]), present.parameters[0].choices) == ([128], (16, 128))


def test_a_comparison_names_ranges_that_were_changed(tmp_path: Any):
    run = changed("x", WIDE, NARROW)
    stored = study(WIDE, NARROW)
    runs = {"a": run, "b": replace(run, replaced=(), ranges=())}
    sides = [
        Side(name=name, folder=tmp_path / name, run=one, trials=read_trials(stored, one), results=None)
        for name, one in runs.items()
    ]
    (row,) = [row for row in settings(sides).to_dict("records") if row["setting"] == "ranges that were changed"]
    assert row["a"] == "x 0.0001..1.0 (log) before trial 60, then 0.01..1.0 (log)"
    assert row["same"] == "no"
