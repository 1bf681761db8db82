"""Warns before a search if a random split would mislead: rows in time, ids that repeat, and copies of rows.

Only rows that are no test rows are used. Each note names the option that helps.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.data.copies import note_copies
from trainables.data.dates import are_dates
from trainables.data.names import option
from trainables.data.notation import parse_numbers
from trainables.data.order import is_sorted, likest
from trainables.data.table import Column, Table, as_texts

_MOST_NAMED, _MOST_ROWS = 3, 200_000
_ID_NAME = re.compile(
    r"(^|[^a-z])(ids?|uuid|guid|patients?|subjects?|participants?|persons?|people|users?|customers?|clients?|members?|"
    r"students?|households?|famil(y|ies)|animals?|devices?|sensors?|machines?|engines?|sessions?|visitors?|accounts?|"
    r"employees?|players?|speakers?|writers?|authors?|sites?|stores?|shops?|hospitals?|schools?|stations?|plots?|batch|"
    r"group|cluster|unit|lot)([^a-z]|$)"
)
_SURE_NAME = re.compile(
    r"(?!(num|number|count|n|total)[^a-z])(.*[^a-z])?(uuid|guid|(ids?|patient|subject|participant|person|user|customer|"
    r"client|member|student|household|account|employee|store|shop|hospital|school)([^a-z]+(ids?|no|nr|code|number))?)"
    r"[^a-z]*"
)
"""Names of which a note is given whatever the targets are: `customer`, `shop_code`, but not `customer_age`."""
_CODE = re.compile(r"[A-Za-z]{0,6}[-_ #.]?\d{2,}[A-Za-z]?|[0-9a-fA-F-]{8,}")
"""What the values of an id look like."""
_FEWEST_GROUPS = {"named": 5, "coded": 10, "whole": 20}
"""Fewest different values of an id, by what it is known from: its name, its values, or both being whole numbers."""
_SURE, _ALIKE = 5.0, 0.15
"""Standard errors, and correlation of the targets of rows with the same id, that are reported."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of a table that are no test rows, as read and as encoded."""

    table: Table
    x: np.ndarray
    """(N, F), as `encode` returns."""
    columns: tuple[Column, ...]
    train: np.ndarray
    """Numbers of the training rows."""
    validation: np.ndarray

    @property
    def texts(self) -> dict[str, np.ndarray]:
        """The cells of all columns, also of those that are no inputs, without the target."""
        return {**self.table.unused, **self.table.cells, **self.table.texts}


def describe_leaks(rows: Rows) -> list[str]:
    """Notes on what makes a score of this split too optimistic, one line each."""
    rule, notes = rows.table.division.rule, []
    if rule.way in ("random", "distinct"):
        timed, by_id = _note_time(rows), _note_ids(rows)
        notes = [*timed, *by_id]
    return notes + note_copies(
        rows.x,
        rows.table.y,
        rows.columns,
        train=rows.train,
        validation=rows.validation,
        are_distinct=rule.way == "distinct",
    )


def _note_time(rows: Rows) -> list[str]:
    """A note if there are dates, or if neighbouring rows are alike."""
    table = rows.table
    dated = [name for name, texts in rows.texts.items() if name in table.dates or are_dates(texts)]
    others = {name: values for name, values in rows.texts.items() if name not in dated}
    rising = [name for name, values in others.items() if is_sorted(parse_numbers(values))]
    alike = _likest(rows)
    if not dated and alike is None:
        return _note_numbered(rows, rising)
    found = [f"{name!r} contains dates" for name in dated]
    found += [f"{name!r} rises or falls from row to row" for name in rising]
    if alike is not None:
        found.append(f"neighbouring rows are alike in {alike!r}")
    certain = "follow" if alike is not None and (dated or rising) else "may follow"
    by = f"time:{(dated or rising)[0]}" if dated or rising else "time"
    more = f" and {len(found) - _MOST_NAMED} more" * (len(found) > _MOST_NAMED)
    return [
        f"rows {certain} each other in time ({', '.join(found[:_MOST_NAMED])}{more}); random test and validation rows"
        f" make scores too optimistic for later rows; to measure those, add {_split(by)}"
        + (", which uses the order of the rows" if by == "time" else "")
    ]


