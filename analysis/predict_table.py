"""Answers for the rows of a CSV file: columns by name, gaps and unknown categories as the model knows them."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables import csv_table
from trainables.table import Column, as_texts, encode, parse_numbers
from trainables.whole import write_whole

if TYPE_CHECKING:
    from analysis.model import Model

STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class TableAnswers:
    """What is said of the rows of one file."""

    file: str
    notes: tuple[str, ...]
    """What in the file the model does not know."""
    cells: dict[str, np.ndarray]
    """Texts (N,) by column, as the file has them."""
    target: str
    unit: str
    classes: tuple[str, ...]
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
            said = [f"{row['prediction']:.6g}{unit}"] if "prediction" in row else _classes(row, top)
            lines.append(("row", str(row["row"]), *said))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)

    def write(self, path: Path) -> None:
        """Write the file again as CSV with the predictions as further columns."""
        added = {f"predicted {self.target}": [row.get("class", row.get("prediction")) for row in self.rows()]}
        for index, name in enumerate(self.classes):
            added[f"probability of {name}"] = self.outputs[:, index].tolist()
        content = io.StringIO(newline="")
        writer = csv.writer(content)
        writer.writerow([*self.cells, *added])
        writer.writerows(zip(*self.cells.values(), *added.values(), strict=True))
        if path.exists() and not path.is_file():  # a pipe, or the terminal
            path.write_text(content.getvalue(), encoding="utf-8")
        else:
            write_whole(path.resolve(), content.getvalue())


def answer_table(model: "Model", file: str) -> TableAnswers:
    """The answers for the rows of a CSV file.

    Args:
        model: one for tables.
        file: its path, or - for the standard input.

    Raises:
        ValueError: it is no CSV, lacks a column that the model needs, or has no rows.
    """
    import torch

    cells = csv_table.parse_cells(sys.stdin.buffer.read(), "-") if file == STDIN else csv_table.read_cells(Path(file))
    _check_columns(model.columns, cells, file)
    target = str(model.facts.get("target") or "target")
    known = {column.name for column in model.columns} | {target}
    ignored = [name for name in cells if name not in known]
    notes = [f"columns that the model does not use: {', '.join(ignored)}"] if ignored else []
    notes += [note for column in model.columns if (note := _note(column, cells[column.name]))]
    return TableAnswers(
        file=file,
        notes=tuple(notes),
        cells=cells,
        target=target,
        unit=str(model.facts.get("target_unit") or ""),
        classes=model.classes,
        outputs=model.predict(torch.from_numpy(encode(cells, model.columns))),
    )


def _check_columns(columns: tuple[Column, ...], cells: dict[str, np.ndarray], file: str) -> None:
    missing = [column.name for column in columns if column.name not in cells]
    if missing:
        near = get_close_matches(missing[0], list(cells), n=1)
        hint = f" (did {near[0]!r} mean {missing[0]!r}?)" if near else ""
        raise ValueError(
            f"{file} must have the {len(columns)} columns of the model by name, it lacks {', '.join(missing)}{hint}"
        )
    if not len(cells[columns[0].name]):
        raise ValueError(f"{file} has no rows")


def _note(column: Column, values: np.ndarray) -> str:
    """What of a column the model takes as missing although something is there."""
    texts = np.array(as_texts(values), dtype=object)
    if column.kind == "number":
        strange = texts[(texts != "") & np.isnan(parse_numbers(values))]
        what = "is no number"
    else:
        strange = texts[(texts != "") & ~np.isin(texts, column.categories)]
        what = "was not among the categories of training"
    if not len(strange):
        return ""
    return f"column {column.name!r}: {strange[0]!r} {what}; {len(strange)} such cells are taken as missing"


def _classes(row: dict[str, Any], top: int) -> list[str]:
    return [f"{name} {100 * probability:.1f} %" for name, probability in list(row["probabilities"].items())[:top]]
