"""A data set in memory: training and validation rows as tensors, with their classes, columns and notes."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trainables.data.backbone import Backbone
from trainables.data.grey_levels import Levels
from trainables.data.options import ImageOptions
from trainables.data.split import RANDOM, SplitRule
from trainables.data.table import Column


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of a data set."""

    x: Tensor
    """Images uint8 (N, C, H, W), channels last in memory; or a table, float32 (N, F): NaN for a missing number, codes
    for categories, 0 for a missing or unknown one. It is float64 if a column is wide."""
    y: Tensor
    """Labels int64 (N,), or targets of a regression (N,): float32, or float64 if float32 would lose digits."""
    origin: tuple[str, ...] | tuple[int, ...] = ()
    """Of test rows: the file of each image, or the number of each row in the table, from 1; empty if not known."""
    groups: np.ndarray | None = None
    """Of sealed test rows: the number of the group of each row (N,); rows of one group are alike. None if rows are
    independent; `Dataset.groups` has those of training and validation rows."""

    def __len__(self) -> int:
        return self.x.shape[0]

    def to(self, device: torch.device | str) -> "Split":
        """The same rows on the device."""
        return replace(self, x=self.x.to(device, non_blocking=True), y=self.y.to(device, non_blocking=True))


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Rows of one fold, as numbers (N,) of training rows and then validation rows of the data set, counted through."""

    train: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Training and validation rows with everything that training needs; test rows are not part of it."""

    name: str
    task: Literal["classification", "regression"]
    train: Split
    validation: Split
    """May have 0 rows."""
    classes: tuple[str, ...]
    """Empty for a regression."""
    mean: tuple[float, ...]
    """Mean of each channel of the training images, where 255 is 1; empty for a table, which its network scales."""
    std: tuple[float, ...]
    """Standard deviation of each channel, in the same unit."""
    checksum: str
    """sha256 of the source arrays, before any split."""
    columns: tuple[Column, ...] = ()
    """Columns of a table, fitted to its training rows; empty for images."""
    target: str = ""
    """Name of the target of a table."""
    target_unit: str = ""
    levels: tuple[Levels, ...] = ()
    """The values of images with more than 8 bits that became 0 and 255."""
    split: SplitRule = RANDOM
    """How test and validation rows were chosen."""
    apart: bool = False
    """Whether the test rows are in files of their own."""
    dropped: tuple[str, ...] = ()
    """Columns of a table that --drop leaves out."""
    folds: tuple[Fold, ...] = ()
    """Folds on which each trial is trained, the last of them as `train` and `validation`; empty for one split."""
    groups: np.ndarray | None = None
    """Number of the group of each training row and then each validation row, (N,); rows of one group are alike. None if
    rows are independent."""
    images: ImageOptions | None = None
    """How the images of a folder became squares, with everything that was chosen; None for other data."""
    backbone: Backbone | None = None
    """The pretrained network that configurations can use."""
    metric: str = ""
    """The metric that trainings are compared by, which can decide their loss; the usual one of the task when empty."""
    passes: int = 1
    """How often an epoch passes over the training rows."""
    notes: tuple[str, ...] = ()
    """Notes for the user on the files, one line each."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one image, or (F,) of one row of a table."""
        return tuple(self.train.x.shape[1:])

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def num_judged(self) -> int:
        """Rows on which a trial is judged: the validation rows, of all folds."""
        return sum(len(fold.validation) for fold in self.folds) or len(self.validation)

    def fold(self, number: int) -> "Dataset":
        """One fold as a data set. A category that its training rows lack counts as unknown in its validation rows."""
        fold = self.folds[number]
        x = torch.cat([_rows_last(self.train.x), _rows_last(self.validation.x)])
        y = torch.cat([self.train.y, self.validation.y])
        parts = {}
        for name, rows in (("train", fold.train), ("validation", fold.validation)):
            chosen = torch.from_numpy(np.array(rows)).to(x.device)
            values = x[chosen]
            parts[name] = Split(x=values.permute(0, 3, 1, 2) if values.ndim == 4 else values, y=y[chosen])
        for place, column in enumerate(self.columns):
            if column.kind == "category":
                codes = parts["validation"].x[:, place]
                codes[~torch.isin(codes, parts["train"].x[:, place])] = 0
        groups = None if self.groups is None else self.groups[np.concatenate([fold.train, fold.validation])]
        return Dataset(**{**vars(self), **parts, "groups": groups, "folds": ()})

    def to(self, device: torch.device | str) -> "Dataset":
        """The same data set on the device."""
        fields = {**vars(self), "train": self.train.to(device), "validation": self.validation.to(device)}
        return Dataset(**fields)

    def arrays(self) -> dict[str, Any]:
        """The data set as numpy arrays and plain values, without copying; `from_arrays` undoes it."""
        fields = {key: value for key, value in vars(self).items() if not isinstance(value, Split)}
        for key in ("train", "validation"):
            split: Split = getattr(self, key)
            fields[f"{key}_x"] = _rows_last(split.x).numpy()
            fields[f"{key}_y"] = split.y.numpy()
        return fields


def from_arrays(arrays: dict[str, Any]) -> Dataset:
    """The data set that `Dataset.arrays` described, sharing its memory.

    Arrays from Ray's object store are read-only, and writing to a tensor over one ends the process. So nothing may
    write to the tensors of a `Split`.
    """
    fields = dict(arrays)
    for key in ("train", "validation"):
        fields[key] = make_split(fields.pop(f"{key}_x"), fields.pop(f"{key}_y"))
    return Dataset(**fields)


def make_split(x: np.ndarray, y: np.ndarray) -> Split:
    """Rows as tensors that share the memory of the arrays.

    Args:
        x: images uint8 (N, H, W, C), or a table (N, F).
        y: labels or targets (N,).
    """
    with warnings.catch_warnings():
        # the arrays of the object store are read-only, as they should be
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        tensor, labels = torch.from_numpy(x), torch.from_numpy(y)
    return Split(x=tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor, y=labels)


def _rows_last(x: Tensor) -> Tensor:
    """Images as (N, H, W, C), which is their layout in memory; a table unchanged."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x
