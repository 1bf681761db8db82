"""Reads what a split goes by: a column of times, groups or parts of a table, or a file beside the data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainables.data.divide import PART_WORDS, Division, group_keys, note_ungrouped, number_groups, read_parts
from trainables.data.equal import inputs_of
from trainables.data.kinds import name_cells, name_row
from trainables.data.names import nearest
from trainables.data.notation import parse_numbers
from trainables.data.options import Kind
from trainables.data.split import SplitRule
from trainables.data.table import as_texts
from trainables.sources.sheet import Sheet, read_sheet

_MOST_NAMED = 3
_PART_NAMES = ("split", "part", "set", "fold", "subset")
"""Names of the column of parts in a file; the first in the file counts."""


def check_column(rule: SplitRule, sheet: Sheet, *, target: str) -> None:
    """Raise ValueError unless the table has the column that the rule goes by, and predicts another one."""
    if rule.way in ("random", "distinct", "file") or not rule.by:
        return
    if rule.by == target:
        raise ValueError(f"--split {rule.option} cannot be: {rule.by!r} is the target; name another column")
    if rule.by not in sheet.cells:
        names = list(sheet.cells)
        raise ValueError(f"--split {rule.option} cannot be: the table has no such column{nearest(rule.by, names)}")


def divide_sheet(
    rule: SplitRule, sheet: Sheet, *, known: np.ndarray, inputs: Sequence[str], kinds: Mapping[str, Kind]
) -> tuple[Division, list[str]]:
    """The rule with what it goes by in each row that has a target, and notes on how it was read.

    Args:
        known: whether a row has a target: bool (N,).
        inputs: the columns that the network reads.
        kinds: types of columns that the user states.

    Raises:
        ValueError: a row lacks what the rule needs; one line names it.
    """
    if rule.is_random:
        return Division(), []
    if rule.way == "file":
        parts, notes = _parts_in_file(Path(rule.by), sheet)
        return Division(rule=rule, keys=parts[known]), notes
    if rule.way == "distinct":
        rows = zip(*(inputs_of(sheet.cells[name], kinds.get(name)) for name in inputs), strict=True)
        return Division(rule=rule, keys=number_groups(list(rows))[known]), []
    if rule.way == "time":
        return Division(rule=rule, keys=_times(rule, sheet, known)), []
    texts = sheet.texts[rule.by]
    if rule.way == "group":
        keys = number_groups(group_keys(texts.tolist()))[known]
        return Division(rule=rule, keys=keys), note_ungrouped(texts[known].tolist(), rule.by)
    places = sheet.places[known]
    source, where = f"column {rule.by!r}", lambda row: "in " + name_row(row, places)
    return Division(rule=rule, keys=read_parts(texts[known].tolist(), source=source, where=where)), []


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


def _parts_in_file(path: Path, sheet: Sheet) -> tuple[np.ndarray, list[str]]:
    """The part of each row of the table, int64 (N,), as a file says, and a note if rows were matched."""
    stated = read_sheet(path)
    column = _column_of_parts(stated, path)
    texts, where = stated.texts[column].tolist(), lambda row: "in " + name_row(row, stated.places)
    parts = read_parts(texts, source=f"{path}", where=where)
    num_rows = len(sheet.places)
    if len(parts) != num_rows:
        raise ValueError(f"{path} must have a row for each of the {num_rows:,} rows of the table, got {len(parts):,}")
    shared = [name for name in stated.cells if name in sheet.cells and name != column]
    mine, theirs = (_read_cells(one.cells, shared) for one in (sheet, stated))
    odd = _first_difference(mine, theirs, np.arange(num_rows))
    if odd is None:
        return parts, []
    order = _order_of(mine, theirs)
    if order is None or _first_difference(mine, theirs, order) is not None:
        row, column = odd
        raise ValueError(
            f"{path} and the table must agree in the columns that both have, got {theirs[column].texts[row][:40]!r} for"
            f" {mine[column].texts[row][:40]!r} in row {row + 1} of {shared[column]!r}, and these columns do not say"
            " which row is meant; correct them, or leave them out of the file to go by the order of the rows"
        )
    named = ", ".join(map(repr, shared[:_MOST_NAMED])) + ", ..." * (len(shared) > _MOST_NAMED)
    return parts[order], [f"rows of {path} were matched with those of the table by {named}"]


class _Cells(NamedTuple):
    numbers: np.ndarray
    """(N,), NaN for what is no number."""
    texts: np.ndarray
    """(N,), empty for a missing value."""


def _read_cells(cells: Mapping[str, np.ndarray], names: Sequence[str]) -> list[_Cells]:
    texts = {name: np.array(as_texts(cells[name]), dtype=object) for name in names}
    return [_Cells(numbers=parse_numbers(cells[name]), texts=texts[name]) for name in names]


def _first_difference(mine: Sequence[_Cells], theirs: Sequence[_Cells], order: np.ndarray) -> tuple[int, int] | None:
    """Row and column of the first cell that differs, `theirs` in this order; None if all agree.

    Numbers agree up to the last digits, which another program may write differently, and 7 agrees with 7.0.
    """
    for column, (one, other) in enumerate(zip(mine, theirs, strict=True)):
        numbers, texts = other.numbers[order], other.texts[order]
        neither = np.isnan(one.numbers) & np.isnan(numbers)
        same = np.isclose(one.numbers, numbers, rtol=1e-9, atol=0) | (neither & (one.texts == texts))
        if not same.all():
            return int(same.argmin()), column
    return None


def _order_of(mine: Sequence[_Cells], theirs: Sequence[_Cells]) -> np.ndarray | None:
    """The row of `theirs` for each of `mine` (N,), by columns without fractions; None if they do not identify it."""
    exact = [place for place, pair in enumerate(zip(mine, theirs, strict=True)) if all(map(_is_exact, pair))]
    keys = [
        list(zip(*(np.where(np.isnan(one.numbers), one.texts, one.numbers) for one in found), strict=True))
        for found in ([mine[place] for place in exact], [theirs[place] for place in exact])
    ]
    places = {key: place for place, key in enumerate(keys[1])}
    if len(places) < len(theirs[0].numbers) or places.keys() != set(keys[0]):
        return None
    return np.array([places[key] for key in keys[0]])


def _is_exact(cells: _Cells) -> bool:
    known = cells.numbers[np.isfinite(cells.numbers)]
    return bool((known == np.floor(known)).all())


def _column_of_parts(sheet: Sheet, path: Path) -> str:
    found = next((name for name in sheet.texts if name.lower() in _PART_NAMES), None)
    if found is not None:
        return found
    if len(sheet.texts) == 1:
        ((name, texts),) = sheet.texts.items()
        if name.lower() not in PART_WORDS and all(text.strip().lower() in PART_WORDS for text in texts.tolist()):
            return name
    said = next((name for name in sheet.texts if name.lower() in PART_WORDS), None)
    if said is not None:
        raise ValueError(f"{path} must begin with a header, got {said!r} in its first line; add a line above: split")
    raise ValueError(
        f"{path} must have a column 'split' with train, validation or test, got {', '.join(sheet.texts)[:80]}; rename"
        " the column that says it"
    )
