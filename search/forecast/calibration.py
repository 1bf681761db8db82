"""Measures how fast this machine trains: configurations of a space, a second each, as many at once as in a search."""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

import spaces.space
from search.forecast.speeds import Speed, measure_draws
from search.process.allotted import available_cpus
from search.process.environment import named, only_allowed
from search.runtime.resources import Resources, count_gpus
from search.storage.run import Run
from search.storage.space import space_of
from spaces.changes import Range, ReplacedRange
from spaces.ranges import change
from spaces.space import Space
from trainables.data.dataset import Dataset, Split, from_arrays
from trainables.files import checkpoint
from trainables.trainable import Setting, Trainable, close
from trainables.training.config import TrainConfig
from trainables.training.training import Training

CALIBRATION_SECONDS, MIN_MEASURED = 25.0, 8
"""No further configuration is begun after this time, once so many are measured."""
LONGEST_SECONDS = 60.0
"""No further configuration is begun after this time, even if fewer than MIN_MEASURED are measured."""
MEASURED_SECONDS = 0.7
"""Training time of one configuration."""
WARM_SECONDS = 30.0
"""If an epoch of the user's own code is shorter than this, the second epoch of the process is measured."""
PROBE_ROWS = 128
"""Rows of a first batch, which shows how many steps fit into MEASURED_SECONDS."""
EVALUATED_ROWS = 512
"""Validation rows that are evaluated."""
SHIPPED_BYTES = 8 << 20
"""Size of the training rows that each process gets."""
MAX_EPOCHS = 100
"""Epochs of one measurement, each of a few steps."""


