"""Figures of how the search went: history, learning curves, rungs, slices, parallel coordinates."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.plots import style
from analysis.plots.drawing import Plot
from analysis.studies.parameters import Parameter, label
from analysis.studies.rows import COMPLETE, FAILED, INFEASIBLE, STATES, STOPPED, UNFINISHED
from analysis.studies.trials import Trials

MOST_LINES, MOST_AXES = 150, 14
"""Trials and hyperparameters in parallel coordinates."""


def history(trials: Trials) -> pd.DataFrame:
    """trial, state, value (the last one measured) and best: the best complete value among trials up to this one."""
    rows = trials.trials
    best = (trials.rivals["value"].reindex(rows.index).astype(float) * trials.sign).cummax().ffill() * trials.sign
    table = pd.DataFrame({"trial": rows["number"], "state": rows["state"], "value": rows["last"], "best": best})
    return table[table["value"].notna()].reset_index(drop=True)


def plot_history(trials: Trials, ax: Axes | None = None) -> Axes:
    """Every trial's last value in the order of their numbers, and the best complete value so far."""
    ax, table = style.new_axes(ax), history(trials)
    if table.empty:
        return style.nothing(ax, "No trial has a value yet.")
    for state in STATES:
        some = table[table["state"] == state]
        if len(some):
            _points(ax, some["trial"], some["value"], state, many=len(table))
    ax.step(table["trial"], table["best"], where="post", color=style.INK, lw=1.6, label="best complete so far")
    style.value_axis(ax, table["value"], sign=trials.sign)
    ax.set(xlabel="trial", ylabel=style.metric_label(trials))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend(ax, ncols=2)
    return ax


def _points(ax: Axes, x: pd.Series | np.ndarray, y: pd.Series, state: str, *, many: int) -> None:
    ax.scatter(
        x,
        y,
        s=26 if many <= 200 else 9,
        marker=style.MARKERS.get(state, "."),
        color=style.COLORS.get(state, style.GREY),
        alpha=(0.9 if many <= 200 else 0.55) if state == COMPLETE else (0.6 if many <= 200 else 0.25),
        linewidths=0,
        zorder=3 if state == COMPLETE else 2,
        rasterized=len(x) > style.DENSE,
        label=f"{style.WORDS.get(state, state)} ({len(x)})",
    )


def learning_curves(trials: Trials) -> dict[int, pd.DataFrame]:
    """For each trial with values, a table of epoch and value."""
    rows = trials.epochs[["epoch", "value"]]
    return {int(str(n)): rows.iloc[at] for n, at in trials.epochs.groupby("trial").indices.items()}


