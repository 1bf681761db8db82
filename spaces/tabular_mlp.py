"""Multilayer perceptrons for your own table: a CSV file and the column to predict, numbers or classes.

    python -m search.run --space tabular_mlp --data-dir my.csv --target price
    python -m search.run --space tabular_mlp --data-dir my.csv --target sold --task classification --drop id,date

Kinds of columns, gaps and the task are found from the file. A fixed fifth of the rows is the test set, a fifth of the
others validates, unless --split says otherwise. Size: 16 to 19 parameters; the strengths of an embedding where it
is used. With neighbours, an epoch takes about five times as long, and the exported model contains training rows; with
16 members, about four times as long.

Variants have one parameter more, see `spaces.variants`: `class_weights` for classes of unequal size (`@unequal`);
`target_scaling` for numbers, with a logarithm if none is below 0 (`@amounts`), without one otherwise (`@numbers`).

A small table has few steps in an epoch, so trials are compared late, at epoch 18 of 54; for one of more than 100,000
rows `--max-epochs 18 --min-epochs 2` will do.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces.parts import suggest_class_weights, suggest_table_training, suggest_target_scaling
from spaces.space import Choice, Space
from trainables.training.config import TrainConfig

BASELINE: dict[str, Choice] = {
    "scaling": "standard",
    "embedding": "none",
    "block": "plain",
    "depth": 2,
    "width": 256,
    "batch_norm": False,
    "activation": "relu",
    "dropout": 0.1,
    "adamw_lr": 1e-3,
    "adamw_weight_decay": 1e-2,
    "schedule": "cosine",
    "warmup": 0.1,
    "batch_size": 128,
    "ema_decay": 0.0,
    "neighbours": 0,
    "members": 0,
}
BASELINE_1 = {name: value for name, value in BASELINE.items() if name not in ("neighbours", "members")}


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of one to four layers or blocks and its training."""
    return suggest_table_training(trial, batch_sizes=(32, 64, 128, 256), neighbours=(0, 16), members=(0, 8, 16))


def suggest_unequal(trial: BaseTrial) -> TrainConfig:
    """The same with weights of the classes."""
    return replace(suggest(trial), class_weights=suggest_class_weights(trial))


def suggest_numbers(trial: BaseTrial) -> TrainConfig:
    """The same with a scale of the target."""
    return replace(suggest(trial), target_scaling=suggest_target_scaling(trial, choices=("standard", "quantile")))


def suggest_amounts(trial: BaseTrial) -> TrainConfig:
    """The same with a scale of the target, which can be a logarithm."""
    choices = ("standard", "log", "quantile")
    return replace(suggest(trial), target_scaling=suggest_target_scaling(trial, choices=choices))


def suggest_1(trial: BaseTrial) -> TrainConfig:
    """The space of release 0.1."""
    return suggest_table_training(trial, batch_sizes=(32, 64, 128, 256))


SPACE = Space(
    suggest=suggest,
    baseline=BASELINE,
    dataset="csv",
    validation_fraction=0.2,
    epochs=54,
    min_epochs=18,
)
SPACE_unequal = replace(SPACE, suggest=suggest_unequal, baseline={**BASELINE, "class_weights": "none"})
SPACE_numbers = replace(SPACE, suggest=suggest_numbers, baseline={**BASELINE, "target_scaling": "standard"})
SPACE_amounts = replace(SPACE, suggest=suggest_amounts, baseline={**BASELINE, "target_scaling": "standard"})
SPACE_1 = replace(SPACE, suggest=suggest_1, baseline=BASELINE_1)
