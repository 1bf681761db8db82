"""The parts of an HTML page: sections of text, tables and figures, rendered by a template that escapes all values."""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.parameters import label, visible
from analysis.plots import style
from analysis.trials import write_csv
from trainables.whole import write_whole

_MARKS = {style.INK: "var(--ink)", style.FAINT: "var(--line)", style.PAPER: "var(--paper)"}
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph, or a list when there are several lines."""

    lines: tuple[str, ...]
    kind: str = "plain"
    """plain, list, note (small) or warning."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure with its words."""

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
    """The few numbers a busy reader wants: name, large text, small text."""

    facts: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Fragment:
    """A part that another module has rendered, everything in it escaped."""

    html: Markup


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page under one heading."""

    id: str
    title: str
    blocks: tuple[Text | Picture | Table | Facts | Fragment, ...] = field(default=())


def text(*lines: str, kind: str = "plain") -> Text:
    """A paragraph or a list."""
    return Text(lines=lines, kind=kind)


class Folder:
    """Where figures and tables are written beside the page, as they are made."""

    def __init__(self, folder: Path) -> None:
        self.figures, self.tables = folder / "figures", folder / "tables"
        self.figures.mkdir(parents=True, exist_ok=True)
        self.tables.mkdir(parents=True, exist_ok=True)

    def picture(self, name: str, draw: Callable[[], Axes], *, alt: str, caption: str, wide: bool = False) -> Picture:
        """Draws a figure, writes SVG and PNG, and returns it for the page."""
        with style.styled():
            figure = draw().figure
            assert isinstance(figure, Figure)
            return self.keep(name, figure, alt=alt, caption=caption, wide=wide)

    def grid(
        self, name: str, draws: Sequence[Callable[[Axes], Any]], *, alt: str, caption: str, columns: int = 3
    ) -> Picture:
        """Draws several small axes as one figure."""
        with style.styled():
            rows = -(-len(draws) // columns)
            figure, axes = plt.subplots(
                rows, columns, figsize=(3.5 * columns, 2.6 * rows), squeeze=False, layout="constrained"
            )
            for ax, draw in zip(axes.flat, draws, strict=False):
                draw(ax)
            for ax in axes.flat[len(draws) :]:
                ax.set_axis_off()
            return self.keep(name, figure, alt=alt, caption=caption, wide=True)

    def keep(self, name: str, figure: Figure, *, alt: str, caption: str, wide: bool = False) -> Picture:
        """Writes a figure as SVG and PNG, closes it, and returns it for the page."""
        written = StringIO()
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page's own fonts have it
        figure.draw_without_rendering()  # lays the figure out once; each file would do it again
        figure.set_layout_engine(None)  # "none" would keep a placeholder, for which each file is drawn twice
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(self.figures / f"{name}.png", facecolor=style.PAPER)
        plt.close(figure)
        (self.figures / f"{name}.svg").write_text(written.getvalue(), encoding="utf-8")
        return Picture(name=name, svg=inline(written.getvalue(), name, alt), alt=alt, caption=caption, wide=wide)

    def table(self, name: str, frame: pd.DataFrame, *, caption: str, most: int = 100) -> Table:
        """Writes a table as CSV and returns its first rows for the page."""
        write_csv(frame, self.tables / f"{name}.csv")
        numeric = [pd.api.types.is_numeric_dtype(frame[column]) for column in frame.columns]
        head = tuple((str(c).replace("_", " "), n) for c, n in zip(frame.columns, numeric, strict=True))
        shown = frame.head(most).itertuples(index=False)
        rows = tuple(tuple(cell(value) for value in row) for row in shown)
        return Table(name=name, caption=caption, head=head, rows=rows, hidden=max(0, len(frame) - most))


def cell(value: Any) -> tuple[str, str]:
    """A value's text and its sort key."""
    if pd.isna(value):
        return "–", ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (f"{value:,.0f}" if float(value).is_integer() else label(value)), repr(float(value))
    return label(value), label(value)


def inline(svg: str, name: str, alt: str) -> Markup:
    """An SVG file's root element, ready to stand in a page: own ids, page colours, a text for screen readers.

    The markup is matplotlib's, which escapes the texts in it.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    for color, variable in _MARKS.items():
        body = re.sub(color, variable, body, flags=re.IGNORECASE)
    width = re.findall(r'width="([\d.]+)pt"', body)[0]
    opening = f'<svg role="img" aria-label="{escape(alt)}" style="max-width:{width}pt"'
    body = body.replace("<svg", opening, 1)
    body = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", body, count=2)
    return Markup(body)


def render(path: Path, *, title: str, summary: Section, sections: Iterable[Section], footer: str) -> Path:
    """Writes the page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    page = environment.get_template("report.html").render(
        title=visible(title), summary=summary, sections=list(sections), footer=footer
    )
    write_whole(path, page)
    return path
