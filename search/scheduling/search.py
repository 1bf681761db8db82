"""The search itself: what a free slot does next, and what follows from a finished epoch.

The study alone answers both; `searcher.py` and `scheduler.py` pass the answers to Ray. A Ray trial is one *leg* of a
study trial, which may pause at a rung or lose its worker, and is continued by another leg from its checkpoint.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.scheduling.errors import HopelessSearchError, StorageError
from search.scheduling.examination import Examination
from search.scheduling.losses import TIMEOUT, Losses
from search.scheduling.messages import EpochResult, Events, Leg
from search.scheduling.proposals import Proposals
from search.storage.ledger import Ledger
from search.storage.logs import TrialLogs
from search.storage.run import Run
from search.storage.trials import epochs_reached
from spaces.space import Space

MAX_INFEASIBLE_DRAWS = 1000
MAX_ALIKE_FAILURES = 5
_NEVER_STOPS = "asha", "none"  # one pauses trials, the other trains them to the end


class Search:
    """Decides. Holds nothing that the study does not hold, but for which trials have a worker now."""

    def __init__(
        self,
        run: Run,
        ledger: Ledger,
        space: Space,
        *,
        examine: Callable[[Any], Examination],
        events: Events,
        on_end: Callable[[FrozenTrial], None] = lambda trial: None,
        deadline: float | None = None,
        logs: TrialLogs | None = None,
    ) -> None:
        """
        Args:
            examine: weights, multiply-adds and exceeded bounds of a configuration, before it is trained.
            on_end: called with each trial that reached a final state (to clear its checkpoints).
            deadline: `time.monotonic()` after which no epoch is begun.
            logs: gets what trials print, and their tracebacks.
        """
        self.run, self.ledger, self.proposals = run, ledger, Proposals(ledger, run)
        self.stop_requested, self.deadline = False, deadline
        self.fatal: Exception | None = None
        self._space, self._examine = space, examine
        self._events, self._on_end, self._logs = events, on_end, logs or TrialLogs(None)
        self._live: dict[str, int] = {}
        self._alike: Counter[str] = Counter()
        self.losses = Losses()
        self._paused: set[int] = set()
        """Trials that wait at a rung."""
        self._interrupted: set[int] = set()
        """Trials that lost their worker between rungs, with this process or with an earlier one."""
        self._settle()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Ray pickles its own state for a restore that is never made: of a search it gets nothing."""
        return object, ()

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials of this search: all but the infeasible draws, and what other programs put into the study."""
        return [t for t in self.ledger.own_trials if "infeasible" not in t.user_attrs]

    @property
    def live(self) -> set[int]:
        """Numbers of the trials that have a worker now."""
        return set(self._live.values())

    @property
    def out_of_time(self) -> bool:
        """Whether the time budget is used up."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def request_stop(self) -> None:
        """Begin no further epoch."""
        self.stop_requested = True

    @property
    def stopping(self) -> bool:
        """Whether no further epoch is to be begun."""
        self.fatal = self.fatal or self.ledger.lost
        return self.stop_requested or self.fatal is not None or self.out_of_time

    def _settle(self) -> None:
        """Decide what a crash left undecided: an epoch was stored, but not yet what follows from it."""
        for trial in [t for t in self.trials if t.state == TrialState.RUNNING]:
            if epochs_reached(trial) >= self.run.epochs:
                self._finish(trial.number, TrialState.COMPLETE)
            elif trial.intermediate_values and self._is_stopped(trial.number):
                self._finish(trial.number, TrialState.PRUNED)
            else:
                self._rest(trial)

    def _rest(self, trial: FrozenTrial) -> None:
        """The trial is unfinished and has no worker."""
        at_rung = self._is_compared(trial) and epochs_reached(trial) in self.run.rungs[:-1]
        (self._paused if at_rung else self._interrupted).add(trial.number)

    def _is_compared(self, trial: FrozenTrial) -> bool:
        """Whether the trial pauses at the rungs; what is planned does not, so that there soon is a finished trial."""
        return self.run.pruner == "asha" and trial.number not in self.ledger.made[: len(self.run.plan)]

    # Which trial gets the next free slot?

    def next_leg(self, leg_id: str) -> Leg | None:
        """Give the free slot work: an interrupted trial, else a promotion, else a new configuration."""
        number = self._next_trial()
        if number is None:
            return None
        self._live[leg_id] = number
        self._paused.discard(number)
        self._interrupted.discard(number)
        trial = self.ledger.trial(number)
        self._events.started(trial)
        seed, reported = trial.user_attrs["seed"], len(trial.intermediate_values)
        return Leg(trial=number, params=trial.params, seed=seed, reported=reported, decided=self._decided(trial))

    def _decided(self, trial: FrozenTrial) -> tuple[int, ...] | None:
        """The epochs after which `_goes_on` can say no, while the search is not stopping; None for all."""
        if self._is_compared(trial):
            return self.run.rungs
        return () if self.run.pruner in _NEVER_STOPS else None

    def _next_trial(self) -> int | None:
        if self.stopping:
            return None
        if self._interrupted:
            return min(self._interrupted)
        self.ledger.catch_up()
        for said in self.proposals.newly_given_up():
            self._events.notice(said)
        if (enqueued := self._enqueued_trial()) is not None:
            return enqueued
        promoted = self._promotion()
        return self._new_trial() if promoted is None else promoted

    def _promotion(self, *, pausing: int | None = None) -> int | None:
        """The paused trial that goes on now, if any.

        Args:
            pausing: one of them that has a worker still.
        """
        if self.run.pruner != "asha":
            return None
        if self.ledger.num_asked < self.run.trials:
            return self.proposals.promotion(self._space.suggest, self._paused, live=self.live - {pausing})
        over = self._is_over(but=pausing)
        return self.proposals.last_promotion(self._paused, live=self.live - {pausing}, is_over=over)

    def _is_over(self, *, but: int | None = None) -> bool:
        """Whether nothing runs, apart from the trial `but`, and nothing new will start."""
        return not (self.live - {but} or self.ledger.waiting) and self.ledger.num_asked >= self.run.trials

    def _enqueued_trial(self) -> int | None:
        """The next trial that another program has enqueued and that can be trained."""
        while self.ledger.waiting:
            number, said = self.proposals.take_up(self._space.suggest, self._examine, live=self.live)
            if said:
                self._events.notice(said)
            if self.ledger.trial(number).state == TrialState.RUNNING:
                return number
        return None

    def _new_trial(self) -> int | None:
        if self.ledger.num_asked >= self.run.trials:
            return None
        if len(self.ledger.made) < len(self.run.plan):
            return self.proposals.planned(self._space, self._examine)
        for _ in range(MAX_INFEASIBLE_DRAWS):
            if (number := self.proposals.sample(self._space.suggest, self._examine, live=self.live)) is not None:
                return number
        broken = f"{MAX_INFEASIBLE_DRAWS} sampled configurations in a row exceed --max-weights or --max-macs"
        raise ValueError(f"{broken}; raise the limits, or restrict the space")

    @property
    def finished(self) -> bool:
        """Whether nothing is left to start, now or after the live legs have ended."""
        return self.stopping or (self._is_over() and self._next_trial() is None)

    # What follows from a finished epoch?

    def on_result(self, leg_id: str, result: EpochResult) -> bool:
        """Store what the worker says; return whether it goes on with the same trial."""
        number = self._live[leg_id]
        for notice in result.notices:
            self._events.notice(notice)
        self._logs.append(number, result.log)
        if result.failure_kind == "storage":
            self.fatal = StorageError(result.failure)
            return False
        if result.record is None:
            self._fail(number, result.failure or "the worker returned no result", kind=result.failure_kind or "error")
            return False
        return self._on_epoch(number, result.record)

    def _on_epoch(self, number: int, record: dict[str, Any]) -> bool:
        epoch, value = int(record["epoch"]), record.get(self.run.metric)
        if not isinstance(value, int | float) or math.isnan(value):
            self._fail(number, f"metric {self.run.metric!r} must be a number, got {value!r}", kind="error")
            return False
        known = epochs_reached(self.ledger.trial(number)) >= epoch
        if self.ledger.report(number, epoch=epoch, value=float(value), record=record):
            self.proposals.on_epoch(number, epoch=epoch, value=float(value))
        self._events.epoch(self.ledger.trial(number), record)
        if epoch >= self.run.epochs:
            self._finish(number, TrialState.COMPLETE)
            return False
        if known:  # said again after a lost worker: decided long ago
            return True
        return self._goes_on(number, epoch)

    def _goes_on(self, number: int, epoch: int) -> bool:
        if self.stopping:
            return False
        if self._is_compared(self.ledger.trial(number)):
            return epoch not in self.run.rungs or self._is_promoted_at_once(number)
        if self._is_stopped(number):
            self._finish(number, TrialState.PRUNED)
            return False
        return True

    def _is_promoted_at_once(self, number: int) -> bool:
        self._paused.add(number)
        promoted = self._promotion(pausing=number)
        self._paused.discard(number)
        return promoted == number

    def _is_stopped(self, number: int) -> bool:
        return self.run.pruner not in _NEVER_STOPS and self.proposals.should_prune(number)

    def end_leg(self, leg_id: str, *, lost: bool) -> None:
        """The worker is free. A lost one has been retried as often as allowed, so its trial has failed."""
        number = self._live.pop(leg_id)
        trial = self.ledger.trial(number)
        kind, cause = self.losses.take(leg_id)
        if trial.state != TrialState.RUNNING:
            return
        if not lost:
            self._rest(trial)
            self._events.paused(trial)
        elif self.fatal is None:  # what breaks the search as a whole is no failure of the trial
            self._logs.lost(number, cause)
            self._fail(number, cause, kind=kind)

    def lost_worker(self, leg_id: str, *, kind: str, reason: str) -> None:
        """The leg's worker is gone; another will go on where this one's last checkpoint is."""
        self.losses.note(leg_id, kind=kind, reason=reason)
        number, epoch = self.position(leg_id)
        said = f"lost its worker ({reason}); another worker continues after epoch {epoch}"
        self._logs.lost(number, said)
        self._events.notice(f"trial {number} {said}")

    def timed_out(self, leg_id: str, *, seconds: float) -> None:
        """The leg's worker is about to be ended: its trial would hang again, and has failed."""
        reason = f"no progress for {seconds:g} s in epoch {self.position(leg_id)[1] + 1} (--trial-timeout)"
        self.losses.note(leg_id, kind=TIMEOUT, reason=reason)

    def position(self, leg_id: str) -> tuple[int, int]:
        """Number of the leg's trial, and the last epoch of it that is in the study."""
        number = self._live[leg_id]
        return number, epochs_reached(self.ledger.trial(number))

    def end(self) -> None:
        """Close a search that has run its course: the trials that still wait for a promotion are told PRUNED."""
        if self.stopping:
            return
        for trial in [t for t in self.trials if t.state == TrialState.RUNNING]:
            self._finish(trial.number, TrialState.PRUNED)

    def _fail(self, number: int, cause: str, *, kind: str) -> None:
        cause = cause.strip().splitlines()[0][:500] if cause.strip() else "no message"
        self._finish(number, TrialState.FAIL, failure=cause, failure_kind=kind)
        self._alike[cause] += 1
        if self._alike[cause] >= MAX_ALIKE_FAILURES and not any(t.intermediate_values for t in self.trials):
            seen = f"; see {log}" if (log := self._logs.find(number)) else ""
            self.fatal = HopelessSearchError(
                f"the first {MAX_ALIKE_FAILURES} trials all failed with the same error: {cause}{seen}"
            )

    def _finish(self, number: int, state: TrialState, **attrs: Any) -> None:
        self.ledger.finish(number, state, **attrs)
        if state == TrialState.FAIL:
            self.proposals.on_failure(number)
        self._on_end(trial := self.ledger.trial(number))
        self._events.ended(trial)
