"""Studies as tables."""

import math
from dataclasses import replace

import optuna
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from analysis.studies.export import export, plain_text
from analysis.studies.forecasts import compare
from analysis.studies.parameters import children
from analysis.studies.trials import read_trials
from analysis.wording import one_line
from tests.synthetic import make_run, make_study


def test_every_state_is_told_apart_and_complete_trials_alone_have_a_value():
    trials = read_trials(make_study(40, failures=3, running=2), make_run())
    assert trials.trials["state"].value_counts()[["failed", "unfinished"]].to_list() == [3, 2]
    assert (trials.trials["value"].notna() == (trials.trials["state"] == "complete")).all()
    assert (trials.complete["epochs"] == 27).all()


def test_a_trial_that_another_program_added_as_complete_counts_with_its_value_whatever_its_epochs():
    study = make_study(10, stop=False, epochs=27)
    study.add_trial(
        create_trial(value=0.99, intermediate_values={1: 0.7}, params={}, distributions={}, state=TrialState.COMPLETE)
    )
    trials = read_trials(study, make_run())
    assert trials.trials["state"].iloc[-1] == "complete"
    assert trials.trials["rung_1"].iloc[-1] == 0.7
    assert trials.best is not None
    assert trials.best["value"] == study.best_value == 0.99


def test_rung_columns_hold_the_reported_values_and_nothing_beyond_the_end():
    study = make_study(30)
    trials = read_trials(study, make_run())
    for trial in study.trials:
        for rung in (1, 3, 9, 27):
            seen = trials.trials.loc[trial.number, f"rung_{rung}"]
            assert seen == trial.intermediate_values[rung] if rung in trial.intermediate_values else math.isnan(seen)
    assert len(trials.epochs) == sum(len(t.intermediate_values) for t in study.trials)


def test_a_study_by_plain_optuna_is_read_without_run_or_attributes():
    study = optuna.create_study()
    study.optimize(lambda t: t.suggest_float("x", -1, 1) ** 2, n_trials=5)
    trials = read_trials(study)
    assert (trials.full_epochs, trials.rungs, trials.direction) == (1, (1,), "minimize")
    assert trials.best is not None
    assert trials.best["value"] == study.best_value


def test_steps_from_zero_become_epochs_from_one_and_rungs_are_read_off_the_stops():
    study = optuna.create_study()
    for end in (1, 1, 3, 9):
        state = TrialState.COMPLETE if end == 9 else TrialState.PRUNED
        steps = {i: 1.0 / (i + 1) for i in range(end)}
        study.add_trial(
            create_trial(state=state, value=steps[end - 1], intermediate_values=steps, params={}, distributions={})
        )
    trials = read_trials(study)
    assert trials.full_epochs == 9
    assert trials.rungs == (1, 3, 9)


def test_several_objectives_are_refused_with_the_rule():
    with pytest.raises(ValueError, match="the study must have one objective, got 2"):
        read_trials(optuna.create_study(directions=["minimize", "maximize"]))


def test_nan_and_infinite_values_never_become_best():
    study = optuna.create_study(direction="maximize")
    for value in (0.5, math.inf):
        study.add_trial(create_trial(value=value, params={"x": 1.0}, distributions={"x": FloatDistribution(0, 2)}))
    trials = read_trials(study)
    assert trials.best is not None
    assert trials.best["value"] == 0.5


def test_an_infeasible_draw_stands_apart():
    study = optuna.create_study()
    study.add_trial(
        create_trial(state=TrialState.FAIL, user_attrs={"infeasible": "3M weights"}, params={}, distributions={})
    )
    trials = read_trials(study)
    assert trials.trials["state"].to_list() == ["infeasible"]
    assert trials.measured.empty


def test_conditions_are_read_off_the_trials():
    trials = read_trials(make_study(120), make_run())
    found = children(trials.parameters, trials.params)
    assert found["depth"] == {"width_2", "width_3"}
    assert found["optimizer"] == {"momentum"}
    assert not any(found[name] for name in ("batch_norm", "width_2", "momentum", "augmentation"))


def test_csv_cells_cannot_act_as_formulas_and_parquet_reads_back(tmp_path):
    study = make_study(5)
    study.add_trial(
        create_trial(
            state=TrialState.FAIL,
            params={},
            distributions={},
            user_attrs={"failure": "=HYPERLINK(1)\x1b[31m", "failure_kind": "error"},
        )
    )
    export(read_trials(study, make_run()), tmp_path)
    cells = pd.read_csv(tmp_path / "trials.csv")["failure"].dropna().to_list()
    assert cells == ["'=HYPERLINK(1)\\x1b[31m"]
    assert len(pd.read_parquet(tmp_path / "trials.parquet")) == 6
    assert len(pd.read_parquet(tmp_path / "epochs.parquet")) == len(pd.read_csv(tmp_path / "epochs.csv"))


def test_text_is_made_visible_and_harmless():
    assert one_line("a\nb\x00") == "a\\x0ab\\x00"
    assert plain_text("@cmd") == "'@cmd"
    assert plain_text("relu") == "relu"


def test_what_was_forecast_stands_beside_what_the_search_took():
    epochs = pd.DataFrame(
        {"trial": [0, 0, 1], "epoch": [1, 2, 1], "value": 0.5, "started": [100.0, 130.0, 110.0], "seconds": 30.0}
    )
    trials = replace(read_trials(make_study(2)), epochs=epochs)
    told = {
        "start_seconds": 10.0,
        "wall_seconds": (40.0, 130.0, 250.0),
        "trial_seconds": (60.0, 90.0, 120.0),
        "epochs": (1.0, 6.0, 9.0),
    }
    table = compare(told, trials)
    assert table["took"].tolist() == [1.0, 1.5, 3.0]
    assert table["forecast"].tolist() == [2.0, 1.5, 6.0]
    assert table["times"].tolist() == [0.5, 1.0, 0.5]
