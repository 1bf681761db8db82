"""CSV files of different kinds, made in the test that needs them."""

import csv
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import spaces.space
from analysis.model.load import Model, load_model
from analysis.model.write import export_model
from trainables.data.dataset import Dataset
from trainables.data.options import TableOptions
from trainables.sources.load import load
from trainables.training.training import Training

Rows = tuple[list[str], list[list[str]]]
NUM_ROWS = 300
_DRAW = random.Random(0)
A = [_DRAW.random() for _ in range(NUM_ROWS)]
B = [_DRAW.random() for _ in range(NUM_ROWS)]


def numeric_with_gaps(num_rows: int = 240) -> Rows:
    """A price that follows from two numbers, with gaps in one of them."""
    random = np.random.default_rng(0)
    size, age, noise = random.uniform(20, 200, num_rows), random.uniform(0, 90, num_rows), random.normal(size=num_rows)
    price = 3000 * size - 900 * age + 5000 * noise
    gaps = random.random(num_rows) < 0.2
    ages = ["" if gap else f"{value:.1f}" for gap, value in zip(gaps, age, strict=True)]
    table = zip(range(num_rows), size, ages, price, strict=True)
    return ["id", "size", "age", "price"], [[str(i), f"{s:.2f}", a, f"{p:.0f}"] for i, s, a, p in table]


def mixed_categories(num_rows: int = 240) -> Rows:
    """Rent by city and garden: categories, a truth value, texts with blanks and accents."""
    random = np.random.default_rng(1)
    cities = ("Bern", "Genève", "La Chaux-de-Fonds", "Zürich")
    rows = []
    for _ in range(num_rows):
        city, garden, rooms = int(random.integers(4)), bool(random.integers(2)), int(random.integers(1, 7))
        rent = 300 * rooms + 200 * city + 150 * garden + 20 * random.normal()
        named = "" if random.random() < 0.05 else cities[city]
        rows.append([named, "yes" if garden else "no", str(rooms), f"{rent:.0f}"])
    return ["city", "garden", "rooms", "rent"], rows


def beyond_float32(num_rows: int = 240) -> Rows:
    """A column of seconds and a target, both of whose offsets leave float32 no digit for what tells rows apart."""
    random = np.random.default_rng(3)
    seconds, other = random.uniform(0, 100, num_rows), random.uniform(0, 1, num_rows)
    rows = zip(seconds, other, strict=True)
    return ["when", "b", "y"], [[f"{1.7e9 + s:.2f}", f"{b:.3f}", f"{1e12 + 300 * s:.0f}"] for s, b in rows]


def imbalanced_classes(num_rows: int = 300) -> Rows:
    """Three classes of which one has every twentieth row."""
    random = np.random.default_rng(2)
    rows = []
    for index in range(num_rows):
        kind = "rare" if index % 20 == 0 else ("good", "bad")[index % 2]
        centre = {"good": 0.0, "bad": 3.0, "rare": 8.0}[kind]
        colour = "red" if random.random() < (0.8 if kind == "bad" else 0.2) else "blue"
        rows.append([f"{centre + random.normal():.3f}", colour, kind])
    return ["measure", "colour", "quality"], rows


def write_csv(path: Path, table: Rows, *, separator: str = ",", encoding: str = "utf-8") -> Path:
    header, rows = table
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=separator).writerows([header, *rows])
    return path


def change_column(table: Rows, name: str, change: Callable[[str], str], rows: Sequence[int] | None = None) -> Rows:
    """The same table with some cells of a column changed."""
    header, body = table
    place, chosen = header.index(name), range(len(body)) if rows is None else rows
    body = [list(row) for row in body]
    for index in chosen:
        body[index][place] = change(body[index][place])
    return header, body


def write(path: Path, header: str, *columns: list) -> Path:
    """A CSV file with these cells, column by column, as `str` writes them."""
    lines = [header, *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path, target: str = "y", *, fraction: float = 0.2, **options) -> Dataset:
    """The rows of a file for a search.

    Args:
        fraction: of the rows that are held out for validation.
        options: what the user says of the columns.
    """
    return load("csv", path, validation_fraction=fraction, table=TableOptions(target=target, **options))


def told(dataset: Dataset) -> str:
    """All notes on the file."""
    return "\n".join(dataset.notes)


def trained(dataset: Dataset, *, epochs: int = 15, **changes) -> Training:
    """The training of a small network after its last epoch.

    Args:
        changes: of the baseline.
    """
    space = spaces.space.load("tabular_mlp")
    params = {**space.baseline, "width": 64, "adamw_lr": 2e-2, "batch_size": 64, **changes}
    training = Training(space.decode(params), dataset, epochs=epochs, seed=0)
    for _ in range(epochs):
        training.run_epoch()
    return training


def exported(dataset: Dataset, folder: Path) -> Model:
    """A network that was trained for an epoch, as it is read again from its files."""
    (folder / "final").mkdir()
    params = {**spaces.space.load("tabular_mlp").baseline, "width": 64, "adamw_lr": 2e-2, "batch_size": 64}
    export_model(
        folder / "final", trained(dataset, epochs=1), facts={"space": "tabular_mlp", "params": params, "seed": 0}
    )
    return load_model(folder)
