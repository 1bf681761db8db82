"""Reads a CSV file as texts; encoding, separator, line ends and quotes are detected."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data.dates import EPOCH, read_dates
from trainables.data.notation import Reading, changed_example, plain_columns
from trainables.sources.encoding import decode
from trainables.sources.rows import Rows, is_blank

_NAMED = 6


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
    readings: Mapping[str, Reading]
    """How the numbers of a column are written, for columns that are not in Python's notation."""
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
    rows = Rows(io.StringIO(text, newline=""), path)
    body = [one for one in rows if not is_blank(one[1])]
    notes += rows.notes
    header, separator = rows.names, rows.separator
    columns = zip(*(row for _, row in body), strict=True) if body else [()] * len(header)
    texts = {name: cells for name, cells in zip(header, columns, strict=True) if name}
    days = {name: read for name, cells in texts.items() if (read := read_dates(cells)) is not None}
    plain, readings, read = plain_columns(
        {n: cells for n, cells in texts.items() if n not in days}, separator=separator
    )
    found = [changed_example(name, texts[name], cells) for name, cells in days.items()]
    notes += [*describe_changes("read as numbers", read), *describe_changes(f"dates read as days after {EPOCH}", found)]
    plain |= days
    return Sheet(
        cells={name: np.array(plain.get(name, cells), dtype=object) for name, cells in texts.items()},
        texts={name: np.array(cells, dtype=object) for name, cells in texts.items()},
        changed=frozenset(plain),
        dates=frozenset(days),
        readings=readings,
        places=np.array([(number, line) for number, (line, _) in enumerate(body, 1)], np.int64).reshape(-1, 2),
        notes=tuple(notes),
    )


def describe_changes(what: str, columns: list[str]) -> list[str]:
    """The note on columns whose cells were read as something else, if there are any."""
    more = f" and {len(columns) - _NAMED} more columns" * (len(columns) > _NAMED)
    return [f"{what}: {', '.join(columns[:_NAMED])}{more}"] if columns else []