def _likest(rows: Rows) -> str | None:
    """The column in which rows that follow each other, by date or else in the file, are most alike."""
    y = rows.table.y
    dates = next((rows.x[:, i] for i, column in enumerate(rows.columns) if column.dates), None)
    order = np.arange(len(y)) if dates is None else np.argsort(dates, kind="stable")
    categories = [values for values in rows.x.T if len(np.unique(values)) <= len(values) // 3]
    blocks = [one[order] for one in (*categories, *([y] if rows.table.classes else []))]
    return likest({name: values[order] for name, values in _series(rows).items()}, blocks=blocks)


def _note_numbered(rows: Rows, rising: Sequence[str]) -> list[str]:
    """A note on inputs that only number the rows."""
    numbers = [name for name in rising if name in rows.table.cells and _counts_rows(rows.table.cells[name])]
    if not numbers:
        return []
    drop = option("--drop", *numbers)
    return [f"{', '.join(map(repr, numbers))} only numbers the rows, and new rows have other numbers; add {drop}"]


def _counts_rows(values: np.ndarray) -> bool:
    """Whether these are different whole numbers in a row, with gaps where test rows are."""
    numbers = parse_numbers(values)
    whole = bool(np.isfinite(numbers).all()) and bool((numbers == np.floor(numbers)).all())
    return whole and len(np.unique(numbers)) == len(numbers) and np.ptp(numbers) < 2 * len(numbers)


def _series(rows: Rows) -> dict[str, np.ndarray]:
    """The target of a regression and the inputs that are numbers."""
    inputs = {c.name: rows.x[:, i] for i, c in enumerate(rows.columns) if c.reads_as == "number" and not c.dates}
    return inputs if rows.table.classes else {rows.table.target: rows.table.y.astype(float), **inputs}


def _note_ids(rows: Rows) -> list[str]:
    """A note on a column whose equal values belong together, as those of a patient do."""
    found, named = {}, []
    for name, values in rows.texts.items():
        texts = as_texts(values[:_MOST_ROWS])
        known = _known_as_id(name, texts)
        if known is not None and (alike := _likeness(rows.table, texts, known=known)) is not None:
            found[name] = alike
        elif known == "named" and _SURE_NAME.fullmatch(_words(name)):
            named.append(name)
    likest = [max(found, key=found.__getitem__)] if found else named
    name, shared = next(((one, number) for one in likest if (number := _shared(rows, one))), ("", 0))
    if not shared:
        return []
    alike = f"rows with the same {name!r} have similar targets" if found else "its name says that these belong together"
    return [
        f"{shared:,} of {len(rows.validation):,} validation rows have the {name!r} of a training row, and {alike}; to"
        f" measure how well new ones are predicted, add {_split(f'group:{name}')}"
    ]


def _shared(rows: Rows, name: str) -> int:
    """Validation rows that have the value of a training row in this column."""
    texts = np.array(as_texts(rows.texts[name]), dtype=object)
    return int(np.isin(texts[rows.validation], list(set(texts[rows.train].tolist()))).sum())


def _split(rule: str) -> str:
    return option("--split", rule) if "," not in rule else f"--split '{rule}'"


def _known_as_id(name: str, texts: Sequence[str]) -> str | None:
    """What a column is known as an id from: `named`, `coded` or `whole`; None if it is not, or does not repeat."""
    values = sorted(set(texts))
    num_known = sum(text != "" for text in texts)
    if not num_known or len(values) > num_known / 1.5:
        return None
    numbers = parse_numbers(np.array(values, dtype=object))
    whole = bool((np.isfinite(numbers) & (numbers == np.floor(numbers))).all())
    if _ID_NAME.search(_words(name)) and (whole or not np.isfinite(numbers).any()):
        known = "named"
    elif whole:
        known = "whole"
    elif sum(bool(_CODE.fullmatch(text)) for text in values) >= 0.9 * len(values):
        known = "coded"
    else:
        return None
    return known if len(values) >= _FEWEST_GROUPS[known] else None


def _words(name: str) -> str:
    """The name of a column in small letters, with `customerId` as `customer_id`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _likeness(table: Table, texts: Sequence[str], *, known: str) -> float | None:
    """The correlation of the targets of two rows with the same id; None if it is not clear.

    A whole number that is a quantity, such as an age, is recognised by rows with the next value: their targets are as
    similar as those with an equal one.
    """
    values, ids = np.unique(np.array(texts), return_inverse=True)
    if known == "whole":
        ids = np.argsort(np.argsort(parse_numbers(values.astype(object)), kind="stable"))[ids]
    y = table.y[: len(ids)]
    order = np.lexsort((np.random.default_rng(0).random(len(ids)), ids))
    ids, y = ids[order], y[order]
    same = np.flatnonzero(ids[1:] == ids[:-1])
    alike, error = _correlation(y, same, same + 1)
    if len(same) < 20 or alike < max(_ALIKE, _SURE * error):
        return None
    if known == "whole":
        lower = np.flatnonzero(ids < ids.max())
        starts, sizes = np.searchsorted(ids, np.arange(ids.max() + 1)), np.bincount(ids)
        beside = starts[ids[lower] + 1] + np.random.default_rng(1).integers(sizes[ids[lower] + 1])
        if _correlation(y, lower, beside)[0] > 0.5 * alike:
            return None
    return alike


def _correlation(y: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The correlation of the targets of pairs of rows, and its standard error if rows are independent."""
    if not len(first):
        return 0.0, np.inf
    if y.dtype == np.int64:
        shares = np.bincount(y) / len(y)
        chance = float((shares**2).sum())
        agreeing = float((y[first] == y[second]).mean())
        return (agreeing - chance) / (1 - chance), np.sqrt(chance / (1 - chance) / len(first))
    ranks = np.argsort(np.argsort(y, kind="stable"), kind="stable").astype(float)
    ranks = (ranks - ranks.mean()) / ranks.std()
    return float((ranks[first] * ranks[second]).mean()), 1 / np.sqrt(len(first))
