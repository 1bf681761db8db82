"""Ray Tune's searcher, which asks the search: `suggest` gets the next leg, `on_trial_complete` ends one."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ray.tune.search import Searcher

from search.scheduling.search import Search
from search.storage.trials import num_workers

MAX_PUT_BACK = 100
"""Legs that are handed out again in one use of the search; further failures are not accidents."""


class StudySearcher(Searcher):
    """Hands out legs of study trials, one for each free slot.

    Ray would log an exception raised here and count it as one failed trial. It is stored as `Search.fatal` instead,
    which stops the search.
    """

    def __init__(self, search: Search, *, slots: Callable[[], int], by_configuration: bool = False) -> None:
        """
        Args:
            slots: returns how many legs may run at once now.
            by_configuration: a leg takes a slot for each worker that its configuration asks for.
        """
        super().__init__(metric=search.run.metric, mode="max" if search.run.objective.maximize else "min")
        self._search = search
        self._slots, self._by_configuration = slots, by_configuration
        self._put_back: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next leg as a Ray configuration; None while no slot is free or no leg is ready; FINISHED at the end."""
        try:
            wanted = self._search.steering.slots
            if self._num_taken() < (self._slots() if wanted is None else min(wanted, self._slots())):
                leg = self._search.next_leg(trial_id)
                if leg is not None:
                    return asdict(leg)
            return Searcher.FINISHED if self._search.finished else None
        except Exception as error:
            self._search.fatal = error
            return Searcher.FINISHED

    def _num_taken(self) -> int:
        """Slots that are taken. They may be more than there are: a leg of several workers then waits for the last of
        them, and no other leg is handed out before it has begun."""
        live = self._search.live
        if not self._by_configuration:
            return len(live)
        return sum(num_workers(self._search.ledger.trial(number)) for number in live)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """End the leg; without a result its worker was lost for the last time."""
        try:
            self._search.end_leg(trial_id, lost=error and trial_id not in self._put_back)
        except Exception as problem:
            self._search.fatal = problem

    def put_back(self, trial_id: str) -> None:
        """Hand out the trial of this leg again: the leg never began, and Ray is about to report it as failed."""
        if len(self._put_back) < MAX_PUT_BACK:
            self._put_back.add(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the only durable state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resumed search reads the study."""
