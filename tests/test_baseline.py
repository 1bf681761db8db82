"""The baseline keeps to the bounds on size: reduced within its space, or left out, and said in one line."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import BaseTrial

import spaces.space
from search.forecast.forecast import first_draws
from search.scheduling.baseline import baseline_plan, describe_reduction, fit_baseline
from search.scheduling.constraints import Examination, make_examiner
from search.session.options import Options
from search.session.session import Session
from spaces.objectives import Constraint
from spaces.space import Space
from trainables.models.mlp import MlpConfig
from trainables.training.config import TrainConfig
from trainables.training.optim import AdamWConfig

DIGITS = spaces.space.load("digits_arch")


def open_session(**options: Any) -> Session:
    return Session.open(Options(trials=9, max_epochs=9, train_size=200, **options), given=())


def examined(session: Session) -> Mapping[str, int]:
    examine = make_examiner(session.run, session.dataset)
    return examine(session.space.decode(session.run.baseline)).attrs


def test_without_bounds_the_baseline_is_the_one_of_its_space():
    session = open_session()
    assert session.run.baseline == DIGITS.baseline
    assert [(p.params, p.tag) for p in session.run.plan] == [(dict(DIGITS.baseline), "baseline")]
    assert describe_reduction(session.run, DIGITS) is None


def test_a_baseline_within_the_bounds_is_left_as_it_is():
    session = open_session(max_weights="16800", max_macs="400k")
    assert session.run.baseline == DIGITS.baseline


@pytest.mark.parametrize("bound", [16_000, 12_000, 8_000, 5_000, 3_000, 1_500])
def test_a_baseline_above_a_bound_is_reduced_to_just_below_it(bound: int):
    session = open_session(max_weights=str(bound))
    weights = examined(session)["weights"]
    assert 0.4 * bound < weights <= bound
    assert session.run.plan == baseline_plan(session.run.baseline)
    kept = set(DIGITS.baseline) - {"depth", "width_0", "width_1", "num_blocks", "block", "conv_dropout"}
    assert {name: session.run.baseline[name] for name in kept} == {name: DIGITS.baseline[name] for name in kept}
    said = describe_reduction(session.run, DIGITS)
    assert said is not None
    assert said.startswith(f"the baseline exceeds --max-weights {bound:,} and is reduced: ")
    assert "\n" not in said


def test_both_bounds_hold_together_and_the_result_is_always_the_same():
    first, second = (open_session(max_weights="9k", max_macs="60k").run for _ in range(2))
    assert first.baseline == second.baseline
    found = examined(open_session(max_weights="9k", max_macs="60k"))
    assert found["weights"] <= 9000
    assert found["macs"] <= 60_000


def test_a_shape_is_kept_as_long_as_it_can_be():
    run = open_session(max_weights="12k").run
    assert (run.baseline["depth"], run.baseline["num_blocks"]) == (2, 1)
    assert run.baseline["width_0"] <= 16
    assert run.baseline["width_1"] < 32


def test_a_bound_below_everything_leaves_no_baseline_and_says_so():
    run = open_session(max_weights="50").run
    assert (run.baseline, run.plan) == ({}, ())
    assert describe_reduction(run, DIGITS) == (
        "the baseline exceeds --max-weights 50, and so does every reduced version of it; the search starts "
        "without a baseline"
    )


def suggest(trial: BaseTrial) -> TrainConfig:
    width = trial.suggest_categorical("width", (64, 128, 256, 512))
    depth = trial.suggest_int("depth", 1, 4)
    share = trial.suggest_float("share", 0.25, 1.0)
    trial.suggest_categorical("name", ("b", "a"))
    trial.suggest_categorical("flag", (False, True))
    trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    return TrainConfig(model=MlpConfig(width=int(width * share), depth=depth), optimizer=AdamWConfig(lr=0.1))


def count(config: Any) -> Examination:
    weights = config.model.width * config.model.width * config.model.depth
    return Examination(attrs={"weights": weights}, excess={"weights": weights - 30_000.0})


def test_choices_of_numbers_whole_numbers_and_shares_are_reduced_and_nothing_else_is():
    baseline = {"width": 512, "depth": 3, "share": 1.0, "name": "b", "flag": True, "lr": 0.01}
    space = Space(suggest=suggest, baseline=baseline, dataset="digits", epochs=9)
    found = fit_baseline(space, count, constraints=[Constraint(cost="weights", bound=30_000)])
    assert {k: found[k] for k in ("name", "flag", "lr")} == {"name": "b", "flag": True, "lr": 0.01}
    assert found["width"] in (64, 128, 256)
    assert found["depth"] < 3
    assert 0.25 <= found["share"] < 1
    assert count(space.decode(found)).infeasible is None


@pytest.mark.parametrize(("bound", "depth"), [(60_000, 2), (20_000, 2), (9_000, 2), (600, 1)])
def test_a_parameter_of_few_levels_is_reduced_no_further_than_needed(bound: int, depth: int):
    space = spaces.space.load("housing_mlp")

    def count(config: Any) -> Examination:
        width = config.model.width
        weights = width * 8 + width * width * (config.model.depth - 1)
        return Examination(attrs={"weights": weights}, excess={"weights": weights - float(bound)})

    baseline = {**space.baseline, "depth": 2, "width": 256}
    found = fit_baseline(
        replace(space, baseline=baseline), count, constraints=[Constraint(cost="weights", bound=bound)]
    )
    assert found["depth"] == depth
    assert 0.7 * bound < count(space.decode(found)).attrs["weights"] <= bound


@pytest.mark.parametrize("name", ["cifar_arch", "fashion_arch", "digits_arch", "tabular_mlp", "housing_mlp"])
@pytest.mark.parametrize("part", [0.9, 0.5, 0.1, 0.02])
def test_every_space_reduces_its_baseline_to_configurations_of_its_own(name: str, part: float):
    """Weights are counted roughly, from the parameters alone."""
    space = spaces.space.load(name)

    def weights(config: Any) -> int:
        model = config.model
        widths = getattr(model, "widths", None) or (model.width,) * model.depth
        return sum(w * w for w in widths) * (1 + getattr(model, "num_blocks", 0))

    bound = part * weights(space.decode(space.baseline))
    found = fit_baseline(
        space,
        lambda config: Examination(excess={"weights": weights(config) - bound}),
        constraints=[Constraint(cost="weights", bound=round(bound))],
    )
    if found:
        assert weights(space.decode(found)) <= bound
    else:
        assert part < 0.1


@pytest.mark.parametrize("left_out", [False, True])
def test_the_search_and_its_forecast_begin_with_the_reduced_baseline_or_with_a_sampled_one(*, left_out: bool):
    session = open_session(max_weights="8000")
    run = replace(session.run, baseline={}, plan=()) if left_out else session.run
    examine = make_examiner(run, session.dataset)
    draws = [one.params for one in first_draws(run, session.space, examine, number=3)]
    assert max(examine(session.space.decode(params)).attrs["weights"] for params in draws) <= 8000
    assert (draws[0] == session.run.baseline) == (not left_out)
