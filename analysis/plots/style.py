"""The style of all figures: Okabe and Ito's colours, axes with units, the same in print and on screen."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from analysis.plots.ticks import name_ticks
from analysis.studies.parameters import Parameter, label
from analysis.studies.rows import COMPLETE, FAILED, INFEASIBLE, STOPPED, UNFINISHED
from analysis.studies.trials import Trials
from analysis.wording import named, together
from search.process.text import counted

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PINK, YELLOW, GREY = "#56B4E9", "#CC79A7", "#F0E442", "#8A9099"
INK, PAPER, FAINT = "#1B1F24", "#FFFFFF", "#D5D9DE"
"""Text, background and grid: the page replaces these three in dark mode."""
LIGHT = "#FDFDFD"
"""Text on dark cells: pure white is the paper to the page, and dark in dark mode."""
COLORS = {COMPLETE: BLUE, STOPPED: ORANGE, UNFINISHED: GREEN, FAILED: VERMILION, INFEASIBLE: PINK}
MARKERS = {COMPLETE: "o", STOPPED: "v", UNFINISHED: "s", FAILED: "X", INFEASIBLE: "P"}
WORDS = {
    COMPLETE: "complete",
    STOPPED: "stopped early, at its last epoch",
    UNFINISHED: "unfinished, at its last epoch",
    FAILED: "failed",
    INFEASIBLE: "infeasible",
}
DENSE = 400
"""Layers with more marks than this are stored as pixels inside the SVG."""

_SETTINGS: dict[Any, Any] = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.size": 9.5,
    "font.family": "sans-serif",
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "rungwise",
    "text.parse_math": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """The house style for all that is drawn inside."""
    with mpl.rc_context(_SETTINGS):
        yield
        interactive = mpl.is_interactive()
    mpl.interactive(interactive)  # a notebook's first figure switches it on, and must leave it on for the others


def new_axes(ax: Axes | None, *, width: float = 6.4, height: float = 3.6) -> Axes:
    """The given axes, or those of a new figure in the house style."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    with styled():
        figure, made = plt.subplots(figsize=(width, height), layout="constrained")
    assert isinstance(figure, Figure)
    return made


def nothing(ax: Axes, reason: str) -> Axes:
    """Empty axes with the reason."""
    ax.set_axis_off()
    text = ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes, color=GREY, wrap=True)
    text.set_in_layout(False)
    return ax


def metric_label(trials: Trials, *, change: bool = False) -> str:
    """The label of an axis that shows the objective, or a change of it."""
    name = f"validation {named(trials.metric, trials.target_unit)}" if trials.metric != "objective" else "objective"
    if not change:
        return name
    return f"change of {named(trials.metric, trials.target_unit)}" + (" (points)" if trials.points == 100 else "")


_DECADES = 100.0
"""From this ratio of the worst quarter to the best value on, a loss is drawn on a logarithmic axis."""


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """What an axis of the objective shows."""

    log: bool = False
    ends: tuple[float, float] | None = None
    """Where the axis is cut; None where it shows all values."""
    note: str = ""
    """How many values are outside."""


def value_range(values: pd.Series | np.ndarray, *, sign: float, of: str = "trial") -> ValueRange:
    """The axis on which a few bad values do not squeeze all others.

    A loss that spans orders of magnitude is drawn on a logarithmic axis. Else the axis is cut, and says how many values
    are outside.

    Args:
        sign: 1 when larger is better, -1 when smaller is.
        of: the noun that each value belongs to.
    """
    x = np.asarray(values, dtype=float)
    x = x[np.isfinite(x)] * sign
    if len(x) < 5:
        return ValueRange()
    if sign < 0 and x.max() < 0 and np.quantile(x, 0.25) / x.max() > _DECADES:
        return ValueRange(log=True)
    low, middle, high = np.quantile(x, [0.05, 0.5, 1.0])
    floor = low - 0.5 * (high - low)
    outside = int((x < floor).sum())
    if outside == 0 or high <= middle:
        return ValueRange()
    first, last = sorted([sign * floor, sign * (high + 0.05 * (high - low))])
    side = "below" if sign > 0 else "above"
    return ValueRange(ends=(first, last), note=f"{counted(outside, f'worse {of}')} {side} the axis")


def value_axis(ax: Axes, values: pd.Series | np.ndarray, *, sign: float, of: str = "trial") -> None:
    """Scale the axis of the objective by `value_range`."""
    found = value_range(values, sign=sign, of=of)
    if found.log:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:g}"))  # the page draws no formulas
        ax.yaxis.set_minor_formatter(NullFormatter())
    if found.ends is None:
        return
    ax.set_ylim(*found.ends)
    ax.annotate(
        found.note,
        (0.01, 0.02 if sign > 0 else 0.96),
        xycoords="axes fraction",
        ha="left",
        color=GREY,
        fontsize=8,
        zorder=6,
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 1.5},  # curves run behind the words
    )


