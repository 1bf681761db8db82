"""Random rectangles in an image, as (first row, last row + 1, first column, last column + 1)."""

import math

import numpy as np

Box = tuple[int, int, int, int]


def squares(shape: tuple[int, ...], count: int, *, side: int, rng: np.random.Generator) -> np.ndarray:
    """Squares around a pixel drawn evenly, cut off at the edge of the image; int64 (count, 4).

    Args:
        shape: (C, H, W) of an image.
        count: number of images.
        side: in pixels.
        rng: source of the draw.
    """
    spans = []
    for size in shape[1:]:
        first = rng.integers(0, size, count) - side // 2
        spans += [np.maximum(first, 0), np.minimum(first + side, size)]
    return np.stack(spans, axis=1)


def rectangles(shape: tuple[int, ...], count: int, *, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Rectangles inside the image that cover 2 to 33 % of it, with sides in a ratio of 0.3 to 3.3; int64 (count, 4).

    These are the sizes of torchvision's RandomErasing. A rectangle is empty with probability 1 - `probability`.
    """
    _, height, width = shape
    area = height * width * rng.uniform(0.02, 0.33, count)
    ratio = np.exp(rng.uniform(math.log(0.3), math.log(3.3), count))
    used = rng.random(count) < probability
    spans = []
    for size, length in ((height, np.sqrt(area * ratio)), (width, np.sqrt(area / ratio))):
        extent = np.minimum(np.round(length).astype(np.int64), size - 1) * used
        first = rng.integers(0, size - extent, endpoint=True)
        spans += [first, first + extent]
    return np.stack(spans, axis=1)


def patch(shape: tuple[int, ...], *, share: float, rng: np.random.Generator) -> tuple[Box, float]:
    """The rectangle that cutmix takes from the other image, cut off at the edge, and the share of the own image left.

    Args:
        shape: (C, H, W) of an image.
        share: of its own pixels that an image should keep, 0 to 1.
        rng: source of the centre, drawn evenly.
    """
    _, height, width = shape
    spans = []
    for size in (height, width):
        centre, half = int(rng.integers(0, size)), int(0.5 * math.sqrt(1 - share) * size)
        spans += [max(centre - half, 0), min(centre + half, size)]
    y0, y1, x0, x1 = spans
    return (y0, y1, x0, x1), 1 - (y1 - y0) * (x1 - x0) / (height * width)
