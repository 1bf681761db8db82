"""How the cells of a column are written: an example of each form, and what a reading makes of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from trainables.data.notation import Reading, changed_example, contradicting
from trainables.sources.sheet import describe_changes

_MOST_FORMS = 5_000
"""A column with more forms of cells than this is free text."""
_ONES = str.maketrans("023456789", "111111111")
_BEFORE_DIGITS = "+-\u2212( $\u20ac\u00a3\u00a5"


class Forms:
    """The forms of the cells of a column, such as `11,1` for `25,8`, with an example and the number of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, texts: Sequence[str]) -> None:
        if len(self._examples) > _MOST_FORMS:
            return
        stripped = [text.strip() for text in texts]
        forms = [_form(text) for text in stripped]
        self._counts.update(forms)
        if len(self._counts) > len(self._examples):
            for form, text in zip(forms, stripped, strict=True):
                self._examples.setdefault(form, text)

    @property
    def texts(self) -> dict[str, int]:
        """An example of each form, and how many cells have it; empty for free text, which has no numbers."""
        if len(self._examples) > _MOST_FORMS:
            return {"": 1}
        return {self._examples[form]: count for form, count in self._counts.items()}


def _form(text: str) -> str:
    """The text with every digit as 1, but for a zero at its beginning: what decides how a number is read."""
    form = text.translate(_ONES)
    return f"0{form}" if text.lstrip(_BEFORE_DIGITS)[:1] == "0" else form


def describe_readings(columns: Mapping[str, Mapping[str, int]], readings: Mapping[str, Reading]) -> list[str]:
    """The note on columns whose numbers are not in Python's notation, with an example of each."""
    examples = [_example(name, columns[name], reading) for name, reading in readings.items()]
    return describe_changes("read as numbers", list(filter(None, examples)))


def describe_contradictions(columns: Mapping[str, Iterable[str]], known: Mapping[str, Reading]) -> list[str]:
    """Notes on columns with cells that another decimal mark than the known one explains."""
    notes = []
    for mark, usual, other in ((",", "commas", "point"), (".", "points", "comma")):
        found = {n: contradicting(columns[n], reading) for n, reading in known.items() if reading.mark == mark}
        cells = [f"{name!r} {text[:40]!r}" for name, text in found.items() if text is not None]
        what = f"read with decimal {usual}, as in training, though a cell has a decimal {other}"
        notes += describe_changes(f"{what} (write all numbers as the training file does)", cells)
    return notes


def _example(name: str, texts: Mapping[str, int], reading: Reading) -> str:
    changed = next((text for text in texts if reading.plain(text) != text), None)
    return "" if changed is None else changed_example(name, [changed], [reading.plain(changed)])