def histogram(ax: Axes, values: np.ndarray, *, most: int) -> None:
    """Draw a histogram of finite values with at most `most` bins.

    Drawn in double precision: in single precision the edges of bins around 20240131 are all the same number.
    """
    values = np.asarray(values, dtype=float)
    low, high = float(values.min()), float(values.max())
    gap = float(np.spacing(max(abs(low), abs(high)))) or np.finfo(float).tiny  # 0 where a training flushes denormals
    steps = (high - low) / gap
    if steps > 2 * most:
        ax.hist(values, bins=most, color=SKY)
        return  # else it is but one value, up to the last bits
    wide = 0.01 * abs(low) or 1.0
    ax.bar([low], [len(values)], width=wide, color=SKY)
    ax.set_xlim(low - 2 * wide, low + 2 * wide)
    ax.set_xticks([low], [" to ".join(dict.fromkeys(together([low, high])))])


def finite(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The finite values in double precision, and a remark on how many are infinite."""
    values = np.asarray(values, dtype=float)
    infinite = int(np.isinf(values).sum())
    some = counted(infinite, "row is", plural="rows are")
    return values[np.isfinite(values)], [f"{some} infinite"] if infinite else []


def remark(ax: Axes, *lines: str) -> None:
    """A small line above the axes, where there is something to say."""
    if lines:
        ax.set_title("; ".join(lines), fontsize=8, fontweight="normal")


def keep_digits(figure: Figure) -> None:
    """Write tick labels in full where matplotlib would move a common 2.024e7 into a corner."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = axis.get_view_interval()
            largest = max(abs(low), abs(high))
            if type(axis.get_major_formatter()) is not ScalarFormatter or not np.isfinite(largest):
                continue
            if largest < 1e6 and abs(high - low) > 1e-3 * largest:
                continue
            axis.set_major_formatter(_Digits())
            locator = axis.get_major_locator()
            if axis is ax.xaxis and isinstance(locator, MaxNLocator):
                room = 72 * ax.get_position().width * figure.get_figwidth()
                widest = max(map(len, together([low, high, (low + high) / 2])))
                locator.set_params(nbins=int(np.clip(room / (7 * widest + 10), 1, 9)))


class _Digits(Formatter):
    """Ticks with as many digits as tell them apart."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Any) -> list[str]:
        return [text.replace("-", "\N{MINUS SIGN}") for text in together(values)]


def parameter_axis(ax: Axes, parameter: Parameter) -> None:
    """Name, scale and ticks of a horizontal axis of `Parameter.scale` positions (categories) or natural values."""
    ax.set_xlabel(parameter.name)
    if not parameter.numeric:
        name_ticks(ax, [parameter.text(choice) for choice in parameter.choices])
    elif parameter.log:
        log_axis(ax)


def log_axis(ax: Axes, *, axis: str = "x") -> None:
    """A log axis with plain numbers on it: decades, and 2 and 5 between them when there are few."""
    getattr(ax, f"set_{axis}scale")("log")
    side = getattr(ax, f"{axis}axis")
    side.set_major_locator(_FewLogTicks())
    side.set_major_formatter(FuncFormatter(lambda value, _: label(float(value))))
    side.set_minor_formatter(NullFormatter())


class _FewLogTicks(LogLocator):
    """Decades, or steps between them where the axis spans less than two."""

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        decades = np.log10(vmax / vmin) if vmin > 0 else 9
        subs = (1.0, 2.0, 5.0) if decades < 1.2 else (1.0, 3.0) if decades < 2 else (1.0,)
        self.set_params(subs=subs, numticks=5)
        return np.asarray(super().tick_values(vmin, vmax))


def legend(ax: Axes, *, above: bool = True, **options: Any) -> None:
    """A legend whose marks are solid and of one size, above the axes or where `options` say."""
    if above:
        options = {
            "loc": "lower left",
            "bbox_to_anchor": (0, 1.0),
            "borderaxespad": 0.2,
            "columnspacing": 1.2,
        } | options
    for handle in ax.legend(**options).legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
            handle.set_rasterized(False)
        if isinstance(handle, PathCollection):
            handle.set_sizes([30.0])


def axis_values(parameter: Parameter, values: pd.Series) -> np.ndarray:
    """Where values lie on the axis of `parameter_axis`."""
    return values.to_numpy(dtype=float) if parameter.numeric else parameter.scale(values)
