"""The images of a folder in memory, as they are read."""

from dataclasses import dataclass, field

import numpy as np

from trainables.data.divide import Division
from trainables.data.grey_levels import Levels
from trainables.data.options import ImageOptions


@dataclass(frozen=True, kw_only=True)
class ImageRows:
    """Decoded images with their labels."""

    x: np.ndarray
    """uint8 (N, H, W, C)."""
    y: np.ndarray
    """int64 (N,)."""
    classes: tuple[str, ...]
    files: tuple[str, ...] = ()
    """Path of each image below the folder; empty for a data set that does not consist of image files."""
    levels: tuple[Levels, ...] = ()
    """How deep images were converted to uint8."""
    division: Division = field(default_factory=Division)
    """The rule of the split, with what it goes by for each image."""
    apart: bool = False
    """Whether the test images are in a folder of their own."""
    notes: tuple[str, ...] = ()
    """Notes for the user on the files, one line each."""
    form: ImageOptions | None = None
    """How the images of a folder became squares; None for other data sets."""
