"""Makes a square of an image of any shape: padded, cropped or stretched, over a background where it is transparent."""

import os
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from trainables.data.options import MIN_SIDE, Background, ImageOptions, Resize

if TYPE_CHECKING:
    from collections.abc import Iterable

NEAR_SQUARE = 1.12
"""Largest ratio of the sides of an image from which a crop takes little: at most a tenth of the longer side."""
MANY = 0.95
"""Share of the images that must be nearly square for all of them to be cropped."""
BRIGHT = 170.0
"""Mean grey level of visible pixels above which they would be lost on white."""
_LARGEST, _STRETCHED = 128, 64
"""Largest side that is chosen without being stated: now, and in releases that stretched the images."""
_MEMORY = 2**30
"""Bytes that the training images may take with a side that is not stated."""


class Sized(Protocol):
    """Width and height of an image in pixels."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


def fitted(image: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    """The image in this size, resampled with a bicubic filter.

    A padded image lies in the middle; each border has the mean colour of the edge that it continues.

    Args:
        image: grey or RGB.
        size: (height, width) of the result; equal unless it is stretched.
        resize: how.
    """
    width, height = image.size
    side, shorter, longer = size[0], min(width, height), max(width, height)
    if resize == "stretch" or width == height:
        return image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    if resize == "crop":
        left, top = (width - shorter) / 2, (height - shorter) / 2
        return image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + shorter, top + shorter))
    inner = max(1, round(side * shorter / longer))
    small = image.resize((side, inner) if width > height else (inner, side), Image.Resampling.BICUBIC)
    return Image.fromarray(_padded(np.asarray(small), side))


def _padded(pixels: np.ndarray, side: int) -> np.ndarray:
    """The pixels (H, W) or (H, W, C) in the middle of a square."""
    axis = 0 if pixels.shape[0] < side else 1
    across = np.moveaxis(pixels, axis, 0)  # (short, long) or (short, long, C)
    before = (side - len(across)) // 2
    first, last = (np.rint(edge.mean(0)).astype(np.uint8) for edge in (across[0], across[-1]))
    borders = (np.broadcast_to(colour, across.shape[1:]) for colour in (first, last))
    counts = (before, side - len(across) - before)
    start, end = (np.repeat(border[None], count, axis=0) for border, count in zip(borders, counts, strict=True))
    return np.ascontiguousarray(np.moveaxis(np.concatenate([start, across, end]), 0, axis))


def over(image: Image.Image, background: Background) -> Image.Image:
    """A transparent image over a background; as it is if transparency is ignored."""
    if background == "ignore":
        return image
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, background), seen).convert("RGB")


def has_transparency(image: Image.Image) -> bool:
    """Whether a pixel of the image is not opaque."""
    return bool(np.asarray(image.convert("RGBA").getchannel("A")).min() < 255)


def brightness(image: Image.Image) -> float | None:
    """The mean grey level of the visible pixels of a transparent image; None if nothing is visible."""
    seen = np.asarray(image.convert("RGBA")).reshape(-1, 4).astype(np.float64)
    weights = seen[:, 3]
    return float(seen[:, :3].mean(1) @ weights / weights.sum()) if weights.any() else None


def choose_background(levels: "Iterable[float | None]") -> Background:
    """White, or black if what is visible is bright.

    Args:
        levels: `brightness` of each transparent training image.
    """
    known = [level for level in levels if level is not None]
    return "black" if known and statistics.mean(known) > BRIGHT else "white"


def choose_resize(images: Sequence[Sized]) -> Resize:
    """A crop if nearly all images are nearly square, otherwise padding, which loses nothing."""
    near = sum(max(one.width, one.height) <= NEAR_SQUARE * min(one.width, one.height) for one in images)
    return "crop" if near >= MANY * len(images) else "letterbox"


def choose_side(images: Sequence[Sized], resize: Resize, *, channels: int, least: int = MIN_SIDE) -> int:
    """A multiple of 4 near the median of the side that fills the square, of at most 128 pixels and 1 GB in total."""
    used = max if resize == "letterbox" else min
    median = statistics.median(used(one.width, one.height) for one in images)
    largest = _STRETCHED
    if resize != "stretch":
        largest = next(side for side in (_LARGEST, 96, _STRETCHED) if _fits(side, len(images), channels))
    return min(max(4 * round(median / 4), least), largest)


def _fits(side: int, count: int, channels: int) -> bool:
    return side == _STRETCHED or count * channels * side**2 <= _MEMORY


def check_memory(side: int, count: int, channels: int) -> None:
    """Raise ValueError if squares of this side would take more than a third of the memory of this machine."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = count * channels * side**2
    if needed > total / 3:
        most = 4 * int((total / 3 / count / channels) ** 0.5 / 4)
        raise ValueError(
            f"--image-size {side} makes {needed / 1e9:.1f} GB of {count:,} images, and this machine has"
            f" {total / 1e9:.1f} GB of memory; use --image-size {most} or less"
        )


def describe(images: Sequence[Sized], form: ImageOptions, *, stated: ImageOptions) -> str:
    """How the images become squares and why, in one line."""
    assert form.size is not None
    sizes = sorted({(one.width, one.height) for one in images}, key=lambda size: size[0] * size[1])
    spread = " to ".join(f"{width}x{height}" for width, height in dict.fromkeys((sizes[0], sizes[-1])))
    uneven = sum(one.width != one.height for one in images)
    how = {"letterbox": "padded to", "crop": "cropped to their middle and resized to", "stretch": "stretched to"}
    done = how[form.resize or "stretch"] if uneven else "resized to"
    why = ""
    if uneven and stated.resize is None and form.resize == "letterbox":
        why = ", so that nothing is cut off; --resize crop cuts the longer side instead"
    elif uneven and stated.resize is None:
        why = ", which cuts off at most a tenth of nearly all of them; --resize letterbox pads them instead"
    larger = statistics.median(min(one.width, one.height) for one in images) > 1.5 * form.size
    detail = "; a larger --image-size shows more detail and takes longer" * (larger and stated.size is None)
    return f"images of {spread} pixels are {done} {form.size}x{form.size}{why}{detail}"
