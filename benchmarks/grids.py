"""Small grids of configurations whose learning curves are recorded once: the tables that searches are replayed on."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import BaseTrial

from spaces.space import Space
from trainables.augmentation.augment import AugmentConfig
from trainables.models.cnn import CnnConfig
from trainables.models.embeddings import EncoderConfig
from trainables.models.mlp import MlpConfig
from trainables.training.config import TrainConfig
from trainables.training.optim import AdamWConfig, ScheduleConfig, SgdConfig

EPOCHS = 27
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
    epochs: int = EPOCHS
    """Of a full training."""

    @property
    def space(self) -> Space:
        return Space(
            suggest=lambda trial: self.make(self.ask(trial)),
            baseline=self.baseline,
            dataset=self.dataset,
            epochs=self.epochs,
            validation_fraction=0.5,
        )

    def ask(self, trial: BaseTrial) -> Params:
        """The configuration of a trial, or of an object with the same methods, by asking it for each parameter."""
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


def _make_cell(params: Params) -> TrainConfig:
    """A convolutional network of two stages, of which optimiser, kernel, pooling and activation are open."""
    rate = 10 ** (params["lr_level"] / 2)
    return TrainConfig(
        model=CnnConfig(
            widths=(16, 32),
            num_blocks=0,
            kernel_size=params["kernel_size"],
            pooling=params["pooling"],
            activation=params["activation"],
        ),
        optimizer=AdamWConfig(lr=3e-4 * rate) if params["optimizer"] == "adamw" else SgdConfig(lr=3e-3 * rate),
        schedule=ScheduleConfig(kind=params["schedule"], warmup=0.1),
        batch_size=64,
    )


def _make_patient(params: Params) -> TrainConfig:
    """A perceptron for a small table, plain or residual."""
    return TrainConfig(
        model=MlpConfig(
            block=params["block"],
            depth=params["depth"],
            width=params["width"],
            batch_norm=params["batch_norm"],
            dropout=params["dropout_level"] / 5,
        ),
        optimizer=AdamWConfig(lr=1e-4 * 10 ** (params["lr_level"] / 2), weight_decay=1e-2),
        schedule=ScheduleConfig(kind="cosine", warmup=0.1),
        batch_size=16,
    )


UNSEEN = {
    "digits_cells": Grid(
        values={
            "lr_level": range(5),
            "optimizer": ("sgd", "adamw"),
            "kernel_size": (3, 5),
            "pooling": ("max", "average"),
            "activation": ("relu", "gelu", "silu"),
            "schedule": ("one_cycle", "constant"),
        },
        make=_make_cell,
        baseline={
            "lr_level": 1,
            "optimizer": "sgd",
            "kernel_size": 3,
            "pooling": "max",
            "activation": "relu",
            "schedule": "one_cycle",
        },
        dataset="digits",
        metric="accuracy",
        network=("kernel_size", "pooling", "activation"),
    ),
    "diabetes": Grid(
        values={
            "lr_level": range(7),
            "width": (32, 128),
            "depth": range(1, 4),
            "block": ("plain", "residual"),
            "batch_norm": (True, False),
            "dropout_level": range(3),
        },
        make=_make_patient,
        baseline={
            "lr_level": 2,
            "width": 32,
            "depth": 2,
            "block": "plain",
            "batch_norm": False,
            "dropout_level": 0,
        },
        dataset="diabetes",
        metric="r2",
        network=("width", "depth", "block", "batch_norm"),
    ),
}
"""Tables that no method was tuned on: `benchmarks.questions` looks at them once."""
RECORDED = GRIDS | UNSEEN
