"""Overview of the data a search trained on, and the check that no validation row is also a training row."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.datasets.tables import TableOverview, table_overview
from analysis.plots import style
from analysis.plots.fonts import names_on_axis
from analysis.wording import visible
from spaces.origin import short_name

_FILES = {
    "fashion_mnist": "FashionMNIST/raw/train-images-*",
    "cifar10": "cifar-10-batches-py/data_batch_1",
    "california_housing": "cal*housing*",
}
"""What must be there before a data set is read: a report never downloads."""
_WHY = {
    "digits": (
        "Scikit-learn's digits: 1,797 hand-written digits of 8 x 8 pixels (UCI, 1998). It comes with the library and "
        "trains in seconds, so it stands for trying the system out; differences of under a point are a few images."
    ),
    "fashion_mnist": (
        "Fashion-MNIST: 28 x 28 grey pictures of ten kinds of clothing (Xiao et al. 2017), a harder replacement for "
        "MNIST. It stands for small grey product images; shirts, pullovers and coats overlap, so no model is perfect."
    ),
    "cifar10": (
        "CIFAR-10: 32 x 32 colour photographs of ten kinds of objects (Krizhevsky 2009), the usual first benchmark of "
        "convolutional networks. It stands for natural images at low resolution."
    ),
    "image_folder": "Your own images: one folder for each class.",
}


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A data set in numbers."""

    name: str
    why: str
    shape: tuple[int, ...]
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

    @property
    def num_validation(self) -> int:
        """Rows that are held out."""
        return int(self.counts["validation"].sum())

    @property
    def leakage(self) -> str:
        """The outcome of the check in one sentence."""
        total = self.num_validation
        if total == 0:
            return "There is no validation split to check for leakage."
        if self.leaks == 0:
            return f"No leakage: none of the {total} validation rows is also a training row."
        return (
            f"Leakage: {self.leaks} of {total} validation rows are also training rows ({self.leaks / total:.2%}), "
            f"{self.conflicts} of them with another label; results are too kind by at most that share."
        )


def overview(dataset: Any) -> Overview:
    """The overview of a `trainables.sources.load.Dataset` of images."""
    train_x, train_y = dataset.train.x.numpy(), dataset.train.y.numpy()
    check_x, check_y = dataset.validation.x.numpy(), dataset.validation.y.numpy()
    names = dataset.classes
    counts = pd.DataFrame({"class": [visible(name) for name in names]})
    counts["training"] = np.bincount(train_y, minlength=len(names))
    counts["validation"] = np.bincount(check_y, minlength=len(names))
    counts["share"] = counts["training"] / max(1, len(train_y))
    extremes = [(int(train_x[:, c].min()), int(train_x[:, c].max())) for c in range(train_x.shape[1])]
    pixels = pd.DataFrame({"channel": range(len(extremes)), "mean": dataset.mean, "std": dataset.std})
    pixels["low"], pixels["high"] = zip(*extremes, strict=True)
    leaks, conflicts, repeats = _twins(train_x, train_y, check_x, check_y)
    return Overview(
        name=dataset.name,
        why=_WHY.get(dataset.name, ""),
        shape=dataset.image_shape,
        counts=counts,
        pixels=pixels,
        checksum=dataset.checksum,
        leaks=leaks,
        conflicts=conflicts,
        repeats=repeats,
        examples=_examples(train_x, train_y, len(names)),
    )


def load_overview(run: Any, data_dir: Path | None = None) -> Overview | TableOverview | str:
    """The overview of a run's data, or the reason in words why there is none; never downloads anything."""
    if not run.dataset:
        return (
            f"The data are read by code of your own ({short_name(run.space)}), which a report does not run; the code is"
            " kept in the folder source of the run."
        )
    name, folder = run.dataset, Path(data_dir or run.data_dir)
    if name in _FILES and not list(folder.glob(_FILES[name])):
        return f"The data set {name} is not in {folder}; give its folder with --data-dir (in a notebook: DATA_DIR)."
    from trainables.sources import load as data

    try:
        dataset = data.load(
            name,
            folder,
            seed=run.seed,
            train_size=run.train_size,
            validation_fraction=run.validation_fraction,
            table=run.reading,
        )
    except (ValueError, OSError) as error:
        return f"The data set {name} could not be read: {error}"
    if run.dataset_checksum and dataset.checksum != run.dataset_checksum:
        return f"The data in {folder} are not those of the search (checksum {dataset.checksum[:12]} is another one)."
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


def plot_examples(found: Overview, ax: Axes | None = None) -> Axes:
    """Eight training images of each class, a row per class."""
    grid = found.examples[:20]
    ax = style.new_axes(ax, width=5.2, height=0.42 * len(grid) + 0.3)
    rows = [np.concatenate([np.pad(i, ((1, 1), (1, 1), (0, 0)), constant_values=255) for i in row], 1) for row in grid]
    picture = np.concatenate(rows, axis=0)
    ax.imshow(
        picture if picture.shape[2] == 3 else picture[..., 0], cmap="gray", aspect="equal", interpolation="nearest"
    )
    height = picture.shape[0] / len(grid)
    ax.set_yticks([(i + 0.5) * height - 0.5 for i in range(len(grid))], _names(found)[: len(grid)])
    ax.set_xticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def plot_classes(found: Overview, ax: Axes | None = None) -> Axes:
    """Rows of each class in the training and the validation split."""
    counts = found.counts.iloc[::-1]
    ax = style.new_axes(ax, width=5.2, height=1.0 + 0.24 * len(counts))
    at = np.arange(len(counts))
    ax.barh(at, counts["training"], height=0.7, color=style.BLUE, label="training")
    ax.barh(at, counts["validation"], left=counts["training"], height=0.7, color=style.ORANGE, label="validation")
    ax.set_yticks(at, _names(found)[::-1])
    ax.set_xlabel("rows")
    ax.grid(visible=False, axis="y")
    style.legend(ax, ncols=2)
    return ax


def _names(found: Overview) -> list[str]:
    return names_on_axis(found.counts["class"], 24)
