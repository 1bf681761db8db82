"""Learning curves of every configuration of a small grid, recorded once, so that searches can be replayed on them.

    python -m benchmarks.curves --grid digits
    python -m benchmarks.curves --grid housing --data-dir DATA

Each configuration is trained to the full budget with each seed; nothing is interpolated. What is recorded goes to
`benchmarks/data/GRID.parquet`, one row per configuration, seed and epoch; an interrupted recording continues.
"""

import sys
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch

from benchmarks.grids import EPOCHS, RECORDED, Params
from search.process.arguments import parse
from trainables.data.dataset import Dataset
from trainables.sources import load as data
from trainables.training.training import Diverged, Training

DATA = Path(__file__).parent / "data"
SAVED_EVERY = 20
"""Trainings."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Record the learning curves of a grid."""

    grid: Literal["digits", "fashion", "housing", "digits_cells", "diabetes"] = "digits"
    """Which one."""
    data_dir: Path = Path("data")
    """Folder with the data sets."""
    seeds: int = 3
    """Trainings of each configuration; each seed has a split of its own."""
    processes: int = 1
    """Trainings at a time, one thread each."""


def record(name: str, data_dir: Path, job: tuple[Params, int]) -> list[dict[str, Any]]:
    """Train one configuration with one seed: a row per epoch, none from the epoch on at which it diverges."""
    torch.set_num_threads(1)
    grid, (params, seed) = RECORDED[name], job
    training = Training(grid.make(params), _load(name, seed, data_dir), epochs=EPOCHS, seed=seed)
    rows = []
    while training.epoch < EPOCHS:
        try:
            found = training.run_epoch()
        except Diverged:
            break
        row = {"epoch": found["epoch"], "value": found[grid.metric], "seconds": found["seconds"]}
        rows.append({**params, "macs": training.macs, "seed": seed, **row})
    return rows or [{**params, "macs": training.macs, "seed": seed, "epoch": 0, "value": 0.0, "seconds": 0.0}]


@lru_cache(maxsize=1)
def _load(name: str, seed: int, data_dir: Path) -> Dataset:
    grid = RECORDED[name]
    return data.load(grid.dataset, data_dir, seed=seed, train_size=grid.train_size, validation_fraction=0.5)


def main() -> None:
    """Record what is not recorded yet."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.curves")
    grid = RECORDED[options.grid]
    path = DATA / f"{options.grid}.parquet"
    path.parent.mkdir(exist_ok=True)
    table = pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=[*grid.values, "seed"])
    done = set(table[[*grid.values, "seed"]].itertuples(index=False, name=None))
    todo = [
        (params, seed)
        for seed in range(options.seeds)
        for params in grid.configurations()
        if (*params.values(), seed) not in done
    ]
    rows: list[dict[str, Any]] = []
    with get_context("spawn").Pool(options.processes) as pool:
        recorded = pool.imap_unordered(partial(record, options.grid, options.data_dir), todo)
        for number, found in enumerate(recorded, start=1):
            rows += found
            print(f"{number} of {len(todo)}: {found[-1]}", flush=True)
            if number % SAVED_EVERY == 0 or number == len(todo):
                table, rows = pd.concat([table, pd.DataFrame(rows)], ignore_index=True), []
                unfinished = path.with_suffix(".partial")
                table.to_parquet(unfinished, index=False, compression="zstd")
                unfinished.replace(path)


if __name__ == "__main__":
    main()
