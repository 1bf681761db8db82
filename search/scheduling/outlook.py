"""What more training is expected to gain: ends a search by --until-gain, and is shown while it runs and at its end.

The rule depends only on the study, so that a search that was killed and resumed ends at the same epoch. It looks a
fixed number of epochs ahead, because time is not repeatable; only what is shown is in hours.
"""

import math
import time

from search.process.faults import fault_point
from search.scheduling.messages import Events
from search.scheduling.proposals import Proposals
from search.scheduling.steering import Steering
from search.storage.expected import HOUR_SECONDS, OUTLOOK, VERDICT, Expected, Verdict, content, verdict_in
from search.storage.run import Run
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
        stored = verdict_in(self._ledger.noted(VERDICT)) if run.until_gain else None
        self.verdict = stored if stored and self._holds(stored) else None
        """Why the search has ended, if the expected gain is too small."""

    def _holds(self, stored: Verdict) -> bool:
        """Whether it still ends the search: neither a smaller --until-gain nor more --trials was asked for."""
        return stored.gain < (self._run.until_gain or 0) and self._run.trials <= stored.trials

    @property
    def horizon(self) -> int:
        """Epochs that are looked ahead."""
        return FULL_TRAININGS * self._run.epochs

    def judge(self) -> bool:
        """Whether the search ends because its expected gain is below --until-gain; the first time, this is stored.

        Planned and enqueued trials are trained first.
        """
        run = self._run
        if self.verdict is not None or not run.until_gain:
            return self.verdict is not None
        if len(self._ledger.made) < len(run.plan) or self._ledger.waiting:
            return False
        gain = self._proposals.gain(self._suggest, epochs=self.horizon, new=not self._steering.all_asked)
        if gain is None or gain >= run.until_gain:
            return False
        trained = sum(len(trial.intermediate_values) for trial in self._ledger.own_trials)
        self.verdict = Verdict(gain=gain, below=run.until_gain, epochs=self.horizon, trained=trained, trials=run.trials)
        self._ledger.note(VERDICT, content(self.verdict))
        fault_point("judged", 1)
        return True

    def after_epoch(self, events: Events) -> None:
        """Count an epoch, and show what another hour is expected to gain, at most once a minute."""
        self._epochs += 1
        now = time.monotonic()
        if now - self._shown >= QUIET_SECONDS:
            self._shown = now
            if (found := self.expected()) is not None:
                events.foreseen(found)

    def expected(self) -> Expected | None:
        """What another hour is expected to gain; None where the model has no estimate.

        Where the search trains more in an hour than the rule looks ahead, it is the shorter time that this takes.
        """
        elapsed = time.monotonic() - self._began
        if not self._epochs:
            return None
        hourly = HOUR_SECONDS * self._epochs / elapsed
        epochs = max(1, min(math.ceil(hourly), self.horizon))
        gain = self._proposals.gain(self._suggest, epochs=epochs, new=True)
        if gain is None:
            return None
        seconds = HOUR_SECONDS if hourly <= self.horizon else HOUR_SECONDS * epochs / hourly
        return Expected(gain=gain, epochs=epochs, seconds=seconds)

    def keep(self) -> Expected | None:
        """Store the last estimate in the study, for the report, and return it."""
        if (found := self.expected()) is not None:
            self._ledger.note(OUTLOOK, content(found))
        return found
