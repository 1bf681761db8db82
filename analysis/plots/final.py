"""Figures of a final evaluation, each drawn from final.json: `plot_*(results, ..., ax=None) -> Axes`."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from analysis.plots import style
from analysis.plots.fonts import names_on_axis
from analysis.plots.tradeoff import is_log
from analysis.studies.results import Entrant, FinalResults
from analysis.wording import has_interval, is_share, shortened, title
from spaces.second import axis_label

_COLORS = {"top": style.BLUE, "baseline": style.ORANGE, "random": style.GREY, "augmented": style.GREEN}
_SHOWN_CLASSES = 30
"""With more classes their names are left out of the confusion matrix, and only the worst have a bar."""
_NUMBERED_CLASSES = 15
"""With more classes the cells of the confusion matrix have no numbers."""
_FAR = 4
"""How many times the range of the other contenders the axis must span before a random configuration leaves it."""
_NAME_WIDTH = 22
"""Characters of the name of a class at an axis."""


def plot_entrants(results: FinalResults, ax: Axes | None = None) -> Axes:
    """Every contender's score with its interval, and its seeds one by one.

    A random configuration far from all others stands at the edge, in numbers, so that the others can be seen.
    """
    entrants = results.entrants
    ax = style.new_axes(ax, width=6.6, height=0.45 * len(entrants) + 1.1)
    metric = results.metric
    scale = 100 if is_share(metric) else 1
    for place, entrant in enumerate(entrants):
        found = {key: scale * value for key, value in entrant.scores[metric].items()}
        color = _COLORS[entrant.role]
        ax.plot([found["low"], found["high"]], [place, place], color=color, lw=2.5, solid_capstyle="butt")
        ax.plot(found["value"], place, "o", color=color, ms=8)
        seeds = scale * np.array(entrant.by_seed[metric])
        ax.plot(seeds, np.full(len(seeds), place + 0.25), "|", color=color, ms=7, alpha=0.8)
    ax.set_yticks(range(len(entrants)), [_named(entrant, results) for entrant in entrants])
    ax.set_ylim(len(entrants) - 0.4, -0.6)
    ax.set_xlabel(f"test {results.in_unit(metric)}{' (%)' if scale == 100 else ''}: mean, 95 % interval; | one seed")
    ax.grid(visible=False, axis="y")
    _limit_to_values(ax, results, scale)
    _focus(ax, results, scale)
    return ax


def _named(entrant: Entrant, results: FinalResults) -> str:
    return title(entrant.name) + (" (winner)" if entrant.name == results.winner else "")


def _limit_to_values(ax: Axes, results: FinalResults, scale: float) -> None:
    """Limit the axis to the seeds' values: with two seeds an interval may be far wider than these."""
    metric = results.metric
    seeds = scale * np.concatenate([np.array(e.by_seed[metric], dtype=float) for e in results.entrants])
    seeds = seeds[np.isfinite(seeds)]
    if not len(seeds):
        return
    margin = max(1.5 * float(np.ptp(seeds)), 0.02 * float(np.abs(seeds).max()), 1e-9)
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, seeds.min() - margin), min(high, seeds.max() + margin))


def _focus(ax: Axes, results: FinalResults, scale: float) -> None:
    """Limit the axis to the other contenders if the random one is far from them, and state its score at the edge."""
    metric, (left, right) = results.metric, ax.get_xlim()
    others = [entrant for entrant in results.entrants if entrant.role != "random"]
    ends = [scale * end for entrant in others for end in _ends(entrant.scores[metric])]
    low, high = max(min(ends), left), min(max(ends), right)
    for place, entrant in enumerate(results.entrants):
        first, last = (scale * end for end in _ends(entrant.scores[metric]))
        is_far = max(high, last) - min(low, first) > _FAR * (high - low) > 0
        if entrant.role != "random" or not is_far:
            continue
        ax.set_xlim(low - 0.5 * (high - low), high + 0.5 * (high - low))
        edge, inside, side = (1.0, 0.93, "right") if first > high else (0.0, 0.07, "left")
        at, text = ax.get_yaxis_transform(), _in_numbers(entrant.scores[metric], scale)
        ax.annotate(
            text, xy=(edge, place), xytext=(inside, place), xycoords=at, textcoords=at, fontsize=8.5,
            color=style.GREY, va="center", ha=side,
            arrowprops={"arrowstyle": "->", "color": style.GREY},
        )  # fmt: skip


