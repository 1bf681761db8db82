"""The values of deep images (16 and 32 bits, floats) that become black and white: one scale for a whole folder.

A camera with 12 bits stores its values in 16-bit files, and a float can mean anything. So the training images decide
once, and the scale also applies to test images and predictions.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_KINDS = ("integer", "float")
_TOPS = {"integer": (255, 1023, 4095, 16383, 65535), "float": (1, 255)}
"""Largest values of 8, 10, 12, 14 and 16 bits; usual ranges of floats are [0, 1] and [0, 255]."""
_FEW = 1 / 4
"""If the values fill less than this share of a usual range, they are spread from black to white instead."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The values that become 0 and 255; values beyond are clipped."""

    kind: str
    """`integer` or `float`: the images to which they apply."""
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"levels must be integer or float with finite low < high, got {self}")


def default_levels() -> Levels:
    """The full range of 16 bits."""
    return Levels(kind="integer", low=0, high=65535)


def levels_from(stored: list[dict[str, Any]]) -> tuple[Levels, ...]:
    """The levels in the form of `as_stored`.

    Raises:
        TypeError, ValueError: the values are no levels.
    """
    return tuple(Levels(**one) for one in stored)


def as_stored(levels: tuple[Levels, ...]) -> list[dict[str, Any]]:
    """The levels as plain values, which `levels_from` reads."""
    return [asdict(one) for one in levels]


def choose_levels(kind: str, low: float, high: float, *, alone: bool) -> Levels:
    """The levels of images whose values lie in [low, high].

    This is the smallest usual range that contains all values: 8 to 16 bits, or [0, 1] for floats. If there is none, or
    the values fill less than a quarter of it, they are spread from black to white.

    Args:
        kind: `integer` or `float`.
        low: smallest value of the training images.
        high: largest value of the training images.
        alone: whether every training image is of this kind. If there are also images with 8 bits, a usual range is
            kept, so that the same grey gets the same value.
    """
    top = next((top for top in _TOPS[kind] if high <= top), None) if low >= 0 else None
    if top is not None and (high == low or high - low >= _FEW * top or (not alone and kind == "integer")):
        return Levels(kind=kind, low=0, high=top)
    return Levels(kind=kind, low=low, high=high if high > low else low + 1)


def scale(values: np.ndarray, levels: Levels) -> np.ndarray:
    """The values as uint8: a range of n bits loses its lowest n - 8, others are mapped linearly and rounded."""
    low, high = levels.low, levels.high
    if levels.kind == "integer" and low == 0 and high in _TOPS["integer"]:
        return (np.clip(values, 0, int(high)).astype(np.uint32) >> (int(high).bit_length() - 8)).astype(np.uint8)
    share = (np.clip(values, low, high).astype(np.float64) - low) / (high - low)
    return np.floor(255 * share + 0.5).astype(np.uint8)
