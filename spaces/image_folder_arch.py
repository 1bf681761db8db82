"""Convolutional networks for your own images: a folder with `train/CLASS/*` and, if there is one, `test/CLASS/*`.

    python -m search.run --space image_folder_arch --data-dir FOLDER

Size: 20 to 29 parameters; `width_i` per active stage, `block` where there are blocks, learning rate and weight decay
per optimiser, `momentum` with SGD, `clip_norm` without batch norm, strengths with their augmentation. Images with a
side above 64 pixels are halved by strided convolutions first. The ranges fit a few hundred to a few thousand images on
a CPU; for more, widen them: `--set width_0=16..256`. Where left and right differ in meaning, as in letters, `--fix
augmentation=crop_rotation` leaves the flips out.

The variant `@unequal` for classes of unequal size has `class_weights` as well; see `spaces.variants`.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces.parts import CnnRange, suggest_augmentation, suggest_class_weights, suggest_cnn, suggest_training
from spaces.space import Choice, Space
from trainables.training.config import TrainConfig

AUGMENTATIONS = (
    "none", "crop", "crop_rotation", "crop_flip", "crop_flip_rotation_colour", "crop_flip_erasing_mixup",
)  # fmt: skip
NETWORKS = CnnRange(depth=(2, 4), width=(16, 128), num_blocks=1, max_side=64)


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of two to four stages and its training."""
    model = suggest_cnn(trial, NETWORKS)
    augmentation = suggest_augmentation(trial, choices=AUGMENTATIONS, max_padding=6, max_rotation=180.0, mode="reflect")
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(16, 32, 64, 128))


def suggest_unequal(trial: BaseTrial) -> TrainConfig:
    """The same with weights of the classes."""
    return replace(suggest(trial), class_weights=suggest_class_weights(trial))


def suggest_1(trial: BaseTrial) -> TrainConfig:
    """The space of release 0.1."""
    choices = ("none", "crop", "crop_flip", "crop_flip_erasing", "crop_flip_erasing_mixup")
    model = suggest_cnn(trial, CnnRange(depth=(2, 4), width=(16, 256), num_blocks=2))
    augmentation = suggest_augmentation(trial, choices=choices, max_padding=4)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(32, 64, 128, 256))


BASELINE: dict[str, Choice] = {
    "depth": 4,
    "width_0": 32,
    "width_1": 64,
    "width_2": 96,
    "width_3": 128,
    "num_blocks": 1,
    "block": "residual",
    "kernel_size": 3,
    "batch_norm": True,
    "activation": "relu",
    "pooling": "max",
    "conv_dropout": 0.0,
    "head_width": 0,
    "head_dropout": 0.0,
    "augmentation": "crop_rotation",
    "crop_padding": 4,
    "rotation": 10.0,
    "optimizer": "adamw",
    "adamw_lr": 3e-3,
    "adamw_weight_decay": 0.05,
    "schedule": "one_cycle",
    "warmup": 0.2,
    "batch_size": 32,
    "label_smoothing": 0.1,
    "ema_decay": 0.0,
}
BASELINE_1: dict[str, Choice] = {
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
}

SPACE = Space(suggest=suggest, baseline=BASELINE, dataset="image_folder", epochs=27)
SPACE_unequal = replace(SPACE, suggest=suggest_unequal, baseline={**BASELINE, "class_weights": "none"})
SPACE_1 = Space(suggest=suggest_1, baseline=BASELINE_1, dataset="image_folder", epochs=27)
