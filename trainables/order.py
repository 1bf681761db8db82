"""What the order and the repetition of rows say against drawing test rows at random."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from trainables.kinds import are_dates
from trainables.names import option
from trainables.notation import parse_numbers

_MOST_NAMED = 3


def describe_rows(cells: Mapping[str, np.ndarray], *, target: str, inputs: Sequence[str]) -> list[str]:
    """Returns a line on rows that repeat others, and one on columns by which rows seem to follow each other in time.

    Args:
        cells: texts of all columns, also of those that are not used.
        target: name of the column to predict.
        inputs: names of the columns that it is predicted from.
    """
    return [*_repeated([cells[name] for name in (*inputs, target)]), *_ordered(cells, target=target, inputs=inputs)]


def _repeated(columns: Sequence[np.ndarray]) -> list[str]:
    counts = Counter(zip(*columns, strict=True))
    total = counts.total()
    repeated = total - len(counts)
    if not repeated:
        return []
    return [
        f"{repeated:,} of {total:,} rows repeat an earlier row in all inputs and the target; copies fall on both sides of"
        " the split, which makes every score too good: if they are no measurements of their own, remove them"
    ]


def _ordered(cells: Mapping[str, np.ndarray], *, target: str, inputs: Sequence[str]) -> list[str]:
    names = [name for name, values in cells.items() if name != target and (are_dates(values) or _grows(values))]
    if not names:
        return []
    listed = ", ".join(map(repr, names[:_MOST_NAMED])) + (
        f" and {len(names) - _MOST_NAMED} more" * (len(names) > _MOST_NAMED)
    )
    used = [name for name in names if name in inputs]
    drop = f"; leave such a column out: {option('--drop', *used)}" if used else ""
    return [
        f"rows may be ordered in time ({listed} {'holds dates or grows' if len(names) == 1 else 'hold dates or grow'} from"
        " row to row); test rows are drawn at random, so that scores say little about later rows: for these, keep the last"
        f" rows in another file and compare with python -m analysis.predict{drop}"
    ]


def _grows(values: np.ndarray) -> bool:
    """Whether the numbers of a column never fall, or never rise, from row to row, and hardly repeat."""
    numbers = parse_numbers(values)
    numbers = numbers[np.isfinite(numbers)]
    if len(numbers) < max(3, 0.9 * len(values)) or len(np.unique(numbers)) < 0.5 * len(numbers):
        return False
    steps = np.diff(numbers)
    return bool((steps >= 0).all() or (steps <= 0).all())
