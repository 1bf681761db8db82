"""scikit-learn's built-in handwritten digits: 1,797 grey images of 8x8, no download."""

import gzip
from pathlib import Path

import numpy as np

from trainables.data.stratify import stratified_rows
from trainables.sources.bundled import data_file
from trainables.sources.catalogue import Source


def read(data_dir: Path, *, test: bool) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images uint8 (N, 8, 8, 1), labels and class names; a fixed fifth of each class is the test set."""
    table = _read_table()
    x = np.round(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)  # 17 grey levels
    y = table[:, -1].astype(np.int64)
    test_rows = stratified_rows(y, len(y) // 5, np.random.default_rng(0))
    rows = test_rows if test else np.delete(np.arange(len(y)), test_rows)
    return x[rows], y[rows], tuple("0123456789")


def _read_table() -> np.ndarray:
    """64 grey values and the label of each image, (1797, 65)."""
    with gzip.open(data_file("digits.csv.gz")) as file:
        return np.loadtxt(file, delimiter=",")


SOURCE = Source(
    about=(
        "Scikit-learn's digits: 1,797 hand-written digits of 8 x 8 pixels (UCI, 1998). They come with the library and "
        "train in seconds, which is good for trying out the system; a difference of less than a point is a few images."
    ),
    read_images=read,
    size=(1_438, 10),
)
