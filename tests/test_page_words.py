"""Sentences of the report's sections that could be misunderstood: what was refused, stopped, saved or compared."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from analysis.impact.effect import Effect
from analysis.impact.impact import Impact
from analysis.impact.stopping import audit
from analysis.pages import impact as impact_section
from analysis.pages import search as sections
from analysis.pages.page import Folder
from analysis.prose.asking import asking
from analysis.studies.trials import Trials, read_trials
from tests.ledgers import make_run as asked
from tests.synthetic import make_run, make_study


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture(scope="module")
def searched() -> Trials:
    return read_trials(make_study(40, seed=1, failures=2), make_run())


def impact_of(trials: Trials, *, effects: tuple[Effect, ...] = (), early: tuple[Effect, ...] = ()) -> Impact:
    """The results of these effects alone."""
    return Impact(
        effects=[*effects],
        early=[*early],
        importances=[],
        fanova=None,
        surrogate=None,
        interactions=pd.DataFrame(),
        ablation=None,
        audit=audit(trials),
    )


def test_a_configuration_that_exceeds_a_bound_is_named_by_its_size_and_the_limit(searched: Trials, folder: Folder):
    table = searched.trials.copy()
    failed = table.index[table["state"] == "failed"]
    table.loc[failed, "state"] = "infeasible"
    table.loc[failed, "failure"] = "macs exceeds its bound by 1,028,416"
    table.loc[failed, "macs"] = 12_028_416.0
    section = sections.failures(replace(searched, trials=table), folder)
    said, shown = section.blocks
    assert said.lines == ("2 configurations were too large and not trained.",)
    assert "12M multiply-adds, limit 11M" in str(shown)
    assert "exceeds" not in str(shown)


def test_trials_that_failed_are_still_counted_by_kind(searched: Trials, folder: Folder):
    (said, _) = sections.failures(searched, folder).blocks
    assert said.lines[0].startswith("2 trials failed: 2 diverged. Failed trials are in none of the numbers above")


def test_the_question_says_what_it_costs_beside_the_search(searched: Trials):
    table = searched.trials.assign(seconds=60.0 * searched.trials["epochs"])
    trials = replace(searched, trials=table)
    effects = (Effect(parameter="augmentation", found=False),)
    early = (Effect(parameter="augmentation", found=True), Effect(parameter="lr", found=True))
    run = asked(name="x")
    said = asking(trials, impact_of(trials, effects=effects, early=early), run, Path("runs/x"))
    assert said.startswith("To test augmentation, the strongest early effect: ")
    hours = trials.measured["seconds"].sum() / 3600
    assert " runs/x --question augmentation (about " in said
    assert f" of training; the search took {hours:.1f} h; --dry-run shows it in detail)." in said
    other = asking(trials, impact_of(trials, effects=effects, early=early[::-1]), run, Path("runs/x"))
    assert other.startswith("To test augmentation: ")


def test_what_cannot_be_judged_is_listed_with_its_reason(searched: Trials, folder: Folder):
    few = "8 trials, at least 20 are needed"
    effects = (
        Effect(parameter="lr", found=False, lacking="only 1 trial used 0.1"),
        Effect(parameter="gamma", found=False, lacking=few),
        Effect(parameter="alpha", found=False, lacking=few),
    )
    said = str(impact_section.impact(searched, impact_of(searched, effects=effects), folder).blocks)
    listed = f"lr (only 1 trial used 0.1); gamma, alpha ({few})."
    assert f"Not enough data among the trials that were trained to the end: {listed}" in said
    said = str(impact_section.early(searched, impact_of(searched, early=effects), folder).blocks)
    assert f"Not enough data among the trials at epoch {searched.rungs[0]}: {listed}" in said
    assert "trained to the end" not in said
