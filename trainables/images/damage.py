"""Detects by its structure whether an image file seems to be cut off, since a test image must not be decoded."""

from pathlib import Path

from PIL import Image

from trainables.images.file import opened

_END = 4096
"""Bytes at the end of a file in which its end mark must be."""
_GIF_END = 16  # its mark is a single byte
_MARKS = {"PNG": b"IEND", "JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "GIF": b"\x3b"}
_OFFSETS, _LENGTHS = (273, 324), (279, 325)  # of the strips or tiles of a TIFF


def seems_cut(path: Path) -> bool:
    """Whether the file lacks the mark that ends its format, or is shorter than its header states.

    A few files are complete without the mark. Files of formats that have neither a mark nor a length never count as
    cut.

    Raises:
        OSError, ValueError: as `opened`.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        file.seek(max(0, size - _END))
        end = file.read()
    with opened(path) as image:
        if image.format in _MARKS:
            return _MARKS[image.format] not in (end[-_GIF_END:] if image.format == "GIF" else end)
        if image.format == "WEBP":
            return 8 + int.from_bytes(start[4:8], "little") > size
        return _stated_end(image) > size


def _stated_end(image: Image.Image) -> int:
    """The offset behind the last pixel of a TIFF or of uncompressed pixels; 0 if none is stated."""
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        offsets, lengths = ([n for tag in pair for n in _numbers(tags.get(tag))] for pair in (_OFFSETS, _LENGTHS))
        return max((offset + length for offset, length in zip(offsets, lengths, strict=False)), default=0)
    tiles = getattr(image, "tile", []) if image.format in ("BMP", "PPM", "TGA") else []
    plain = {"L": 1, "RGB": 3, "BGR": 3, "RGBA": 4, "BGRA": 4, "I;16B": 2, "F;32F": 4, "F;32BF": 4}
    ends = [0]
    for codec, box, offset, args in tiles:
        rawmode = args[0] if isinstance(args, tuple) and args else args
        if codec == "raw" and rawmode in plain:
            ends.append(offset + plain[rawmode] * (box[2] - box[0]) * (box[3] - box[1]))
    return max(ends)


def _numbers(value: object) -> list[int]:
    found = value if isinstance(value, tuple) else (value,)
    return [number for number in found if isinstance(number, int)]
