"""Ray Tune's scheduler as a view on the study: a result is a report, and the study says whether to go on."""

import json
from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

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
    ) -> None:
        """
        Args:
            put_back: told of a leg that fails before it has begun.
            on_lost: called with a leg that has lost its last worker, before its trial fails.
        """
        super().__init__()
        self._search, self._put_back, self._on_lost = search, put_back, on_lost

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Nothing: Ray starts what is pending by itself, in order.

        Were a leg named here whose worker is still starting, Ray would give it the next warm worker and kill the one
        that is starting; with short legs a second worker would never come up.
        """
        return None

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Ray retries a lost worker, but not a leg whose warm worker went away while it took the leg up."""
        if trial.status == Trial.PENDING:
            self._put_back(trial.trial_id)
        else:
            self._on_lost(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP ends the leg: the trial is over, or pauses at a rung and keeps its checkpoint."""
        try:
            goes_on = self._search.on_result(trial.trial_id, EpochResult(**json.loads(result["said"])))
        except Exception as error:
            self._search.fatal = error
            goes_on = False
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP
