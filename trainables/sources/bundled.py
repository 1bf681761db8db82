"""Two small tables that scikit-learn ships: nothing to download, and nothing of scikit-learn to import."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from trainables.data.table import Table

_DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
_CELL = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points",
         "symmetry", "fractal dimension")  # fmt: skip


def data_file(name: str) -> Path:
    """Returns the path of a file that scikit-learn ships; importing scikit-learn for it would take seconds."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ValueError(f"{name} is part of scikit-learn, which is not installed; pip install scikit-learn")
    return Path(package.origin).parent / "datasets" / "data" / name


def read_diabetes(_data_dir: Path) -> Table:
    """Returns 442 patients: ten measurements, and how far diabetes had progressed a year later (Efron et al. 2004)."""
    x = np.loadtxt(data_file("diabetes_data_raw.csv.gz"))
    y = np.loadtxt(data_file("diabetes_target.csv.gz"))
    return Table(cells=dict(zip(_DIABETES, x.T.copy(), strict=True)), y=y.astype(np.float32), target="progression")


def read_breast_cancer(_data_dir: Path) -> Table:
    """Returns 569 tumours: thirty measurements of cell nuclei, and whether each is malignant (Wolberg et al. 1995)."""
    path = data_file("breast_cancer.csv")
    with path.open() as file:
        classes = tuple(file.readline().strip().split(",")[2:])
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    names = [f"{kind} {measure}" for kind in ("mean", "error of", "worst") for measure in _CELL]
    cells = dict(zip(names, table[:, :-1].T.copy(), strict=True))
    return Table(cells=cells, y=table[:, -1].astype(np.int64), classes=classes, target="diagnosis")
