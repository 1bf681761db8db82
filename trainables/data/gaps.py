"""Missing values of a table that is encoded: which cells, and their share by column of the file."""

from collections.abc import Sequence

import numpy as np

from trainables.data.table import Column


def missing_cells(values: np.ndarray, column: Column) -> np.ndarray:
    """Whether a row has no value in this column, or a category or a text of which nothing occurred in training.

    Args:
        values: the column as `encode` returns it, (N,).
        column: what it is.

    Returns:
        bool (N,).
    """
    return np.isnan(values) if column.kind == "number" else values == 0


def missing_shares(x: np.ndarray, columns: Sequence[Column]) -> dict[str, float]:
    """The share of the rows that have no value, by column of the file; the numbers of a text count once.

    Args:
        x: rows as `encode` returns them, (N, F).
        columns: what each of the F is.
    """
    places = {column.reads: index for index, column in enumerate(columns)}
    return {name: float(missing_cells(x[:, index], columns[index]).mean()) for name, index in places.items()}
