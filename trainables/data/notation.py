"""Numbers as texts: parses the notations that files use, and formats values with a useful number of digits."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

Mark = Literal[".", ","]
NO_VALUE = frozenset({"", "nan", "NaN", "NAN", "-nan", "-NaN", "<NA>", "NaT"})
"""What programs write for a missing value; none of these is a word of a language."""
MISSING = frozenset({"-", "?", "na", "n/a", "#n/a", "null", "none"} | {text.lower() for text in NO_VALUE})
"""What files contain for a missing number, in lower case."""
NEARLY_ALL = 0.9
"""If at least this share of the filled cells are numbers, the column is numbers, and the other cells are odd."""
_SIGNS = {"\u2212": "-", "\u2013": "-", "\u2012": "-", "\u066c": "'"}
_SIGNS |= {chr(zero + digit): str(digit) for zero in (0x660, 0x6F0) for digit in range(10)}
_DRESSED = re.compile(r"(?P<sign>[+-]?)(?P<before>\D??)\s?(?P<second>[+-]?)(?P<body>[\d.,].*?)\s?(?P<after>[^\d.,\s]?)")
_GROUPS = {",": r"[.'\u2019\s]", ".": r"[,'\u2019\s]"}
_LAKHS = {".": r"[1-9]\d?(?:,\d\d)+,\d{3}", ",": "(?!)"}
"""Indian groups: `12,34,567`."""
_MARKS: tuple[Mark, ...] = (".", ",")
_PLAINER = {mark: str.maketrans(_SIGNS | {"\u066b": mark}) for mark in _MARKS}
"""Translations of other minus signs, digits and Arabic marks into this notation."""
_BOOKED = re.compile(r"\((?P<loss>[^()+-]+)\)|(?P<sign>[^\d\s.,+-]?)\((?P<signed>[^()+-]+)\)|(?P<back>[^()+-]*\d)\s?-")
"""Negative numbers in accounting notation: `(42)`, `$(42)`, `42-`."""
_BODY = {
    mark: re.compile(
        rf"(?P<whole>\d+|{_LAKHS[mark]}|[1-9]\d{{0,2}}(?P<gap>{_GROUPS[mark]})\d{{3}}(?:(?P=gap)\d{{3}})*)?"
        rf"(?:{re.escape(mark)}(?P<part>\d*))?(?P<power>[eE][+-]?\d+)?"
    )
    for mark in _MARKS
}
_WHOLE_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the numbers of one column are written."""

    mark: Mark | None
    """The decimal mark; None if the column has no numbers in this notation."""
    signs: frozenset[str] = frozenset()
    """The currency or percent signs that a number may have, the empty one included; none for Python's notation."""
    num_plain: int = 0
    """Cells that are numbers in Python's notation once the column is read."""

    def plain(self, text: str) -> str:
        """The number in Python's notation, without blanks around it; a cell that is no number is unchanged."""
        text = text.strip()
        if self.mark is None or text.lower() in MISSING:
            return text
        found = _undress(text, self.mark)
        return found[0] if found and found[1] in self.signs else text


PLAIN = Reading(mark=".")
"""Of a column in Python's notation with decimals, such as `12.5`: no cell is changed."""


def parse_numbers(values: np.ndarray) -> np.ndarray:
    """The cells as float64 (N,): NaN where there is no number, infinite where it is too large for a double."""
    return np.array([_number(text) for text in values], np.float64) if values.dtype == object else values


def is_missing(text: str) -> bool:
    """Whether a cell of numbers has no value."""
    return text.strip().lower() in MISSING


def holds_numbers(num_numbers: int, odd: Mapping[str, int]) -> bool:
    """Whether a column is numbers: nearly all cells are, or half of them are and all others have the same text.

    Args:
        num_numbers: number of cells with a number.
        odd: text -> number of cells, for the other cells; missing cells count for neither.
    """
    num_odd = sum(odd.values())
    nearly_all = num_numbers >= NEARLY_ALL * (num_numbers + num_odd)
    return nearly_all or (len(odd) == 1 and num_numbers >= num_odd)


