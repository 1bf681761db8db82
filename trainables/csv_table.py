"""A user's own table: a CSV file whose separator, encoding and kinds of columns are found from the file."""

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from trainables.table import Table, TableOptions, Task, as_texts, parse_numbers

MIN_ROWS, MAX_CLASSES, MIN_PER_CLASS = 50, 100, 3
"""One row of a class each for training, validation and test."""
_MAX_NUMERIC_CLASSES = 20  # whole numbers of more different values than these are measured, not named
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+(?:[eE][+-]?\d+)?\s*")
_NO_TEXT = {
    b"PK": "a zip archive or a workbook",
    b"PAR1": "Parquet",
    b"\x1f\x8b": "a gzip archive",
    b"\xd0\xcf": "an Excel file",
}
_logger = logging.getLogger(__name__)


def read(path: Path, options: TableOptions) -> Table:
    """Returns the rows whose target is known.

    Args:
        path: a CSV file with a header.
        options: the target, and what is left out.

    Raises:
        ValueError: the file is no table, or its target cannot be learnt; one line says why and what to do.
    """
    cells = read_cells(path)
    if len(cells) < 2:
        named = ", ".join(cells)[:60]
        raise ValueError(f"{path} must have 2 columns or more, separated by commas, semicolons or tabs, got {named!r}")
    if options.target not in cells:
        raise ValueError(f"the table has no column {options.target!r} to predict{_nearest(options.target, cells)}")
    for name in options.drop:
        if name not in cells or name == options.target:
            cause = "it is the target" if name in cells else f"the table has no such column{_nearest(name, cells)}"
            raise ValueError(f"--drop {name!r} cannot be: {cause}")
    texts = as_texts(cells.pop(options.target))
    known = np.array([bool(text) for text in texts])
    if known.sum() < MIN_ROWS:
        raise ValueError(f"a table must have at least {MIN_ROWS} rows with a target, got {known.sum()} in {path}")
    if not known.all():
        _logger.warning("%d of %d rows have no %s and are left out", (~known).sum(), len(known), options.target)
    inputs = {name: values[known] for name, values in cells.items() if name not in options.drop}
    if not inputs:
        raise ValueError(f"{path} has no column left to predict {options.target!r} from")
    y, classes = _read_target([text for text in texts if text], options.target, options.task)
    return Table(cells=inputs, y=y, classes=classes, target=options.target)


def read_cells(path: Path) -> dict[str, np.ndarray]:
    """Returns the texts (N,) of each named column, as dtype object.

    Raises:
        ValueError: the file is no CSV, or its rows do not agree.
    """
    try:
        return parse_cells(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise ValueError(f"there is no file {str(path)!r}; a CSV file is needed") from None
    except IsADirectoryError:
        raise ValueError(f"{str(path)!r} is a folder; a CSV file is needed") from None


def parse_cells(data: bytes, path: str) -> dict[str, np.ndarray]:
    """The same of the content of a file; the path is for messages."""
    text = _decode(data, path)
    separator = _find_separator(text, path)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    header = [name.strip() for name in rows[0]]
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        raise ValueError(f"every column must have a name of its own, {path} has {twice[0]!r} twice; rename one")
    body = [row for row in rows[1:] if any(cell.strip() for cell in row)]
    for row in body:
        if len(row) != len(header):
            start = separator.join(row)[:40]
            raise ValueError(
                f"every row of {path} must have the {len(header)} cells of its header, separated by a"
                f" {_SEPARATORS[separator]}, got {len(row)} in {start!r}; use one separator, and quotes around a text"
                " that holds it"
            )
    if separator == ";":  # where a comma is the decimal point
        body = [[c.replace(",", ".") if _DECIMAL_COMMA.fullmatch(c) else c for c in row] for row in body]
    unnamed = header.count("")
    if unnamed:
        _logger.warning("%d column%s without a name left out of %s", unnamed, "s" * (unnamed > 1), path)
    columns = zip(*body, strict=True) if body else [()] * len(header)
    return {name: np.array(cells, dtype=object) for name, cells in zip(header, columns, strict=True) if name}


def _decode(data: bytes, path: str) -> str:
    kind = next((kind for magic, kind in _NO_TEXT.items() if data.startswith(magic)), None)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    if kind or b"\0" in data[:4096]:
        raise ValueError(f"{path} must be a CSV file, it looks like {kind or 'binary data'}; save the table as CSV")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        _logger.warning("%s is not UTF-8; it is read as Latin-1 (Windows-1252)", path)
        return data.decode("cp1252", errors="replace")


def _find_separator(text: str, path: str) -> str:
    """Returns the separator by which the first rows fall into as many cells as the header, the most of them."""
    lines = [line for line in text.split("\n", 200)[:200] if line.strip()]
    if not lines:
        raise ValueError(f"{path} is empty; a CSV file with a header and rows is needed")
    scores = {}
    for separator in _SEPARATORS:
        width, *widths = (len(row) for row in csv.reader(lines, delimiter=separator))
        scores[separator] = (width > 1, widths.count(width), width)
    return max(scores, key=lambda separator: scores[separator])


def _read_target(texts: list[str], name: str, task: Task | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns labels and classes, or targets and no classes."""
    if len(set(texts)) == 1:
        raise ValueError(f"target {name!r} is {texts[0]!r} in every row; there is nothing to predict")
    numbers = parse_numbers(np.array(texts, dtype=object))
    numeric = not np.isnan(numbers).any()
    if task is None:
        measured = numeric and ((numbers % 1 != 0).any() or len(np.unique(numbers)) > _MAX_NUMERIC_CLASSES)
        task = "regression" if measured else "classification"
    if task == "regression":
        if not numeric:
            bad = texts[int(np.flatnonzero(np.isnan(numbers))[0])]
            raise ValueError(f"target {name!r} must hold numbers for a regression, got {bad[:40]!r}")
        return numbers.astype(np.float32), ()
    labels = [f"{number:g}" if number % 1 == 0 else text for number, text in zip(numbers, texts, strict=True)]
    counts = Counter(labels if numeric else texts)
    if len(counts) > MAX_CLASSES:
        raise ValueError(
            f"target {name!r} must have at most {MAX_CLASSES} classes, got {len(counts):,}"
            + ("; is it a regression? --task regression" if numeric else "; give another --target")
        )
    rarest, count = min(counts.items(), key=lambda item: item[1])
    if count < MIN_PER_CLASS:
        raise ValueError(
            f"every class of target {name!r} needs at least {MIN_PER_CLASS} rows, got {count} of {rarest[:40]!r};"
            " add rows, or remove or merge the class"
        )
    classes = tuple(sorted(counts, key=float) if numeric else sorted(counts))
    place = {label: index for index, label in enumerate(classes)}
    return np.array([place[label] for label in (labels if numeric else texts)], np.int64), classes


def _nearest(name: str, names: Sequence[str] | dict) -> str:
    near = get_close_matches(name, list(names), n=1, cutoff=0.5)
    listed = ", ".join(list(names)[:12]) + (", ..." if len(names) > 12 else "")
    return f"; it has {listed}" + (f" (did you mean {near[0]}?)" if near else "")
