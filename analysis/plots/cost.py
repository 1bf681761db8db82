"""Figures of cost: the objective against weights and training time, and the workers' timeline."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.plots import style
from analysis.plots.drawing import Plot
from analysis.studies.rows import COMPLETE
from analysis.studies.trials import Trials

COSTS = {"weights": "weights", "macs": "multiply-adds per row", "seconds": "training time (s)"}


def pareto(trials: Trials, cost: str) -> pd.DataFrame:
    """number, cost, value of the complete trials, and front: True where no other is both cheaper and better."""
    done = trials.complete
    table = pd.DataFrame({"number": done["number"], "cost": done[cost], "value": done["value"]}).dropna()
    table = table.sort_values(["cost", "value"], ascending=[True, trials.sign < 0], ignore_index=True)
    signed = table["value"] * trials.sign
    return table.assign(front=signed > signed.cummax().shift(fill_value=-np.inf))


def is_log_cost(table: pd.DataFrame) -> bool:
    """Whether costs are drawn on a logarithmic axis; takes `pareto`."""
    return bool(len(table) and table["cost"].min() > 0 and table["cost"].max() / table["cost"].min() > 5)


def plot_pareto(trials: Trials, cost: str = "weights", ax: Axes | None = None) -> Axes:
    """Complete trials by cost and objective, with the Pareto front; cost is weights, macs or seconds."""
    ax, table = style.new_axes(ax, width=5.0), pareto(trials, cost)
    if table.empty:
        return style.nothing(ax, f"No complete trial has stored its {COSTS[cost]}.")
    front = table[table["front"]]
    many = len(table) > style.DENSE
    color = style.COLORS[COMPLETE]
    ax.scatter(
        table["cost"], table["value"], s=18, color=color, alpha=0.9, lw=0, rasterized=many, label="complete trial"
    )
    ax.step(front["cost"], front["value"], where="post", color=style.VERMILION, lw=1.5, label="Pareto front")
    ax.scatter(front["cost"], front["value"], s=34, color=style.VERMILION, zorder=4)
    for row in front.iloc[_apart(front)].itertuples():
        ax.annotate(f"{row.number}", (row.cost, row.value), (4, -9), textcoords="offset points", fontsize=7.5)
    if is_log_cost(table):
        style.log_axis(ax)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(4))
    style.value_axis(ax, table["value"], sign=trials.sign)
    ax.set(xlabel=COSTS[cost], ylabel=style.metric_label(trials))
    style.legend(ax, ncols=2)
    return ax


def _apart(front: pd.DataFrame) -> list[int]:
    """Points of the front far enough from each other to carry their number."""
    cost = np.log(np.maximum(front["cost"].to_numpy(dtype=float), 1e-12))
    value = front["value"].to_numpy(dtype=float)
    kept = [len(front) - 1]
    for i in range(len(front) - 2, -1, -1):
        far = abs(cost[kept[-1]] - cost[i]) > 0.06 * (np.ptp(cost) or 1)
        if far or abs(value[kept[-1]] - value[i]) > 0.06 * (np.ptp(value) or 1):
            kept.append(i)
    return kept


def timeline(trials: Trials) -> pd.DataFrame:
    """trial, state, worker, start and seconds of every epoch, start counted from the first one."""
    table = trials.epochs.dropna(subset=["started", "seconds", "worker"])
    if table.empty:
        return pd.DataFrame(columns=pd.Index(["trial", "state", "worker", "start", "seconds"]))
    start = table["started"].astype(float) - float(table["started"].astype(float).min())
    states = trials.trials["state"].reindex(table["trial"]).to_numpy()
    return pd.DataFrame(
        {"trial": table["trial"], "state": states, "worker": table["worker"], "start": start}
        | {"seconds": table["seconds"].astype(float)}
    ).reset_index(drop=True)


def utilisation(table: pd.DataFrame) -> float:
    """Share of the workers' time that was spent in epochs, from the first start to the last end; takes `timeline`."""
    if table.empty:
        return float("nan")
    span = float((table["start"] + table["seconds"]).max() - table["start"].min())
    return float(table["seconds"].sum() / (span * table["worker"].nunique())) if span > 0 else float("nan")


def plot_timeline(trials: Trials, ax: Axes | None = None, *, most: int = 24) -> Axes:
    """What each worker trained when, coloured by how the trial ended; each block is an epoch."""
    table = timeline(trials)
    if table.empty:
        return style.nothing(style.new_axes(ax), "The study has no record of the workers' times.")
    workers = sorted(table["worker"].unique(), key=str)
    shown = workers[:most]
    ax = style.new_axes(ax, width=8.0, height=1.4 + 0.3 * len(shown))
    unit, name = _unit(float((table["start"] + table["seconds"]).max()))
    for state, some in table[table["worker"].isin(shown)].groupby("state"):
        for at, worker in enumerate(shown):
            here = some[some["worker"] == worker]
            bars = list(zip(here["start"] / unit, here["seconds"] / unit, strict=True))
            color = style.COLORS.get(str(state), style.GREY)
            edge = 0.4 if len(table) < 10 * style.DENSE else 0.0
            blocks = ax.broken_barh(bars, (at - 0.36, 0.72), color=color, edgecolor=style.PAPER, lw=edge)
            blocks.set_rasterized(len(bars) > style.DENSE)
            blocks.set_label(str(state) if at == 0 else "_")
    ax.set_yticks(range(len(shown)), worker_names(shown))
    ax.set(xlabel=f"time since the first epoch ({name})", ylim=(len(shown) - 0.4, -0.6))
    more = f", {len(workers) - most} more workers not shown" if len(workers) > most else ""
    ax.set_title(f"{utilisation(table):.0%} of the workers' time was spent training epochs{more}", pad=24)
    style.legend(ax, ncols=5)
    ax.grid(visible=False, axis="y")
    return ax


def worker_names(workers: Sequence[Any]) -> list[str]:
    """Workers in words, from `HOST:PROCESS`: `worker 2`, or on several machines `worker 2 of HOST`."""
    hosts = [str(worker).rpartition(":")[0] for worker in workers]
    several = len(set(hosts)) > 1
    counts: dict[str, int] = {}
    names = []
    for host in hosts:
        counts[host] = counts.get(host, 0) + 1
        names.append(f"worker {counts[host]}" + (f" of {host}" if several and host else ""))
    return names


def _unit(seconds: float) -> tuple[float, str]:
    return (3600.0, "hours") if seconds > 2 * 3600 else (60.0, "minutes") if seconds > 180 else (1.0, "seconds")


PLOTS = (
    Plot(
        name="pareto_weights",
        draw=plot_pareto,
        alt="Scatter of {metric} against the number of weights with the Pareto front",
        caption="Complete trials by size. No other trial is both smaller and better than a trial on the front.",
    ),
    Plot(
        name="pareto_seconds",
        draw=partial(plot_pareto, cost="seconds"),
        alt="Scatter of {metric} against training time with the Pareto front",
        caption="Complete trials by training time.",
    ),
)
