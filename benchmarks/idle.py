"""Searches whose trials train nothing, for what the search itself costs: all is real but the training."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console

from search import prepare
from search.cluster import Resources, ray_session
from search.console import SearchConsole
from search.launch import CheckpointKeeper, make_examiner, run_legs
from search.ledger import Ledger
from search.messages import EpochResult
from search.options import Options
from search.search import Search
from search.session import Session
from search.study import resume_study


@contextmanager
def idle_search(run_dir: Path, options: Options) -> Iterator[Search]:
    """A search in a new run folder with all that belongs to it but the workers; what it says goes nowhere.

    Args:
        run_dir: does not exist yet.
        options: of `search.run`.
    """
    session = Session.open(options, given=())
    run = replace(session.run, name=run_dir.name)
    prepare.new_run(run_dir, run)
    ledger = Ledger(resume_study(run_dir, run), run)
    keeper = CheckpointKeeper(run_dir / "checkpoints", ledger, run)
    with open(os.devnull, "w") as nowhere:
        events = SearchConsole(run, console=Console(file=nowhere, highlight=False))
        examine = make_examiner(run, session.dataset)
        yield Search(run, ledger, session.space, examine=examine, events=events, on_end=keeper.clean)


def run_on_ray(search: Search, *, slots: int, epoch_seconds: float) -> None:
    """Run the search on a private Ray with this many workers, which sleep through their epochs."""
    from search.watch import ProgressWatch

    resources = Resources(slots=slots, cpus_per_trial=1, gpus_per_trial=0.0)
    settings = {"metric": search.run.metric, "epoch_seconds": epoch_seconds}
    worker = tune.with_resources(tune.with_parameters(IdleWorker, **settings), {"cpu": 1})
    with ray_session(resources, address=None, debug=False, on_lost=_end) as scratch:
        watch = ProgressWatch(search, resources=resources, timeout=None, say=print)
        run_legs(search, worker, slots=lambda: slots, scratch=scratch, callbacks=[watch], max_failures=2, debug=False)
    if search.fatal is not None:
        raise search.fatal
    search.end()


def _end(error: Exception) -> None:
    sys.exit(str(error))


class IdleWorker(tune.Trainable):
    """Sleeps for as long as an epoch is said to take; imports no torch and writes no checkpoint."""

    def setup(self, config: dict[str, Any], *, metric: str, epoch_seconds: float) -> None:
        self._metric, self._seconds = metric, epoch_seconds
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._leg, self._epoch = new_config, new_config["reported"]
        return True

    def step(self) -> dict[str, Any]:
        started = time.time()
        time.sleep(self._seconds)
        self._epoch += 1
        record = make_record(self._leg["trial"], self._epoch, metric=self._metric, started=started)
        return {"said": json.dumps(asdict(EpochResult(record=record))), self._metric: record[self._metric]}


def make_record(trial: int, epoch: int, *, metric: str, started: float) -> dict[str, Any]:
    """What real training would store of an epoch; its value rises with the epochs and differs by trial."""
    value = 1 - 1 / (1 + epoch + (trial * 7919 % 1000) / 250)
    place = {"node": socket.gethostname(), "worker": f"{socket.gethostname()}:{os.getpid()}", "device": "cpu"}
    numbers = {"epoch": epoch, "train_loss": 1 - value, "loss": 1 - value, metric: value}
    return numbers | {"seconds": time.time() - started, "images_per_second": 1e4, "started": started} | place
