"""Builds a small table with gaps and categories."""

import numpy as np
import torch

from trainables.data.dataset import Dataset, Split
from trainables.data.table import Column

COLUMNS = (
    Column(name="size", kind="number", gaps=True),
    Column(name="colour", kind="category", categories=("red", "blue", "green")),
    Column(name="age", kind="number"),
)


def rows(num_rows: int, *, seed: int, num_classes: int = 0) -> Split:
    """The target is 2 * age + 3 for blue rows; a fifth of the sizes is missing, some colours are unknown."""
    random = np.random.default_rng(seed)
    x = np.stack([random.normal(size=num_rows), random.integers(0, 4, num_rows), random.normal(size=num_rows)], 1)
    y = 2 * x[:, 2] + 3 * (x[:, 1] == 2) + 0.1 * random.normal(size=num_rows)
    x[random.random(num_rows) < 0.2, 0] = np.nan
    labels = np.digitize(y, np.linspace(-1, 4, num_classes - 1)) if num_classes else y
    return Split(x=torch.from_numpy(x).float(), y=torch.from_numpy(labels if num_classes else y.astype(np.float32)))


def table(num_rows: int = 300, *, num_classes: int = 0, seed: int = 0) -> Dataset:
    return Dataset(
        name="synthetic",
        task="classification" if num_classes else "regression",
        train=rows(num_rows, seed=seed, num_classes=num_classes),
        validation=rows(0, seed=seed),
        classes=tuple(f"c{i}" for i in range(num_classes)),
        mean=(),
        std=(),
        checksum="",
        columns=COLUMNS,
        target="worth",
        target_unit="$100k",
    )
