"""Image files whose pixels are known before they are written: by Pillow, or byte by byte where Pillow cannot."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

SIDE = 16
LOSSY = 9.0
"""Mean difference that compression may cost a smooth image."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """One image file."""

    what: str
    suffix: str
    data: bytes
    pixels: np.ndarray
    """Grey (S, S) or colour (S, S, 3); of a deep image the values that it stores."""
    kind: str = ""
    """`integer` or `float` of a deep image."""
    tolerance: float = 0.0
    """Mean difference allowed: of rounded colour spaces and of compression."""


_XYZ_TO_SRGB = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)
Maker = Callable[[np.random.Generator], Made]


def grey_makers() -> list[Maker]:
    """Images of up to 8 bits without colour."""
    return [
        *(_saved("L", suffix) for suffix in ".bmp .dib .im .pcx .pgm .png .sgi .tga .tif".split()),
        _saved("L", ".jp2", irreversible=False),
        *(_saved("L", suffix, smooth=True, tolerance=LOSSY) for suffix in (".jpg", ".jfif", ".jpe")),
        *(_saved("LA", suffix) for suffix in (".png", ".tif")),
        *(_saved("1", suffix) for suffix in (".png", ".tif", ".bmp", ".pbm", ".xbm", ".msp", ".pcx", ".im")),
        *(_packed_png(bits) for bits in (1, 2, 4)),
        _alpha_png,
        lambda rng: _pgm(rng, 200),
    ]


def colour_makers() -> list[Maker]:
    """Images of 8 bits in colour, and of 16 bits a channel."""
    return [
        *(_saved("RGB", suffix) for suffix in ".bmp .dds .dib .im .pcx .png .ppm .qoi .sgi .tga .tif .tiff".split()),
        _saved("RGB", ".webp", lossless=True),
        _saved("RGB", ".jp2", irreversible=False),
        *(_saved("RGB", s, smooth=True, tolerance=LOSSY, quality=95) for s in (".jpeg", ".webp", ".avif")),
        *(_saved(mode, ".tif") for mode in ("RGBA", "RGBX")),
        *(_saved("RGBA", suffix) for suffix in (".png", ".tga", ".im", ".sgi")),
        *(_saved("P", suffix) for suffix in (".bmp", ".gif", ".png", ".tif")),
        _saved("P", ".png", transparency=3),
        _saved("P", ".png", transparency=bytes(range(0, 256, 16))),
        _saved("P", ".gif", transparency=1),
        _saved("PA", ".tif"),
        _saved("CMYK", ".tif", tolerance=1),
        _saved("CMYK", ".jpg", smooth=True, tolerance=LOSSY, quality=95),
        _saved("YCbCr", ".tif", tolerance=1.5),
        _saved("YCbCr", ".jpg", smooth=True, tolerance=LOSSY, quality=95),
        _saved("LAB", ".tif", smooth=True, tolerance=4),
        lambda rng: _colour_png(rng, alpha=False),
        lambda rng: _colour_png(rng, alpha=True),
        *(_turned(suffix) for suffix in (".png", ".tif", ".webp")),
        *(_frames(suffix) for suffix in (".gif", ".png", ".tif", ".webp")),
    ]


def integer_makers(bits: int) -> list[Maker]:
    """Grey images whose values fill so many bits of 16."""
    modes = [("I;16", ".png"), ("I;16", ".tif"), ("I;16B", ".tif"), ("I;16L", ".tif"), ("I;16", ".pgm")]
    return [
        *(_deep(mode, suffix, low=0, high=2**bits - 1) for mode, suffix in modes),
        lambda rng: _tiff(rng, ">u2", low=0, high=2**bits - 1),
        lambda rng: _tiff(rng, "<u2", low=0, high=2**bits - 1, inverted=bits == 16),
    ]


def wide_makers(low: int, high: int) -> list[Maker]:
    """Grey images with integers beyond 16 bits, or negative ones."""
    makers = [_deep("I", ".tif", low=low, high=high), _deep("I", ".im", low=low, high=high)]
    if low >= 0:
        makers.append(lambda rng: _tiff(rng, "<u4", low=low, high=high))
    else:
        makers += [lambda rng: _tiff(rng, ">i4", low=low, high=high), lambda rng: _tiff(rng, "<i4", low=low, high=high)]
    if low >= -(2**15) and high < 2**15:
        makers += [lambda rng: _tiff(rng, "<i2", low=low, high=high), lambda rng: _tiff(rng, ">i2", low=low, high=high)]
    return makers


def float_makers(low: float, high: float) -> list[Maker]:
    """Grey images of floating-point numbers."""
    return [
        *(_deep("F", suffix, low=low, high=high) for suffix in (".tif", ".pfm", ".im")),
        lambda rng: _tiff(rng, "<f4", low=low, high=high),
        lambda rng: _tiff(rng, ">f4", low=low, high=high),
    ]


def _saved(mode: str, suffix: str, *, smooth: bool = False, tolerance: float = 0.0, **options: Any) -> Maker:
    def make(rng: np.random.Generator) -> Made:
        image, pixels = _image(mode, rng, smooth=smooth)
        return Made(
            what=f"{mode} in {suffix} {options or ''}".rstrip(),
            suffix=suffix,
            data=_bytes(image, suffix, **options),
            pixels=pixels,
            tolerance=tolerance,
        )

    return make


def _bytes(image: Image.Image, suffix: str, **options: Any) -> bytes:
    Image.init()
    buffer = io.BytesIO()
    image.save(buffer, format=Image.registered_extensions()[suffix], **options)
    return buffer.getvalue()


def _grey(rng: np.random.Generator, *, smooth: bool) -> np.ndarray:
    if not smooth:
        return rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    across, down, start = *rng.uniform(-5, 5, 2).tolist(), rng.uniform(100, 150)
    steps = np.arange(SIDE)
    return (start + across * (steps - SIDE / 2) + down * (steps[:, None] - SIDE / 2)).astype(np.uint8)


def _image(mode: str, rng: np.random.Generator, *, smooth: bool) -> tuple[Image.Image, np.ndarray]:
    """An image, and its pixels as grey or as colour."""
    bands = [_grey(rng, smooth=smooth) for _ in range(4)]
    if mode == "1":
        flags = bands[0] > 127
        return Image.fromarray(flags), flags * np.uint8(255)
    if mode in ("L", "LA"):
        image = Image.merge(mode, [Image.fromarray(band) for band in bands[: len(mode)]])
        return image, bands[0]
    if mode in ("P", "PA"):
        palette = rng.integers(0, 256, (256, 3)).astype(np.uint8)
        image = Image.fromarray(bands[0] // 16)
        image.putpalette(palette.tobytes())
        if mode == "PA":
            image = image.convert("PA")
        return image, palette[bands[0] // 16]
    names = Image.new(mode, (1, 1)).getbands()
    image = Image.merge(mode, [Image.fromarray(band) for band in bands[: len(names)]])
    return image, _as_colour(mode, np.stack(bands[: len(names)], -1).astype(float))


def _as_colour(mode: str, values: np.ndarray) -> np.ndarray:
    """The textbook's formulas."""
    if mode == "CMYK":
        return (255 - values[..., :3]) * (255 - values[..., 3:]) / 255
    if mode == "YCbCr":  # JFIF 1.02
        y, cb, cr = values[..., 0], values[..., 1] - 128, values[..., 2] - 128
        return np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1).clip(0, 255)
    if mode == "LAB":
        return _from_lab(values)
    return values[..., :3]


