"""Figures of a table before any model: target, features, correlations, and where its rows lie."""

from functools import partial

import numpy as np
from matplotlib.axes import Axes

from analysis.datasets.images import Overview
from analysis.datasets.tables import TableOverview
from analysis.plots import style
from analysis.plots.fonts import names_on_axis
from analysis.plots.table import geographic_axes
from analysis.plots.ticks import date_ticks, name_ticks
from analysis.wording import plain, shortened, together
from search.process.text import counted
from trainables.data.dates import date_of

MOST_FEATURES = 18
"""Features that are drawn: the first, or of correlations the strongest."""
_MAP_ROWS = 6_000
"""Rows on the map at most, drawn at random."""


def plot_target(found: TableOverview, ax: Axes | None = None) -> Axes:
    """How the training rows spread over the target, or over the classes."""
    ax = style.new_axes(ax, width=5.2, height=3.2)
    if found.classes:
        counts = np.bincount(found.train.y, minlength=len(found.classes))
        order = np.argsort(counts)[-20:]
        names = names_on_axis(found.classes, 24)
        ax.barh(range(len(order)), counts[order], height=0.7, color=style.BLUE)
        ax.set_yticks(range(len(order)), [names[i] for i in order])
        ax.set(xlabel="training rows", title=shortened(found.target, 50))
        ax.grid(visible=False, axis="y")
        return ax
    known, remarks = style.finite(found.train.y)
    if not len(known):
        return style.nothing(ax, "no values of the target")
    style.histogram(ax, known, most=min(60, max(10, len(known) // 20)))
    for side, (value, share) in found.piles.items() if len(np.unique(known)) > 1 else ():
        text = f"{side}: {100 * share:.1f} % of the rows at {together([value, *known])[0]}"
        ax.axvline(value, color=style.VERMILION, lw=1.2, label=text)
    if ax.get_legend_handles_labels()[0]:
        style.legend(ax)
    style.remark(ax, *remarks)
    ax.set(xlabel=shortened(found.target_label, 50), ylabel="training rows")
    return ax


def feature_panels(found: TableOverview) -> list:
    """One function for each of the first features that draws its distribution into given axes."""
    shown = [index for index, column in enumerate(found.train.columns) if not column.text][:MOST_FEATURES]
    return [partial(_distribution, found, index) for index in shown]


def _distribution(found: TableOverview, index: int, ax: Axes) -> None:
    column, x = found.train.columns[index], found.train.x[:, index]
    ax.set_xlabel(shortened(column.name, 34))
    if column.kind == "category":
        counts = np.bincount(x.astype(int), minlength=len(column.categories) + 1)
        order = np.argsort(-counts, kind="stable")[:8]
        order = order[counts[order] > 0]
        names = names_on_axis(["missing", *column.categories], 12)
        ax.bar(range(len(order)), counts[order], color=style.SKY)
        name_ticks(ax, [names[i] for i in order])
        if num_left := int((counts > 0).sum()) - len(order):
            style.remark(ax, f"the {len(order)} most frequent of {len(order) + num_left}")
        ax.grid(visible=False, axis="x")
        return
    known, remarks = style.finite(x)
    if not len(known):
        style.nothing(ax, f"{shortened(column.name, 34)}: no values")
        return
    low, high = np.quantile(known, (0.005, 0.995))
    inside = known[(known >= low) & (known <= high)]
    style.histogram(ax, inside, most=int(np.clip(len(inside) / 12, 8, 40)))
    if column.dates:
        date_ticks(ax, inside)
    beyond = len(known) - len(inside)
    if beyond and np.ptp(known) > 1.5 * (high - low):
        up, down = float(known.max()), float(known.min())
        shown = date_of if column.dates else plain
        end = f"up to {shown(up)}" if up - high >= low - down else f"down to {shown(down)}"
        remarks.append(f"{counted(beyond, 'row')} beyond, {end}")
    style.remark(ax, *remarks)


def plot_correlations(found: TableOverview, ax: Axes | None = None) -> Axes:
    """Spearman's correlation of each feature with the target, and between the features."""
    strength = found.features["rank_correlation"].abs().fillna(0).to_numpy()
    kept = np.sort(np.argsort(-strength, kind="stable")[:MOST_FEATURES])
    names = [shortened(str(name), 22) for name in found.features["feature"].iloc[kept]]
    values = found.correlations.to_numpy()[np.ix_(kept, kept)]
    values = np.where(np.tri(len(kept), k=-1, dtype=bool), values, np.nan)[1:]
    target = found.features["rank_correlation"].to_numpy()[kept]
    rows, labels = values, names[1:]
    if np.isfinite(target).any():
        rows, labels = np.vstack([target, values]), [shortened(found.target or "target", 22), *labels]
    if not labels:
        return style.nothing(
            style.new_axes(ax), ("Only one feature, and classes without an order: nothing to correlate.")
        )
    ax = style.new_axes(ax, width=2.4 + 0.5 * len(names), height=1.4 + 0.38 * len(labels))
    image = ax.imshow(rows, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(rows):
        if np.isfinite(value):
            color = style.LIGHT if abs(value) > 0.7 else "#222222"
            ax.text(j, i, f"{value:+.2f}".replace("0.", "."), ha="center", va="center", fontsize=7, color=color)
    ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
    ax.set_yticks(range(len(labels)), labels)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.045, pad=0.02, label="rank correlation")
    bar.ax.grid(visible=False)
    return ax


def plot_map(found: TableOverview, ax: Axes | None = None) -> Axes:
    """Training rows by place, coloured by the target."""
    ax = style.new_axes(ax, width=5.4, height=5.0)
    names = [column.name for column in found.train.columns]
    places = found.train.x[:, [names.index(name) for name in found.places]]
    rows = np.random.default_rng(0).permutation(len(places))[:_MAP_ROWS]
    rows = rows[np.isfinite(places[rows]).all(1)]
    y = found.train.y[rows].astype(float)
    drawn = ax.scatter(places[rows, 0], places[rows, 1], c=y, s=4, lw=0, alpha=0.7, cmap="viridis", rasterized=True)
    geographic_axes(ax, found.places, places[rows])
    bar = ax.figure.colorbar(drawn, ax=ax, fraction=0.04, pad=0.02)
    bar.set_label(shortened(found.target_label, 40) if not found.classes else "class")
    bar.ax.grid(visible=False)
    return ax


def plot_examples(found: Overview, ax: Axes | None = None) -> Axes:
    """Eight training images of each class, a row per class."""
    grid = found.examples[:20]
    ax = style.new_axes(ax, width=5.2, height=0.42 * len(grid) + 0.3)
    rows = [np.concatenate([np.pad(i, ((1, 1), (1, 1), (0, 0)), constant_values=255) for i in row], 1) for row in grid]
    picture = np.concatenate(rows, axis=0)
    ax.imshow(
        picture if picture.shape[2] == 3 else picture[..., 0], cmap="gray", aspect="equal", interpolation="nearest"
    )
    height = picture.shape[0] / len(grid)
    ax.set_yticks([(i + 0.5) * height - 0.5 for i in range(len(grid))], _names(found)[: len(grid)])
    ax.set_xticks([])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return ax


def plot_classes(found: Overview, ax: Axes | None = None) -> Axes:
    """Rows of each class in the training and the validation split."""
    counts = found.counts.iloc[::-1]
    ax = style.new_axes(ax, width=5.2, height=1.0 + 0.24 * len(counts))
    at = np.arange(len(counts))
    ax.barh(at, counts["training"], height=0.7, color=style.BLUE, label="training")
    ax.barh(at, counts["validation"], left=counts["training"], height=0.7, color=style.ORANGE, label="validation")
    ax.set_yticks(at, _names(found)[::-1])
    ax.set_xlabel("rows")
    ax.grid(visible=False, axis="y")
    style.legend(ax, ncols=2)
    return ax


def _names(found: Overview) -> list[str]:
    return names_on_axis(found.counts["class"], 24)
