"""Figures that show several runs beside each other: the course of the search, the best values, the effects."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from analysis.impact.across import Agreement, Contrast
from analysis.plots import style
from analysis.plots.fonts import names_on_axis
from analysis.studies.course import course
from analysis.studies.sides import Side
from analysis.wording import is_share

COLORS = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.PINK, style.SKY)
_LINES = ("-", "--", ":", "-.")
"""Colours repeat after six runs, and then lines change."""
_MARKS = "osv^DP"
_NAME_WIDTH = 26
_MOST_CONTRASTS = 16


def _legend_names(sides: Sequence[Side]) -> list[str]:
    return names_on_axis([side.name for side in sides], _NAME_WIDTH)


def plot_course(sides: Sequence[Side], x: str = "epochs", ax: Axes | None = None) -> Axes:
    """The best complete value so far of each run against `x`: epochs or seconds, summed over its trials."""
    ax = style.new_axes(ax)
    tables = [course(side.trials) for side in sides]
    known = [table["best"].dropna() for table in tables]
    if all(values.empty for values in known):
        return style.nothing(ax, "No trial has been trained to the end yet.")
    if x == "seconds" and any(table["seconds"].max() == 0 for table in tables if len(table)):
        return style.nothing(ax, "Some run has no record of its training times.")
    longest = max(float(table[x].max()) for table in tables if len(table))
    unit, word = _unit(longest) if x == "seconds" else (1.0, "epochs")
    for place, (name, table) in enumerate(zip(_legend_names(sides), tables, strict=True)):
        if table["best"].notna().any():
            color, line = COLORS[place % len(COLORS)], _LINES[place // len(COLORS) % len(_LINES)]
            ax.step(table[x] / unit, table["best"], where="post", lw=1.8, label=name, color=color, linestyle=line)
            ax.plot(table[x].iloc[-1] / unit, table["best"].iloc[-1], marker="o", ms=5, color=color)
    style.value_axis(ax, np.concatenate([v.to_numpy() for v in known]), sign=sides[0].trials.sign)
    ax.set_xlim(left=0)
    said = "epochs trained, all trials together" if x == "epochs" else f"training time, all trials together ({word})"
    ax.set(xlabel=said, ylabel=style.metric_label(sides[0].trials))
    style.legend(ax, ncols=2)
    return ax


def _unit(seconds: float) -> tuple[float, str]:
    return (3600.0, "hours") if seconds > 2 * 3600 else (60.0, "minutes") if seconds > 180 else (1.0, "seconds")


def plot_best(sides: Sequence[Side], ax: Axes | None = None) -> Axes:
    """The winner of each run on the sealed test set with its interval and seeds, and its value in the search."""
    ax = style.new_axes(ax, width=6.6, height=1.3 + 0.5 * len(sides))
    scale = 100.0 if is_share(sides[0].trials.metric) and sides[0].trials.points == 100 else 1.0
    for place, side in enumerate(sides):
        color = COLORS[place % len(COLORS)]
        best = side.trials.best
        if best is not None:
            label = "best validation value of the search (optimistic)"
            ax.plot(scale * best["value"], place - 0.22, "x", color=style.GREY, ms=7, label=label if not place else "_")
        if side.results is None:
            continue
        winner, metric = side.results.winning, side.results.metric
        found = {key: scale * winner.scores[metric][key] for key in ("value", "low", "high")}
        ax.plot([found["low"], found["high"]], [place] * 2, color=color, lw=2.5, solid_capstyle="butt")
        ax.plot(found["value"], place, "o", color=color, ms=8)
        seeds = scale * np.array(winner.by_seed[metric], dtype=float)
        ax.plot(seeds, np.full(len(seeds), place + 0.2), "|", color=color, ms=7, alpha=0.8)
    ax.set_yticks(range(len(sides)), _legend_names(sides))
    ax.set_ylim(len(sides) - 0.4, -0.7)
    name = style.metric_label(sides[0].trials).removeprefix("validation ")
    ax.set_xlabel(f"{name}{' (%)' if scale == 100 else ''}: dot, test mean with 95 % interval; | one seed")
    ax.grid(visible=False, axis="y")
    style.legend(ax, ncols=1)
    return ax


def shown_contrasts(found: Sequence[Contrast]) -> list[Contrast]:
    """Those that a figure shows: of which something is known, the clearest first."""
    return [one for one in found if one.agreement is not Agreement.UNKNOWN][:_MOST_CONTRASTS]


def plot_contrasts(found: Sequence[Contrast], sides: Sequence[Side], ax: Axes | None = None) -> Axes:
    """One row per hyperparameter, in it the effect in each run with its interval."""
    shown = shown_contrasts(found)
    ax = style.new_axes(ax, width=7.0, height=1.2 + (0.26 + 0.1 * len(sides)) * max(len(shown), 2))
    if not shown:
        return style.nothing(ax, "No run has enough trials to estimate an effect.")
    scale, step = sides[0].trials.points, 0.7 / len(sides)
    names = _legend_names(sides)
    for at, name in enumerate(names):
        known = [(place, one.found[at]) for place, one in enumerate(shown)]
        rows = [(place, i.value, i.value - i.low, i.high - i.value) for place, i in known if i is not None]
        if not rows:
            continue
        y, value, low, high = np.array(rows, dtype=float).T
        y, error = y + (at - (len(sides) - 1) / 2) * step, scale * np.maximum([low, high], 0)
        ax.errorbar(
            scale * value, y, xerr=error, ls="none", label=name,
            color=COLORS[at % len(COLORS)], marker=_MARKS[at % len(_MARKS)], ms=5, capsize=2.5, elinewidth=1.4,
        )  # fmt: skip
    ax.axvline(0, color=style.INK, lw=0.9)
    ax.set_yticks(range(len(shown)), [_contrast_name(one) for one in shown])
    ax.set_ylim(len(shown) - 0.45, -0.55)
    ax.set_xlabel(style.metric_label(sides[0].trials, change=True))
    ax.grid(visible=False, axis="y")
    style.legend(ax, ncols=3)
    return ax


def _contrast_name(one: Contrast) -> str:
    against = "" if {one.better, one.worse} == {"True", "False"} else f"\n{one.better} against {one.worse}"
    return f"{names_on_axis([one.parameter], _NAME_WIDTH)[0]}{against}"
