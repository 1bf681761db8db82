"""Searches whose trials train nothing, to measure the cost of the search itself; all else is real."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import psutil
from ray import tune
from rich.console import Console

from benchmarks import sleeper
from search.execution.launch import run_legs
from search.runtime.cluster import RaySession
from search.runtime.resources import Resources
from search.scheduling.checkpoints import CheckpointKeeper
from search.scheduling.constraints import make_examiner
from search.scheduling.search import Search
from search.session.console import SearchConsole
from search.session.options import Options
from search.session.session import Session
from search.storage.ledger import Ledger
from search.storage.study import new_run, resume_study

_PATIENT = {"RAY_worker_register_timeout_seconds": "600"}
"""Ray gives up a process that has not come up within a minute, which takes longer where dozens share two cores."""


@contextmanager
def idle_search(run_dir: Path, options: Options) -> Iterator[Search]:
    """A search in a new run folder with all that belongs to it but the workers; what it says goes nowhere.

    Args:
        run_dir: does not exist yet.
        options: of `search.run`.
    """
    session = Session.open(options, given=())
    run = replace(session.run, name=run_dir.name)
    new_run(run_dir, run)
    ledger = Ledger(resume_study(run_dir, run), run)
    keeper = CheckpointKeeper(run_dir / "checkpoints", ledger, run)
    with open(os.devnull, "w") as nowhere:
        events = SearchConsole(run, console=Console(file=nowhere, highlight=False))
        examine = make_examiner(run, session.dataset)
        yield Search(run, ledger, session.space, examine=examine, events=events, on_end=keeper.clean)


def run_on_ray(
    search: Search,
    *,
    slots: int,
    epoch_seconds: float,
    spread: float = 0.0,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Run the search on a private Ray with this many workers, which sleep through their epochs.

    Args:
        spread: by how much of that the epochs of a trial differ from those of the others.
        on_ready: called when Ray has a process for each worker, just before the search is let loose.
    """
    from search.execution.watch import ProgressWatch

    resources = Resources(slots=slots, cpus_per_trial=1, gpus_per_trial=0.0)
    settings = {"metric": search.run.metric, "epoch_seconds": epoch_seconds, "spread": spread}
    worker = tune.with_resources(tune.with_parameters(sleeper.IdleWorker, **settings), {"cpu": 1})
    with (
        mock.patch("multiprocessing.cpu_count", return_value=slots),
        RaySession(
            resources,
            address=None,
            debug=False,
            on_lost=_end,
            variables=_PATIENT,
            warm_up=f"{sleeper.__name__}.warm_up",
        ).up() as scratch,
    ):
        _wait_for_processes(slots)
        on_ready()
        watch = ProgressWatch(search, resources=resources, timeout=None, say=print)
        run_legs(search, worker, slots=lambda: slots, scratch=scratch, watch=watch, max_failures=2, debug=False)
    if search.fatal is not None:
        raise search.fatal
    search.end()


def _wait_for_processes(slots: int) -> None:
    """Until Ray has so many workers to spare and they import no more."""
    used = -1.0
    while True:
        time.sleep(1)
        spare = [p for p in psutil.Process().children(recursive=True) if p.name().startswith("ray::IDLE")]
        before, used = used, sum(sum(process.cpu_times()[:2]) for process in spare)
        if len(spare) >= slots and used - before < 0.02 * slots:
            return


def _end(error: Exception) -> None:
    sys.exit(str(error))
