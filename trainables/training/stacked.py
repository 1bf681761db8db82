"""Trains several seeds of one configuration at once, each to the same bits as a training of its own.

    stack = Stacked([Training(config, dataset, epochs=9, seed=seed) for seed in range(5)])
    records = stack.run_epoch()

Each member remains a training with weights, an optimizer state and checkpoints of its own: it can leave the stack after
any epoch and continue alone, or join one that is at the same epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainables.data.dataset import Dataset
from trainables.models.mlp import MlpConfig
from trainables.models.stacked import ROWS, Stack
from trainables.trainable import Diverged
from trainables.training.best_epoch import BestEpoch
from trainables.training.config import TrainConfig
from trainables.training.device import Clock
from trainables.training.ema import JointAverage
from trainables.training.optim import set_rate
from trainables.training.seeds import torch_seed
from trainables.training.training import Training


def can_stack(config: TrainConfig, dataset: Dataset) -> bool:
    """Whether `Stacked` trains this configuration, on the CPU and one thread, to the same bits as single trainings."""
    if not isinstance(config.model, MlpConfig) or config.model.neighbours or config.model.members or dataset.folds:
        return False
    return min(config.batch_size, len(dataset.train)) % ROWS == 0


class Stacked:
    """Trainings of one configuration with different seeds, at the same epoch, for which `can_stack` holds."""

    def __init__(self, members: Sequence[Training | BestEpoch]) -> None:
        self._members = members
        self._trainings = [_training(member) for member in members]
        self._first = self._trainings[0]
        models = [training.model for training in self._trainings]
        self._stack = Stack(models)
        self._weights = [list(model.parameters()) for model in models]
        self._optimizer = self._first.config.optimizer.build(nn.ModuleList(models))
        for training in self._trainings:
            for weight in (weight for group in training.optimizer.param_groups for weight in group["params"]):
                self._optimizer.state[weight] = training.optimizer.state[weight]  # one dictionary for both
        averages = [training.average for training in self._trainings if training.average]
        self._average = JointAverage(averages, models) if averages else None

    def run_epoch(self) -> list[dict[str, Any] | Diverged]:
        """Train one more epoch.

        Returns:
            For each member its record, with its share of the seconds; or how it has diverged, and it is then of no
            further use.

        Raises:
            ValueError: the full budget has been trained.
        """
        clock = Clock(self._first.device)
        numbers = [training.begin_epoch() for training in self._trainings]
        losses, lr = self._train(numbers[0], clock)
        spent = {part: seconds / len(losses) for part, seconds in clock.seconds().items()}
        return [_end_epoch(member, loss, lr, spent) for member, loss in zip(self._members, losses, strict=True)]

    def _train(self, number: int, clock: Clock) -> tuple[list[float], float]:
        """Train on all rows once; return the mean loss of each member, and the last learning rate."""
        clock.mark("input")
        for generator, training in zip(self._stack.generators, self._trainings, strict=True):
            generator.manual_seed(torch_seed(training.seed, number))
        order = torch.stack([training.batches.rows(number) for training in self._trainings], dim=1)  # (steps, K, B)
        clock.mark("compute")
        config, num_steps, lr = self._first.config, len(order), 0.0
        totals = torch.zeros(len(self._trainings))
        for step, rows in enumerate(order, start=(number - 1) * num_steps):
            lr = config.optimizer.lr * config.schedule.factor(step, self._first.epochs * num_steps)
            set_rate(self._optimizer, lr)
            totals += self._step(rows)
            if self._average:
                self._average.update(step)
        for training in self._trainings:
            set_rate(training.optimizer, lr)  # part of its state
        return [total / num_steps for total in totals.tolist()], lr

    def _step(self, rows: Tensor) -> Tensor:
        """Update the weights of all members once, each on its rows (K, B), and return their losses (K,)."""
        train, clip_norm = self._first.dataset.train, self._first.config.clip_norm
        x = train.x.index_select(0, rows.flatten()).unflatten(0, rows.shape)
        y = train.y.index_select(0, rows.flatten()).view_as(rows)
        outputs = self._stack(x)  # (K, B, outputs)
        losses = [training.loss(*own) for training, *own in zip(self._trainings, outputs.unbind(), y, strict=True)]
        torch.autograd.backward(losses)
        for weights in self._weights if clip_norm else ():
            nn.utils.clip_grad_norm_(weights, clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return torch.stack([loss.detach() for loss in losses])


def _training(member: Training | BestEpoch) -> Training:
    return member.training if isinstance(member, BestEpoch) else member


def _end_epoch(
    member: Training | BestEpoch, train_loss: float, lr: float, spent: Mapping[str, float]
) -> dict[str, Any] | Diverged:
    try:
        record = _training(member).end_epoch(train_loss, lr, spent)
    except Diverged as error:
        return error
    return member.after(record) if isinstance(member, BestEpoch) else record
