"""Convolutional networks for CIFAR-10 (32x32 colour, 10 classes; 45,000 rows train, 5,000 validate).

    python -m search.run --space cifar_arch --data-dir DATA

Size: 20 to 28 parameters; `width_i` per active stage, `block` where there are blocks, learning rate and weight decay
per optimiser, `momentum` with SGD, `clip_norm` without batch norm, strengths with their augmentation.

Baseline (483k weights): 89.6 % of the validation rows, mean of 3 seeds (89.5, 89.6, 89.7), after 27 epochs. One core
with bfloat16 matrix units trains 2,000 images a second, which makes 10 minutes; measured by
`python -m benchmarks.accuracy --space cifar_arch --seeds 3 --threads 1 --data-dir DATA`.
"""

from optuna.trial import BaseTrial

from spaces.parts import CnnRange, suggest_augmentation, suggest_cnn, suggest_training
from spaces.space import Reference, Space
from trainables.training.config import TrainConfig

AUGMENTATIONS = ("none", "flip", "crop_flip", "crop_flip_cutout", "crop_flip_cutout_mixup")


def suggest(trial: BaseTrial) -> TrainConfig:
    """Ask for a network of two to four stages and its training."""
    model = suggest_cnn(trial, CnnRange(depth=(2, 4), width=(16, 256), num_blocks=2))
    augmentation = suggest_augmentation(trial, choices=AUGMENTATIONS, max_padding=6, max_cutout=16)
    return suggest_training(trial, model=model, augmentation=augmentation, batch_sizes=(64, 128, 256, 512))


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
    dataset="cifar10",
    epochs=27,
    references=(
        Reference(
            model="airbench94",
            value=0.940,
            source="Jordan 2024",
            augmentation="flip, translation; test-time augmentation",
            hardware="one A100, 2.6 s",
        ),
        Reference(
            model="airbench96",
            value=0.960,
            source="Jordan 2024",
            augmentation="flip, translation, cutout; test-time augmentation",
            hardware="one A100, 27 s",
        ),
        Reference(
            model="ResNet-18",
            value=0.955,
            source="common implementations, 95 to 96 %",
            weights="11.2M",
            epochs="about 200",
            augmentation="crop, flip",
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
    ),
)
