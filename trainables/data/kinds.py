"""Decides whether each column of the user's table is numbers or categories, and reports cells that do not fit."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation

import numpy as np

from trainables.data.dates import are_dates
from trainables.data.names import option
from trainables.data.notation import NEARLY_ALL, holds_numbers, is_missing, parse_numbers
from trainables.data.options import Kind
from trainables.data.table import LARGEST, MAX_CATEGORIES, Table, as_texts, fold_truths, texts_of

_MOST_NAMED = 3
_SAFE_DIGITS = 15
"""Every number of so many decimal digits is another one in float64."""
_WITH_UNIT = re.compile(r"\s*[+-]?\d[\d.,]*\s*(?P<unit>[^\W\d][^\d]*)")
_WORD = re.compile(r"[^\W\d_]{2,}")
_LEADING = re.compile(r"-?0\d+")
_TRUTHS: dict[str, bool] = dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True)
_TRUTHS |= dict.fromkeys(("false", "f", "no", "n", "off", "0"), False)


def decide_kinds(table: Table, stated: Mapping[str, Kind], *, dropped: Sequence[str] = ()) -> dict[str, Kind]:
    """The type of each column: number if nearly all of its cells are numbers, else category.

    Args:
        table: all rows except the test rows; only the inputs matter, not the target.
        stated: types that were decided before or that the user states, which are kept.
        dropped: columns that are already left out, so that the advice in an error includes them.

    Raises:
        ValueError: a column without numbers has a different text in nearly every row, and its type is not stated.
    """
    for name, kind in stated.items():
        if kind == "number" and name in table.cells:
            _check_numbers(name, table.cells[name], table, dropped)
    kinds: dict[str, Kind | None] = {
        name: stated.get(name) or _decide(name, values, table, dropped) for name, values in table.cells.items()
    }
    usable: dict[str, Kind] = {name: kind for name, kind in kinds.items() if kind is not None}
    useless = {name: _describe_useless(table.cells[name]) for name in kinds if name not in usable}
    if useless:
        held = ", ".join(f"{name!r} contains {what}" for name, what in useless.items())
        noun, them = ("column", "it") if len(useless) == 1 else ("columns that cannot be used:", "them")
        raise ValueError(
            f"{noun} {held}; such a column cannot be an input; leave {them} out: {option('--drop', *dropped, *useless)}"
            + _describe_prose([name for name in useless if _is_prose(table.cells[name])])
        )
    return usable


def are_numbers(values: np.ndarray) -> bool:
    """Whether a column is one of numbers if its type is not stated."""
    return holds_numbers(*_count_numbers(values))


def describe_cells(table: Table, kinds: Mapping[str, Kind]) -> list[str]:
    """A note for each column of texts in which some cells are changed or ignored.

    Args:
        table: all rows of the file.
        kinds: types of the columns.
    """
    found = [(n, values) for n, values in table.cells.items() if values.dtype == object and kinds[n] != "text"]
    notes = [
        _describe_numbers(name, values, table) if kinds[name] == "number" else _describe_categories(name, values, table)
        for name, values in found
    ]
    return [note for note in notes if note]


def describe_alike(texts: Iterable[str], what: str) -> list[str]:
    """Notes on different texts that may mean the same: `7` and `007`, `Yes` and `yes`, `1` and `True`.

    Args:
        texts: different texts, each of which is a class or category.
        what: `classes` or `categories`.
    """
    texts = list(texts)
    truths = all(text.casefold() in _TRUTHS for text in texts)
    seen: dict[object, str] = {}
    notes = []
    for text in texts:
        plain = "".join(sign for sign in unicodedata.normalize("NFKC", text) if unicodedata.category(sign) != "Cf")
        plain = re.sub(r"\s+", " ", plain).strip().casefold()
        keys = {plain, _exact(plain), _TRUTHS.get(plain) if truths else plain}
        other = next((seen[key] for key in keys if key in seen), None)
        if other is not None:
            notes.append(f"{other!r} and {text!r} are two {what}; write them the same way if they mean the same")
        seen |= dict.fromkeys(keys, text)
    return notes[:3]


def _exact(text: str) -> object:
    """The exact number in a text; the text itself if it is no number, or too large to compare."""
    try:
        return Decimal(text) if "_" not in text and abs(Decimal(text).adjusted()) < 400 else text
    except InvalidOperation:
        return text


def name_cells(texts: Sequence[str], rows: np.ndarray, places: np.ndarray | None) -> str:
    """The first of these cells in words: `'n.a.' in row 19 (line 20) and 4 more cells`.

    Args:
        texts: cells of the column.
        rows: numbers of the rows, at least one.
        places: as in `Table`.
    """
    named = [f"{texts[row][:40]!r} in {name_row(row, places)}" for row in rows[:_MOST_NAMED]]
    more = len(rows) - len(named)
    if more:
        return f"{', '.join(named)} and {more:,} more cell{'s' * (more > 1)}"
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def name_row(row: int, places: np.ndarray | None) -> str:
    """The name of a row by its position in the file: `row 19 (line 20)`."""
    return f"row {row + 1}" if places is None else f"row {places[row, 0]} (line {places[row, 1]})"


def odd_rows(values: np.ndarray) -> np.ndarray:
    """The numbers of the rows whose cell is filled, but not with a number in the range of float32."""
    numbers = parse_numbers(values)
    suspects = np.flatnonzero(~(np.abs(numbers) <= LARGEST))
    return np.array([row for row in suspects if not is_missing(str(values[row]))], np.int64)


def _check_numbers(name: str, values: np.ndarray, table: Table, dropped: Sequence[str]) -> None:
    numbers, odd = parse_numbers(values), odd_rows(values)
    if len(odd) and not (np.abs(numbers) <= LARGEST).any():
        found = name_cells(_written(name, table), odd, table.places)
        raise ValueError(
            f"--types {name!r} cannot be numbers: it contains {found}; leave it out: {option('--drop', *dropped, name)}"
        )


def _decide(name: str, values: np.ndarray, table: Table, dropped: Sequence[str]) -> Kind | None:
    """The type of a column; None if it has a different text in nearly every row."""
    num_numbers, odd = _count_numbers(values)
    if holds_numbers(num_numbers, odd):
        return "number"
    counts = Counter(text for text in as_texts(values) if text)
    if len(counts) <= max(20, 0.5 * counts.total()):
        return "category"
    if num_numbers >= odd.total():
        found = name_cells(_written(name, table), odd_rows(values), table.places)
        raise ValueError(
            f"column {name!r} contains {_kind(name, table)}, but also {found}; correct these cells, or read them as"
            f" missing: {option('--types', name, suffix='=number')}, or leave the column out:"
            f" {option('--drop', *dropped, name)}"
        )
    return None


def _count_numbers(values: np.ndarray) -> tuple[int, Counter[str]]:
    """Cells with a number, and the number of cells of each other text."""
    missing = np.flatnonzero(np.isnan(parse_numbers(values)))
    texts = [str(values[row]).strip() for row in missing]
    return len(values) - len(missing), Counter(text for text in texts if not is_missing(text))


def _kind(name: str, table: Table) -> str:
    return "dates" if name in table.dates else "numbers"


def _written(name: str, table: Table) -> list[str]:
    """The cells of an input as written in the file, without outer blanks."""
    return [str(value).strip() for value in table.texts.get(name, table.cells[name])]


def _describe_useless(values: np.ndarray) -> str:
    """The content of a column that is neither numbers nor categories, in words."""
    counts = Counter(text for text in as_texts(values) if text)
    texts = list(counts.elements())
    units = Counter(found["unit"] for found in map(_WITH_UNIT.fullmatch, texts) if found)
    unit, count = units.most_common(1)[0] if units else ("", 0)
    if count >= NEARLY_ALL * len(texts):
        example = next(text for text in texts if text.endswith(unit))
        return f"numbers with a unit ({example[:40]!r}: write the numbers alone, the unit in the column's name)"
    dates = are_dates(texts)
    written = sum(any(map(str.isdigit, text)) for text in counts) >= NEARLY_ALL * len(counts) and not dates
    return (
        f"{len(counts):,} different {'dates' if dates else 'texts'} in {counts.total():,} training rows, such as"
        f" {max(counts, key=lambda text: counts[text])[:40]!r}"
        + " (to use them, write them as 2024-01-31)" * dates
        + " (write them in one form, without units, if they are numbers)" * written
    )


def _is_prose(values: np.ndarray) -> bool:
    """Whether most texts have several words with letters."""
    texts = [text for text in texts_of(values) if text]
    return sum(len(_WORD.findall(text)) > 1 for text in texts) > len(texts) / 2


def _describe_prose(names: Sequence[str]) -> str:
    """How columns of prose can be inputs; empty if there are none."""
    return f", or read it as free text: {option('--types', *names, suffix='=text')}" if names else ""


def _categories(texts: Sequence[str]) -> list[str]:
    """The distinct texts, sorted; empty if there are more than `MAX_CATEGORIES`."""
    found = fold_truths(Counter(text for text in texts if not is_missing(text)))
    return sorted(found) if len(found) <= MAX_CATEGORIES else []


def _describe_numbers(name: str, values: np.ndarray, table: Table) -> str:
    texts, odd, what = [str(v).strip() for v in values], odd_rows(values), _kind(name, table)
    as_category = option("--types", name, suffix="=category")
    said = []
    if len(odd):
        words = np.isnan(parse_numbers(values[odd])).any()
        why = (
            f"not {what}, treated as missing (as categories: {as_category})"
            if words
            else "too large for float32, treated as missing"
        )
        said.append(f"{name_cells(_written(name, table), odd, table.places)}: {why}")
    leading = np.array([row for row, text in enumerate(texts) if _LEADING.fullmatch(text)], np.int64)
    if len(leading):
        said.append(
            f"{name_cells(texts, leading, table.places)}: read without leading zeros (as categories: {as_category})"
        )
    long = _describe_long(values)
    if long:
        said.append(f"{long} (as categories: {as_category})")
    return f"column {name!r} contains {what}; {'; '.join(said)}" if said else ""


def _describe_categories(name: str, values: np.ndarray, table: Table) -> str:
    texts, numbers = [str(value).strip() for value in values], parse_numbers(values)
    filled = sum(not is_missing(text) for text in texts)
    odd = odd_rows(values)
    if are_dates(texts):
        return (
            f"column {name!r} contains dates, read as categories, such as {name_cells(texts, odd[:1], table.places)}: a"
            f" date that is not among the training rows counts as missing; to use them as numbers, write them as"
            f" 2024-01-31"
        )
    if 2 * int(np.isfinite(numbers).sum()) < max(filled, 1) or not len(odd):
        return "; ".join(describe_alike(_categories(texts), f"categories of {name!r}"))
    return (
        f"column {name!r} is read as categories, since it contains {name_cells(texts, odd, table.places)}; as numbers,"
        f" with these cells missing: {option('--types', name, suffix='=number')}"
    )


def _describe_long(values: np.ndarray) -> str:
    """A note on numbers of more than 15 digits, if float64 merges some of them; it does from 2**53 on."""
    texts = np.array([t for t in set(values) if sum(map(str.isdigit, t)) > _SAFE_DIGITS], dtype=object)
    numbers = parse_numbers(texts)
    exact = {_exact(text.strip()) for text in texts[np.isfinite(numbers)]}
    kept = len(np.unique(numbers[np.isfinite(numbers)]))
    found = f"of {len(exact):,} numbers of more than {_SAFE_DIGITS} digits {kept:,} are distinct"
    return found if kept < len(exact) else ""
