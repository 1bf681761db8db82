"""Overview of the data a search trained on, and the check that no validation row is also a training row."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.datasets.tables import UNCHECKED, TableOverview, how_split, table_overview
from analysis.wording import one_line
from spaces.origin import short_name
from trainables.sources.catalogue import describe, needs_download


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A data set of images: rows of each class, examples, and validation rows that are training rows too."""

    name: str
    why: str
    shape: tuple[int, ...]
    form: str = ""
    """How the images became squares, in a sentence; empty if they are of one size."""
    counts: pd.DataFrame
    """class, training, validation, share: one row per class."""
    pixels: pd.DataFrame
    """channel, mean, std of the training rows, in 0..1; low and high: smallest and largest value there is."""
    checksum: str
    leaks: int
    """Validation rows that are, byte for byte, also training rows."""
    repeats: int
    """Training rows that repeat an earlier training row."""
    conflicts: int
    """Of the leaks, rows whose label differs from that of their twin."""
    examples: np.ndarray
    """(classes, 8, H, W, C): uint8 training images, 8 of each class."""
    split: str = ""
    """How the images were split, in one sentence; empty for one random split."""
    folds: int = 1
    num_independent: int = 0
    """Images on which trials were judged, of all folds; 0 where whole groups were held out, whose images are alike."""

    @property
    def num_validation(self) -> int:
        """Rows that are held out."""
        return int(self.counts["validation"].sum())

    @property
    def leakage(self) -> str:
        """The outcome of the check, and what it leaves open."""
        total = self.num_validation
        if total == 0:
            return "There is no validation split to check for leakage."
        if self.leaks == 0:
            return f"None of the {total:,} validation rows is an exact copy of a training row. {UNCHECKED}"
        return (
            f"Leakage: the training rows include {self.leaks:,} of the {total:,} validation rows "
            f"({self.leaks / total:.2%}), {self.conflicts:,} of them with a different label. The validation score can "
            f"be too optimistic by at most that share."
        )


def overview(dataset: Any) -> Overview:
    """The overview of a `trainables.sources.load.Dataset` of images."""
    train_x, train_y = dataset.train.x.numpy(), dataset.train.y.numpy()
    check_x, check_y = dataset.validation.x.numpy(), dataset.validation.y.numpy()
    names = dataset.classes
    counts = pd.DataFrame({"class": [one_line(name) for name in names]})
    counts["training"] = np.bincount(train_y, minlength=len(names))
    counts["validation"] = np.bincount(check_y, minlength=len(names))
    counts["share"] = counts["training"] / max(1, len(train_y))
    extremes = [(int(train_x[:, c].min()), int(train_x[:, c].max())) for c in range(train_x.shape[1])]
    pixels = pd.DataFrame({"channel": range(len(extremes)), "mean": dataset.mean, "std": dataset.std})
    pixels["low"], pixels["high"] = zip(*extremes, strict=True)
    leaks, conflicts, repeats = _twins(train_x, train_y, check_x, check_y)
    return Overview(
        name=dataset.name,
        why=describe(dataset.name),
        shape=dataset.image_shape,
        form=dataset.images.sentence if dataset.images else "",
        counts=counts,
        pixels=pixels,
        checksum=dataset.checksum,
        leaks=leaks,
        conflicts=conflicts,
        repeats=repeats,
        examples=_examples(train_x, train_y, len(names)),
        split=how_split(dataset),
        folds=max(1, len(dataset.folds)),
        num_independent=0 if dataset.split.way == "group" else dataset.num_judged,
    )


Described = Overview | TableOverview | str
"""An overview of the data of a run, or the reason in words why there is none."""


def load_overview(run: Any, data_dir: Path | None = None) -> Described:
    """The overview of a run's data, or the reason in words why there is none; never downloads anything."""
    if not run.dataset:
        return (
            f"The data are read by your own code ({short_name(run.space)}), which a report does not run; a copy of "
            f"the code is in the folder source of the run."
        )
    name, folder = run.dataset, Path(data_dir or run.data_dir)
    if needs_download(name, folder):
        return (
            f"The data set {name} is not in the folder {str(folder)!r}; give its folder with --data-dir "
            f"(in a notebook: set the variable DATA_DIR)."
        )
    from trainables.sources import load as data

    try:
        dataset = data.load(
            name,
            folder,
            seed=run.seed,
            train_size=run.train_size,
            validation_fraction=run.validation_fraction,
            table=run.reading,
            split=run.split,
            folds=run.folds,
            images=run.images and replace(run.images, backbone=None),
        )
    except (ValueError, OSError) as error:
        return f"The data set {name} could not be read: {error}"
    if run.dataset_checksum and dataset.checksum != run.dataset_checksum:
        return f"The data in {folder} are not those of the search (checksum {dataset.checksum[:12]} is different)."
    return table_overview(dataset) if dataset.columns else overview(dataset)


def _twins(train_x: np.ndarray, train_y: np.ndarray, check_x: np.ndarray, check_y: np.ndarray) -> tuple[int, int, int]:
    """Validation rows seen in training, those with another label, and repeated training rows."""
    first: dict[bytes, int] = {}
    repeats = 0
    for image, y in zip(train_x, train_y, strict=True):
        key = _digest(image)
        repeats += key in first
        first.setdefault(key, int(y))
    seen = [(first[key], int(y)) for key, y in zip(map(_digest, check_x), check_y, strict=True) if key in first]
    return len(seen), sum(a != b for a, b in seen), repeats


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _examples(x: np.ndarray, y: np.ndarray, num_classes: int) -> np.ndarray:
    """Evenly spread rows of each class; grey where a class has fewer than eight."""
    grid = np.full((num_classes, 8, *x.shape[2:], x.shape[1]), 200, dtype=np.uint8)
    for k in range(num_classes):
        rows = np.flatnonzero(y == k)
        rows = rows[np.linspace(0, len(rows) - 1, min(8, len(rows))).astype(int)] if len(rows) else rows
        grid[k, : len(rows)] = x[rows].transpose(0, 2, 3, 1)
    return grid
