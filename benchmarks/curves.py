"""Learning curves of every configuration of a small grid, recorded once, so that searches can be replayed on them (B4).

    python -m benchmarks.curves --grid digits
    python -m benchmarks.curves --grid fashion --data-dir DATA

Each configuration is trained to the full budget with one seed; nothing is interpolated. What is recorded goes to
`benchmarks/data/GRID.parquet`, one row per configuration and epoch; an interrupted recording continues.
"""

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from optuna.trial import BaseTrial

from search.cli import parse
from spaces.space import Space
from trainables import data
from trainables.augment import AugmentConfig
from trainables.cnn import CnnConfig
from trainables.data import Dataset
from trainables.optim import ScheduleConfig, SgdConfig
from trainables.training import Diverged, TrainConfig, Training

DATA = Path(__file__).parent / "data"
EPOCHS = 27
LEVELS = {"lr_level": 7, "weight_decay_level": 3}
WIDTHS = (8, 16, 32)
PARAMS = ("lr_level", "weight_decay_level", "width", "num_blocks", "batch_norm", "augmentation")


def suggest_grid(trial: BaseTrial, *, num_stages: int) -> TrainConfig:
    """Asks for one of 504 configurations: seven learning rates, three decays, three widths, and three switches."""
    lr = 0.01 * 100 ** (trial.suggest_int("lr_level", 0, 6) / 6)
    weight_decay = 10.0 ** (trial.suggest_int("weight_decay_level", 0, 2) - 5)
    width = trial.suggest_categorical("width", WIDTHS)
    num_blocks = trial.suggest_int("num_blocks", 0, 1)
    batch_norm = trial.suggest_categorical("batch_norm", (True, False))
    augmented = trial.suggest_categorical("augmentation", ("none", "crop")) == "crop"
    widths = tuple(width * 2**i for i in range(num_stages))
    return TrainConfig(
        model=CnnConfig(widths=widths, num_blocks=num_blocks, batch_norm=batch_norm),
        optimizer=SgdConfig(lr=lr, momentum=0.9, weight_decay=weight_decay),
        schedule=ScheduleConfig(kind="one_cycle", warmup=0.2),
        augmentation=AugmentConfig(crop_padding=1 if augmented else 0),
        batch_size=64,
    )


_BASELINE = {"lr_level": 3, "weight_decay_level": 1, "width": 16, "num_blocks": 1, "batch_norm": True}
GRIDS = {
    "digits": Space(
        suggest=lambda trial: suggest_grid(trial, num_stages=2),
        baseline={**_BASELINE, "augmentation": "none"},
        dataset="digits",
        epochs=EPOCHS,
        validation_fraction=0.5,
    ),
    "fashion": Space(
        suggest=lambda trial: suggest_grid(trial, num_stages=3),
        baseline={**_BASELINE, "augmentation": "none"},
        dataset="fashion_mnist",
        epochs=EPOCHS,
        validation_fraction=0.5,
    ),
}
ROWS = {"digits": None, "fashion": 2_400}
"""Training and validation rows together; a half each."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Record the learning curves of a grid."""

    grid: Literal["digits", "fashion"] = "digits"
    """Which one."""
    data_dir: Path = Path("data")
    """Folder with the data sets."""
    seed: int = 0
    """Of the split and of every training."""


def configurations() -> list[dict[str, Any]]:
    """All parameters of the grid, in a fixed order."""
    values = (range(7), range(3), WIDTHS, range(2), (True, False), ("none", "crop"))
    return [dict(zip(PARAMS, chosen, strict=True)) for chosen in itertools.product(*values)]


def record(space: Space, params: dict[str, Any], dataset: Dataset, *, seed: int) -> list[dict[str, Any]]:
    """One row per epoch; a training that diverges has no row from that epoch on."""
    training = Training(space.decode(params), dataset, epochs=EPOCHS, seed=seed)
    rows = []
    while training.epoch < EPOCHS:
        try:
            found = training.run_epoch()
        except Diverged:
            break
        rows.append({**params, **{name: found[name] for name in ("epoch", "accuracy", "loss", "seconds")}})
    return rows or [{**params, "epoch": 0, "accuracy": 0.0, "loss": 0.0, "seconds": 0.0}]


def main() -> None:
    """Record what is not recorded yet."""
    options = parse(Options, sys.argv[1:], prog="python -m benchmarks.curves")
    torch.set_num_threads(1)
    space = GRIDS[options.grid]
    dataset = data.load(
        space.dataset,
        options.data_dir,
        seed=options.seed,
        train_size=ROWS[options.grid],
        validation_fraction=space.validation_fraction,
    )
    path = DATA / f"{options.grid}.parquet"
    path.parent.mkdir(exist_ok=True)
    table = pd.read_parquet(path) if path.exists() else pd.DataFrame()
    done = {tuple(row) for row in table[list(PARAMS)].itertuples(index=False)} if len(table) else set()
    todo = [params for params in configurations() if tuple(params.values()) not in done]
    for number, params in enumerate(todo, start=1):
        rows = record(space, params, dataset, seed=options.seed)
        table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True)
        if number % 10 == 0 or number == len(todo):
            partial = path.with_suffix(".partial")
            table.to_parquet(partial, index=False)
            partial.replace(path)
        print(f"{number} of {len(todo)}: {params}, accuracy {rows[-1]['accuracy']:.4f}", flush=True)


if __name__ == "__main__":
    main()
