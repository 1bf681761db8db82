"""How long a search will take: a short calibration of this machine, then simulated searches at the measured speed."""

import multiprocessing as mp
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
import torch

import spaces.space
from search.cluster import Resources, count_gpus
from search.ledger import Examination
from search.messages import Leg
from search.simulate import simulate
from search.study import Run
from spaces.space import Space
from trainables.data import Dataset, Split, from_arrays
from trainables.training import TrainConfig, Training

CALIBRATION_SECONDS, MIN_MEASURED = 20.0, 8
CALIBRATION_ROWS = 1024
START_SECONDS, LEG_SECONDS = 10.0, 0.1
"""From the command to the first epoch, while Ray and its workers start; and between two trials on a warm worker."""
NUM_DRAWS, NUM_SEARCHES = 200, 40
EPOCH_NOISE = 0.5
"""Spread of a value after one epoch, where that between configurations is 1; it falls as 1 / sqrt(epoch)."""

Examine = Callable[[TrainConfig], Examination]
Percentiles = tuple[float, float, float]
"""5th, 50th and 95th."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One measured configuration."""

    macs: int
    epoch_seconds: float
    """One epoch of all training and validation rows, while every slot is busy."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a search is expected to take."""

    wall_seconds: Percentiles
    trial_seconds: Percentiles
    """Training time, summed over the slots."""
    epochs: Percentiles
    reaching: tuple[float, ...]
    """Trials that are trained to each rung, on average."""
    baseline_epoch_seconds: float
    draw_epoch_seconds: Percentiles
    """Of a random configuration."""
    num_measured: int


def make_forecast(run: Run, space: Space, dataset: Dataset, resources: Resources, *, examine: Examine) -> Forecast:
    """Measure for about half a minute on this machine, then simulate the search many times.

    Args:
        examine: multiply-adds and exceeded bounds of a configuration.
    """
    draws = draw_configurations(run, space, examine, number=NUM_DRAWS)
    speeds = calibrate(run, dataset, resources, draws=[dict(space.baseline), *(params for params, _ in draws)])
    return simulate_searches(run, space, speeds, macs=[macs for _, macs in draws], slots=resources.slots)


