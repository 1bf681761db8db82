"""Groups of hyperparameters that the built-in spaces share: network, encoder, optimiser, schedule, augmentation."""

from dataclasses import dataclass, replace
from typing import TypeVar, cast

from optuna.trial import BaseTrial

from trainables.augmentation.augment import AugmentConfig
from trainables.augmentation.pixels import PaddingMode
from trainables.models.backbone import BackboneConfig
from trainables.models.cnn import CnnConfig, round_width
from trainables.models.embeddings import Embedding, EncoderConfig, Scaling
from trainables.models.mlp import MlpConfig
from trainables.training.config import ClassWeights, TargetScaling, TrainConfig
from trainables.training.optim import AdamWConfig, MuonConfig, ScheduleConfig, SgdConfig

Choice = TypeVar("Choice", bound=str | int | float | bool)


@dataclass(frozen=True, kw_only=True)
class CnnRange:
    """Limits for the size of a network."""

    depth: tuple[int, int]
    """Fewest and most stages."""
    width: tuple[int, int]
    """Fewest and most channels of a stage."""
    num_blocks: int
    """Most blocks per stage."""
    max_side: int = 0
    """Longest side that the stages see; that of the images if 0."""
    short: bool = False
    """Whether the parts that help networks which train for few epochs are suggested: `whitening`, `start`,
    `norm_scale` and `head_pooling`."""


def suggest_training(
    trial: BaseTrial,
    *,
    model: CnnConfig | BackboneConfig,
    augmentation: AugmentConfig,
    batch_sizes: tuple[int, ...],
    short: bool = False,
) -> TrainConfig:
    """Suggest the optimiser, the schedule and the other training settings for a network and its augmentation.

    `clip_norm` is suggested only without batch norm, which limits the gradient itself.

    Args:
        trial: suggests the values.
        model: the network.
        augmentation: of its training images.
        batch_sizes: choices for the images of a step.
        short: for trainings of few epochs: `suggest_short_optimizer`, no warm-up at all as a choice, and up to twice as
            much label smoothing.
    """
    return TrainConfig(
        model=model,
        augmentation=augmentation,
        optimizer=suggest_short_optimizer(trial) if short else suggest_optimizer(trial),
        schedule=suggest_schedule(trial, lowest_warmup=0.0 if short else 0.05),
        batch_size=_choose(trial, "batch_size", batch_sizes),
        label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.4 if short else 0.2, step=0.05),
        ema_decay=_choose(trial, "ema_decay", (0.0, 0.99, 0.998)),
        clip_norm=0.0 if model.batch_norm else trial.suggest_float("clip_norm", 0.1, 10.0, log=True),
    )


def suggest_table_training(
    trial: BaseTrial,
    *,
    batch_sizes: tuple[int, ...],
    neighbours: tuple[int, ...] = (),
    members: tuple[int, ...] = (),
) -> TrainConfig:
    """Suggest a network for a table and its training with AdamW.

    Args:
        trial: suggests the values.
        batch_sizes: choices for the rows of a step.
        neighbours, members: as in `suggest_mlp`.
    """
    return TrainConfig(
        model=suggest_mlp(trial, neighbours=neighbours, members=members),
        optimizer=suggest_adamw(trial),
        schedule=suggest_schedule(trial),
        batch_size=_choose(trial, "batch_size", batch_sizes),
        ema_decay=_choose(trial, "ema_decay", (0.0, 0.99, 0.998)),
    )


def suggest_mlp(trial: BaseTrial, *, neighbours: tuple[int, ...] = (), members: tuple[int, ...] = ()) -> MlpConfig:
    """Suggest a network; the settings of an embedding only if it is used.

    Args:
        trial: suggests the values.
        neighbours: choices for the number of training rows that a prediction takes into account, with 0 for none; it is
            not suggested if empty.
        members: choices for the number of networks that share their layers, with 0 for a single one; it is not
            suggested if empty.
    """
    return MlpConfig(
        encoder=suggest_encoder(trial, lowest_frequency=0.01 if neighbours else 0.05),
        block=_choose(trial, "block", ("plain", "residual")),
        depth=trial.suggest_int("depth", 1, 4),
        width=round_width(trial.suggest_int("width", 64, 512, log=True)),
        batch_norm=_choose(trial, "batch_norm", (True, False)),
        activation=_choose(trial, "activation", ("relu", "gelu", "silu")),
        dropout=trial.suggest_float("dropout", 0.0, 0.5, step=0.05),
        neighbours=_choose(trial, "neighbours", neighbours) if neighbours else 0,
        members=_choose(trial, "members", members) if members else 0,
    )


