"""Makes images, and folders of them."""

import struct
import zlib
from pathlib import Path

import torch
from PIL import Image

from trainables.data.dataset import Dataset, Split

LEVELS = {"cat": 50, "dog": 200}
"""Grey level that all images of a class have."""


def make_folder(root: Path, *, per_class: int = 10, size: tuple[int, int] = (20, 24), mode: str = "RGB") -> Path:
    for part in ("train", "test"):
        for name, level in LEVELS.items():
            (root / part / name).mkdir(parents=True)
            for number in range(per_class):
                colour = level if mode == "L" else (level, number, 0)
                Image.new(mode, size, colour).save(root / part / name / f"{number}.png")
    return root


def undecodable_png() -> bytes:
    """A PNG of 8 by 8 whose header is sound, and whose pixels nobody may read yet."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)), (b"IDAT", b"no pixels"), (b"IEND", b""))
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def make_images(shape: tuple[int, int, int], num_rows: int, num_classes: int = 10) -> Dataset:
    """Noise in the shape of a data set."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (num_rows, *shape), dtype=torch.uint8, generator=generator)
    split = Split(x=x, y=torch.arange(num_rows) % num_classes)
    mean = (0.5,) * shape[0]
    classes = tuple(map(str, range(num_classes)))
    return Dataset(
        name="noise",
        task="classification",
        train=split,
        validation=Split(x=x[:0], y=split.y[:0]),
        classes=classes,
        mean=mean,
        std=mean,
        checksum="",
    )
