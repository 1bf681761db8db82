"""Which trial is the best, for search, report and final evaluation alike."""

from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from analysis.evaluation.contenders import rank
from analysis.impact.impact import confidence
from analysis.impact.stopping import audit
from analysis.pages.search import _trial_table
from analysis.plots.search import history
from analysis.prose.discussion import _edges
from analysis.prose.outcome import searched
from analysis.prose.ranges import edges, lonely
from analysis.prose.review import _top
from analysis.studies.trials import Trials, read_trials
from search.storage.run import Run
from search.storage.standings import best_trial
from search.storage.trials import REPEATS
from tests.ledgers import make_run

RANGE: dict[str, BaseDistribution] = {"lr": FloatDistribution(0.0, 1.0)}


def asked() -> Run:
    return replace(make_run(), epochs=3, baseline={"lr": 0.1})


def trained(lr: float, *reports: float, value: float | None = None) -> FrozenTrial:
    value = reports[-1] if value is None else value
    curve = dict(enumerate(reports, 1))
    return create_trial(value=value, params={"lr": lr}, distributions=RANGE, intermediate_values=curve)


def diverged(lr: float, of: int) -> FrozenTrial:
    """A repeat of trial `of` that failed by its own fault."""
    attrs = {REPEATS: of, "failure_kind": "diverged", "failure": "diverged"}
    return create_trial(state=TrialState.FAIL, params={"lr": lr}, distributions=RANGE, user_attrs=attrs)


def study_of(*trials: FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


@pytest.mark.parametrize("reports", [(), (0.9, 0.95), (0.7, 0.97, 0.85)])
def test_a_complete_trial_of_another_program_is_the_best_everywhere(reports: tuple[float, ...]):
    run = asked()
    added = trained(0.2, *reports, value=max(reports, default=0.95))
    study = study_of(trained(0.1, 0.7, 0.8, 0.9), trained(0.3, 0.7, 0.8, 0.89), added)
    found, best = read_trials(study, run), best_trial(study.trials, run.objective)
    assert best is not None
    assert found.best is not None
    assert (best.number, found.best["number"], rank(study, run)[0].trial) == (2, 2, 2)
    assert found.best["value"] == best.value == found.best["rung_3"]
    assert found.trials["state"].tolist() == ["complete"] * 3


def test_rules_are_not_replayed_on_curves_that_end_early():
    found = read_trials(study_of(trained(0.1, 0.7, 0.9), trained(0.2, 0.95)), asked())
    assert audit(found).what_if.empty


def test_what_is_said_of_a_value_that_its_last_epoch_did_not_report():
    whole = read_trials(study_of(trained(0.1, 0.7, 0.8, 0.9), trained(0.2, 0.7, 0.97, 0.85, value=0.97)), asked())
    assert "97.00 % (trial 1, 3 epochs, whose last epoch reported 85.00 %)" in searched(whole, "not known").sentence
    short = read_trials(study_of(trained(0.1, 0.7, 0.8, 0.9), trained(0.2, 0.9, 0.95)), asked())
    assert "95.00 % (trial 1, 2 of 3 epochs)" in searched(short, "not known").sentence


def test_a_study_of_plain_optuna_has_the_best_trial_that_optuna_names():
    def returns_its_best_epoch(trial: optuna.Trial) -> float:
        at = trial.suggest_float("lr", 0.0, 1.0)
        curve = [0.5 + 0.3 * at, 0.9 - abs(at - 0.5), 0.6 - 0.1 * at]
        for epoch, value in enumerate(curve[: 2 + trial.number % 2]):  # some end early
            trial.report(value, epoch)
        return max(curve)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(returns_its_best_epoch, n_trials=8)
    found = read_trials(study)
    assert found.best is not None
    assert (found.best["number"], found.best["value"]) == (study.best_trial.number, study.best_value)
    assert len(found.complete) == 8


@pytest.fixture(scope="module")
def refuted() -> Trials:
    """Trial 0, the baseline, has the best value and failed when it was trained again; the others follow in order."""
    others = [trained(0.9 + 0.01 * i, 0.5, 0.6, 0.94 - 0.01 * i) for i in range(6)]
    return read_trials(study_of(trained(0.1, 0.7, 0.8, 0.99), *others, diverged(0.1, of=0)), asked())


def test_a_configuration_that_failed_again_is_no_runner_up(refuted: Trials):
    sure = confidence(refuted, num_validation=1000)
    assert sure is not None
    assert (sure.value, sure.second, sure.num_complete) == (0.94, pytest.approx(0.93), 7)
    assert sure.tied == 1  # 0.93 lies in the interval, 0.92 and 0.99 do not
    assert refuted.ranked["number"].tolist() == [1, 2, 3, 4, 5, 6, 0]


def test_a_baseline_that_failed_again_has_no_gain_over_it(refuted: Trials):
    outcome = searched(refuted, "not known")
    said = "the baseline reached 99.00 %, but failed when it was trained again"
    assert outcome.facts[1] == ("Against the baseline", "not comparable", said)
    assert outcome.sentence == f"Validation accuracy: 94.00 % (trial 1, 3 epochs); {said}."


def test_the_best_trials_are_those_that_did_not_fail_again(refuted: Trials):
    assert _top(refuted)["number"].tolist() == [1, 2, 3, 4, 5]
    assert _trial_table(refuted)["trial"].tolist() == [1, 2, 3, 4, 5, 6, 0]
    assert history(refuted)["best"].max() == 0.94
    assert [finding.sentence.split(" best")[0] for finding in edges(refuted, refuted.parameters)] == ["All 5"]
    assert not [*lonely(refuted, noise=0.0, resume="")]  # 0.94 is not ahead of 0.99


def test_the_discussion_takes_the_edges_of_the_same_trials(refuted: Trials):
    others = [trained(0.95 + 0.01 * i, 0.5, 0.6, 0.94 - 0.01 * i) for i in range(5)]
    poor = [trained(0.5, 0.1, 0.1, 0.1) for _ in range(6)]
    study = study_of(trained(0.1, 0.7, 0.8, 0.99), *others, *poor, diverged(0.1, of=0))
    assert [text.split(" have")[0] for text in _edges(study.trials, asked())] == ["Range: 5 of the 5 best trials"]
    assert np.isfinite(refuted.ranked["value"].astype(float)).all()
