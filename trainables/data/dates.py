"""Columns of dates: detects dates, and converts them to days after 1970-01-01."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np

from trainables.data.notation import NEARLY_ALL, is_missing, parse_numbers

EPOCH = "1970-01-01"
_START = datetime.fromisoformat(EPOCH).replace(tzinfo=UTC)
_TIME = r"(?:[ T]\s*(?P<time>\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?)\s*(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?)?"
_YEAR_FIRST = re.compile(rf"(?P<year>\d{{4}})(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?){_TIME}")
_DAY_FIRST = re.compile(rf"(?P<day>\d\d?)\.(?P<month>\d\d?)\.(?P<year>\d{{4}}){_TIME}")
_DATE = re.compile(r"\d{4}([-/.])\d\d?\1\d\d?(?:[ T].*)?|\d\d?[./-]\d\d?[./-]\d{2,4}(?:[ T].*)?")
_DIGITS = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def are_dates(texts: Iterable[str]) -> bool:
    """Whether nearly all texts that are not missing are dates, with or without a time: `2024-01-31`, `20240131`."""
    filled = [text for text in map(str.strip, texts) if not is_missing(text)]
    written, digits = (sum(bool(way.fullmatch(text)) for text in filled) for way in (_DATE, _DIGITS))
    return bool(filled) and max(written, digits) >= NEARLY_ALL * len(filled)


def read_dates(texts: Sequence[str]) -> tuple[str, ...] | None:
    """A column of dates as days after 1970-01-01; None unless nearly all filled cells are dates.

    A date has its year first (`2024-01-31`, `2024/1/31`), or its day first with dots (`31.01.2024`). In `01/02/2024`
    the month is unclear, so it does not count as a date. A time of day is a fraction of the day, in UTC if no zone is
    given.

    >>> read_dates(["1970-01-02", "1970-01-02 12:00", ""])
    ('1', '1.5', '')

    Args:
        texts: the cells.
    """
    found, odd, limit = 0, 0, (1 - NEARLY_ALL) * len(texts)
    for text in texts:
        is_date = _days(text.strip()) is not None
        found += is_date
        odd += not is_date and not is_missing(text)
        if odd > limit:  # most columns are done here, after a tenth of their cells
            return None
    if not found or found < NEARLY_ALL * (found + odd):
        return None
    return with_days(texts)


def with_days(texts: Iterable[str]) -> tuple[str, ...]:
    """The cells of a column of dates, with each date in days; no other cell is a number.

    Among dates, `20240131` is a date too. A year, or the number by which a spreadsheet stores a date, is none: as a
    number of days it would be a wrong date.
    """
    return tuple(_days(_with_marks(text.strip())) or _without_number(text) for text in texts)


def _without_number(text: str) -> str:
    """A text that is no date, changed if it is a number."""
    (number,) = parse_numbers(np.array([text], dtype=object))
    return text if np.isnan(number) else f"not a date: {text.strip()}"


def _with_marks(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if _DIGITS.fullmatch(text) else text


def date_of(days: float) -> str:
    """The date that is so many days after 1970-01-01: `2024-01-31`; beyond the calendar, the number of days."""
    try:
        return (_START + timedelta(days=days)).date().isoformat()
    except OverflowError:
        return f"day {days:.0f}"


@lru_cache(maxsize=65536)
def _days(text: str) -> str | None:
    """The date in days, in Python's notation; None if the text is no date of the calendar."""
    found = _YEAR_FIRST.fullmatch(text) or _DAY_FIRST.fullmatch(text)
    if found is None:
        return None
    day = f"{found['year']}-{found['month']:0>2}-{found['day']:0>2}"
    hour, _, rest = (found["time"] or "0:00").replace(",", ".").partition(":")
    zone = (found["zone"] or "UTC").replace("UTC", "+00:00")
    try:
        moment = datetime.fromisoformat(f"{day}T{hour:0>2}:{rest}{zone}")
    except ValueError:  # such as 30 February
        return None
    days = (moment - _START) / timedelta(days=1)
    return str(int(days)) if days == int(days) else repr(days)
