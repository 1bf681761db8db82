"""Ray Tune's scheduler, which asks the search: each result is stored, then the leg continues or stops."""

import json
from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.execution.leaving import LEAVES
from search.scheduling.messages import EpochResult
from search.scheduling.search import Search


class StudyScheduler(FIFOScheduler):
    """Continues or stops a leg as the search decides."""

    def __init__(
        self,
        search: Search,
        *,
        put_back: Callable[[str], None] = lambda leg_id: None,
        on_lost: Callable[[Trial], None] = lambda trial: None,
        place: Callable[[int], Any] | None = None,
    ) -> None:
        """
        Args:
            put_back: called with a leg that fails before it has begun.
            on_lost: called with a leg that has lost its last worker, before its trial fails.
            place: what Ray reserves for this number of workers; None if configurations do not decide it.
        """
        super().__init__()
        self._search, self._put_back, self._on_lost, self._place = search, put_back, on_lost, place

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Reserve what the workers of the leg need; Ray keeps processes for the next leg that needs the same."""
        if self._place is not None:
            trial.update_resources(self._place(trial.config["workers"]))

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """None, so that Ray starts pending legs in their order.

        If this named a leg whose worker is still starting, Ray would give that leg the next idle worker and kill the
        starting one; with short legs a second worker would never come up.
        """
        return None

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Put back a leg that has not begun: Ray retries a lost worker, but not if it is lost before the leg begins."""
        if trial.status == Trial.PENDING:
            self._put_back(trial.trial_id)
        else:
            self._on_lost(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """CONTINUE, or STOP to end the leg: the trial has ended, pauses at a rung or leaves its node, and keeps its
        checkpoint."""
        try:
            goes_on = self._search.on_result(trial.trial_id, EpochResult(**json.loads(result["said"])))
        except Exception as error:
            self._search.fatal = error
            goes_on = False
        goes_on = goes_on and not result.get(LEAVES)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP
