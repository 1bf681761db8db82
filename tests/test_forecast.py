"""Simulated searches keep to the rules and the clock; a forecast follows from measured speeds."""

import builtins
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

import spaces.space
from search.algorithms.optuna_samplers import NUM_STARTUP_TRIALS
from search.forecast.calibration import MIN_MEASURED, Bench, OwnBench, Speed, calibrate
from search.forecast.forecast import (
    LEG_SECONDS,
    REPORT_SECONDS,
    START_SECONDS,
    count_known,
    draw_configurations,
    first_draws,
    simulate_searches,
)
from search.forecast.preview import describe_imbalance, keep_forecast, kept_forecast
from search.forecast.simulate import simulate
from search.runtime.resources import Resources
from search.scheduling.constraints import make_examiner
from search.scheduling.messages import Leg
from search.session.options import Options
from search.session.session import Session
from search.storage.run import Sampler
from tests.own_spaces import WHOLE, write_own
from trainables.data.dataset import Split
from trainables.sources import load as data
from trainables.trainable import Selection, Setting
from trainables.training.training import Training

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


def test_between_two_epochs_a_worker_saves(session: Session) -> None:
    run = replace(session.run, pruner="none", sampler="random", trials=2, epochs=3)
    outcome = simulate(run, SPACE, Steady(), slots=1, leg_seconds=0.5, pause_seconds=0.1)
    assert outcome.seconds == pytest.approx(2 * (0.5 + 3 + 2 * 0.1))
    assert outcome.busy_seconds == pytest.approx(6)


def test_a_forecast_of_equal_trials_is_exact(session: Session) -> None:
    run = replace(session.run, pruner="none", trials=8, epochs=2)
    speeds = [Speed(macs=macs, epoch_seconds=2.0, save_seconds=0.3) for macs in (1000, 5000)]
    forecast = simulate_searches(run, SPACE, speeds, first=[1000], others=[3000, 9000], slots=2)
    expected = START_SECONDS + 4 * (LEG_SECONDS + 2 * 2.0 + REPORT_SECONDS + 0.3)
    assert forecast.wall_seconds == pytest.approx((expected,) * 3)
    assert forecast.trial_seconds == pytest.approx((32.0,) * 3)
    assert forecast.reaching == (8, 8)


def test_a_forecast_extends_the_measured_line(session: Session) -> None:
    run = replace(session.run, pruner="none", trials=8, epochs=1)
    speeds = [Speed(macs=macs, epoch_seconds=macs / 1e3) for macs in (1000, 2000, 4000)]
    forecast = simulate_searches(run, SPACE, speeds, first=[1000], others=[2000, 4000] + [8000] * 10, slots=1)
    assert forecast.draw_epoch_seconds[2] == pytest.approx(8.0)
    assert forecast.num_measured == 3


def test_trials_that_were_measured_are_forecast_as_measured(session: Session) -> None:
    """However badly a straight line would fit them."""
    run = replace(session.run, pruner="none", trials=3, epochs=1)
    speeds = [Speed(macs=macs, epoch_seconds=s) for macs, s in ((1000, 9.0), (2000, 1.0), (4000, 5.0))]
    forecast = simulate_searches(run, SPACE, speeds, first=[1000, 2000, 4000], others=[3000] * 9, slots=1)
    assert forecast.trial_seconds == pytest.approx((15.0,) * 3)


def test_a_sampler_that_learns_makes_the_later_trials_alike_and_the_forecast_less_sure(session: Session) -> None:
    speeds = [Speed(macs=macs, epoch_seconds=macs / 1e3) for macs in range(1000, 20000, 1000)]
    macs = [speed.macs for speed in speeds]
    run = replace(session.run, pruner="none", trials=60, epochs=1)

    def spread(sampler: str) -> float:
        searched = replace(run, sampler=sampler)
        low, middle, high = simulate_searches(searched, SPACE, speeds, first=[], others=macs, slots=2).trial_seconds
        return (high - low) / middle

    assert spread("tpe") > 1.5 * spread("random")


def test_a_forecast_knows_that_the_default_trains_more_trials_to_the_end(session: Session) -> None:
    speeds = [Speed(macs=1000, epoch_seconds=1.0)]
    found = {
        sampler: simulate_searches(
            replace(session.run, sampler=sampler, trials=60), SPACE, speeds, first=[1000], others=[1000] * 9, slots=2
        )
        for sampler in ("curves", "tpe")
    }
    assert 1.3 < found["curves"].epochs[1] / found["tpe"].epochs[1] < 2.1
    assert found["curves"].reaching[-1] > 1.5 * found["tpe"].reaching[-1]


@pytest.mark.parametrize(("sampler", "slots"), [("tpe", 1), ("tpe", 3), ("random", 3), ("curves", 1), ("curves", 3)])
def test_the_first_draws_are_the_trials_that_the_search_begins_with(
    session: Session, sampler: Sampler, slots: int
) -> None:
    run = replace(session.run, sampler=sampler, trials=NUM_STARTUP_TRIALS + slots - 1)
    known = count_known(run, slots)
    assert known >= NUM_STARTUP_TRIALS
    foreseen = [one.params for one in first_draws(run, SPACE, make_examiner(run, session.dataset), number=known)]
    assert foreseen[0] == SPACE.baseline
    trials = simulate(run, SPACE, Steady(), slots=slots).trials
    assert [trial.params for trial in trials[:known]] == foreseen


