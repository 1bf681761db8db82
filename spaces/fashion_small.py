"""Small convolutional networks for Fashion-MNIST: what two CPU cores search in an hour.

    python -m search.run --space fashion_small --max-macs 8M --data-dir DATA

Size: 20 to 27 parameters, conditions as in `fashion_arch`.

As `fashion_arch`, with a narrower range of widths, one block per stage at most and 12 epochs instead of 27.
An epoch takes 5 to 40 seconds of one core with AVX512-BF16; `results/fashion` is such a search.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces import fashion_arch
from spaces.parts import CnnRange, suggest_augmentation, suggest_cnn, suggest_training
from trainables.training.config import TrainConfig


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of two or three stages and its training."""
    model = suggest_cnn(trial, CnnRange(depth=(2, 3), width=(16, 128), num_blocks=1))
    augmentation = suggest_augmentation(trial, choices=fashion_arch.AUGMENTATIONS, max_padding=4, max_cutout=14)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(128, 256, 512))


SPACE = replace(
    fashion_arch.SPACE,
    suggest=suggest,
    baseline={name: value for name, value in fashion_arch.SPACE.baseline.items() if name != "block"}
    | {"num_blocks": 0},
    epochs=12,
)
