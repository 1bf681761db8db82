"""Predictions for the rows of a CSV or Parquet file, in blocks, with its columns matched by name."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.model.conformal import Interval
from search.process.text import counted
from trainables.data.dates import with_days
from trainables.data.gaps import missing_cells
from trainables.data.notation import format_within, is_missing, parse_numbers
from trainables.data.table import Column, codes_of, encode
from trainables.sources.stream import BLOCK, Block, RowSource, open_rows

if TYPE_CHECKING:
    from analysis.model.load import Model

_MOST_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class TableAnswers:
    """The predictions for some rows of one file."""

    file: str
    notes: tuple[str, ...] = ()
    """What in the file the model does not know."""
    block: Block
    """The rows as the file has them."""
    num_rows: int
    """Rows of the whole file."""
    target: str
    unit: str
    classes: tuple[str, ...]
    spread: float
    """Standard deviation of the target; 0 for classes."""
    outputs: np.ndarray
    """Probabilities (N, K), or predictions (N,)."""
    interval: Interval | None = None

    @property
    def ends(self) -> list[tuple[float, float]]:
        """The ends of the interval of each row; empty without intervals."""
        if self.interval is None:
            return []
        low, high = self.interval.of(self.outputs)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row as plain values, with its number in the file from 1."""
        ends = self.ends
        for number, output in enumerate(self.outputs.tolist(), start=self.block.first):
            row: dict[str, Any] = {"file": self.file, "row": number}
            if self.classes:
                found = dict(sorted(zip(self.classes, output, strict=True), key=lambda item: -item[1]))
                yield {**row, "class": next(iter(found)), "probabilities": found}
            elif self.interval is None:
                yield {**row, "prediction": output}
            else:
                low, high = ends[number - self.block.first]
                yield {**row, "prediction": output, "low": low, "high": high, "level": self.interval.level}

    def as_json(self) -> str:
        """One object per line."""
        return "\n".join(json.dumps(row) for row in self.rows())

    def table(self, *, top: int) -> str:
        """Aligned columns: the row, then the prediction or the most probable classes."""
        unit = f" {self.unit}" if self.unit else ""
        lines = []
        for row in self.rows():
            said = _classes(row, top) if self.classes else [self._shown(row["prediction"]) + unit]
            if "low" in row:
                said.append(f"{self._shown(row['low'])} to {self._shown(row['high'])}{unit}")
            lines.append(("row", str(row["row"]).ljust(len(str(self.num_rows))), *said))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)

    def _shown(self, value: float) -> str:
        return format_within(value, self.spread, digits=6)

    def added(self, *, names_of_classes: bool = False) -> dict[str, list[Any]]:
        """The columns of the predictions.

        Args:
            names_of_classes: name each column of probabilities as its class.
        """
        names = added_names(
            self.target, self.classes, interval=self.interval is not None, names_of_classes=names_of_classes
        )
        if self.classes:
            best = [self.classes[index] for index in self.outputs.argmax(1)]
            values: list[list[Any]] = [best, *self.outputs.T.tolist()]
        elif self.interval is not None:
            values = [self.outputs.tolist(), *([ends[index] for ends in self.ends] for index in range(2))]
        else:
            values = [self.outputs.tolist()]
        return dict(zip(names, values, strict=True))


class TablePredictor:
    """Predicts the rows of one file, block by block."""

    def __init__(self, model: "Model", file: str, source: RowSource, interval: Interval | None = None) -> None:
        """Check the columns.

        Args:
            model: one for tables.
            file: name of the file.
            source: its rows.
            interval: added to each prediction.

        Raises:
            ValueError: it lacks a column that the model needs, or has no rows.
        """
        self.model, self.file, self.interval = model, file, interval
        known = {column.reads: reading for column in model.columns if (reading := column.reading)}
        self.source = source.reading_as(known)
        _check_columns(model.columns, self.source, file)
        self.target = str(model.facts.get("target") or "target")
        known = {column.reads for column in model.columns} | {self.target}
        ignored = [name for name in self.source.names if name not in known]
        notes = [f"the model does not use the columns {', '.join(ignored)}"] if ignored else []
        self.notes = (*self.source.notes, *notes)
        """What can be said before any row is predicted."""
        self.num_done = 0
        self._read = {column.reads: column for column in model.columns}.values()
        """One column of the model for each that it reads."""
        self._odd = {column.reads: _OddCells(column) for column in self._read}

    @property
    def notes_on_cells(self) -> tuple[str, ...]:
        """What the model does not know in the rows that have been predicted, and how many cells have no value."""
        notes = tuple(note for odd in self._odd.values() if (note := odd.note))
        empty = {name: odd.num_empty for name, odd in self._odd.items() if odd.num_empty}
        return (*notes, _empty_cells(empty, self.num_done)) if empty else notes

    def answers(self, *, size: int = BLOCK) -> Iterator[TableAnswers]:
        """The predictions of all rows, in blocks of this size."""
        import torch

        facts = self.model.facts
        for block in self.source.blocks(size):
            cells = {column.reads: self._cells(column, block) for column in self._read}
            x = encode(cells, self.model.columns)
            for column, values in {c.reads: (c, x[:, i]) for i, c in enumerate(self.model.columns)}.values():
                self._odd[column.reads].look(cells[column.reads], values, block)
            yield TableAnswers(
                file=self.file,
                block=block,
                num_rows=self.source.num_rows,
                target=self.target,
                unit=str(facts.get("target_unit") or ""),
                classes=self.model.classes,
                spread=float(facts.get("target_std") or 0.0),
                outputs=self.model.predict(torch.from_numpy(x)),
                interval=self.interval,
            )
            self.num_done += len(block)

    def _cells(self, column: Column, block: Block) -> np.ndarray:
        """The texts of a column as the model takes them: numbers as Python writes them, dates in days, others as in the
        file."""
        texts = block.texts[column.reads]
        if column.dates:  # also where the other dates of this file have a form that cannot be read
            texts = with_days(texts)
        elif column.reads_as == "number" and (reading := self.source.reading(column.name)):
            texts = [reading.plain(text) for text in texts]
        elif column.kind == "category" and block.batch is not None:
            texts = whole_numbers(texts, codes_of(column))
        return np.array(texts, dtype=object)