def _in_numbers(found: dict[str, float], scale: float) -> str:
    value, low, high = (f"{scale * found[key]:.4g}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if has_interval(found) else value


def _ends(found: dict[str, float]) -> tuple[float, float]:
    """The ends of an interval; the value itself where they are not known."""
    return (found["low"], found["high"]) if has_interval(found) else (found["value"], found["value"])


def plot_front(results: FinalResults, ax: Axes | None = None) -> Axes:
    """The test value of each configuration of the front with its joint interval, and its value in the search."""
    ax = style.new_axes(ax, width=6.6)
    metric = results.metric
    scale = 100 if is_share(metric) else 1
    places = [entrant.joint["second"] for entrant in results.front]
    value, low, high = ([scale * e.joint[key] for e in results.front] for key in ("value", "low", "high"))
    ax.vlines(places, low, high, color=style.BLUE, lw=2.5, label="95 % joint interval")
    ax.plot(places, value, "o", color=style.BLUE, ms=7, label="test")
    searched = [(e.joint["second"], scale * e.search_value) for e in results.front if e.search_value is not None]
    if searched:
        ax.plot(*zip(*searched, strict=True), "D", color=style.VERMILION, mfc="none", ms=6, label="in the search")
    if is_log(pd.Series(places)):
        style.log_axis(ax)
    unit = " (%)" if scale == 100 else ""
    second = results.second
    label = axis_label(second["name"], second["direction"], second.get("unit", ""))
    ax.set(xlabel=label, ylabel=f"{results.in_unit(metric)}{unit}")
    style.legend(ax, ncols=3)
    return ax


def plot_confusion(results: FinalResults, ax: Axes | None = None) -> Axes:
    """The winner's answers for each class in percent of its rows, over all seeds."""
    winner = results.winning
    names, counts = _class_names(results), np.array(winner.confusion, dtype=float)
    size = float(np.clip(0.5 * len(names) + 1.4, 4, 9))
    ax = style.new_axes(ax, width=size + 0.8, height=size)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="cividis", norm=PowerNorm(0.4, 0, 100))  # so that a few percent can be seen
    if len(names) <= _NUMBERED_CLASSES:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.05:
                color = style.LIGHT if share < 25 else "black"
                text = f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"
                ax.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    if len(names) <= _SHOWN_CLASSES:
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(names)), names)
    ax.set(xlabel="predicted", ylabel="label")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, label="% of the label's rows", fraction=0.046, pad=0.03)
    bar.set_ticks([0, 1, 5, 20, 50, 100])
    bar.ax.grid(visible=False)
    return ax


def plot_classes(results: FinalResults, ax: Axes | None = None) -> Axes:
    """Precision, recall and F1 of each class that has test rows, with intervals, the hardest class first."""
    found = results.winning.classes
    named = [(name, found[key]) for name, key in zip(_class_names(results), found, strict=True) if results.support[key]]
    classes = sorted(named, key=lambda item: item[1]["f1"]["value"])[:_SHOWN_CLASSES]
    ax = style.new_axes(ax, width=6.6, height=0.4 * len(classes) + 1.2)
    marks = {"precision": (style.BLUE, "s"), "recall": (style.VERMILION, "^"), "f1": (style.INK, "o")}
    for offset, (metric, (color, mark)) in zip((-0.22, 0.0, 0.22), marks.items(), strict=True):
        found = [scores[metric] for _, scores in classes]
        places = np.arange(len(classes)) + offset
        ax.hlines(places, [100 * f["low"] for f in found], [100 * f["high"] for f in found], color=color, lw=1.3)
        ax.plot([100 * f["value"] for f in found], places, mark, color=color, ms=5, label=metric.replace("f1", "F1"))
    ax.set_yticks(range(len(classes)), [name for name, _ in classes])
    ax.set_ylim(len(classes) - 0.5, -0.5)
    ax.set_xlabel("% (95 % interval)")
    ax.grid(visible=False, axis="y")
    style.legend(ax, ncols=3)
    return ax


