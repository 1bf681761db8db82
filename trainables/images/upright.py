"""How a decoded image is turned upright, by its EXIF."""

from PIL import Image

_ORIENTATION = 274
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ON_SIDE = [_TURNS[orientation] for orientation in (5, 6, 7, 8)]
"""Transpositions that exchange width and height."""


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """The transposition that turns a decoded image upright, by its EXIF; reading it from a PNG would decode the PNG."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF next to sound pixels, which are then used without turning
        return None
