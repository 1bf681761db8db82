"""A worker that sleeps through its epochs. It imports neither torch nor a driver, so that dozens fit on one machine."""

import json
import os
import socket
import time
from dataclasses import asdict
from typing import Any

from ray import tune

from search.execution.warm import spare_notebook
from search.scheduling.messages import EpochResult


class IdleWorker(tune.Trainable):
    """Sleeps for as long as an epoch is said to take, and writes no checkpoint.

    With a spread of 0.5 an epoch takes half to one and a half times as long, evenly spread over the trials.
    """

    def setup(self, config: dict[str, Any], *, metric: str, epoch_seconds: float, spread: float) -> None:
        self._metric, self._seconds, self._spread = metric, epoch_seconds, spread
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._leg, self._epoch = new_config, new_config["reported"]
        return True

    def step(self) -> dict[str, Any]:
        started = time.time()
        time.sleep(self._seconds * (1 + self._spread * (self._leg["trial"] * 619 % 1000 / 500 - 1)))
        self._epoch += 1
        record = make_record(self._leg["trial"], self._epoch, metric=self._metric, started=started)
        return {"said": json.dumps(asdict(EpochResult(record=record))), self._metric: record[self._metric]}


def make_record(trial: int, epoch: int, *, metric: str, started: float) -> dict[str, Any]:
    """What real training would store of an epoch; its value rises with the epochs and differs by trial."""
    value = 1 - 1 / (1 + epoch + (trial * 7919 % 1000) / 250)
    place = {"node": socket.gethostname(), "worker": f"{socket.gethostname()}:{os.getpid()}", "device": "cpu"}
    numbers = {"epoch": epoch, "train_loss": 1 - value, "loss": 1 - value, metric: value}
    return numbers | {"seconds": time.time() - started, "images_per_second": 1e4, "started": started} | place


def warm_up() -> None:
    """Called in each process of a private Ray before it is a worker: it has imported this then."""
    spare_notebook()
