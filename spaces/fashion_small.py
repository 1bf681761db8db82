"""Small convolutional networks for Fashion-MNIST: what two CPU cores search in an hour.

    python -m search.run --space fashion_small --max-macs 16M --data-dir DATA

Size: 24 to 32 parameters, conditions as in `cifar_arch`.

The parts for short trainings of `cifar_arch`, on grey images of 28x28 and for 12 epochs. With this limit, a training
of all 60,000 rows takes at most 0.07 PFLOP.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces import cifar_arch, fashion_arch
from spaces.parts import CnnRange, suggest_augmentation, suggest_cnn, suggest_training
from trainables.training.config import TrainConfig


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of two or three stages and its training for few epochs."""
    return cifar_arch.suggest_short(trial, CnnRange(depth=(2, 3), width=(16, 192), num_blocks=1, short=True))


def suggest_1(trial: BaseTrial) -> TrainConfig:
    """The space of release 0.1."""
    model = suggest_cnn(trial, CnnRange(depth=(2, 3), width=(16, 128), num_blocks=1))
    augmentation = suggest_augmentation(trial, choices=fashion_arch.AUGMENTATIONS, max_padding=4, max_cutout=14)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(128, 256, 512))


SPACE = replace(
    fashion_arch.SPACE,
    suggest=suggest,
    baseline={**cifar_arch.BASELINE, "width_0": 24, "width_1": 96, "width_2": 128},
    epochs=12,
)
SPACE_1 = replace(
    fashion_arch.SPACE,
    suggest=suggest_1,
    baseline={name: value for name, value in fashion_arch.SPACE.baseline.items() if name != "block"}
    | {"num_blocks": 0},
    epochs=12,
)
