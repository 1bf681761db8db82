"""Data sets of images by name: the bundled ones, and a folder of the user's own."""

from pathlib import Path

import numpy as np

from trainables.data.options import ImageOptions
from trainables.data.split import RANDOM, SplitRule
from trainables.images import folder as image_folder
from trainables.images.rows import ImageRows
from trainables.sources.catalogue import FOLDER, find


def read_images(
    name: str, data_dir: str | Path, *, test: bool, images: ImageOptions | None, rule: SplitRule = RANDOM
) -> ImageRows:
    """The rows for training and validation, or the test rows."""
    if name == FOLDER:
        return image_folder.read(Path(data_dir), test=test, images=images, rule=rule)
    read = find(name).read_images
    assert read is not None
    x, y, classes = read(Path(data_dir), test=test)
    return ImageRows(x=x, y=y, classes=classes)


def check_test_files(
    name: str, data_dir: str | Path, images: ImageOptions | None = None, rule: SplitRule = RANDOM
) -> tuple[str, ...]:
    """Notes for the user on the test files before a search, one line each; no pixels are kept.

    Args:
        images: how the images of a folder become squares.

    Raises:
        ValueError: the test set of an image folder has other classes than its training set, or files whose headers
            cannot be read. The files of other data sets are checked when they are read.
    """
    return image_folder.check_test_files(Path(data_dir), images, rule) if name == FOLDER else ()


def fetch_test_files(name: str, data_dir: str | Path) -> None:
    """Download the official test files that are missing.

    Raises:
        ValueError: a file is not the official one.
        FileNotFoundError: a file is missing and cannot be downloaded.
    """
    if fetch := find(name).fetch_test_files:
        fetch(Path(data_dir))


def channel_moments(x: np.ndarray, rows: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the channels of uint8 images, in units where 255 is 1."""
    exact, unit = np.int32, 255
    total, squares = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
    for part in np.array_split(rows, -(-len(rows) // 4096)):  # bounds the copy, and the squares to 32 bits
        values = x[part].astype(exact)
        total += values.sum(0, dtype=exact)
        squares += (values * values).sum(0, dtype=exact)
    count = len(rows) * total.size / x.shape[-1]
    mean = total.reshape(-1, x.shape[-1]).sum(0) / count / unit
    std = np.sqrt(np.maximum(squares.reshape(-1, x.shape[-1]).sum(0) / count / unit**2 - mean**2, 1e-12))
    return tuple(mean.tolist()), tuple(std.tolist())
