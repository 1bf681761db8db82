"""Figures of a final evaluation, each drawn from final.json: `plot_*(results, ..., ax=None) -> Axes`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from analysis.table_discussion import CONSTANT
from analysis.wording import in_unit, is_share, title

BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777"
"""Okabe and Ito's colours, told apart by all kinds of colour vision."""
_COLOURS = {"top": BLUE, "baseline": ORANGE, "random": GREY, "augmented": GREEN}
_SHOWN_CLASSES = 30
_NUMBERED_CLASSES = 15


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write NAME.png and NAME.svg, close the figure, and return the name."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=160, bbox_inches="tight", facecolor="white")
    figure.savefig(folder / f"{name}.svg", bbox_inches="tight", facecolor="white", metadata={"Date": None})
    plt.close(figure)
    return name


def plot_entrants(results: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Every contender's score with its interval, and its seeds one by one."""
    entrants = results["entrants"]
    ax = ax or plt.subplots(figsize=(7.5, 0.55 * len(entrants) + 1.3), layout="constrained")[1]
    metric = results["metric"]
    scale = 100 if is_share(metric) else 1
    for place, entrant in enumerate(entrants):
        found = {key: scale * value for key, value in entrant["scores"][metric].items()}
        colour = _COLOURS[entrant["role"]]
        ax.plot([found["low"], found["high"]], [place, place], color=colour, lw=2.5, solid_capstyle="butt")
        ax.plot(found["value"], place, "o", color=colour, ms=8)
        seeds = scale * np.array(entrant["by_seed"][metric])
        ax.plot(seeds, np.full(len(seeds), place + 0.25), "|", color=colour, ms=7, alpha=0.8)
    ax.set_yticks(range(len(entrants)), [_named(entrant, results) for entrant in entrants])
    ax.set_ylim(len(entrants) - 0.4, -0.6)
    ax.set_xlabel(f"test {in_unit(metric, results)}{' (%)' if scale == 100 else ''}: mean, 95 % interval; | one seed")
    _tidy(ax, grid="x")
    _limit_to_values(ax, results, scale)
    return ax


def _named(entrant: dict[str, Any], results: dict[str, Any]) -> str:
    return title(entrant["name"]) + (" (winner)" if entrant["name"] == results["winner"] else "")


def _limit_to_values(ax: Axes, results: dict[str, Any], scale: float) -> None:
    """With two seeds an interval may be as wide as the axis; the seeds themselves must stay readable."""
    metric = results["metric"]
    seeds = scale * np.concatenate([np.array(e["by_seed"][metric]) for e in results["entrants"]])
    margin = max(1.5 * float(np.ptp(seeds)), 0.02 * float(np.abs(seeds).max()), 1e-9)
    low, high = ax.get_xlim()
    ax.set_xlim(max(low, seeds.min() - margin), min(high, seeds.max() + margin))


def plot_confusion(results: dict[str, Any], ax: Axes | None = None) -> Axes:
    """The winner's answers for each class in percent of its rows, over all seeds."""
    winner = _winner(results)
    names, counts = list(winner["classes"]), np.array(winner["confusion"], dtype=float)
    size = float(np.clip(0.55 * len(names) + 1.6, 4, 11))
    ax = ax or plt.subplots(figsize=(size + 0.8, size), layout="constrained")[1]
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="cividis", norm=PowerNorm(0.4, 0, 100))  # so that a few percent can be seen
    if len(names) <= _NUMBERED_CLASSES:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.05:
                colour = "white" if share < 25 else "black"
                text = f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"
                ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    if len(names) <= _SHOWN_CLASSES:
        ax.set_xticks(range(len(names)), _short(names), rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(names)), _short(names))
    ax.set(xlabel="predicted", ylabel="label")
    assert isinstance(ax.figure, Figure)
    bar = ax.figure.colorbar(image, ax=ax, label="% of the label's rows", fraction=0.046, pad=0.03)
    bar.set_ticks([0, 1, 5, 20, 50, 100])
    return ax


