"""Prints rows as a table: in a terminal fitted to its width, elsewhere one line per row."""

from collections.abc import Mapping, Sequence

from search.process.text import printable


def print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print a table with a column for every name that some row has, in the order in which the names come."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(box=None, pad_edge=False, header_style="bold")
    console = Console(highlight=False)
    console.width = max(console.width, 120) if console.is_terminal else 10_000
    for name in names:
        table.add_column(escape(name), no_wrap=not console.is_terminal, overflow="fold")
    for row in rows:
        table.add_row(*(escape(printable(row.get(name, ""))) for name in names))
    console.print(table)
