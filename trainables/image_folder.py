"""A folder of the user's own images: `train/CLASS/*`, and `test/CLASS/*` if there is one.

Images are decoded once, brought to one square size, and kept in a cache that is used only while the folder lists the
same files and the cache's checksum holds. Without `test/` a fixed 15 % of each class is the test set.
"""

import hashlib
import io
import json
import logging
import os
import statistics
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from trainables.download import locked
from trainables.stratify import stratified_rows
from trainables.whole import write_whole

_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_MAX_PIXELS = 64_000_000  # of one image before decoding: a small file can unpack to any number
_MIN_PER_CLASS = 3  # one each for training, validation and test
_UNREADABLE = (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError)
_logger = logging.getLogger(__name__)

Arrays = tuple[np.ndarray, np.ndarray, tuple[str, ...]]


def read(data_dir: Path, *, test: bool, image_size: int | None = None) -> Arrays:
    """Returns images uint8 (N, S, S, C), labels and class names; C is 1 if every training image is grey.

    Args:
        data_dir: holds `train` and perhaps `test`; only the part asked for is opened where both are there.
        test: the test rows instead of those for training and validation.
        image_size: S; the median of the shorter sides of the training images, from 8 to 64, when left out.

    Raises:
        ValueError: no such folders, too few classes or images, or images that cannot be read.
    """
    train = _list_images(data_dir / "train")
    classes = tuple(sorted({path.parent.name for path in train}))
    _check_classes(train, classes, data_dir)
    if image_size is not None and not 4 <= image_size <= 512:
        raise ValueError(f"image_size must lie in [4, 512], got {image_size}")
    apart = (data_dir / "test").is_dir()
    files = _list_images(data_dir / "test") if test and apart else train
    strange = sorted({path.parent.name for path in files} - set(classes))
    if strange:
        raise ValueError(f"{data_dir / 'test'} has a class {strange[0]!r} that train/ has not; the classes must agree")
    x = _cached(data_dir, files, train, image_size)
    y = np.array([classes.index(path.parent.name) for path in files], np.int64)
    if apart:
        return x, y, classes
    held_out = stratified_rows(y, max(round(0.15 * len(y)), len(classes)), np.random.default_rng(0))
    rows = held_out if test else np.delete(np.arange(len(y)), held_out)
    return x[rows], y[rows], classes


def _list_images(folder: Path) -> list[Path]:
    """Returns the image files, sorted; linked classes and files count, deeper folders and other files do not."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; images are expected as {folder}/CLASS/FILE")
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [
        path
        for name in classes
        for path in sorted(name.iterdir())
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    ]


def _check_classes(files: list[Path], classes: tuple[str, ...], data_dir: Path) -> None:
    if len(classes) < 2:
        raise ValueError(f"{data_dir / 'train'} must hold images in at least 2 classes (folders), got {len(classes)}")
    name, count = min(Counter(path.parent.name for path in files).items(), key=lambda item: item[1])
    if count < _MIN_PER_CLASS:
        raise ValueError(f"every class needs at least {_MIN_PER_CLASS} images in train/, got {count} in {name!r}")


def _cached(data_dir: Path, files: list[Path], train: list[Path], image_size: int | None) -> np.ndarray:
    """Returns the decoded images (N, S, S, C), from the cache if it is of these very files."""
    fingerprint = _fingerprint(data_dir, [*files, *train], image_size)
    folder = _cache_folder(data_dir)
    with locked(folder):
        path = folder / f"{fingerprint[:24]}.npz"
        manifest = path.with_suffix(".json")
        try:
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() == json.loads(manifest.read_text())["sha256"]:
                return np.load(io.BytesIO(data), allow_pickle=False)["x"]
            _logger.warning("the cache %s is damaged (sha256); decoding the images again", path)
        except FileNotFoundError:
            pass
        x = _decode(files, train, image_size)
        buffer = io.BytesIO()
        np.savez(buffer, x=x)
        write_whole(path, buffer.getvalue())
        write_whole(manifest, json.dumps({"sha256": hashlib.sha256(buffer.getvalue()).hexdigest()}).encode())
    return x


def _cache_folder(data_dir: Path) -> Path:
    """Returns the cache beside the images, or a private one in the temporary folder if that cannot be written."""
    try:
        folder = data_dir / ".rungwise-cache"
        folder.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"rungwise-cache-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:  # planted by someone else
            folder = Path(tempfile.mkdtemp(prefix="rungwise-cache-"))
    return folder


def _fingerprint(data_dir: Path, files: list[Path], image_size: int | None) -> str:
    digest = hashlib.sha256(f"1 {image_size}".encode())
    for path in files:
        try:
            status = path.stat()
        except OSError:  # a broken link: named when it is decoded
            continue
        digest.update(f"{path.relative_to(data_dir)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _decode(files: list[Path], train: list[Path], image_size: int | None) -> np.ndarray:
    _logger.info("decoding %d images", len(files))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter lock
        headers = list(pool.map(_header, train))
        _raise_unreadable(train, headers)
        grey = all(header is not None and header[1] for header in headers)
        median = statistics.median(header[0] for header in headers if header is not None)
        size = image_size or min(max(4 * round(median / 4), 8), 64)
        images = list(pool.map(lambda path: _image(path, size, grey=grey), files))
    _raise_unreadable(files, images)
    return np.stack([image for image in images if image is not None])


def _header(path: Path) -> tuple[int, bool] | None:
    """Returns the shorter side and whether the image is grey, or None if it cannot be read."""
    try:
        with _open(path) as image:
            return min(image.size), image.mode in ("1", "L", "I", "I;16", "F")
    except _UNREADABLE:
        return None


def _image(path: Path, size: int, *, grey: bool) -> np.ndarray | None:
    try:
        with _open(path) as image:
            image.draft(None, (4 * size, 4 * size))  # a JPEG is decoded at a fraction of its size
            upright = ImageOps.exif_transpose(image)
            if upright.mode == "I;16":
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            colours = upright.convert("L" if grey else "RGB")
            return np.asarray(colours.resize((size, size), Image.Resampling.BICUBIC)).reshape(size, size, -1)
    except _UNREADABLE:
        return None


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL's own, milder, limit
        image = Image.open(path)
    if image.width * image.height > _MAX_PIXELS:
        image.close()
        raise ValueError(f"more than {_MAX_PIXELS} pixels")
    return image


def _raise_unreadable(files: list[Path], results: list) -> None:
    bad = [str(path) for path, result in zip(files, results, strict=True) if result is None]
    if bad:
        names = ", ".join(bad[:3]) + (", ..." if len(bad) > 3 else "")
        raise ValueError(
            f"{len(bad)} of {len(files)} images cannot be read or have over {_MAX_PIXELS:,} pixels: {names}; "
            "repair or remove them"
        )
