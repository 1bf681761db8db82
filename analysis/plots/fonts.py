"""Fonts for names in any script: the fonts of this machine fill in what the house font lacks."""

import sys
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager, ft2font
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.wording import shortened

_FOLLOWERS = "\u200c\u200d\ufe0e\ufe0f"
"""Joiners and variation selectors: they change the character before them and have no shape of their own."""
_said: set[str] = set()


def names_on_axis(names: Iterable[str], limit: int) -> list[str]:
    """Names short enough to stand at an axis, each with its number where this machine cannot draw all of them.

    A class whose characters no font has is a row of boxes in a PNG file; the number still tells the classes apart.
    """
    short = [shortened(name, limit) for name in names]
    if not _undrawable("".join(short)):
        return short
    return [f"{number}: {name}" for number, name in enumerate(short)]


def complete(figure: Figure) -> bool:
    """Give all texts of a figure the fonts that they need; True if that changed anything.

    What no font of this machine has is said once, on standard error.
    """
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    lacking = _lacking("".join(text.get_text() for text in texts))
    families = [family for family, has in _fallbacks(lacking) if has]
    if missing := _undrawable("".join(lacking)) - _said:
        _said.update(missing)
        shown = " ".join(sorted(missing)[:10])
        print(
            f"note: no font on this machine has {shown}{' ...' if len(missing) > 10 else ''}: PNG files show boxes "
            f"instead; the page uses a font of the browser",
            file=sys.stderr,
        )
    for text in texts if families else ():
        text.set_fontfamily([*text.get_fontfamily(), *families])
    return bool(families)


def _undrawable(text: str) -> set[str]:
    """Characters of a text that no font of this machine has."""
    lacking = _lacking(text)
    return set(lacking).difference(*(has for _, has in _fallbacks(lacking)))


def _lacking(text: str) -> frozenset[str]:
    """Characters of a text that the house font lacks."""
    if text.isascii():
        return frozenset()
    return frozenset(c for c in set(text) - _characters_of(_house_font()) if c.isprintable())


@cache
def _fallbacks(lacking: frozenset[str]) -> tuple[tuple[str, frozenset[str]], ...]:
    """Families of this machine that have these characters, and which of them; the one that has the most is first."""
    found: list[tuple[str, frozenset[str]]] = []
    left = lacking
    while left:
        having = ((font.name, left & _characters_of(font.fname)) for font in _upright())
        family, has = max(having, key=lambda pair: len(pair[1]), default=("", frozenset()))
        if not has:
            break
        found.append((family, has))
        left -= has
    return tuple(found)


@cache
def _upright() -> tuple[font_manager.FontEntry, ...]:
    """One regular, upright font of each family; matplotlib's own substitute font, which has only boxes, is left out."""
    fonts = [font for font in font_manager.fontManager.ttflist if font.style == "normal"]
    fonts.sort(key=lambda font: (font.weight not in (400, "normal", "regular", "book"), font.name, font.fname))
    return tuple({font.name: font for font in reversed(fonts) if "last resort" not in font.name.lower()}.values())


@cache
def _characters_of(path: str) -> frozenset[str]:
    """All characters that a font can draw; none for a font of bitmaps, which matplotlib cannot scale."""
    try:
        font = ft2font.FT2Font(path)
    except (OSError, RuntimeError):  # the file is gone, or is no font that FreeType can read
        return frozenset()
    return frozenset(map(chr, font.get_charmap())) | set(_FOLLOWERS) if font.scalable else frozenset()


@cache
def _house_font() -> str:
    return font_manager.findfont(font_manager.FontProperties(family=["sans-serif"]))
