"""Convolutional networks for your own images: a folder with `train/CLASS/*` and, if there is one, `test/CLASS/*`.

    python -m search.run --space image_folder_arch --data-dir FOLDER

Size: 20 to 28 parameters; `width_i` per active stage, `block` where there are blocks, learning rate and weight decay
per optimiser, `momentum` with SGD, `clip_norm` without batch norm, strengths with their augmentation. Ranges fit sides
from 8 to 64 pixels. Where left and right differ in meaning, as in letters, take the flips out of AUGMENTATIONS.
"""

from optuna.trial import BaseTrial

from spaces.parts import CnnRange, suggest_augmentation, suggest_cnn, suggest_training
from spaces.space import Space
from trainables.training.config import TrainConfig

AUGMENTATIONS = ("none", "crop", "crop_flip", "crop_flip_erasing", "crop_flip_erasing_mixup")


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of two to four stages and its training."""
    model = suggest_cnn(trial, CnnRange(depth=(2, 4), width=(16, 256), num_blocks=2))
    augmentation = suggest_augmentation(trial, choices=AUGMENTATIONS, max_padding=4)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(32, 64, 128, 256))


SPACE = Space(
    suggest=suggest,
    baseline={
        "depth": 3,
        "width_0": 32,
        "width_1": 64,
        "width_2": 128,
        "num_blocks": 1,
        "block": "residual",
        "kernel_size": 3,
        "batch_norm": True,
        "activation": "relu",
        "pooling": "max",
        "conv_dropout": 0.0,
        "head_width": 0,
        "head_dropout": 0.0,
        "augmentation": "crop_flip",
        "crop_padding": 2,
        "optimizer": "sgd",
        "sgd_lr": 0.1,
        "momentum": 0.9,
        "sgd_weight_decay": 5e-4,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "batch_size": 64,
        "label_smoothing": 0.1,
        "ema_decay": 0.0,
    },
    dataset="image_folder",
    epochs=27,
)
