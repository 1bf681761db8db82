"""The parts of an HTML page: sections of text, tables and figures, rendered by a template that escapes all values."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pages.policy import content_policy, sealed
from analysis.pages.templates import environment, source
from analysis.plots import style
from analysis.plots.drawing import UNDRAWN, draw, explain
from analysis.plots.svg import inline
from analysis.studies.export import write_csv
from analysis.studies.parameters import label
from analysis.wording import escaped, one_line
from trainables.files.whole import write_whole

_INTERACTIVE = ("drawing", "plots", "parallel", "trials", "explorer")
"""Scripts of the interactive figures, in the order in which they need each other."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph, or a list when there are several lines."""

    lines: tuple[str, ...]
    kind: str = "plain"
    """plain, list, note (small) or warning."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with its caption and a text for screen readers."""

    name: str
    """File name without ending, and the start of every id in it."""
    svg: Markup
    alt: str
    caption: str
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose columns sort on a click."""

    name: str
    caption: str
    head: tuple[tuple[str, bool], ...]
    """Title of each column and whether it holds numbers."""
    rows: tuple[tuple[tuple[str, str], ...], ...]
    """For each cell its text and its sort key."""
    hidden: int = 0
    """Rows that only the CSV file has."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A row of cards, each with a name, a large text and a small one."""

    facts: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """A part that another module has rendered, everything in it escaped."""

    html: Markup


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Blocks that a reader opens with a click; a browser opens them when it prints."""

    title: str
    inside: tuple["Block", ...]


@dataclass(frozen=True, kw_only=True)
class Poll:
    """How a page that is served finds out that there is a newer one: it asks for `state`."""

    version: str
    """Of this page."""
    seconds: float
    """Between two questions."""


Block = Text | Picture | Table | Facts | Fragment | Fold


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page under one heading."""

    id: str
    title: str
    blocks: tuple[Block, ...] = field(default=())


def text(*lines: str, kind: str = "plain") -> Text:
    """A paragraph or a list."""
    return Text(lines=lines, kind=kind)


class Folder:
    """Where figures and tables are written beside the page, as they are made."""

    def __init__(self, folder: Path) -> None:
        self.figures, self.tables = folder / "figures", folder / "tables"
        self.figures.mkdir(parents=True, exist_ok=True)
        self.tables.mkdir(parents=True, exist_ok=True)

    def picture(
        self, name: str, make: Callable[[], Axes | Figure], *, alt: str, caption: str, wide: bool = False
    ) -> Picture | Text:
        """Draw a figure and write its SVG and PNG; returns it for the page, or a line if it cannot be drawn."""
        drawing = draw(name, make, self.figures)
        if drawing.reason:
            return text(f"{UNDRAWN}{drawing.reason}.", caption, kind="warning")
        return Picture(name=name, svg=inline(drawing.svg, name, alt), alt=alt, caption=caption, wide=wide)

    def grid(
        self, name: str, draws: Sequence[Callable[[Axes], Any]], *, alt: str, caption: str, columns: int = 3
    ) -> Picture | Text:
        """Draw several small axes as one figure; a panel that cannot be drawn says so."""
        return self.picture(name, partial(_panels, draws, columns=columns), alt=alt, caption=caption, wide=True)

    def table(
        self, name: str, frame: pd.DataFrame, *, caption: str, most: int = 100, parameters: Collection[str] = ()
    ) -> Table:
        """Write a table as CSV, and return its first rows for the page; the arguments are those of `make_table`."""
        write_csv(frame, self.tables / f"{name}.csv")
        return make_table(name, frame, caption=caption, most=most, parameters=parameters)


def make_table(
    name: str, frame: pd.DataFrame, *, caption: str, most: int = 100, parameters: Collection[str] = ()
) -> Table:
    """The first rows of a table for the page.

    Args:
        name: of the table on the page, and of its file.
        frame: the values.
        caption: of the table.
        most: rows that the page shows.
        parameters: columns that are hyperparameters, which are named as everywhere else: `width_0`.
    """
    titles = [str(c) if c in parameters else str(c).replace("_", " ") for c in frame.columns]
    numeric = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame.columns]
    head = tuple(zip(titles, numeric, strict=True))
    shown = frame.head(most).itertuples(index=False)
    rows = tuple(tuple(cell(value) for value in row) for row in shown)
    return Table(name=name, caption=caption, head=head, rows=rows, hidden=max(0, len(frame) - most))


def _panels(draws: Sequence[Callable[[Axes], Any]], *, columns: int) -> Figure:
    rows = max(1, -(-len(draws) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(3.5 * columns, 2.6 * rows), squeeze=False, layout="constrained")
    for ax, panel in zip(axes.flat, draws, strict=False):
        try:
            panel(ax)
        except Exception as error:  # as for a whole figure, but the other panels can still be drawn
            ax.clear()
            style.nothing(ax, f"could not be drawn:\n{explain(error)}")
    for ax in axes.flat[len(draws) :]:
        ax.set_axis_off()
    return figure


def cell(value: Any) -> tuple[str, str]:
    """A value's text and its sort key."""
    if pd.isna(value):
        return "–", ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(float(value)), repr(float(value))
    return label(value), label(value)


def _number(value: float) -> str:
    if abs(value) >= 1e15 or (abs(value) < 1e4 and not value.is_integer()):
        return label(value)
    return f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}"  # seconds since 1970 are not 1.7e+09


def render(
    path: Path,
    *,
    title: str,
    summary: Section,
    sections: Iterable[Section],
    footer: str,
    trials: Markup | None = None,
) -> Path:
    """Write the page; the arguments are those of `page_html`."""
    page = page_html(title=title, summary=summary, sections=sections, footer=footer, trials=trials)
    write_whole(path, page)
    return path


def page_html(
    *,
    title: str,
    summary: Section,
    sections: Iterable[Section],
    footer: str,
    trials: Markup | None = None,
    poll: Poll | None = None,
) -> str:
    """The page as text.

    Args:
        trials: what the interactive figures draw, as JSON; without it figures are still.
        poll: how a page that is served finds out that it has changed; a file does not ask.
    """
    names = ("report", *(_INTERACTIVE if trials else ()), *(("watch",) if poll else ()))
    look, scripts = source("report.css"), [source(f"{name}.js") for name in names]
    page = (
        environment(html=True)
        .get_template("report.html")
        .render(
            title=one_line(title),
            summary=summary,
            sections=list(sections),
            footer=footer,
            trials=trials,
            poll=poll,
            look=Markup(look),
            scripts=[Markup(script) for script in scripts],
            policy=Markup(content_policy(styles=[look], scripts=scripts, asks=poll is not None)),
        )
    )
    return sealed(escaped(page))
