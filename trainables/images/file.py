"""Reads one image file: its header, and its pixels as uint8, the same way for training, test and prediction.

Images with 8 bits keep their values. Deeper ones (16 and 32 bits, floats) are scaled by `Levels`, which are decided
once from the training images of a folder.
"""

import functools
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainables.data.grey_levels import Levels, default_levels, scale
from trainables.data.options import STRETCHED, ImageOptions
from trainables.images.fit import brightness, fitted, has_transparency, over
from trainables.images.upright import ON_SIDE, turn_of

TOO_LARGE = "pixels, but at most"
"""Part of the cause of an image with more than `MAX_PIXELS`."""
MAX_PIXELS = 64_000_000
"""Most pixels of an image, checked before decoding, since a small file can contain any number."""
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"}
_DEEP = {"I": "integer", "I;16": "integer", "I;16B": "integer", "I;16L": "integer", "I;16N": "integer", "F": "float"}
_TRANSPARENT = {"LA", "La", "PA", "RGBA", "RGBa"}
_SEQUENCES = {"AVIF", "DCX", "FLI", "GIF", "PNG", "TIFF", "WEBP"}  # of others, such as MPO, only the first is a picture
_NEVER = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"}  # start other programs, or hold no pixels
_SIGNED = set("AVIF BMP DDS GIF ICNS JPEG JPEG2000 PNG PPM PSD QOI TIFF WEBP".split())  # sure by their first bytes
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0

logging.getLogger("PIL").addHandler(logging.NullHandler())  # damage is raised as an exception as well

Source = Path | str | io.BytesIO


@dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of an image without decoding it."""

    width: int
    """As stored; after decoding, as shown, with its EXIF orientation."""
    height: int
    mode: str
    """Pillow's mode."""
    rawmode: str
    """Pillow's name for how the file stores its values; empty if the format does not say."""
    format: str
    transparent: bool
    """Whether it may have transparent pixels, as stored; after decoding, whether it has some."""
    sequence: bool
    """Whether it contains several frames, of which the first is used."""
    inverted: bool
    """Whether 0 is white in a deep TIFF, which Pillow does not correct."""

    @property
    def grey(self) -> bool:
        """Whether it has no colour, with or without transparency."""
        return self.mode in _GREY or self.rawmode.split(";")[0] == "LA"  # LA of 16 bits opens as RGBA

    @property
    def kind(self) -> str:
        """`integer` or `float` for an image that needs `Levels`, `colour` for 16 bits per channel, else empty."""
        if self.mode in _DEEP:
            return _DEEP[self.mode]
        return "colour" if ";16" in self.rawmode else ""

    @property
    def default(self) -> Levels | None:
        """The levels that its format implies if the training images decide nothing; None if it implies none."""
        sixteen = self.mode.startswith("I;16") or (self.mode == "I" and self.format in ("PNG", "PPM"))
        return default_levels() if sixteen else None


@functools.cache
def readable_suffixes() -> frozenset[str]:
    """The suffixes, in lower case with their dot, of the formats that can be read here."""
    formats = set(_formats())
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in formats)


def looks_like_image(path: Path) -> bool:
    """Whether the first bytes are those of an image; for files whose suffix is unknown."""
    try:
        with quiet(), opened(path, formats=[name for name in _formats() if name in _SIGNED]):
            return True
    except (OSError, ValueError):
        return False


def read_header(source: Source, *, look: bool = False) -> Header:
    """The header of an image.

    Args:
        look: decode an image that may have transparent pixels, and see whether it has some.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no readable image; the message is the cause, without the name of the file.
    """
    with opened(source) as image:
        header = _describe(image)
        return _seen(header, image) if look else header


def decode_only(source: Source) -> None:
    """Raise what `read_header` raises, or ValueError if the pixels are damaged."""
    with opened(source) as image:
        image.load()


def read_values(source: Source) -> np.ndarray:
    """The values of a deep image as stored (H, W); of 16-bit colour, the upper bytes.

    Raises:
        OSError, ValueError: as `read_header`; or values are not finite.
    """
    with opened(source) as image:
        return _values(image, _describe(image))


def read_image(
    source: Source, *, size: tuple[int, int], grey: bool, levels: Sequence[Levels] = (), form: ImageOptions = STRETCHED
) -> tuple[np.ndarray, Header]:
    """An image upright, in one size and either grey or in colour, and its header.

    Args:
        source: a path, or the content.
        size: (height, width) of the result; equal unless it is stretched.
        grey: one channel instead of three.
        levels: levels of the training images, for images with more than 8 bits.
        form: how it gets this size, and what is behind transparent pixels.

    Returns:
        uint8 (height, width, C), and the header of the file.

    Raises:
        OSError, ValueError: as `read_header`; or its mode cannot be converted to 8 bits.
    """
    with opened(source) as image:
        header = _describe(image)
        image.draft(None, (4 * size[1], 4 * size[0]))  # decodes a JPEG at a fraction of its size
        image.load()  # Pillow turns a TIFF upright here, and removes its orientation
        header = _seen(header, image)
        if header.kind in ("integer", "float"):
            plain = Image.fromarray(scale(_values(image, header), levels_for(header, levels)))
        else:
            plain = over(_plain(image), form.background or "white") if header.transparent else _plain(image)
        turn = turn_of(image)
        colours = (plain.transpose(turn) if turn is not None else plain).convert("L" if grey else "RGB")
        if turn in ON_SIDE:
            header = replace(header, width=header.height, height=header.width)
        return np.asarray(fitted(colours, size, form.resize or "letterbox")).reshape(*size, -1), header


