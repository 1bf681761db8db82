"""Reads what a split of an image folder goes by: file names, or a CSV file that lists them."""

import csv
from collections.abc import Sequence
from pathlib import Path

from trainables.data.divide import Division, group_keys, note_ungrouped, number_groups, read_parts
from trainables.data.names import nearest
from trainables.data.split import SplitRule


def divide_images(rule: SplitRule, data_dir: Path, files: Sequence[Path], *, apart: bool) -> tuple[Division, list[str]]:
    """The rule with what it goes by for each image in `train`, and notes on how it was read.

    Args:
        apart: there is a folder `test`, so that the rule divides training and validation images only.

    Raises:
        ValueError: the names do not say what the rule needs; one line says which.
    """
    if rule.is_random:
        return Division(), []
    if rule.way == "file":
        texts = _listed(Path(rule.by), "split", data_dir, files)
        names = [str(file.relative_to(data_dir / "train")) for file in files]
        parts = read_parts(texts, source=rule.by, where=lambda row: f"for {names[row]}", needs_test=not apart)
        if apart and "test" in {text.strip().lower() for text in texts}:
            raise ValueError(f"{rule.by} must not name test images in train/, because there is a folder test/")
        return Division(rule=rule, keys=parts), []
    if rule.by.endswith(".csv"):
        texts = _listed(Path(rule.by), "group", data_dir, files)
        division = Division(rule=rule, keys=number_groups(group_keys(texts)))
        return division, note_ungrouped(texts, "group", what="images")
    if not any(rule.by in path.name for path in files):
        raise ValueError(
            f"--split {rule.option} needs file names such as patient7{rule.by}2.png, but no image has {rule.by!r} in"
            f" its name, such as {files[0].name}"
        )
    return Division(rule=rule, keys=number_groups(_marked(rule, files))), []


def divide_test(rule: SplitRule, files: Sequence[Path]) -> Division:
    """The groups of the images in a folder `test` by their names; none if a CSV file names those of `train`."""
    if rule.way != "group" or rule.by.endswith(".csv"):
        return Division()
    return Division(rule=rule, keys=number_groups(_marked(rule, files)))


def _marked(rule: SplitRule, files: Sequence[Path]) -> list[str | None]:
    """The group of each image: its name up to the mark, or all of it; None where nothing is before the mark."""
    return [(path.name.partition(rule.by)[0] if rule.by in path.name else path.stem) or None for path in files]


def _listed(path: Path, column: str, data_dir: Path, files: Sequence[Path]) -> list[str]:
    """The cell of this column for each image, from a CSV file with the columns `file` and `column`."""
    rows = _read_rows(path)
    for needed in ("file", column):
        if needed not in rows[0]:
            raise ValueError(
                f"{path} must have the columns file and {column}, separated by a comma; it has no"
                f" {needed}{nearest(needed, rows[0])}"
            )
    known: dict[str, str] = {}
    for row in rows:
        name, said = row["file"].strip().removeprefix("./").removeprefix("train/"), (row[column] or "").strip()
        if known.setdefault(name, said) != said:
            raise ValueError(f"{path} must say one {column} for {name}, got {known[name]!r} and {said!r}")
    wanted = [str(file.relative_to(data_dir / "train")) for file in files]
    lacking = [name for name in wanted if name not in known]
    if lacking:
        raise ValueError(
            f"{path} must list every image in train/, but {len(lacking):,} of {len(wanted):,} are missing, such as"
            f" {lacking[0]}"
        )
    return [known[name] for name in wanted]


def _read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with commas, at least one."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, restval=""))
    except FileNotFoundError:
        raise ValueError(f"there is no file {str(path)!r}; a CSV file with a row for each image is needed") from None
    except (UnicodeDecodeError, csv.Error, IsADirectoryError) as error:
        raise ValueError(f"{path} cannot be read as a CSV file in UTF-8 ({error})") from None
    if not rows:
        raise ValueError(f"{path} has no rows; a row for each image is needed")
    return rows
