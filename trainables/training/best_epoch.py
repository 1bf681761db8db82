"""A training that keeps the weights of its best epoch, with a value from rows that did not choose the epoch.

The validation rows are split into five parts. For each part, the other four choose an epoch by their curve, averaged
over the last few epochs, and the network of that epoch predicts the part. The value is that of all these predictions:
every row is predicted by a network that it had no part in choosing. With a split by groups, each group is in one part.
The weights that are kept are those of the epoch that all rows choose together.
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.data.dataset import Dataset
from trainables.data.divide import deal_groups
from trainables.models.backbone import learnt
from trainables.trainable import KEPT_EPOCH, VALUE_NOW, Keep
from trainables.training import metrics
from trainables.training.config import TrainConfig
from trainables.training.share import Share
from trainables.training.training import Training

PARTS = 5
WINDOW_SHARE = 0.1
"""Share of the budget over which a curve is averaged before its best epoch is chosen."""


def split_in_parts(y: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """The part of each row, int64 (N,): five neighbours in the order of the targets are in different parts.

    Args:
        y: labels or targets (N,).
        groups: number of each row's group (N,), if rows of a group are alike: each group stays in one part.
    """
    random = np.random.default_rng(0x4A1F)
    if groups is not None and len(np.unique(groups)) > 1:
        return deal_groups(groups, y, PARTS, random)
    order = np.lexsort((random.random(len(y)), y))
    blocks = [random.permutation(PARTS) for _ in range(-(-len(y) // PARTS))]
    parts = np.empty(len(y), np.int64)
    parts[order] = np.concatenate(blocks)[: len(y)]
    return parts


def averaged(curve: list[float], *, window: int) -> float:
    """The mean of the last values of a curve."""
    last = curve[-window:]
    return sum(last) / len(last)


def best_epoch(curve: list[float], *, window: int, maximize: bool) -> int:
    """The epoch, from 1, at which the averaged curve is best; of equal ones the last."""
    sign = 1 if maximize else -1
    found = [sign * averaged(curve[:end], window=window) for end in range(1, len(curve) + 1)]
    return max(range(1, len(curve) + 1), key=lambda epoch: (found[epoch - 1], epoch))


def begin_training(
    config: TrainConfig,
    dataset: Dataset,
    *,
    epochs: int,
    seed: int,
    device: str = "cpu",
    keep: Keep | None = None,
    share: Share | None = None,
) -> "Training | BestEpoch":
    """A training that has not begun; it keeps its last epoch if `keep` is None."""
    training = Training(config, dataset, epochs=epochs, seed=seed, device=device, share=share)
    return training if keep is None else BestEpoch(training, keep)


class BestEpoch:
    """A `Training` that keeps its best epoch; in each record the metric is that of the epoch kept so far."""

    def __init__(self, training: Training, keep: Keep) -> None:
        """
        Args:
            training: that has not begun, with at least two validation rows.
            keep: the metric that chooses.
        """
        self.training, self._keep = training, keep
        dataset = training.dataset
        groups = None if dataset.groups is None else dataset.groups[len(dataset.train) :]
        parts = torch.from_numpy(split_in_parts(dataset.validation.y.cpu().numpy(), groups)).to(training.device)
        self._parts = [parts == part for part in range(PARTS) if (parts == part).any()]
        self._window = max(1, round(WINDOW_SHARE * training.epochs))
        self._curves: list[list[float]] = [[] for _ in range(len(self._parts) + 1)]
        """Of all rows without each part, and of all rows."""
        self._best: list[float | None] = [None] * len(self._curves)
        self._chosen = [0] * len(self._curves)
        self._outputs: Tensor | None = None
        self._weights: dict[str, Tensor] = {}

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self.training.epoch

    @property
    def kept_epoch(self) -> int:
        """The epoch whose weights are kept; 0 before the first."""
        return self._chosen[-1]

    @property
    def curve(self) -> list[float]:
        """The metric on all validation rows after each epoch."""
        return self._curves[-1]

    def best_epoch_of(self, curve: list[float]) -> int:
        """The epoch that this training would keep if its curve were this one."""
        return best_epoch(curve, window=self._window, maximize=self._keep.maximize)

    def run_epoch(self) -> dict[str, Any]:
        """Train one more epoch; the metric of the record is the value of the epoch kept so far."""
        return self.after(self.training.run_epoch())

    def after(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The record of the epoch that `training` has just finished, with the value of the epoch kept so far."""
        outputs = self.training.outputs
        assert outputs is not None
        if self._outputs is None:
            self._outputs = outputs.clone()
        for number, part in enumerate(self._parts):
            if self._is_best(number, self._measure(outputs, ~part)):
                self._outputs[part] = outputs[part]
        now = float(record[self._keep.metric])
        if self._is_best(-1, now):
            self._weights = copy.deepcopy(dict(learnt(self.training.kept).state_dict()))
        return {**record, self._keep.metric: self._measure(self._outputs), VALUE_NOW: now, KEPT_EPOCH: self.kept_epoch}

    def predict(self, x: Tensor) -> Tensor:
        """The outputs of the network of the kept epoch; see `Training.predict`."""
        network = learnt(self.training.kept)
        current = copy.deepcopy(network.state_dict())
        network.load_state_dict(self._weights)
        try:
            return self.training.predict(x)
        finally:
            network.load_state_dict(current)

    def state(self) -> dict[str, Any]:
        """A copy of everything that the next epoch depends on, and the weights of the kept epoch."""
        found = {"curves": self._curves, "best": self._best, "chosen": self._chosen, "outputs": self._outputs}
        return {"training": self.training.state(), **copy.deepcopy(found), "weights": copy.deepcopy(self._weights)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken from such a training of the same configuration, budget and seed.

        Raises:
            ValueError: the state belongs to another training.
        """
        if "training" not in state or any(len(curve) != state["training"]["epoch"] for curve in state["curves"]):
            raise ValueError("the checkpoint is from a training that keeps its last epoch, or its curves are damaged")
        self.training.restore(state["training"])
        found = copy.deepcopy(dict(state))
        self._curves, self._best, self._chosen = found["curves"], found["best"], found["chosen"]
        self._weights = found["weights"]
        self._outputs = None if found["outputs"] is None else found["outputs"].to(self.training.device)

    def as_kept(self) -> Training:
        """The training with the weights of the kept epoch, to predict with and to export; it cannot continue."""
        learnt(self.training.kept).load_state_dict(self._weights)
        return self.training

    def _is_best(self, curve: int, value: float) -> bool:
        """Add a value to a curve, and return whether this epoch is the best so far; of equal ones the last."""
        self._curves[curve].append(value)
        found, best = averaged(self._curves[curve], window=self._window), self._best[curve]
        if best is not None and (found < best if self._keep.maximize else found > best):
            return False
        self._best[curve], self._chosen[curve] = found, self.epoch
        return True

    def _measure(self, outputs: Tensor, rows: Tensor | None = None) -> float:
        dataset = self.training.dataset
        y = dataset.validation.y
        outputs, y = (outputs, y) if rows is None else (outputs[rows], y[rows])
        return metrics.measure(dataset.task, outputs, y, metric=self._keep.metric)[self._keep.metric]
