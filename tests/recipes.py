"""Training configurations with every option, and the digits that they train on."""

from dataclasses import replace

import pytest

from trainables.augmentation.augment import AugmentConfig
from trainables.data.dataset import Dataset
from trainables.models.cnn import CnnConfig
from trainables.sources import load as data
from trainables.training.config import TrainConfig
from trainables.training.optim import AdamWConfig, MuonConfig, ScheduleConfig, SgdConfig
from trainables.training.training import Training

CNN = CnnConfig(widths=(8, 16), num_blocks=1)


PLAIN = TrainConfig(model=CNN, optimizer=SgdConfig(lr=0.05), batch_size=32)


RECIPES = {
    "plain": PLAIN,
    "adamw": replace(PLAIN, optimizer=AdamWConfig(lr=0.003)),
    "cosine": replace(PLAIN, schedule=ScheduleConfig(kind="cosine", warmup=0.1)),
    "constant": replace(PLAIN, schedule=ScheduleConfig(kind="constant", warmup=0.0)),
    "label smoothing": replace(PLAIN, label_smoothing=0.1),
    "moving average": replace(PLAIN, ema_decay=0.9),
    "class weights": replace(PLAIN, class_weights="balanced"),
    "clipping": replace(PLAIN, clip_norm=0.5),
    "dropout": replace(PLAIN, model=replace(CNN, conv_dropout=0.2, head_width=32, head_dropout=0.3)),
    "no norm": replace(PLAIN, model=replace(CNN, batch_norm=False, block="plain"), clip_norm=1.0),
    "random flip": replace(PLAIN, augmentation=AugmentConfig(crop_padding=1, flip="random", cutout=2)),
    "alternating flip": replace(PLAIN, augmentation=AugmentConfig(flip="alternating", erasing=0.5, rotation=10.0)),
    "mixing": replace(PLAIN, augmentation=AugmentConfig(mixup=0.5, cutmix=0.5), label_smoothing=0.1),
    "average pooling": replace(PLAIN, model=replace(CNN, pooling="average", activation="silu")),
    "strides": replace(PLAIN, model=replace(CNN, pooling="stride", activation="gelu", kernel_size=5)),
    "short": replace(
        PLAIN,
        model=replace(
            CNN, whitening=2, start="identity", norm_scale=False, head_pooling="max", block="plain", activation="gelu"
        ),
        optimizer=MuonConfig(lr=0.1, bias_lr=1.0, head_lr=0.02, weight_decay=1e-3),
    ),
    "rates by kind": replace(PLAIN, optimizer=SgdConfig(lr=0.05, bias_factor=4.0, head_factor=0.5)),
    "turned and recoloured": replace(
        PLAIN,
        model=replace(CNN, max_side=4),
        augmentation=AugmentConfig(rotation=180.0, rotation_mode="reflect", colour=0.4),
    ),
    "everything": TrainConfig(
        model=replace(CNN, conv_dropout=0.1, head_width=16, head_dropout=0.1),
        optimizer=AdamWConfig(lr=0.003),
        schedule=ScheduleConfig(kind="cosine"),
        augmentation=AugmentConfig(crop_padding=2, padding_mode="reflect", flip="random", cutout=2, mixup=0.2),
        batch_size=24,
        label_smoothing=0.1,
        ema_decay=0.95,
        clip_norm=1.0,
        class_weights="sqrt",
    ),
}


TIMES = ("seconds", "images_per_second", "input_seconds", "compute_seconds", "evaluation_seconds")
"""Numbers of an epoch that differ from run to run."""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A few digits; the rows do not fill the last batch."""
    return data.load("digits", tmp_path_factory.getbasetemp(), train_size=200, validation_fraction=0.25)


def run(training: Training, num_epochs: int) -> Training:
    """The training after some epochs more."""
    for _ in range(num_epochs):
        training.run_epoch()
    return training
