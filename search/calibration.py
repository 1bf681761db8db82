"""How fast this machine trains configurations of a space: each for about a second, as many at once as in a search."""

import multiprocessing as mp
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

import torch

import spaces.space
from search.cluster import Resources, count_gpus
from search.machine import available_cpus
from search.study import Run
from trainables import checkpoint
from trainables.data import Dataset, Split, from_arrays
from trainables.training import TrainConfig, Training

CALIBRATION_SECONDS, MIN_MEASURED = 25.0, 8
MEASURED_SECONDS = 0.7
PROBE_ROWS = 128
EVALUATED_ROWS = 512
SHIPPED_BYTES = 8 << 20
MAX_EPOCHS = 100


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One measured configuration."""

    macs: int
    epoch_seconds: float
    """One epoch of all training and validation rows, while every slot is busy."""
    save_seconds: float = 0.0
    """One checkpoint."""


def calibrate(
    run: Run,
    dataset: Dataset,
    resources: Resources,
    *,
    draws: Sequence[dict[str, Any]],
    seconds: float = CALIBRATION_SECONDS,
) -> list[Speed]:
    """Train configurations for a moment each, as many at once as the search will on a node like this machine.

    Args:
        draws: the first few are measured in any case, the others in turn until the time is up.
        seconds: until no further one is begun.

    Returns:
        The speeds of the first few draws, in their order.
    """
    num_rows = max(1024, SHIPPED_BYTES // dataset.train.x[:1].nbytes)
    part = replace(
        dataset, train=_first(dataset.train, num_rows), validation=_first(dataset.validation, EVALUATED_ROWS)
    )
    bench = Bench(
        space=run.space,
        arrays=part.arrays(),
        num_train=len(dataset.train),
        num_validation=len(dataset.validation),
        threads=resources.cpus_per_trial,
        device="cuda" if resources.gpus_per_trial and count_gpus() else "cpu",
    )
    running: dict[Future[Speed], int] = {}
    found: dict[int, Speed] = {}
    at_once = min(resources.slots, max(1, available_cpus() // resources.cpus_per_trial))
    with ProcessPoolExecutor(at_once, mp_context=mp.get_context("spawn")) as pool:
        deadline = time.monotonic() + seconds
        while True:
            number = len(found) + len(running)
            wanted = number < len(draws) and (number < MIN_MEASURED or time.monotonic() < deadline)
            if wanted and len(running) < at_once:
                future = pool.submit(bench.measure, draws[number])
                running[future] = number
            elif running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    found[running.pop(future)] = future.result()
            else:
                return [found[number] for number in sorted(found)]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a process needs to measure a configuration."""

    space: str
    arrays: dict[str, Any]
    """A part of the data set."""
    num_train: int
    """Rows of the whole."""
    num_validation: int
    threads: int
    device: str

    def measure(self, params: dict[str, Any]) -> Speed:
        """Train one configuration for some steps like those of its epochs, after one unmeasured step of each shape.

        Where a single batch would take too long a smaller one is measured: then the arithmetic is all that counts, and
        it grows with the rows.
        """
        torch.set_num_threads(self.threads)
        dataset = from_arrays(self.arrays)
        config = spaces.space.load(self.space).decode(params)
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
        return Speed(macs=training.macs, epoch_seconds=seconds, save_seconds=_time_saving(training))

    def _train(
        self, config: TrainConfig, dataset: Dataset, *, batch: int, steps: int, seconds: float
    ) -> tuple[Training, float]:
        """A new training after epochs of so many steps that took `seconds` together, and its seconds for a row."""
        part = replace(dataset, train=_first(dataset.train, batch * steps))
        config = replace(config, batch_size=batch)
        training = Training(config, part, epochs=MAX_EPOCHS, seed=0, device=self.device)
        taken = 0.0
        while training.epoch == 0 or (taken < seconds and training.epoch < MAX_EPOCHS):
            record = training.run_epoch()
            taken += record["input_seconds"] + record["compute_seconds"]
        return training, taken / (training.epoch * batch * steps)


def _time_saving(training: Training) -> float:
    with tempfile.TemporaryDirectory(prefix="rungwise-") as folder:
        began = time.perf_counter()
        checkpoint.save(folder, training.state(), epoch=1)
        return time.perf_counter() - began


def _first(split: Split, count: int) -> Split:
    return Split(x=split.x[:count], y=split.y[:count])
