"""Augmented and normalised batches, computed on the device without worker processes and without synchronisation.

All randomness of an epoch is drawn from (seed, epoch), so there is no state to store: epoch 7 in another process or
after a crash has the same batches to the bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from trainables.augmentation import boxes, pixels
from trainables.augmentation.boxes import Box
from trainables.augmentation.normalize import Normalize
from trainables.augmentation.pixels import PaddingMode
from trainables.data.dataset import Dataset

Flip = Literal["none", "random", "alternating"]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training images are changed before the network sees them, in this order; the default changes nothing."""

    rotation: float = 0.0
    """Largest angle in degrees, either way."""
    rotation_mode: PaddingMode = "zero"
    """The corners of a turned image: black, or the image reflected at its edge."""
    crop_padding: int = 0
    """Pixels added on each side before a crop of the original size at a random position; 0 for no crop."""
    padding_mode: PaddingMode = "zero"
    """The added pixels: black, or the image reflected at its edge."""
    flip: Flip = "none"
    """Horizontal flip: `random` half of the images; `alternating` each image in every second epoch (Jordan 2024)."""
    colour: float = 0.0
    """Largest relative change of brightness, contrast and saturation, each drawn on its own."""
    cutout: int = 0
    """Side in pixels of a square in the mean colour around a random centre (DeVries and Taylor 2017)."""
    erasing: float = 0.0
    """Probability of a random rectangle in the mean colour (Zhong et al. 2017, sizes as in torchvision)."""
    mixup: float = 0.0
    """Beta parameter of mixup (Zhang et al. 2017); with cutmix on as well each batch takes one of the two."""
    cutmix: float = 0.0
    """Beta parameter of cutmix (Yun et al. 2019)."""

    def __post_init__(self) -> None:
        modes = get_args(PaddingMode)
        for name, choices in (("padding_mode", modes), ("rotation_mode", modes), ("flip", get_args(Flip))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("crop_padding", "cutout"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 0:
                raise ValueError(f"{name} must be a whole number of pixels, at least 0, got {getattr(self, name)}")
        for name, high in (("rotation", 180), ("colour", 0.9), ("erasing", 1), ("mixup", 100), ("cutmix", 100)):
            if not 0 <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in [0, {high}], got {getattr(self, name)}")

    @property
    def changes(self) -> bool:
        """Whether it changes any image."""
        strengths = (self.rotation, self.crop_padding, self.colour, self.cutout, self.erasing, self.mixup, self.cutmix)
        return self.flip != "none" or any(strengths)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if rows of this shape, (C, H, W) or (F,), cannot be changed in this way."""
        if len(shape) != 3:
            for name in "rotation crop_padding colour cutout erasing mixup cutmix".split():  # codes cannot be mixed
                if getattr(self, name):
                    raise ValueError(f"{name} needs images, got rows of {shape[0]} numbers; set it to 0")
            if self.flip != "none":
                raise ValueError(f"flip needs images, got rows of {shape[0]} numbers; set it to none")
            return
        side = min(shape[1:])
        for name in ("crop_padding", "cutout"):
            if getattr(self, name) >= side:
                raise ValueError(f"{name} must be less than the {side} pixels of an image, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One training batch.

    With mixup or cutmix the loss is `weight * loss(logits, y) + (1 - weight) * loss(logits, y_mixed)`; without,
    `y_mixed` and `weight` are None.
    """

    x: Tensor
    """Normalised images (B, C, H, W), or rows of a table (B, F)."""
    y: Tensor
    """Labels int64, or targets float32 (B,)."""
    y_mixed: Tensor | None = None
    """Labels (B,) of the images mixed in."""
    weight: Tensor | None = None
    """Share of `y` as a float32 scalar on the device."""


class Batches:
    """The training rows of a data set as augmented batches, shuffled in every epoch."""

    def __init__(
        self,
        dataset: Dataset,
        config: AugmentConfig,
        *,
        batch_size: int,
        seed: int,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = True,
        own: slice | None = None,
    ) -> None:
        """
        Args:
            dataset: its training rows are used on their device, normalised by its mean and std.
            config: the augmentation.
            batch_size: rows per batch; all of them where the data set is smaller.
            seed: with the number of the epoch it decides everything random.
            dtype: of the images handed out.
            channels_last: memory format of the images handed out.
            own: the rows of each batch that are handed out, all when None; they are as in the whole batch.

        Raises:
            ValueError: the augmentation does not fit rows of this shape.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        config.check(dataset.image_shape)
        self._train, self._config, self._seed, self._passes = dataset.train, config, seed, dataset.passes
        self._batch_size, self._own = min(batch_size, len(dataset.train)), own
        self._crop = pixels.Crop(padding=config.crop_padding, mode=config.padding_mode)
        self._colour = tuple(round(255 * value) for value in dataset.mean)
        self._normalize = Normalize(dataset, dtype=dtype, channels_last=channels_last)

    def __len__(self) -> int:
        """Batches per epoch; each pass leaves out different rows that do not fill a last batch."""
        return self._batches_of_pass * self._passes

    @property
    def _batches_of_pass(self) -> int:
        return len(self._train) // self._batch_size

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of one epoch, counted from 1; every batch has `batch_size` rows, or those of `own`."""
        for each in range(self._passes):
            yield from self._pass((number - 1) * self._passes + each + 1)

    def rows(self, number: int) -> Tensor:
        """The numbers of the rows of each batch of an epoch, counted from 1: int64 (batches, rows of a batch)."""
        passes = range((number - 1) * self._passes + 1, number * self._passes + 1)
        return torch.cat([self._draw(each).rows for each in passes]).view(-1, self._batch_size)

    def _pass(self, number: int) -> Iterator[Batch]:
        """Yield the batches of one pass over the rows, counted from 1."""
        draws, count, size = self._draw(number), self._batches_of_pass, self._batch_size
        if self._own and not self._mixes:
            draws, size = draws.only(self._own, of=size), self._own.stop - self._own.start
        # On an accelerator a small kernel costs more to launch than to run; a CPU's cache holds about one batch.
        group = 1 if self._train.x.device.type == "cpu" else 16
        for first in range(0, count, group):
            part = slice(first * size, min(first + group, count) * size)
            x = self._changed(draws, part, draws.num_flipped[first : first + group])
            y = self._train.y.index_select(0, draws.rows[part])
            for index, (x_batch, y_batch) in enumerate(zip(x.split(size), y.split(size), strict=True), start=first):
                yield self._mixed(self._normalize(x_batch), y_batch, draws, index)

    def _changed(self, draws: "_Draws", part: slice, num_flipped: list[int]) -> Tensor:
        """The rows of a part of the epoch after all changes that are made on uint8 images."""
        x = self._train.x
        if x.ndim != 4:
            return x.index_select(0, draws.rows[part])
        images = x.permute(0, 2, 3, 1).index_select(0, draws.rows[part])  # (B, H, W, C)
        if self._config.rotation:
            images = pixels.rotate(images, draws.degrees[part], mode=self._config.rotation_mode)
        if self._config.crop_padding:
            images = self._crop(images, draws.top[part], draws.left[part])
        for batch, count in zip(images.chunk(len(num_flipped)), num_flipped, strict=True):
            pixels.flip_first(batch, count)
        if self._config.colour:
            images = pixels.recolour(images, draws.colours[part])
        for drawn in draws.erased:
            pixels.erase(images, drawn[part], colour=self._colour)
        return images.permute(0, 3, 1, 2)

    def _mixed(self, x: Tensor, y: Tensor, draws: "_Draws", index: int) -> Batch:
        """The batch with each image mixed with the one before it, if anything is to be mixed."""
        if not self._mixes:
            return Batch(x=x, y=y)
        weight, box = draws.weights[index], draws.mix_boxes[index]
        if box is None:
            x = torch.lerp(x.roll(1, 0), x, weight.to(x.dtype))
        else:
            y0, y1, x0, x1 = box
            x[:, :, y0:y1, x0:x1] = x[:, :, y0:y1, x0:x1].roll(1, 0)
        own = self._own or slice(None)
        return Batch(x=x[own], y=y[own], y_mixed=y.roll(1, 0)[own], weight=weight)

    @property
    def _mixes(self) -> bool:
        return bool(self._config.mixup or self._config.cutmix)

    def _draw(self, number: int) -> "_Draws":
        config, shape, device = self._config, tuple(self._train.x.shape[1:]), self._train.x.device
        rng = np.random.default_rng((self._seed, number))
        count = self._batches_of_pass * self._batch_size
        rows = rng.permutation(len(self._train))[:count].reshape(-1, self._batch_size)
        flipped = self._flipped(rows, number, rng)
        # Images to be flipped come first in their batch, so that they are one block and their number is known here.
        rows = np.take_along_axis(rows, np.argsort(~flipped, axis=1, kind="stable"), axis=1).reshape(-1)
        drawn = []
        if config.cutout:
            drawn.append(boxes.squares(shape, count, side=config.cutout, rng=rng))
        if config.erasing:
            drawn.append(boxes.rectangles(shape, count, probability=config.erasing, rng=rng))
        weights, mix_boxes = self._draw_mixes(shape, rng)

        def move(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(device, non_blocking=True)

        return _Draws(
            rows=move(rows),
            degrees=move(rng.uniform(-config.rotation, config.rotation, count).astype(np.float32)),
            top=move(rng.integers(0, 2 * config.crop_padding, count, endpoint=True)),
            left=move(rng.integers(0, 2 * config.crop_padding, count, endpoint=True)),
            colours=move(self._draw_colours(count, rng)),
            num_flipped=flipped.sum(1).tolist(),
            erased=tuple(move(box) for box in drawn),
            weights=move(weights),
            mix_boxes=mix_boxes,
        )

    def _flipped(self, rows: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """Which images are flipped, bool in the shape of `rows`."""
        if self._config.flip == "none":
            return np.zeros(rows.shape, bool)
        if self._config.flip == "random":
            return rng.random(rows.shape) < 0.5
        first = np.random.default_rng((self._seed, 0)).integers(0, 2, len(self._train))  # the same in every epoch
        return (first[rows] + number) % 2 == 1

    def _draw_colours(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Factors of brightness, contrast and saturation for each row, float32 (N, 3); empty if colours stay."""
        most = self._config.colour
        return rng.uniform(1 - most, 1 + most, (count if most else 0, 3)).astype(np.float32)

    def _draw_mixes(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, list[Box | None]]:
        """For each batch, the share of its own images, float32, and the box that cutmix takes from the others."""
        mixup, cutmix = self._config.mixup, self._config.cutmix
        count = self._batches_of_pass
        weights = np.ones(count, np.float32)
        mix_boxes: list[Box | None] = [None] * count
        for index in range(count if mixup or cutmix else 0):
            if cutmix and not (mixup and rng.random() < 0.5):
                mix_boxes[index], weights[index] = boxes.patch(shape, share=rng.beta(cutmix, cutmix), rng=rng)
            else:
                weights[index] = rng.beta(mixup, mixup)
        return weights, mix_boxes


@dataclass(frozen=True, kw_only=True)
class _Draws:
    """Everything random in one epoch. The tensors are on the device, with one entry for each of the N rows used."""

    rows: Tensor
    """int64 (N,): row numbers in the order of the batches."""
    degrees: Tensor
    """float32 (N,)."""
    top: Tensor
    """int64 (N,): first row of the crop."""
    left: Tensor
    """int64 (N,): first column of the crop."""
    colours: Tensor
    """float32 (N, 3): factors of brightness, contrast and saturation; empty if colours stay."""
    num_flipped: list[int]
    """For each batch the number of flipped images, which come first."""
    erased: tuple[Tensor, ...]
    """int64 (N, 4) each: boxes."""
    weights: Tensor
    """float32, one for each batch."""
    mix_boxes: list[Box | None]
    """For each batch the box of cutmix; None for mixup."""

    def only(self, own: slice, *, of: int) -> "_Draws":
        """Those for some rows of each batch, which has `of` rows."""

        def owned(values: Tensor) -> Tensor:
            return values.unflatten(0, (-1, of))[:, own].flatten(0, 1) if len(values) else values

        names = ("rows", "degrees", "top", "left", "colours")
        return replace(
            self,
            **{name: owned(getattr(self, name)) for name in names},
            num_flipped=[min(max(count, own.start), own.stop) - own.start for count in self.num_flipped],
            erased=tuple(owned(boxes) for boxes in self.erased),
        )
