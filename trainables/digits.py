"""scikit-learn's built-in handwritten digits: 1,797 grey images of 8x8, no download."""

from pathlib import Path

import numpy as np

from trainables.stratify import stratified_rows


def read(data_dir: Path, *, test: bool) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Returns images uint8 (N, 8, 8, 1), labels and class names; a fixed fifth of each class is the test set."""
    from sklearn.datasets import load_digits  # takes seconds to import, and workers get their data otherwise

    values, labels = load_digits(return_X_y=True)
    x = np.round(np.asarray(values) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)  # 17 grey levels
    y = np.asarray(labels).astype(np.int64)
    test_rows = stratified_rows(y, len(y) // 5, np.random.default_rng(0))
    rows = test_rows if test else np.delete(np.arange(len(y)), test_rows)
    return x[rows], y[rows], tuple("0123456789")