def plot_calibration(results: FinalResults, ax: Axes | None = None) -> Axes:
    """Reliability diagram of the exported network: accuracy against confidence in bins of equal mass."""
    ax = style.new_axes(ax, width=4.8, height=4.6)
    bins = results.calibration["bins"]
    confidence = 100 * np.array([b["confidence"] for b in bins])
    accuracy, low, high = (100 * np.array([b[key] for b in bins]) for key in ("accuracy", "low", "high"))
    floor = max(0.0, min(confidence.min(), low.min()) - 3)
    ax.plot([floor, 100], [floor, 100], "--", color=style.GREY, lw=1, label="perfectly calibrated")
    ax.vlines(confidence, low, high, color=style.BLUE, lw=1.5)
    ax.plot(
        confidence,
        accuracy,
        "o",
        color=style.BLUE,
        ms=5,
        label=f"one bin of about {bins[0]['rows']} rows (95 % interval)",
    )
    ax.set(xlim=(floor, 101), ylim=(floor, 101), xlabel="confidence (%)", ylabel="accuracy (%)")
    ece = 100 * results.winning.scores["ece"]["value"]
    ax.set_title(
        f"ECE {ece:.2f} % over all seeds; expected by chance: {100 * results.calibration['chance']:.2f} %",
        fontweight="normal",
    )
    ax.legend(loc="lower right")
    return ax


def plot_mistakes(results: FinalResults, images: np.ndarray) -> Figure:
    """The wrong answers of the exported network with the highest confidence.

    Args:
        results: final.json.
        images: uint8 (N, C, H, W), all test rows.
    """
    mistakes: Sequence[dict[str, Any]] = results.mistakes
    columns = min(8, max(1, len(mistakes)))
    rows = max(1, -(-len(mistakes) // columns))
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.45 * columns, 1.85 * rows), squeeze=False, layout="constrained"
    )
    names = dict(zip(results.winning.classes, _class_names(results, width=14), strict=True))
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, mistake in zip(axes.flat, mistakes, strict=False):
        image = images[mistake["row"]].transpose(1, 2, 0)
        ax.imshow(image.squeeze(), cmap="gray" if image.shape[2] == 1 else None, vmin=0, vmax=255)
        text = f"{names[mistake['label']]},\nsaid {names[mistake['predicted']]}"
        ax.set_title(
            f"{text}\n({100 * mistake['confidence']:.0f} % sure)", fontsize=7.5, fontweight="normal", loc="center"
        )
    return figure


def plot_references(results: FinalResults, ax: Axes | None = None) -> Axes:
    """Published results, the winner and the baselines of this run on one axis; disputed ones are hollow."""
    metric = results.metric
    scale = 100 if is_share(metric) else 1
    ours = [("this run", results.winning.scores[metric], style.BLUE)]
    ours += [(f"{b.title}, here", b.scores[metric], style.ORANGE) for b in results.informed_baselines]
    rows: list[tuple[str, float, Any, str]] = [(name, found["value"], found, color) for name, found, color in ours]
    for r in results.references:
        name, color = (f"{r['model']} (disputed)", "none") if r["disputed"] else (r["model"], style.GREY)
        rows.append((shortened(name, 60), r["value"], None, color))
    rows.sort(key=lambda row: row[1], reverse=results.direction == "maximize")
    ax = style.new_axes(ax, width=6.6, height=0.32 * len(rows) + 1.0)
    for place, (_, value, found, color) in enumerate(rows):
        if found is not None:
            ax.plot([scale * found["low"], scale * found["high"]], [place, place], color=color, lw=2.5)
            ax.plot(scale * value, place, "o", color=color, ms=8)
        else:
            ax.plot(scale * value, place, "D", color=style.GREY, ms=6, mfc=color)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(f"test {results.in_unit(metric)}{' (%)' if scale == 100 else ''}")
    ax.grid(visible=False, axis="y")
    return ax


def _class_names(results: FinalResults, *, width: int = _NAME_WIDTH) -> list[str]:
    return names_on_axis(results.winning.classes, width)
