"""Small convolutional networks for CIFAR-10: what two CPU cores search in an hour.

    python -m search.run --space cifar_small --max-macs 33.3M --data-dir DATA

Size: 24 to 33 parameters, conditions as in `cifar_arch`.

As `cifar_arch`, with a narrower range of widths and one block per stage at most. With this limit, a training of all
50,000 rows takes at most 0.08 PFLOP, about 4 minutes of a core with bfloat16 matrix units.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces import cifar_arch
from spaces.parts import CnnRange, suggest_augmentation, suggest_cnn, suggest_training
from trainables.training.config import TrainConfig


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of two to four stages and its training."""
    return cifar_arch.suggest_short(trial, CnnRange(depth=(2, 4), width=(16, 192), num_blocks=1, short=True))


def suggest_1(trial: BaseTrial) -> TrainConfig:
    """The space of release 0.1."""
    model = suggest_cnn(trial, CnnRange(depth=(2, 4), width=(16, 192), num_blocks=1))
    augmentation = suggest_augmentation(trial, choices=cifar_arch.AUGMENTATIONS, max_padding=4, max_cutout=16)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(128, 256, 512))


SPACE = replace(
    cifar_arch.SPACE,
    suggest=suggest,
    baseline={**cifar_arch.BASELINE, "width_0": 32, "width_1": 128, "width_2": 128},
)
SPACE_1 = replace(
    cifar_arch.SPACE_1,
    suggest=suggest_1,
    baseline={name: value for name, value in cifar_arch.SPACE_1.baseline.items() if name != "block"}
    | {"num_blocks": 0},
    epochs=8,
)