def simulate_searches(run: Run, space: Space, speeds: Sequence[Speed], *, macs: Sequence[int], slots: int) -> Forecast:
    """What a search takes if its trials are like these.

    The simulated trials are random configurations whose quality has nothing to do with their cost, and whose workers
    never fail; the percentiles cover the spread of configurations and the error of the calibration.

    Args:
        speeds: that of the baseline, then those of some random configurations.
        macs: multiply-adds of random configurations.
        slots: trials at once.
    """
    rng = np.random.default_rng(run.seed)
    searched = replace(run, sampler="random")
    outcomes, seconds = [], []
    for _ in range(NUM_SEARCHES if run.trials <= 200 else NUM_SEARCHES // 4):
        seconds.append(_epoch_seconds(macs, speeds, rng))
        curves = _RandomCurves(run, [speeds[0].epoch_seconds, *seconds[-1]], rng)
        outcomes.append(
            simulate(searched, space, curves, slots=slots, start_seconds=START_SECONDS, leg_seconds=LEG_SECONDS)
        )
    reached = [[sum(rung in t.intermediate_values for t in o.trials) for rung in run.rungs] for o in outcomes]
    return Forecast(
        wall_seconds=_percentiles([outcome.seconds for outcome in outcomes]),
        trial_seconds=_percentiles([outcome.busy_seconds for outcome in outcomes]),
        epochs=_percentiles([outcome.num_epochs for outcome in outcomes]),
        reaching=tuple(np.mean(reached, axis=0).tolist()),
        baseline_epoch_seconds=speeds[0].epoch_seconds,
        draw_epoch_seconds=_percentiles(np.concatenate(seconds)),
        num_measured=len(speeds),
    )


def calibrate(
    run: Run,
    dataset: Dataset,
    resources: Resources,
    *,
    draws: Sequence[dict[str, Any]],
    seconds: float = CALIBRATION_SECONDS,
) -> list[Speed]:
    """Train configurations for a moment each, as many at once as the search will on a node like this machine.

    Args:
        draws: the first few are measured in any case, the others in turn until the time is up.
        seconds: until no further one is begun.

    Returns:
        The speeds of the first few draws, in their order.
    """
    part = replace(dataset, train=_first(dataset.train), validation=_first(dataset.validation))
    bench = Bench(
        space=run.space,
        arrays=part.arrays(),
        num_train=len(dataset.train),
        num_validation=len(dataset.validation),
        threads=resources.cpus_per_trial,
        device="cuda" if resources.gpus_per_trial and count_gpus() else "cpu",
    )
    running: dict[Future[Speed], int] = {}
    found: dict[int, Speed] = {}
    at_once = min(resources.slots, max(1, (os.cpu_count() or 1) // resources.cpus_per_trial))
    with ProcessPoolExecutor(at_once, mp_context=mp.get_context("spawn")) as pool:
        deadline = time.monotonic() + seconds
        while True:
            number = len(found) + len(running)
            wanted = number < len(draws) and (number < MIN_MEASURED or time.monotonic() < deadline)
            if wanted and len(running) < at_once:
                future = pool.submit(bench.measure, draws[number])
                running[future] = number
            elif running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    found[running.pop(future)] = future.result()
            else:
                return [found[number] for number in sorted(found)]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a process needs to measure a configuration."""

    space: str
    arrays: dict[str, Any]
    """A part of the data set."""
    num_train: int
    """Rows of the whole."""
    num_validation: int
    threads: int
    device: str

    def measure(self, params: dict[str, Any]) -> Speed:
        """Train one configuration for one unmeasured and one measured epoch of the part."""
        torch.set_num_threads(self.threads)
        dataset = from_arrays(self.arrays)
        config = spaces.space.load(self.space).decode(params)
        training = Training(config, dataset, epochs=2, seed=0, device=self.device)
        training.run_epoch()
        record = training.run_epoch()
        seconds = self.num_train / record["images_per_second"]
        if len(dataset.validation):
            seconds += record["evaluation_seconds"] * self.num_validation / len(dataset.validation)
        return Speed(macs=training.macs, epoch_seconds=seconds)


class _RandomCurves:
    """Trial i takes the i-th of the given seconds and has a random quality, seen through noise that epochs wear off."""

    def __init__(self, run: Run, seconds: Sequence[float], rng: np.random.Generator) -> None:
        self._seconds = seconds
        self._sign = 1 if run.direction == "maximize" else -1
        self._quality = rng.normal(size=run.trials)
        self._noise = EPOCH_NOISE * rng.normal(size=(run.trials, run.epochs)) / np.sqrt(1 + np.arange(run.epochs))

    def seconds(self, leg: Leg, epoch: int) -> float:
        return self._seconds[leg.trial % len(self._seconds)]

    def value(self, leg: Leg, epoch: int) -> float:
        return self._sign * float(self._quality[leg.trial] + self._noise[leg.trial, epoch - 1])


def draw_configurations(run: Run, space: Space, examine: Examine, *, number: int) -> list[tuple[dict[str, Any], int]]:
    """Random configurations within the bounds, with their multiply-adds; the same first ones whatever the number.

    Raises:
        ValueError: hardly any draw is within the bounds.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=run.seed))
    found: list[tuple[dict[str, Any], int]] = []
    for _ in range(50 * number):
        trial = study.ask()
        examination = examine(space.suggest(trial))
        if not examination.infeasible:
            found.append((trial.params, examination.attrs["macs"]))
        if len(found) == number:
            return found
    raise ValueError(
        f"only {len(found)} of {50 * number} random draws are within --max-weights and --max-macs; raise the bounds"
    )


def _epoch_seconds(macs: Sequence[int], speeds: Sequence[Speed], rng: np.random.Generator) -> np.ndarray:
    """Seconds of an epoch for each number of multiply-adds: a straight line in the logarithms, fitted to a bootstrap
    sample of the measured configurations, with one of their residuals for each."""
    x, y = (np.log([getattr(speed, name) for speed in speeds]) for name in ("macs", "epoch_seconds"))
    some = rng.integers(len(x), size=len(x))
    while np.ptp(x[some]) == 0 < np.ptp(x):
        some = rng.integers(len(x), size=len(x))
    slope, level = np.polyfit(x[some], y[some], 1) if np.ptp(x) else (0.0, y.mean())
    residuals = y - slope * x - level
    return np.exp(level + slope * np.log(macs) + rng.choice(residuals, size=len(macs)))


def _first(split: Split) -> Split:
    return Split(x=split.x[:CALIBRATION_ROWS], y=split.y[:CALIBRATION_ROWS])


def _percentiles(values: Sequence[float] | np.ndarray) -> Percentiles:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return float(low), float(middle), float(high)
