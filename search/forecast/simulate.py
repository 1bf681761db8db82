"""A whole search on a clock of its own: the real rules and samplers, imagined workers; neither Ray nor training."""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import Any, Protocol

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from search.scheduling.examination import Examination
from search.scheduling.messages import EpochResult, Leg
from search.scheduling.search import Search
from search.storage.ledger import Ledger
from search.storage.run import Run, Sampler
from spaces.space import Space


class Curves(Protocol):
    """What an epoch of a trial takes and gives."""

    def seconds(self, leg: Leg, epoch: int) -> float:
        """What this epoch of the trial takes, counted from 1."""
        ...

    def value(self, leg: Leg, epoch: int) -> float:
        """The objective after it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a simulated search."""

    seconds: float
    """Wall time, from the first worker's start to the last epoch."""
    busy_seconds: float
    """Training time, summed over all workers."""
    num_epochs: int
    trials: list[FrozenTrial]
    moments: list[tuple[float, int, int]]
    """(seconds, trial, epoch) of every finished epoch, in order of time."""


def simulate(
    run: Run,
    space: Space,
    curves: Curves,
    *,
    slots: int,
    start_seconds: float = 0.0,
    leg_seconds: float = 0.0,
    pause_seconds: float = 0.0,
    decision_seconds: Callable[[float], float] = lambda _: 0.0,
    until: float = math.inf,
    sampler: Sampler | None = None,
    straight: Container[int] = (),
    examine: Callable[[Any], Examination] = lambda _: Examination(),
) -> Outcome:
    """Run a search as Ray would, as fast as the decisions can be made.

    Args:
        run: what to search; its sampler and pruner are the real ones.
        curves: decides what an epoch takes and gives.
        slots: workers.
        start_seconds: until a worker takes its first trial.
        leg_seconds: between two legs on a worker.
        pause_seconds: after an epoch, until it is saved and told and the next may begin.
        decision_seconds: what the driver takes to say which leg is next, given the CPU seconds that it really took;
            the workers that ask meanwhile wait.
        until: seconds after which nothing more happens.
        sampler: draws the configurations in place of the run's own.
        straight: numbers of trials that pause at no rung.
        examine: what is known of a configuration before it is trained.
    """
    storage = InMemoryStorage()
    optuna.create_study(study_name=run.name, storage=storage, direction=run.direction)
    run = replace(run, sampler=sampler or run.sampler)
    search = _Search(run, Ledger(storage, run), space, examine=examine, events=Silent())
    search.straight = straight
    agenda: list[tuple[float, int, Leg, int]] = []  # time, tie-breaker, leg, epoch that is finished then
    free, driver, order = [start_seconds] * slots, 0.0, itertools.count()
    busy, moments = 0.0, []
    while True:
        for moment in free:
            leg_number = next(order)
            began = time.process_time()
            leg = search.next_leg(str(leg_number))
            if leg is None:
                break
            driver = max(moment, driver) + decision_seconds(time.process_time() - began)
            epoch = leg.reported + 1
            finished = driver + leg_seconds + curves.seconds(leg, epoch)
            heapq.heappush(agenda, (finished, leg_number, leg, epoch))
        if not agenda:
            break
        now, leg_number, leg, epoch = heapq.heappop(agenda)
        if now > until:
            break
        busy += curves.seconds(leg, epoch)
        moments.append((now, leg.trial, epoch))
        if search.on_result(str(leg_number), _result(run, epoch, curves.value(leg, epoch))):
            finished = now + pause_seconds + curves.seconds(leg, epoch + 1)
            heapq.heappush(agenda, (finished, leg_number, leg, epoch + 1))
        else:
            search.end_leg(str(leg_number), lost=False)
        free = [now] * (slots - len(agenda))  # a result may have made work for slots that had none
    search.end()
    last = moments[-1][0] if moments else start_seconds
    return Outcome(seconds=last, busy_seconds=busy, num_epochs=len(moments), trials=search.trials, moments=moments)


class _Search(Search):
    straight: Container[int] = ()

    def _is_compared(self, trial: FrozenTrial) -> bool:
        return super()._is_compared(trial) and trial.number not in self.straight


def _result(run: Run, epoch: int, value: float) -> EpochResult:
    if math.isnan(value):
        return EpochResult(failure=f"epoch {epoch}: {run.metric} is {value}", failure_kind="diverged")
    return EpochResult(record={"epoch": epoch, run.metric: value})


class Silent:
    """Nobody listens."""

    def started(self, trial: FrozenTrial) -> None: ...
    def epoch(self, trial: FrozenTrial, record: dict[str, Any]) -> None: ...
    def paused(self, trial: FrozenTrial) -> None: ...
    def ended(self, trial: FrozenTrial) -> None: ...
    def notice(self, text: str) -> None: ...
