"""Small convolutional networks for CIFAR-10: what two CPU cores search in an hour.

    python -m search.run --space cifar_small --max-macs 11M --reduction-factor 4 --data-dir DATA

Size: 20 to 28 parameters, conditions as in `cifar_arch`.

As `cifar_arch`, with a narrower range of widths, one block per stage at most and 8 epochs instead of 27.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces import cifar_arch
from spaces.parts import CnnRange, suggest_augmentation, suggest_cnn, suggest_training
from trainables.training.config import TrainConfig


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of two to four stages and its training."""
    model = suggest_cnn(trial, CnnRange(depth=(2, 4), width=(16, 192), num_blocks=1))
    augmentation = suggest_augmentation(trial, choices=cifar_arch.AUGMENTATIONS, max_padding=4, max_cutout=16)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(128, 256, 512))


SPACE = replace(
    cifar_arch.SPACE,
    suggest=suggest,
    baseline={name: value for name, value in cifar_arch.SPACE.baseline.items() if name != "block"} | {"num_blocks": 0},
    epochs=8,
)
