"""The search itself: decides which trial gets a free slot, and what follows from a finished epoch.

The study alone decides; `execution/searcher.py` and `execution/scheduler.py` pass the decisions to Ray. A Ray trial is
one *leg* of a trial: if it pauses at a rung or loses its worker, another leg continues it from its checkpoint.
"""

import math
import time
from collections.abc import Callable
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from search.scheduling.constraints import Examine, broken_metric, make_price
from search.scheduling.errors import StorageError
from search.scheduling.losses import TIMEOUT, AlikeFailures, Losses
from search.scheduling.messages import EpochResult, Events, Leg
from search.scheduling.outlook import Outlook
from search.scheduling.proposals import NEVER_STOPS, Proposals
from search.scheduling.stacks import Stacks
from search.scheduling.steering import Steering, moved
from search.storage.durable import NumberTakenError
from search.storage.ledger import Ledger
from search.storage.logs import TrialLogs
from search.storage.run import Run
from search.storage.trials import end_attrs, epochs_reached, is_infeasible, last_epoch, num_workers, stored_latency
from spaces.space import Space


class Search:
    """Makes all decisions of a search. Its only state besides the study is which trials have a worker now."""

    def __init__(
        self, run: Run, ledger: Ledger, space: Space, *, examine: Examine, events: Events,
        on_end: Callable[[FrozenTrial], None] = lambda trial: None,
        deadline: float | None = None, most_slots: int | None = None, logs: TrialLogs | None = None,
        stacks: Stacks = Stacks(),  # noqa: B008 - it is frozen
    ) -> None:  # fmt: skip
        """
        Args:
            examine: computes weights, multiply-adds and exceeded bounds of a configuration before it is trained.
            on_end: called with each trial that reached a final state (to remove its checkpoints).
            deadline: `time.monotonic()` after which no epoch is begun.
            most_slots: how many trials can run at once; None for any number.
            logs: stores what trials print, and their tracebacks.
            stacks: which planned trials are trained together.
        """
        price = make_price(run, space, examine) if run.second is not None else None
        self.run, self.ledger, self.proposals = run, ledger, Proposals(ledger, run, price=price)
        self.stop_requested, self.deadline = False, deadline
        self.fatal: Exception | None = None
        self._space, self._examine, self._stacks = space, examine, stacks
        self.steering = Steering(ledger, run, space, examine=examine, most_slots=most_slots)
        self.outlook = Outlook(self.proposals, run, space.suggest, self.steering)
        self._events, self._on_end, self._logs = events, on_end, logs or TrialLogs(None)
        self._live: dict[str, int] = {}
        self._alike, self.losses = AlikeFailures(), Losses()
        self._paused: set[int] = set()
        """Trials that wait at a rung."""
        self._interrupted: set[int] = set()
        """Trials that lost their worker between rungs, with this process or with an earlier one; or wait to begin."""
        self._settle()
        self.steer()

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        """Nothing to pickle: Ray pickles its state for a restore that never happens."""
        return object, ()

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials of this search, without infeasible configurations and trials that other programs added."""
        return [t for t in self.ledger.own_trials if not is_infeasible(t)]

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
        """Make the decisions that a crash prevented: an epoch was stored, but not what follows from it."""
        for trial in [t for t in self.trials if t.state == TrialState.RUNNING]:
            if epochs_reached(trial) >= last_epoch(trial, of=self.run.epochs):
                self._finish(trial.number, TrialState.COMPLETE)
            elif "failure" in trial.user_attrs:  # plain mode, and earlier releases, store the state after it
                self._finish(trial.number, TrialState.FAIL)
            elif trial.intermediate_values and self.proposals.should_prune(trial.number):
                self._finish(trial.number, TrialState.PRUNED)
            else:
                self._rest(trial)

    def _rest(self, trial: FrozenTrial) -> None:
        """Note a trial that is unfinished and has no worker, as paused or interrupted."""
        at_rung = self._is_compared(trial) and epochs_reached(trial) in self.run.rungs[:-1]
        (self._paused if at_rung else self._interrupted).add(trial.number)

    def _is_compared(self, trial: FrozenTrial) -> bool:
        """Whether the trial pauses at the rungs; those that a person asked for, and the baseline, do not."""
        return self.run.pruner == "asha" and not self.ledger.is_asked_for(trial)

    def steer(self) -> None:
        """Apply the requests that have been sent since the last call."""
        for request in self.steering.answer_all(live=self.live, deadline=self.deadline):
            self._interrupted.update(request.trials)
            self.deadline = moved(self.deadline, request)
            self._events.steered(request)
        for number in set(self.steering.stopped) - self.live:
            self._finish(number, TrialState.PRUNED)

    def next_leg(self, leg_id: str) -> Leg | None:
        """The leg for a free slot: an interrupted trial, else a promotion, else a new configuration; None to wait."""
        number = self._next_trial()
        if number is None:
            return None
        self._live[leg_id] = number
        self._paused.discard(number)
        self._interrupted.discard(number)
        trial = self.ledger.trial(number)
        self._events.started(trial)
        seed, reported = trial.user_attrs["seed"], len(trial.intermediate_values)
        decided, mates = self._decided(trial), self._stacks.mates(number, self.ledger)
        given: dict[str, Any] = {"decided": decided, "mates": mates, "latency": stored_latency(trial, self.run)}
        return Leg(trial=number, params=trial.params, seed=seed, reported=reported, workers=num_workers(trial), **given)

    def _decided(self, trial: FrozenTrial) -> tuple[int, ...] | None:
        """The epochs after which `_goes_on` can be False while the search is not stopping; None for all."""
        if self._is_compared(trial):
            return self.run.rungs
        return () if self.run.pruner in NEVER_STOPS else None

    def _next_trial(self) -> int | None:
        if self.stopping:
            return None
        if (ready := self._stacks.ready(self.steering.released(self._interrupted), self.live)) is not None:
            return ready
        self.ledger.catch_up()
        for said in self.proposals.news(self._space.suggest):
            self._events.notice(said)
        begun = self.proposals.begin_waiting(self._space, self._examine, live=self.live, say=self._events.notice)
        if begun is not None:
            return begun
        self.outlook.judge(self._events)
        promoted = self._promotion()
        try:
            return self._new_trial() if promoted is None else promoted
        except NumberTakenError:  # by a trial that was enqueued meanwhile, and which comes first
            return self._next_trial()

    def _promotion(self, *, pausing: int | None = None) -> int | None:
        """The paused trial that continues now, if any.

        Args:
            pausing: one of the paused trials that still has its worker.
        """
        if self.run.pruner != "asha":
            return None
        paused, live = self.steering.released(self._paused), self.live - {pausing}
        if not self.outlook.is_ending:
            return self.proposals.promotion(self._space.suggest, paused, live=live)
        return self.proposals.ending.promotion(paused, live=live, is_over=self._is_over(but=pausing))

    def _is_over(self, *, but: int | None = None) -> bool:
        """Whether nothing runs, except the trial `but`, and no new trial will start."""
        return not (self.live - {but} or self.ledger.waiting) and self.outlook.is_ending

    def _new_trial(self) -> int | None:
        while len(self.ledger.made) < len(self.run.plan) and not self.outlook.is_ending:
            self._interrupted.add(self.proposals.planned(self._space, self._examine))
            if (ready := self._stacks.ready(self._interrupted, self.live)) is not None:
                return ready
        if not self.outlook.is_ending:
            return self.proposals.new(self._space, self._examine, live=self.live)
        self._interrupted |= (begun := self.proposals.repeats.begin(self._space, self._examine, live=self.live))
        return next(iter(begun), None)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to start, now or when the running legs have ended."""
        return self.stopping or (self._is_over() and self._next_trial() is None)

    def on_result(self, leg_id: str, result: EpochResult) -> bool:
        """Store the result of a step, and return whether the worker continues with the same trial."""
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
        if broken := broken_metric(record, self.run):
            self._fail(number, broken, kind="error")
            return False
        epoch, value = int(record["epoch"]), float(record[self.run.metric])
        known = epochs_reached(self.ledger.trial(number)) >= epoch
        if self.ledger.report(number, epoch=epoch, value=value, record=record):
            self.proposals.on_epoch(number, epoch=epoch, value=value)
        self._events.epoch(self.ledger.trial(number), record)
        self.outlook.after_epoch(self._events, seconds=float(record.get("seconds", 0.0)))
        if epoch >= last_epoch(self.ledger.trial(number), of=self.run.epochs):
            self._finish(number, TrialState.COMPLETE)
            return False
        if known:  # reported again after a lost worker, and decided before
            return True
        return self._goes_on(number, epoch)

    def _goes_on(self, number: int, epoch: int) -> bool:
        if self.stopping or self._gives_way(number):
            return False
        if self._is_compared(self.ledger.trial(number)):
            return epoch not in self.run.rungs or self._is_promoted_at_once(number)
        if stopped := self.proposals.should_prune(number):
            self._finish(number, TrialState.PRUNED)
        return not stopped

    def _gives_way(self, number: int) -> bool:
        """Whether a person has stopped or paused the trial, or wants fewer at once."""
        if self.steering.stops(number):
            self._finish(number, TrialState.PRUNED)
            return True
        return self.steering.holds(number) or len(self._live) > (self.steering.slots or math.inf)

    def _is_promoted_at_once(self, number: int) -> bool:
        self._paused.add(number)
        self.outlook.judge(self._events)
        promoted = self._promotion(pausing=number)
        self._paused.discard(number)
        return promoted == number

    def end_leg(self, leg_id: str, *, lost: bool) -> None:
        """Free the worker. If it was lost, Ray has retried as often as allowed, so the trial has failed."""
        number = self._live.pop(leg_id)
        trial = self.ledger.trial(number)
        kind, cause = self.losses.take(leg_id)
        if trial.state != TrialState.RUNNING:
            return
        if not lost:
            self._rest(trial)
            self._events.paused(trial)
        elif self.fatal is None:  # an error that ends the search as a whole is no failure of the trial
            self._logs.lost(number, cause)
            self._fail(number, cause, kind=kind)

    def lost_worker(self, leg_id: str, *, kind: str, reason: str) -> None:
        """Note that the leg lost its worker; another one continues from the last checkpoint."""
        self.losses.note(leg_id, kind=kind, reason=reason)
        number, epoch = self.position(leg_id)
        said = f"lost its worker ({reason}); another worker continues after epoch {epoch}"
        self._logs.lost(number, said)
        self._events.notice(f"trial {number} {said}")

    def timed_out(self, leg_id: str, *, seconds: float) -> None:
        """Note that the leg's worker is about to be killed; its trial would hang again, and fails."""
        reason = f"no progress for {seconds:g} s in epoch {self.position(leg_id)[1] + 1} (--trial-timeout)"
        self.losses.note(leg_id, kind=TIMEOUT, reason=reason)

    def position(self, leg_id: str) -> tuple[int, int]:
        """Number of the leg's trial, and its last epoch in the study."""
        number = self._live[leg_id]
        return number, epochs_reached(self.ledger.trial(number))

    def end(self) -> None:
        """End a search that is complete: trials that still wait for a promotion become PRUNED."""
        if self.stopping or self.outlook.verdict is not None:
            return
        for trial in [t for t in self.trials if t.state == TrialState.RUNNING]:
            if not self.steering.holds(trial.number):
                self._finish(trial.number, TrialState.PRUNED)

    def _fail(self, number: int, cause: str, *, kind: str) -> None:
        cause = cause.strip().splitlines()[0][:500] if cause.strip() else "no message"
        self._finish(number, TrialState.FAIL, failure=cause, failure_kind=kind)
        if self._alike.note(cause) and not any(t.intermediate_values for t in self.trials):
            self.fatal = self._alike.hopeless(cause, log=self._logs.find(number))

    def _finish(self, number: int, state: TrialState, **attrs: Any) -> None:
        self.ledger.finish(number, state, **end_attrs(self.ledger.trial(number), self.run), **attrs)
        if state == TrialState.FAIL:
            self.proposals.on_failure(number)
        self._on_end(trial := self.ledger.trial(number))
        self._events.ended(trial)
