"""The built-in task: images and tables by name, trained by `Training` as a `TrainConfig` says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainables.data.dataset import Dataset, from_arrays
from trainables.data.split import RANDOM
from trainables.models.cost import measure_cost
from trainables.sources.load import load
from trainables.trainable import Selection, Setting, Trainable
from trainables.training import metrics
from trainables.training.best_epoch import begin_training
from trainables.training.config import TrainConfig
from trainables.training.folds import FoldedTraining
from trainables.training.latency import measure_latency
from trainables.training.share import Share
from trainables.training.stacked import Stacked, can_stack


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """A data set by name."""

    dataset: str

    def load(self, selection: Selection) -> Dataset:
        """Training and validation rows."""
        dataset = load(
            self.dataset,
            selection.data_dir,
            seed=selection.seed,
            train_size=selection.train_size,
            validation_fraction=selection.validation_fraction,
            images=selection.images,
            table=selection.table,
            split=selection.split or RANDOM,
            folds=selection.folds,
        )
        metrics.check_targets(dataset.train.y, dataset.validation.y, metric=selection.metric)
        return replace(dataset, metric=selection.metric, passes=selection.passes)

    def pack(self, data: Dataset) -> dict[str, Any]:
        """The rows as arrays."""
        return data.arrays()

    def unpack(self, packed: dict[str, Any], *, device: str) -> Dataset:
        """The rows on the device."""
        return from_arrays(packed).to(device)

    def build(self, config: TrainConfig, data: Dataset, setting: Setting) -> Trainable:
        """A training, on each fold if there are folds, on the number of threads that torch is set to.

        One of several workers is in their process group already.

        Raises:
            ValueError: the configuration does not fit the data or the number of workers.
        """
        begin = FoldedTraining if data.folds else begin_training
        share = Share(rank=setting.rank, workers=setting.world_size) if setting.world_size > 1 else None
        conditions: dict[str, Any] = {"device": setting.device, "keep": setting.keep, "share": share}
        return begin(config, data, epochs=setting.epochs, seed=setting.seed, **conditions)

    def can_stack(self, config: TrainConfig, data: Dataset) -> bool:
        """Whether `stack` takes trainings of this configuration, on the CPU and one thread."""
        return can_stack(config, data)

    def stack(self, trainings: Sequence[Any]) -> Stacked:
        """One training of several that differ in their seeds and are at the same epoch; see `Stacked`."""
        return Stacked(trainings)

    def costs(self, config: TrainConfig, data: Dataset) -> Mapping[str, int]:
        """Weights, and multiply-adds for one row."""
        cost = measure_cost(config.model, data)
        return {"weights": cost.num_weights, "macs": cost.macs}

    def latency(self, config: TrainConfig, data: Dataset, *, device: str) -> float:
        """Milliseconds in which the network predicts one row; see `measure_latency`."""
        return measure_latency(config.model, data, device=device)