def calibrate(
    run: Run,
    dataset: Any,
    resources: Resources,
    *,
    draws: Sequence[dict[str, Any]],
    seconds: float = CALIBRATION_SECONDS,
    longest: float = LONGEST_SECONDS,
    space: Space | None = None,
) -> list[Speed]:
    """Train configurations for a moment each, as many at once as the search will on a node like this machine.

    Code of the user's own is trained for a whole epoch each.

    Args:
        draws: the first is measured in any case, the others in turn until the time is up.
        seconds: after this time no further one is begun, if MIN_MEASURED are measured.
        longest: after this time, in seconds, no further one is begun even if fewer are measured.
        space: that of the run; loaded when None.

    Returns:
        The speeds of the first few draws, in their order.
    """
    space = space or space_of(run)
    if space.own:
        bench, least = _own_bench(run, space, dataset, resources), 1
    else:
        bench, least = _bench(run, dataset, resources), MIN_MEASURED
    at_once = min(resources.slots, max(1, available_cpus() // resources.cpus_per_trial))
    with only_allowed(named(run.env, os.environ)):  # as in the search
        return measure_draws(bench, draws, at_once=at_once, least=least, until=(seconds, longest))


def _device(resources: Resources) -> str:
    return "cuda" if resources.gpus_per_trial and count_gpus() else "cpu"


def _bench(run: Run, dataset: Dataset, resources: Resources) -> "Bench":
    num_rows = max(1024, SHIPPED_BYTES // dataset.train.x[:1].nbytes)
    part = replace(
        dataset, train=_first(dataset.train, num_rows), validation=_first(dataset.validation, EVALUATED_ROWS), folds=()
    )
    return Bench(
        space=run.space,
        ranges=run.ranges,
        replaced=run.replaced,
        arrays=part.arrays(),
        num_train=len(dataset.train),
        num_validation=len(dataset.validation),
        num_networks=max(1, len(dataset.folds)),
        threads=resources.cpus_per_trial,
        device=_device(resources),
    )


def _own_bench(run: Run, space: Space, dataset: Any, resources: Resources) -> "OwnBench":
    setting = Setting(epochs=run.epochs, seed=run.seed, device=_device(resources), threads=resources.cpus_per_trial)
    ranges = {"ranges": run.ranges, "replaced": run.replaced}
    return OwnBench(space=run.space, packed=space.work.pack(dataset), setting=setting, **ranges)


@dataclass(frozen=True, kw_only=True)
class OwnBench:
    """What a process needs to measure a configuration that code of the user's own trains."""

    space: str
    packed: Any
    setting: Setting
    ranges: tuple[Range, ...] = ()
    """Ranges in place of those of the space."""
    replaced: tuple[ReplacedRange, ...] = ()
    """Ranges that parameters had in earlier trials."""

    def measure(self, params: dict[str, Any]) -> Speed:
        """Train one whole epoch, since no part of the user's code is known to be typical.

        If epochs are short it is the second one, or the first of a second training: the first epoch of a process also
        imports and compiles.
        """
        torch.set_num_threads(self.setting.threads)
        space = change(spaces.space.load(self.space), self.ranges, self.replaced)
        data = space.work.unpack(self.packed, device=self.setting.device)
        config = space.decode(params)
        training = space.work.build(config, data, self.setting)
        try:
            seconds = _time_epoch(training)
            if seconds < WARM_SECONDS:
                if self.setting.epochs == 1:
                    close(training)
                    training = space.work.build(config, data, self.setting)
                seconds = _time_epoch(training)
            macs = int(space.work.costs(config, data).get("macs", 1))
            return Speed(macs=max(macs, 1), epoch_seconds=seconds, save_seconds=_time_saving(training))
        finally:
            close(training)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a process needs to measure a configuration."""

    space: str
    arrays: dict[str, Any]
    """A part of the data set."""
    num_train: int
    """Rows of the whole."""
    num_validation: int
    num_networks: int
    """Networks that a trial trains, one for each fold."""
    threads: int
    device: str
    ranges: tuple[Range, ...] = ()
    """Ranges in place of those of the space."""
    replaced: tuple[ReplacedRange, ...] = ()
    """Ranges that parameters had in earlier trials."""

    def measure(self, params: dict[str, Any]) -> Speed:
        """Train one configuration for some steps like those of its epochs, after one unmeasured step of each shape.

        If a single batch would take too long, a smaller one is measured: its time is then proportional to the rows.
        """
        torch.set_num_threads(self.threads)
        dataset = from_arrays(self.arrays)
        config = change(spaces.space.load(self.space), self.ranges, self.replaced).decode(params)
        config = replace(config, optimizer=replace(config.optimizer, lr=1e-9))  # as fast, and never diverges
        batch = min(config.batch_size, len(dataset.train))
        rows = min(batch, PROBE_ROWS)
        self._train(config, dataset, batch=rows, steps=1, seconds=0)
        training, row_seconds = self._train(config, dataset, batch=rows, steps=1, seconds=0)
        if row_seconds * batch <= MEASURED_SECONDS:
            steps = max(1, min(len(dataset.train) // batch, int(MEASURED_SECONDS / (row_seconds * batch))))
            self._train(config, dataset, batch=batch, steps=1, seconds=0)
            training, row_seconds = self._train(config, dataset, batch=batch, steps=steps, seconds=MEASURED_SECONDS)
        num_trained = self.num_train - self.num_train % min(config.batch_size, self.num_train)
        seconds = row_seconds * num_trained
        if len(dataset.validation):
            taken = sum(record["evaluation_seconds"] for record in training.history) / len(training.history)
            seconds += taken * self.num_validation / len(dataset.validation)
        each = Speed(macs=training.macs, epoch_seconds=seconds, save_seconds=_time_saving(training))
        return replace(
            each, epoch_seconds=self.num_networks * seconds, save_seconds=self.num_networks * each.save_seconds
        )

    def _train(
        self, config: TrainConfig, dataset: Dataset, *, batch: int, steps: int, seconds: float
    ) -> tuple[Training, float]:
        """A new training after epochs of `steps` steps that took `seconds` together, and its seconds per row."""
        part = replace(dataset, train=_first(dataset.train, batch * steps))
        config = replace(config, batch_size=batch)
        training = Training(config, part, epochs=MAX_EPOCHS, seed=0, device=self.device)
        taken = 0.0
        while training.epoch == 0 or (taken < seconds and training.epoch < MAX_EPOCHS):
            record = training.run_epoch()
            taken += record["input_seconds"] + record["compute_seconds"]
        return training, taken / (training.epoch * batch * steps)


def _time_epoch(training: Trainable) -> float:
    began = time.perf_counter()
    training.run_epoch()
    return time.perf_counter() - began


def _time_saving(training: Trainable) -> float:
    with tempfile.TemporaryDirectory(prefix="rungwise-") as folder:
        began = time.perf_counter()
        checkpoint.save(folder, dict(training.state()), epoch=1)
        return time.perf_counter() - began


def _first(split: Split, count: int) -> Split:
    return Split(x=split.x[:count], y=split.y[:count])
