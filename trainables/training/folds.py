"""Trains one configuration on each fold of small data; a metric is the mean over the folds, with a standard error."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainables.data.dataset import Dataset
from trainables.trainable import KEPT_EPOCH, STANDARD_ERROR, Diverged, Keep, OutOfMemory
from trainables.training.best_epoch import BestEpoch, begin_training
from trainables.training.config import TrainConfig
from trainables.training.share import Share

_OF_TRAINING = ("epoch", "train_loss", "lr", "images_per_second", "micro_batch", KEPT_EPOCH)
"""Numbers in a record that are not measured on validation rows; so are those in seconds."""


class FoldedTraining:
    """One training for each fold, all at the same epoch."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        *,
        epochs: int,
        seed: int,
        device: str = "cpu",
        keep: Keep | None = None,
        share: Share | None = None,
    ) -> None:
        """Build the networks; nothing is trained yet.

        Args:
            config: the same for each fold.
            dataset: with folds.
            epochs: full budget, over which the schedule runs.
            seed: decides everything random; each fold has a seed of its own, drawn from this one.
            device: device to train on.
            keep: how each fold chooses the epoch that it keeps.
            share: that of this worker, if several train each network together.
        """
        form: dict[str, Any] = {"epochs": epochs, "device": device, "keep": keep, "share": share}
        self.trainings: list[Any] = [
            begin_training(config, dataset.fold(number), seed=_fold_seed(seed, number), **form)
            for number in range(len(dataset.folds))
        ]

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self.trainings[0].epoch

    def run_epoch(self) -> dict[str, Any]:
        """Train one more epoch on each fold, and return the record of all.

        Raises:
            Diverged: the loss or a metric of a fold is not finite.
            OutOfMemory: the device cannot hold a single row.
        """
        records = []
        for number, training in enumerate(self.trainings, start=1):
            try:
                records.append(training.run_epoch())
            except (Diverged, OutOfMemory) as error:
                raise type(error)(f"fold {number} of {len(self.trainings)}: {error}") from None
        return {**summarize(records), **self._kept_epoch()}

    def _kept_epoch(self) -> dict[str, int]:
        """The epoch at which the mean of the curves of all folds is best, if folds keep their best epochs.

        The epochs that single folds keep scatter over the flat end of a curve, and their mean is too early.
        """
        kept = [training for training in self.trainings if isinstance(training, BestEpoch)]
        if not kept:
            return {}
        curve = np.mean([training.curve for training in kept], axis=0)
        return {KEPT_EPOCH: kept[0].best_epoch_of(curve.tolist())}

    def state(self) -> dict[str, Any]:
        """The state of each fold."""
        return {"folds": [training.state() for training in self.trainings]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken.

        Raises:
            ValueError: the state belongs to another training, or the folds are not at the same epoch.
        """
        stored = state.get("folds")
        if not isinstance(stored, list) or len(stored) != len(self.trainings):
            raise ValueError(f"the checkpoint is not from a training on {len(self.trainings)} folds")
        for training, one in zip(self.trainings, stored, strict=True):
            training.restore(one)
        if len({training.epoch for training in self.trainings}) > 1:
            raise ValueError("the folds of the checkpoint are not at the same epoch")


def summarize(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of an epoch on all folds: means of numbers, sums of seconds, and the standard errors of metrics.

    The standard error of a mean over K folds is the standard deviation between the folds divided by sqrt(K).
    """
    whole: dict[str, Any] = {}
    for name, first in records[0].items():
        values = [record[name] for record in records]
        if name == "epoch" or isinstance(first, str | bool) or first is None:
            whole[name] = first
        elif name == "seconds" or name.endswith("_seconds"):
            whole[name] = sum(values)
        else:
            middle = float(np.mean(values))
            whole[name] = round(middle) if isinstance(first, int) else middle
            if name not in _OF_TRAINING:
                whole[name + STANDARD_ERROR] = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return whole


def _fold_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number, 0xF01D)).generate_state(1, np.uint32)[0])
