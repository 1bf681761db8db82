"""Figures of what mattered: importance, effects, interactions, the ablation path, agreement of rungs."""

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.impact import interactions
from analysis.impact.ablation import Ablation
from analysis.impact.effect import Effect
from analysis.impact.forest import Surrogate, partial_dependence
from analysis.impact.importance import Importance
from analysis.plots import style
from analysis.plots.ticks import name_ticks
from analysis.studies.parameters import Parameter
from analysis.studies.trials import Trials

_MOST_BARS = 16
"""Hyperparameters in a figure at most."""


def plot_importance(importance: Importance | None, ax: Axes | None = None) -> Axes:
    """Importance of each hyperparameter that is above the level of noise, with its interval and that level."""
    if importance is None or importance.table.empty:
        return style.nothing(style.new_axes(ax), "There are too few trials to compute importance.")
    table = importance.above_noise.head(_MOST_BARS).iloc[::-1]
    if table.empty:
        return style.nothing(style.new_axes(ax), "No importance is larger than noise.")
    ax = style.new_axes(ax, height=0.9 + 0.28 * len(table))
    at = np.arange(len(table))
    noise = table["noise"].to_numpy()
    ax.barh(at, table["importance"], height=0.62, color=style.SKY)
    error = [table["importance"] - table["low"], table["high"] - table["importance"]]
    ax.errorbar(
        table["importance"], at, xerr=np.maximum(error, 0), fmt="none", ecolor=style.INK, elinewidth=1.1, capsize=2.5
    )
    ax.scatter(noise, at, marker="|", s=110, color=style.VERMILION, lw=1.8, zorder=4, label="noise level (95 %)")
    ax.legend(loc="lower right")
    ax.set_yticks(at, list(table["parameter"]))
    ax.set(xlabel="share of importance, 95 % interval", xlim=(0, min(1.02, table["high"].max() * 1.08)))
    ax.set_title(f"{importance.evaluator}\nepoch {importance.budget}, {importance.num_trials} trials", fontsize=9.5)
    ax.grid(visible=False, axis="y")
    return ax


def importance_by_rung(importances: list[Importance]) -> pd.DataFrame:
    """Shares of importance, one row per hyperparameter and one column per rung; strongest at full budget first.

    What is not larger than noise is NaN, and a hyperparameter without any other value is left out.
    """
    columns = {}
    for one in importances:
        who = "all, projected" if one.projected else f"{one.num_trials} trials"
        title = f"epoch {one.budget}\n({who})"
        columns[title] = one.above_noise.set_index("parameter")["importance"]
    table = pd.DataFrame(columns)
    return table.sort_values(list(table.columns)[::-1], ascending=False).head(_MOST_BARS) if len(table) else table


def plot_importance_by_rung(importances: list[Importance], ax: Axes | None = None) -> Axes:
    """A table of importance by rung as a heat map."""
    table = importance_by_rung(importances)
    if table.empty:
        return style.nothing(style.new_axes(ax), "No importance is larger than noise at any rung.")
    ax = style.new_axes(ax, width=2.2 + 0.95 * len(table.columns), height=1.2 + 0.28 * len(table))
    values = table.to_numpy(dtype=float)
    ax.imshow(values, cmap="Blues", vmin=0, vmax=max(0.01, float(np.nanmax(values))), aspect="auto")
    _numbers(ax, values, ".0%", dark=0.6 * float(np.nanmax(values)))
    ax.set_xticks(range(len(table.columns)), list(table.columns), fontsize=8.5)
    ax.set_yticks(range(len(table)), list(table.index))
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def _numbers(ax: Axes, values: np.ndarray, form: str, *, dark: float) -> None:
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            color = style.LIGHT if abs(value) > dark else "#222222"
            ax.text(j, i, format(value, form), ha="center", va="center", fontsize=8, color=color)


def plot_effect(effect: Effect, trials: Trials, ax: Axes | None = None) -> Axes:
    """One hyperparameter's effect against the average trial, with its pointwise 95 % band."""
    ax = style.new_axes(ax, width=3.4, height=2.8)
    parameter = next(p for p in trials.parameters if p.name == effect.parameter)
    if effect.curve is None:
        return style.nothing(ax, effect.sentence)
    color = style.BLUE if effect.found else style.GREY
    _curve(ax, parameter, effect.curve, trials, color=color)
    verdict = "" if effect.found else ", no effect found"
    ax.set_title(f"epoch {effect.budget}, {effect.num_trials} trials{verdict}", fontsize=8.5, fontweight="normal")
    return ax


def _curve(ax: Axes, parameter: Parameter, curve: pd.DataFrame, trials: Trials, *, color: str) -> None:
    y, low, high = (trials.points * curve[k].to_numpy(dtype=float) for k in ("effect", "low", "high"))
    ax.axhline(0, color=style.INK, lw=0.8)
    if parameter.levels:
        at = np.arange(len(curve))
        ax.errorbar(at, y, yerr=[y - low, high - y], fmt="o", color=color, capsize=3, ms=6)
        name_ticks(ax, [parameter.text(v) for v in curve["x"]])
        ax.set_xlim(-0.6, len(at) - 0.4)
        ax.set_xlabel(parameter.name)
    else:
        style.parameter_axis(ax, parameter)
        x = curve["x"].to_numpy(dtype=float)
        ax.fill_between(x, low, high, color=color, alpha=0.22, lw=0)
        ax.plot(x, y, color=color, lw=1.8)
    ax.set_ylabel(style.metric_label(trials, change=True))


