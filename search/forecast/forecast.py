"""Forecasts how long a search takes: measures its first trials briefly, then simulates searches at that speed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import optuna

from search.algorithms.optuna_samplers import NUM_STARTUP_TRIALS
from search.forecast.begun import Begun
from search.forecast.calibration import Speed, calibrate
from search.forecast.simulate import Outcome, Silent, empty_ledger, simulate
from search.runtime.resources import Resources
from search.scheduling.constraints import Examine, examine_workers
from search.scheduling.messages import Leg
from search.scheduling.search import Search
from search.storage.run import Run
from search.storage.trials import is_repeat
from spaces.space import Space

START_SECONDS, LEG_SECONDS, REPORT_SECONDS = 6.0, 0.07, 0.01
"""Seconds from the command to the first epoch, while Ray and its workers start; between two trials on the same worker;
and between two epochs of a trial, without the checkpoint."""
NUM_DRAWS, MAX_KNOWN = 200, 40
"""Random configurations that stand for later trials; most first trials that are drawn in advance."""
SIMULATED_TRIALS = 1600
"""Trials in all simulated searches together, which takes about five seconds."""
EPOCH_NOISE = 0.5
"""Standard deviation of the noise of a value after one epoch, where that between configurations is 1; it falls as
1 / sqrt(epoch)."""
COST_SHIFT, COST_WINDOW = 0.8, 0.5
"""Standard deviation of the place of the best configurations on the scale of log cost, and the width around it in which
a sampler that learns draws. The unit is the standard deviation of log cost among random configurations."""

LEARNING = 0.6
"""Improvement of the sampled configurations, in standard deviations, each time that a sampler which learns knows twice
as many trials; simulated searches vary it from 0 to twice this. In two recorded searches of 80 trials it was about 0.3
and 1.0: half and two thirds of their trials continued from the first rung, where chance would promote a third."""
FINISHED = (0.6, 1.2)
"""Range of the share of trials that `curves` trains to the end, as a multiple of one in `reduction_factor`. On three
tables of recorded curves, with searches of 30 and 60 trials, this gives about the number of epochs that they took."""
BLIND = ("random", "qmc")
"""Samplers that learn nothing."""

Draw = tuple[dict[str, Any], int]
"""A configuration and its multiply-adds."""


class Ahead(NamedTuple):
    """A trial that a search trains next."""

    trial: int
    params: dict[str, Any]
    macs: int
    """Multiply-adds."""
    reported: int
    """Epochs that it has been trained already."""


Percentiles = tuple[float, float, float]
"""5th, 50th and 95th."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a search is expected to take; of one that is resumed, what is left."""

    wall_seconds: Percentiles
    """From the command to the last epoch."""
    trial_seconds: Percentiles
    """Training time, summed over the slots."""
    epochs: Percentiles
    reaching: tuple[float, ...]
    """Trials that are trained to each rung, on average; of a search that is resumed, with those that are already."""
    baseline_epoch_seconds: float
    """Of the first trial, which is the baseline where there is one."""
    draw_epoch_seconds: Percentiles
    """Of a random configuration."""
    num_measured: int
    failures: tuple[str, ...] = ()
    """Why configurations could not be trained."""
    start_seconds: float = START_SECONDS
    """Of the wall time, those before the first epoch."""


def make_forecast(
    run: Run, space: Space, dataset: Any, resources: Resources, *, examine: Examine, begun: Begun | None = None
) -> Forecast:
    """Measure for about half a minute on this machine, then simulate the search many times.

    Args:
        examine: multiply-adds and exceeded bounds of a configuration.
        begun: the search that is to be continued, with something left to train.
    """
    known = count_known(run, resources.slots) if begun is None else resources.slots
    first = {one.trial: one for one in first_draws(run, space, examine, number=known, begun=begun)}
    for trial in begun.unfinished[:MAX_KNOWN] if begun else ():
        first.setdefault(trial.number, Ahead(trial.number, trial.params, _macs(trial.user_attrs), 0))
    others = draw_configurations(run, space, examine, number=NUM_DRAWS)
    draws = [*(one.params for one in first.values()), *(params for params, _ in others)]
    speeds = calibrate(run, dataset, resources, draws=draws, space=space)
    macs = {"first": [one.macs for one in first.values()], "others": [macs for _, macs in others]}
    numbers = None if begun is None else list(first)
    found = simulate_searches(run, space, speeds, **macs, slots=resources.slots, begun=begun, numbers=numbers)
    return replace(found, failures=tuple(speed.failure for speed in speeds if speed.failure))


