"""Draws training and validation rows, or folds, among the rows that are no test rows."""

from dataclasses import dataclass

import numpy as np

from trainables.data.dataset import Fold
from trainables.data.divide import Division
from trainables.data.split import FEW_ROWS, TABLE_FOLDS, describe_folds
from trainables.data.stratify import stratified_rows
from trainables.sources.catalogue import check_train_size


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Numbers of the rows that are used."""

    train: np.ndarray
    validation: np.ndarray
    folds: tuple[Fold, ...] = ()
    """Of which `train` and `validation` are the last; empty for one split."""
    notes: tuple[str, ...] = ()

    @property
    def fitted(self) -> np.ndarray:
        """The rows from which the categories of a table are taken: those that train in some fold."""
        return np.sort(np.concatenate([self.train, self.validation])) if self.folds else self.train


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How many rows are drawn, and how."""

    seed: int = 0
    train_size: int | None = None
    """Rows to use, training and validation together; None for all."""
    validation_fraction: float = 0.1
    folds: int | None = 1
    """None for `small_folds` if one validation split would be small."""
    small_folds: int = TABLE_FOLDS

    def __post_init__(self) -> None:
        if not 0 <= self.validation_fraction <= 0.5:
            raise ValueError(f"validation_fraction must lie in [0, 0.5], got {self.validation_fraction}")

    def rows(self, y: np.ndarray, classes: tuple[str, ...], division: Division) -> Drawn:
        """Training and validation rows, or folds.

        Raises:
            ValueError: there are too few rows, or a rule of the split cannot be followed.
        """
        rng = np.random.default_rng((self.seed, 0x5EED))
        rows = np.arange(len(y))
        if self.train_size is not None:
            check_train_size(self.train_size, len(y), len(classes))
            rows = stratified_rows(y, self.train_size, rng)
        division, y = division.take(rows), y[rows]
        size = max(round(len(rows) * self.validation_fraction), len(classes)) if self.validation_fraction else 0
        task = "classification" if classes else "regression"
        if size and self.folds is None and size < FEW_ROWS and not division.rule.is_stated:
            said = describe_folds(division.rule, num_validation=size, task=task, folds=self.small_folds)
            try:
                return _folded(rows, division.folds(y, self.small_folds, rng, classes), note=said)
            except ValueError:  # too few groups or times, or rows of a class; one split is what is left
                rng = np.random.default_rng((self.seed, 0x5EED))
        elif size and self.folds is not None and self.folds > 1:
            return _folded(rows, division.folds(y, self.folds, rng, classes))
        held_out = rows[division.validation_rows(y, size, rng, classes)]
        return Drawn(train=np.setdiff1d(rows, held_out, assume_unique=True), validation=held_out)


def _folded(rows: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], *, note: str = "") -> Drawn:
    train, validation = folds[-1]
    place = np.empty(len(rows), np.int64)
    place[np.concatenate([train, validation])] = np.arange(len(train) + len(validation))
    counted = tuple(Fold(train=place[one], validation=place[other]) for one, other in folds)
    notes = (note,) if note else ()
    return Drawn(train=rows[train], validation=rows[validation], folds=counted, notes=notes)
