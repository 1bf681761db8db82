"""Augmented, normalised batches made on the device: whole batches at once, no worker processes, no synchronisation.

All randomness of an epoch is drawn from (seed, epoch), so there is no state to store: asking for epoch 7 again, in
another process or after a crash, gives the same batches to the bit.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from trainables.data import Dataset

PaddingMode = Literal["zero", "reflect"]
Flip = Literal["none", "random", "alternating"]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training images are changed before the network sees them; the default changes nothing."""

    crop_padding: int = 0
    """Pixels added on each side before a crop of the original size at a random place; 0 switches it off."""
    padding_mode: PaddingMode = "zero"
    """What the added pixels show: black, or the image reflected at its edge."""
    flip: Flip = "none"
    """Horizontal flip: `random` half of the images; `alternating` each image in every second epoch (Jordan 2024)."""
    rotation: float = 0.0
    """Largest angle in degrees, either way."""
    cutout: int = 0
    """Side in pixels of a square in the mean colour around a random centre (DeVries and Taylor 2017)."""
    erasing: float = 0.0
    """Probability of a random rectangle in the mean colour (Zhong et al. 2017, sizes as in torchvision)."""
    mixup: float = 0.0
    """Beta parameter of mixup (Zhang et al. 2017); with cutmix on as well each batch takes one of the two."""
    cutmix: float = 0.0
    """Beta parameter of cutmix (Yun et al. 2019)."""

    def __post_init__(self) -> None:
        for field, choices in (("padding_mode", get_args(PaddingMode)), ("flip", get_args(Flip))):
            if getattr(self, field) not in choices:
                raise ValueError(f"{field} must be one of {', '.join(choices)}, got {getattr(self, field)!r}")
        for field, low, high in (
            ("crop_padding", 0, math.inf),
            ("rotation", 0, 180),
            ("cutout", 0, math.inf),
            ("erasing", 0, 1),
            ("mixup", 0, math.inf),
            ("cutmix", 0, math.inf),
        ):
            value = getattr(self, field)
            if not low <= value <= high or value == math.inf:
                raise ValueError(f"{field} must lie in [{low}, {high}], got {value}")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One training batch.

    With mixup or cutmix the loss is `weight * loss(logits, y) + (1 - weight) * loss(logits, y_mixed)`; without,
    `y_mixed` and `weight` are None.
    """

    x: Tensor
    """Normalised images (B, C, H, W)."""
    y: Tensor
    """Labels int64 (B,)."""
    y_mixed: Tensor | None = None
    """Labels int64 (B,) of the images mixed in."""
    weight: Tensor | None = None
    """Share of `y` as a float32 scalar on the device."""


class Batches:
    """The training rows of a data set as augmented batches, shuffled anew in every epoch."""

    def __init__(
        self,
        dataset: Dataset,
        config: AugmentConfig,
        *,
        batch_size: int,
        seed: int,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = True,
    ) -> None:
        """Batches live on the device of the data set.

        Args:
            dataset: its training rows are used, its mean and std normalise them.
            config: the augmentation.
            batch_size: rows per batch; fewer where the data set is smaller.
            seed: with the number of the epoch it decides everything random.
            dtype: of the images handed out.
            channels_last: memory format of the images handed out.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._train = dataset.train
        self._config = config
        self._batch_size = min(batch_size, len(dataset.train))
        self._seed = seed
        self._normalize = Normalize(dataset, dtype=dtype, channels_last=channels_last)

    def __len__(self) -> int:
        """Batches per epoch; the rows that do not fill the last one sit the epoch out, others each time."""
        return len(self._train) // self._batch_size

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yields the batches of one epoch, counted from 1."""
        rng = np.random.default_rng((self._seed, number))
        order = torch.from_numpy(rng.permutation(len(self._train))).to(self._train.x.device)
        for rows in order[: len(self) * self._batch_size].split(self._batch_size):
            yield Batch(x=self._normalize(self._train.x[rows]), y=self._train.y[rows])


class Normalize:
    """Turns the rows of a split into what the network takes: zero mean and unit variance over the training rows."""

    def __init__(self, dataset: Dataset, *, dtype: torch.dtype = torch.float32, channels_last: bool = True) -> None:
        device = dataset.train.x.device
        unit = 255 if dataset.train.x.dtype == torch.uint8 else 1
        scale = 1 / (torch.tensor(dataset.std, dtype=torch.float64) * unit)
        bias = -torch.tensor(dataset.mean, dtype=torch.float64) * unit * scale
        shape = (-1, 1, 1) if dataset.train.x.ndim == 4 else (-1,)
        self._scale, self._bias = (v.to(device, torch.float32).view(shape) for v in (scale, bias))
        self._dtype, self._channels_last = dtype, channels_last

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the rows (N, C, H, W) or (N, F) normalised; uint8 or float32 in, `dtype` out."""
        x = torch.addcmul(self._bias, x.to(torch.float32), self._scale).to(self._dtype)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last if self._channels_last else torch.contiguous_format)
        return x
