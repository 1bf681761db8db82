"""Reads a CSV file as texts; encoding, separator, line ends and quotes are detected."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from trainables.data.dates import EPOCH, read_dates
from trainables.data.names import clean_name
from trainables.data.notation import changed_example, plain_columns
from trainables.sources.encoding import decode

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?(?:\r\n|\r|\n|$)', re.IGNORECASE)
_LONGEST_CELL = 2**31 - 1
_SHOWN, _NAMED = 40, 6


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The rows of a file by column, without those that are empty."""

    cells: Mapping[str, np.ndarray]
    """Texts (N,) of each named column, as dtype object: numbers as Python writes them, whatever the file's notation;
    dates as days after 1970-01-01."""
    texts: Mapping[str, np.ndarray]
    """The same cells as written in the file."""
    changed: frozenset[str]
    """Names of the columns whose cells are not their texts."""
    dates: frozenset[str]
    """Names of the columns of dates."""
    places: np.ndarray
    """Number of each row, and of its first line in the file, both from 1: int64 (N, 2)."""
    notes: tuple[str, ...]
    """Notes on what was changed or left out."""


def read_sheet(path: Path) -> Sheet:
    """The content of a CSV file.

    Raises:
        ValueError: there is no such file, it is no CSV, or its rows do not agree; one line names the place.
    """
    try:
        return parse_sheet(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise ValueError(f"there is no file {str(path)!r}; a CSV file is needed") from None
    except IsADirectoryError:
        raise ValueError(f"{str(path)!r} is a folder; a CSV file is needed") from None


def parse_sheet(data: bytes, path: str) -> Sheet:
    """Like `read_sheet`, from the content of a file; the path is for messages."""
    text, notes = decode(data, path)
    stated = _SEP_LINE.match(text)
    lines = list(io.StringIO(text, newline=""))  # a line ends at \n, \r\n or \r
    first = 1 if stated else 0
    csv.field_size_limit(_LONGEST_CELL)
    try:
        separator = stated[1] if stated else _find_separator(lines, path)
        rows = _read_rows(lines, separator, first=first, path=path)
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from None
    if not rows:
        raise ValueError(f"{path} is empty; a CSV file with a header and rows is needed")
    header = [clean_name(name) for name in rows[0][1]]
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        raise ValueError(f"every column must have a different name, but {path} has {twice[0]!r} twice; rename one")
    notes += _check_rows(rows, lines, separator, path)
    unnamed = header.count("")
    if unnamed:
        notes.append(f"{unnamed} column{'s' * (unnamed > 1)} without a name left out of {path}")
    body, repeated = _without_headers(rows)
    notes += repeated
    columns = zip(*(row for _, row in body), strict=True) if body else [()] * len(header)
    texts = {name: cells for name, cells in zip(header, columns, strict=True) if name}
    days = {name: read for name, cells in texts.items() if (read := read_dates(cells)) is not None}
    plain, read = plain_columns({n: cells for n, cells in texts.items() if n not in days}, separator=separator)
    found = [changed_example(name, texts[name], cells) for name, cells in days.items()]
    notes += [*_said("read as numbers", read), *_said(f"dates read as days after {EPOCH}", found)]
    plain |= days
    return Sheet(
        cells={name: np.array(plain.get(name, cells), dtype=object) for name, cells in texts.items()},
        texts={name: np.array(cells, dtype=object) for name, cells in texts.items()},
        changed=frozenset(plain),
        dates=frozenset(days),
        places=np.array([(number, line) for number, (line, _) in enumerate(body, 1)], np.int64).reshape(-1, 2),
        notes=tuple(notes),
    )


def _said(what: str, columns: list[str]) -> list[str]:
    """The note on columns whose cells were read as something else, if there are any."""
    more = f" and {len(columns) - _NAMED} more columns" * (len(columns) > _NAMED)
    return [f"{what}: {', '.join(columns[:_NAMED])}{more}"] if columns else []


def _find_separator(lines: list[str], path: str) -> str:
    """The separator with which most of the first rows have as many cells as the header."""
    scores = {}
    for separator in SEPARATORS:
        rows = [len(row) for row in islice(csv.reader(lines, delimiter=separator), 200) if any(map(str.strip, row))]
        if not rows:
            raise ValueError(f"{path} is empty; a CSV file with a header and rows is needed")
        width, *widths = rows
        scores[separator] = (width > 1, widths.count(width), width)
    return max(scores, key=lambda separator: scores[separator])


def _read_rows(lines: list[str], separator: str, *, first: int, path: str) -> list[tuple[int, list[str]]]:
    """The rows that are not empty, each with the number of its first line.

    Raises:
        ValueError: a quote is never closed.
    """
    reader = csv.reader(lines[first:], delimiter=separator)
    rows, start = [], first + 1
    for row in reader:
        if any(cell.strip() for cell in row):
            rows.append((start, row))
        last, start = start, reader.line_num + first + 1
    if rows and _is_open(lines[last - 1 :], separator):
        line = max(last, len(lines) - len(list(io.StringIO(rows[-1][1][-1], newline=""))) + 1)
        raise ValueError(
            f"the quote that opens in line {min(line, len(lines))} of {path} is never closed; close it, or write the"
            " quote twice inside quotes"
        )
    return rows


def _is_open(lines: list[str], separator: str) -> bool:
    """Whether the row in these lines ends inside a quote."""
    try:
        list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _without_headers(rows: list[tuple[int, list[str]]]) -> tuple[list[tuple[int, list[str]]], list[str]]:
    """The rows below the header without repetitions of it, as in concatenated files, and a note on these."""
    header = [cell.strip() for cell in rows[0][1]]
    repeats = [line for line, row in rows[1:] if len(header) > 1 and [cell.strip() for cell in row] == header]
    if not repeats:
        return rows[1:], []
    places = ", ".join(map(str, repeats[:4])) + ", ..." * (len(repeats) > 4)
    said = f"{len(repeats)} row{'s' * (len(repeats) > 1)} that repeat{'s' * (len(repeats) == 1)} the header left out"
    return [one for one in rows[1:] if one[0] not in set(repeats)], [f"{said} (line {places})"]


def _check_rows(rows: list[tuple[int, list[str]]], lines: list[str], separator: str, path: str) -> list[str]:
    """Notes on rows that may really be several rows.

    Raises:
        ValueError: a row has more or fewer cells than the header.
    """
    width, notes = len(rows[0][1]), []
    ends = [line for line, _ in rows[1:]] + [len(lines) + 1]
    for (line, row), end in zip(rows, ends, strict=True):
        if len(row) != width:
            named = SEPARATORS.get(separator, repr(separator))
            raise ValueError(
                f"every row of {path} must have the {width} cells of its header, separated by a {named}, got"
                f" {len(row)} in {separator.join(row)[:_SHOWN]!r}; use one separator, and quotes around a text that"
                f" contains it (line {line})"
            )
        if end - line > 1 and width > 1:
            parts = [one for one in lines[line - 1 : end - 1] if one.strip()]
            if len(parts) > 1 and all(one.count(separator) == width - 1 for one in parts):
                notes.append(
                    f"the row in line {line} of {path} continues to line {line + len(parts) - 1} within quotes, and"
                    " each of these lines looks like a row; is a quote missing?"
                )
    return notes[:3]
