"""What each data set is, before a row of it is read: its size, its files, whether it is here. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path

from trainables.data.table import TableOptions


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set by name. Who reads it stands in `images.py` and `load.py`."""

    about: str
    """What it is, in two sentences for a report."""
    size: tuple[int, int] | None = None
    """Rows without the test rows, and classes (0 for a regression); None for data of the user's own."""
    files: str = ""
    """Pattern of the files that are read, in the folder of the data; empty for what comes with scikit-learn."""


SOURCES = {
    "digits": Source(
        size=(1_438, 10),
        about=(
            "Scikit-learn's digits: 1,797 hand-written digits of 8 x 8 pixels (UCI, 1998). They come with the "
            "library and train in seconds, which is good for trying out the system; a difference of less than a "
            "point is a few images."
        ),
    ),
    "fashion_mnist": Source(
        size=(60_000, 10),
        files="FashionMNIST/raw/train-images-*",
        about="Fashion-MNIST: 28 x 28 grey pictures of ten kinds of clothing (Xiao et al. 2017), a harder replacement"
        " for MNIST. It is an example of small grey product images; shirts, pullovers and coats overlap, so no model "
        "is perfect.",
    ),
    "cifar10": Source(
        size=(50_000, 10),
        files="cifar-10-batches-py/data_batch_1",
        about=(
            "CIFAR-10: 32 x 32 colour photographs of ten kinds of objects (Krizhevsky 2009), the usual first "
            "benchmark of convolutional networks. It is an example of natural images at low resolution."
        ),
    ),
    "image_folder": Source(about="Your own images: one folder for each class."),
    "california_housing": Source(
        size=(16_512, 0),
        files="cal*housing*",
        about="California housing: 20,640 districts of the census of 1990 (Pace and Barry 1997). Each row is a block"
        " group of some 1,400 people; the target is the median value of its houses. It is a common benchmark for "
        "regression on tables, with eight features, two of which are a location.",
    ),
    "diabetes": Source(
        size=(354, 0),
        about="Diabetes: 442 patients with ten measurements and the progress of the disease a year later (Efron et al."
        " 2004). It comes with scikit-learn; intervals are wide because there are few rows.",
    ),
    "breast_cancer": Source(
        size=(456, 2),
        about=(
            "Breast cancer (Wisconsin): 569 tumours with thirty measurements of cell nuclei (Wolberg et al. "
            "1995). It comes with scikit-learn; the difference between two methods is often a few rows."
        ),
    ),
    "csv": Source(about="Your own table."),
}


def size_of(name: str | None) -> tuple[int, int] | None:
    """Rows without the test rows, and classes; None for data of the user's own."""
    return SOURCES[name].size if name in SOURCES else None


def describe(name: str) -> str:
    """What a data set is; nothing of one that is not known."""
    return SOURCES[name].about if name in SOURCES else ""


def needs_download(name: str, data_dir: str | Path) -> bool:
    """Whether a known data set is not yet in this folder."""
    pattern = SOURCES[name].files if name in SOURCES else ""
    return bool(pattern) and not any(Path(data_dir).glob(pattern))


def check_train_size(train_size: int, num_rows: int, num_classes: int) -> None:
    """Raise ValueError unless a stratified subset of so many rows can be drawn and split."""
    low = max(2 * num_classes, 2)
    if not low <= train_size <= num_rows:
        raise ValueError(
            f"train_size must lie in [{low}, {num_rows}] (two rows per class up to all of them), got {train_size}; "
            "leave it out to use all"
        )


def check_table_options(name: str, table: TableOptions | None) -> None:
    """Raise ValueError unless a target is named for a table of the user's own, and for no other data set."""
    if table is not None and name != "csv":
        raise ValueError(f"--target is for your own table, but {name} has its own target; leave it out")
    if table is None and name == "csv":
        raise ValueError("your own table needs --target, the name of the column to predict")
