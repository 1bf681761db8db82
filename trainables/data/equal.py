"""What the network reads in the cells of a table, before anything is fitted: two rows with equal inputs are equal."""

from collections.abc import Hashable

import numpy as np

from trainables.data.kinds import are_numbers
from trainables.data.notation import parse_numbers
from trainables.data.options import Kind
from trainables.data.precision import fits_float32
from trainables.data.table import as_texts, texts_of, within_float32


def inputs_of(values: np.ndarray, kind: Kind | None) -> list[Hashable]:
    """A key for each cell of a column, equal for cells that the network cannot tell apart; None for a missing value.

    `7` and `7.0` are one number, `TRUE` and `true` one truth value, and blanks around a text do not count. Numbers that
    only float64 tells apart are equal where float32 is enough for the column.

    Args:
        values: cells as in `Sheet.cells`, (N,).
        kind: type of the column; None for that which its cells suggest.
    """
    if kind == "text":  # capitals and the width of blanks do not count among pieces of words
        return [" ".join(text.lower().split()) or None for text in texts_of(values)]
    if kind == "number" or (kind is None and are_numbers(values)):
        numbers = within_float32(parse_numbers(values)) + 0.0  # -0 counts as 0
        numbers = numbers.astype(np.float32) if fits_float32(numbers) else numbers
        return [None if np.isnan(number) else number for number in numbers.tolist()]
    texts = as_texts(values)
    are_truths = {text.lower() for text in texts if text} <= {"true", "false"}
    return [(text.lower() if are_truths else text) or None for text in texts]
