"""Scikit-learn's digits at random places of a larger image, among pieces of other digits: 16x16, no download.

A harder task than the digits themselves, in the manner of cluttered MNIST (Mnih et al. 2014, "Recurrent Models of
Visual Attention").
"""

from pathlib import Path

import numpy as np

from trainables.sources import digits
from trainables.sources.catalogue import Source

_SIDE, _PIECES, _PIECE, _NOISE = 16, 4, 3, 16
"""Height and width of an image; pieces of other digits in it, and their height and width; standard deviation of the
noise, in grey levels of 0 to 255."""


def read(data_dir: Path, *, test: bool) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images uint8 (N, 16, 16, 1), labels and class names; one image of each digit, and of test digits in the test set.

    The pieces in a part are of digits of the same part. The images are the same on every machine.
    """
    x, y, classes = digits.read(data_dir, test=test)
    generator, x = np.random.default_rng(int(test)), x[..., 0]
    images = np.zeros((len(x), _SIDE, _SIDE))
    for image, digit in zip(images, x, strict=True):
        for _ in range(_PIECES):
            _put(image, _piece(x[generator.integers(len(x))], generator), generator)
        _put(image, digit, generator)
    images += generator.normal(0, _NOISE, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8)[..., None], y, classes


def _piece(digit: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    top, left = generator.integers(len(digit) - _PIECE + 1, size=2)
    return digit[top : top + _PIECE, left : left + _PIECE]


def _put(image: np.ndarray, part: np.ndarray, generator: np.random.Generator) -> None:
    """Put a part at a random place of an image; where both have ink, the brighter one is seen."""
    top, left = generator.integers(_SIDE - len(part) + 1, size=2)
    place = image[top : top + len(part), left : left + len(part)]
    np.maximum(place, part, out=place)


SOURCE = Source(
    about=(
        "Scikit-learn's 1,797 hand-written digits, each at a random place of an image of 16 x 16 pixels, among four"
        " pieces of other digits and with noise. They need no download, train in seconds, and leave room to improve."
    ),
    read_images=read,
    size=(1_438, 10),
)
