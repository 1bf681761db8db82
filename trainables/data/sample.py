"""A fixed choice of rows, for what is fitted to many rows."""

import numpy as np


def sample_rows(num_rows: int, most: int) -> np.ndarray:
    """The numbers of at most this many rows, ascending: int64, all rows if there are no more.

    They are drawn, the same ones every time. A regular choice such as every second row would, in a table with a row for
    each station and hour, contain only some of the stations.
    """
    return np.sort(np.random.default_rng(0).permutation(num_rows)[:most])
