"""Scikit-learn's diabetes table: 442 patients, a regression, no download."""

from pathlib import Path

import numpy as np

from trainables.data.table import Table
from trainables.sources.bundled import data_file
from trainables.sources.catalogue import Source

_COLUMNS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def read(_data_dir: Path) -> Table:
    """442 patients: ten measurements, and how far diabetes had progressed a year later (Efron et al. 2004)."""
    x = np.loadtxt(data_file("diabetes_data_raw.csv.gz"))
    y = np.loadtxt(data_file("diabetes_target.csv.gz"))
    return Table(cells=dict(zip(_COLUMNS, x.T.copy(), strict=True)), y=y.astype(np.float32), target="progression")


SOURCE = Source(
    about="Diabetes: 442 patients with ten measurements and the progress of the disease a year later (Efron et al."
    " 2004). It comes with scikit-learn; intervals are wide because there are few rows.",
    read_table=read,
    size=(354, 0),
)
