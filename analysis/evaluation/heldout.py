"""Predictions for rows that the predicting network did not train on, for the intervals of the exported network.

The exported network trained on every row, so none is left to measure its errors on. Networks of the same configuration
train without a part of the rows and predict it. Which rows form a part follows the split of the run:

    random            five parts, each a fifth; or one of 2,000 rows where the table has at least 10,000
    group, distinct   five parts of whole groups; or one, a fifth of the rows, in a table of that size and 200 groups
    time              the latest fifth; if the run has folds, blocks of the later half, each after all rows before it
    column, file      the validation rows that the user states

Finished parts are kept in RUN/final/training/heldout.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
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
FEW_GROUPS = 200
"""With fewer groups all of them are held out in turn: an interval of 95 % needs 39."""


def fit_intervals(job: "Job", network: Network) -> Conformal | None:
    """The intervals of the exported network; None for data or options without intervals.

    Args:
        job: its rows and options are used.
        network: the one that is exported.
    """
    if job.space.own or job.dataset.task != "regression" or job.options.without_intervals:
        return None
    try:
        parts = _parts(job)
        if not parts:
            say("note: there are no intervals, because the split leaves no validation rows")
            return None
        with step("errors on rows held out, for intervals", total=len(parts)) as advance:
            found = []
            for part in parts:
                found.append(_predicted(job, network, part))
                advance()
    except (Diverged, OutOfMemory) as error:
        say(f"note: there are no intervals, because a network without a part of the rows fails: {error}")
        return None
    y = np.concatenate([part.validation.y.numpy() for part in parts])
    numbers = np.repeat(np.arange(len(parts)), [len(part.validation) for part in parts])
    known = [part.groups[len(part.train) :] for part in parts if part.groups is not None]
    return fit(np.concatenate(found), y, numbers, groups=np.concatenate(known) if known else None)


def _parts(job: "Job") -> list[Dataset]:
    """Data sets whose validation rows are the parts; their training rows are those that the network may see."""
    run, rule, rows = job.run, job.dataset.split, len(job.dataset.train)
    if rule.is_random:
        parts = draw_parts(rows, seed=run.seed)
        return [hold_out(job.dataset, parts == part) for part in range(int(parts.max()) + 1)]
    groups = None if job.dataset.groups is None else len(np.unique(job.dataset.groups))
    few = rows < MANY_ROWS or (groups is not None and groups < FEW_GROUPS)
    if run.folds > 1 or (rule.way in ("group", "distinct") and few):
        with suppress(ValueError):  # there are fewer groups than folds
            folded = data_of(replace(run, folds=run.folds if run.folds > 1 else PARTS), job.space)
            return [folded.fold(number) for number in range(len(folded.folds))]
    single = data_of(run, job.space, validation_fraction=1 / PARTS)
    return [single] if len(single.validation) else []


def draw_parts(num_rows: int, *, seed: int) -> np.ndarray:
    """The part of each row, at random: 0 to 4; with many rows 0 for those that are held out, -1 for the others."""
    order = np.random.default_rng((seed, 0xC0F)).permutation(num_rows)
    if num_rows < MANY_ROWS:
        return order % PARTS
    return np.where(order < HELD_OUT, 0, -1)


def hold_out(dataset: Dataset, held_out: np.ndarray) -> Dataset:
    """The data set with these of its training rows, bool (N,), as validation rows."""
    x, y, out = dataset.train.x, dataset.train.y, torch.from_numpy(held_out)
    parts = {"train": Split(x=x[~out], y=y[~out]), "validation": Split(x=x[out], y=y[out])}
    return replace(dataset, **parts, groups=None)


def _predicted(job: "Job", network: Network, part: Dataset) -> np.ndarray:
    """The predictions for the validation rows of a network that trains on the others; kept for the next call."""
    path = job.final_dir / "training" / "heldout" / f"{_key(job, network, part)}.npy"
    if path.is_file():
        return np.load(path, allow_pickle=False)
    threads = max(1, job.resources.cpus_per_trial)
    setting = Setting(epochs=network.epochs, seed=network.seed, device=job.device, threads=threads, final=True)
    found = predict_held_out(job.space, network.contender.params, part, setting=setting, stop=network.stop_epoch)
    path.parent.mkdir(exist_ok=True)
    with writing(path) as file:
        np.save(file, found, allow_pickle=False)
    return found


def predict_held_out(
    space: Space, params: Mapping[str, Any], part: Dataset, *, setting: Setting, stop: int | None = None
) -> np.ndarray:
    """The predictions (n,) for the validation rows of a network that trains on the training rows.

    Args:
        stop: the epoch after which the network is done; the last one when None.
    """
    x, y = part.validation.x, part.validation.y
    before = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        training = space.work.build(space.decode(params), replace(part, validation=Split(x=x[:0], y=y[:0])), setting)
        assert isinstance(training, Training)
        while training.epoch < (stop or setting.epochs):
            training.run_epoch()
        return training.predict(x)[:, 0].double().numpy()
    finally:
        torch.set_num_threads(before)


def _key(job: "Job", network: Network, part: Dataset) -> str:
    """A name for the predictions of one training: everything that they depend on."""
    facts = [network.contender.params, network.seed, network.epochs, network.stop_epoch]
    facts += [part.checksum, job.run.space, job.run.passes, job.run.metric]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for rows in (part.train, part.validation):
        digest.update(np.ascontiguousarray(rows.x.numpy()).tobytes() + rows.y.numpy().tobytes())
    return digest.hexdigest()[:32]
