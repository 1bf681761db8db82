"""Which values of deep images (16 and 32 bits, floats) become black and white: one scale for a whole folder.

A camera of 12 bits leaves its values in files of 16, and a float can mean anything: the training images decide, once,
and test images and predictions follow.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_KINDS = ("integer", "float")
_TOPS = {"integer": (255, 1023, 4095, 16383, 65535), "float": (1, 255)}
"""Largest values of 8, 10, 12, 14 and 16 bits; floats lie in [0, 1] or hold what 8 bits hold."""
_FEW = 1 / 4
"""Share of a range below which its other values are wasted on images that fill no more."""


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The values that become 0 and 255; those beyond are clipped."""

    kind: str
    """`integer` or `float`: of which images."""
    low: float
    high: float

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"levels must be integer or float with finite low < high, got {self}")


def default_levels() -> Levels:
    """What 16 bits can hold."""
    return Levels(kind="integer", low=0, high=65535)


def levels_from(stored: list[dict[str, Any]]) -> tuple[Levels, ...]:
    """The levels that `asdict` described.

    Raises:
        TypeError, ValueError: they are something else.
    """
    return tuple(Levels(**one) for one in stored)


def as_stored(levels: tuple[Levels, ...]) -> list[dict[str, Any]]:
    """The levels as plain values, which `levels_from` reads."""
    return [asdict(one) for one in levels]


def choose_levels(kind: str, low: float, high: float, *, alone: bool) -> Levels:
    """The scale of images whose values lie in [low, high].

    It is the smallest usual range that holds all values: 8 to 16 bits, or [0, 1] for floats. Where there is none, or
    the values fill less than a quarter of it, they are spread from black to white.

    Args:
        kind: `integer` or `float`.
        low: smallest value of the training images.
        high: largest value.
        alone: every training image is of this kind. Beside images of 8 bits, usual ranges are kept, so that the same
            grey looks the same.
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
