"""Texts as a terminal may show them."""

import re
from unicodedata import category

_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_END_OF_LINE = re.compile(r"\r+\n?")
_MOST_DIGITS = 6


def duration(seconds: float) -> str:
    """`42s`, `3m20s`, `2h05m`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes}m{seconds:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def counted(number: int, noun: str, *, plural: str = "") -> str:
    """A number with its noun: `1 trial`, `1,200 trials`; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def printable(text: str) -> str:
    """The text without control characters, which could move the cursor or ring the bell."""
    return "".join(c if c.isprintable() else " " for c in text)


def visible(text: str) -> str:
    """The text with control sequences in readable form: `\\x1b]0;title\\x07`.

    Colours are removed, and each state of a progress bar becomes a line.

    >>> visible("loss\\t0.1\\r\\n\\x1b[31mred\\x1b[0m \\x1b[2J\\x07")
    'loss\\t0.1\\nred \\\\x1b[2J\\\\x07'
    """
    lines = _END_OF_LINE.sub("\n", _COLOUR.sub("", text))
    return "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else _escaped(c) for c in lines)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def share_saved(epochs: float, *, full: float) -> float:
    """The share of the epochs that early stopping left out, 0.59; the arguments are those of `describe_saving`."""
    return 1 - epochs / full if full else 0.0


def describe_saving(epochs: float, *, full: float) -> str:
    """`, 59 % fewer than without early stopping`; empty where that is less than one percent.

    Args:
        epochs: of the search.
        full: epochs of the same trials, all trained to the end.
    """
    percent = round(100 * share_saved(epochs, full=full))
    return f", {percent} % fewer than without early stopping" if percent > 0 else ""


def short(value: float, digits: int = 4) -> str:
    """A number with so many significant digits; with up to six where fewer would make a fraction a whole number.

    >>> short(0.031250001), short(0.99999), short(3.0)
    ('0.03125', '0.99999', '3')
    """
    found = [f"{value:.{count}g}" for count in range(digits, max(digits, _MOST_DIGITS) + 1)]
    whole = abs(value) >= 10 or value.is_integer()
    return found[0] if whole else next((text for text in found if not float(text).is_integer()), found[0])