def plain_columns(
    columns: Mapping[str, Sequence[str]], *, separator: str
) -> tuple[dict[str, tuple[str, ...]], dict[str, Reading], list[str]]:
    """The columns whose numbers are not in Python's notation, and how each was read.

    Args:
        columns: texts by name.
        separator: of the file.

    Returns:
        The changed columns, their numbers such as `1234.5`; how each was read, with `PLAIN` for columns in Python's
        notation that show a decimal point; and for each changed one a text such as `'price' '1.234,5' as 1234.5`.
    """
    found = {name: [text.strip() for text in texts] for name, texts in columns.items()}
    readings = find_readings({name: Counter(texts) for name, texts in found.items()}, separator=separator)
    plain = {name: tuple(map(reading.plain, found[name])) for name, reading in readings.items()}
    changed = {name: texts for name, texts in plain.items() if list(texts) != found[name]}
    examples = [changed_example(name, found[name], texts) for name, texts in changed.items()]
    pointed = [name for name in found.keys() - changed.keys() if is_plain(found[name]) and _has_decimals(found[name])]
    return changed, dict.fromkeys(pointed, PLAIN) | {name: readings[name] for name in changed}, examples


def find_readings(columns: Mapping[str, Mapping[str, int]], *, separator: str) -> dict[str, Reading]:
    """How the numbers of each column are written, without the columns that are in Python's notation already.

    The column itself decides whether a comma is the decimal point (`0,5`, `1.234,5`, `1,234.5`). If it does not
    (`1,234`), the other columns decide, and then the separator: files with semicolons use decimal commas.

    Args:
        columns: by name, each text of the column and how often it occurs.
        separator: of the file.
    """
    plain_already = {name for name, texts in columns.items() if is_plain(texts)}
    strange = {name: texts for name, texts in columns.items() if name not in plain_already and _has_digits(texts)}
    readings: dict[str, dict[Mark, Reading]] = {
        n: {mark: _read(t, mark) for mark in _MARKS} for n, t in strange.items()
    }
    marks: dict[str, Mark | None] = {name: _settle(both) for name, both in readings.items()}
    votes: Counter[Mark | None] = Counter(marks.values())
    votes["."] += sum(_has_decimals(columns[name]) for name in plain_already)
    usual: Mark = "," if separator == ";" else "."
    if votes[","] != votes["."] and (votes[","] or votes["."]):
        usual = "," if votes[","] > votes["."] else "."
    settled = {name: both[marks[name] or usual] for name, both in readings.items()}
    if votes[","] > votes["."]:
        grouped = [name for name in plain_already if _grouped_by_dots(columns[name])]
        settled |= {name: _read(columns[name], ",") for name in grouped}
    return settled


def is_plain(texts: Iterable[str]) -> bool:
    """Whether all cells are numbers in Python's notation, or missing."""
    return all(map(_is_plain, texts))


def changed_example(name: str, before: Sequence[str], after: Sequence[str]) -> str:
    """The first cell of a column that is read as something else: `'price' '1.234,5' as 1234.5`."""
    first, plain = next((b, a) for b, a in zip(before, after, strict=True) if a != b)
    return f"{name!r} {first[:40]!r} as {plain[:40]}"


def contradicting(texts: Iterable[str], reading: Reading) -> str | None:
    """The first number that only the other decimal mark than that of the reading allows; None if there is none."""
    assert reading.mark is not None
    other: Mark = "," if reading.mark == "." else "."
    odd = (text for text in texts if _undress(text, reading.mark) is None and _undress(text, other))
    return next((text for text in odd if not is_missing(text)), None)


def format_value(value: float | None) -> str:
    """The value with four decimals, or with four significant digits if that would show fewer: `0.9722`, `1.318e-14`.

    >>> [format_value(value) for value in (0.97222, 12.5, 0.00123456, 1.318e-14, 37837.1234, 0)]
    ['0.9722', '12.5000', '0.001235', '1.318e-14', '37837.123', '0.0000']
    """
    if value is None:
        return "-"
    if not value or 0.1 <= abs(value) < 1e4:
        return f"{value:.4f}"
    return f"{value:.4g}" if abs(value) < 1 else f"{value:.8g}"


def format_within(value: float, spread: float, *, digits: int = 4) -> str:
    """The value with enough digits to distinguish values with this spread: `1000000012034` for a spread of 30,000.

    Args:
        value: the value.
        spread: spread of all values, such as their standard deviation; 0 if unknown.
        digits: significant digits of a value that is no larger than the spread.
    """
    larger = math.log10(abs(value) / spread) if value and spread > 0 and math.isfinite(spread) else 0.0
    text = f"{value:.{min(17, digits + max(0, math.ceil(larger)))}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e16 else text


