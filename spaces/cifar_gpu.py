"""Convolutional networks for CIFAR-10: what a GPU of the Hopper kind searches in minutes.

    python -m search.run --space cifar_gpu --gpus-per-trial 0.2 --max-macs 700M --reduction-factor 4 --data-dir DATA

Size: 20 to 28 parameters, conditions as in `cifar_arch`.

As `cifar_arch`, with wider stages, larger batches and 32 epochs instead of 27.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces import cifar_arch
from spaces.parts import CnnRange, suggest_augmentation, suggest_cnn, suggest_training
from trainables.training.config import TrainConfig


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of two to four stages and its training."""
    model = suggest_cnn(trial, CnnRange(depth=(2, 4), width=(32, 512), num_blocks=2))
    augmentation = suggest_augmentation(trial, choices=cifar_arch.AUGMENTATIONS, max_padding=4, max_cutout=16)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(256, 512, 1024))


SPACE = replace(
    cifar_arch.SPACE_1,
    suggest=suggest,
    baseline={
        **cifar_arch.SPACE_1.baseline,
        **{"width_0": 96, "width_1": 192, "width_2": 384, "cutout": 12, "batch_size": 512, "sgd_lr": 0.4},
    },
    epochs=32,
)