def count_known(run: Run, slots: int) -> int:
    """Number of first trials that depend on the seed alone, because too few are trained for the sampler to learn."""
    if run.sampler in BLIND:
        return min(run.trials, MAX_KNOWN)
    # `curves` also learns from the first epoch of a running trial, the other samplers do not
    known = NUM_STARTUP_TRIALS + (0 if run.sampler == "curves" else slots - 1)
    return min(known, run.trials, MAX_KNOWN)


def first_draws(run: Run, space: Space, examine: Examine, *, number: int, begun: Begun | None = None) -> list[Ahead]:
    """The first trials of the search in their order, drawn before any is trained.

    Args:
        begun: the search that is to be continued; the trials are those that it would train next.
    """
    ledger = empty_ledger(run) if begun is None else begun.ledger(run)
    search = Search(run, ledger, space, examine=examine, events=Silent())
    legs = [leg for number in range(number) if (leg := search.next_leg(str(number))) is not None]
    macs = [_macs(search.ledger.trial(leg.trial).user_attrs) for leg in legs]
    return [Ahead(leg.trial, leg.params, cost, leg.reported) for leg, cost in zip(legs, macs, strict=True)]


def simulate_searches(
    run: Run, space: Space, speeds: Sequence[Speed], *, first: Sequence[int], others: Sequence[int], slots: int,
    begun: Begun | None = None, numbers: Sequence[int] | None = None,
) -> Forecast:  # fmt: skip
    """The forecast of a search whose first trials are known and whose later ones are like random configurations.

    Workers never fail. The percentiles cover the spread of configurations, the error of the calibration, and the
    unknown cost of good configurations.

    Args:
        speeds: those of `first`, then those of `others`, as far as they were measured; at least that of the first.
        first: multiply-adds of the trials that the search begins with, in their order.
        others: multiply-adds of random configurations.
        slots: trials at once.
        begun: the search that is to be continued; its trials are ranked as they are, with values like the others.
        numbers: of the trials in `first`; from 0 on when None.
    """
    # with a second objective, about as many continue at each rung
    rng, run = np.random.default_rng(run.seed), replace(run, second=None)
    size = run.trials if begun is None else begun.size
    pause = REPORT_SECONDS + float(np.median([speed.save_seconds for speed in speeds]))
    outcomes, seconds = [], []
    for _ in range(min(40, max(10, SIMULATED_TRIALS // size))):
        drawn = _epoch_seconds([*first, *others], speeds, rng)
        seconds.append(drawn[len(first) :])
        known = dict(zip(numbers or range(size), drawn[: len(first)], strict=False))
        curves = _Curves(run, known, seconds[-1], rng, begun=begun)
        outcomes.append(_simulated(run, space, curves, rng, begun=begun, slots=slots, pause_seconds=pause))
    tried = [[trial for trial in one.trials if not is_repeat(trial)] for one in outcomes]
    reached = [[sum(rung in t.intermediate_values for t in trials) for rung in run.rungs] for trials in tried]
    return Forecast(
        wall_seconds=_percentiles([outcome.seconds for outcome in outcomes]),
        trial_seconds=_percentiles([outcome.busy_seconds for outcome in outcomes]),
        epochs=_percentiles([outcome.num_epochs for outcome in outcomes]),
        reaching=tuple(np.mean(reached, axis=0).tolist()),
        baseline_epoch_seconds=speeds[0].epoch_seconds,
        draw_epoch_seconds=_percentiles(np.concatenate(seconds)),
        num_measured=sum(not speed.failure for speed in speeds),
    )


def _simulated(
    run: Run, space: Space, curves: "_Curves", rng: np.random.Generator, *, begun: Begun | None, **pace: Any
) -> Outcome:
    """One search, of which `curves` trains a share of the new trials straight to the end."""
    size, old = (run.trials, NUM_STARTUP_TRIALS) if begun is None else (begun.size, len(begun.trials))
    finished = rng.random(size) < rng.uniform(*FINISHED) / run.reduction_factor
    if begun is not None or size > old:  # a shorter search chooses among its first trials, too
        finished[:old] = False
    straight = set(np.flatnonzero(finished & (run.sampler == "curves")).tolist())
    ledger = None if begun is None else begun.ledger(run, curves.level)
    pace |= {"start_seconds": START_SECONDS, "leg_seconds": LEG_SECONDS, "examine": examine_workers(run, space)}
    return simulate(run, space, curves, sampler="random", straight=straight, ledger=ledger, **pace)


class _Curves:
    """Seconds and values of the trials of one simulated search.

    The best configurations lie at a random place on the scale of log cost, and a sampler that learns draws later trials
    around it. Values have noise that falls with the epochs.
    """

    def __init__(
        self,
        run: Run,
        first: Mapping[int, float],
        others: np.ndarray,
        rng: np.random.Generator,
        *,
        begun: Begun | None = None,
    ) -> None:
        """
        Args:
            first: seconds per epoch of the first trials, by number.
            others: seconds per epoch of random configurations, from which later trials are drawn.
            begun: the search that is continued, whose trials keep their ranks.
        """
        self._first, size = first, run.trials if begun is None else begun.size
        logs = np.log(others)
        spread = logs.std() or 1.0
        best = COST_SHIFT * rng.normal()
        weights = np.exp(-0.5 * (((logs - logs.mean()) / spread - best) / COST_WINDOW) ** 2) + 1e-12
        even = None if run.sampler in BLIND else weights / weights.sum()
        num_first = sum(number < size for number in first)
        later = iter(rng.choice(others, size=max(0, size - num_first), p=even))
        self._seconds = np.array([first[number] if number in first else next(later) for number in range(size)])
        self._sign = run.objective.sign
        distance = np.abs((np.log(self._seconds) - logs.mean()) / spread - best)
        learned = np.log2(np.maximum(1, np.arange(size) / NUM_STARTUP_TRIALS)) if even is not None else 0.0
        self._quality = rng.normal(size=size) - distance + LEARNING * rng.uniform(0, 2) * learned
        ranked = [] if begun is None else list(begun.best_first)
        self._quality[ranked] = -np.sort(-self._quality[ranked])
        self._noise = EPOCH_NOISE * rng.normal(size=(size, run.epochs)) / np.sqrt(1 + np.arange(run.epochs))

        stored = () if begun is None else reversed(begun.trials)
        self._numbers = {frozenset(trial.params.items()): trial.number for trial in stored}

    def _number(self, leg: Leg) -> int:
        """The number of the trial, or of the one that it repeats."""
        first = self._numbers.setdefault(frozenset(leg.params.items()), leg.trial)
        return leg.trial if leg.trial < len(self._seconds) else first

    def seconds(self, leg: Leg, epoch: int) -> float:
        known = self._first.get(leg.trial)
        return float(self._seconds[self._number(leg)] if known is None else known)

    def level(self, number: int) -> float:
        """The value of a trial without noise."""
        return self._sign * float(self._quality[number])

    def value(self, leg: Leg, epoch: int) -> float:
        noise = self._noise[leg.trial % len(self._noise), epoch - 1]
        return self._sign * float(self._quality[self._number(leg)] + noise)


def draw_configurations(run: Run, space: Space, examine: Examine, *, number: int) -> list[Draw]:
    """Random configurations within the bounds, with their multiply-adds; the same first ones whatever the number.

    Raises:
        ValueError: too few draws are within the bounds.
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
        f"only {len(found)} of {50 * number} random configurations are within --max-weights and --max-macs;"
        " raise the limits"
    )


def _macs(attrs: Mapping[str, Any]) -> int:
    """Multiply-adds of a configuration; 1 if they are not known, so that all configurations count as equally large."""
    return max(1, int(attrs.get("macs", 1)))


def _epoch_seconds(macs: Sequence[int], speeds: Sequence[Speed], rng: np.random.Generator) -> np.ndarray:
    """Seconds per epoch of configurations with these multiply-adds; the first of them are the measured ones.

    For the others log(seconds) = level + slope * log(macs) + residual: the line is fitted to a bootstrap sample of the
    measured configurations, and the residual is drawn from theirs.
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
