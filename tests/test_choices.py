"""Choices that a table could confuse: None, which is no missing value, and numbers that differ in late digits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from analysis.impact import confirm
from analysis.impact.ablation import ablation
from analysis.impact.effects import full_effects
from analysis.impact.forest import fit_surrogate
from analysis.impact.importance import ped_anova
from analysis.impact.plain import describe_levels
from analysis.pages.summary import best_table
from analysis.prose.outcome import searched
from analysis.prose.ranges import unexplored
from analysis.studies.export import public, write_csv, write_json, write_parquet
from analysis.studies.parameters import label
from analysis.studies.trials import Trials, config_of, read_trials

BETAS = [0.99, 0.999, 0.99999, 0.999999]


@pytest.fixture(scope="module")
def trials() -> Trials:
    """`act` is None or relu, and beta2 matters only with relu; the last choice of each adds 0.1."""
    random, study = np.random.default_rng(0), optuna.create_study(direction="maximize")
    choices = {"act": CategoricalDistribution([None, "relu"]), "beta2": CategoricalDistribution(BETAS)}
    ranges: dict[str, Any] = {**choices, "lr": FloatDistribution(1e-3, 1.0, log=True)}
    for number in range(120):
        params: dict[str, Any] = {"act": [None, "relu"][number % 2], "lr": float(10 ** random.uniform(-3, 0))}
        if params["act"]:
            params["beta2"] = BETAS[number // 2 % 4]
        value = 0.7 + 0.1 * (params["act"] is not None) + 0.1 * (params.get("beta2") == BETAS[-1])
        value += 0.01 * random.normal()
        kept = {name: ranges[name] for name in params}
        study.add_trial(create_trial(params=params, distributions=kept, value=value, intermediate_values={1: value}))
    return read_trials(study)


def test_a_choice_of_none_is_a_value_of_a_configuration(trials: Trials):
    first = trials.trials.iloc[0]
    assert config_of(first) == {"act": None, "lr": first["params_lr"]} == trials.baseline
    assert trials.baseline_trial is not None
    assert "the baseline: 0.6987" in searched(trials, "not known").sentence
    table = best_table(trials).set_index("hyperparameter").T
    assert table["act"].tolist() == ["relu", "None"]
    assert table["beta2"].tolist() == ["0.999999", "not active"]


def test_the_effect_of_a_choice_against_none_is_found(trials: Trials):
    effect = next(effect for effect in full_effects(trials) if effect.parameter == "act")
    assert (effect.found, effect.better, effect.worse, effect.num_trials) == (True, "relu", "None", 120)
    assert effect.low < 0.125 < effect.high
    assert [finding.parameter for finding in unexplored(trials, trials.parameters)] == []
    shares = {row["parameter"]: row["importance"] for row in ped_anova(trials)[0].table.to_dict("records")}
    assert shares["act"] > 0.1
    assert describe_levels(trials, ["act"])[0].startswith("act = None: best 0.7")


def test_a_path_from_none_begins_there(trials: Trials):
    surrogate = fit_surrogate(trials)
    assert surrogate is not None
    steps = ablation(surrogate, {"act": None, "lr": 0.1}, {"act": "relu", "lr": 0.1, "beta2": BETAS[-1]}).steps
    assert steps["change"].tolist() == ["baseline", "act: None to relu (with beta2)"]
    assert steps["gain"].iloc[1] == pytest.approx(0.2, abs=0.05)


def test_a_choice_of_none_is_trained_as_such_and_written_as_a_word(trials: Trials, tmp_path: Path):
    flips = confirm.flips(trials, lambda params: {"act", "lr"} | ({"beta2"} if params["act"] else set()))
    back = next(flip for flip in flips if flip.parameter == "act")
    assert (back.text, back.params["act"], "beta2" in back.params) == ("act: relu to None", None, False)
    assert write_csv(trials.trials, tmp_path / "t.csv").read_text().splitlines()[1].split(",").count("None") == 1
    assert write_parquet(trials.trials, tmp_path / "t.parquet").exists()
    plain = public(trials.trials)
    assert plain["params_act"].tolist() == ["None", "relu"] * 60
    assert json.loads(write_json(trials.trials, tmp_path / "t.json").read_text())[0]["params_act"] == "None"


def test_choices_that_differ_in_late_digits_are_told_apart(trials: Trials):
    effect = next(effect for effect in full_effects(trials) if effect.parameter == "beta2")
    assert (effect.found, effect.better) == (True, "0.999999")
    assert effect.curve is not None
    assert effect.curve["effect"].iloc[:3].to_numpy() == pytest.approx(-0.025, abs=0.02)
    assert len(describe_levels(trials, ["beta2"])) == 4
    flips = [flip.text for flip in confirm.flips(trials, lambda _: {"act", "lr", "beta2"}) if flip.parameter == "beta2"]
    assert flips == [f"beta2: 0.999999 to {beta}" for beta in ("0.99", "0.999", "0.99999")]


def test_a_fraction_is_not_shown_as_a_whole_number():
    assert [label(value) for value in (0.99999, 0.999999, 3.0, 0.031250001, 1.0000000001, 1234.56)] == [
        "0.99999", "0.999999", "3", "0.03125", "1", "1235",
    ]  # fmt: skip
