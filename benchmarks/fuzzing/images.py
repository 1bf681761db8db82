"""Random image folders in every mode and depth that Pillow writes, and more, read as a search reads them.

    run(count=500, seed=0)

The right pixels are known from how the files were made (`image_files.py`); the scale of deep images is computed here
once more from its description. Damaged files must be refused and named, files of other kinds left out and counted.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.fuzzing import image_files as files
from benchmarks.fuzzing.image_files import SIDE, Made, Maker
from trainables.data.options import STRETCHED
from trainables.images.file import quiet
from trainables.sources.images import check_test_files
from trainables.sources.load import load, load_test

STRETCHED_SIDE = replace(STRETCHED, size=SIDE)
PER_FOLDER = 20
"""Images of a folder, in two classes."""
_SURE = {".avif", ".bmp", ".dds", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".qoi", ".tif", ".tiff", ".webp"}
"""Formats whose first bytes are enough to know them."""


@dataclass(kw_only=True)
class Counts:
    """What came of the images so far."""

    images: int = 0
    right: int = 0
    refused: int = 0
    left_out: int = 0
    failures: list[str] = field(default_factory=list)


def run(count: int, seed: int) -> dict[str, Any]:
    """Make so many images, read them as a search does, and compare.

    Args:
        count: images, rounded up to whole folders.
        seed: of everything that is drawn.

    Returns:
        `images`, `right`, `refused`, `left_out`, and `failures`: a line for each image or folder that came out wrong.
    """
    rng = np.random.default_rng(seed)
    counts = Counts()
    themes: list[Callable[[Path, np.random.Generator, Counts], None]] = [
        _sound(files.grey_makers),
        _sound(lambda: files.grey_makers() + files.colour_makers()),
        _sound(files.colour_makers),
        *(_sound(lambda bits=bits: files.integer_makers(bits)) for bits in (8, 10, 12, 14, 16)),
        *(_sound(lambda ends=ends: files.wide_makers(*ends)) for ends in ((0, 10**6), (-1024, 3071), (5, 2**31 - 1))),
        *(_sound(lambda ends=ends: files.float_makers(*ends)) for ends in ((0, 1), (0, 255), (-3.5, 7), (0, 1e-6))),
        _sound(lambda: files.grey_makers()[:9] + files.integer_makers(16)),
        *[_damaged] * 4,
        _other_names,
    ]
    number = 0
    while counts.images < count:
        with tempfile.TemporaryDirectory() as folder, quiet():  # Pillow warns of some formats that it writes
            try:
                themes[number % len(themes)](Path(folder), rng, counts)
            except Exception as error:  # what a fuzz looks for: an exception that no caller expects
                counts.failures.append(f"folder {number}: {type(error).__name__}: {error}")
        number += 1
    return vars(counts)


def _sound(makers: Callable[[], Sequence[Maker]]) -> Callable[[Path, np.random.Generator, Counts], None]:
    """A folder whose images must all come out as they were made."""

    def play(folder: Path, rng: np.random.Generator, counts: Counts) -> None:
        known = makers()
        chosen = [known[int(rng.integers(len(known)))] for _ in range(PER_FOLDER)]
        _compare(folder, _write(folder, rng, [maker(rng) for maker in chosen]), counts)

    return play


def _other_names(folder: Path, rng: np.random.Generator, counts: Counts) -> None:
    """Sound images under suffixes that lie or say nothing, beside files that are no images."""
    known = [one for maker in files.colour_makers() if (one := maker(rng)).suffix in _SURE]
    sound = [known[int(rng.integers(len(known)))] for _ in range(PER_FOLDER)]
    names = ["", ".dat", ".jpg", ".PNG", ".gif", ".jpg_large", ".tiff"]
    made = [Made(**{**vars(one), "suffix": names[int(rng.integers(len(names)))]}) for one in sound]
    written = _write(folder, rng, made)
    others = {"notes.txt": 1, "label.csv": 1, "photo.heic": 1, "old/1.png": 1, "backup.bak": 1}
    for name in others:
        path = folder / "train" / "cat" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sound[0].data)
    notes = "\n".join(load("image_folder", folder, images=STRETCHED_SIDE).notes)
    for word in ("1 .txt", "1 .csv", "1 .heic", "1 in deeper folders", "1 .bak"):
        if word not in notes:
            counts.failures.append(f"left out without a word: {word}")
    counts.left_out += len(others)
    _compare(folder, written, counts)


def _damaged(folder: Path, rng: np.random.Generator, counts: Counts) -> None:
    """Sound and damaged images: refused by name, or read in full; never a row less, never another exception."""
    known = files.grey_makers() + files.colour_makers() + files.integer_makers(16) + files.float_makers(0, 1)
    made = [known[int(rng.integers(len(known)))](rng) for _ in range(PER_FOLDER)]
    _write(folder, rng, made)
    paths = sorted((folder / "train").glob("*/*"))
    hurt = [paths[int(n)] for n in rng.permutation(len(paths))[: len(paths) // 3]]
    hopeless = [path for path in hurt if _hurt(path, rng)]
    counts.images += len(made)
    try:
        dataset = load("image_folder", folder, validation_fraction=0, images=STRETCHED_SIDE)
    except ValueError as error:
        counts.refused += len(hurt)
        listed = folder / ".rungwise-cache" / "unreadable.txt"
        named = str(error) + (listed.read_text() if listed.exists() else "")
        silent = [path.name for path in hopeless if path.name not in named]
        if silent and "cannot be read" in named:
            counts.failures.append(f"damaged, but not named: {silent} in {error}")
        return
    if hopeless:
        counts.failures.append(f"damaged, but read: {[path.name for path in hopeless]}")
    if len(dataset.train) != len(paths):
        counts.failures.append(f"{len(paths)} damaged and sound files became {len(dataset.train)} rows")


def _hurt(path: Path, rng: np.random.Generator) -> bool:
    """Damage a file; returns whether Pillow by itself cannot decode it."""
    data = path.read_bytes()
    way = int(rng.integers(4))
    if way == 0:
        path.write_bytes(b"")
    elif way == 1:
        path.write_bytes(b"this is no image, whatever its name says")
    elif way == 2:
        path.write_bytes(data[: int(rng.integers(1, len(data)))])
    else:
        flipped = bytearray(data)
        for place in rng.integers(0, len(data), 8):
            flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(flipped))
    try:
        with Image.open(path) as image:
            image.load()
    except Exception:  # whatever it is, the file is damaged
        return True
    return False


def _write(folder: Path, rng: np.random.Generator, made: Sequence[Made]) -> dict[Path, Made]:
    """Write the images into two classes of `train` and a few into `test`; returns them by path."""
    written = {}
    for number, one in enumerate(made):
        part = "test" if number >= len(made) - 4 else "train"
        path = folder / part / ("cat", "dog")[number % 2] / f"{number:02}{one.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.data)
        written[path] = one
    return written


def _compare(folder: Path, written: dict[Path, Made], counts: Counts) -> None:
    """Read a folder as a search and its final evaluation do, and compare each row with what was made."""
    counts.images += len(written)
    dataset = load("image_folder", folder, validation_fraction=0, images=STRETCHED_SIDE)
    check_test_files("image_folder", folder)
    rows = {"train": dataset.train, "test": load_test("image_folder", folder, images=STRETCHED_SIDE)}
    training = [one for path, one in written.items() if path.parts[-3] == "train"]
    grey = all(one.pixels.ndim == 2 for one in training)
    for part, split in rows.items():
        paths = sorted(path for path in written if path.parts[-3] == part)
        if len(paths) != len(split):
            counts.failures.append(f"{len(paths)} files in {part}/ became {len(split)} rows")
            continue
        for path, x in zip(paths, split.x.permute(0, 2, 3, 1).numpy().astype(float), strict=True):
            expected = _expected(written[path], training, grey=grey)
            difference = np.abs(x - expected).mean()
            if difference > written[path].tolerance + (1 if grey and written[path].pixels.ndim == 3 else 0):
                counts.failures.append(f"{written[path].what}: pixels differ by {difference:.2f} of 255 in the mean")
            else:
                counts.right += 1


def _expected(made: Made, training: Sequence[Made], *, grey: bool) -> np.ndarray:
    """What the documentation promises of an image, (S, S, 1) or (S, S, 3)."""
    pixels = made.pixels
    if made.kind:
        same = [one.pixels for one in training if one.kind == made.kind]
        pixels = _scaled(pixels, same, alone=len(same) == len(training), kind=made.kind)
    if pixels.ndim == 3 and grey:
        pixels = pixels @ [0.299, 0.587, 0.114]  # ITU-R 601-2
    if pixels.ndim == 2:
        pixels = pixels[..., None] if grey else np.stack([pixels] * 3, -1)
    return np.rint(pixels) if made.tolerance == 0 else pixels


def _scaled(values: np.ndarray, training: Sequence[np.ndarray], *, alone: bool, kind: str) -> np.ndarray:
    low, high = (0, 65535) if not training else (min(v.min() for v in training), max(v.max() for v in training))
    tops = [255, 1023, 4095, 16383, 65535] if kind == "integer" else [1, 255]
    usual = [top for top in tops if low >= 0 and high <= top][:1]
    if usual and ((high - low) >= usual[0] / 4 or (not alone and kind == "integer")):
        if kind == "integer":
            return np.floor(np.minimum(values.astype(float), usual[0]) * 256 / (usual[0] + 1))
        low, high = 0, usual[0]
    return np.floor(255 * (np.clip(values.astype(float), low, high) - low) / (float(high) - float(low)) + 0.5)
