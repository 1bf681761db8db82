"""Tables: columns as the file states them, and as the numbers that a network reads.

Only what cannot be stated without the rows is fitted here, on training rows alone: whether a column holds numbers, and
which categories there are. Scaling and imputation are part of the network (`trainables/embeddings.py`).
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainables.stratify import stratified_rows

Task = Literal["classification", "regression"]
MAX_CATEGORIES = 100
"""Of one column; rarer ones count as unknown."""
MISSING = frozenset({"", "-", "?", "na", "n/a", "#n/a", "nan", "null", "none", "inf", "-inf"})
"""What a file writes where a value is missing, in small letters."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One input of a table; plain values, so that JSON can hold it."""

    name: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()
    """Of the training rows, the most frequent first; the code of `categories[i]` is i + 1."""
    gaps: bool = False
    """Whether values are missing among the training rows."""


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What a user says of a table of their own."""

    target: str
    """Name of the column to predict."""
    task: Task | None = None
    """Found from the target when left out."""
    drop: tuple[str, ...] = ()
    """Names of columns that are not inputs."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows as the source states them: nothing is fitted, nothing is imputed."""

    cells: Mapping[str, np.ndarray]
    """By input column: float64 (N,) with NaN where a value is missing, or texts (N,) as dtype object."""
    y: np.ndarray
    """Labels int64, or targets float32 (N,)."""
    classes: tuple[str, ...] = ()
    """Empty for a regression."""
    target: str
    target_unit: str = ""

    def part(self, *, test: bool) -> "Table":
        """Returns the test rows, a fixed fifth (of each class), or all others."""
        size = max(len(self.y) // 5, len(self.classes))
        test_rows = stratified_rows(self.y, size, np.random.default_rng(0))
        rows = test_rows if test else np.delete(np.arange(len(self.y)), test_rows)
        fields = {**vars(self), "cells": {name: values[rows] for name, values in self.cells.items()}}
        return Table(**{**fields, "y": self.y[rows]})

    def checksum(self) -> str:
        """Returns sha256 over names, cells and targets."""
        digest = hashlib.sha256("\0".join([self.target, *self.classes]).encode())
        for name, values in {**self.cells, "": self.y}.items():
            digest.update(f"{name}\0{values.dtype.str}{values.shape}".encode())
            digest.update("\0".join(values).encode() if values.dtype == object else np.ascontiguousarray(values).data)
        return digest.hexdigest()


def fit_columns(cells: Mapping[str, np.ndarray], rows: np.ndarray) -> tuple[Column, ...]:
    """Returns the columns as these rows show them, in the order of the file.

    A column of texts holds numbers if every value that is not missing is one, and categories otherwise.

    Args:
        cells: as in `Table`.
        rows: numbers of the training rows; no other is looked at.

    Raises:
        ValueError: the texts of a column differ in nearly every row, so that nothing can be learnt from them.
    """
    return tuple(_fit_column(name, values[rows]) for name, values in cells.items())


def encode(cells: Mapping[str, np.ndarray], columns: tuple[Column, ...]) -> np.ndarray:
    """Returns the table as float32 (N, F): numbers with NaN where none can be read, categories as codes.

    The code of a category is its place in `Column.categories`, from 1; 0 is missing, or unknown.
    """
    arrays = []
    for column in columns:
        values = cells[column.name]
        if column.kind == "number":
            numbers = parse_numbers(values)
            arrays.append(np.where(np.abs(numbers) <= np.finfo(np.float32).max, numbers, np.nan))
            continue
        codes = {category: code for code, category in enumerate(column.categories, start=1)}
        arrays.append(np.array([codes.get(text, 0) for text in as_texts(values)], np.float32))
    return np.stack(arrays, axis=1).astype(np.float32)


def parse_numbers(values: np.ndarray) -> np.ndarray:
    """Returns float64 (N,), NaN for whatever is no number."""
    return np.array([_number(text) for text in values], np.float64) if values.dtype == object else values


def as_texts(values: np.ndarray) -> list[str]:
    """Returns the values as texts without outer blanks; a missing one is empty."""
    texts = (str(value).strip() for value in values)
    return ["" if text.lower() in MISSING else text for text in texts]


def options_from(stored: Mapping[str, Any] | None) -> TableOptions | None:
    """Returns the options that JSON holds."""
    return None if stored is None else TableOptions(**{**stored, "drop": tuple(stored.get("drop", ()))})


def columns_from(stored: list[Mapping[str, Any]]) -> tuple[Column, ...]:
    """Returns the columns that JSON holds."""
    return tuple(Column(**{**column, "categories": tuple(column["categories"])}) for column in stored)


def _fit_column(name: str, values: np.ndarray) -> Column:
    texts = [] if values.dtype != object else as_texts(values)
    numbers = parse_numbers(values)
    if not any(text and np.isnan(number) for text, number in zip(texts, numbers, strict=False)):
        return Column(name=name, kind="number", gaps=bool(np.isnan(numbers).any()))
    counts = Counter(text for text in texts if text)
    if len(counts) > max(20, 0.5 * counts.total()):
        raise ValueError(
            f"column {name!r} holds {len(counts):,} different texts in {counts.total():,} training rows, from which"
            f" nothing can be learnt; leave it out: --drop {name}"
        )
    frequent = sorted(counts, key=lambda text: (-counts[text], text))[:MAX_CATEGORIES]
    return Column(name=name, kind="category", categories=tuple(frequent), gaps=counts.total() < len(texts))


def _number(text: str) -> float:
    try:
        return float(text) if "_" not in text else np.nan  # Python reads 1_000 as a number
    except ValueError:
        return np.nan
