"""Prints rows as a table, fitted to a terminal and elsewhere one line per row; and values as JSON for programs."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

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


def print_json(content: Any) -> None:
    """Print valid JSON: what it lacks becomes null (not finite) or a text."""
    print(json.dumps(finite(content), indent=2, default=str, allow_nan=False))


def finite(content: Any) -> Any:
    """The same with null where a number is not finite, which JSON lacks."""
    if isinstance(content, Mapping):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
