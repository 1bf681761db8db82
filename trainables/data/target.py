"""Reads the column to predict in a table of the user's own: labels as written in the file, or numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.data.kinds import describe_alike, name_cells
from trainables.data.notation import NO_VALUE, holds_numbers, is_missing, parse_numbers
from trainables.data.options import Task
from trainables.data.table import LARGEST, fold_truths

MIN_ROWS, MAX_CLASSES, MIN_PER_CLASS = 50, 100, 3
"""Fewest rows with a target; most classes; fewest rows of a class: one each for training, validation and test."""
_MAX_NUMERIC_CLASSES = 20
"""A target of whole numbers with more different values than this is a regression."""
_FREQUENT = 0.1
"""If a word such as `none` has at least this share of the rows, it is a class, not a missing target."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The target of each row."""

    known: np.ndarray
    """Whether a row has a target: bool (N,)."""
    y: np.ndarray
    """Labels int64, or targets float64, of the rows that have a target."""
    classes: tuple[str, ...]
    """Empty for a regression."""
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """The cells of the target column; `kept` are the numbers of the rows that have a target."""

    name: str
    texts: list[str]
    numbers: np.ndarray
    kept: np.ndarray
    places: np.ndarray

    @property
    def odd(self) -> np.ndarray:
        """Rows whose target is no number."""
        return self.kept[np.isnan(self.numbers[self.kept])]

    def named(self, rows: np.ndarray) -> str:
        """The cells in these rows, in words."""
        return name_cells(self.texts, rows, self.places)


def read_target(texts: Sequence[str], plain: np.ndarray, name: str, *, task: Task | None, places: np.ndarray) -> Target:
    """Labels and classes, or targets and no classes.

    The task is decided on all rows, because test rows are drawn by class, for which the classes must be known.

    Args:
        texts: cells as in the file.
        plain: the same cells, with numbers as Python writes them.
        name: name of the column.
        task: the task that the user states; detected when None.
        places: as in `Table`.

    Raises:
        ValueError: the target cannot be learnt; one line says why, where, and what to do.
    """
    texts = [text.strip() for text in texts]
    missing = [is_missing(text) for text in texts]
    numbers = parse_numbers(plain)
    cells = _Cells(
        name=name, texts=texts, numbers=numbers, kept=np.flatnonzero(~np.array(missing, bool)), places=places
    )
    cells, notes = _with_words(cells)
    if len(cells.kept) < MIN_ROWS:
        raise ValueError(f"a table must have at least {MIN_ROWS} rows with a target, got {len(cells.kept)}")
    if task is None:
        task = "regression" if _is_measured(cells) else "classification"
    y, classes, more = _read_numbers(cells) if task == "regression" else _read_labels(cells)
    known = np.zeros(len(texts), bool)
    known[cells.kept] = True
    return Target(known=known, y=y, classes=classes, notes=(*notes, *more))


def _with_words(cells: _Cells) -> tuple[_Cells, list[str]]:
    """The cells in which words such as `none` count as classes, if the target is words and has them often."""
    empty = [row for row, text in enumerate(cells.texts) if text in NO_VALUE]
    words = Counter(text for text in cells.texts if text not in NO_VALUE and is_missing(text))
    frequent = {text for text, count in words.items() if count >= _FREQUENT * (len(cells.texts) - len(empty))}
    kept = cells.kept
    if len(cells.odd) and frequent:
        kept = np.sort([*kept, *(row for row, text in enumerate(cells.texts) if text in frequent)]).astype(np.int64)
    found = _Cells(name=cells.name, texts=cells.texts, numbers=cells.numbers, kept=kept, places=cells.places)
    notes, left_out = [], len(cells.texts) - len(kept)
    if left_out:
        inside = set(kept.tolist())
        dropped = sorted({text for row, text in enumerate(cells.texts) if text and row not in inside})
        written = f" ({', '.join(map(repr, dropped[:4]))} counts as missing)" if dropped else ""
        notes.append(f"{left_out} of {len(cells.texts)} rows have no {cells.name} and are left out{written}")
    return found, notes


def _is_measured(cells: _Cells) -> bool:
    """Whether the target contains measured numbers, with at most a few other cells."""
    numbers, odd = cells.numbers[cells.kept], Counter(cells.texts[row] for row in cells.odd)
    num_numbers = len(cells.kept) - len(cells.odd)
    if not num_numbers or not holds_numbers(num_numbers, odd):
        return False
    known = numbers[~np.isnan(numbers)]
    whole = np.isfinite(known) & (np.floor(known) == known)
    return not whole.all() or len(np.unique(known)) > _MAX_NUMERIC_CLASSES


def _read_numbers(cells: _Cells) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    y = cells.numbers[cells.kept]
    bad = cells.kept[~(np.abs(y) <= LARGEST)]
    if len(bad):
        words = len(cells.odd) > 0
        rule = "numbers" if words else f"finite numbers up to {LARGEST:.1g}"
        hint = "; for classes: --task classification" if words else ""
        raise ValueError(
            f"target {cells.name!r} must contain {rule} for a regression, got {cells.named(bad)}; correct these"
            f" cells, or empty them to leave the rows out{hint}"
        )
    if np.ptp(y) == 0:
        raise _constant(cells)
    return y, (), []


def _constant(cells: _Cells) -> ValueError:
    left = sorted({text for text in cells.texts if text and is_missing(text)})
    more = f" that has one ({', '.join(map(repr, left[:4]))} counts as missing)" if left else ""
    return ValueError(
        f"target {cells.name!r} is {cells.texts[cells.kept[0]][:40]!r} in every row{more}, so there is nothing to "
        f"predict; give another --target"
    )


def _read_labels(cells: _Cells) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    labels = [cells.texts[row] for row in cells.kept]
    counts = fold_truths(Counter(labels))
    folded = {text: next((c for c in counts if c == text), "") for text in set(labels)}
    folded = {text: found or next(c for c in counts if c.lower() == text.lower()) for text, found in folded.items()}
    if len(counts) == 1:
        raise _constant(cells)
    numeric = not len(cells.odd)
    _check_classes(counts, cells, numeric=numeric)
    value = dict(zip(labels, cells.numbers[cells.kept], strict=True))
    classes = tuple(sorted(counts, key=lambda text: (value[text], text) if numeric else (0.0, text)))
    place = {label: index for index, label in enumerate(classes)}
    notes = describe_alike(classes, "classes")
    spelt = sorted(set(folded) - set(counts))
    if spelt:
        notes.append(f"target {cells.name!r}: {', '.join(map(repr, spelt))} counts as {', '.join(map(repr, classes))}")
    return np.array([place[folded[label]] for label in labels], np.int64), classes, notes


def _check_classes(counts: Counter[str], cells: _Cells, *, numeric: bool) -> None:
    """Raise ValueError unless there are few classes, each with a row for training, validation and test."""
    regression = "is it a regression? --task regression"
    if len(counts) > MAX_CLASSES:
        raise ValueError(
            f"target {cells.name!r} must have at most {MAX_CLASSES} classes, got {len(counts):,}; "
            + (regression if numeric else "give another --target")
        )
    rarest, count = min(counts.items(), key=lambda item: item[1])
    if count < MIN_PER_CLASS:
        rows = np.array([row for row in cells.kept if cells.texts[row] == rarest])
        raise ValueError(
            f"every class of target {cells.name!r} needs at least {MIN_PER_CLASS} rows, got {count} of {rarest[:40]!r};"
            f" add rows, or remove or merge the class ({cells.named(rows)})" + (f"; {regression}" if numeric else "")
        )
