"""Ray Tune's searcher as a view on the study: `suggest` is ask, `on_trial_complete` ends a leg."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ray.tune.search import Searcher

from search.scheduling.search import Search

MAX_PUT_BACK = 100
"""In one use of the search; more is no mishap."""


class StudySearcher(Searcher):
    """Hands out legs of study trials, one for each free slot.

    An exception inside a callback would be logged by Ray and turned into one failed trial; it is kept as the search's
    `fatal` instead, and stops everything.
    """

    def __init__(self, search: Search, *, slots: Callable[[], int]) -> None:
        """
        Args:
            slots: how many legs there may be at once, now.
        """
        super().__init__(metric=search.run.metric, mode="max" if search.run.objective.maximize else "min")
        self._search = search
        self._slots = slots
        self._put_back: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next leg as a Ray configuration; None while all slots are busy or must wait; FINISHED at the end."""
        try:
            if len(self._search.live) < self._slots():
                leg = self._search.next_leg(trial_id)
                if leg is not None:
                    return asdict(leg)
            return Searcher.FINISHED if self._search.finished else None
        except Exception as error:
            self._search.fatal = error
            return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The leg is over; without a result its worker was lost for good."""
        try:
            self._search.end_leg(trial_id, lost=error and trial_id not in self._put_back)
        except Exception as problem:
            self._search.fatal = problem

    def put_back(self, trial_id: str) -> None:
        """The leg never began, and is about to be told as an error: its trial is handed out again."""
        if len(self._put_back) < MAX_PUT_BACK:
            self._put_back.add(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the only durable state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resumed search reads the study."""
