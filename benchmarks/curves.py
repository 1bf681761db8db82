"""Learning curves of every configuration of a small grid, recorded once, so that searches can be replayed on them (B4).

    python -m benchmarks.curves --grid digits
    python -m benchmarks.curves --grid fashion --data-dir DATA

Each configuration is trained to the full budget with one seed; nothing is interpolated. What is recorded goes to
`benchmarks/data/GRID.parquet`, one row per configuration and epoch; an interrupted recording continues.
"""

import itertools
import sys
from dataclasses import dataclass
from functools import partial
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
WIDTHS = (8, 16, 32)


BASELINE: dict[str, Any] = {
    "lr_level": 3,
    "weight_decay_level": 1,
    "width": 16,
    "num_blocks": 1,
    "batch_norm": True,
    "augmentation": "none",
}


def suggest_params(trial: BaseTrial) -> dict[str, Any]:
    """Asks for one of 504: seven learning rates, three weight decays, three widths, and three switches."""
    return {
        "lr_level": trial.suggest_int("lr_level", 0, 6),
        "weight_decay_level": trial.suggest_int("weight_decay_level", 0, 2),
        "width": trial.suggest_categorical("width", WIDTHS),
        "num_blocks": trial.suggest_int("num_blocks", 0, 1),
        "batch_norm": trial.suggest_categorical("batch_norm", (True, False)),
        "augmentation": trial.suggest_categorical("augmentation", ("none", "crop")),
    }


def suggest(trial: BaseTrial, *, num_stages: int) -> TrainConfig:
    """The configuration of a network with so many stages, each twice as wide as the one before."""
    params = suggest_params(trial)
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


def _grid(dataset: str, *, num_stages: int) -> Space:
    return Space(
        suggest=partial(suggest, num_stages=num_stages),
        baseline=BASELINE,
        dataset=dataset,
        epochs=EPOCHS,
        validation_fraction=0.5,
    )


GRIDS = {"digits": _grid("digits", num_stages=2), "fashion": _grid("fashion_mnist", num_stages=3)}
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
    return [dict(zip(BASELINE, chosen, strict=True)) for chosen in itertools.product(*values)]


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
    done = {tuple(row) for row in table[list(BASELINE)].itertuples(index=False)} if len(table) else set()
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
