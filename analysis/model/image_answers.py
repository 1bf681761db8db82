"""The predictions for images: printed, as JSON, and as the columns of a file."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from search.process.text import counted, printable

FIXED = ("file", "class")
"""The columns of a file of predictions before the probabilities."""
_NUMBER = re.compile(r"\d[\d,.]*")


@dataclass(frozen=True, kw_only=True)
class ImageAnswer:
    """The prediction for one image."""

    file: str
    notes: tuple[str, ...]
    """How the image was changed to fit the model."""
    probabilities: dict[str, float]
    """By class, the most likely first."""

    def as_json(self) -> str:
        """A JSON object in one line."""
        best = next(iter(self.probabilities))
        return json.dumps(
            {"file": self.file, "class": best, "probabilities": self.probabilities, "notes": list(self.notes)}
        )


@dataclass
class ImageNotes:
    """Counts the notes on images, so that each kind is one line."""

    _found: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """The images with their notes, by the words of the note."""

    def add(self, answers: Sequence[ImageAnswer]) -> None:
        """Count the notes of these images."""
        for answer in answers:
            for note in answer.notes:
                self._found.setdefault(_NUMBER.sub("0", note), []).append((answer.file, note))

    @property
    def lines(self) -> list[tuple[str, str]]:
        """For each kind: which images, and the note on the first of them."""
        lines = []
        for found in self._found.values():
            first, note = found[0]
            images = first if len(found) == 1 else f"{counted(len(found), 'image')}, the first {first}"
            alike = len({note for _, note in found}) == 1
            lines.append((images, note if alike else f"{note} (numbers of the first)"))
        return lines


def columns(answers: Sequence[ImageAnswer], classes: Sequence[str], *, names_of_classes: bool) -> dict[str, list[Any]]:
    """The answers as columns of a file."""
    best = [next(iter(a.probabilities)) for a in answers]
    found: dict[str, list] = dict(zip(FIXED, ([a.file for a in answers], best), strict=True))
    for name in classes:
        found[name if names_of_classes else f"probability of {name}"] = [
            answer.probabilities[name] for answer in answers
        ]
    return found


def table(answers: Sequence[ImageAnswer], *, top: int) -> str:
    """The answers as aligned columns: the file, then its most probable classes."""
    rows: list[tuple[Any, ...]] = [
        (printable(answer.file), *(f"{printable(name)} {100 * p:.1f} %" for name, p in _top(answer, top)))
        for answer in answers
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _top(answer: ImageAnswer, count: int) -> list[tuple[str, float]]:
    return list(answer.probabilities.items())[:count]
