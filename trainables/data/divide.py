"""Divides rows as a rule says: test rows, validation rows, and folds."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainables.data.notation import is_missing
from trainables.data.split import RANDOM, SplitRule
from trainables.data.stratify import stratified_rows

TRAIN, VALIDATION, TEST = range(3)
"""The parts that a column or a file can name."""
PART_WORDS = {
    "train": TRAIN, "training": TRAIN, "validation": VALIDATION, "valid": VALIDATION, "val": VALIDATION,
    "dev": VALIDATION, "test": TEST, "testing": TEST,
}  # fmt: skip
"""What a cell may say, and the part that it means."""
_MOST_NAMED = 4
_DRAWS = (10, 200)
"""Fewest and most random orders of groups, of which the one is used that keeps the classes in proportion."""
_WORK = 2_000_000
"""Cells of all these draws together."""

Rows = np.ndarray
"""Numbers of rows, sorted."""


@dataclass(frozen=True, kw_only=True)
class Division:
    """A rule with what it goes by in each row."""

    rule: SplitRule = RANDOM
    keys: np.ndarray | None = None
    """(N,): times as float64; or int64 numbers of groups or parts. None for a random split."""

    def take(self, rows: np.ndarray) -> "Division":
        """The same for these rows only."""
        return self if self.keys is None else replace(self, keys=self.keys[rows])

    def groups_of(self, *rows: np.ndarray) -> np.ndarray | None:
        """Number of the group of each of these rows, one part after the other; None without groups."""
        if self.keys is None or self.rule.way not in ("group", "distinct"):
            return None
        return self.keys[np.concatenate(rows)]

    def test_rows(self, y: np.ndarray, size: int, classes: Sequence[str]) -> Rows:
        """The sealed test rows, the same for every seed.

        Raises:
            ValueError: they would contain no row of a class, or all of them.
        """
        rows = self._held_out(y, size, np.random.default_rng(0), part=TEST)
        _check_classes(y, rows, classes, rule=self.rule, what="test")
        return rows

    def validation_rows(self, y: np.ndarray, size: int, rng: np.random.Generator, classes: Sequence[str] = ()) -> Rows:
        """The validation rows among rows without test rows; none where size is 0.

        Raises:
            ValueError: no row of a class would be left for training.
        """
        if not size:
            return np.arange(0)
        rows = self._held_out(y, size, rng, part=VALIDATION)
        _check_classes(y, rows, classes, rule=self.rule, what="validation")
        return rows

    def _held_out(self, y: np.ndarray, size: int, rng: np.random.Generator, *, part: int) -> Rows:
        if self.keys is None or (self.rule.is_stated and part not in self.keys and part == VALIDATION):
            return stratified_rows(y, size, rng)
        if self.rule.is_stated:
            return np.flatnonzero(self.keys == part)
        if self.rule.way == "time":
            return _latest(self.keys, size)
        return _whole_groups(self.keys, y, size, rng)

    def folds(
        self, y: np.ndarray, number: int, rng: np.random.Generator, classes: Sequence[str] = ()
    ) -> list[tuple[Rows, Rows]]:
        """Training and validation rows of each fold.

        Every row validates once. By time, the later half of the rows validates, block by block, after training on all
        earlier rows.

        Raises:
            ValueError: there are too few rows, groups or times, or a class would be missing in the training rows.
        """
        if self.rule.way == "time":
            assert self.keys is not None
            found = _blocks(self.keys, number)
        else:
            placed = _deal(y, number, rng) if self.keys is None else deal_groups(self.keys, y, number, rng)
            found = [(np.flatnonzero(placed != fold), np.flatnonzero(placed == fold)) for fold in range(number)]
        if len(found) < number or any(not len(held_out) for _, held_out in found):
            what = {"time": "different times", "random": "rows"}.get(self.rule.way, "groups")
            there = len(y) if self.keys is None else len(np.unique(self.keys))
            smaller = "give a smaller number, or --folds 1" if there > 2 else "give --folds 1"
            raise ValueError(f"--folds {number} needs more {what} than the {there:,} outside the test set; {smaller}")
        for train, _ in found:
            missing = np.setdiff1d(np.arange(len(classes)), y[train])
            if len(missing):
                raise ValueError(
                    f"a fold would train without any row of class {classes[missing[0]]!r}; give a smaller --folds, or"
                    " --folds 1"
                )
        return found


def number_groups(keys: Sequence[Hashable]) -> np.ndarray:
    """A number for each different key, int64 (N,); a row without one, None, is a group of its own."""
    known: dict[Hashable, int] = {}
    own = ((None, row) if key is None else key for row, key in enumerate(keys))
    return np.array([known.setdefault(key, len(known)) for key in own], np.int64)


def group_keys(texts: Sequence[str]) -> list[str | None]:
    """The group that each text names; None for one that only says that it is missing."""
    return [None if is_missing(text) else text.strip() for text in texts]


def note_ungrouped(texts: Sequence[str], name: str, *, what: str = "rows") -> list[str]:
    """A note on rows whose group is missing.

    Args:
        texts: as `group_keys` takes them.
        name: of the column of groups.
        what: the rows are, in the plural.
    """
    missing = [text.strip() for text in texts if is_missing(text)]
    written = ", ".join(map(repr, sorted(set(missing) - {""})[:_MOST_NAMED]))
    said = f" ({written} counts as missing)" if written else ""
    count = f"{len(missing):,} of {len(texts):,} {what}"
    return [f"{count} have no {name!r}{said}; each of them is a group of its own"] if missing else []


def read_parts(
    texts: Sequence[str], *, source: str, where: Callable[[int], str], needs_test: bool = True
) -> np.ndarray:
    """The part of each row, int64 (N,), from `train`, `validation` and `test`.

    Args:
        source: where the texts come from, for messages.
        where: says where a text is, such as `in row 7`, for messages.
        needs_test: whether the test rows are among these rows.

    Raises:
        ValueError: another word, or no training or no test rows.
    """
    said = [text.strip().lower() for text in texts]
    odd = [row for row, text in enumerate(said) if text not in PART_WORDS]
    if odd:
        raise ValueError(
            f"{source} must say train, validation or test for every row, got {texts[odd[0]][:40]!r}"
            f" {where(odd[0])}" + (f" and {len(odd) - 1:,} more" * (len(odd) > 1))
        )
    parts = np.array([PART_WORDS[text] for text in said], np.int64)
    for part, name in ((TRAIN, "train"), (TEST, "test")):
        if part not in parts and (part != TEST or needs_test):
            raise ValueError(f"{source} must name rows for {name}, got none")
    return parts


def _latest(times: np.ndarray, size: int) -> Rows:
    """About `size` rows with the latest times; equal times stay together, and the earliest is never among them."""
    ordered, starts = np.sort(times), np.unique(times)[1:]
    if not len(starts):
        raise ValueError("--split time needs different times, but those of all rows to be divided are equal")
    counts = len(times) - np.searchsorted(ordered, starts)
    return np.flatnonzero(times >= starts[np.abs(counts - size).argmin()])


def _whole_groups(keys: np.ndarray, y: np.ndarray, size: int, rng: np.random.Generator) -> Rows:
    """Rows of whole groups, about `size`: of many random draws the one with the classes in proportion."""
    groups, table = _group_table(keys, y)
    if len(table) < 2:
        raise ValueError("--split group needs at least 2 groups on both sides, but the rows to be divided have only 1")
    totals = table.sum(0)
    target = totals * size / len(y)
    chosen, least = np.arange(0), np.inf
    for _ in range(int(np.clip(_WORK // table.size, *_DRAWS))):
        order = rng.permutation(len(table))
        sums = table[order].cumsum(0)
        count = int(np.abs(sums[:-1].sum(1) - size).argmin()) + 1
        taken = sums[count - 1]
        lacking = (taken == 0).sum() + (taken == totals).sum()
        distance = ((taken - target) ** 2 / target).sum() + len(y) * lacking
        if distance < least:
            chosen, least = order[:count], distance
    return np.flatnonzero(np.isin(groups, chosen))


def _group_table(keys: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's group, and the rows of each class in each group, (groups, classes)."""
    groups = np.unique(keys, return_inverse=True)[1]
    labels = _labels(y)
    table = np.zeros((groups.max() + 1, labels.max() + 1))
    np.add.at(table, (groups, labels), 1)
    return groups, table[:, table.sum(0) > 0]


