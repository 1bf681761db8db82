"""Draws figures one by one; if one cannot be drawn, the page has the reason in its place.

Every figure of the report and of the final evaluation goes through `draw`.
"""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import fonts, style
from analysis.studies.trials import Trials
from analysis.wording import escaped, one_line
from trainables.files.whole import write_whole

UNDRAWN = "This figure could not be drawn: "


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A figure of the section "Search" of the report, stated in `PLOTS` of the file that draws it."""

    name: str
    """Of its files."""
    draw: Callable[[Trials], Axes]
    alt: str
    """What the figure shows, in words; `{metric}` and `{best}` become the objective and the best trial."""
    caption: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure as SVG, or the reason why it could not be drawn."""

    svg: str = ""
    reason: str = ""
    """Empty when the figure was drawn."""


def draw(name: str, make: Callable[[], Axes | Figure], folder: Path) -> Drawing:
    """Draw a figure in the house style into FOLDER/NAME.svg and NAME.png.

    If anything goes wrong while it is drawn, the reason is printed in one line and written to FOLDER/NAME.txt instead.

    Args:
        name: of the files.
        make: computes and draws the figure. Whatever it raises costs this figure alone.
        folder: is made if it is missing.

    Raises:
        OSError: a file cannot be written. That is not the fault of this figure, and the next would fail as well.
    """
    try:
        svg, png = _render(make)
        drawing, files = Drawing(svg=svg), {"svg": svg.encode(), "png": png}
    except Exception as error:  # libraries raise anything over odd data, and the page must not depend on it
        drawing = Drawing(reason=explain(error))
        files = {"txt": f"{drawing.reason}\n".encode()}
        print(f"note: the figure {name} could not be drawn: {drawing.reason}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, content in files.items():
        write_whole(folder / f"{name}.{suffix}", content)
    for suffix in {"svg", "png", "txt"} - set(files):  # of an earlier report
        (folder / f"{name}.{suffix}").unlink(missing_ok=True)
    return drawing


def read(name: str, folder: Path) -> Drawing | None:
    """What `draw` left in a folder; None if there is no figure of this name."""
    for suffix in ("svg", "txt"):
        path = folder / f"{name}.{suffix}"
        if path.exists():
            content = path.read_text(encoding="utf-8", errors="replace")
            return Drawing(svg=content) if suffix == "svg" else Drawing(reason=content.strip())
    return None


def explain(error: Exception) -> str:
    """An exception of a library in one line of at most 200 characters."""
    line = " ".join(one_line(" ".join(str(error).split())).split())
    return f"{type(error).__name__}: {line}"[:200] if line else type(error).__name__


def _render(make: Callable[[], Axes | Figure]) -> tuple[str, bytes]:
    """SVG and PNG of a figure; all that was opened for it is closed again."""
    before = set(plt.get_fignums())
    try:
        with style.styled(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # `fonts` says it once, in plain words
            made = make()
            figure = made if isinstance(made, Figure) else made.figure
            assert isinstance(figure, Figure)
            style.keep_digits(figure)
            figure.draw_without_rendering()  # lays the figure out once; each file would do it again
            if fonts.complete(figure) or any(ax.get_aspect() != "auto" for ax in figure.axes):
                figure.draw_without_rendering()  # cells as high as they are wide take room from the labels
            figure.set_layout_engine(None)  # "none" would keep a placeholder, for which each file is drawn twice
            svg, png = StringIO(), BytesIO()
            figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
            figure.savefig(png, format="png", facecolor=style.PAPER)
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)
    return escaped(svg.getvalue()), png.getvalue()
