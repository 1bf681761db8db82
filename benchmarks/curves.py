"""Learning curves of every configuration of a small grid, recorded once, so that searches can be replayed on them (B4).

    python -m benchmarks.curves --grid digits
    python -m benchmarks.curves --grid housing --data-dir DATA

Each configuration is trained to the full budget with each seed; nothing is interpolated. What is recorded goes to
`benchmarks/data/GRID.parquet`, one row per configuration, seed and epoch; an interrupted recording continues.
"""

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from optuna.trial import BaseTrial

from search.process.arguments import parse
from spaces.space import Space
from trainables.augmentation.augment import AugmentConfig
from trainables.models.cnn import CnnConfig
from trainables.models.embeddings import EncoderConfig
from trainables.models.mlp import MlpConfig
from trainables.sources import load as data
from trainables.sources.load import Dataset
from trainables.training.optim import AdamWConfig, ScheduleConfig, SgdConfig
from trainables.training.training import Diverged, TrainConfig, Training

DATA = Path(__file__).parent / "data"
EPOCHS = 27
SAVED_EVERY = 20
"""Trainings."""
Params = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Every combination of some values: what is recorded, and the space that a search on the recording has."""

    values: Mapping[str, Sequence[Any]]
    """Of each parameter; a range is one of whole numbers, anything else a choice."""
    make: Callable[[Params], TrainConfig]
    baseline: Params
    dataset: str
    metric: str
    """What is recorded; larger is better."""
    network: tuple[str, ...]
    """The parameters that what an epoch takes depends on."""
    train_size: int | None = None
    """Training and validation rows together; a half each."""

    @property
    def space(self) -> Space:
        return Space(
            suggest=lambda trial: self.make(self.ask(trial)),
            baseline=self.baseline,
            dataset=self.dataset,
            epochs=EPOCHS,
            validation_fraction=0.5,
        )

    def ask(self, trial: BaseTrial) -> Params:
        """Asks a trial, or what stands for one, for each parameter."""
        return {
            name: trial.suggest_int(name, values[0], values[-1])
            if isinstance(values, range)
            else trial.suggest_categorical(name, values)
            for name, values in self.values.items()
        }

    def configurations(self) -> list[Params]:
        """All of them, in a fixed order."""
        return [dict(zip(self.values, chosen, strict=True)) for chosen in itertools.product(*self.values.values())]


def _make_cnn(params: Params, *, num_stages: int) -> TrainConfig:
    """A network with so many stages, each twice as wide as the one before."""
    return TrainConfig(
        model=CnnConfig(
            widths=tuple(params["width"] * 2**i for i in range(num_stages)),
            num_blocks=params["num_blocks"],
            batch_norm=params["batch_norm"],
        ),
        optimizer=SgdConfig(
            lr=0.01 * 100 ** (params["lr_level"] / 6),
            momentum=0.9,
            weight_decay=10.0 ** (params["weight_decay_level"] - 5),
        ),
        schedule=ScheduleConfig(kind="one_cycle", warmup=0.2),
        augmentation=AugmentConfig(crop_padding=1 if params["augmentation"] == "crop" else 0),
        batch_size=64,
    )


def _cnn_grid(dataset: str, *, num_stages: int, train_size: int | None) -> Grid:
    """504: seven learning rates, three weight decays, three widths, and three switches."""
    return Grid(
        values={
            "lr_level": range(7),
            "weight_decay_level": range(3),
            "width": (8, 16, 32),
            "num_blocks": range(2),
            "batch_norm": (True, False),
            "augmentation": ("none", "crop"),
        },
        make=lambda params: _make_cnn(params, num_stages=num_stages),
        baseline={
            "lr_level": 3,
            "weight_decay_level": 1,
            "width": 16,
            "num_blocks": 1,
            "batch_norm": True,
            "augmentation": "none",
        },
        dataset=dataset,
        metric="accuracy",
        network=("width", "num_blocks", "batch_norm", "augmentation"),
        train_size=train_size,
    )


def _make_mlp(params: Params) -> TrainConfig:
    return TrainConfig(
        model=MlpConfig(
            encoder=EncoderConfig(scaling=params["scaling"]),
            depth=params["depth"],
            width=params["width"],
            batch_norm=params["batch_norm"],
            activation=params["activation"],
            dropout=params["dropout_level"] / 10,
        ),
        optimizer=AdamWConfig(lr=1e-4 * 10 ** (params["lr_level"] / 2), weight_decay=1e-2),
        schedule=ScheduleConfig(kind="cosine", warmup=0.1),
        batch_size=128,
    )


GRIDS = {
    "digits": _cnn_grid("digits", num_stages=2, train_size=None),
    "fashion": _cnn_grid("fashion_mnist", num_stages=3, train_size=2_400),
    "housing": Grid(
        values={
            "lr_level": range(7),
            "width": (32, 64, 128),
            "depth": range(1, 4),
            "batch_norm": (True, False),
            "activation": ("relu", "silu"),
            "dropout_level": range(3),
            "scaling": ("standard", "quantile"),
        },
        make=_make_mlp,
        baseline={
            "lr_level": 2,
            "width": 64,
            "depth": 2,
            "batch_norm": False,
            "activation": "relu",
            "dropout_level": 1,
            "scaling": "standard",
        },
        dataset="california_housing",
        metric="r2",
        network=("width", "depth", "batch_norm", "activation", "dropout_level"),
        train_size=8_000,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Record the learning curves of a grid."""

    grid: Literal["digits", "fashion", "housing"] = "digits"
    """Which one."""
    data_dir: Path = Path("data")
    """Folder with the data sets."""
    seeds: int = 3
    """Trainings of each configuration; each seed has a split of its own."""
    processes: int = 1
    """Trainings at a time, one thread each."""


def record(name: str, data_dir: Path, job: tuple[Params, int]) -> list[dict[str, Any]]:
    """Trains one configuration with one seed: a row per epoch, none from the epoch on at which it diverges."""
    torch.set_num_threads(1)
    grid, (params, seed) = GRIDS[name], job
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
    grid = GRIDS[name]
    return data.load(grid.dataset, data_dir, seed=seed, train_size=grid.train_size, validation_fraction=0.5)


def main() -> None:
    """Record what is not recorded yet."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.curves")
    grid = GRIDS[options.grid]
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
