"""Drives the worker of a trial in this process."""

import json

from search.execution.worker import TrialWorker
from search.scheduling.messages import EpochResult


def step(worker: TrialWorker) -> EpochResult:
    return EpochResult(**json.loads(worker.step()["said"]))


def numbers(result: EpochResult) -> dict[str, float]:
    assert result.record is not None
    return {name: result.record[name] for name in ("epoch", "train_loss", "accuracy", "loss")}
