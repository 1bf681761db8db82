"""Scikit-learn's breast cancer table: 569 tumours of two classes, no download."""

from pathlib import Path

import numpy as np

from trainables.data.table import Table
from trainables.sources.bundled import data_file
from trainables.sources.catalogue import Source

_CELL = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points",
         "symmetry", "fractal dimension")  # fmt: skip


def read(_data_dir: Path) -> Table:
    """569 tumours: thirty measurements of cell nuclei, and whether each is malignant (Wolberg et al. 1995)."""
    path = data_file("breast_cancer.csv")
    with path.open() as file:
        classes = tuple(file.readline().strip().split(",")[2:])
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    names = [f"{kind} {measure}" for kind in ("mean", "error of", "worst") for measure in _CELL]
    cells = dict(zip(names, table[:, :-1].T.copy(), strict=True))
    return Table(cells=cells, y=table[:, -1].astype(np.int64), classes=classes, target="diagnosis")


SOURCE = Source(
    about="Breast cancer (Wisconsin): 569 tumours with thirty measurements of cell nuclei (Wolberg et al. 1995). It "
    "comes with scikit-learn; the difference between two methods is often a few rows.",
    read_table=read,
    size=(456, 2),
)