def plot_classes(results: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Precision, recall and F1 of each class with intervals, the hardest class first."""
    classes = sorted(_winner(results)["classes"].items(), key=lambda item: item[1]["f1"]["value"])[:_SHOWN_CLASSES]
    ax = ax or plt.subplots(figsize=(7.5, 0.42 * len(classes) + 1.4), layout="constrained")[1]
    marks = {"precision": (BLUE, "s"), "recall": (VERMILION, "^"), "f1": ("black", "o")}
    for offset, (metric, (colour, mark)) in zip((-0.22, 0.0, 0.22), marks.items(), strict=True):
        found = [scores[metric] for _, scores in classes]
        places = np.arange(len(classes)) + offset
        ax.hlines(places, [100 * f["low"] for f in found], [100 * f["high"] for f in found], color=colour, lw=1.3)
        ax.plot([100 * f["value"] for f in found], places, mark, color=colour, ms=5, label=metric.replace("f1", "F1"))
    ax.set_yticks(range(len(classes)), _short([name for name, _ in classes]))
    ax.set_ylim(len(classes) - 0.5, -0.5)
    ax.set_xlabel("% (95 % interval)")
    _tidy(ax, grid="x")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.5 / (0.42 * len(classes) + 1)), ncols=3, frameon=False)
    return ax


def plot_calibration(results: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Reliability diagram of the exported network: accuracy against confidence in bins of equal mass."""
    ax = ax or plt.subplots(figsize=(4.8, 4.6), layout="constrained")[1]
    bins = results["calibration"]["bins"]
    confidence = 100 * np.array([b["confidence"] for b in bins])
    accuracy, low, high = (100 * np.array([b[key] for b in bins]) for key in ("accuracy", "low", "high"))
    floor = max(0.0, min(confidence.min(), low.min()) - 3)
    ax.plot([floor, 100], [floor, 100], "--", color=GREY, lw=1, label="perfectly calibrated")
    ax.vlines(confidence, low, high, color=BLUE, lw=1.5)
    ax.plot(confidence, accuracy, "o", color=BLUE, ms=5, label=f"one bin, about {bins[0]['rows']} rows (95 % interval)")
    ax.set(xlim=(floor, 101), ylim=(floor, 101), xlabel="confidence (%)", ylabel="accuracy (%)")
    ece = 100 * _winner(results)["scores"]["ece"]["value"]
    ax.set_title(
        f"ECE {ece:.2f} % over all seeds; by chance {100 * results['calibration']['chance']:.2f} %", fontsize=10
    )
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    _tidy(ax, grid="both")
    return ax


def plot_mistakes(results: dict[str, Any], images: np.ndarray) -> Figure:
    """The wrong answers of which the exported network was surest.

    Args:
        results: final.json.
        images: uint8 (N, C, H, W), all test rows.
    """
    mistakes: Sequence[dict[str, Any]] = results["mistakes"]
    columns = min(8, max(1, len(mistakes)))
    rows = max(1, -(-len(mistakes) // columns))
    figure, axes = plt.subplots(
        rows, columns, figsize=(1.45 * columns, 1.85 * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, mistake in zip(axes.flat, mistakes, strict=False):
        image = images[mistake["row"]].transpose(1, 2, 0)
        ax.imshow(image.squeeze(), cmap="gray" if image.shape[2] == 1 else None, vmin=0, vmax=255)
        label, predicted = _short([mistake["label"], mistake["predicted"]], limit=14)
        ax.set_title(f"{label},\nsaid {predicted}\n({100 * mistake['confidence']:.0f} % sure)", fontsize=7.5)
    return figure


def plot_references(results: dict[str, Any], ax: Axes | None = None) -> Axes:
    """Published results, the winner and the baselines of this run on one axis; disputed ones are hollow."""
    metric = results["metric"]
    scale = 100 if is_share(metric) else 1
    ours = [("this run", _winner(results)["scores"][metric], BLUE)]
    informed = [b for b in results.get("baselines", []) if b["name"] not in CONSTANT]
    ours += [(f"{b['title']}, here", b["scores"][metric], ORANGE) for b in informed]
    rows: list[tuple[str, float, Any, str]] = [(name, found["value"], found, colour) for name, found, colour in ours]
    for r in results["references"]:
        rows.append(
            (r["model"] + (" (disputed)" if r["disputed"] else ""), r["value"], None, "none" if r["disputed"] else GREY)
        )
    rows.sort(key=lambda row: row[1], reverse=results["direction"] == "maximize")
    ax = ax or plt.subplots(figsize=(7.5, 0.36 * len(rows) + 1.2), layout="constrained")[1]
    for place, (_, value, found, colour) in enumerate(rows):
        if found is not None:
            ax.plot([scale * found["low"], scale * found["high"]], [place, place], color=colour, lw=2.5)
            ax.plot(scale * value, place, "o", color=colour, ms=8)
        else:
            ax.plot(scale * value, place, "D", color=GREY, ms=6, mfc=colour)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlabel(f"test {in_unit(metric, results)}{' (%)' if scale == 100 else ''}")
    _tidy(ax, grid="x")
    return ax


def _winner(results: dict[str, Any]) -> dict[str, Any]:
    return next(e for e in results["entrants"] if e["name"] == results["winner"])


def _short(names: Sequence[str], *, limit: int = 22) -> list[str]:
    """Names that fit beside an axis; a dollar sign is no formula."""
    return [(n if len(n) <= limit else n[: limit - 1] + "…").replace("$", r"\$") for n in names]


def _tidy(ax: Axes, *, grid: str) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    ax.grid(axis=grid, color="#dddddd", lw=0.7)  # pyright: ignore[reportArgumentType]
