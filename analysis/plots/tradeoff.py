"""The figure of two objectives: all finished trials, the front as steps, and the baseline."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.plots import style
from analysis.studies.rows import COMPLETE
from analysis.studies.trials import Trials
from spaces.second import Second, axis_label


def plot_tradeoff(
    trials: Trials, table: pd.DataFrame, second: Second, ax: Axes | None = None, *, unit: str = ""
) -> Axes:
    """Finished trials by both objectives.

    Args:
        trials: the study, for the label of its metric.
        table: as `analysis.studies.tradeoff.tradeoff` returns it.
        second: the objective on the horizontal axis.
        unit: of this objective, if it is known.
    """
    ax = style.new_axes(ax, width=6.0)
    if table.empty:
        return style.nothing(ax, "No trial is trained to the full budget yet.")
    front = table[table["front"]].sort_values("second")
    color = style.COLORS[COMPLETE]
    many = len(table) > style.DENSE
    ax.scatter(table["second"], table["value"], s=18, color=color, lw=0, rasterized=many, label="finished trial")
    where = "pre" if second.objective.maximize else "post"
    ax.step(front["second"], front["value"], where=where, color=style.VERMILION, lw=1.5, label="front")
    ax.scatter(front["second"], front["value"], s=34, color=style.VERMILION, zorder=4)
    baseline = table[table["baseline"]].head(1)
    if len(baseline):
        at = baseline["second"], baseline["value"]
        ax.scatter(*at, s=70, facecolors="none", edgecolors=style.INK, lw=1.2, zorder=5, label="baseline")
    if is_log(table["second"]):
        style.log_axis(ax)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))
    style.value_axis(ax, table["value"], sign=trials.sign)
    ax.set(xlabel=axis_label(second.name, second.direction, unit), ylabel=style.metric_label(trials))
    style.legend(ax, ncols=3)
    return ax


def is_log(values: pd.Series) -> bool:
    """Whether these values are drawn on a logarithmic axis."""
    return bool(values.min() > 0 and values.max() / values.min() > 5)
