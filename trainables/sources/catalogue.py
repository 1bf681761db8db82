"""How large the known data sets are, and which sizes may be asked for; needs neither the rows nor torch."""

from trainables.data.table import TableOptions

SIZES: dict[str, tuple[int, int]] = {
    "digits": (1_438, 10),
    "fashion_mnist": (60_000, 10),
    "cifar10": (50_000, 10),
    "california_housing": (16_512, 0),
    "diabetes": (354, 0),
    "breast_cancer": (456, 2),
}
"""Rows without the test rows, and classes; a user's own data are not here."""


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
        raise ValueError(f"--target is for a table of your own, {name} has its own target; leave it out")
    if table is None and name == "csv":
        raise ValueError("a table of your own needs --target, the name of the column to predict")
