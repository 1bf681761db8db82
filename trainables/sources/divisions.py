"""Reads what a split goes by: a column of times, groups or parts of a table, or a file beside the data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainables.data.divide import Division, number_groups, read_parts
from trainables.data.kinds import name_cells
from trainables.data.names import nearest
from trainables.data.notation import parse_numbers
from trainables.data.split import SplitRule
from trainables.sources.sheet import Sheet, read_sheet

_PART_NAMES = ("split", "part", "set", "fold", "subset")
"""Names of the column of parts in a file that has several columns."""


def check_column(rule: SplitRule, sheet: Sheet, *, target: str) -> None:
    """Raise ValueError unless the table has the column that the rule goes by, and predicts another one."""
    if rule.way in ("random", "distinct", "file") or not rule.by:
        return
    if rule.by == target:
        raise ValueError(f"--split {rule.option} cannot be: {rule.by!r} is the target; name another column")
    if rule.by not in sheet.cells:
        names = list(sheet.cells)
        raise ValueError(f"--split {rule.option} cannot be: the table has no such column{nearest(rule.by, names)}")


def divide_sheet(rule: SplitRule, sheet: Sheet, *, known: np.ndarray, inputs: Sequence[str]) -> Division:
    """The rule with what it goes by in each row that has a target.

    Args:
        known: whether a row has a target: bool (N,).
        inputs: the columns that the network reads.

    Raises:
        ValueError: a row lacks what the rule needs; one line names it.
    """
    if rule.is_random:
        return Division()
    if rule.way == "distinct":
        rows = zip(*(sheet.cells[name].tolist() for name in inputs), strict=True)
        return Division(rule=rule, keys=number_groups([repr(row) for row in rows])[known])
    if rule.way == "time":
        return Division(rule=rule, keys=_times(rule, sheet, known))
    if rule.way == "group":
        texts = [text.strip() for text in sheet.texts[rule.by].tolist()]
        return Division(rule=rule, keys=number_groups(texts)[known])
    if rule.way == "column":
        texts = sheet.texts[rule.by][known].tolist()
        return Division(rule=rule, keys=read_parts(texts, source=f"column {rule.by!r}"))
    return Division(rule=rule, keys=_parts_in_file(Path(rule.by), num_rows=len(known))[known])


def _times(rule: SplitRule, sheet: Sheet, known: np.ndarray) -> np.ndarray:
    """The time of each row that has a target, float64."""
    if not rule.by:
        return np.flatnonzero(known).astype(np.float64)
    times = parse_numbers(sheet.cells[rule.by])
    bad = np.flatnonzero(known & ~np.isfinite(times))
    if len(bad):
        found = name_cells(sheet.texts[rule.by].tolist(), bad, sheet.places)
        raise ValueError(
            f"--split {rule.option} needs a date (2024-01-31) or a number in every row of {rule.by!r}, got {found};"
            " correct these cells, or remove the rows"
        )
    return times[known]


def _parts_in_file(path: Path, *, num_rows: int) -> np.ndarray:
    """The part of each row of the table, from a file with as many rows in the same order."""
    parts = read_sheet(path)
    column = _column_of_parts(parts, path)
    texts = parts.texts[column].tolist()
    if len(texts) != num_rows:
        raise ValueError(
            f"{path} must have a row for each of the {num_rows:,} rows of the table, in the same order, got"
            f" {len(texts):,}"
        )
    return read_parts(texts, source=f"{path}")


def _column_of_parts(sheet: Sheet, path: Path) -> str:
    names = list(sheet.texts)
    found = names[0] if len(names) == 1 else next((name for name in names if name.lower() in _PART_NAMES), None)
    if found is None:
        raise ValueError(f"{path} must have a column 'split' with train, validation or test, got {', '.join(names)}")
    return found
