"""The configuration of a built-in training: network, optimizer, schedule, augmentation and batches."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from trainables.augmentation.augment import AugmentConfig
from trainables.models.cost import ModelConfig
from trainables.training.optim import AdamWConfig, MuonConfig, ScheduleConfig, SgdConfig

ClassWeights = Literal["none", "sqrt", "balanced"]
TargetScaling = Literal["standard", "log", "quantile"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides how one network is built and trained, except data, budget and seed."""

    model: ModelConfig
    optimizer: SgdConfig | AdamWConfig | MuonConfig
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    batch_size: int = 128
    """Rows per step; each epoch leaves out different rows that do not fill a last batch."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes."""
    ema_decay: float = 0.0
    """Decay per step of the moving average of the weights, which is then evaluated and kept; 0 for none."""
    clip_norm: float = 0.0
    """Largest norm of the gradient of a batch; 0 for no limit."""
    class_weights: ClassWeights = "none"
    """Weight of a row in the loss: its class's inverse frequency to the power 0, 1/2 or 1; the mean weight is 1."""
    target_scaling: TargetScaling = "standard"
    """The scale on which a regression is trained; metrics and predictions are in the unit of the target."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        for name in ("label_smoothing", "ema_decay"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        for name, choices in (("class_weights", get_args(ClassWeights)), ("target_scaling", get_args(TargetScaling))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not (self.clip_norm >= 0.0 and math.isfinite(self.clip_norm)):
            raise ValueError(f"clip_norm must be at least 0 and finite, got {self.clip_norm}")
