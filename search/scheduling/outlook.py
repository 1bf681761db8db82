"""What more training is expected to gain: ends a search by --until-gain, and is shown while it runs and at its end.

The rule depends only on the study, so that a search that was killed and resumed ends at the same epoch. It looks a
fixed number of epochs ahead, because time is not repeatable; only what is shown is in hours.
"""

import math
import time
from contextlib import suppress
from dataclasses import replace

from optuna.trial import FrozenTrial

from search.process.faults import fault_point
from search.scheduling.messages import Events
from search.scheduling.proposals import Proposals
from search.scheduling.steering import Steering
from search.storage.database import AWAY
from search.storage.expected import HOUR_SECONDS, OUTLOOK, VERDICT, Expected, Verdict, content, verdict_in
from search.storage.presence import StudyLostError
from search.storage.run import Run
from search.storage.trials import epochs_reached, is_enqueued
from spaces.asking import Suggest

FULL_TRAININGS = 10
"""The epochs that are looked ahead, in full trainings."""
QUIET_SECONDS = 60.0
"""Least time between two estimates that are shown: one takes about 15 ms."""


class Outlook:
    """Judges whether a search is worth continuing."""

    def __init__(self, proposals: Proposals, run: Run, suggest: Suggest, steering: Steering) -> None:
        self._proposals, self._run, self._suggest, self._steering = proposals, run, suggest, steering
        self._ledger = proposals.ledger
        self._began = self._shown = time.monotonic()
        self._epochs = 0
        self._least = 0.0 if run.questions else run.until_gain or 0.0  # `rungwise ask` questions an ended search
        stored = verdict_in(self._ledger.noted(VERDICT)) if self._least else None
        self.verdict = stored if stored and self._holds(stored) else None
        """Why no new trial begins, if the expected gain is too small."""

    def _holds(self, stored: Verdict) -> bool:
        """Whether it still holds: no smaller --until-gain, more --trials or other ranges were asked for."""
        same = stored.changes == len(self._run.replaced)
        return same and stored.gain < self._least and self._run.trials <= stored.trials

    def _is_asked_for_more(self) -> bool:
        """Whether a planned trial or one that a person has added is not finished, or an enqueued one not compared."""
        ledger, planned = self._ledger, len(self._run.plan)
        if len(ledger.made) < planned or ledger.waiting:
            return True
        open_trials = [trial for trial in ledger.own_trials if not trial.state.is_finished()]
        return any(self._is_asked_for(trial) and not self._steering.holds(trial.number) for trial in open_trials)

    def _is_asked_for(self, trial: FrozenTrial) -> bool:
        """Whether the trial is to be trained to the end, or to the first rung if it was enqueued."""
        if self._ledger.is_asked_for(trial):
            return True
        return is_enqueued(trial) and epochs_reached(trial) < self._run.rungs[0]

    @property
    def all_begun(self) -> bool:
        """Whether no trial is left to sample: as many as were asked for have begun, or all that the space has."""
        return self._steering.all_asked or self._proposals.exhausted(self._suggest)

    @property
    def is_ending(self) -> bool:
        """Whether no new trial will be sampled, and the search trains only what it has begun."""
        return self.verdict is not None or self.all_begun

    @property
    def horizon(self) -> int:
        """Epochs that are looked ahead."""
        return FULL_TRAININGS * self._run.epochs

    def judge(self, events: Events) -> None:
        """Let no new trial begin if the expected gain is below --until-gain; this is stored and said once.

        Planned and enqueued trials, and those that a person has added, are trained first.
        """
        if not self._least or self.is_ending or self._is_asked_for_more():
            return
        gain = self._proposals.gain(self._suggest, epochs=self.horizon)
        if gain is None or gain >= self._least:
            return
        known = {"epochs": self.horizon, "trained": self._trained, "trials": self._run.trials}
        self.verdict = Verdict(gain=gain, below=self._least, changes=len(self._run.replaced), **known)
        self._ledger.note(VERDICT, content(self.verdict))
        fault_point("judged", 1)
        events.notice(f"no new trial begins: {self.verdict.text(self._run.metric)}")

    def after_epoch(self, events: Events, *, seconds: float) -> None:
        """Count an epoch, and show what another hour is expected to gain, at most once a minute.

        Args:
            seconds: that the epoch took; the time before the first epoch does not count for the pace of the search.
        """
        now = time.monotonic()
        if not self._epochs:
            self._began = max(self._began, now - seconds)
        self._epochs += 1
        if now - self._shown >= QUIET_SECONDS:
            self._shown = now
            if (found := self.expected()) is not None:
                events.foreseen(found)

    def expected(self) -> Expected | None:
        """What another hour is expected to gain; None where the model has no estimate.

        Where the search trains more in an hour than the rule looks ahead, it is the shorter time that this takes.
        """
        elapsed = max(time.monotonic() - self._began, 1e-3)
        if not self._epochs or self._proposals.exhausted(self._suggest):
            return None
        hourly = HOUR_SECONDS * self._epochs / elapsed
        epochs = max(1, min(math.ceil(hourly), self.horizon))
        gain = self._proposals.gain(self._suggest, epochs=epochs)
        if gain is None:
            return None
        seconds = HOUR_SECONDS if hourly <= self.horizon else HOUR_SECONDS * epochs / hourly
        return Expected(gain=gain, epochs=epochs, seconds=seconds)

    @property
    def _trained(self) -> int:
        """Epochs of all trials."""
        return sum(len(trial.intermediate_values) for trial in self._ledger.own_trials)

    def keep(self, *, is_over: bool) -> Expected | None:
        """Store what is known now in the study, for the report, and return the last estimate.

        Args:
            is_over: whether the search has trained all that it would train.
        """
        found = self.expected()
        found = found and replace(found, trained=self._trained)
        with suppress(*AWAY, StudyLostError):  # the search has ended, and its result does not depend on this
            if self.verdict is not None and is_over:
                self._ledger.note(VERDICT, content(replace(self.verdict, ended=self._trained)))
            if found is not None:
                self._ledger.note(OUTLOOK, content(found))
        return found