def suggest_encoder(trial: BaseTrial, *, lowest_frequency: float = 0.05) -> EncoderConfig:
    """Suggest how the columns of a table are scaled and embedded.

    Args:
        trial: suggests the values.
        lowest_frequency: lower end of `frequency_scale`. Distances between neighbours call for smoother embeddings.
    """
    scaling: Scaling = _choose(trial, "scaling", ("standard", "quantile"))
    embedding: Embedding = _choose(trial, "embedding", ("none", "piecewise_linear", "periodic"))
    if embedding == "none":
        return EncoderConfig(scaling=scaling)
    size = trial.suggest_int("embedding_size", 8, 32, step=8)
    if embedding == "piecewise_linear":
        num_bins = trial.suggest_int("num_bins", 8, 128, log=True)
        return EncoderConfig(scaling=scaling, embedding=embedding, embedding_size=size, num_bins=num_bins)
    return EncoderConfig(
        scaling=scaling,
        embedding=embedding,
        embedding_size=size,
        num_frequencies=trial.suggest_int("num_frequencies", 8, 64, log=True),
        frequency_scale=trial.suggest_float("frequency_scale", lowest_frequency, 2.0, log=True),
    )


def suggest_cnn(trial: BaseTrial, limits: CnnRange) -> CnnConfig:
    """Suggest a network.

    There is one `width_i` per active stage, rounded to a multiple of 8; `block` is suggested only if there are blocks,
    and `norm_scale` only with batch norm.
    """
    depth = trial.suggest_int("depth", *limits.depth)
    widths = tuple(round_width(trial.suggest_int(f"width_{i}", *limits.width, log=True)) for i in range(depth))
    num_blocks = trial.suggest_int("num_blocks", 0, limits.num_blocks)
    config = CnnConfig(
        widths=widths,
        num_blocks=num_blocks,
        block=_choose(trial, "block", ("plain", "residual")) if num_blocks else "plain",
        kernel_size=_choose(trial, "kernel_size", (3, 5)),
        batch_norm=_choose(trial, "batch_norm", (True, False)),
        activation=_choose(trial, "activation", ("relu", "gelu", "silu")),
        pooling=_choose(trial, "pooling", ("max", "average", "stride")),
        conv_dropout=trial.suggest_float("conv_dropout", 0.0, 0.3, step=0.05),
        head_width=trial.suggest_int("head_width", 0, 256, step=64),
        head_dropout=trial.suggest_float("head_dropout", 0.0, 0.5, step=0.1),
        max_side=limits.max_side,
    )
    return _with_short_parts(trial, config) if limits.short else config


def _with_short_parts(trial: BaseTrial, config: CnnConfig) -> CnnConfig:
    return replace(
        config,
        whitening=_choose(trial, "whitening", (0, 2, 3)),
        start=_choose(trial, "start", ("he", "identity")),
        norm_scale=_choose(trial, "norm_scale", (True, False)) if config.batch_norm else True,
        head_pooling=_choose(trial, "head_pooling", ("average", "max")),
    )


def suggest_backbone(trial: BaseTrial) -> BackboneConfig | None:
    """Suggest how the pretrained network is used; None for a network without it."""
    kind = trial.suggest_categorical("backbone", ("frozen", "tuned", "none"))
    if kind == "none":
        return None
    return BackboneConfig(
        tuned=kind == "tuned",
        lr_factor=trial.suggest_float("backbone_lr_factor", 0.01, 1.0, log=True) if kind == "tuned" else 0.1,
        head_dropout=trial.suggest_float("head_dropout", 0.0, 0.5, step=0.1),
    )


def suggest_optimizer(trial: BaseTrial) -> SgdConfig | AdamWConfig:
    """Suggest an optimiser; each has its own learning rate and weight decay, and only SGD has `momentum`."""
    if trial.suggest_categorical("optimizer", ("sgd", "adamw")) == "sgd":
        return SgdConfig(
            lr=trial.suggest_float("sgd_lr", 0.01, 1.0, log=True),
            momentum=trial.suggest_float("momentum", 0.8, 0.98),
            weight_decay=trial.suggest_float("sgd_weight_decay", 1e-5, 1e-2, log=True),
        )
    return suggest_adamw(trial)


