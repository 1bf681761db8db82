"""Multilayer perceptrons for California housing (eight features; 13,209 rows train, 3,303 validate, 4,128 test).

    python -m search.run --space housing_mlp --data-dir DATA

Size: 15 to 18 parameters; the strengths of an embedding where it is used.

Run time of an epoch on one core: 0.3 to 1 second without neighbours, 2 to 12 seconds with them; 72 trials of up to 15
epochs took 17 minutes on two cores. The baseline (69k weights, no neighbours, 54 epochs) has an RMSE of 0.530 on the
validation rows, mean of 3 seeds (0.529, 0.529, 0.532), in units of $100,000.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces import tabular_mlp
from spaces.parts import suggest_table_training
from spaces.space import Reference, Space
from trainables.training.config import TrainConfig


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of one to four layers or blocks and its training."""
    return suggest_table_training(trial, batch_sizes=(128, 256, 512), neighbours=(0, 16, 32))


def suggest_1(trial: BaseTrial) -> TrainConfig:
    """The space of release 0.1."""
    return suggest_table_training(trial, batch_sizes=(128, 256, 512))


_SPLIT = "a different split of the same sizes; trained on 13,209 rows, without the 3,303 validation rows"


_TABR = "Gorishniy et al. 2023, arXiv:2307.14338, and its code"
_TABM = "Gorishniy et al. 2024, arXiv:2410.24210, and its code"


def _published(model: str, rmse: float, *, source: str = "Gorishniy et al. 2021, arXiv:2106.11959") -> Reference:
    return Reference(model=model, value=rmse, source=source, augmentation="none", note=_SPLIT)


SPACE = Space(
    suggest=suggest,
    baseline={**tabular_mlp.BASELINE_1, "batch_size": 256, "neighbours": 0},
    dataset="california_housing",
    validation_fraction=3_303 / 16_512,
    epochs=54,
    min_epochs=6,
    references=(
        _published("MLP", 0.499),
        _published("ResNet", 0.486),
        _published("FT-Transformer", 0.459),
        _published("LightGBM, tuned", 0.4352, source=_TABR),
        _published("XGBoost, tuned", 0.4327, source=_TABR),
        _published("CatBoost, tuned", 0.4294, source=_TABR),
        _published("TabM-mini with piecewise-linear embeddings", 0.4275, source=_TABM),
        _published("TabR with periodic embeddings", 0.3998, source=_TABR),
        _published("ensemble of five TabR with periodic embeddings", 0.3914, source=_TABR),
    ),
)
SPACE_1 = replace(SPACE, suggest=suggest_1, baseline={**tabular_mlp.BASELINE_1, "batch_size": 256})
