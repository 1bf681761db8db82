"""Crops, flips, erases, rotates and recolours whole batches of uint8 images (B, H, W, C).

On a CPU, numpy copies each crop as one window of the padded image; on other devices, a single gather is used.
"""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

PaddingMode = Literal["zero", "reflect"]


class Crop:
    """Crops padded images to their original size; the padded memory is used again for the next batch."""

    def __init__(self, *, padding: int, mode: PaddingMode) -> None:
        """
        Args:
            padding: pixels added on every side, less than the height and the width of an image.
            mode: `zero` adds black, `reflect` the image mirrored at its edge pixels, which are not repeated.
        """
        self._padding = padding
        self._mode: PaddingMode = mode
        self._padded, self._windows = torch.empty(0), np.empty(0)

    def __call__(self, images: Tensor, top: Tensor, left: Tensor) -> Tensor:
        """The crops, in memory of their own.

        Args:
            images: uint8 (B, H, W, C).
            top: int64 (B,), first row of each crop in the padded image: 0 to 2 * padding.
            left: the same for the columns.
        """
        if images.device.type == "cpu":
            return self._by_copy(images, top, left)
        return _crop_by_gather(images, top, left, padding=self._padding, mode=self._mode)

    def _by_copy(self, images: Tensor, top: Tensor, left: Tensor) -> Tensor:
        size, height, width, channels = images.shape
        tall, wide = height + 2 * self._padding, width + 2 * self._padding
        if self._padded.shape != (size, tall, wide, channels):
            self._padded = images.new_zeros(size, tall, wide, channels)
            rows = self._padded.flatten(2).numpy()
            self._windows = sliding_window_view(rows, (height, width * channels), axis=(1, 2))
        _pad(images, self._padded, padding=self._padding, mode=self._mode)
        crops = self._windows[np.arange(size), top.numpy(), left.numpy() * channels]  # (B, H, W * C)
        return torch.from_numpy(crops).view(size, height, width, channels)


def _crop_by_gather(images: Tensor, top: Tensor, left: Tensor, *, padding: int, mode: PaddingMode) -> Tensor:
    size, height, width, _ = images.shape
    y = top[:, None] + torch.arange(height, device=images.device) - padding  # (B, H)
    x = left[:, None] + torch.arange(width, device=images.device) - padding  # (B, W)
    batch = torch.arange(size, device=images.device)[:, None, None]
    if mode == "reflect":
        return images[batch, _reflect(y, height)[:, :, None], _reflect(x, width)[:, None, :]]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    picked = images[batch, y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]]
    return picked * inside[..., None]


def _reflect(index: Tensor, size: int) -> Tensor:
    return size - 1 - (size - 1 - index.abs()).abs()


def _pad(images: Tensor, padded: Tensor, *, padding: int, mode: PaddingMode) -> None:
    """Write the images into the middle of the larger ones, whose border is black, and mirror them there if asked."""
    bottom, right = padding + images.shape[1], padding + images.shape[2]
    padded[:, padding:bottom, padding:right] = images
    if mode == "reflect":
        for side, end in ((1, bottom), (2, right)):
            before = padded.narrow(side, padding + 1, padding).flip(side)
            after = padded.narrow(side, end - 1 - padding, padding).flip(side)
            padded.narrow(side, 0, padding).copy_(before)
            padded.narrow(side, end, padding).copy_(after)


def flip_first(images: Tensor, count: int) -> None:
    """Mirror the first `count` images left to right, in place."""
    planes = images[:count].permute(0, 3, 1, 2)  # (B, C, H, W) in channels-last memory: torch flips these fastest
    planes.copy_(planes.flip(3))


def erase(images: Tensor, boxes: Tensor, *, colour: tuple[int, ...]) -> None:
    """Fill one rectangle of each image with a colour, in place.

    Args:
        images: uint8 (B, H, W, C), contiguous.
        boxes: int64 (B, 4): first row, last row + 1, first column, last column + 1, all within the image.
        colour: C values.
    """
    if images.device.type != "cpu":
        _erase_by_mask(images, boxes, colour=colour)
        return
    channels, fill = images.shape[3], np.array(colour * images.shape[2], np.uint8)
    for rows, (y0, y1, x0, x1) in zip(images.flatten(2).numpy(), boxes.tolist(), strict=True):
        rows[y0:y1, x0 * channels : x1 * channels] = fill[: (x1 - x0) * channels]


def _erase_by_mask(images: Tensor, boxes: Tensor, *, colour: tuple[int, ...]) -> None:
    y0, y1, x0, x1 = boxes[..., None].unbind(1)  # (B, 1) each
    y, x = (torch.arange(n, device=images.device) for n in images.shape[1:3])
    inside = ((y >= y0) & (y < y1))[:, :, None] & ((x >= x0) & (x < x1))[:, None, :]  # (B, H, W)
    for channel, value in enumerate(colour):
        images[..., channel].masked_fill_(inside, value)


def rotate(images: Tensor, degrees: Tensor, *, mode: PaddingMode = "zero") -> Tensor:
    """The images turned counter-clockwise about their centre, bilinear.

    Args:
        images: uint8 (B, H, W, C).
        degrees: float32 (B,).
        mode: `zero` leaves the corners black, `reflect` fills them with the image mirrored at its edge.
    """
    size, height, width, channels = images.shape
    cos, sin = torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))
    zero = torch.zeros_like(cos)
    rows = [torch.stack(row, 1) for row in ((cos, -sin * height / width, zero), (sin * width / height, cos, zero))]
    grid = F.affine_grid(torch.stack(rows, 1), [size, channels, height, width], align_corners=False)
    outside = "zeros" if mode == "zero" else "reflection"
    planes = F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, padding_mode=outside, align_corners=False)
    return planes.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def recolour(images: Tensor, factors: Tensor) -> Tensor:
    """The images with other brightness, contrast and saturation, cut off at black and white.

    grey + saturation * (x - grey), then brightness * mean + contrast * (x - mean), with the mean of the image.

    Args:
        images: uint8 (B, H, W, C).
        factors: float32 (B, 3): of brightness, contrast and saturation.
    """
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)  # (B, 1, 1, 1) each
    x = images.float()
    grey = x.mean(3, keepdim=True)
    x = torch.lerp(grey, x, saturation)
    mean = x.mean((1, 2, 3), keepdim=True)
    return ((x - mean) * contrast + mean * brightness).round().clamp(0, 255).to(torch.uint8)
