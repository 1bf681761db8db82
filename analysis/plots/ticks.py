"""Ticks of an axis whose values have names, or are dates."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateFormatter, AutoDateLocator, date2num

MOST_NAMES = 24
"""Names that a small panel has room for; of more, every second (third, ...) is written."""
_FLAT = 36
"""Characters, of all names, that fit side by side."""
_MOST_SLANTED = 8
_FIRST, _LAST = "0001-01-02", "9999-12-30"


def name_ticks(ax: Axes, names: list[str]) -> None:
    """Write these names at 0, 1, ... of the horizontal axis so that they do not run into each other.

    Few names are slanted, more are upright, and of more than `MOST_NAMES` only some are written.
    """
    step = max(1, -(-len(names) // MOST_NAMES))
    written = [name if at % step == 0 else "" for at, name in enumerate(names)]
    if max(map(len, names), default=0) * len(names) <= _FLAT:
        ax.set_xticks(range(len(names)), names)
    elif len(names) <= _MOST_SLANTED:
        ax.set_xticks(range(len(names)), names, rotation=22, ha="right", fontsize=8)
    else:
        ax.set_xticks(range(len(names)), written, rotation=90, ha="center", fontsize=7 if len(names) <= 16 else 6)


def date_ticks(ax: Axes, days: np.ndarray) -> None:
    """Write dates instead of days after 1970-01-01 at the horizontal axis; nothing changes beyond the calendar.

    Args:
        ax: shows these days.
        days: all of them finite.
    """
    first, last = (date2num(np.datetime64(end)) for end in (_FIRST, _LAST))
    if not len(days) or not first < days.min() <= days.max() < last:
        return
    locator = AutoDateLocator(minticks=2, maxticks=5)
    ax.xaxis.set_major_locator(locator)
    formatter = AutoDateFormatter(locator)
    formatter.scaled |= dict.fromkeys((1 / 24, 1 / (24 * 60)), "%Y-%m-%d %H:%M")
    ax.xaxis.set_major_formatter(formatter)
    ax.tick_params(axis="x", rotation=22, labelsize=8)
    for name in ax.get_xticklabels():
        name.set_horizontalalignment("right")
