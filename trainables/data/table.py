"""Tables: columns as the file has them, and as the numbers that a network reads.

The types of columns (`trainables/data/kinds.py`) are decided once for a run. Categories and missing values are fitted
here, on training rows alone, and so are the weights of free text (`trainables/data/texts.py`). Scaling and imputation
are part of the network (`trainables/models/embeddings.py`).
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trainables.data.divide import Division
from trainables.data.names import clean_name, option
from trainables.data.notation import NO_VALUE, Mark, Reading, is_missing, parse_numbers
from trainables.data.options import Kind
from trainables.data.precision import fits_float32

MAX_CATEGORIES = 100
"""Most categories of a column; rarer ones count as unknown."""
LARGEST = float(np.finfo(np.float32).max)
"""Larger numbers count as missing in an input, and are an error in a target."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One input of a table, in plain values that can be stored as JSON."""

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    """Categories in the training rows, the most frequent first; the code of `categories[i]` is i + 1."""
    gaps: bool = False
    """Whether values are missing in the training rows; of the numbers of a text, only the first says so."""
    wide: bool = False
    """Whether float32 would merge different numbers, so that the table is float64."""
    dates: bool = False
    """Whether its numbers are dates, in days after 1970-01-01."""
    mark: Mark | None = None
    """The decimal mark of its numbers in the file; None if no number shows it, and in earlier releases."""
    signs: tuple[str, ...] = ()
    """The currency or percent signs that its numbers may have, the empty one included; none for Python's notation."""
    text: str = ""
    """If this is one of the numbers of a column of free text: the name of that column."""
    weights: str = ""
    """With which this number is computed from the text."""

    @property
    def reads(self) -> str:
        """The name of the column of the file."""
        return self.text or self.name

    @property
    def reads_as(self) -> Kind:
        """The type of the column of the file."""
        return "text" if self.text else self.kind

    @property
    def reading(self) -> Reading | None:
        """How its numbers are written, if the training data decided that."""
        return Reading(mark=self.mark, signs=frozenset(self.signs)) if self.mark else None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows as they are in the source; nothing is fitted or imputed."""

    cells: Mapping[str, np.ndarray]
    """Input column -> float64 (N,) with NaN for missing values, or texts (N,) as dtype object."""
    y: np.ndarray
    """Labels int64, or targets float64 or float32 (N,)."""
    classes: tuple[str, ...] = ()
    """Empty for a regression."""
    target: str
    target_unit: str = ""
    texts: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Cells as written in the file, for columns whose numbers are written differently from Python."""
    unused: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Cells of the columns that are no inputs, without the target, as written in the file."""
    dates: frozenset[str] = frozenset()
    """Names of the columns whose numbers are dates, in days after 1970-01-01."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """How the numbers of a column are written, for columns that are not in Python's notation."""
    places: np.ndarray | None = None
    """Number of each row and its line in the file, from 1: int64 (N, 2)."""
    division: Division = field(default_factory=Division)
    """The rule of the split, with what it goes by in each row."""
    notes: tuple[str, ...] = ()
    """Notes on what was changed while the file was read."""

    def part(self, *, test: bool) -> "Table":
        """The test rows, or all others; a fixed fifth (of each class), unless the rule says otherwise.

        Targets of a regression become float32, unless that would merge different targets outside the test rows.
        """
        size = max(len(self.y) // 5, len(self.classes))
        test_rows = self.division.test_rows(self.y, size, self.classes)
        others = np.delete(np.arange(len(self.y)), test_rows)
        rows = test_rows if test else others
        y = self.y[rows]
        if y.dtype == np.float64 and fits_float32(self.y[others]):
            y = y.astype(np.float32)
        cells, texts, unused = (
            {name: values[rows] for name, values in held.items()} for held in (self.cells, self.texts, self.unused)
        )
        places = None if self.places is None else self.places[rows]
        division = self.division.take(rows)
        return replace(self, cells=cells, texts=texts, unused=unused, y=y, places=places, division=division)

    def with_kinds(self, kinds: Mapping[str, Kind]) -> "Table":
        """The same rows, with categories and texts as written in the file."""
        written = {name: texts for name, texts in self.texts.items() if kinds[name] != "number"}
        return replace(self, cells={**self.cells, **written}, texts={})

    def checksum(self) -> str:
        """The sha256 of names, cells and targets, and of what the split goes by."""
        digest = hashlib.sha256("\0".join([self.target, *self.classes]).encode())
        keys = {} if self.division.keys is None else {"\0split": self.division.keys}
        for name, values in {**self.cells, "": self.y, **keys}.items():
            digest.update(f"{name}\0{values.dtype.str}{values.shape}".encode())
            digest.update("\0".join(values).encode() if values.dtype == object else np.ascontiguousarray(values).data)
        return digest.hexdigest()


def fit_columns(
    cells: Mapping[str, np.ndarray],
    rows: np.ndarray,
    kinds: Mapping[str, Kind] | None = None,
    *,
    dates: Collection[str] = (),
    readings: Mapping[str, Reading] | None = None,
) -> tuple[Column, ...]:
    """The columns fitted to the training rows, in the order of the file.

    Args:
        cells: as in `Table`.
        rows: numbers of the training rows; other rows are not used.
        kinds: type of each column; without one, a column of texts has numbers if every filled cell is a number.
        dates: as in `Table`.
        readings: as in `Table`.
    """
    columns: list[Column] = []
    for name, values in cells.items():
        if (kinds or {}).get(name) == "text":
            columns += _fit_text(name, values[rows])
        else:
            column = _fit_column(name, values[rows], (kinds or {}).get(name))
            columns.append(_as_written(column, name in dates, (readings or {}).get(name)))
    twice = [name for name, count in Counter(column.name for column in columns).items() if count > 1]
    if twice:
        raise ValueError(
            f"the table has a column {twice[0]!r}, as the numbers of a column of text are called; rename it"
        )
    return tuple(columns)


def encode(cells: Mapping[str, np.ndarray], columns: tuple[Column, ...]) -> np.ndarray:
    """The table as an array (N, F): numbers with NaN for cells without one, and codes of categories.

    All numbers of a text are NaN if its cell is empty, or if the training texts had none of its pieces.

    The code of a category is its position in `Column.categories`, from 1; 0 means missing or unknown. The array is
    float32, or float64 if a column is wide.
    """
    arrays, of_texts = [], dict[str, np.ndarray]()
    for column in columns:
        values = cells[column.reads]
        if column.text:
            if column.name not in of_texts:
                of_texts |= _encode_text(column.text, texts_of(values), columns)
            arrays.append(of_texts[column.name])
            continue
        if column.kind == "number":
            arrays.append(within_float32(parse_numbers(values)))
            continue
        codes, texts = codes_of(column), as_texts(values)
        arrays.append(np.array([codes.get(text, 0) for text in texts], np.float64))
    return np.stack(arrays, axis=1).astype(table_dtype(columns))


def table_dtype(columns: tuple[Column, ...]) -> type[np.floating[Any]]:
    """The type of the array that `encode` returns."""
    return np.float64 if any(column.wide for column in columns) else np.float32


def codes_of(column: Column) -> dict[str, int]:
    """Text -> code of its category; truth values also in other usual spellings."""
    codes = {category: code for code, category in enumerate(column.categories, start=1)}
    if not _are_truths(codes):
        return codes
    spelt = {way(text): code for text, code in codes.items() for way in (str.lower, str.upper, str.capitalize)}
    return spelt | codes


def fold_truths(counts: Counter[str]) -> Counter[str]:
    """The counts of texts, in which `True`, `true` and `TRUE` count as the most frequent spelling.

    If one of the texts is no truth value, the counts are unchanged.
    """
    if not _are_truths(counts):
        return counts
    folded: Counter[str] = Counter()
    for text in sorted(counts, key=lambda text: (-counts[text], text)):
        folded[next((known for known in folded if known.lower() == text.lower()), text)] += counts[text]
    return folded


def _are_truths(texts: Collection[str]) -> bool:
    return len(texts) > 0 and all(text.lower() in ("true", "false") for text in texts)


def as_texts(values: np.ndarray) -> list[str]:
    """The values as texts without outer blanks; `nan`, which programs write for a missing text, becomes empty."""
    texts = (str(value).strip() for value in values)
    return ["" if text in NO_VALUE else text for text in texts]


def texts_of(values: np.ndarray) -> list[str]:
    """The cells of a column of free text, without outer blanks; one that only says that it is missing becomes empty."""
    return ["" if is_missing(text) else text for text in as_texts(values)]


def columns_from(stored: list[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns from their form in JSON."""
    return tuple(Column(**{**column, **_as_fields(column)}) for column in stored)


def _as_fields(column: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a column that JSON has in another form."""
    lists = {name: tuple(value) for name, value in column.items() if isinstance(value, list)}
    return {"name": clean_name(column["name"]), **lists}


def within_float32(numbers: np.ndarray) -> np.ndarray:
    """The numbers with NaN for those beyond float32."""
    return np.where(np.abs(numbers) <= LARGEST, numbers, np.nan)


def _encode_text(name: str, texts: list[str], columns: tuple[Column, ...]) -> dict[str, np.ndarray]:
    """The numbers of a column of free text, by the name of each."""
    from trainables.data.texts import count_pieces, project  # scipy is slow to import

    counts = count_pieces(texts)
    found = {column.name: project(counts, column.weights) for column in columns if column.text == name}
    unread = ~np.any(list(found.values()), axis=0)
    return {name: np.where(unread, np.nan, numbers) for name, numbers in found.items()}


def _fit_text(name: str, values: np.ndarray) -> list[Column]:
    from trainables.data.texts import fit_texts

    texts = texts_of(values)
    weights = fit_texts(texts)
    if not weights:
        raise ValueError(
            f"column {name!r} has fewer than 2 different texts in the training rows; leave it out: "
            f"{option('--drop', name)}"
        )
    return [  # all numbers of a text are missing together, so one input marks it
        Column(name=f"{name} ~ {number}", kind="number", text=name, weights=one, gaps=number == 1 and not all(texts))
        for number, one in enumerate(weights, start=1)
    ]


def _as_written(column: Column, is_date: bool, reading: Reading | None) -> Column:
    """A column of numbers with what their cells are written as; one of categories as it is."""
    if column.kind != "number":
        return column
    mark, signs = (None, ()) if reading is None else (reading.mark, tuple(sorted(reading.signs)))
    return replace(column, dates=is_date, mark=mark, signs=signs)


def _fit_column(name: str, values: np.ndarray, kind: Kind | None) -> Column:
    numbers = parse_numbers(values)
    if kind is None:
        plain = values.dtype != object or all(is_missing(values[row]) for row in np.flatnonzero(np.isnan(numbers)))
        kind = "number" if plain else "category"
    if kind == "number":
        numbers = within_float32(numbers)
        wide = values.dtype == object and not fits_float32(numbers)
        return Column(name=name, kind="number", gaps=bool(np.isnan(numbers).any()), wide=wide)
    texts = as_texts(values)
    counts = fold_truths(Counter(text for text in texts if text))
    frequent = sorted(counts, key=lambda text: (-counts[text], text))[:MAX_CATEGORIES]
    return Column(name=name, kind="category", categories=tuple(frequent), gaps=counts.total() < len(texts))
