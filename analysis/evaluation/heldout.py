"""Predictions for rows that the predicting network did not train on, for the intervals of the exported network.

The exported network trained on every row, so none is left to measure its errors on. Networks of the same configuration
train without a part of the rows and predict it: five networks, each without a fifth, or one without 2,000 rows where
the table has at least 10,000. Finished parts are kept in RUN/final/training/heldout.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from analysis.evaluation.networks import Network
from analysis.model.conformal import Conformal, fit
from analysis.progress import say, step
from search.storage.run import data_of
from spaces.space import Space
from trainables.data.dataset import Dataset, Split
from trainables.files.whole import writing
from trainables.trainable import Diverged, OutOfMemory, Setting
from trainables.training.training import Training

if TYPE_CHECKING:
    from analysis.evaluation.job import Job

PARTS = 5
MANY_ROWS, HELD_OUT = 10_000, 2_000


def fit_intervals(job: "Job", network: Network) -> Conformal | None:
    """The intervals of the exported network; None for data or options without intervals.

    Args:
        job: its rows and options are used.
        network: the one that is exported.
    """
    if job.space.own or job.dataset.task != "regression" or job.options.without_intervals:
        return None
    if not job.dataset.split.is_random:
        return _fit_by_rule(job, network)
    parts = draw_parts(len(job.dataset.train), seed=job.run.seed)
    numbers = list(range(int(parts.max()) + 1))
    predictions = np.full(len(parts), np.nan)
    try:
        with step("errors on rows held out, for intervals", total=len(numbers)) as advance:
            for part in numbers:
                predictions[parts == part] = _predicted(job, network, job.dataset, parts == part)
                advance()
    except (Diverged, OutOfMemory) as error:
        say(f"note: there are no intervals, because a network without a part of the rows fails: {error}")
        return None
    known = parts >= 0
    return fit(predictions[known], job.dataset.train.y.numpy()[known], parts[known])


def _fit_by_rule(job: "Job", network: Network) -> Conformal | None:
    """The intervals from the rows that the split of the run holds out, such as the latest fifth or whole groups."""
    dataset = data_of(job.run, job.space, validation_fraction=1 / PARTS)
    if not len(dataset.validation):
        say("note: there are no intervals, because the split leaves no validation rows")
        return None
    rows = {
        "x": torch.cat([dataset.train.x, dataset.validation.x]),
        "y": torch.cat([dataset.train.y, dataset.validation.y]),
    }
    held_out = np.arange(len(rows["y"])) >= len(dataset.train)
    whole = without_validation(dataset, Split(**rows))
    try:
        with step(f"errors on {held_out.sum():,} rows that the split holds out, for intervals"):
            found = _predicted(job, network, whole, held_out)
    except (Diverged, OutOfMemory) as error:
        say(f"note: there are no intervals, because a network without these rows fails: {error}")
        return None
    return fit(found, rows["y"].numpy()[held_out], np.arange(len(found)) % 2)


def draw_parts(num_rows: int, *, seed: int) -> np.ndarray:
    """The part of each row, at random: 0 to 4; with many rows 0 for those that are held out, -1 for the others."""
    order = np.random.default_rng((seed, 0xC0F)).permutation(num_rows)
    if num_rows < MANY_ROWS:
        return order % PARTS
    return np.where(order < HELD_OUT, 0, -1)


def _predicted(job: "Job", network: Network, dataset: Dataset, held_out: np.ndarray) -> np.ndarray:
    """The predictions for these rows of a network that trains on all others; kept for the next call."""
    path = job.final_dir / "training" / "heldout" / f"{_key(job, network, dataset, held_out)}.npy"
    if path.is_file():
        return np.load(path, allow_pickle=False)
    threads = max(1, job.resources.cpus_per_trial)
    setting = Setting(epochs=network.epochs, seed=network.seed, device=job.device, threads=threads, final=True)
    params, stop = network.contender.params, network.stop_epoch
    found = predict_held_out(job.space, params, dataset, held_out, setting=setting, stop=stop)
    path.parent.mkdir(exist_ok=True)
    with writing(path) as file:
        np.save(file, found, allow_pickle=False)
    return found


def predict_held_out(
    space: Space,
    params: Mapping[str, Any],
    dataset: Dataset,
    held_out: np.ndarray,
    *,
    setting: Setting,
    stop: int | None = None,
) -> np.ndarray:
    """The predictions (n,) for the training rows in `held_out` of a network that trains on all others.

    Args:
        stop: the epoch after which the network is done; the last one when None.
    """
    rows, kept, out = dataset.train, torch.from_numpy(~held_out), torch.from_numpy(held_out)
    fewer = without_validation(dataset, Split(x=rows.x[kept], y=rows.y[kept]))
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        training = space.work.build(space.decode(params), fewer, setting)
        assert isinstance(training, Training)
        while training.epoch < (stop or setting.epochs):
            training.run_epoch()
        return training.predict(rows.x[out])[:, 0].double().numpy()
    finally:
        torch.set_num_threads(before)


def without_validation(dataset: Dataset, train: Split) -> Dataset:
    """The data set with these training rows alone."""
    return replace(dataset, train=train, validation=Split(x=train.x[:0], y=train.y[:0]))


def _key(job: "Job", network: Network, dataset: Dataset, held_out: np.ndarray) -> str:
    """A name for the predictions of one training: everything that they depend on."""
    facts = [network.contender.params, network.seed, network.epochs, network.stop_epoch]
    facts += [dataset.checksum, job.run.space, job.run.passes]
    facts += [job.run.metric, job.run.seed, len(held_out), job.run.train_size]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    digest.update(np.packbits(held_out).tobytes())
    return digest.hexdigest()[:32]