def _from_lab(stored: np.ndarray) -> np.ndarray:
    """CIE 1976 under D50, by Bradford to the D65 of sRGB (IEC 61966-2-1)."""
    lightness = (stored[..., 0] / 2.55 + 16) / 116
    cube = np.stack([lightness + (stored[..., 1] - 128) / 500, lightness, lightness - (stored[..., 2] - 128) / 200], -1)
    xyz = np.where(cube > 6 / 29, cube**3, 3 * (6 / 29) ** 2 * (cube - 4 / 29)) * [0.9642, 1.0, 0.8249]
    linear = (xyz @ np.array(_XYZ_TO_SRGB).T).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _turned(suffix: str) -> Maker:
    """An image that lies as its EXIF orientation says; shown upright, it is as it was made."""

    def make(rng: np.random.Generator) -> Made:
        orientation = int(rng.integers(1, 9))
        shown = np.stack([_grey(rng, smooth=False) for _ in range(3)], -1)
        stored = {
            1: shown,
            2: shown[:, ::-1],
            3: shown[::-1, ::-1],
            4: shown[::-1],
            5: shown.transpose(1, 0, 2),
            6: np.rot90(shown, 1),
            7: shown[::-1, ::-1].transpose(1, 0, 2),
            8: np.rot90(shown, -1),
        }[orientation]
        exif = Image.Exif()
        exif[274] = orientation
        data = _bytes(Image.fromarray(np.ascontiguousarray(stored)), suffix, exif=exif, lossless=True)
        return Made(what=f"orientation {orientation} in {suffix}", suffix=suffix, data=data, pixels=shown)

    return make


