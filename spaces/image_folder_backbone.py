"""A pretrained backbone, or networks trained from scratch, for a folder of your own images.

    python -m search.run --space image_folder_arch --data-dir FOLDER --backbone resnet18:weights.pth

`--backbone` chooses this space in place of image_folder_arch. Size: 10 to 31 parameters; those of image_folder_arch
without a backbone, `backbone_lr_factor` with a tuned one. Without an augmentation, the features of a frozen backbone
are computed once for each image, so its trials take seconds.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces.image_folder_arch import AUGMENTATIONS, NETWORKS
from spaces.parts import suggest_augmentation, suggest_backbone, suggest_class_weights, suggest_cnn, suggest_training
from spaces.space import Space
from trainables.training.config import TrainConfig


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network on the backbone or one of two to four stages, and its training."""
    model = suggest_backbone(trial)
    if model is None:
        model = suggest_cnn(trial, NETWORKS)
    augmentation = suggest_augmentation(trial, choices=AUGMENTATIONS, max_padding=6, max_rotation=180.0, mode="reflect")
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(16, 32, 64, 128))


def suggest_unequal(trial: BaseTrial) -> TrainConfig:
    """The same with weights of the classes."""
    return replace(suggest(trial), class_weights=suggest_class_weights(trial))


SPACE = Space(
    suggest=suggest,
    baseline={
        "backbone": "frozen",
        "head_dropout": 0.0,
        "augmentation": "none",
        "optimizer": "adamw",
        "adamw_lr": 3e-3,
        "adamw_weight_decay": 0.05,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "batch_size": 32,
        "label_smoothing": 0.1,
        "ema_decay": 0.0,
    },
    dataset="image_folder",
    epochs=27,
)
SPACE_unequal = replace(SPACE, suggest=suggest_unequal, baseline={**SPACE.baseline, "class_weights": "none"})
