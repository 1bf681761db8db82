"""Peak memory and time of `rungwise predict` for many rows and many images.

    python -m benchmarks.predict_scale

Trains a small network on a thousand rows of a table with numbers, gaps and categories, exports it, writes a CSV file
and a Parquet file of a million such rows, and predicts each of them to a file. The images are PNG files. Each command
runs in a process of its own, whose peak resident memory is the kernel's `VmHWM`.
"""

import csv
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

import spaces.space
from analysis.model.write import export_model
from benchmarks.harness import describe_conditions, write_result
from trainables.data.options import TableOptions
from trainables.sources.load import load
from trainables.training.training import Training

LIMIT_MB = 1_000
"""Target: peak resident memory of a command."""
_TOWNS = ("north", "south", "old town", "harbour", "hills")
_BLOCK = 50_000
_MEASURED = """
import sys
from pathlib import Path
from analysis.predict import main
code = main(sys.argv[1:])
print(Path("/proc/self/status").read_text())
sys.exit(code)
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Predict many rows and images, and measure the peak memory."""

    rows: int = 1_000_000
    """Rows of the large table; a tenth of them is predicted as well."""
    images: int = 5_000
    """Number of images."""
    seed: int = 0


def main() -> None:
    options = tyro.cli(Options)
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(options, Path(temporary))
    table = Table("input", "rows", "MB", "seconds", f"peak MB (must be under {LIMIT_MB})", title="predict")
    for one in found:
        row = (one["input"], f"{one['rows']:,}", f"{one['input_mb']:.1f}", f"{one['seconds']:.0f}")
        table.add_row(*row, f"{one['peak_mb']:.0f}")
    console = Console(highlight=False, width=120)
    console.print(table)
    conditions = describe_conditions(seed=options.seed, threads=os.environ.get("OMP_NUM_THREADS", ""))
    console.print(f"written to {write_result('predict_scale', {'results': found, 'conditions': conditions})}")


def measure(options: Options, folder: Path) -> list[dict[str, Any]]:
    """One result for each input."""
    table, digits = folder / "table", folder / "digits"
    export_table(table, seed=options.seed)
    found = []
    for count in (options.rows // 10, options.rows):
        path = write_rows(folder / "rows.csv", count, seed=options.seed)
        found.append(_predict("CSV to CSV", count, [path], table, folder / "out.csv"))
    parquet = folder / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(path), parquet)
    found.append(_predict("Parquet to Parquet", options.rows, [parquet], table, folder / "out.parquet"))
    export_digits(digits)
    images = write_images(folder / "images", options.images, seed=options.seed)
    return [*found, _predict("PNG to CSV", len(images), images, digits, folder / "images.csv")]


def _predict(what: str, rows: int, files: list[Path], run: Path, output: Path) -> dict[str, Any]:
    """Run the command, and check that every row has a prediction."""
    command = [sys.executable, "-c", _MEASURED, str(run), *map(str, files), "--out", str(output)]
    began = time.perf_counter()
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    seconds = time.perf_counter() - began
    written = len(pyarrow.parquet.read_table(output)) if output.suffix == ".parquet" else _count_rows(output)
    if written != rows:
        raise RuntimeError(f"{written} of {rows} rows were predicted: {said}")
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    peak = int(re.findall(r"VmHWM:\s+(\d+) kB", said)[0]) / 1e3
    return {"input": what, "rows": rows, "input_mb": megabytes, "seconds": seconds, "peak_mb": peak}


def _count_rows(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def rows_of(count: int, *, seed: int) -> Iterator[list[list[str]]]:
    """Blocks of rows of nine columns: six numbers, one of them with gaps, two categories and a price."""
    random = np.random.default_rng(seed)
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        numbers = random.normal(size=(size, 6))
        town, garden = random.integers(0, len(_TOWNS), size), random.integers(0, 2, size)
        price = 100 * numbers[:, 0] + 50 * town + 30 * garden * numbers[:, 1] + random.normal(size=size)
        gaps = random.random(size) < 0.1
        yield [
            [*(f"{value:.5f}" for value in row[:5]), "" if gap else f"{row[5]:.3f}", _TOWNS[t], "yn"[g], f"{p:.2f}"]
            for row, gap, t, g, p in zip(numbers, gaps, town, garden, price, strict=True)
        ]


def write_rows(path: Path, count: int, *, seed: int) -> Path:
    """Write a CSV file of such rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*"abcdef", "town", "garden", "price"])
        for block in rows_of(count, seed=seed):
            writer.writerows(block)
    return path


def export_table(run: Path, *, seed: int) -> None:
    """A run folder with nothing but a network that was trained on a thousand rows."""
    (run / "final").mkdir(parents=True)
    path = write_rows(run / "train.csv", 1_000, seed=seed + 1)
    space = spaces.space.load("tabular_mlp")
    dataset = load("csv", path, validation_fraction=0.0, table=TableOptions(target="price"))
    _export(run, "tabular_mlp", Training(space.decode(space.baseline), dataset, epochs=3, seed=seed), epochs=3)


def export_digits(run: Path) -> None:
    """A run folder with nothing but a network for the digits."""
    (run / "final").mkdir(parents=True)
    space = spaces.space.load("digits_arch")
    dataset = load("digits", "data", validation_fraction=0.0)
    _export(run, "digits_arch", Training(space.decode(space.baseline), dataset, epochs=1, seed=0), epochs=1)


def _export(run: Path, space: str, training: Training, *, epochs: int) -> None:
    for _ in range(epochs):
        training.run_epoch()
    facts = {"space": space, "params": spaces.space.load(space).baseline, "seed": 0}
    export_model(run / "final", training, facts=facts)


def write_images(folder: Path, count: int, *, seed: int) -> list[Path]:
    """Write images of noise, 8 by 8 pixels."""
    folder.mkdir()
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 8, 8), dtype=np.uint8)
    paths = [folder / f"{index:05d}.png" for index in range(count)]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    return paths


if __name__ == "__main__":
    main()