def _frames(suffix: str) -> Maker:
    """Two frames, of which the first counts."""

    def make(rng: np.random.Generator) -> Made:
        (first, pixels), (second, _) = (_image("P" if suffix == ".gif" else "RGB", rng, smooth=False) for _ in range(2))
        options = {"lossless": True} if suffix == ".webp" else {}
        data = _bytes(first, suffix, save_all=True, append_images=[second], **options)
        return Made(what=f"two frames in {suffix}", suffix=suffix, data=data, pixels=pixels)

    return make


def _values(rng: np.random.Generator, dtype: str, *, low: float, high: float) -> np.ndarray:
    """Values that reach both ends."""
    share = rng.random((SIDE, SIDE))
    share[0, 0], share[-1, -1] = 0, 1
    values = low + share * (high - low)
    return values.astype(dtype) if "f" in dtype else np.rint(values).astype(dtype)


def _deep(mode: str, suffix: str, *, low: float, high: float) -> Maker:
    def make(rng: np.random.Generator) -> Made:
        dtype = {"F": "<f4", "I": "<i4"}.get(mode, "<u2")
        values = _values(rng, dtype, low=low, high=high)
        if mode in ("I;16B", "I;16L"):
            data = Image.frombytes(mode, (SIDE, SIDE), values.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
        else:
            data = Image.fromarray(values)
        kind = "float" if mode == "F" else "integer"
        return Made(what=f"{mode} in {suffix}", suffix=suffix, data=_bytes(data, suffix), pixels=values, kind=kind)

    return make


def _pgm(rng: np.random.Generator, top: int) -> Made:
    """A largest value that is no power of two: the format states the scale."""
    values = rng.integers(0, top + 1, (SIDE, SIDE))
    data = f"P5\n{SIDE} {SIDE}\n{top}\n".encode() + values.astype(np.uint8).tobytes()
    return Made(what=f"PGM to {top}", suffix=".pgm", data=data, pixels=np.rint(255 * values / top), tolerance=0.1)


def _png(header: bytes, rows: bytes) -> bytes:
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _rows_png(values: np.ndarray, *, colour_type: int) -> bytes:
    """PNG of 16 bits a channel."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return _png(struct.pack(">IIBBBBB", SIDE, SIDE, 16, colour_type, 0, 0, 0), rows)


def _colour_png(rng: np.random.Generator, *, alpha: bool) -> Made:
    values = rng.integers(0, 65536, (SIDE, SIDE, 4 if alpha else 3))
    data = _rows_png(values, colour_type=6 if alpha else 2)
    what = f"{'RGBA' if alpha else 'RGB'} of 16 bits in .png"
    return Made(what=what, suffix=".png", data=data, pixels=values[..., :3] >> 8)


def _alpha_png(rng: np.random.Generator) -> Made:
    values = rng.integers(0, 65536, (SIDE, SIDE, 2))
    data = _rows_png(values, colour_type=4)
    return Made(what="LA of 16 bits in .png", suffix=".png", data=data, pixels=values[..., 0] >> 8)


def _packed_png(bits: int) -> Maker:
    def make(rng: np.random.Generator) -> Made:
        values = rng.integers(0, 2**bits, (SIDE, SIDE))
        flags = (values[..., None] >> np.arange(bits)[::-1]) & 1
        rows = b"".join(b"\0" + np.packbits(row.reshape(-1)).tobytes() for row in flags)
        data = _png(struct.pack(">IIBBBBB", SIDE, SIDE, bits, 0, 0, 0, 0), rows)
        return Made(what=f"{bits} bits in .png", suffix=".png", data=data, pixels=values * 255 // (2**bits - 1))

    return make


def _tiff(rng: np.random.Generator, dtype: str, *, low: float, high: float, inverted: bool = False) -> Made:
    """A baseline TIFF of one strip, in any order of bytes and any kind of number."""
    values = _values(rng, dtype, low=low, high=high)
    order, data = dtype[0], values.tobytes()
    formats = {"u": 1, "i": 2, "f": 3}
    bits, photometric = 8 * values.itemsize, 0 if inverted else 1
    tags = [(256, SIDE), (257, SIDE), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, SIDE)]
    tags += [(279, len(data)), (339, formats[dtype[1]])]
    ifd = struct.pack(f"{order}H", len(tags)) + b"".join(struct.pack(f"{order}HHII", t, 4, 1, v) for t, v in tags)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data))
    return Made(
        what=f"{dtype} in .tif{', 0 is white' * inverted}",
        suffix=".tif",
        data=head + data + ifd + bytes(4),
        pixels=65535 - values.astype(np.int64) if inverted else values,
        kind="float" if "f" in dtype else "integer",
    )
