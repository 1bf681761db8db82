"""Makes small tables and image folders whose rows are divided."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write(path: Path, header: Sequence[str], rows: Any) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def images(folder: Path, *, test: bool = False) -> Path:
    rng = np.random.default_rng(1)
    for part in ("train", "test") if test else ("train",):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for number in range(24):
                pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"p{number % 6}_{number}.png")
    return folder
