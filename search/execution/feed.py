"""Passes the events of a search to a logger as well: TensorBoard, MLflow or W&B."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from search.execution.loggers import TrialLogger, open_logger
from search.scheduling.messages import Events
from search.storage.expected import Expected
from search.storage.requests import Request
from search.storage.run import Run
from search.storage.trials import is_infeasible

CLOSE_SECONDS = 60
"""How long the end of a search waits for the logger."""


@contextmanager
def logged(run: Run, run_dir: Path, *, events: Events, trials: Sequence[FrozenTrial]) -> Iterator[Events]:
    """Events that reach `events` and the logger of the run, if it has one.

    Args:
        trials: trials that are already in the study; those that the logger does not know are added.
    """
    if run.logger == "none":
        yield events
        return
    feed = LoggerFeed(lambda: open_logger(run.logger, run, run_dir), name=run.logger, events=events)
    feed.catch_up(trials)
    try:
        yield feed
    finally:
        feed.close()


class LoggerFeed:
    """Passes on the events of a search, to the logger in a thread, so that a slow disk or server delays no trial."""

    def __init__(self, make: Callable[[], TrialLogger], *, name: str, events: Events) -> None:
        """
        Args:
            make: opens the logger; called in the thread.
        """
        self._make, self._name, self._events = make, name, events
        self._tasks: queue.SimpleQueue[Callable[[TrialLogger], None] | None] = queue.SimpleQueue()
        self._last: dict[int, int] = {}
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._work, name="logger", daemon=True)
        self._thread.start()

    def catch_up(self, trials: Sequence[FrozenTrial]) -> None:
        """Log the trials of a study that is continued, unless the logger knows them."""
        for trial in trials:
            if is_infeasible(trial):
                continue
            history = trial.user_attrs.get("history", [])
            self._last[trial.number] = len(history)
            self._tasks.put(lambda logger, trial=trial, history=history: _log_all(logger, trial, history))

    def started(self, trial: FrozenTrial) -> None:
        self._events.started(trial)
        self._put(lambda logger: logger.begin(trial))

    def epoch(self, trial: FrozenTrial, record: dict[str, Any]) -> None:
        self._events.epoch(trial, record)
        if record["epoch"] > self._last.get(trial.number, 0):  # after a lost worker epochs are reported again
            self._last[trial.number] = record["epoch"]
            self._put(lambda logger: logger.log(trial, record))

    def paused(self, trial: FrozenTrial) -> None:
        self._events.paused(trial)
        self._put(lambda logger: logger.rest(trial))

    def ended(self, trial: FrozenTrial) -> None:
        self._events.ended(trial)
        self._put(lambda logger: logger.end(trial))

    def steered(self, request: Request) -> None:
        self._events.steered(request)

    def foreseen(self, expected: Expected) -> None:
        self._events.foreseen(expected)

    def notice(self, text: str) -> None:
        self._events.notice(text)

    def close(self) -> None:
        """Wait until all is logged."""
        self._tasks.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._events.notice(
                f"{self._name} is still busy after {CLOSE_SECONDS} s; the search does not wait for it any longer"
            )
        self._say_problem()

    def _put(self, task: Callable[[TrialLogger], None]) -> None:
        if self._thread.is_alive():
            self._tasks.put(task)
        self._say_problem()

    def _say_problem(self) -> None:
        """Print that the logger failed, in the thread of the search, which handles errors of printing."""
        problem, self._problem = self._problem, None
        if problem is not None:
            self._events.notice(f"{self._name} failed and is switched off ({problem}); the search continues")

    def _work(self) -> None:
        try:
            logger = self._make()
            while (task := self._tasks.get()) is not None:
                task(logger)
            logger.close()
        except Exception as error:  # the packages may raise anything, and the search continues
            self._problem = " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _log_all(logger: TrialLogger, trial: FrozenTrial, history: Sequence[dict[str, Any]]) -> None:
    if logger.knows(trial.number):
        return
    logger.begin(trial)
    for record in history:
        logger.log(trial, record)
    (logger.end if trial.state.is_finished() else logger.rest)(trial)
