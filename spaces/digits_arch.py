"""Convolutional networks for scikit-learn's built-in digits (8x8, no download), the space to start with.

    python -m search.run --space digits_arch

Size: 19 to 27 parameters; `width_i` per active stage, `block` where there are blocks, learning rate and weight decay
per optimiser, `momentum` with SGD, `clip_norm` without batch norm, strengths with their augmentation.

Run time: half a second to five seconds per full trial of 9 epochs on one core. The baseline (17k weights) reaches
97.9 % of the 144 validation rows, mean of 3 seeds (97.2, 99.3, 97.2); a row is 0.7 points.
"""

from optuna.trial import BaseTrial

from spaces.parts import CnnRange, suggest_augmentation, suggest_cnn, suggest_training
from spaces.space import Space
from trainables.training.config import TrainConfig

AUGMENTATIONS = ("none", "crop", "crop_rotation", "crop_rotation_mixup")  # a flipped digit is no digit


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of one to three stages and its training."""
    model = suggest_cnn(trial, CnnRange(depth=(1, 3), width=(8, 64), num_blocks=2))
    augmentation = suggest_augmentation(trial, choices=AUGMENTATIONS, max_padding=2)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(16, 32, 64, 128))


SPACE = Space(
    suggest=suggest,
    baseline={
        "depth": 2,
        "width_0": 16,
        "width_1": 32,
        "num_blocks": 1,
        "block": "plain",
        "kernel_size": 3,
        "batch_norm": True,
        "activation": "relu",
        "pooling": "max",
        "conv_dropout": 0.0,
        "head_width": 0,
        "head_dropout": 0.0,
        "augmentation": "crop",
        "crop_padding": 1,
        "optimizer": "sgd",
        "sgd_lr": 0.1,
        "momentum": 0.9,
        "sgd_weight_decay": 5e-4,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "batch_size": 64,
        "label_smoothing": 0.0,
        "ema_decay": 0.0,
    },
    dataset="digits",
    epochs=9,
)
