"""scikit-learn's built-in handwritten digits: 1,797 grey images of 8x8, no download."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def read(data_dir: Path, *, test: bool) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Returns images uint8 (N, 8, 8, 1), labels and class names; a fixed fifth of each class is the test set."""
    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]  # (N, 8, 8, 1); 17 grey levels
    y = bunch.target.astype(np.int64)
    train_rows, test_rows = train_test_split(np.arange(len(y)), test_size=0.2, stratify=y, random_state=0)
    rows = np.sort(test_rows if test else train_rows)
    return x[rows], y[rows], tuple(str(name) for name in bunch.target_names)
