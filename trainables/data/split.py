"""The rule by which rows become training, validation and test rows; imports very little, so that a mistake is answered
at once. `trainables/data/divide.py` applies it.
"""

from dataclasses import dataclass
from typing import Literal

from trainables.data.names import clean_name

Way = Literal["random", "distinct", "time", "group", "column", "file"]
_TABLE, _IMAGES = "csv", "image_folder"
FORMS = "random, distinct, time, time:COLUMN, group:COLUMN, column:COLUMN or file:PATH"
"""What --split can be."""
_STATED = ("column", "file")
MAX_FOLDS, TABLE_FOLDS, IMAGE_FOLDS = 50, 5, 3
"""Most folds, and those of a small table and of a small image folder, whose networks cost more."""
FEW_ROWS = 200
"""Validation rows below which data count as small: with fewer, the standard error of an accuracy can exceed 3.5 points,
since sqrt(0.5 * 0.5 / 200) = 0.035, and that of an RMSE exceeds 5 % of it, since 1 / sqrt(2 * 200) = 0.05."""


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How the test rows are chosen among all rows, and the validation rows among the others."""

    way: Way = "random"
    """`random`: a stratified draw. `distinct`: the same, with equal rows on one side. `time`: the latest rows. `group`:
    whole groups. `column` and `file`: as the user's column or file says."""
    by: str = ""
    """The column of times, groups or parts; the file of parts; for images the mark that ends the group in a file name,
    or a CSV file of groups."""

    @property
    def is_random(self) -> bool:
        """Whether every row is drawn on its own, regardless of its values."""
        return self.way == "random"

    @property
    def is_stated(self) -> bool:
        """Whether the user says which part each row belongs to."""
        return self.way in _STATED

    @property
    def option(self) -> str:
        """The value of --split: `time:date`."""
        return f"{self.way}:{self.by}" if self.by else self.way


RANDOM = SplitRule()


def parse_split(text: str) -> SplitRule:
    """The rule that a value of --split states.

    >>> parse_split("time:date")
    SplitRule(way='time', by='date')
    """
    way, mark, by = text.partition(":")
    by = by if way == "file" else clean_name(by)
    alone = way in ("random", "distinct", "time") and not mark
    if not alone and not (by and way in ("time", "group", *_STATED)):
        raise ValueError(f"--split must be {FORMS}, got {text[:80]!r}")
    return SplitRule(way=way, by=by)  # pyright: ignore[reportArgumentType]


def check_folds(rule: SplitRule, folds: int | None) -> None:
    """Raise ValueError unless rows that the rule splits can be divided into so many folds; None is chosen later."""
    if folds is not None and not 1 <= folds <= MAX_FOLDS:
        raise ValueError(f"--folds must lie in [1, {MAX_FOLDS}], got {folds}")
    if rule.is_stated and (folds or 1) > 1:
        raise ValueError(f"--folds {folds} cannot be: --split {rule.option} says which rows validate; leave one out")


def check_split(dataset: str, rule: SplitRule, folds: int | None = None) -> None:
    """Raise ValueError if the rows of this data set cannot be split by the rule, or not into folds."""
    check_folds(rule, folds)
    if dataset == _TABLE:
        return
    if dataset != _IMAGES:
        for option, is_used in (("--split", not rule.is_random), ("--folds", (folds or 1) > 1)):
            if is_used:
                raise ValueError(
                    f"{option} is for your own table or images, but {dataset} has its own split; leave it out"
                )
        return
    if rule.is_random:
        return
    if rule.way not in ("group", "file"):
        raise ValueError(
            f"--split {rule.option} is for a table; images can be split by group:MARK (file names that start alike up"
            " to the mark), group:FILE.csv or file:FILE.csv"
        )


def describe_folds(rule: SplitRule, *, num_validation: int, task: str, folds: int) -> str:
    """Why small data are divided into folds, in one sentence.

    Args:
        num_validation: rows that one validation split would have.
    """
    if task == "classification":
        error = f"an accuracy has a standard error of up to {50 / num_validation**0.5:.1f} points"
    else:
        share = 100 / (2 * num_validation) ** 0.5
        error = f"a mean error such as RMSE or MAE has a standard error of about {share:.0f} % of its value"
    blocks = " in the order of time" if rule.way == "time" else ""
    return (
        f"{folds} folds{blocks}, because on the {num_validation} rows of one validation split {error}; a trial trains"
        f" {folds} networks, and its value is their mean; --folds 1 turns this off"
    )


def describe_split(rule: SplitRule, *, images: bool, apart: bool = False, folds: int = 1) -> str:
    """How the rows were split, in one sentence without a full stop; for a random split as well.

    Args:
        images: whether the rows are images.
        apart: whether the test rows are in files of their own.
        folds: number of folds of the rows that are no test rows; 1 for one validation split.
    """
    rows = "images" if images else "rows"
    tested = "" if apart else f"the test set ({'15 %' if images else 'a fifth'} of the {rows}) and "
    validated = "the validation " + rows if folds == 1 else f"the {folds} folds"
    if rule.way == "time":
        by = f"by {rule.by!r}" if rule.by else "in the order of the file"
        later = "the latest of the others validate" if folds == 1 else f"{folds} blocks of the others validate in turn"
        return f"the latest fifth of the rows {by} is the test set, and {later}"
    if rule.is_stated:
        return f"{rule.by} says which {rows} train{' and validate' if apart else ', validate and test'}"
    kept = {
        "group": f" in whole groups of {_groups(rule, images=images)}",
        "distinct": " with equal rows on one side",
    }.get(rule.way, "")
    return f"{tested}{validated} are drawn at random{kept}"


def _groups(rule: SplitRule, *, images: bool) -> str:
    if images and not rule.by.endswith(".csv"):
        return f"file names that start alike up to {rule.by!r}"
    return rule.by if images else repr(rule.by)


def describe_input(rule: SplitRule, *, is_input: bool) -> str:
    """Whether the network reads the column of the rule, and how to change that; empty if there is no such column."""
    if rule.way == "time" and rule.by:
        return f"{rule.by!r} stays an input; --drop would leave it out" if is_input else f"{rule.by!r} is no input"
    if rule.way == "group":
        return (
            f"{rule.by!r} is an input, because --types names it"
            if is_input
            else f"{rule.by!r} is no input; --types would make it one"
        )
    return f"{rule.by!r} is no input" if rule.way == "column" else ""
