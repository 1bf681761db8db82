"""--prior: where the user expects good values is tried first and drawn more often, and the rest of the space stays."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search.algorithms.candidates import Candidates, spread
from search.process.arguments import parse
from search.scheduling.constraints import Examination
from search.session.expecting import read_priors, resolve_priors
from search.session.options import Options
from search.session.session import Session
from search.session.tries import with_plan
from search.storage.run import read_run
from search.storage.study import new_run
from spaces.changes import Prior
from spaces.levels import place_of, value_at
from spaces.priors import Priors, as_expected, expected
from spaces.space import Space
from tests.ledgers import make_run

optuna.logging.set_verbosity(optuna.logging.ERROR)


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    config: dict[str, Any] = {
        "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
        "depth": trial.suggest_int("depth", 1, 9),
        "drop": trial.suggest_float("drop", 0, 0.5, step=0.05),
        "batch": trial.suggest_categorical("batch", (32, 64, 128, 256)),
    }
    if trial.suggest_categorical("optimizer", ("sgd", "adamw")) == "sgd":
        config["momentum"] = trial.suggest_float("momentum", 0.5, 0.99)
    return config


SPACE = Space(
    suggest=suggest,
    baseline={"lr": 0.1, "depth": 2, "drop": 0.0, "batch": 64, "optimizer": "sgd", "momentum": 0.9},
    dataset="digits",
    epochs=9,
)


def priors(*texts: str, **free: Any) -> tuple[Prior, ...]:
    return resolve_priors(read_priors(texts, sampler="curves"), SPACE, fixed={}, **free)


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(1e-4, 1.0, log=True),
        FloatDistribution(-3.0, 5.0),
        FloatDistribution(0, 0.5, step=0.05),
        IntDistribution(1, 9),
        IntDistribution(8, 64, step=8),
        IntDistribution(2, 500, log=True),
    ],
)
def test_the_place_of_a_value_leads_back_to_it(distribution: FloatDistribution | IntDistribution):
    for fraction in (0.0, 0.1, 0.33, 0.5, 0.77, 0.999):
        value = value_at(distribution, fraction)
        place = place_of(distribution, value)
        assert 0 <= place <= 1
        assert value_at(distribution, min(place, 0.9999999)) == pytest.approx(value)
    assert place_of(distribution, distribution.high + 10) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("prior", "distribution", "low", "high"),
    [
        (Prior(parameter="lr", values=(0.03,)), FloatDistribution(1e-4, 1.0, log=True), 0.008, 0.12),
        (Prior(parameter="lr", low=0.01, high=0.1), FloatDistribution(1e-4, 1.0, log=True), 0.01, 0.1),
        (Prior(parameter="depth", low=3, high=5), IntDistribution(1, 9), 3, 5),
        (Prior(parameter="depth", values=(2,)), IntDistribution(1, 9), 1, 3),
        (Prior(parameter="depth", values=(4, 6)), IntDistribution(1, 9), 4, 6),
        (Prior(parameter="drop", values=(0.5,)), FloatDistribution(0, 0.5, step=0.05), 0.4, 0.5),
    ],
    ids=str,
)
def test_four_of_five_expected_draws_are_near_what_was_said(
    prior: Prior, distribution: BaseDistribution, low: float, high: float
):
    found = [expected(prior, distribution, fraction / 1000) for fraction in range(1000)]
    assert sum(low - 1e-9 <= value <= high + 1e-9 for value in found) >= 800
    assert found == sorted(found)
    assert len(set(found)) > 1


def test_a_listed_value_is_drawn_as_it_is_and_one_that_the_range_lacks_leaves_the_range_as_it_was():
    kinds = CategoricalDistribution(("sgd", "adamw", "muon"))
    two = Prior(parameter="optimizer", values=("muon", "sgd"))
    assert [expected(two, kinds, f) for f in (0.0, 0.4, 0.6, 0.99)] == ["muon", "muon", "sgd", "sgd"]
    other = Prior(parameter="optimizer", values=("lion",))
    assert [expected(other, kinds, f) for f in (0.1, 0.5, 0.9)] == ["sgd", "adamw", "muon"]


def test_a_configuration_follows_all_of_its_priors_or_none():
    known = Priors(priors("batch=256", "optimizer=adamw"))
    drawn = Candidates(suggest, seed=1, priors=known).new([], number=0, tried=(), held={})
    both = [one["batch"] == 256 and one["optimizer"] == "adamw" for one in drawn]
    assert 0.4 < sum(both) / len(drawn) < 0.75, "half as expected, and an eighth of the others by chance"
    sure = Candidates(suggest, seed=1, priors=Priors(priors("batch=256:sure=0.95"))).new(
        [], number=0, tried=(), held={}
    )
    assert sum(one["batch"] == 256 for one in sure) / len(sure) > 0.85


def test_without_priors_the_same_configurations_are_drawn():
    plain, none = Candidates(suggest, seed=3), Candidates(suggest, seed=3, priors=Priors())
    assert plain.new([], number=0, tried=(), held={}) == none.new([], number=0, tried=(), held={})


def test_the_first_trials_are_spread_over_what_is_expected_and_over_the_rest():
    known = Priors(priors("lr=0.03"))
    first = [spread(suggest, number=i, seed=0, trial_seed=i, priors=known)["lr"] for i in range(40)]
    assert 20 <= sum(0.006 < value < 0.15 for value in first) <= 32
    assert sum(not 0.002 < value < 0.5 for value in first) >= 5, "half of them ignore the prior"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lr"], "--prior must be NAME=VALUE, "),
        (["lr="], "--prior must be NAME=VALUE, "),
        (["lr=,"], "--prior must be NAME=VALUE, "),
        (["lr=0.1:sure=1"], "--prior lr=0.1:sure=1: sure must be above 0 and below 1, got 1"),
        (["lr=0.1:sure="], "sure must be above 0 and below 1, got nothing"),
        (["lr=0.1:sure=very"], "sure must be above 0 and below 1, got very"),
        (["lr=0.1", "lr=0.2"], "--prior must name each parameter once, got 'lr' twice"),
        (["rl=0.1"], "--prior rl: the space has no such parameter"),
        (["lr=3"], "--prior lr=3: lr must lie in 0.0001..1"),
        (["lr=0.2..0.1"], "the low end comes first, and the ends differ, got 0.2..0.1"),
        (["lr=0.1.."], "the ends must be numbers, got nothing"),
        (["lr=0.1..5"], "--prior lr=0.1..5: lr must lie in 0.0001..1"),
        (["optimizer=lion"], "--prior optimizer=lion: optimizer must lie in {sgd, adamw}, got lion"),
        (["optimizer=a..b"], "the ends must be numbers, got a"),
    ],
)
def test_a_mistake_is_one_line_with_the_rule(words: list[str], message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        priors(*words)


def test_a_parameter_that_is_fixed_or_asked_about_has_no_prior_and_other_samplers_use_none():
    words = read_priors(["depth=2"], sampler="curves")
    with pytest.raises(ValueError, match="--prior depth: --fix decides its values; leave one of them out"):
        resolve_priors(words, SPACE, fixed={"depth": 3})
    with pytest.raises(ValueError, match="--prior depth: --question decides its values"):
        resolve_priors(words, SPACE, fixed={}, asked=("depth",))
    with pytest.raises(ValueError, match="--prior works with --sampler curves, got tpe"):
        read_priors(["depth=2"], sampler="tpe")


def test_a_range_of_a_list_is_the_values_in_it():
    assert priors("batch=64..128")[0].values == (64, 128)
    assert [one.option for one in priors("lr=0.01..0.1", "optimizer=adamw:sure=0.8")] == [
        "lr=0.01..0.1",
        "optimizer=adamw:sure=0.8",
    ]
    assert str(priors("lr=0.03")[0]) == "lr near 0.03 in 50 % of new configurations"


def test_what_is_expected_is_trained_after_the_baseline_unless_it_exceeds_a_bound():
    run = make_run(baseline=dict(SPACE.baseline), priors=priors("lr=0.01..0.1", "depth=3", "optimizer=adamw"))
    plan = with_plan(run, SPACE, lambda _: Examination(), tries=()).plan
    assert [one.params for one in plan] == [
        SPACE.baseline,
        {"lr": pytest.approx(0.0316, rel=0.01), "depth": 3, "drop": 0.0, "batch": 64, "optimizer": "adamw"},
    ]
    assert plan[1].tag == "prior"

    assert as_expected(suggest, priors("lr=1"), SPACE.baseline)["lr"] == 1, "at the end of its range as stated"
    held = make_run(
        baseline={**SPACE.baseline, "lr": 0.5}, fixed={"momentum": 0.6}, priors=priors("optimizer=sgd", "depth=4")
    )
    other = replace(SPACE, baseline={"lr": 0.1, "depth": 2, "drop": 0.0, "batch": 64, "optimizer": "adamw"})
    assert with_plan(held, other, lambda _: Examination(), tries=()).plan[1].params["momentum"] == 0.6

    def examine(config: dict[str, Any]) -> Examination:
        return Examination(excess={"weights": config["depth"] - 2.0})

    assert len(with_plan(run, SPACE, examine, tries=()).plan) == 1
    assert as_expected(suggest, priors("momentum=0.6"), {**SPACE.baseline, "optimizer": "adamw"}).keys() == {
        "lr",
        "depth",
        "drop",
        "batch",
        "optimizer",
    }


def test_a_run_keeps_its_priors_and_a_resumed_one_cannot_change_them(tmp_path: Path):
    words = ["--prior", "sgd_lr=0.02..0.1", "--prior", "depth=2:sure=0.7", "--name", "x", "--runs-dir", str(tmp_path)]
    run = Session.open(parse(Options, words, prog="x"), given={"prior", "name"}).run
    new_run(tmp_path / "x", run)
    assert read_run(tmp_path / "x").priors == run.priors
    assert json.loads((tmp_path / "x" / "run.json").read_text())["priors"] == json.loads(
        json.dumps([asdict(one) for one in run.priors])
    )
    again = ["--resume", "--name", "x", "--runs-dir", str(tmp_path)]
    assert Session.open(parse(Options, again, prog="x"), given={"resume"}).run.priors == run.priors
    with pytest.raises(ValueError, match=r"began with --prior sgd_lr=0.02..0.1 --prior depth=2:sure=0.7, which cannot"):
        Session.open(parse(Options, [*again, "--prior", "depth=3"], prog="x"), given={"resume", "prior"})
