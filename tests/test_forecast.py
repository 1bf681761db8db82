"""Simulated searches keep to the rules and the clock; a forecast follows from measured speeds."""

from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

import spaces.space
from search.cluster import Resources
from search.forecast import (
    LEG_SECONDS,
    MIN_MEASURED,
    START_SECONDS,
    Speed,
    calibrate,
    draw_configurations,
    simulate_searches,
)
from search.launch import make_examiner
from search.messages import Leg
from search.options import Options
from search.preview import keep_forecast, kept_forecast
from search.session import Session
from search.simulate import simulate

SPACE = spaces.space.load("digits_arch")


class Steady:
    """Every epoch takes as long; the earlier a trial, the better it is."""

    def __init__(self, epoch_seconds: float = 1.0) -> None:
        self.epoch_seconds = epoch_seconds

    def seconds(self, leg: Leg, epoch: int) -> float:
        return self.epoch_seconds

    def value(self, leg: Leg, epoch: int) -> float:
        return -float(leg.trial)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session.open(Options(trials=9, max_epochs=9, train_size=200), given=())


def test_two_workers_share_what_one_would_do_alone(session: Session) -> None:
    run = replace(session.run, pruner="none", sampler="random", trials=4, epochs=3)
    outcome = simulate(run, SPACE, Steady(), slots=2, start_seconds=10, leg_seconds=0.5)
    assert outcome.num_epochs == 12
    assert outcome.seconds == pytest.approx(10 + 2 * (0.5 + 3))
    assert outcome.busy_seconds == pytest.approx(12)
    assert [t.state for t in outcome.trials] == [TrialState.COMPLETE] * 4


def test_a_simulated_search_promotes_the_best_third(session: Session) -> None:
    run = replace(session.run, sampler="random")
    outcome = simulate(run, SPACE, Steady(), slots=1)
    reached = [sum(rung in t.intermediate_values for t in outcome.trials) for rung in run.rungs]
    assert reached == [9, 3, 1]
    assert outcome.trials[0].state == TrialState.COMPLETE
    assert outcome.seconds == outcome.busy_seconds == outcome.num_epochs == 9 + 3 * 2 + 6


def test_workers_wait_while_the_driver_samples(session: Session) -> None:
    run = replace(session.run, pruner="none", sampler="random", trials=4, epochs=1)
    outcome = simulate(run, SPACE, Steady(), slots=4, decision_seconds=lambda _: 0.5)
    assert [moment for moment, _, _ in outcome.moments] == pytest.approx([1.5, 2.0, 2.5, 3.0])


def test_a_forecast_of_equal_trials_is_exact(session: Session) -> None:
    run = replace(session.run, pruner="none", trials=8, epochs=2)
    speeds = [Speed(macs=1000, epoch_seconds=2.0), Speed(macs=5000, epoch_seconds=2.0)]
    forecast = simulate_searches(run, SPACE, speeds, macs=[1000, 3000, 9000], slots=2)
    expected = START_SECONDS + 4 * (LEG_SECONDS + 2 * 2.0)
    assert forecast.wall_seconds == pytest.approx((expected,) * 3)
    assert forecast.trial_seconds == pytest.approx((32.0,) * 3)
    assert forecast.reaching == (8, 8)


def test_a_forecast_extends_the_measured_line(session: Session) -> None:
    run = replace(session.run, pruner="none", trials=8, epochs=1)
    speeds = [Speed(macs=macs, epoch_seconds=macs / 1e3) for macs in (1000, 2000, 4000)]
    forecast = simulate_searches(run, SPACE, speeds, macs=[8000] * 10, slots=1)
    assert forecast.draw_epoch_seconds == pytest.approx((8.0,) * 3)
    assert forecast.trial_seconds[1] == pytest.approx(1.0 + 7 * 8.0)


def test_calibration_measures_the_first_draws_on_all_slots(session: Session) -> None:
    examine = make_examiner(session.run, session.dataset)
    draws = [params for params, _ in draw_configurations(session.run, SPACE, examine, number=MIN_MEASURED + 4)]
    resources = Resources(slots=2, cpus_per_trial=1, gpus_per_trial=0.0)
    speeds = calibrate(session.run, session.dataset, resources, draws=draws, seconds=0.0)
    assert len(speeds) == MIN_MEASURED
    assert [speed.macs for speed in speeds] == [
        examine(SPACE.decode(params)).attrs["macs"] for params in draws[:MIN_MEASURED]
    ]
    assert all(0 < speed.epoch_seconds < 60 for speed in speeds)


def test_bounds_that_no_draw_keeps_are_named(session: Session) -> None:
    run = replace(session.run, max_weights=10)
    with pytest.raises(ValueError, match="only 0 of 100 random draws are within --max-weights and --max-macs; raise"):
        draw_configurations(run, SPACE, make_examiner(run, session.dataset), number=2)


def test_a_run_remembers_the_forecast_of_its_preview_and_of_no_other(session: Session, tmp_path: Path) -> None:
    speeds = [Speed(macs=1000, epoch_seconds=1.0)] * 2
    forecast = simulate_searches(session.run, SPACE, speeds, macs=[1000], slots=2)
    keep_forecast(tmp_path, session.run, forecast)
    kept = kept_forecast(tmp_path, replace(session.run, name="another", seed=5))
    assert kept is not None
    assert tuple(kept["wall_seconds"]) == forecast.wall_seconds
    assert kept_forecast(tmp_path, replace(session.run, trials=10)) is None
