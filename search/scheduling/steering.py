"""Applies what a person asks of a running search: to pause, resume, stop or clone a trial, to add some, or to end.

Each request is answered once: its effect is written into its answer, and everything else follows from the answers. So
a search that is killed at any point and resumed does what it had answered, and answers what waited.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from search.process.text import counted
from search.scheduling.baseline import stated_baseline
from search.scheduling.configurations import completed, parsed
from search.scheduling.constraints import Examination, Examine
from search.storage.ledger import Ledger
from search.storage.requests import BY_REQUEST, CLONED_FROM, Request, ends, now, num_asked_for
from search.storage.run import Run
from search.storage.trials import epochs_reached, is_infeasible, last_epoch
from spaces.guarded import reason_of
from spaces.space import Space

_Found = tuple[dict[str, Any], Mapping[str, BaseDistribution], Examination]
"""A configuration, the ranges of its parameters, and what is known of it."""
_ENDED = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}


class Steering:
    """The answered requests of a search, and what follows from them."""

    def __init__(self, ledger: Ledger, run: Run, space: Space, *, examine: Examine, most_slots: int | None) -> None:
        """
        Args:
            examine: computes what is known of a configuration before it is trained.
            most_slots: how many trials can run at once here; None for any number.
        """
        self._ledger, self._run, self._space, self._examine = ledger, run, space, examine
        self._most_slots = most_slots
        self.trials = run.trials
        """How many trials begin, besides those that requests add."""
        self.slots: int | None = None
        """How many trials a person wants to run at once."""
        self._pauses: dict[int, int] = {}
        self._stops: dict[int, int] = {}
        """Trial -> the last epoch before it is paused, or stopped."""
        self._num_answered, self._is_finishing = 0, False
        for request in ledger.requests():
            self._follow(request)

    @property
    def all_asked(self) -> bool:
        """Whether no new trial will begin, except those that a person asks for."""
        return self.num_open == 0

    @property
    def num_open(self) -> int:
        """How many trials are still to begin: the rest of --trials, but at least the rest of the plan. Trials that are
        requested or enqueued take the places of sampled ones alone."""
        planned = 0 if self._is_finishing else min(len(self._run.plan), self._run.trials) - len(self._ledger.made)
        return max(self.trials - self._ledger.num_asked, planned, 0)

    def holds(self, number: int) -> bool:
        """Whether a person has paused this trial, and it has reached the epoch from which that counts."""
        return number in self._pauses and epochs_reached(self._ledger.trial(number)) >= self._pauses[number]

    def released(self, numbers: Collection[int]) -> Collection[int]:
        """Those of these trials that were neither paused nor stopped by a request."""
        if not self._pauses and not self._stops:
            return numbers
        return {number for number in numbers if not self.holds(number) and not self.stops(number)}

    def stops(self, number: int) -> bool:
        """Whether a person has stopped this trial, and it has reached the epoch from which that counts."""
        return number in self._stops and epochs_reached(self._ledger.trial(number)) >= self._stops[number]

    @property
    def stopped(self) -> list[int]:
        """The trials that a person has stopped and that can end now."""
        return [n for n in self._stops if self._ledger.trial(n).state == TrialState.RUNNING and self.stops(n)]

    def answer_all(self, *, live: Collection[int], deadline: float | None) -> list[Request]:
        """Answer the requests that wait, in their order, and store the answers.

        Args:
            live: numbers of the trials that have a worker.
            deadline: `time.monotonic()` at which the time budget ends; None without one.

        Returns:
            The requests with their answers.
        """
        answered = []
        for request in self._ledger.requests():
            if request.state != "waiting":
                continue
            numbered = replace(request, number=self._num_answered + 1, answered=now())
            try:
                answer = replace(self._decide(numbered, live, deadline), state="accepted")
            except ValueError as error:
                answer = replace(numbered, state="refused", answer=" ".join(str(error).split())[:500])
            self._ledger.answer(answer)
            self._follow(answer)
            answered.append(answer)
        return answered

    def _follow(self, request: Request) -> None:
        """Take over what an answered request has changed."""
        self._num_answered = max(self._num_answered, request.number or 0)
        if request.state != "accepted":
            return
        number = -1 if request.trial is None else request.trial
        match request.verb:
            case "pause":
                self._pauses[number] = request.epoch or 0
            case "resume":
                self._pauses.pop(number, None)
            case "stop":
                self._stops[number] = request.epoch or 0
                self._pauses.pop(number, None)
            case "slots":
                self.slots = request.slots
            case "finish":
                self.trials = num_asked_for(self._run, [request])
                self._is_finishing = self._is_finishing or ends(self._run, request)

    def _decide(self, request: Request, live: Collection[int], deadline: float | None) -> Request:
        """The request with its effect and the answer; what it begins is stored.

        Raises:
            ValueError: why it is refused.
        """
        match request.verb:
            case "pause" | "stop":
                return self._end_at_epoch(request, live)
            case "resume":
                return self._resume(request)
            case "clone" | "add":
                return self._begin(request)
            case "slots":
                return self._set_slots(request)
            case "budget":
                return _set_budget(request, deadline)
            case "finish":
                return self._end(request)

    def _trial(self, number: int | None) -> FrozenTrial:
        """A trial of this search.

        Raises:
            ValueError: there is none with this number.
        """
        known = [trial.number for trial in self._ledger.own_trials if not is_infeasible(trial)]
        if number in known:
            return self._ledger.trial(number)  # type: ignore[arg-type]
        there = f"its trials have numbers from {known[0]} to {known[-1]}" if known else "no trial has begun"
        raise ValueError(f"the search has no trial {number}; {there}")

    def _running(self, number: int | None) -> FrozenTrial:
        """A trial of this search that has not ended.

        Raises:
            ValueError: there is none with this number.
        """
        trial = self._trial(number)
        if trial.state != TrialState.RUNNING:
            raise ValueError(
                f"trial {number} has {_ENDED[trial.state]}; only a trial that has not ended can be changed"
            )
        if number in self._stops:
            raise ValueError(f"trial {number} is stopped already, after epoch {self._stops[trial.number]}")
        return trial

    def _end_at_epoch(self, request: Request, live: Collection[int]) -> Request:
        """pause, stop: after the epoch that is being trained, or at once."""
        trial = self._running(request.trial)
        if request.verb == "pause" and trial.number in self._pauses:
            raise ValueError(f"trial {trial.number} is paused already")
        epoch, last = epochs_reached(trial) + (trial.number in live), last_epoch(trial, of=self._run.epochs)
        if epoch >= last:
            raise ValueError(f"trial {trial.number} is in its last epoch, and ends with it")
        what = "paused" if request.verb == "pause" else "stopped"
        said = f"trial {trial.number} is {what}"
        if trial.number in live:
            said += f" after epoch {epoch}, which is being trained"
        return replace(request, epoch=epoch, answer=said)

    def _resume(self, request: Request) -> Request:
        trial = self._running(request.trial)
        if trial.number not in self._pauses:
            raise ValueError(
                f"trial {trial.number} is not paused by a request; a trial that waits at a rung is continued by the"
                " search if it is good enough"
            )
        return replace(request, answer=f"trial {trial.number} may continue; the search decides when")

    def _begin(self, request: Request) -> Request:
        """clone, add: store the trials, each once, also if the search was killed between two of them."""
        found = [self._configuration(request, params) for params in request.configurations or ({},)]
        begun = {trial.user_attrs.get(BY_REQUEST): trial.number for trial in self._ledger.own_trials}
        copied = {} if request.trial is None else {CLONED_FROM: request.trial}
        numbers = []
        for index, (params, ranges, examination) in enumerate(found):
            name, tag = f"{request.key}/{index}", f"ctl-{request.number}" + f"/{index + 1}" * (len(found) > 1)
            number = begun.get(name)
            if number is None:
                attrs = {"tag": tag, BY_REQUEST: name, **copied, **examination.attrs}
                number = self._ledger.add(params, ranges, **attrs)
            numbers.append(number)
        names = ", ".join(map(str, numbers))
        said = f"trial {names} begins" if len(numbers) == 1 else f"trials {names} begin"
        copy = "" if request.trial is None else f", a copy of trial {request.trial} that is trained from the start"
        return replace(request, trials=tuple(numbers), answer=f"{said} with the next free slot{copy}")

    def _configuration(self, request: Request, params: Mapping[str, Any]) -> _Found:
        """A configuration that is asked for, complete, with what is known of it.

        Raises:
            ValueError: the space does not have it, or it exceeds a bound.
        """
        try:
            whole = self._completed(request, params)
            ranges = self._space.distributions(whole)
            examination = self._examine(self._space.decode(whole))
        except Exception as error:  # the code of a space may refuse a combination with any error
            raise ValueError(reason_of(error)) from error
        if examination.infeasible:
            raise ValueError(examination.infeasible)
        return whole, ranges, examination

    def _completed(self, request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
        if request.verb == "clone":
            base: Mapping[str, Any] = self._trial(request.trial).params
            params = parsed(request.changes, space=self._space)
        else:
            base = stated_baseline(self._run, self._space)
        return completed(params, base=base, run=self._run, space=self._space)

    def _set_slots(self, request: Request) -> Request:
        wanted, most = request.slots or 0, self._most_slots
        if wanted < 1 or (most is not None and wanted > most):
            rule = "at least 1" if most is None else f"in [1, {most}], since the search began with room for {most}"
            more = "; stop it and resume with --concurrent for more" if wanted > 1 else ""
            raise ValueError(f"slots must be {rule}, got {wanted}{more}")
        said = f"at most {counted(wanted, 'trial')} will run at once; others give way after their epoch"
        return replace(request, answer=said)

    def _end(self, request: Request) -> Request:
        """finish: as if --trials had been reached."""
        limit = min(self._ledger.num_asked, self._run.trials)
        said = f"no further trial is sampled, and the best of the {counted(limit, 'trial')} are trained to the end"
        return replace(request, limit=limit, of=self._run.trials, answer=said)


def moved(deadline: float | None, request: Request) -> float | None:
    """The time limit after an answered request, which only an accepted `budget` moves.

    It belongs to the process, like --time-budget: a resumed search has the limit that it is given.

    Args:
        deadline: `time.monotonic()`; None without a limit.
    """
    if request.verb != "budget" or request.state != "accepted":
        return deadline
    now = time.monotonic()
    begin = max(deadline, now) if request.adds and deadline is not None else now
    return None if request.minutes is None else begin + 60 * request.minutes


def _set_budget(request: Request, deadline: float | None) -> Request:
    """budget: the answer."""
    end = moved(deadline, replace(request, state="accepted"))
    if end is None:
        return replace(request, answer="the search has no time limit")
    left = (end - time.monotonic()) / 60
    return replace(request, answer=f"the search ends in {left:.0f} min if it has not finished by then")