def plot_learning_curves(trials: Trials, ax: Axes | None = None) -> Axes:
    """Each trial's objective by epoch, coloured by how it ended; the best one is drawn thick."""
    ax, curves = style.new_axes(ax), learning_curves(trials)
    if not curves:
        return style.nothing(ax, "No trial has a value yet.")
    states, many = trials.trials["state"], len(curves)
    for state in (STOPPED, UNFINISHED, FAILED, INFEASIBLE, COMPLETE):
        lines = [c.to_numpy(dtype=float) for n, c in curves.items() if states[n] == state]
        if not lines:
            continue
        color, fade = style.COLORS[state], 0.75 if many <= 60 else 0.35 if many <= 500 else 0.15
        drawn = LineCollection(
            lines, colors=color, linewidths=1.0, alpha=min(1.0, fade * (2 if state == COMPLETE else 1))
        )
        drawn.set_rasterized(len(lines) > style.DENSE // 4)
        ax.add_collection(drawn)
        single = [line[0] for line in lines if len(line) == 1]
        if single:
            ax.scatter(*np.array(single).T, s=12, color=color, alpha=fade, linewidths=0, rasterized=many > style.DENSE)
    if trials.best is not None:
        best = curves[int(trials.best["number"])]
        ax.plot(best["epoch"], best["value"], color=style.INK, lw=2.2, label=f"best: trial {trials.best['number']}")
        if (point := kept_point(trials)) is not None:
            ax.plot(*point, "o", color=style.INK, ms=8, label=f"keeps epoch {point[0]}")
    present = [s for s in style.COLORS if any(states[n] == s for n in curves)]
    words = {STOPPED: "stopped early"}
    handles = [Line2D([], [], color=style.COLORS[s], label=words.get(s, s)) for s in present]
    ax.autoscale_view()
    style.value_axis(ax, trials.epochs["value"], sign=trials.sign, of="value")
    handles += [h for h in ax.get_legend_handles_labels()[0] if isinstance(h, Line2D)]
    style.legend(ax, handles=handles, ncols=5)
    _epoch_axis(ax, trials)
    ax.set_ylabel(style.metric_label(trials))
    return ax


def kept_point(trials: Trials) -> tuple[int, float] | None:
    """The epoch that the best trial keeps, and the value that its curve has there; None where it keeps the last one."""
    if trials.best is None or not trials.best["kept_epoch"] > 0:
        return None
    epoch, rows = int(trials.best["kept_epoch"]), trials.epochs
    found = rows[(rows["trial"] == trials.best["number"]) & (rows["epoch"] == epoch)]["value"]
    return (epoch, float(found.iloc[0])) if len(found) else None


def epoch_label(trials: Trials) -> str:
    """The label of the axis of epochs."""
    return "epoch (log scale; marks at the rungs)" if len(trials.rungs) > 1 else "epoch"


def _epoch_axis(ax: Axes, trials: Trials) -> None:
    ax.set_xlabel(epoch_label(trials))
    if len(trials.rungs) > 1:
        ax.set_xscale("log")
    ax.set_xticks(list(trials.rungs), [str(r) for r in trials.rungs])
    ax.minorticks_off()


def plot_rung_survival(survival: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How many trials reached each rung; takes `Audit.survival`."""
    ax = style.new_axes(ax)
    if survival.empty or survival["reached"].max() == 0:
        return style.nothing(ax, "No trial has reached a rung yet.")
    at = np.arange(len(survival))
    bars = ax.bar(at, survival["reached"], width=0.62, color=style.SKY, label="reached the rung")
    ax.bar(at, survival["went_on"], width=0.62, color=style.BLUE, label="went on")
    first = survival["reached"].max()
    ax.bar_label(bars, [f"{n} ({n / first:.0%})" for n in survival["reached"]], padding=2, fontsize=8.5)
    ax.set_xticks(at, [str(rung) for rung in survival["rung"]])
    ax.set(xlabel="rung (epoch)", ylabel="trials", ylim=(0, first * 1.1))
    ax.grid(visible=False, axis="x")
    style.legend(ax, ncols=2)
    return ax


def slices(trials: Trials, name: str) -> pd.DataFrame:
    """value of the hyperparameter, last objective and state of every trial in which it is active."""
    rows = trials.trials
    table = pd.DataFrame({"x": rows[f"params_{name}"], "value": rows["last"], "state": rows["state"]})
    return table[table["x"].notna() & table["value"].notna()].reset_index(drop=True)


def plot_slice(trials: Trials, name: str, ax: Axes | None = None) -> Axes:
    """The last objective of every trial against one hyperparameter, all states apart by colour and mark."""
    ax, table = style.new_axes(ax, width=3.4, height=2.8), slices(trials, name)
    parameter = next(p for p in trials.parameters if p.name == name)
    style.parameter_axis(ax, parameter)
    if table.empty:
        return style.nothing(ax, f"{name}: no trial has a value yet.")
    x = style.axis_values(parameter, table["x"])
    spread = np.random.default_rng(0).uniform(-0.18, 0.18, len(x)) if parameter.levels else np.zeros(len(x))
    for state in (STOPPED, UNFINISHED, FAILED, INFEASIBLE, COMPLETE):
        here = (table["state"] == state).to_numpy()
        if here.any():
            _points(ax, (x + spread)[here], table["value"][here], state, many=2 * len(table))
    style.value_axis(ax, table["value"], sign=trials.sign)
    ax.set_ylabel(style.metric_label(trials))
    if parameter.levels and parameter.numeric:
        ax.set_xticks(list(parameter.levels))
    return ax


def parallel(trials: Trials, *, most: int = MOST_LINES) -> pd.DataFrame:
    """Positions 0 to 1 of each hyperparameter's value (-0.12 where not active), with value and state, best last.

    With more than `most` trials: all complete ones as far as they fit, the best first, then stopped ones evenly.
    """
    rows = trials.measured
    table = pd.DataFrame({"value": rows["last"], "state": rows["state"]})
    for parameter in trials.parameters:
        table[parameter.name] = np.nan_to_num(_position(parameter, rows[f"params_{parameter.name}"]), nan=-0.12)
    done = table[table["state"] == COMPLETE].sort_values("value", ascending=trials.sign < 0).head(most * 2 // 3)
    rest = table[table["state"] != COMPLETE]
    room = most - len(done)
    rest = rest.iloc[np.linspace(0, len(rest) - 1, min(room, len(rest))).astype(int)] if len(rest) else rest
    return pd.concat([rest, done.iloc[::-1]])


def _position(parameter: Parameter, values: pd.Series) -> np.ndarray:
    x = parameter.scale(values)
    low, high = _ends(parameter)
    return (x - low) / ((high - low) or 1)


def _ends(parameter: Parameter) -> tuple[float, float]:
    if not parameter.numeric:
        return 0.0, float(len(parameter.choices) - 1)
    low, high = parameter.scale(np.array([parameter.low, parameter.high]))
    return float(low), float(high)


def plot_parallel(trials: Trials, ax: Axes | None = None, *, names: list[str] | None = None) -> Axes:
    """Each trial as a line over `names` (the first 14 by default): complete ones coloured by value, others grey."""
    shown = [p for p in trials.parameters if p.name in (names or [p.name for p in trials.parameters])[:MOST_AXES]]
    count, names = len(shown), [p.name for p in shown]
    ax, table = style.new_axes(ax, width=max(6.4, 0.85 * count), height=4.2), parallel(trials)
    if table.empty or not names:
        return style.nothing(ax, "No trial has a value yet.")
    at = np.arange(count)
    lines = [np.column_stack([at, row]) for row in table[names].to_numpy(dtype=float)]
    done = (table["state"] == COMPLETE).to_numpy()
    grey = [line for line, full in zip(lines, done, strict=True) if not full]
    ax.add_collection(LineCollection(grey, colors=style.GREY, linewidths=0.6, alpha=0.35, rasterized=len(grey) > 60))
    if done.any():
        values = table["value"][done].to_numpy(dtype=float)
        scale = Normalize(*color_range(values, sign=trials.sign))
        colors = ScalarMappable(scale, "viridis" if trials.sign > 0 else "viridis_r")
        bright = LineCollection([x for x, full in zip(lines, done, strict=True) if full], linewidths=1.3, alpha=0.85)
        bright.set_color(list(colors.to_rgba(values)))
        bright.set_rasterized(len(values) > style.DENSE // 4)
        ax.add_collection(bright)
        bar = ax.figure.colorbar(colors, ax=ax, pad=0.01, fraction=0.04)
        bar.set_label(f"{style.metric_label(trials)}, complete trials")
    _parallel_axes(ax, shown)
    return ax


def color_range(values: np.ndarray, *, sign: float) -> tuple[float, float]:
    """The values of the first and the last colour of complete trials: the worst tenth shares one colour."""
    low, high = (np.quantile(values, 0.1), values.max()) if sign > 0 else (values.min(), np.quantile(values, 0.9))
    return float(low), float(high)


def _parallel_axes(ax: Axes, parameters: list[Parameter]) -> None:
    for i, parameter in enumerate(parameters):
        ax.axvline(i, color=style.INK, lw=0.8)
        high = _ends(parameter)[1]
        marks = [(parameter.text(c), j / max(high, 1)) for j, c in enumerate(parameter.choices)]
        if parameter.numeric:
            marks = [(label(parameter.low), 0.0), (label(parameter.high), 1.0)]
        for text, y in marks:
            box = {"facecolor": style.PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
            ax.text(i, y, text, fontsize=7.5, ha="center", va="center", bbox=box, zorder=5)
    if any(p.conditional for p in parameters):
        ax.text(-0.38, -0.17, "inactive: below the axis", fontsize=7.5, color=style.GREY, ha="left", va="center")
    names = [p.name for p in parameters]
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
    ax.set(xlim=(-0.4, len(names) - 0.6), ylim=(-0.2, 1.08), yticks=[])
    ax.grid(visible=False)
    ax.spines[["left", "bottom"]].set_visible(False)


PLOTS = (
    Plot(
        name="history",
        draw=plot_history,
        alt="Scatter of each trial's last {metric} by trial number, with the best complete value so far ({best})",
        caption=(
            "Last value of each trial. Only complete trials can be the best; stopped trials are shown where they ended."
        ),
    ),
    Plot(
        name="learning_curves",
        draw=plot_learning_curves,
        alt="Learning curves of all trials: {metric} by epoch, coloured by how the trial ended",
        caption="Learning curves, coloured by how the trial ended.",
    ),
)
