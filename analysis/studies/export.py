"""Writes the tables of a study as CSV, safe to open in a spreadsheet, and as Parquet."""

from pathlib import Path
from typing import TextIO, TypeVar

import pandas as pd
from pandas.api.types import is_numeric_dtype, is_object_dtype

from analysis.studies.parameters import NONE
from analysis.studies.trials import Trials
from analysis.wording import one_line

_Target = TypeVar("_Target", Path, TextIO)
MOST_PROBABILITIES = 5_000_000
"""Most probabilities of classes in predictions.csv; with more, it has that of the predicted class alone."""


def public(table: pd.DataFrame) -> pd.DataFrame:
    """The table for others: the choice None is the text `None`, since a missing value means something else."""
    found = table.copy()
    for column in (name for name in table.columns if is_object_dtype(table[name])):
        if any(cell is NONE for cell in table[column]):
            found[column] = [str(cell) if cell is NONE else cell for cell in table[column]]
    return found


def export(trials: Trials, folder: Path) -> list[Path]:
    """Write both tables of a study; returns the four paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, table in (("trials", trials.trials), ("epochs", trials.epochs)):
        written += [write_csv(table, folder / f"{name}.csv"), write_parquet(table, folder / f"{name}.parquet")]
    return written


def write_parquet(table: pd.DataFrame, path: Path) -> Path:
    """Write a Parquet file; columns of mixed types become texts. Returns its path."""
    plain = table.copy()
    for column in (name for name in table.columns if is_object_dtype(table[name])):  # Parquet needs one type
        plain[column] = [None if pd.isna(cell) else str(cell) for cell in plain[column]]
    plain.to_parquet(path, index=False)
    return path


def write_json(table: pd.DataFrame, path: Path) -> Path:
    """Write a list of objects, one for each row, with null for a missing value; returns its path."""
    public(table).to_json(path, orient="records", indent=2, date_format="iso", double_precision=15, default_handler=str)
    return path


def write_csv(table: pd.DataFrame, path: _Target) -> _Target:
    """Write a CSV whose text cells cannot act as formulas in a spreadsheet; returns its path."""
    safe = table.rename(columns=lambda name: plain_text(str(name)))
    for column in safe.columns:
        if not is_numeric_dtype(safe[column]):
            safe[column] = [plain_text(cell) if isinstance(cell, str) else cell for cell in safe[column]]
    safe.to_csv(path, index=False)
    return path


def plain_text(text: str) -> str:
    """The text, with a quote before it where a spreadsheet would run it as a formula."""
    shown = one_line(text)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown
