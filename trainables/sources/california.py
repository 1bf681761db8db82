"""California housing: 20,640 districts of the census of 1990 (Pace and Barry 1997), as the eight standard features.

The file is `california_housing.csv` with the raw census columns, in which 207 counts of bedrooms are missing; without
it, scikit-learn's copy, which has no missing values, is downloaded.
"""

import csv
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainables.data.table import Table
from trainables.files.download import downloads_allowed
from trainables.sources.catalogue import Source

if TYPE_CHECKING:
    from sklearn.utils import Bunch

_FILE = "california_housing.csv"
_NUM_ROWS = 20_640
_RAW = (
    "longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population", "households",
    "median_income", "median_house_value",
)  # fmt: skip
_FEATURES = ("MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude")


def read(data_dir: Path) -> Table:
    """Every district; the target is in units of $100,000 and capped at 5.

    Raises:
        ValueError: the file is another one.
        FileNotFoundError: it is missing and scikit-learn's copy cannot be downloaded.
    """
    path = data_dir / _FILE
    cells, values = _derive(_read_raw(path)) if path.exists() else _fetch(data_dir)
    return Table(cells=cells, y=values.astype(np.float32), target="median house value", target_unit="$100k")


def _derive(raw: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The features as scikit-learn defines them, and the target."""
    households = raw["households"]
    columns = (
        raw["median_income"],
        raw["housing_median_age"],
        raw["total_rooms"] / households,
        raw["total_bedrooms"] / households,
        raw["population"],
        raw["population"] / households,
        raw["latitude"],
        raw["longitude"],
    )
    return dict(zip(_FEATURES, columns, strict=True)), raw["median_house_value"] / 100_000


def _read_raw(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [name for name in _RAW if not rows or name not in rows[0]]
    if missing or len(rows) != _NUM_ROWS:
        cause = f"no column {missing[0]!r}" if missing else f"{len(rows):,} rows"
        raise ValueError(f"{path} must contain the {_NUM_ROWS:,} districts with their original columns; it has {cause}")
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in _RAW}
    except ValueError as error:
        raise ValueError(f"{path} must contain numbers: {error}; download the file again") from None


def _fetch(data_dir: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    from sklearn.datasets import fetch_california_housing

    try:
        with warnings.catch_warnings(action="ignore"):  # scikit-learn warns before its second attempt
            found: Bunch = fetch_california_housing(  # pyright: ignore[reportAssignmentType]
                data_home=str(data_dir), download_if_missing=downloads_allowed(), n_retries=1, delay=0.1
            )
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise FileNotFoundError(
            f"{_FILE} is not in {data_dir} and scikit-learn's copy could not be downloaded ({reason}); put it there"
        ) from None
    return dict(zip(_FEATURES, found.data.T.copy(), strict=True)), found.target


SOURCE = Source(
    about=(
        "California housing: 20,640 districts of the census of 1990 (Pace and Barry 1997). Each row is a block group "
        "of some 1,400 people; the target is the median value of its houses. It is a common benchmark for regression "
        "on tables, with eight features, two of which are a location."
    ),
    read_table=read,
    size=(16_512, 0),
    files="cal*housing*",
)
