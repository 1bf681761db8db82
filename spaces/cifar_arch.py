"""Convolutional networks for CIFAR-10 (32x32 colour, 10 classes; 45,000 rows train, 5,000 validate).

    python -m search.run --space cifar_arch --data-dir DATA

Size: 24 to 33 parameters; `width_i` per active stage, `block` where there are blocks, `norm_scale` with batch norm,
`clip_norm` without, rates and weight decay per optimiser, strengths with their augmentation.

For trainings of few epochs: a fixed first layer that decorrelates small patches, convolutions that start as the
identity, Muon, and separate rates for the biases of norms and for the output layer. Most of these come from airbench
(Jordan 2024, arXiv 2404.00498). Baseline (1.97M weights, 118M multiply-adds): 0.26 PFLOP for 8 epochs, about 10 minutes
of a core with bfloat16 matrix units.
"""

from dataclasses import replace

from optuna.trial import BaseTrial

from spaces.parts import CnnRange, suggest_augmentation, suggest_cnn, suggest_training
from spaces.space import Choice, Reference, Space
from trainables.training.config import TrainConfig

AUGMENTATIONS = ("none", "flip", "crop_flip", "crop_flip_cutout", "crop_flip_cutout_mixup")


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of two to four stages and its training."""
    return suggest_short(trial, CnnRange(depth=(2, 4), width=(16, 384), num_blocks=2, short=True))


def suggest_short(trial: BaseTrial, limits: CnnRange) -> TrainConfig:
    """Ask for a network within the limits and its training for few epochs."""
    model = suggest_cnn(trial, limits)
    augmentation = suggest_augmentation(trial, choices=AUGMENTATIONS, max_padding=4, max_cutout=16, mode="reflect")
    return suggest_training(
        trial, model=model, augmentation=augmentation, batch_sizes=(125, 250, 500, 1000), short=True
    )


def suggest_1(trial: BaseTrial) -> TrainConfig:
    """The space of release 0.1."""
    model = suggest_cnn(trial, CnnRange(depth=(2, 4), width=(16, 256), num_blocks=2))
    augmentation = suggest_augmentation(trial, choices=AUGMENTATIONS, max_padding=6, max_cutout=16)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(64, 128, 256, 512))


REFERENCES = (
    Reference(
        model="airbench94_muon",
        value=0.9401,
        source="Jordan 2024, mean of 200 seeds",
        weights="1.97M",
        epochs="8",
        augmentation="flip, translation; test-time augmentation",
        hardware="one A100, 2.6 s",
        note="0.29 PFLOP",
    ),
    Reference(
        model="airbench95",
        value=0.9501,
        source="Jordan 2024",
        augmentation="flip, translation; test-time augmentation",
        hardware="one A100, 10 s",
        note="1.4 PFLOP",
    ),
    Reference(
        model="airbench96",
        value=0.960,
        source="Jordan 2024",
        augmentation="flip, translation, cutout; test-time augmentation",
        hardware="one A100, 27 s",
        note="3.1 PFLOP",
    ),
    Reference(
        model="ResNet-18",
        value=0.955,
        source="common implementations, 95 to 96 %",
        weights="11.2M",
        epochs="about 200",
        augmentation="crop, flip",
        note="about 32 PFLOP",
    ),
    Reference(
        model="WRN-28-10",
        value=0.961,
        source="Zagoruyko and Komodakis 2016",
        weights="36.5M",
        epochs="200",
        augmentation="crop, flip",
    ),
    Reference(
        model="ViT-H/14",
        value=0.995,
        source="Dosovitskiy et al. 2021",
        weights="632M",
        extra_data=True,
        note="pre-trained on JFT-300M",
    ),
    Reference(model="human", value=0.94, source="Karpathy 2011", note="one person"),
)
BASELINE: dict[str, Choice] = {
    "depth": 3,
    "width_0": 64,
    "width_1": 256,
    "width_2": 256,
    "num_blocks": 1,
    "block": "plain",
    "kernel_size": 3,
    "batch_norm": True,
    "activation": "gelu",
    "pooling": "max",
    "conv_dropout": 0.0,
    "head_width": 0,
    "head_dropout": 0.0,
    "whitening": 2,
    "start": "identity",
    "norm_scale": False,
    "head_pooling": "max",
    "augmentation": "crop_flip",
    "crop_padding": 2,
    "optimizer": "muon",
    "muon_lr": 0.24,
    "muon_momentum": 0.6,
    "bias_lr": 30.0,
    "head_lr": 0.01,
    "muon_weight_decay": 2e-3,
    "schedule": "one_cycle",
    "warmup": 0.0,
    "batch_size": 1000,
    "label_smoothing": 0.2,
    "ema_decay": 0.99,
}
SPACE = Space(
    suggest=suggest,
    baseline=BASELINE,
    dataset="cifar10",
    epochs=8,
    references=REFERENCES,
)
SPACE_1 = replace(
    SPACE,
    suggest=suggest_1,
    epochs=27,
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
        "augmentation": "crop_flip_cutout",
        "crop_padding": 4,
        "cutout": 8,
        "optimizer": "sgd",
        "sgd_lr": 0.2,
        "momentum": 0.9,
        "sgd_weight_decay": 5e-4,
        "schedule": "one_cycle",
        "warmup": 0.2,
        "batch_size": 128,
        "label_smoothing": 0.1,
        "ema_decay": 0.0,
    },
)