def plot_partial_dependence(surrogate: Surrogate | None, name: str, trials: Trials, ax: Axes | None = None) -> Axes:
    """The surrogate's partial dependence on one hyperparameter, or the reason why it is not trusted."""
    ax = style.new_axes(ax, width=3.4, height=2.8)
    if surrogate is None or not surrogate.quality.trusted:
        reason = (
            "too few trials for a surrogate"
            if surrogate is None
            else "not reliable: the surrogate\nfails on unseen trials"
        )
        return style.nothing(ax, f"{name}: {reason}")
    parameter = next(p for p in trials.parameters if p.name == name)
    if surrogate.configs[name].dropna().nunique() < 2:
        return style.nothing(ax, f"{name}: never varied")
    _curve(ax, parameter, partial_dependence(surrogate, parameter), trials, color=style.GREEN)
    ax.set_title(f"surrogate, epoch {surrogate.budget}", fontsize=8.5, fontweight="normal")
    return ax


def plot_interactions(table: pd.DataFrame, trials: Trials, ax: Axes | None = None, *, most: int = 12) -> Axes:
    """Pairs as a heat map of the difference of differences; a star marks an interval without zero."""
    names = list(dict.fromkeys([*table["first"], *table["second"]]))[:most] if len(table) else []
    if not names:
        return style.nothing(style.new_axes(ax), "There are too few trials for interactions (at least 40 are needed).")
    names = [p.name for p in trials.parameters if p.name in names]
    size = 1.6 + 0.5 * len(names)
    ax = style.new_axes(ax, width=size + 1.2, height=size)
    shown = table[table["first"].isin(names) & table["second"].isin(names)]
    values = np.where(np.tri(len(names), k=-1, dtype=bool), interactions.matrix(shown, names) * trials.points, np.nan)
    sure = {frozenset(pair) for pair in shown.loc[shown["found"], ["first", "second"]].itertuples(index=False)}
    clear = [[frozenset((a, b)) in sure for b in names] for a in names]
    largest = (
        float(np.nanmax(np.abs(np.where(clear, values, np.nan)))) if sure else 3 * float(np.nanmax(np.abs(values)))
    )
    ends = largest or 1.0  # pale where nothing is beyond doubt
    image = ax.imshow(values, cmap="PuOr", vmin=-ends, vmax=ends, aspect="equal")
    for i, j in np.argwhere(np.array(clear) & np.isfinite(values)):
        ax.text(j, i, f"{values[i, j]:+.2g}*", ha="center", va="center", fontsize=8, fontweight="bold", color="#111111")
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.045, pad=0.02)
    bar.set_label(style.metric_label(trials, change=True))
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set_title(
        "together more (+) or less (-) than the sum; * statistically clear"
        if sure
        else "no statistically clear interaction"
    )
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax


def plot_ablation(path: Ablation | None, trials: Trials, ax: Axes | None = None) -> Axes:
    """What each change from the baseline to the best configuration brings, by the surrogate."""
    if path is None or len(path.steps) < 2:
        return style.nothing(
            style.new_axes(ax), "No path: the best configuration is the baseline, or there are too few trials."
        )
    steps = path.steps.iloc[1:].iloc[::-1]
    names = [textwrap.fill(change, 40) for change in steps["change"]]
    ax = style.new_axes(ax, width=7.2, height=1.0 + 0.3 * sum(1 + 0.5 * name.count("\n") for name in names))
    at = np.arange(len(steps))
    gain, low, high = (trials.points * steps[k].to_numpy(dtype=float) for k in ("gain", "low", "high"))
    sure = (low > 0) | (high < 0)
    ax.axvline(0, color=style.INK, lw=0.8)
    ax.barh(at, gain, height=0.6, color=np.where(sure, style.SKY, style.FAINT))
    ax.errorbar(gain, at, xerr=[gain - low, high - gain], fmt="none", ecolor=style.INK, elinewidth=1.1, capsize=2.5)
    ax.set_yticks(at, names)
    label = style.metric_label(trials, change=True).replace("change of", "improvement of")
    ax.set_xlabel(f"{label}, 95 % interval")
    ax.set_title(f"predicted by the surrogate for epoch {path.budget}", fontsize=8.5, fontweight="normal")
    ax.grid(visible=False, axis="y")
    return ax


def plot_budget_correlation(correlations: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Rank correlation between every two rungs, with its interval; takes `Audit.correlations`."""
    ax = style.new_axes(ax)
    if correlations.empty:
        return style.nothing(ax, "Fewer than five trials reached two rungs.")
    table = correlations.iloc[::-1]
    at = np.arange(len(table))
    error = [table["correlation"] - table["low"], table["high"] - table["correlation"]]
    ax.axvline(0, color=style.INK, lw=0.8)
    ax.errorbar(table["correlation"], at, xerr=np.maximum(error, 0), fmt="o", color=style.BLUE, capsize=3)
    names = [f"epoch {r.rung} and {r.later} ({r.num_trials} trials)" for r in table.itertuples()]
    ax.set_yticks(at, names)
    ax.set(xlabel="rank correlation (Spearman), 95 % interval", xlim=(min(-0.05, table["low"].min() - 0.05), 1.03))
    ax.grid(visible=False, axis="y")
    return ax
