"""Figures of a final evaluation on a table: baselines, errors by band and place, and what each feature does."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import wording
from analysis.plots import style
from analysis.plots.ticks import date_ticks, name_ticks
from analysis.scores.features import POINTS
from analysis.studies.results import FinalResults

MOST_FEATURES = 20
"""Features in the figure of importance at most."""
_PALETTE = (style.BLUE, style.ORANGE, style.GREEN, style.PINK)


def plot_baselines(results: FinalResults, ax: Axes | None = None) -> Axes:
    """The winner and the methods without a network on the same rows, with intervals and seeds."""
    metric = results.metric
    winner = results.winning
    rows = [(f"{wording.title(winner.name)} (winner)", winner.scores[metric], winner.by_seed[metric], style.BLUE)]
    rows += [(b.title, b.scores[metric], b.by_seed[metric], style.ORANGE) for b in results.baselines]
    rows.sort(key=lambda row: row[1]["value"], reverse=not results.is_less_better)
    ax = style.new_axes(ax, width=6.6, height=1.1 + 0.4 * len(rows))
    scale = 100 if wording.is_share(metric) else 1
    for place, (_, found, values, color) in enumerate(rows):
        ax.plot([scale * found["low"], scale * found["high"]], [place, place], color=color, lw=2.4)
        ax.plot(scale * found["value"], place, "o", color=color, ms=7)
        seeds = scale * np.array(values)
        ax.plot(seeds, np.full(len(seeds), place + 0.27), "|", color=color, ms=6)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    percent = " (%)" if scale == 100 else ""
    ax.set_xlabel(f"test {results.in_unit(metric)}{percent}: mean, 95 % interval; | one seed")
    ax.grid(visible=False, axis="y")
    return ax


def plot_bands(results: FinalResults, ax: Axes | None = None) -> Axes:
    """RMSE and mean error of the winner in each band of the target."""
    bands = results.bands
    ax = style.new_axes(ax, width=5.4, height=3.6)
    at = np.arange(len(bands))
    for offset, (metric, color, mark) in zip(
        (-0.12, 0.12), (("rmse", style.BLUE, "o"), ("bias", style.VERMILION, "s")), strict=True
    ):
        found = [band[metric] for band in bands]
        ax.vlines(at + offset, [f["low"] for f in found], [f["high"] for f in found], color=color, lw=2)
        ax.plot(at + offset, [f["value"] for f in found], mark, color=color, ms=6, label=wording.named(metric))
    ax.axhline(0, color=style.INK, lw=0.8)
    ends = wording.together([end for band in bands for end in (band["low"], band["high"])], digits=3)
    names = [
        f"{low} to{chr(10) if len(low) > 8 else ' '}{high}\n{band['rows']:,} rows"
        for low, high, band in zip(ends[::2], ends[1::2], bands, strict=True)
    ]
    ax.set_xticks(at, names, fontsize=8)
    ax.set_xlabel(_target(results))
    ax.set_ylabel(f"error{_unit(results)}, 95 % interval")
    ax.grid(visible=False, axis="x")
    style.legend(ax, ncols=2)
    return ax


def plot_residuals(results: FinalResults, y: np.ndarray, predicted: np.ndarray, ax: Axes | None = None) -> Axes:
    """Residuals of the exported network by prediction, with their median and central 80 %."""
    ax = style.new_axes(ax, width=5.4, height=3.8)
    error = y - predicted
    shown = np.random.default_rng(0).permutation(len(y))[:5000]
    ax.plot(predicted[shown], error[shown], ".", color=style.GREY, ms=3, alpha=0.35, rasterized=True, label="one row")
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, min(21, 2 + len(y) // 50))))
    bins = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, max(len(edges) - 2, 0))
    parts = [bins == index for index in range(max(len(edges) - 1, 1))]
    parts = [part for part in parts if part.sum() >= 10]
    if parts:
        middle = [float(predicted[part].mean()) for part in parts]
        low, half, high = np.array([np.quantile(error[part], (0.1, 0.5, 0.9)) for part in parts]).T
        ax.fill_between(middle, low, high, color=style.BLUE, alpha=0.2, lw=0, label="central 80 %")
        ax.plot(middle, half, color=style.BLUE, lw=2, label="median")
    ax.axhline(0, color=style.INK, lw=1)
    ax.set(xlabel=f"predicted {_target(results)}", ylabel=f"target minus prediction{_unit(results)}")
    style.legend(ax, ncols=3)
    return ax


def plot_residual_map(
    results: FinalResults, places: np.ndarray, y: np.ndarray, predicted: np.ndarray, ax: Axes | None = None
) -> Axes:
    """The mean error of the exported network by place.

    Args:
        results: final.json.
        places: longitude and latitude of each test row (N, 2).
        y: targets (N,).
        predicted: predictions (N,).
    """
    ax = style.new_axes(ax, width=5.4, height=5.0)
    error = y - predicted
    ends = float(np.quantile(np.abs(error), 0.95)) or 1.0
    known = np.isfinite(places).all(1)
    drawn = ax.hexbin(
        places[known, 0], places[known, 1], C=error[known], gridsize=42, cmap="PuOr_r", vmin=-ends, vmax=ends, lw=0.1
    )
    geographic_axes(ax, results.places, places[known])
    bar = ax.figure.colorbar(drawn, ax=ax, fraction=0.04, pad=0.02, extend="both")
    bar.set_label(f"mean of target minus prediction{_unit(results)}")
    bar.ax.grid(visible=False)
    return ax


def geographic_axes(ax: Axes, names: list[str], places: np.ndarray) -> None:
    """Labels, and an aspect under which distances in both directions look as they are."""
    ax.set(xlabel=names[0], ylabel=names[1])
    latitude = np.clip(np.abs(np.median(places[:, 1])), 0, 80) if len(places) else 0.0
    ax.set_aspect(1 / float(np.cos(np.deg2rad(latitude))))


def plot_feature_importance(results: FinalResults, ax: Axes | None = None) -> Axes:
    """How much worse the winner answers without each feature; groups of correlated features are hatched."""
    found = results.importance[:MOST_FEATURES][::-1]
    ax = style.new_axes(ax, width=6.2, height=1.0 + 0.29 * len(found))
    at = np.arange(len(found))
    values = np.array([f["value"] for f in found])
    low, high = (np.array([f[key] for f in found]) for key in ("low", "high"))
    colors = [style.ORANGE if len(f["features"]) > 1 else style.SKY if f["low"] > 0 else style.FAINT for f in found]
    ax.barh(at, values, height=0.62, color=colors)
    ax.hlines(at, low, high, color=style.INK, lw=1.2)
    ax.axvline(0, color=style.INK, lw=0.8)
    ax.set_yticks(at, [wording.feature_names(f["features"]) for f in found])
    metric = results.importance_metric
    ax.set_xlabel(f"increase of the {results.in_unit(metric)} when permuted among rows, 95 % interval")
    ax.grid(visible=False, axis="y")
    return ax


def plot_dependence(results: FinalResults) -> Figure:
    """A panel for each of the most important features: the mean answer along it, with its band over seeds."""
    found, dates = results.dependence, {column["name"] for column in results.columns if column.get("dates")}
    columns = min(3, max(1, len(found)))
    rows = -(-len(found) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.2 * columns, 2.5 * rows), squeeze=False, sharey=True, layout="constrained"
    )
    for ax, one in zip(axes.flat, found, strict=False):
        _dependence(ax, one, named=len(one["curves"]) > 1)
        if one["feature"] in dates:
            date_ticks(ax, np.array(one["x"], dtype=float))
    for ax in axes.flat[len(found) :]:
        ax.set_axis_off()
    classes = [name for name in found[0]["curves"] if name] if found else []
    answer = f"probability of {classes[0]!r}" if len(classes) == 1 else "probability"
    figure.supylabel(answer if classes else f"mean prediction{_unit(results)}", fontsize=9.5)
    return figure


def _dependence(ax: Axes, found: dict[str, Any], *, named: bool) -> None:
    number = found["kind"] == "number"
    at = np.array(found["x"], dtype=float) if number else np.arange(len(found["x"]))
    for color, (name, curve) in zip(_PALETTE, found["curves"].items(), strict=False):
        mean, low, high = (np.array(curve[key]) for key in ("mean", "low", "high"))
        if number:
            ax.fill_between(at, low, high, color=color, alpha=0.22, lw=0)
            ax.plot(at, mean, color=color, lw=1.8, label=name or None)
        else:
            ax.errorbar(at, mean, yerr=[mean - low, high - mean], fmt="o", color=color, ms=5, label=name or None)
    if number:
        ax.plot(
            found["rug"], np.zeros(len(found["rug"])), "|", color=style.INK, ms=7, transform=ax.get_xaxis_transform()
        )
    else:
        name_ticks(ax, [wording.shortened(str(name), 14) for name in found["x"]])
    few = f", the {len(found['x'])} most frequent" if len(found["x"]) == POINTS and not number else ""
    ax.set_xlabel(wording.shortened(found["feature"], 34) + few)
    if named:
        ax.legend(fontsize=7)


def _unit(results: FinalResults) -> str:
    return f" ({results.target_unit})" if results.target_unit else ""


def _target(results: FinalResults) -> str:
    return f"{results.target or 'target'}{_unit(results)}"