def suggest_short_optimizer(trial: BaseTrial) -> SgdConfig | AdamWConfig | MuonConfig:
    """Suggest an optimiser for image networks that train for few epochs: AdamW, or SGD or Muon with separate rates.

    The rates are those for batches of any size; the best ones grow with `batch_size`.
    """
    kind = trial.suggest_categorical("optimizer", ("muon", "sgd", "adamw"))
    if kind == "muon":
        return MuonConfig(
            lr=trial.suggest_float("muon_lr", 0.02, 0.5, log=True),
            momentum=trial.suggest_float("muon_momentum", 0.3, 0.95),
            bias_lr=trial.suggest_float("bias_lr", 0.5, 200.0, log=True),
            head_lr=trial.suggest_float("head_lr", 5e-4, 0.05, log=True),
            weight_decay=trial.suggest_float("muon_weight_decay", 1e-5, 1e-2, log=True),
        )
    if kind == "sgd":
        return SgdConfig(
            lr=trial.suggest_float("sgd_lr", 0.05, 3.0, log=True),
            momentum=trial.suggest_float("momentum", 0.7, 0.98),
            weight_decay=trial.suggest_float("sgd_weight_decay", 1e-5, 1e-2, log=True),
            bias_factor=trial.suggest_float("bias_factor", 1.0, 128.0, log=True),
            head_factor=trial.suggest_float("head_factor", 0.01, 1.0, log=True),
        )
    return suggest_adamw(trial)


def suggest_adamw(trial: BaseTrial) -> AdamWConfig:
    """Suggest learning rate and weight decay."""
    return AdamWConfig(
        lr=trial.suggest_float("adamw_lr", 2e-4, 2e-2, log=True),
        weight_decay=trial.suggest_float("adamw_weight_decay", 1e-3, 1.0, log=True),
    )


def suggest_schedule(trial: BaseTrial, *, lowest_warmup: float = 0.05) -> ScheduleConfig:
    """Suggest the learning rate schedule."""
    return ScheduleConfig(
        kind=_choose(trial, "schedule", ("one_cycle", "cosine")),
        warmup=trial.suggest_float("warmup", lowest_warmup, 0.4, step=0.05),
    )


def suggest_augmentation(
    trial: BaseTrial,
    *,
    choices: tuple[str, ...],
    max_padding: int = 4,
    max_cutout: int = 16,
    max_rotation: float = 15.0,
    mode: PaddingMode = "zero",
) -> AugmentConfig:
    """Suggest one of several augmentations, and only the strengths that it uses.

    Args:
        trial: suggests the values.
        choices: steps joined by "_" (crop, flip, rotation, colour, cutout, erasing, mixup), such as "crop_flip"; or
            "none".
        max_padding: largest shift of a crop, in pixels.
        max_cutout: largest side of the square cut out, in pixels.
        max_rotation: largest angle in degrees.
        mode: what appears at the edge of an image that is shifted or turned.
    """
    steps = trial.suggest_categorical("augmentation", choices).split("_")
    return AugmentConfig(
        crop_padding=trial.suggest_int("crop_padding", 1, max_padding) if "crop" in steps else 0,
        flip="alternating" if "flip" in steps else "none",
        rotation=trial.suggest_float("rotation", 2.0, max_rotation) if "rotation" in steps else 0.0,
        rotation_mode=mode,
        padding_mode=mode,
        colour=trial.suggest_float("colour", 0.1, 0.5) if "colour" in steps else 0.0,
        cutout=trial.suggest_int("cutout", 2, max_cutout, step=2) if "cutout" in steps else 0,
        erasing=trial.suggest_float("erasing", 0.1, 0.5) if "erasing" in steps else 0.0,
        mixup=trial.suggest_float("mixup", 0.1, 1.0) if "mixup" in steps else 0.0,
    )


def suggest_class_weights(trial: BaseTrial) -> ClassWeights:
    """Suggest how much more a row of a rare class counts in the training loss."""
    return _choose(trial, "class_weights", ("none", "sqrt", "balanced"))


def suggest_target_scaling(trial: BaseTrial, *, choices: tuple[TargetScaling, ...]) -> TargetScaling:
    """Suggest the scale on which a regression is trained."""
    return _choose(trial, "target_scaling", choices)


def _choose(trial: BaseTrial, name: str, choices: tuple[Choice, ...]) -> Choice:
    return cast(Choice, trial.suggest_categorical(name, choices))
