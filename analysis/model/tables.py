"""Predictions for the rows of a CSV file, with its columns matched by name."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.model.files import STDIN
from search.process.text import counted
from trainables.data.dates import with_days
from trainables.data.kinds import name_row, odd_rows
from trainables.data.notation import format_within, is_missing, parse_numbers
from trainables.data.table import Column, codes_of, encode
from trainables.files.whole import write_whole
from trainables.sources.sheet import Sheet, parse_sheet, read_sheet

if TYPE_CHECKING:
    from analysis.model.load import Model


@dataclass(frozen=True, kw_only=True)
class TableAnswers:
    """The predictions for the rows of one file."""

    file: str
    notes: tuple[str, ...]
    """What in the file the model does not know."""
    cells: Mapping[str, np.ndarray]
    """Texts (N,) by column, as the file has them."""
    target: str
    unit: str
    classes: tuple[str, ...]
    spread: float
    """Standard deviation of the target; 0 for classes."""
    outputs: np.ndarray
    """Probabilities (N, K), or predictions (N,)."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row as plain values, counted from 1."""
        for number, output in enumerate(self.outputs.tolist(), start=1):
            row: dict[str, Any] = {"file": self.file, "row": number}
            if self.classes:
                found = dict(sorted(zip(self.classes, output, strict=True), key=lambda item: -item[1]))
                yield {**row, "class": next(iter(found)), "probabilities": found}
            else:
                yield {**row, "prediction": output}

    def as_json(self) -> str:
        """One object per line."""
        return "\n".join(json.dumps(row) for row in self.rows())

    def table(self, *, top: int) -> str:
        """Aligned columns: the row, then the prediction or the most probable classes."""
        unit = f" {self.unit}" if self.unit else ""
        lines = []
        for row in self.rows():
            said = (
                [format_within(row["prediction"], self.spread, digits=6) + unit]
                if "prediction" in row
                else _classes(row, top)
            )
            lines.append(("row", str(row["row"]), *said))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)

    def write(self, path: Path) -> None:
        """Write the file again as CSV with the predictions as further columns, in place of those of an earlier call.

        Raises:
            ValueError: it cannot be written.
        """
        added = {f"predicted {self.target}": [row.get("class", row.get("prediction")) for row in self.rows()]}
        for index, name in enumerate(self.classes):
            added[f"probability of {name}"] = self.outputs[:, index].tolist()
        columns = {name: texts for name, texts in self.cells.items() if name not in added} | added
        content = io.StringIO(newline="")
        writer = csv.writer(content)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        try:
            if path.exists() and not path.is_file():  # a pipe, or the terminal
                path.write_text(content.getvalue(), encoding="utf-8")
            else:
                write_whole(path.resolve(), content.getvalue())
        except OSError as error:
            raise ValueError(f"--output {str(path)!r} cannot be written: {error.strerror or error}") from None


def answer_table(model: "Model", file: str) -> TableAnswers:
    """The answers for the rows of a CSV file.

    Args:
        model: one for tables.
        file: its path, or - for the standard input.

    Raises:
        ValueError: it is no CSV, lacks a column that the model needs, or has no rows.
    """
    import torch

    sheet = parse_sheet(sys.stdin.buffer.read(), "-") if file == STDIN else read_sheet(Path(file))
    _check_columns(model.columns, sheet.texts, file)
    cells = _cells(model.columns, sheet)
    target = str(model.facts.get("target") or "target")
    known = {column.name for column in model.columns} | {target}
    ignored = [name for name in cells if name not in known]
    notes = [f"the model does not use the columns {', '.join(ignored)}"] if ignored else []
    notes = [*sheet.notes, *notes]
    notes += [note for column in model.columns if (note := _note(column, cells[column.name], sheet.places))]
    return TableAnswers(
        file=file,
        notes=tuple(notes),
        cells=sheet.texts,
        target=target,
        unit=str(model.facts.get("target_unit") or ""),
        classes=model.classes,
        spread=float(model.facts.get("target_std") or 0.0),
        outputs=model.predict(torch.from_numpy(encode(cells, model.columns))),
    )


def _cells(columns: tuple[Column, ...], sheet: Sheet) -> dict[str, np.ndarray]:
    """The texts of each column as the model takes them: numbers as Python writes them, dates in days, others as in the
    file."""
    cells = dict(sheet.texts)
    for column in columns:
        if column.dates:  # also where the other dates of this file have a form that cannot be read
            cells[column.name] = np.array(with_days(sheet.texts[column.name]), dtype=object)
        elif column.kind == "number" and column.name not in sheet.dates:
            cells[column.name] = sheet.cells[column.name]
    return cells


def _check_columns(columns: tuple[Column, ...], cells: Mapping[str, np.ndarray], file: str) -> None:
    missing = [column.name for column in columns if column.name not in cells]
    if missing:
        near = get_close_matches(missing[0], list(cells), n=1)
        hint = f" (did {near[0]!r} mean {missing[0]!r}?)" if near else ""
        raise ValueError(
            f"{file} must have the {len(columns)} columns of the model; it lacks {', '.join(missing)}{hint}"
        )
    if not len(cells[columns[0].name]):
        raise ValueError(f"{file} has no rows")


def _note(column: Column, values: np.ndarray, places: np.ndarray) -> str:
    """A note on the cells of a column that are not empty and are treated as missing."""
    texts = [str(text).strip() for text in values]
    if column.kind == "number":
        strange = odd_rows(values).tolist()
        beyond = bool(strange) and not np.isnan(parse_numbers(values[strange[:1]]))[0]
        what = "is too large for float32" if beyond else "is not a number"
        if column.dates and not beyond:
            what = "is not a date in a form such as 2024-01-31"
    else:
        codes = codes_of(column)
        strange = [row for row, text in enumerate(texts) if text not in codes and not is_missing(text)]
        what = "was not a category in training"
    if not strange:
        return ""
    found = f"{texts[strange[0]][:40]!r} {what}"
    where = name_row(strange[0], places)
    such = counted(len(strange), "such cell is", plural="such cells are")
    return f"column {column.name!r}: {found}; {such} treated as missing, the first in {where}"


def _classes(row: dict[str, Any], top: int) -> list[str]:
    return [f"{name} {100 * probability:.1f} %" for name, probability in list(row["probabilities"].items())[:top]]
