"""Rows of a table together with its columns: correlations, gaps, coordinates, and limits where targets pile up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from analysis.wording import one_line
from search.process.text import counted
from trainables.data.dataset import Dataset, Split
from trainables.data.table import Column


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of a table with what is needed to read them."""

    columns: Sequence[Column]
    x: np.ndarray
    """float32 (N, F), NaN where a number is missing, codes for a category."""
    y: np.ndarray
    task: Literal["classification", "regression"]
    groups: np.ndarray | None = None
    """Of each row (N,), if rows of one group are alike."""

    @property
    def inputs(self) -> list[str]:
        """Names of the columns of the file."""
        return list(dict.fromkeys(column.reads for column in self.columns))


def rank_correlation(rows: Rows) -> np.ndarray:
    """Spearman's correlation (F, F) of all pairs of columns, over the rows where both are known; NaN for a constant.

    A category counts by its codes only if it has two of them: more have no order.
    """
    ranked = np.full(rows.x.shape, np.nan)
    for index, column in enumerate(rows.columns):
        known = np.isfinite(rows.x[:, index]) if column.kind == "number" else rows.x[:, index] > 0
        if column.kind == "number" or len(column.categories) == 2:
            ranked[known, index] = stats.rankdata(rows.x[known, index])
    found = np.full((len(rows.columns),) * 2, np.nan)
    for i in range(len(found)):
        for j in range(i + 1):
            both = np.isfinite(ranked[:, i]) & np.isfinite(ranked[:, j])
            found[i, j] = found[j, i] = _correlation(ranked[both, i], ranked[both, j])
    return found


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


NAMES = (("longitude", "lon", "lng", "long"), ("latitude", "lat"))
"""By which a column is taken for a longitude, or a latitude."""


def coordinate_columns(columns: Sequence[Column]) -> list[str]:
    """The columns of longitude and latitude; empty unless both are there."""
    numbers = {column.name.strip().lower(): column.name for column in columns if column.kind == "number"}
    found = [next((numbers[name] for name in names if name in numbers), None) for names in NAMES]
    return [name for name in found if name is not None] if all(found) else []


def describe_texts(columns: Sequence[Column], *, folds: int) -> list[str]:
    """A sentence on each column of free text: what the network reads of it."""
    numbers = Counter(one_line(column.text) for column in columns if column.text)
    return [
        f"{name} contains free text; the network reads {counted(count, 'number')} of it, {name} ~ 1 and so on: the"
        f" directions in which the {'texts of all folds' if folds > 1 else 'training texts'} differ most."
        for name, count in numbers.items()
    ]


PILE_SHARE = 0.01
"""Share of the training rows at the largest (smallest) target from which it counts as a cap (a floor)."""


def find_piles(train_y: np.ndarray) -> dict[str, tuple[float, float]]:
    """`cap` and `floor` of a target where rows pile up there: its value, and the share of rows that have it.

    Whole numbers repeat everywhere; only where no other target is as frequent does the end count as one.
    """
    values, counts = np.unique(train_y, return_counts=True)
    piles = {}
    for name, index in (("cap", -1), ("floor", 0)):
        share = float(counts[index] / len(train_y))
        if share >= PILE_SHARE and len(values) > 10 and counts[index] == counts.max():
            piles[name] = (float(values[index]), share)
    return piles


def as_rows(split: Split, dataset: Dataset) -> Rows:
    """A split with the columns of its data set, in numpy."""
    x, y = split.x.cpu().numpy(), split.y.cpu().numpy()
    return Rows(columns=dataset.columns, x=x, y=y, task=dataset.task, groups=split.groups)
