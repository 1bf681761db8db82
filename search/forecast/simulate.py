"""Simulates a whole search on its own clock: the real rules and samplers, but neither Ray nor training."""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial

from search.scheduling.constraints import Examination, Examine
from search.scheduling.messages import EpochResult, Leg
from search.scheduling.search import Search
from search.storage.expected import Expected
from search.storage.ledger import Ledger
from search.storage.requests import Request
from search.storage.run import Run, Sampler
from spaces.space import Space


class Curves(Protocol):
    """Duration and value of each epoch of a trial."""

    def seconds(self, leg: Leg, epoch: int) -> float:
        """Duration of this epoch, counted from 1."""
        ...

    def value(self, leg: Leg, epoch: int) -> float:
        """The objective after this epoch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a simulated search."""

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
    slots: int, start_seconds: float = 0.0, leg_seconds: float = 0.0, pause_seconds: float = 0.0,
    decision_seconds: Callable[[float], float] = lambda _: 0.0,
    until: float = math.inf,
    sampler: Sampler | None = None,
    straight: Container[int] = (),
    ledger: Ledger | None = None,
    examine: Examine = lambda _: Examination(),
    watch: Callable[[Search], None] = lambda _: None,
    more: Callable[[Leg, int], Mapping[str, float]] = lambda leg, epoch: {},
) -> Outcome:  # fmt: skip
    """Run a search as Ray would, as fast as the decisions can be made.

    Args:
        run: what to search; its sampler and pruner are the real ones.
        curves: gives the duration and the value of each epoch.
        slots: number of workers.
        start_seconds: seconds until a worker takes its first trial.
        leg_seconds: seconds between two legs on a worker.
        pause_seconds: seconds from the end of an epoch until it is saved and reported and the next may begin.
        decision_seconds: seconds for which choosing a leg keeps the driver, given the CPU seconds that it really took.
        until: time in seconds at which the simulation stops.
        sampler: samples in place of the run's own.
        straight: numbers of trials that pause at no rung.
        ledger: what the search begins with, in memory; nothing by default.
        examine: computes what is known of a configuration before it is trained.
        watch: called with the search after each epoch, when its result is stored.
        more: gives what the record of an epoch has besides the objective.
    """
    run = replace(run, sampler=sampler or run.sampler)
    search = _Search(run, ledger or empty_ledger(run), space, examine=examine, events=Silent())
    search.straight = straight
    pace = leg_seconds, pause_seconds, decision_seconds
    workers = _Workers(search, curves, slots=slots, pace=pace, watch=watch, more=more)
    workers.work(start_seconds, until=until)
    return workers.outcome(start_seconds)


def empty_ledger(run: Run) -> Ledger:
    """The ledger of a search that has not begun, in memory."""
    storage = InMemoryStorage()
    optuna.create_study(study_name=run.name, storage=storage, direction=run.direction)
    return Ledger(storage, run)


class _Workers:
    """Simulated workers on a common clock, which train the legs that the search hands out."""

    def __init__(
        self,
        search: "_Search",
        curves: Curves,
        *,
        slots: int,
        pace: tuple[float, float, Callable[[float], float]],
        watch: Callable[[Search], None],
        more: Callable[[Leg, int], Mapping[str, float]],
    ) -> None:
        """
        Args:
            pace: seconds between two legs, after an epoch, and for a decision; as `simulate` takes them.
            watch: called after each epoch.
            more: as `simulate` takes it.
        """
        self._search, self._curves, self._slots = search, curves, slots
        self._watch, self._more = watch, more
        self._leg_seconds, self._pause_seconds, self._decision_seconds = pace
        self._agenda: list[tuple[float, int, Leg, int]] = []  # time, tie-breaker, leg, epoch that is finished then
        self._driver, self._order = 0.0, itertools.count()
        """Time at which the driver is free again; numbers for the legs."""
        self._busy, self._moments = 0.0, list[tuple[float, int, int]]()

    def work(self, start: float, *, until: float) -> None:
        """Train from `start` on, until nothing is left to do or the time is up."""
        free = [start] * self._slots
        while True:
            for moment in free:
                if self._num_taken() >= self._slots or not self._take_leg(moment):
                    break
            if not self._agenda:
                break
            now, number, leg, epoch = heapq.heappop(self._agenda)
            if now > until:
                break
            self._finish_epoch(now, number, leg, epoch)
            free = [now] * (self._slots - self._num_taken())  # a result may give work to slots that had none
        self._search.end()

    def _num_taken(self) -> int:
        return sum(leg.workers for _, _, leg, _ in self._agenda)

    def _take_leg(self, moment: float) -> bool:
        """Ask the driver for a leg; False if there is none."""
        number, began = next(self._order), time.process_time()
        leg = self._search.next_leg(str(number))
        if leg is None:
            return False
        self._driver = max(moment, self._driver) + self._decision_seconds(time.process_time() - began)
        epoch = leg.reported + 1
        finished = self._driver + self._leg_seconds + self._curves.seconds(leg, epoch)
        heapq.heappush(self._agenda, (finished, number, leg, epoch))
        return True

    def _finish_epoch(self, now: float, number: int, leg: Leg, epoch: int) -> None:
        """Report the epoch to the search, which decides whether the leg continues."""
        self._busy += self._curves.seconds(leg, epoch)
        self._moments.append((now, leg.trial, epoch))
        result = _result(self._search.run, epoch, self._curves.value(leg, epoch), self._more(leg, epoch))
        if self._search.on_result(str(number), result):
            finished = now + self._pause_seconds + self._curves.seconds(leg, epoch + 1)
            heapq.heappush(self._agenda, (finished, number, leg, epoch + 1))
        else:
            self._search.end_leg(str(number), lost=False)
        self._watch(self._search)

    def outcome(self, start: float) -> Outcome:
        """The result, up to now."""
        moments = self._moments
        last = moments[-1][0] if moments else start
        trials = self._search.trials
        return Outcome(seconds=last, busy_seconds=self._busy, num_epochs=len(moments), trials=trials, moments=moments)


class _Search(Search):
    straight: Container[int] = ()

    def _is_compared(self, trial: FrozenTrial) -> bool:
        return super()._is_compared(trial) and trial.number not in self.straight


def _result(run: Run, epoch: int, value: float, more: Mapping[str, float]) -> EpochResult:
    if math.isnan(value):
        return EpochResult(failure=f"epoch {epoch}: {run.metric} is {value}", failure_kind="diverged")
    return EpochResult(record={"epoch": epoch, run.metric: value, **more})


class Silent:
    """Events that go nowhere."""

    def started(self, trial: FrozenTrial) -> None: ...
    def epoch(self, trial: FrozenTrial, record: dict[str, Any]) -> None: ...
    def paused(self, trial: FrozenTrial) -> None: ...
    def ended(self, trial: FrozenTrial) -> None: ...
    def steered(self, request: Request) -> None: ...
    def foreseen(self, expected: Expected) -> None: ...
    def notice(self, text: str) -> None: ...
