"""How long a search will take: its first trials measured for a moment each, then simulated searches at that speed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage

from search.algorithms.optuna_samplers import NUM_STARTUP_TRIALS
from search.forecast.calibration import Speed, calibrate
from search.forecast.simulate import Silent, simulate
from search.runtime.resources import Resources
from search.scheduling.constraints import Examine
from search.scheduling.messages import Leg
from search.scheduling.search import Search
from search.storage.ledger import Ledger
from search.storage.run import Run
from spaces.space import Space

START_SECONDS, LEG_SECONDS, REPORT_SECONDS = 6.0, 0.07, 0.01
"""From the command to the first epoch, while Ray and its workers start; between two trials on a warm worker; and
between two epochs of a trial, beside the checkpoint."""
NUM_DRAWS, MAX_KNOWN = 200, 40
SIMULATED_TRIALS = 1600
"""In all simulated searches together: about five seconds."""
EPOCH_NOISE = 0.5
"""Spread of a value after one epoch, where that between configurations is 1; it falls as 1 / sqrt(epoch)."""
COST_SHIFT, COST_WINDOW = 0.8, 0.5
"""Where the logarithm of the cost has spread 1 among random configurations: how far from their mean the best ones may
lie, and the spread of those that a sampler draws once it has learned where they are."""

LEARNING = 0.6
"""How much better configurations become, where they have spread 1, each time that a sampler which learns knows twice
as many; from nothing to twice as much. In two recorded searches of 80 trials it was about 0.3 and 1.0: a half and two
thirds of their trials went on from the first rung, where chance alone promotes a third."""
FINISHED = (0.2, 0.4)
"""The share of the trials of `curves` that are trained to the end: on three tables of recorded curves, searches
of 30 and 60 trials, this gives about the epochs that they took."""
_BLIND = ("random", "qmc")
"""Samplers that learn nothing."""

Draw = tuple[dict[str, Any], int]
"""A configuration and its multiply-adds."""
Percentiles = tuple[float, float, float]
"""5th, 50th and 95th."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a search is expected to take."""

    wall_seconds: Percentiles
    """From the command to the last epoch."""
    trial_seconds: Percentiles
    """Training time, summed over the slots."""
    epochs: Percentiles
    reaching: tuple[float, ...]
    """Trials that are trained to each rung, on average."""
    baseline_epoch_seconds: float
    """Of the first trial, which is the baseline where there is one."""
    draw_epoch_seconds: Percentiles
    """Of a random configuration."""
    num_measured: int
    start_seconds: float = START_SECONDS
    """Of the wall time, those before the first epoch."""


def make_forecast(run: Run, space: Space, dataset: Any, resources: Resources, *, examine: Examine) -> Forecast:
    """Measure for about half a minute on this machine, then simulate the search many times.

    Args:
        examine: multiply-adds and exceeded bounds of a configuration.
    """
    first = first_draws(run, space, examine, number=count_known(run, resources.slots))
    others = draw_configurations(run, space, examine, number=NUM_DRAWS)
    speeds = calibrate(run, dataset, resources, draws=[params for params, _ in (*first, *others)], space=space)
    known, unknown = ([macs for _, macs in draws] for draws in (first, others))
    return simulate_searches(run, space, speeds, first=known, others=unknown, slots=resources.slots)


def count_known(run: Run, slots: int) -> int:
    """Trials that are drawn while too few have been trained for the sampler to learn from: the seed alone decides."""
    if run.sampler in _BLIND:
        return min(run.trials, MAX_KNOWN)
    # a model learns from the first epoch of a trial that still runs, the other samplers do not
    known = NUM_STARTUP_TRIALS + (0 if run.sampler == "curves" else slots - 1)
    return min(known, run.trials, MAX_KNOWN)


def first_draws(run: Run, space: Space, examine: Examine, *, number: int) -> list[Draw]:
    """The trials that the search begins with, in their order, as they are drawn while none has been trained."""
    storage = InMemoryStorage()
    optuna.create_study(study_name=run.name, storage=storage, direction=run.direction)
    search = Search(run, Ledger(storage, run), space, examine=examine, events=Silent())
    legs = [search.next_leg(str(leg)) for leg in range(number)]
    return [(leg.params, _macs(search.ledger.trials[leg.trial].user_attrs)) for leg in legs if leg is not None]