def _labels(y: np.ndarray) -> np.ndarray:
    return y if y.dtype == np.int64 else np.zeros(len(y), np.int64)


def _deal(y: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """The fold of each row, (N,): each class is dealt to the folds in turn."""
    labels = _labels(y)
    order = np.concatenate([rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)])
    placed = np.empty(len(y), np.int64)
    placed[order] = np.arange(len(y)) % number
    return placed


def deal_groups(keys: np.ndarray, y: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """The fold of each row, (N,): each group, the largest first, goes to the fold that lacks its classes most."""
    groups, table = _group_table(keys, y)
    order = rng.permutation(len(table))
    order = order[np.argsort(-table[order].sum(1), kind="stable")]
    share, held = table.sum(0) / number, np.zeros((number, table.shape[1]))
    fold_of = np.empty(len(table), np.int64)
    for group in order:
        after = held + table[group]
        fold_of[group] = (((after - share) ** 2 - (held - share) ** 2) / share).sum(1).argmin()
        held[fold_of[group]] += table[group]
    return fold_of[groups]


def _blocks(times: np.ndarray, number: int) -> list[tuple[Rows, Rows]]:
    """Blocks of the later half of the rows, in the order of time, each with all earlier rows before it."""
    ordered = np.sort(times)
    places = np.linspace(len(times) / 2, len(times), number + 1)[:-1].astype(int)
    edges = np.unique(ordered[places])
    edges = edges[edges > ordered[0]]
    ends = [*edges[1:], np.inf]
    return [
        (np.flatnonzero(times < start), np.flatnonzero((times >= start) & (times < end)))
        for start, end in zip(edges, ends, strict=True)
    ]


def _check_classes(y: np.ndarray, held_out: Rows, classes: Sequence[str], *, rule: SplitRule, what: str) -> None:
    """Raise ValueError if the other rows lack a class, or test rows do."""
    if rule.is_random:  # which keeps every class on both sides
        return
    others = np.delete(np.arange(len(y)), held_out)
    if not len(held_out) or not len(others):
        raise ValueError(f"--split {rule.option} leaves no {what if not len(held_out) else 'training'} rows")
    for rows, name in ((others, "training"), (held_out, what)):
        missing = np.setdiff1d(np.arange(len(classes)), y[rows])
        if len(missing) and name != "validation":
            raise ValueError(
                f"--split {rule.option} leaves no {name} row of class {classes[missing[0]]!r}; choose another split, or"
                " leave the rows of this class out"
            )
