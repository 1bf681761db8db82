"""Sentences of the report's sections that could be misunderstood: what was refused, stopped, saved or compared."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from analysis.datasets.tables import leakage, table_overview
from analysis.impact.ablation import Ablation, ablation
from analysis.impact.effect import Effect
from analysis.impact.forest import Quality, fit_surrogate
from analysis.impact.impact import Impact
from analysis.impact.importance import Importance
from analysis.impact.stopping import audit
from analysis.pages import impact as impact_section
from analysis.pages import search as sections
from analysis.pages.again import reproducibility
from analysis.pages.importance import importance
from analysis.pages.page import Folder, Text
from analysis.prose.asking import asking
from analysis.studies.amounts import effort
from analysis.studies.trials import Trials, read_trials
from search.storage.run import Question
from spaces.second import Second
from tests.ledgers import make_run as asked
from tests.synthetic import make_run, make_study
from trainables.sources import load


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
    assert isinstance(said, Text)
    assert said.lines == ("2 configurations were too large and not trained.",)
    assert "12M multiply-adds, limit 11M" in str(shown)
    assert "exceeds" not in str(shown)


def test_trials_that_failed_are_still_counted_by_kind(searched: Trials, folder: Folder):
    (said, _) = sections.failures(searched, folder).blocks
    assert isinstance(said, Text)
    assert said.lines[0].startswith("2 trials failed: 2 diverged. Failed trials are in none of the numbers above")


def test_the_question_says_what_it_costs_beside_the_search(searched: Trials):
    table = searched.trials.assign(seconds=60.0 * searched.trials["epochs"])
    trials = replace(searched, trials=table)
    effects = (Effect(parameter="augmentation", found=False),)
    early = (Effect(parameter="augmentation", found=True), Effect(parameter="lr", found=True))
    run = asked(name="x")
    said = asking(trials, impact_of(trials, effects=effects, early=early), run, Path("runs/x"))
    assert said.startswith("To test augmentation, the strongest early effect: ")
    hours = effort(trials).seconds / 3600
    assert " runs/x --question augmentation (about " in said
    assert f" of training; the search took {hours:.1f} h; --dry-run shows it in detail)." in said
    other = asking(trials, impact_of(trials, effects=effects, early=early[::-1]), run, Path("runs/x"))
    assert other.startswith("To test augmentation: ")
    two = asked(name="x", second=Second(name="weights", direction="minimize", known=True))
    assert asking(trials, impact_of(trials, effects=effects, early=early), two, Path("runs/x")) == ""


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
    assert "Table of effects" not in said
    assert len(pd.read_csv(folder.tables / "effects.csv")) == 3
    said = str(impact_section.early(searched, impact_of(searched, early=effects), folder).blocks)
    assert f"Not enough data among the trials at epoch {searched.rungs[0]}: {listed}" in said
    assert "trained to the end" not in said


def test_importance_names_the_last_epoch_that_enough_trials_reached(searched: Trials, folder: Folder):
    rows = [("lr", 0.8, 0.7, 0.9, 0.1), ("depth", 0.2, 0.1, 0.3, 0.05)]
    table = pd.DataFrame(rows, columns=pd.Index(["parameter", "importance", "low", "high", "noise"]))
    one = Importance(evaluator="x", budget=3, projected=True, num_trials=40, table=table)
    said = str(importance(searched, replace(impact_of(searched), importances=[one]), folder))
    assert "with a value projected to epoch 3 of 27, the last that enough trials reached. Empty: not larger" in said
    full = replace(one, budget=27)
    said = str(importance(searched, replace(impact_of(searched), importances=[full]), folder))
    assert "with a value projected to epoch 27. Empty: not larger than noise." in said
    alone = replace(searched, parameters=searched.parameters[:1])
    assert importance(alone, replace(impact_of(searched), importances=[full]), folder) == []


def path_of(*gains: float) -> Ablation:
    steps = [{"change": "baseline", "gain": np.nan, "low": np.nan, "high": np.nan, "value": 0.8}]
    steps += [
        {"change": f"lr: {k} to 1", "gain": g, "low": 0.0, "high": 2 * g, "value": 0.8 + g} for k, g in enumerate(gains)
    ]
    return Ablation(steps=pd.DataFrame(steps), budget=3)


def test_the_ablation_path_says_that_it_is_predicted_and_for_which_epoch(searched: Trials, folder: Folder):
    surrogate = fit_surrogate(searched)
    assert surrogate is not None
    trusted = replace(surrogate, quality=Quality(r2=0.9, rank_correlation=0.9, num_trials=40))
    rows = [("lr", 0.8, 0.7, 0.9, 0.1)]
    table = pd.DataFrame(rows, columns=pd.Index(["parameter", "importance", "low", "high", "noise"]))
    one = Importance(evaluator="x", budget=3, projected=True, num_trials=40, table=table)
    found = replace(impact_of(searched), importances=[one], fanova=one, surrogate=trusted)
    said = str(importance(searched, replace(found, ablation=path_of(0.02)), folder))
    assert searched.best is not None
    assert (
        "Predicted by the surrogate for epoch 3, not measured: the accuracy after each change on the way from the "
        f"baseline to trial {searched.best['number']}. At each step the best change comes next. A "
        "positive gain is better."
    ) in said
    written = pd.read_csv(folder.tables / "ablation.csv")
    assert list(written.columns) == ["change", "gain (points)", "95 % low", "95 % high", "predicted (%)"]
    assert written.iloc[1, 1:].to_list() == pytest.approx([2.0, 0.0, 4.0, 82.0])
    empty = str(importance(searched, replace(found, ablation=path_of()), folder))
    assert "Predicted by the surrogate" not in empty
    assert "ablation" not in empty


def test_the_gain_of_an_ablation_is_positive_where_a_loss_falls():
    distributions: dict[str, BaseDistribution] = {"lr": FloatDistribution(0, 1), "other": FloatDistribution(0, 1)}
    random = np.random.default_rng(0)
    study = optuna.create_study(direction="minimize")
    for lr, other in random.random((60, 2)):
        value = 10 - 5 * float(lr > 0.5)
        params = {"lr": float(lr), "other": float(other)}
        study.add_trial(create_trial(params=params, distributions=distributions, value=value))
    surrogate = fit_surrogate(read_trials(study))
    assert surrogate is not None
    steps = ablation(surrogate, {"lr": 0.1, "other": 0.5}, {"lr": 0.9, "other": 0.5}, sign=-1).steps
    assert steps["gain"].iloc[1] == pytest.approx(5, abs=0.5)
    assert 0 < steps["low"].iloc[1] <= steps["high"].iloc[1]


def early_stopping_of(trials: Trials, folder: Folder) -> str:
    return str(sections.early_stopping(trials, impact_of(trials), folder).blocks)


def test_unfinished_trials_are_not_called_stopped(searched: Trials, folder: Folder):
    said = early_stopping_of(searched, folder)
    assert "have not been continued" not in said
    assert "Saved: " in said
    waiting = searched.trials.assign(state=searched.trials["state"].replace({"stopped": "unfinished"}))
    unfinished = replace(searched, trials=waiting)
    said = early_stopping_of(unfinished, folder)
    rows = waiting[waiting["state"] == "unfinished"]
    epochs = ", ".join(map(str, sorted(rows["epochs"].unique())))
    assert f"{len(rows)} trials have not been continued beyond epoch {epochs}." in said
    assert "stopped early" not in said
    early = (Effect(parameter="lr", found=False, lacking="x"),)
    said = str(impact_section.early(unfinished, impact_of(unfinished, early=early), folder).blocks)
    assert f"faster at the start. Of these trials {len(rows)} are unfinished. The best configuration" in said
    said = str(impact_section.early(searched, impact_of(searched, early=early), folder).blocks)
    assert f"faster at the start. Of these trials {len(rows)} were then stopped. The best configuration" in said


def test_a_first_rung_that_does_not_rank_the_trials_like_the_end_is_a_warning(searched: Trials, folder: Folder):
    random = np.random.default_rng(0)
    done = searched.trials["state"] == "complete"
    mixed = searched.trials["rung_1"].where(~done, random.random(len(done)))
    against = replace(searched, trials=searched.trials.assign(rung_1=mixed.where(~done, -searched.trials["rung_27"])))
    said = early_stopping_of(against, folder)
    assert (
        f"Among the {done.sum()} trials that reached the end, the values after 1 epoch did not predict the final order "
        "(rank correlation -1.00 [-1.00, -1.00]). Early stopping may have discarded good trials: use a later first "
        "rung (--min-epochs)."
    ) in said
    same = replace(searched, trials=searched.trials.assign(rung_1=mixed.where(~done, searched.trials["rung_27"])))
    assert "did not predict" not in early_stopping_of(same, folder)
    whole = against.trials[done]
    assert "did not predict" not in early_stopping_of(replace(against, trials=whole), folder)
    assert "so they usually understate the agreement" in said


def test_replayed_rules_name_the_trials_with_unknown_continuation(searched: Trials, folder: Folder):
    early_stopping_of(searched, folder)
    columns = pd.read_csv(folder.tables / "what_if.csv").columns
    assert [*columns[-3:]] == ["best value", "lost", "trials with unknown continuation"]


def test_a_table_without_copies_says_what_was_not_checked(tmp_path: Path):
    dataset = load.load("diabetes", tmp_path)
    found = table_overview(dataset)
    assert leakage(replace(found, twins=0)) == (
        f"None of the {found.num_validation} validation rows has exactly the inputs of a training row. Near duplicates "
        "and related rows were not checked."
    )


def test_tables_of_differences_have_the_unit_of_the_sentences(searched: Trials, folder: Folder):
    row = {"first": "a", "second": "b", "first_change": "0 to 1", "second_change": "2 to 3"}
    table = pd.DataFrame([row | {"estimate": 0.04, "low": 0.01, "high": 0.07, "found": True, "num_trials": 40}])
    found = replace(impact_of(searched), interactions=table)
    results = pd.DataFrame(
        [
            {"flip": flip, "seed": seed, "value": 0.8 - 0.1 * (flip != "best") + 0.001 * seed}
            for flip in ("best", "norm: off")
            for seed in range(4)
        ]
    )
    said = str(impact_section.impact(searched, found, folder, confirmed=results).blocks)
    written = pd.read_csv(folder.tables / "interactions.csv")
    assert written[["estimate (points)", "95 % low", "95 % high"]].iloc[0].to_list() == pytest.approx([4, 1, 7])
    assert "a (0 to 1) and b (2 to 3): 4.00 points more than the sum of both [1.00 points, 7.00 points]" in said
    assert written["clear"].iloc[0] == "yes"
    paired = pd.read_csv(folder.tables / "confirmed.csv")
    assert paired["cost of the change (points)"].iloc[0] == pytest.approx(10)


def test_settings_are_shown_without_the_brackets_and_quotes_of_python(folder: Folder):
    questions = (Question(parameter="alpha", levels=(0.0001, 0.001)),)
    said = reproducibility(replace(asked(name="x"), questions=questions), folder, report="rungwise report runs/x")
    table = pd.read_csv(folder.tables / "run.csv").set_index("what")["value"]
    assert table["questions"] == "parameter: alpha; levels: 0.0001, 0.001"
    assert table["split"] == "way: random"
    assert not any(mark in value for value in table for mark in "{}[]()'")
    assert "rungwise report runs/x" in str(said.blocks)


def test_the_table_of_trials_says_that_last_and_best_are_values(searched: Trials, folder: Folder):
    sections.search(searched, folder, names=[])
    assert {"last value", "best value"} <= set(pd.read_csv(folder.tables / "trials.csv").columns)