def simulate_searches(
    run: Run, space: Space, speeds: Sequence[Speed], *, first: Sequence[int], others: Sequence[int], slots: int
) -> Forecast:
    """What a search takes whose first trials are known and whose later ones are like random configurations.

    Their workers never fail; the percentiles cover the spread of configurations, the error of the calibration, and that
    nobody knows yet whether the good ones are the cheap ones.

    Args:
        speeds: those of `first`, then those of `others`, as far as they were measured; at least that of the first.
        first: multiply-adds of the trials that the search begins with, in their order.
        others: multiply-adds of random configurations.
        slots: trials at once.
    """
    rng = np.random.default_rng(run.seed)
    pause = REPORT_SECONDS + float(np.median([speed.save_seconds for speed in speeds]))
    outcomes, seconds = [], []
    for _ in range(min(40, max(10, SIMULATED_TRIALS // run.trials))):
        drawn = _epoch_seconds([*first, *others], speeds, rng)
        seconds.append(drawn[len(first) :])
        curves = _Curves(run, drawn[: len(first)], seconds[-1], rng)
        finished = rng.random(run.trials) < rng.uniform(*FINISHED)
        finished[:NUM_STARTUP_TRIALS] = False
        straight = np.flatnonzero(finished & (run.sampler == "curves")).tolist()
        outcomes.append(
            simulate(
                run, space, curves, slots=slots, start_seconds=START_SECONDS, leg_seconds=LEG_SECONDS,
                pause_seconds=pause, sampler="random", straight=set(straight),
            )
        )  # fmt: skip
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


class _Curves:
    """What the trials of one imagined search take and give.

    Somewhere along the costs the best configurations lie; a sampler that learns draws later trials around there.
    A value is seen through noise that epochs wear off.
    """

    def __init__(self, run: Run, first: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> None:
        """
        Args:
            first: seconds of an epoch of the first trials.
            others: of random configurations, among which later trials are.
        """
        logs = np.log(others)
        spread = logs.std() or 1.0
        best = COST_SHIFT * rng.normal()
        weights = np.exp(-0.5 * (((logs - logs.mean()) / spread - best) / COST_WINDOW) ** 2) + 1e-12
        even = None if run.sampler in _BLIND else weights / weights.sum()
        later = rng.choice(others, size=max(0, run.trials - len(first)), p=even)
        self._seconds = np.concatenate([first, later])[: run.trials]
        self._sign = run.objective.sign
        distance = np.abs((np.log(self._seconds) - logs.mean()) / spread - best)
        learned = np.log2(np.maximum(1, np.arange(run.trials) / NUM_STARTUP_TRIALS)) if even is not None else 0.0
        self._quality = rng.normal(size=run.trials) - distance + LEARNING * rng.uniform(0, 2) * learned
        self._noise = EPOCH_NOISE * rng.normal(size=(run.trials, run.epochs)) / np.sqrt(1 + np.arange(run.epochs))

    def seconds(self, leg: Leg, epoch: int) -> float:
        return float(self._seconds[leg.trial])

    def value(self, leg: Leg, epoch: int) -> float:
        return self._sign * float(self._quality[leg.trial] + self._noise[leg.trial, epoch - 1])


def draw_configurations(run: Run, space: Space, examine: Examine, *, number: int) -> list[Draw]:
    """Random configurations within the bounds, with their multiply-adds; the same first ones whatever the number.

    Raises:
        ValueError: hardly any draw is within the bounds.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=run.seed))
    found: list[Draw] = []
    for _ in range(50 * number):
        trial = study.ask()
        examination = examine(space.suggest(trial))
        if not examination.infeasible:
            found.append((trial.params, _macs(examination.attrs)))
        if len(found) == number:
            return found
    raise ValueError(
        f"only {len(found)} of {50 * number} random configurations are within --max-weights and --max-macs; raise the "
        f"limits"
    )


def _macs(attrs: Mapping[str, Any]) -> int:
    """Multiply-adds of a configuration, 1 where they are not known: then all are taken to be alike."""
    return max(1, int(attrs.get("macs", 1)))


def _epoch_seconds(macs: Sequence[int], speeds: Sequence[Speed], rng: np.random.Generator) -> np.ndarray:
    """Seconds of an epoch for each number of multiply-adds: as measured for the first few, which the speeds are of.

    For the others a straight line in the logarithms, fitted to a bootstrap sample of the measured configurations, with
    one of their residuals for each.
    """
    x, y = (np.log([getattr(speed, name) for speed in speeds]) for name in ("macs", "epoch_seconds"))
    some = rng.integers(len(x), size=len(x))
    while np.ptp(x[some]) == 0 < np.ptp(x):
        some = rng.integers(len(x), size=len(x))
    slope, level = np.polyfit(x[some], y[some], 1) if np.ptp(x) else (0.0, y.mean())
    residuals = y - slope * x - level
    seconds = np.exp(level + slope * np.log(macs) + rng.choice(residuals, size=len(macs)))
    seconds[: len(speeds)] = np.exp(y[: len(macs)])
    return seconds


def _percentiles(values: Sequence[float] | np.ndarray) -> Percentiles:
    low, middle, high = np.percentile(values, (5, 50, 95))
    return float(low), float(middle), float(high)
