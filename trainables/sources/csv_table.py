"""A user's own table: a CSV file with the column to predict."""

from pathlib import Path

from trainables.data.names import nearest
from trainables.data.options import TableOptions
from trainables.data.split import RANDOM, SplitRule
from trainables.data.table import Table
from trainables.data.target import read_target
from trainables.sources.catalogue import Source
from trainables.sources.divisions import check_column, divide_sheet
from trainables.sources.sheet import Sheet, read_sheet


def read(path: Path, options: TableOptions, rule: SplitRule = RANDOM) -> Table:
    """The rows whose target is known.

    Args:
        path: a CSV file with a header.
        options: the target, what is left out, and what columns are.
        rule: how rows are split. A column of groups is an input only if the options state its type; a column of parts
            never is.

    Raises:
        ValueError: the file is no table, or its target cannot be learnt; one line says why and what to do.
    """
    sheet = read_sheet(path)
    _check_names(sheet, options, path)
    check_column(rule, sheet, target=options.target)
    target = read_target(
        sheet.texts[options.target].tolist(),
        (sheet.texts if options.target in sheet.dates else sheet.cells)[options.target],
        options.target,
        task=options.task,
        places=sheet.places,
    )
    inputs = _inputs(sheet, rule, options, path)
    division, matched = divide_sheet(rule, sheet, known=target.known, inputs=inputs, kinds=options.types)
    return Table(
        cells={name: sheet.cells[name][target.known] for name in inputs},
        texts={name: sheet.texts[name][target.known] for name in inputs if name in sheet.changed},
        unused={n: texts[target.known] for n, texts in sheet.texts.items() if n not in (*inputs, options.target)},
        dates=sheet.dates.intersection(inputs),
        readings=sheet.readings,
        y=target.y,
        classes=target.classes,
        target=options.target,
        places=sheet.places[target.known],
        division=division,
        notes=(*sheet.notes, *target.notes, *matched),
    )


def _inputs(sheet: Sheet, rule: SplitRule, options: TableOptions, path: Path) -> list[str]:
    """The names of the columns that the network reads."""
    unread = {options.target, *options.drop}
    if rule.way == "column" or (rule.way == "group" and rule.by not in options.types):
        unread.add(rule.by)
    inputs = [name for name in sheet.cells if name not in unread]
    if not inputs:
        raise ValueError(f"{path} has no column left to predict {options.target!r} from")
    return inputs


def _check_names(sheet: Sheet, options: TableOptions, path: Path) -> None:
    """Raise ValueError unless the file has the columns that the options name."""
    names = list(sheet.cells)
    if len(names) < 2:
        raise ValueError(
            f"{path} must have 2 columns or more, separated by commas, semicolons or tabs, got"
            f" {', '.join(names)[:60]!r}"
        )
    if options.target not in names:
        raise ValueError(f"the table has no column {options.target!r} to predict{nearest(options.target, names)}")
    for flag, stated in (("--drop", options.drop), ("--types", options.types)):
        for name in stated:
            if name == options.target:
                raise ValueError(
                    f"{flag} {name!r} cannot be: it is the target" + ("; use --task instead" * (flag == "--types"))
                )
            if name not in names:
                raise ValueError(f"{flag} {name!r} cannot be: the table has no such column{nearest(name, names)}")
    both = [name for name in options.types if name in options.drop]
    if both:
        raise ValueError(f"--types {both[0]!r} cannot be: --drop leaves the column out")


SOURCE = Source(
    about="Your own table.",
    read_table=read,
)
