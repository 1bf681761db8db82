"""Notes on tables for which random test rows are misleading: repeated rows, and rows in the order of time."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from trainables.data.dates import are_dates
from trainables.data.names import option
from trainables.data.notation import parse_numbers

_MOST_NAMED = 3


def describe_rows(
    cells: Mapping[str, np.ndarray], *, target: str, inputs: Sequence[str], dates: Collection[str] = ()
) -> list[str]:
    """A note on repeated rows, and one on columns by which rows seem to be ordered in time.

    Args:
        cells: texts of all columns, also of those that are not used.
        dates: names of columns whose dates have become numbers.
        target: name of the column to predict.
        inputs: names of the input columns.
    """
    ordered = _ordered(cells, target=target, inputs=inputs, dates=dates)
    return [*_repeated([cells[name] for name in (*inputs, target)]), *ordered]


def _repeated(columns: Sequence[np.ndarray]) -> list[str]:
    counts = Counter(zip(*columns, strict=True))
    total = counts.total()
    repeated = total - len(counts)
    if not repeated:
        return []
    return [
        f"{repeated:,} of {total:,} rows repeat an earlier row in all inputs and the target; copies end up on both "
        f"sides of the split and make scores too optimistic; remove them, unless each row is a separate measurement"
    ]


def _ordered(
    cells: Mapping[str, np.ndarray], *, target: str, inputs: Sequence[str], dates: Collection[str]
) -> list[str]:
    others = {name: values for name, values in cells.items() if name != target}
    timed = {name: "contains dates" for name, values in others.items() if name in dates or are_dates(values)}
    rising = [name for name, values in others.items() if name not in dates and _is_sorted(values)]
    found = dict.fromkeys(rising, "rises or falls from row to row") | timed
    if not found:
        return []
    said = [f"{name!r} {what}" for name, what in found.items()]
    more = f" and {len(said) - _MOST_NAMED} more columns" * (len(said) > _MOST_NAMED)
    used = [name for name in rising if name in inputs]
    drop = f", and leave out a column that only numbers the rows: {option('--drop', *used)}" if used else ""
    return [
        f"rows may belong to different times ({', '.join(said[:_MOST_NAMED])}{more}); test rows are drawn at random, "
        f"so the scores say little about future rows; to measure that, put the latest rows into a separate file and "
        f"predict them after the final evaluation{drop}"
    ]


def _is_sorted(values: np.ndarray) -> bool:
    """Whether the numbers of a column never fall, or never rise, from row to row, with few repetitions."""
    numbers = parse_numbers(values)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) < max(3, 0.9 * len(values)) or len(np.unique(numbers)) < 0.5 * len(numbers):
        return False
    steps = np.diff(numbers)
    return bool((steps >= 0).all() or (steps <= 0).all())
