"""The data sets by name: description, reader, size and files of each. Does not import torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.data.options import ImageOptions, TableOptions

if TYPE_CHECKING:
    import numpy as np

    from trainables.data.table import Table


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set, stated as `SOURCE` in a file of its own, with the function that reads it.

    An image folder has none: `trainables.images` reads it.
    """

    about: str
    """Two sentences about it, for a report."""
    read_images: "Callable[..., tuple[np.ndarray, np.ndarray, tuple[str, ...]]] | None" = None
    """`read(data_dir, *, test)` returns uint8 images (N, H, W, C), int64 labels and the names of the classes. It opens
    only the files of that part."""
    read_table: "Callable[..., Table] | None" = None
    """`read(data_dir)` returns all rows; the test rows are chosen later."""
    size: tuple[int, int] | None = None
    """Rows without the test rows, and classes (0 for a regression); None for data of the user's own."""
    files: str = ""
    """Pattern of the files that are read, in the folder of the data; empty for what comes with scikit-learn."""
    fetch_test_files: Callable[[Path], None] | None = None
    """Downloads missing test files and checks their size; None if they come with the others."""


FOLDER = "image_folder"
"""The data set that is a folder of the user's own images."""
_FILES = {
    "digits": "digits",
    "cluttered_digits": "cluttered_digits",
    "fashion_mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "image_folder": "image_folder",
    "california_housing": "california",
    "diabetes": "diabetes",
    "breast_cancer": "breast_cancer",
    "csv": "csv_table",
}
"""Data set -> its file in this folder."""


def names() -> tuple[str, ...]:
    """The names of all data sets."""
    return tuple(_FILES)


def find(name: str) -> Source:
    """The data set with this name, which must be one of `names()`."""
    return import_module(f"trainables.sources.{_FILES[name]}").SOURCE


def size_of(name: str | None) -> tuple[int, int] | None:
    """Rows without the test rows, and classes; None for data of the user's own."""
    return find(name).size if name in _FILES else None


def describe(name: str) -> str:
    """The description of a data set; empty if it is not known."""
    return find(name).about if name in _FILES else ""


def needs_download(name: str, data_dir: str | Path) -> bool:
    """Whether a known data set is not yet in this folder."""
    pattern = find(name).files if name in _FILES else ""
    return bool(pattern) and not any(Path(data_dir).glob(pattern))


def check_train_size(train_size: int, num_rows: int, num_classes: int) -> None:
    """Raise ValueError unless a stratified subset of so many rows can be drawn and split."""
    low = max(2 * num_classes, 2)
    if not low <= train_size <= num_rows:
        raise ValueError(
            f"--train-size must lie in [{low}, {num_rows}] (two rows per class up to all of them), got {train_size}; "
            "leave it out to use all"
        )


def check_table_options(name: str, table: TableOptions | None) -> None:
    """Raise ValueError unless --target is given for a table of the user's own, and for no other data set."""
    if table is not None and name != "csv":
        raise ValueError(f"--target is for your own table, but {name} has its own target; leave it out")
    if table is None and name == "csv":
        raise ValueError("your own table needs --target, the name of the column to predict")


def check_image_options(name: str, images: ImageOptions | None) -> None:
    """Raise ValueError if a form of images is stated for a data set that has its own."""
    if images is not None and name != FOLDER:
        named = "--backbone" if images.backbone else "--image-size" if images.size is not None else "--resize"
        table = "your data are a table" if name == "csv" else f"{name} is a table"
        other = table if find(name).read_table is not None else f"{name} has its own form"
        raise ValueError(f"{named} is for a folder of your own images, but {other}; leave it out")
