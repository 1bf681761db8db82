"""Trains one configuration: one epoch per call, and identical to the bit after a resume.

    training = Training(config, dataset, epochs=9, seed=0)
    while training.epoch < training.epochs:
        print(training.run_epoch())

Everything random in an epoch is drawn from (seed, epoch), so a checkpoint contains no random state.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainables.augmentation.augment import Batch, Batches, Normalize
from trainables.data.dataset import Dataset
from trainables.models.backbone import learnt
from trainables.models.cost import count_cost
from trainables.models.neighbours import NeighbourNet
from trainables.models.whitening import fitted
from trainables.trainable import Diverged, OutOfMemory
from trainables.training import metrics
from trainables.training.config import TrainConfig
from trainables.training.device import Clock, Numerics, choose_numerics, keep_freed_memory
from trainables.training.ema import WeightAverage
from trainables.training.features import EVALUATION_ROWS, with_features
from trainables.training.loss import Loss
from trainables.training.optim import keep_rate_on_device, set_rate
from trainables.training.seeds import seeded
from trainables.training.share import Share
from trainables.training.step_graph import StepGraph
from trainables.training.whole_batch import as_whole

__all__ = ["Diverged", "OutOfMemory", "TrainConfig", "Training"]


class Training:
    """The training of one configuration, with the number of threads that torch is set to."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        *,
        epochs: int,
        seed: int,
        device: torch.device | str = "cpu",
        numerics: Numerics | None = None,
        graphs: bool = True,
        share: Share | None = None,
    ) -> None:
        """Build the network, its optimizer and its batches; nothing is trained yet.

        Args:
            config: network, optimizer and other settings.
            dataset: moved to the device once; its validation split may be empty.
            epochs: full budget, over which the schedule runs.
            seed: decides everything random; the same seed on the same CPU gives the same numbers to the bit.
            device: device to train on.
            numerics: precision and memory format; chosen for the device when None.
            graphs: on a GPU, record a step once and replay it; not with several workers.
            share: that of this worker, if several train the network together.
        """
        if epochs < 1 or seed < 0:
            raise ValueError(f"epochs must be at least 1 and seed at least 0, got {epochs} and {seed}")
        torch.set_flush_denormal(True)  # numbers below 1e-38 slow convolutions on a CPU by an order of magnitude
        keep_freed_memory()
        self.config, self.epochs, self.seed, self.share = config, epochs, seed, share
        self.device = torch.device(device)
        self.numerics = numerics or choose_numerics(self.device, dataset.image_shape)
        self.dataset = dataset.to(self.device)
        self._cuda = self.device.type == "cuda"
        self._build(dataset)
        self._graph = StepGraph(self._step) if self._cuda and graphs and share is None else None
        self.loss = Loss(self.dataset, config)
        self.history: list[dict[str, Any]] = []
        """The records of the epochs that this object trained."""
        self.epoch, self.num_parts = 0, 1  # a batch is computed in more parts after the device ran out of memory

    def _build(self, dataset: Dataset) -> None:
        """Build the network, its average, its optimizer and its batches, and choose the rows that it trains on."""
        with seeded(self.device, self.seed, 0):
            model = fitted(self.config.model.build(dataset), dataset.train.x, normalize=Normalize(dataset))
        self.cost = count_cost(model, dataset.image_shape)
        self.model = model.to(self.device).to(memory_format=self.numerics.memory_format)  # pyright: ignore[reportCallIssue]
        self.average = WeightAverage(self.model, self.config.ema_decay) if self.config.ema_decay else None
        self.optimizer = self.config.optimizer.build(self.model)
        keep_rate_on_device(self.optimizer)
        self.outputs: Tensor | None = None
        """Of the validation rows after the last epoch: logits, or predictions in the unit of the target."""
        form: dict[str, Any] = {"dtype": self.numerics.dtype, "channels_last": self.numerics.channels_last}
        self.normalize, augmentation = Normalize(self.dataset, **form), self.config.augmentation
        rows = with_features(self.dataset, model, augmentation, normalize=self.normalize, numerics=self.numerics)
        own = self.share.rows(self.batch_rows) if self.share else None
        form |= {"batch_size": self.config.batch_size, "seed": self.seed, "own": own}
        self.batches, self._rows = Batches(rows, augmentation, **form), rows

    @property
    def batch_rows(self) -> int:
        """Rows per step, of all workers together."""
        return min(self.config.batch_size, len(self.dataset.train))

    @property
    def kept(self) -> nn.Module:
        """The network that is evaluated and kept: the moving average if there is one."""
        return self.average.model if self.average else self.model

    @property
    def num_weights(self) -> int:
        return self.cost.num_weights

    @property
    def macs(self) -> int:
        """Multiply-adds of one forward pass of one image."""
        return self.cost.macs

    def run_epoch(self) -> dict[str, Any]:
        """Train one more epoch, evaluate it, append its record to `history`, and return the record.

        Raises:
            ValueError: the full budget has been trained.
            Diverged: the training or validation loss is not finite; this object is then of no further use.
            OutOfMemory: the device cannot hold even one row.
        """
        number, clock = self.begin_epoch(), Clock(self.device)
        with seeded(self.device, self.seed, number):
            train_loss, lr = self._train(number, clock)
        return self.end_epoch(train_loss, lr, clock.seconds())

    def begin_epoch(self) -> int:
        """The number of the next epoch, with the network in training mode."""
        if self.epoch >= self.epochs:
            raise ValueError(f"all {self.epochs} epochs are trained; for more, train again with a larger budget")
        self.model.train()
        return self.epoch + 1

    def end_epoch(self, train_loss: float, lr: float, spent: Mapping[str, float]) -> dict[str, Any]:
        """Evaluate the network after its next epoch, and record the epoch; `spent` has seconds of input and compute."""
        number, clock = self.epoch + 1, Clock(self.device)
        clock.mark("evaluation")
        if self.share:
            self.share.check_equal([learnt(self.model), learnt(self.kept)], epoch=number)
        scores = self._evaluate()
        seconds = {**spent, **clock.seconds()}
        for name, value in {"training loss": train_loss, **scores}.items():
            if not math.isfinite(value):
                raise Diverged(f"epoch {number}: {'validation loss' if name == 'loss' else name} is {value}")
        record = {"epoch": number, "train_loss": train_loss, **scores, "lr": lr, "seconds": sum(seconds.values())}
        record["images_per_second"] = len(self.batches) * self.batch_rows / (seconds["input"] + seconds["compute"])
        record |= {f"{part}_seconds": spent for part, spent in seconds.items()}
        record |= {"precision": self.numerics.precision, "micro_batch": self._micro_batch()}
        if self._graph:
            record["cuda_graph"] = self._graph.recorded
        self.epoch = number
        self.history.append(record)
        return record

    def predict(self, x: Tensor) -> Tensor:
        """The outputs of the network that is kept: the moving average if there is one.

        Args:
            x: rows as in the data set: images uint8 (N, C, H, W), or a table float32 (N, F).

        Returns:
            Logits, or predictions in the unit of the target: float32 (N, K) on the CPU.
        """
        return self.loss.to_units(self._outputs(x)).cpu()

    def state(self) -> dict[str, Any]:
        """A copy of everything that the next epoch depends on, as tensors and plain values."""
        state = {
            "epochs": self.epochs,
            "seed": self.seed,
            "epoch": self.epoch,
            "num_parts": self.num_parts,
            "model": learnt(self.model).state_dict(),
            "average": learnt(self.average.model).state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
        }
        return copy.deepcopy(state)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken from a training of the same configuration, budget and seed.

        Raises:
            ValueError: the state belongs to another training.
        """
        for name in ("epochs", "seed"):
            if state[name] != getattr(self, name):
                raise ValueError(
                    f"the checkpoint is from a training with {name}={state[name]}, not {getattr(self, name)}"
                )
        for name, low in (("epoch", 0), ("num_parts", 1)):
            if type(state[name]) is not int or state[name] < low:
                raise ValueError(f"{name} of a checkpoint must be a whole number from {low}, got {state[name]!r}")
        state = copy.deepcopy(dict(state))
        self.epoch, self.num_parts = state["epoch"], state["num_parts"]
        try:
            learnt(self.model).load_state_dict(state["model"])
            if self.average:
                learnt(self.average.model).load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            keep_rate_on_device(self.optimizer)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"the checkpoint is from a different configuration: {str(error).splitlines()[0]}"
            ) from None

    def _train(self, number: int, clock: Clock) -> tuple[float, float]:
        """Train on all rows once without waiting for the device; return the mean loss and the last learning rate."""
        if isinstance(self.model, NeighbourNet):
            self.model.begin_epoch()
        total = torch.zeros((), device=self.device)
        num_steps, lr = len(self.batches), 0.0
        clock.mark("input")
        for step, batch in enumerate(self.batches.epoch(number), start=(number - 1) * num_steps):
            clock.mark("compute")
            lr = self.config.optimizer.lr * self.config.schedule.factor(step, self.epochs * num_steps)
            set_rate(self.optimizer, lr)
            total += self._graph(batch) if self._graph else self._step(batch)
            if self.average:
                self.average.update(self.model, step)
            clock.mark("input")
        if self.share:
            self.share.add([total])
        return total.item() / num_steps, lr

    def _step(self, batch: Batch) -> Tensor:
        """Update the weights once, and return the loss. It can be recorded: nothing in it waits for a GPU."""
        loss = self._backward(batch)
        if self.share:
            self.share.add(weight.grad for weight in self.model.parameters() if weight.grad is not None)
        if self.config.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def _backward(self, batch: Batch) -> Tensor:
        """Add the gradient of the batch, computed in as many parts as memory requires, and return the loss."""
        while True:
            try:
                return self._backward_in_parts(batch)
            except torch.OutOfMemoryError as error:
                if self._cuda and torch.cuda.is_current_stream_capturing():
                    raise  # memory can only be freed outside of a recording
                if self.share:  # the others are in the middle of this step, and wait
                    raise OutOfMemory(f"the rows of a worker need more memory than there is: {error}") from None
                if self.num_parts >= len(batch.y):
                    raise OutOfMemory(f"a single row needs more memory than there is: {error}") from None
            self.num_parts = min(2 * self.num_parts, len(batch.y))
            self.optimizer.zero_grad()
            if self._cuda:
                torch.cuda.empty_cache()

    def _backward_in_parts(self, batch: Batch) -> Tensor:
        total = torch.zeros((), device=self.device)
        parts = self._own_parts()
        for number, rows in enumerate(torch.arange(len(batch.y)).tensor_split(parts)):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            sizes = self.share.sizes(self.batch_rows, parts=parts, number=number) if self.share else ()
            with self.numerics.autocast(self.device), as_whole(self.share, sizes):
                outputs = self.model(batch.x[part])
            y_mixed = None if batch.y_mixed is None else batch.y_mixed[part]
            loss = self.loss(outputs, batch.y[part], y_mixed, batch.weight) * (len(rows) / self.batch_rows)
            loss.backward()
            total += loss.detach()
        return total

    def _own_parts(self) -> int:
        """Parts in which the rows of this worker are computed."""
        return self.share.parts(self.batch_rows, self.num_parts) if self.share else self.num_parts

    def _micro_batch(self) -> int:
        """Most rows that are computed at once."""
        return -(-self.batch_rows // (self._own_parts() * (self.share.workers if self.share else 1)))

    def _evaluate(self) -> dict[str, float]:
        """Metrics on the validation rows; none where there are no rows."""
        x, y = self._rows.validation.x, self._rows.validation.y
        if len(y) == 0:
            return {}
        self.outputs = self.loss.to_units(self.share.map(self._outputs, x) if self.share else self._outputs(x))
        return metrics.measure(self.dataset.task, self.outputs, y, metric=self.dataset.metric)

    @torch.no_grad()
    def _outputs(self, x: Tensor) -> Tensor:
        model = self.kept.eval()
        with self.numerics.autocast(self.device):
            parts = [
                model(self.normalize(rows.to(self.device))).float()
                for rows in x.split(EVALUATION_ROWS.get(self.device.type, 256))
            ]
        return torch.cat(parts)