def read_brightness(source: Source) -> float | None:
    """The mean grey level of the visible pixels of a transparent image; None if nothing is visible.

    Raises:
        OSError, ValueError: as `read_header`.
    """
    with opened(source) as image:
        return brightness(_plain(image))


def levels_for(header: Header, levels: Sequence[Levels]) -> Levels:
    """The levels of a deep image: those of the training images, or those that its format implies.

    Raises:
        ValueError: neither decides which values are black and white.
    """
    for found in (*(one for one in levels if one.kind == header.kind), header.default):
        if found is not None:
            return found
    stored = "32-bit integers" if header.kind == "integer" else "floating-point numbers"
    raise ValueError(
        f"it contains {stored} (mode {header.mode}), and the training images do not show which values are black and "
        f"white; save it with 8 bits per channel"
    )


@contextmanager
def opened(source: Source, *, formats: Sequence[str] | None = None) -> Iterator[Image.Image]:
    """Open an image, and turn every error in or around its decoder into ValueError.

    Pillow warns of much that is no error; with threads, these warnings cannot be silenced here, but by `quiet`.
    """
    try:
        with Image.open(source, formats=list(formats or _formats())) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has {image.width * image.height:,} {TOO_LARGE} {MAX_PIXELS:,} are allowed")
            yield image
    except Image.DecompressionBombError:  # raised at the header, from about three times as many
        raise ValueError(f"it has far too many {TOO_LARGE} {MAX_PIXELS:,} are allowed") from None
    except UnidentifiedImageError:
        raise ValueError(_unidentified(source)) from None
    except Exception as error:  # on damaged files decoders raise nearly anything, also struct.error and IndexError
        if isinstance(error, OSError) and error.strerror:
            raise
        text = " ".join(str(error).split()) or "no reason given"
        known = isinstance(error, (OSError, ValueError))
        raise ValueError(text if known else f"{type(error).__name__}: {text}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Pillow's warnings; enter it once, in the thread that starts the others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name in Image.OPEN and name not in _NEVER)


def _describe(image: Image.Image) -> Header:
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    rawmode = args[0] if isinstance(args, tuple) and args else args
    tags = getattr(image, "tag_v2", {})
    return Header(
        width=image.width,
        height=image.height,
        mode=image.mode,
        rawmode=rawmode if isinstance(rawmode, str) else "",
        format=image.format or "",
        transparent=image.mode in _TRANSPARENT or "transparency" in image.info,
        sequence=image.format in _SEQUENCES and bool(getattr(image, "is_animated", False)),
        inverted=image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO,
    )


def _seen(header: Header, image: Image.Image) -> Header:
    """The header with `transparent` as its pixels are."""
    if not header.transparent or header.kind in ("integer", "float"):  # deep images are used without a background
        return header
    return replace(header, transparent=has_transparency(_plain(image)))


def _values(image: Image.Image, header: Header) -> np.ndarray:
    values = np.asarray(image if header.kind != "colour" else _plain(image).convert("RGB"))
    if header.rawmode in ("I;32N", "I;32"):  # unsigned, but Pillow stores them as signed integers
        values = values.view(np.uint32)
    if header.inverted:
        values = 65535 - values.astype(np.int64)
    if header.kind == "float" and not np.isfinite(values).all():
        raise ValueError(f"it contains NaN or infinite values (mode {header.mode}); replace them with numbers")
    return values


def _plain(image: Image.Image) -> Image.Image:
    """The image in a mode that Pillow can convert to grey and to colour."""
    if image.mode == "La":
        return image.convert("LA")
    if image.mode == "RGBa":
        return image.convert("RGBA")
    if image.mode != "LAB":
        return image
    try:
        from PIL import ImageCms
    except ImportError:
        raise ValueError(
            "this version of Pillow lacks littlecms, which the mode LAB needs; save the image as RGB"
        ) from None
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    assert converted is not None  # it is None only for a conversion in place
    return converted


def _unidentified(source: Source) -> str:
    """Why no decoder reads this file."""
    if isinstance(source, io.BytesIO):
        start = source.getvalue()[:4]
    else:
        with Path(source).open("rb") as file:
            start = file.read(4)
    if not start:
        return "the file is empty"
    if start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "a TIFF that is damaged or uses a format that Pillow does not support; save it with 8, 16 or 32 bits"
    return "not an image in a known format"