def test_the_first_draws_keep_to_the_bounds(session: Session) -> None:
    run = replace(session.run, trials=12, max_macs=100_000)
    draws = first_draws(run, SPACE, make_examiner(run, session.dataset), number=40)
    assert len(draws) == 12
    assert all(one.macs <= 100_000 for one in draws[1:]), "the baseline is trained in any case"


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


def test_a_slow_machine_goes_on_with_what_it_has_measured(session: Session) -> None:
    resources = Resources(slots=2, cpus_per_trial=1, gpus_per_trial=0.0)
    draws = [dict(SPACE.baseline)] * MIN_MEASURED
    speeds = calibrate(session.run, session.dataset, resources, draws=draws, seconds=0.0, longest=0.0)
    assert len(speeds) == 1


def test_what_a_moment_tells_of_an_epoch_is_what_an_epoch_takes(session: Session) -> None:
    """To a factor of three: other work on the machine may come between."""
    dataset = data.load("digits", "nowhere")
    part = replace(dataset, train=Split(x=dataset.train.x[:300], y=dataset.train.y[:300]))
    bench = Bench(
        space="digits_arch", arrays=part.arrays(), num_train=len(dataset.train),
        num_validation=len(dataset.validation), num_networks=1, threads=1, device="cpu",
    )  # fmt: skip
    speed = bench.measure(dict(SPACE.baseline))
    training = Training(SPACE.decode(SPACE.baseline), dataset, epochs=9, seed=0)
    records = [training.run_epoch() for _ in range(9)]
    assert speed.macs == training.macs
    assert speed.save_seconds > 0
    real = min(record["seconds"] for record in records[1:])
    assert real / 3 < speed.epoch_seconds < 3 * max(record["seconds"] for record in records[1:])


def test_bounds_that_no_draw_keeps_are_named(session: Session) -> None:
    run = replace(session.run, max_weights=10)
    with pytest.raises(
        ValueError, match="only 0 of 100 random configurations are within --max-weights and --max-macs; raise"
    ):
        draw_configurations(run, SPACE, make_examiner(run, session.dataset), number=2)


def test_a_run_remembers_the_forecast_of_its_preview_and_of_no_other(session: Session, tmp_path: Path) -> None:
    speeds = [Speed(macs=1000, epoch_seconds=1.0)] * 2
    forecast = simulate_searches(session.run, SPACE, speeds, first=[1000], others=[1000], slots=2)
    keep_forecast(tmp_path, session.run, forecast)
    kept = kept_forecast(tmp_path, replace(session.run, name="another"))
    assert kept is not None
    assert tuple(kept["wall_seconds"]) == forecast.wall_seconds
    assert kept_forecast(tmp_path, replace(session.run, trials=10)) is None
    assert kept_forecast(tmp_path, replace(session.run, seed=5)) is None, "it would begin with other trials"


@pytest.mark.parametrize("epochs", [1, 4])
def test_the_first_epoch_of_a_process_does_not_make_own_code_seem_slow(epochs: int, tmp_path: Path):
    slow = "    import builtins, time\n    time.sleep(2 * (not hasattr(builtins, 'rungwise_warm')))\n"
    slow += "    builtins.rungwise_warm = True\n"
    path = write_own(tmp_path, f"warming_{epochs}", text=WHOLE.replace("    for epoch in", slow + "    for epoch in"))
    space = spaces.space.load(str(path))
    packed = space.work.pack(space.work.load(Selection()))
    bench = OwnBench(space=str(path), packed=packed, setting=Setting(epochs=epochs, seed=0))
    try:
        assert bench.measure({"lr": 0.1, "width": 8}).epoch_seconds < 1
    finally:
        del builtins.rungwise_warm  # pyright: ignore[reportAttributeAccessIssue]


def test_a_rare_class_is_said_with_the_metrics_that_count_it() -> None:
    digits = data.load("digits", "data")
    assert describe_imbalance(digits) == ""
    few = torch.cat([(digits.train.y != 3).nonzero()[:, 0], (digits.train.y == 3).nonzero()[:20, 0]])
    rare = replace(digits, train=Split(x=digits.train.x[few], y=digits.train.y[few]))
    said = describe_imbalance(rare)
    assert said.startswith(f"the rarest class (3) has {100 * 20 / len(few):.1f} % of the training rows")
    assert "--metric balanced_accuracy, macro_f1 or auc" in said
    assert describe_imbalance(replace(rare, metric="auc")) == ""
    assert describe_imbalance(data.load("diabetes", "data")) == ""


def test_a_configuration_that_cannot_be_trained_does_not_end_the_forecast_unless_all_fail(tmp_path: Path) -> None:
    fault = "    if config['lr'] > 0.5:\n        raise ArithmeticError('lr is too large')\n"
    text = WHOLE.replace("    model = build(config)", fault + "    model = build(config)", 1)
    session = Session.open(Options(space=str(write_own(tmp_path, "failing", text=text)), trials=4), given=())
    resources = Resources(slots=1, cpus_per_trial=1, gpus_per_trial=0.0)
    good, bad = {"lr": 0.1, "width": 8}, {"lr": 0.9, "width": 8}

    def speeds(*draws: dict[str, float]) -> list[Speed]:
        dataset, space = session.dataset, session.space
        return calibrate(session.run, dataset, resources, draws=draws, space=space, seconds=600.0)

    first, second, third = speeds(bad, good, bad)
    assert (first.failure, second.failure) == ("ArithmeticError: lr is too large", "")
    assert replace(first, failure="") == second == replace(third, failure="")
    with pytest.raises(ValueError, match=r"^the first 3 configurations cannot be trained: ArithmeticError: lr is too"):
        speeds(bad, bad, bad, bad)
