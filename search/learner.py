"""The sampler `curves` at work: a surrogate of the study as it grows says what a free slot is best used for.

Everything depends on the study, the seeds and the trials that have a worker alone.
"""

import hashlib
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from search.halving import epochs_reached
from search.proposal import Identity, Proposal, propose, spread
from search.sampling import NUM_STARTUP_TRIALS
from search.study import Run

if TYPE_CHECKING:
    from search.ledger import Ledger
    from search.surrogate import Surrogate, Tried

MAX_WEIGHED = 100
"""Paused trials, the best, that are weighed against a new configuration."""
Suggest = Callable[[Any], Any]


class Learner:
    """Learns from a ledger; of other samplers' studies nothing."""

    def __init__(self, ledger: "Ledger", run: Run) -> None:
        self._ledger = ledger
        self._run = run
        self.tried: set[Identity] = set()
        """Configurations that are not new."""
        self._surrogate: Surrogate | None = None
        self._is_fitted = False
        self._proposed: dict[tuple[int, frozenset[int]], Proposal] = {}

    def forget(self) -> None:
        """What was learnt is out of date: the ledger holds more, or a trial has failed."""
        self._is_fitted = False

    def configuration(self, suggest: Suggest, *, number: int, live: Collection[int]) -> dict[str, Any]:
        """The parameters of the trial of this number, which is the next; empty where a space has nothing new, or fails.

        Args:
            live: numbers of the trials that have a worker.
        """
        if self._fit() is None:
            trial_seed = derive_seed(self._run.seed, number)
            return spread(suggest, number=number, seed=self._run.seed, trial_seed=trial_seed)
        return self._propose(suggest, number=number, live=live).params

    def promotion(self, suggest: Suggest, paused: Collection[int], *, number: int, live: Collection[int]) -> int | None:
        """The paused trial to continue, or None when a new configuration is the better use of a slot.

        What decides is by how much each is expected to exceed the best at the full budget, for every epoch that it has
        still to go. Without a surrogate the best of each rung go on.

        Args:
            number: of the next trial.
            live: numbers of the trials that have a worker, but for one of `paused`.
        """
        surrogate = self._fit()
        if surrogate is None:
            return self._ledger.ladder.promotion(paused)
        weighed = [n for n in self._ledger.ladder.pooled() if n in paused][:MAX_WEIGHED]
        if not weighed:
            return None
        improvements = surrogate.improvement(self._as_tried(weighed), self._as_tried(sorted(live)))
        gains = improvements / [self._run.epochs - epochs_reached(self._ledger.trial(n)) for n in weighed]
        best = int(gains.argmax())
        new = self._propose(suggest, number=number, live=live).improvement / self._run.epochs
        return weighed[best] if gains[best] >= new else None

    def _propose(self, suggest: Suggest, *, number: int, live: Collection[int]) -> Proposal:
        """Asked again about the same study, it computes nothing."""
        surrogate, asked = self._fit(), (number, frozenset(live))
        assert surrogate is not None
        if asked not in self._proposed:
            self._proposed[asked] = propose(
                suggest,
                surrogate,
                tried=self.tried,
                running=self._as_tried(sorted(live)),
                trial_seed=derive_seed(self._run.seed, number),
            )
        return self._proposed[asked]

    def _as_tried(self, numbers: Sequence[int]) -> "list[Tried]":
        return [(self._ledger.trial(number).params, number) for number in numbers]

    def _fit(self) -> "Surrogate | None":
        """The model of all that the ledger holds; None while too few trials have reached the first rung."""
        from search.surrogate import Surrogate  # imports SciPy, which other samplers need not wait for

        if not self._is_fitted:
            enough = self._run.sampler == "curves" and self._ledger.ladder.num_ranked >= NUM_STARTUP_TRIALS
            rungs, maximize = self._run.rungs, self._run.direction == "maximize"
            self._surrogate = Surrogate(self._ledger.trials, rungs=rungs, maximize=maximize) if enough else None
            self._proposed, self._is_fitted = {}, True
        return self._surrogate


def derive_seed(seed: int, number: int) -> int:
    """The seed of one trial: 32 bits that depend on the run's seed and the trial's number alone."""
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "little")
