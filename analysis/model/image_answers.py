"""The predictions for images: printed, as JSON, and as the columns of a file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search.process.text import printable


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


def columns(answers: Sequence[ImageAnswer], classes: Sequence[str], *, names_of_classes: bool) -> dict[str, list[Any]]:
    """The answers as columns of a file."""
    found: dict[str, list] = {
        "file": [a.file for a in answers],
        "class": [next(iter(a.probabilities)) for a in answers],
    }
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