@dataclass
class _OddCells:
    """Counts the cells of a column that have no value, and those that are treated as missing all the same."""

    column: Column
    first: tuple[str, str] = ("", "")
    """What the first one is, and where."""
    count: int = 0
    num_empty: int = 0
    codes: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.codes = codes_of(self.column)

    def look(self, cells: np.ndarray, encoded: np.ndarray, block: Block) -> None:
        lost = np.flatnonzero(missing_cells(encoded, self.column))
        odd = [row for row in lost if not is_missing(str(cells[row]))]
        if odd and not self.count:
            first = int(odd[0])
            text = block.texts[self.column.reads][first].strip()
            self.first = f"{text[:40]!r} {self._reason(str(cells[first]))}", block.place(first)
        self.count += len(odd)
        self.num_empty += len(lost) - len(odd)

    def _reason(self, text: str) -> str:
        if self.column.kind == "category":
            return "was not a category in training"
        if self.column.text:
            return "has no part of a word that occurred in training"
        if self.column.dates:
            return "is not a date in a form such as 2024-01-31"
        if not np.isnan(parse_numbers(np.array([text], dtype=object)))[0]:
            return "is too large for float32"
        return "is not a number"

    @property
    def note(self) -> str:
        """A line about them; empty if there are none."""
        if not self.count:
            return ""
        found, where = self.first
        such = counted(self.count, "such cell is", plural="such cells are")
        return f"column {self.column.reads!r}: {found}; {such} treated as missing, the first in {where}"


def answer_table(model: "Model", file: str) -> TableAnswers:
    """The answers for all rows of a CSV or Parquet file, in one.

    Args:
        model: one for tables.
        file: its path, or - for the standard input.

    Raises:
        ValueError: it is no table, lacks a column that the model needs, or has no rows.
    """
    with open_rows(file) as source:
        predictor = TablePredictor(model, file, source)
        parts = list(predictor.answers())
    texts = {name: [text for part in parts for text in part.block.texts[name]] for name in predictor.source.names}
    return replace(
        parts[0],
        notes=(*predictor.notes, *predictor.notes_on_cells),
        block=Block(texts=texts, first=1),
        outputs=np.concatenate([part.outputs for part in parts]),
    )


def whole_numbers(texts: Sequence[str], codes: Mapping[str, int]) -> list[str]:
    """The texts of a column of floats, with `3.0` as `3` if that is the category: whole numbers with gaps are floats in
    Parquet."""
    return [t[:-2] if t.endswith(".0") and t not in codes and t[:-2] in codes else t for t in texts]


def added_names(target: str, classes: Sequence[str], *, interval: bool, names_of_classes: bool) -> list[str]:
    """Names of the columns of the predictions in a file.

    Args:
        target: name of the target.
        classes: of the model; empty for numbers.
        interval: whether there are the ends of an interval.
        names_of_classes: name each column of probabilities as its class.
    """
    said = [f"predicted {target}"]
    if classes:
        return said + [name if names_of_classes else f"probability of {name}" for name in classes]
    return said + [f"low {target}", f"high {target}"] * interval


def _empty_cells(counts: Mapping[str, int], num_rows: int) -> str:
    """How many cells of each column have no value, the most first, in a line."""
    most = sorted(counts, key=lambda name: -counts[name])
    shown = ", ".join(f"{name!r} in {counts[name]:,}" for name in most[:_MOST_NAMED])
    more = f" and {counted(len(most) - _MOST_NAMED, 'more column')}" if len(most) > _MOST_NAMED else ""
    return f"of {counted(num_rows, 'row')}, these have no value: {shown}{more}; handled as missing values in training"


def _check_columns(columns: tuple[Column, ...], source: RowSource, file: str) -> None:
    needed = dict.fromkeys(column.reads for column in columns)
    missing = [name for name in needed if name not in source.names]
    if missing:
        near = get_close_matches(missing[0], source.names, n=1)
        hint = f" (did {near[0]!r} mean {missing[0]!r}?)" if near else ""
        raise ValueError(
            f"{file} must have the {len(needed)} columns of the model; it lacks {', '.join(missing)}{hint}"
        )
    if not source.num_rows:
        raise ValueError(f"{file} has no rows")


def _classes(row: dict[str, Any], top: int) -> list[str]:
    return [f"{name} {100 * probability:.1f} %" for name, probability in list(row["probabilities"].items())[:top]]
