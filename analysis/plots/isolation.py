"""The figure of a question: the best that can be found with each level, and the trials behind it."""

import numpy as np
from matplotlib.axes import Axes

from analysis.impact.answers import Answer
from analysis.plots import style
from analysis.studies.parameters import in_table
from analysis.studies.rows import COMPLETE
from analysis.studies.trials import Trials


def plot_isolation(answer: Answer, trials: Trials, ax: Axes | None = None) -> Axes:
    """By level: trials of the search that were trained to the end, the retrained configurations, and the best with its
    interval."""
    levels = answer.levels
    ax = style.new_axes(ax, height=1.4 + 0.75 * len(levels))
    if all(level.found is None for level in levels):
        return style.nothing(ax, "There is no answer yet.")
    rows = trials.trials[trials.trials["state"] == COMPLETE]
    tried = rows[f"params_{answer.parameter}"]
    best, values = [], []
    first = next(place for place, level in enumerate(levels) if level.found is not None)
    for place, level in enumerate(levels):
        searched = rows["value"][tried == in_table(level.level)].dropna().to_numpy(dtype=float)
        ax.scatter(searched, np.full(len(searched), place - 0.24), s=14, color=style.GREY, alpha=0.6, lw=0,
                   label="trial of the search" if place == first else None)  # fmt: skip
        again = [(one.values, place + 0.08 * i) for i, one in enumerate(level.configurations)]
        for i, (found, at) in enumerate(again):
            known = [value for value in found if value is not None]
            ax.plot(known, [at] * len(known), color=style.SKY, lw=1.0, marker=".", ms=5,
                    label="best configurations, each on fresh seeds" if (place, i) == (first, 0) else None)  # fmt: skip
            values += known
        if level.found is not None and level.low is not None and level.high is not None:
            error = [[max(0.0, level.found - level.low)], [max(0.0, level.high - level.found)]]
            ax.errorbar([level.found], [place - 0.1], xerr=error, fmt="D", ms=6, color=style.BLUE, capsize=3,
                        label="best, 95 % interval" if place == first else None)  # fmt: skip
            best += [level.low, level.high, level.found]
        else:
            ax.text(0.02, place, "none could be trained on all seeds", color=style.GREY, va="center",
                    transform=ax.get_yaxis_transform())  # fmt: skip
    _frame(ax, answer, trials, values=[*values, *best])
    return ax


def _frame(ax: Axes, answer: Answer, trials: Trials, *, values: list[float]) -> None:
    """Axes around what was trained again; trials of the search that are far worse are outside."""
    low, high = min(values), max(values)
    margin = 0.08 * (high - low or abs(high) or 1.0)
    ax.set_xlim(low - margin, high + margin)
    ax.set_yticks(range(len(answer.levels)), [answer.text(level.level) for level in answer.levels])
    ax.set_ylim(len(answer.levels) - 0.4, -0.6)
    ax.set(xlabel=style.metric_label(trials), ylabel=answer.parameter)
    ax.grid(visible=False, axis="y")
    style.legend(ax, ncols=1)