def _number(text: str) -> float:
    try:
        return float(text) if "_" not in text else np.nan  # Python reads 1_000 as a number
    except ValueError:
        return np.nan


def _is_plain(text: str) -> bool:
    return text.lower() in MISSING or not math.isnan(_number(text))


def _read(texts: Mapping[str, int], mark: Mark) -> Reading:
    """The column read with this decimal mark; all its numbers must have the same currency or percent sign."""
    found = {text: None if text.lower() in MISSING else _undress(text, mark) for text in texts}
    nothing = Reading(mark=None, num_plain=sum(count for text, count in texts.items() if _is_plain(text)))
    if all(map(_may_be_label, (text for text, one in found.items() if one))):
        return nothing
    dresses: Counter[str] = Counter()
    for text, one in found.items():
        if one:
            dresses[one[1]] += texts[text]
    worn = max(dresses, key=lambda dress: dresses[dress], default="")
    signs = frozenset({worn} if "%" in worn or "\u2030" in worn else {worn, ""})
    unread = {text: texts[text] for text, one in found.items() if one is None or one[1] not in signs}
    num_read = sum(texts.values()) - sum(unread.values())
    if not holds_numbers(num_read, {t: count for t, count in unread.items() if t.lower() not in MISSING}):
        return nothing
    return Reading(mark=mark, signs=signs, num_plain=num_read + sum(c for t, c in unread.items() if _is_plain(t)))


def _may_be_label(text: str) -> bool:
    """Whether a text such as `(1)` or `1-` may be the label of a list item instead of a negative amount."""
    return bool(_BOOKED.fullmatch(text)) and text.strip("()- ").isdigit()


def _settle(both: Mapping[Mark, Reading]) -> Mark | None:
    """The decimal mark with which more cells are numbers; None if both give equally many."""
    counts = {mark: reading.num_plain for mark, reading in both.items()}
    if both["."].mark is None and both[","].mark is None:
        return None
    if counts["."] == counts[","]:
        return None
    return "." if counts["."] > counts[","] else ","


@lru_cache(maxsize=65536)
def _undress(text: str, mark: Mark) -> tuple[str, str] | None:
    """The number in Python's notation and the sign next to it (`$`, `%`); None if the text is no number."""
    if math.isfinite(_number(text)) and (mark == "." or "." not in text):
        return text, ""
    text, less = text.translate(_PLAINER[mark]), ""
    if booked := _BOOKED.fullmatch(text):
        less = "-"
        text = booked["loss"] or booked["back"] or f"{booked['sign']}{booked['signed']}"
    match = _DRESSED.fullmatch(text)
    if match is None:
        return None
    before, after = match["before"].strip(), match["after"]
    if (before and not _is_currency(before)) or (after and after not in "%\u2030" and not _is_currency(after)):
        return None
    body = _BODY[mark].fullmatch(match["body"])
    if body is None or not (body["whole"] or body["part"]) or (match["sign"] and match["second"]):
        return None
    whole = re.sub(r"\D", "", body["whole"] or "0")
    part = f".{body['part']}" if body["part"] else ""
    return f"{less or match['sign'] or match['second']}{whole}{part}{body['power'] or ''}", before + after


def _is_currency(sign: str) -> bool:
    return unicodedata.category(sign) == "Sc"


def _grouped_by_dots(texts: Iterable[str]) -> bool:
    """Whether some cells have dots, and all dots may separate thousands: `1.234`."""
    dotted = [text for text in texts if "." in text]
    return bool(dotted) and all(_WHOLE_GROUPS.fullmatch(text) for text in dotted)


def _has_decimals(texts: Iterable[str]) -> bool:
    """Whether some dot can only be a decimal mark: `12.5`."""
    return any("." in text and not _WHOLE_GROUPS.fullmatch(text) for text in texts)


def _has_digits(texts: Mapping[str, int]) -> bool:
    """Whether at least half of the filled cells have digits; other columns are not numbers."""
    with_digits = sum(count for text, count in texts.items() if any(map(str.isdigit, text)))
    return 2 * with_digits >= sum(count for text, count in texts.items() if text.lower() not in MISSING)
